#!/usr/bin/env bash
# Runs the recipes (examples/recipes) on real text, and the worker (examples/worker) with a replay of chat
# messages, on a private server. Prints the tables of docs/recipes.
#
# usage: scripts/test_recipes.sh PG_CONFIG
# RECIPES=full: everything at its full size; the first run embeds texts for half an hour.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

[ $# -eq 1 ] || die "usage: scripts/test_recipes.sh PG_CONFIG"
case ${RECIPES:-small} in
    small) size=() replay=(2000 4) settings=("fsync = off") ;;
    full) size=(--full) replay=(50000 10) settings=("shared_buffers = 512MB" "max_wal_size = 4GB") ;;
    *) die "RECIPES=$RECIPES: it is small or full" ;;
esac
python_packages
packages_of examples/worker
server="$BUILD/test/recipes"
fresh_server "$server" "$1" "${settings[@]}"
say "the recipes on real text"
"$PSQL" -X -q -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION vector_search' -f examples/recipes/question_answering.sql \
    -f examples/recipes/dialogue_memory.sql -f examples/recipes/summaries.sql \
    -f examples/recipes/semantic_cache.sql -f examples/recipes/deduplication.sql
"$VENV/bin/python" examples/recipes/try.py "${size[@]}"
say "the worker: replay of chat messages, with kills"
"$PSQL" -X -q -v ON_ERROR_STOP=1 -f examples/worker/embeddings.sql
"$VENV/bin/python" examples/worker/replay.py "${replay[@]}" scripts/server.sh start "$server" "$1" 5432 "${settings[@]}"
