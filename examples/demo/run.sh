#!/usr/bin/env bash
# The whole demo, from a fresh clone to answered questions. Leaves its server running.
# PG_CONFIG=/path/to/pg_config uses that PostgreSQL (15 to 18) instead of the embedded 18.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../../scripts/lib.sh"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
"$ROOT/scripts/install.sh" "$pg_config"

python_packages

# One cluster per major version: their data files differ.
use_postgres "$pg_config"
demo="$BUILD/demo"
mkdir -p "$demo/server-$MAJOR"
ln -sfn "server-$MAJOR" "$demo/server"
"$ROOT/scripts/server.sh" start "$demo/server" "$pg_config"
eval "$("$ROOT/scripts/server.sh" env "$demo/server")"

"$VENV/bin/python" "$here/prepare.py"
exec "$VENV/bin/python" "$here/demo.py"
