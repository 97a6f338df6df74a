#!/usr/bin/env bash
# The recipes under examples/recipes on real text, and the worker under examples/worker, on a server of their own.
#
# usage: scripts/test_recipes.sh PG_CONFIG
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

server="$BUILD/test/recipes"
python_packages
scripts/server.sh remove "$server" 2>/dev/null || true
scripts/server.sh start "$server" "$1" 5432 "fsync = off"
trap 'scripts/server.sh stop "$server" immediate' EXIT
eval "$(scripts/server.sh env "$server")"
say "the recipes on real text"
"$PSQL" -X -q -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION vector_search' -f examples/recipes/question_answering.sql \
    -f examples/recipes/dialogue_memory.sql -f examples/recipes/summaries.sql \
    -f examples/recipes/semantic_cache.sql -f examples/recipes/deduplication.sql
"$VENV/bin/python" examples/recipes/try.py
say "the worker: replay of chat messages, with kills"
"$PSQL" -X -q -v ON_ERROR_STOP=1 -f examples/worker/embeddings.sql
"$VENV/bin/python" examples/worker/replay.py
