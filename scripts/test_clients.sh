#!/usr/bin/env bash
# Tests pgvector's clients with vector_search and the extension "vector". It runs the unmodified tests of
# pgvector-python (psycopg 2 and 3, asyncpg, pg8000, SQLAlchemy, SQLModel, Django, Peewee) and of the Rust
# crate (postgres, sqlx, diesel), and a smoke test of pgvector's Node package with pg. PostgreSQL 18 or later
# finds the extension by extension_control_path; on older servers it is installed.
#
# usage: scripts/test_clients.sh [python] [rust] [node]     default: all that the machine has the tools for
# PG_CONFIG names the PostgreSQL; default: the embedded 18.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
use_postgres "$pg_config"
[ -e "$("$pg_config" --pkglibdir)/vector_search.so" ] || "$ROOT/scripts/install.sh" "$pg_config"
wanted=("$@")
if [ ${#wanted[@]} -eq 0 ]; then
    wanted=(python rust)
    if command -v npm >/dev/null; then wanted+=(node); else say "skipped: node (npm is not installed)"; fi
fi

server="$BUILD/test/clients-$MAJOR"
conf=('fsync = off' "listen_addresses = 'localhost'")
compat=
if [ "$MAJOR" -ge 18 ]; then
    compat=$(mktemp -d /tmp/vs-compat-XXXXXX)
    chmod 755 "$compat"
    "$ROOT/scripts/install_compat.sh" "$pg_config" "$compat/extension"
    conf+=("extension_control_path = '$compat:\$system'")
else
    "$ROOT/scripts/install_compat.sh" "$pg_config"
fi
# The clients' tests name a server on localhost at the usual port.
if (exec 3<>/dev/tcp/localhost/5432) 2>/dev/null; then
    die "something listens at localhost:5432, where the clients' tests expect their server"
fi
"$ROOT/scripts/server.sh" remove "$server"
trap '"$ROOT/scripts/server.sh" remove "$server" || true; rm -rf "$compat"' EXIT
"$ROOT/scripts/server.sh" start "$server" "$pg_config" 5432 "${conf[@]}"
eval "$("$ROOT/scripts/server.sh" env "$server")"
export USER=${USER:-$(id -un)} PGUSER=postgres
"$PSQL" -Xqc "CREATE ROLE \"$USER\" SUPERUSER LOGIN" postgres
export PGUSER=$USER
for client in "${wanted[@]}"; do
    "$PSQL" -Xqc "CREATE DATABASE pgvector_${client}_test" postgres
    # The one statement that an administrator must run. The clients run `CREATE EXTENSION vector` themselves.
    "$PSQL" -Xqc 'CREATE EXTENSION vector_search' "pgvector_${client}_test"
    say "$client, $("$pg_config" --version)"
    PG_LIBDIR=$("$pg_config" --libdir) "$ROOT/tests/clients/$client.sh" "$BUILD/clients"
done
say "all clients' tests passed"
