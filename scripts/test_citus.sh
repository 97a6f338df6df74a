#!/usr/bin/env bash
# Tests the extension under Citus (tests/citus): a coordinator and workers on loopback. If PG_CONFIG's
# PostgreSQL has no Citus, it says so and passes.
#
# usage: scripts/test_citus.sh PG_CONFIG [TEST...]     TEST: as python -m unittest has them, test_queries.Queries
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

[ $# -ge 1 ] || die "usage: scripts/test_citus.sh PG_CONFIG [TEST...]"
pg_config=$1
shift
if [ ! -e "$("$pg_config" --sharedir)/extension/citus.control" ]; then
    say "SKIPPED: $("$pg_config" --version) has no Citus (PG_CONFIG names a PostgreSQL that has)"
    exit 0
fi
"$ROOT/scripts/install.sh" "$pg_config"
python_packages

export PG_CONFIG=$pg_config PYTHONPATH="$ROOT/scripts:$ROOT/tests/citus"
# PostgreSQL 18 finds the extension "vector" by extension_control_path; on older servers it is installed.
if [ "$(major_of "$pg_config")" -ge 18 ]; then
    VECTOR_SEARCH_COMPAT=$(mktemp -d /tmp/vs-compat-XXXXXX)
    export VECTOR_SEARCH_COMPAT
    trap 'rm -rf "$VECTOR_SEARCH_COMPAT"' EXIT
    chmod 755 "$VECTOR_SEARCH_COMPAT"
    "$ROOT/scripts/install_compat.sh" "$pg_config" "$VECTOR_SEARCH_COMPAT/extension"
else
    "$ROOT/scripts/install_compat.sh" "$pg_config"
fi
say "Citus on $("$pg_config" --version)"
if [ $# -gt 0 ]; then
    "$VENV/bin/python" -m unittest -v "$@"
else
    "$VENV/bin/python" -m unittest discover -v -s tests/citus
fi
