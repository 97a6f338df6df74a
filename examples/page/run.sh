#!/usr/bin/env bash
# make demo: from a fresh clone to a page on loopback. Server and page keep running; make stop ends them.
#
# TEXTS=folder-or-csv   your own texts: .txt and .md files, or a CSV file with a text column
# HOST=, PORT=          where the page listens: 127.0.0.1 and 8018, or any free port if that is taken
# PG_CONFIG=            your own PostgreSQL (15 to 18) instead of the embedded 18
# OPENAI_BASE_URL=, OPENAI_API_KEY=   a language model that answers; without it, answers are extractive
#
# usage: run.sh | run.sh stop
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../../scripts/lib.sh"
demo="$BUILD/demo"
pid_file="$demo/page.pid"

# The page that was started from here, if it still runs; its number may belong to another program by now.
running() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) && kill -0 "$pid" 2>/dev/null || return 1
    [ ! -r "/proc/$pid/cmdline" ] || grep -q 'page\.serve' "/proc/$pid/cmdline" || return 1
    echo "$pid"
}

stop_page() {
    local pid
    pid=$(running) || { rm -f "$pid_file"; return 0; }
    kill "$pid"
    for _ in $(seq 50); do
        running >/dev/null || { rm -f "$pid_file"; return 0; }
        sleep 0.1
    done
    kill -9 "$pid"
    rm -f "$pid_file"
}

if [ "${1:-}" = stop ]; then
    stop_page
    exit 0
fi

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
"$ROOT/scripts/install.sh" "$pg_config"
python_packages
packages_of examples/page

# One cluster per major version: their data files differ.
use_postgres "$pg_config"
mkdir -p "$demo/server-$MAJOR"
ln -sfn "server-$MAJOR" "$demo/server"
stop_page
"$ROOT/scripts/server.sh" start "$demo/server" "$pg_config"
eval "$("$ROOT/scripts/server.sh" env "$demo/server")"

say "texts and their embeddings"
export PYTHONPATH="$ROOT/examples"
"$VENV/bin/python" -m page.load "${TEXTS:-}"

say "the page"
log="$demo/page.log"
host=${HOST:-127.0.0.1}
nohup "$VENV/bin/python" -m page.serve --host "$host" --port "${PORT:-8018}" >"$log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$pid_file"
address=
for _ in $(seq 300); do
    address=$(sed -n 's/^serving //p' "$log")
    [ -z "$address" ] || break
    kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; die "the page did not start"; }
    sleep 0.1
done
[ -n "$address" ] || die "the page did not start; $log says more"
case $host in
    127.* | localhost | ::1) ;;
    *) say "HOST=$host: whoever reaches this machine can use the page; it has no password" ;;
esac
cat <<END

  page:  $address
  psql:  $PSQL -h $PGHOST -U postgres page
  stop:  make stop
END
