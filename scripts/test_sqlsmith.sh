#!/usr/bin/env bash
# Lets SQLsmith (Debian's package), which writes random statements, work on the tables of tests/sqlsmith: two
# processes, one of them without the plans that the planner would prefer to our index scans. Afterwards the
# server must not have restarted, no statement may have ended with an internal error, and all indexes must be
# sound.
#
# usage: scripts/test_sqlsmith.sh PG_CONFIG [SECONDS]      default: 60; SEED=n (default 1): other statements
#
# A failed statement is in target/test/sqlsmith-MAJOR/data/server.log, below its error.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

[ $# -ge 1 ] || die "usage: scripts/test_sqlsmith.sh PG_CONFIG [SECONDS]"
use_postgres "$1"
seconds=${2:-60}
seed=${SEED:-1}
server="$BUILD/test/sqlsmith-$MAJOR"
# Internal errors of PostgreSQL's own: of its parser; of pg_describe_object and the like, of functions that restore
# statistics, of intervaltypmodout, and of amvalidate, called with wrong numbers.
of_postgres='failed to find conversion function from unknown to |unsupported object class: '
of_postgres+='|variadic arguments must be name/value pairs|invalid INTERVAL typmod: |operator class 0$'

need_programs sqlsmith:sqlsmith
# A line of the log begins with the SQLSTATE. Autovacuum replaces lists meanwhile.
fresh_server "$server" "$1" 'fsync = off' 'shared_buffers = 256MB' 'autovacuum_naptime = 20s' \
    'autovacuum_vacuum_scale_factor = 0.01' "log_line_prefix = '%e~%p~'" 'allow_system_table_mods = on'
query() { "$PSQL" -XAtq -v ON_ERROR_STOP=1 -d smith -c "$1"; }

# An ordinary user. Functions that wait or that end processes would only keep SQLsmith from its work, and so would
# those of any range, any enum, and of ranges, which it calls with types that no value has.
"$PSQL" -Xq -v ON_ERROR_STOP=1 -c 'CREATE ROLE smith LOGIN' -c 'CREATE DATABASE smith OWNER smith' \
    -c "ALTER ROLE smith SET statement_timeout = '5s'" -c "ALTER ROLE smith SET lock_timeout = '1s'"
"$PSQL" -Xq -v ON_ERROR_STOP=1 -U smith -d smith -f tests/sqlsmith/tables.sql
"$PSQL" -Xq -v ON_ERROR_STOP=1 -d smith <<'SQL'
CREATE TEMP TABLE types AS SELECT unnest(ARRAY[rngtypid, rngmultitypid]) AS type FROM pg_range UNION SELECT unnest(
    '{anyrange,anymultirange,anycompatiblerange,anycompatiblemultirange,anyenum}'::regtype[]);
DELETE FROM pg_operator WHERE ARRAY[oprleft, oprright, oprresult] && (SELECT array_agg(type) FROM types);
DELETE FROM pg_proc WHERE proargtypes::oid[] || prorettype && (SELECT array_agg(type) FROM types)
    OR proname ~ '^(pg_sleep|pg_terminate|pg_cancel|pg_advisory|pg_try_advisory|lo_|pg_notify)';
SQL
query 'GRANT EXECUTE ON FUNCTION ivf_check(regclass, boolean) TO smith'

# smith NAME SEED SETTINGS: SQLsmith until the time is over. It waits for a server that restarts.
smith() {
    PGOPTIONS=$3 timeout --signal=INT "$seconds" sqlsmith --verbose --exclude-catalog --seed="$2" \
        --target="host=$PGHOST port=$PGPORT user=smith dbname=smith" >"$server/$1.log" 2>&1 || true
}

say "SQLsmith for $seconds seconds, $("$1" --version)"
smith planned "$seed" '' &
first=$!
smith forced "$((seed + 1))" '-c enable_seqscan=off -c enable_sort=off -c enable_hashjoin=off -c enable_mergejoin=off' &
wait "$first" "$!"

failed=
log=$(query "SELECT current_setting('data_directory')")/server.log
say "$(query "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'smith'") transactions; errors by SQLSTATE:"
sed -nE 's/^([0-9A-Z]{5})~[0-9]+~(ERROR|FATAL|PANIC): .*/\1/p' "$log" | sort | uniq -c | sort -rn
grep -aE '^XX[0-9A-Z]{3}~[0-9]+~(ERROR|FATAL|PANIC): ' "$log" | grep -avE "$of_postgres" >"$server/internal.log" || true
if [ -s "$server/internal.log" ]; then
    say "internal errors:"
    sed -E 's/^[^~]*~[0-9]+~//' "$server/internal.log" | sort | uniq -c | sort -rn | head -20 >&2
    failed=yes
fi
alarms=$("$ROOT/scripts/server.sh" alarms "$server")
[ -z "$alarms" ] || { printf '%s\n' "the server's log:" "$alarms" >&2; failed=yes; }
say "scans of each index, and what ivf_check says of it:"
query "SELECT name, idx_scan, ivf_check(index, true) FROM indexes JOIN pg_stat_user_indexes ON indexrelid = index" \
    || failed=yes
[ -z "$failed" ] || die "SQLsmith has found something; see $log"
