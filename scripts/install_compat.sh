#!/usr/bin/env bash
# Installs the extension "vector", which uses vector_search, so that apps written for pgvector run unchanged.
# Its files have the names of pgvector's files, so it refuses to replace another extension of that name.
#
# usage: scripts/install_compat.sh PG_CONFIG [DIRECTORY] DIRECTORY: install there instead (PostgreSQL 18 finds
# the files by extension_control_path)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 1 ] || die "usage: scripts/install_compat.sh PG_CONFIG [DIRECTORY]"
target=${2:-$("$1" --sharedir)/extension}
[ -n "${2:-}" ] || [ -e "$target/vector_search.control" ] \
    || die "vector_search is not installed there; run scripts/install.sh $1 first"
if [ -e "$target/vector.control" ] && ! grep -q "requires = 'vector_search'" "$target/vector.control"; then
    die "$target/vector.control belongs to pgvector; uninstall pgvector from this server first"
fi
mkdir -p "$target"
sudo=()
[ -w "$target" ] || sudo=(sudo)
for file in "$ROOT"/sql/compat/vector.control "$ROOT"/sql/compat/vector--*.sql; do
    # A server may be reading the old file, so it is replaced by a new one.
    cmp -s "$file" "$target/${file##*/}" || ${sudo[@]+"${sudo[@]}"} install -m 644 "$file" "$target/"
done
say "extension vector installed into $target"
