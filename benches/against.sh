#!/usr/bin/env bash
# Compares the speed of this checkout with that of another commit. Each query is asked of both in turn, in one
# run on one machine. Both have the same index: the older code builds it, and its server is copied.
#
# usage: benches/against.sh COMMIT      DATA, SCALE, DIMS, METRIC, TYPE, QUERIES, ROWS: as for benches/run.sh
#   OWN=1        each server builds its own index (for changes of the build)
#   TARGETS=...  recall targets (default .95,.99)
#   ROUNDS=n     how often each query is asked; its least time counts (default 12)
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
cd "$ROOT"

[ $# -eq 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
commit=$(git rev-parse --verify --short "$1^{commit}") || die "$1 is no commit"
old="$BUILD/against/$commit"

"$ROOT/scripts/setup.sh"
new_config=$("$ROOT/scripts/embedded.sh")
if ! [ -e "$old/Cargo.toml" ]; then
    git worktree prune
    git worktree add --quiet --detach "$old" "$commit"
fi
mkdir -p "$old/target"
for part in tools venv; do
    [ -e "$old/target/$part" ] || [ ! -e "$BUILD/$part" ] || cp -a "$BUILD/$part" "$old/target/$part"
done
old_config=$("$old/scripts/embedded.sh")
"$old/scripts/install.sh" "$old_config"
"$ROOT/scripts/install.sh" "$new_config"
python_packages

settings=('shared_buffers = 2GB' 'max_wal_size = 8GB' 'maintenance_work_mem = 1GB' 'jit = off' 'autovacuum = off'
    'max_parallel_maintenance_workers = 1' 'synchronous_commit = off')
servers="$BUILD/against/servers"
server() { "$ROOT/scripts/server.sh" "$@"; }
stop_all() { for each in old new; do server stop "$servers/$each" >/dev/null 2>&1 || true; done; }
trap stop_all EXIT
for each in old new; do server remove "$servers/$each"; done
host() { (eval "$(server env "$servers/$1")" && echo "$PGHOST"); }

server start "$servers/old" "$old_config" 5432 "${settings[@]}"
eval "$(server env "$servers/old")"
"$VENV/bin/python" benches/against.py load
if [ -n "${OWN:-}" ]; then
    server start "$servers/new" "$new_config" 5432 "${settings[@]}"
    PGHOST=$(host new) "$VENV/bin/python" benches/against.py load
else
    server backup "$servers/old" "$servers/new"
    server start "$servers/new" "$new_config" 5432 "${settings[@]}"
    server psql "$servers/new" -X -q -c 'SELECT pg_promote()' >/dev/null
fi
OLD_HOST=$(host old) NEW_HOST=$(host new) "$VENV/bin/python" benches/against.py compare
