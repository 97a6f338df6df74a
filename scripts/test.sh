#!/usr/bin/env bash
# All tests: pure ones, lints, then SQL and real servers on PostgreSQL 18 (embedded) and 15
# (Debian's), or on PG_CONFIG's alone; 16 and 17 are compiled.
#
# usage: scripts/test.sh [server]     server: only what needs a PostgreSQL
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

if [ "${1:-}" != server ]; then
    say "tests without PostgreSQL"
    cargo test --locked --no-default-features
    say "half a minute of each fuzz target"
    VECTOR_SEARCH_FUZZ_SECONDS=30 cargo test --locked --no-default-features --test fuzz
fi

if [ -n "${PG_CONFIG:-}" ]; then
    "$ROOT/scripts/setup.sh"
    configs=("$PG_CONFIG")
else
    "$ROOT/scripts/setup.sh" pg15
    configs=("$("$ROOT/scripts/embedded.sh")" /usr/lib/postgresql/15/bin/pg_config)
fi

if [ "${1:-}" != server ]; then
    "$ROOT/scripts/lint.sh"
    [ -n "${PG_CONFIG:-}" ] || "$ROOT/scripts/check_majors.sh"
fi

for pg_config in "${configs[@]}"; do
    "$ROOT/scripts/install.sh" "$pg_config"
    "$ROOT/scripts/regress.sh" "$pg_config"
    say "tests on real servers, $("$pg_config" --version)"
    VECTOR_SEARCH_PG_CONFIG="$pg_config" \
        cargo test --locked --no-default-features --test server -- --test-threads 1
    if (exec 3<>/dev/tcp/localhost/5432) 2>/dev/null; then
        say "skipped: the clients' tests (something listens at localhost:5432, where they expect their server)"
    else
        PG_CONFIG="$pg_config" "$ROOT/scripts/test_clients.sh" python
    fi
done
# The page is the same on all majors.
"$ROOT/scripts/test_browser.sh" "${configs[0]}"
say "all tests passed"
