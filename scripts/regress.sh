#!/usr/bin/env bash
# Runs the SQL tests of tests/pg_regress with PostgreSQL's own pg_regress.
#
# usage: scripts/regress.sh PG_CONFIG [TEST...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 1 ] || die "usage: scripts/regress.sh PG_CONFIG [TEST...]"
pg_config=$1
shift
use_postgres "$pg_config"
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
    mapfile -t tests < <(cd "$ROOT/tests/pg_regress/sql" && printf '%s\n' *.sql | sed 's/\.sql$//' | sort)
fi

server="$BUILD/test/regress-$MAJOR"
"$ROOT/scripts/server.sh" remove "$server"
# The server writes there too, as its own user.
out=$(mktemp -d /tmp/vs-regress-XXXXXX)
mkdir "$out/results"
chmod 777 "$out" "$out/results"
trap '"$ROOT/scripts/server.sh" remove "$server" || true; rm -rf "$out"' EXIT
# An autovacuum of another table would keep VACUUM from removing rows that a test deleted.
"$ROOT/scripts/server.sh" start "$server" "$pg_config" 5432 'fsync = off' 'shared_buffers = 128MB' 'autovacuum_naptime = 1d'
eval "$("$ROOT/scripts/server.sh" env "$server")"

failed=
say "SQL tests, $("$pg_config" --version)"
regress="$("$pg_config" --pkglibdir)/pgxs/src/test/regress/pg_regress"
# The expected results do not depend on this machine's time zone and locale.
"$regress" --inputdir="$ROOT/tests/pg_regress" --outputdir="$out" --bindir="$(dirname "$PSQL")" \
    --host="$PGHOST" --port="$PGPORT" --user=postgres --dbname=regression \
    --load-extension=vector_search "${tests[@]}" \
    || { cp -r "$out"/* "$server"; cat "$out/regression.diffs" >&2; failed=yes; }
alarms=$("$ROOT/scripts/server.sh" alarms "$server")
[ -z "$alarms" ] || { printf '%s\n' "the server's log:" "$alarms" >&2; failed=yes; }
[ -z "$failed" ]
