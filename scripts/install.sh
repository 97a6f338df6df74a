#!/usr/bin/env bash
# Builds the extension in release mode and installs it into one PostgreSQL.
#
# usage: scripts/install.sh PG_CONFIG [TARGET]     TARGET: compiles for another machine (test_arm_server.sh)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -eq 1 ] || [ $# -eq 2 ] || die "usage: scripts/install.sh PG_CONFIG [TARGET]"
pg_config=$(command -v "$1") || die "$1 is not an executable pg_config"
pg_config=$(realpath -s "$pg_config")
use_postgres "$pg_config"

libdir=$("$pg_config" --pkglibdir)
sharedir=$("$pg_config" --sharedir)
sudo=()
if ! [ -w "$libdir" ] || ! [ -w "$sharedir/extension" ]; then
    # Asks for sudo's password now, not after a build of some minutes.
    sudo -v || die "you cannot write to $libdir; as root, run: scripts/install.sh $pg_config"
    sudo=(sudo)
fi

# pgrx overwrites the library in place, which would crash a server that has it mapped. So the old file is
# replaced by a copy with a new inode, and running backends keep the old one.
library="$libdir/vector_search.so"
if [ -e "$library" ]; then
    "${sudo[@]}" cp -p "$library" "$library.new"
    "${sudo[@]}" mv "$library.new" "$library"
fi

cd "$ROOT"
say "building and installing into $("$pg_config" --version) ($libdir)"
pgrx install --release --no-default-features --features "pg$MAJOR" \
    --pg-config "$pg_config" ${2:+--target "$2"} ${sudo[@]+--sudo} >&2
