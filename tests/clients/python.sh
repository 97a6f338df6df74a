#!/usr/bin/env bash
# pgvector-python's own test suite, unmodified, against vector_search with the extension "vector" over it:
# psycopg 2 and 3, asyncpg, pg8000, SQLAlchemy, SQLModel, Django, Peewee. PostgreSQL 18 or later finds the extension
# by extension_control_path; on older servers it is installed.
#
# usage: tests/clients/python.sh PG_CONFIG [PYTEST-ARGUMENT...]
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"

VERSION=0.5.1
[ $# -ge 1 ] || die "usage: tests/clients/python.sh PG_CONFIG [PYTEST-ARGUMENT...]"
pg_config=$1
shift
use_postgres "$pg_config"
home="$BUILD/clients"
suite="$home/pgvector-$VERSION"
python="$home/venv/bin/python"
wanted="$ROOT/tests/clients/requirements.txt"

mkdir -p "$home"
[ -x "$python" ] || python3 -m venv "$home/venv"
if ! cmp -s "$wanted" "$home/requirements.txt"; then
    say "fetching the clients"
    "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r "$wanted"
    cp "$wanted" "$home/requirements.txt"
fi
if ! [ -d "$suite" ]; then
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --no-binary :all: --dest "$home" "pgvector==$VERSION"
    tar -C "$home" -xzf "$home/pgvector-$VERSION.tar.gz"
fi
# The package leaves these two out, which its tests import.
touch "$suite/tests/__init__.py"
echo 'import numpy' >"$suite/tests/conftest.py"

server="$BUILD/test/clients-$MAJOR"
conf=('fsync = off')
if [ "$MAJOR" -ge 18 ]; then
    compat=$(mktemp -d /tmp/vs-compat-XXXXXX)
    chmod 755 "$compat"
    trap 'rm -rf "$compat"' EXIT
    "$ROOT/scripts/install_compat.sh" "$pg_config" "$compat/extension"
    conf+=("extension_control_path = '$compat:\$system'")
else
    "$ROOT/scripts/install_compat.sh" "$pg_config"
fi
# pg8000's tests and URLs of SQLAlchemy's name a server on localhost at the usual port.
if (exec 3<>/dev/tcp/localhost/5432) 2>/dev/null; then
    die "something listens at localhost:5432, where the clients' tests expect their server"
fi
"$ROOT/scripts/server.sh" remove "$server"
"$ROOT/scripts/server.sh" start "$server" "$pg_config" 5432 "${conf[@]}" "listen_addresses = 'localhost'"
trap '"$ROOT/scripts/server.sh" remove "$server" || true; rm -rf "${compat:-}"' EXIT
eval "$("$ROOT/scripts/server.sh" env "$server")"
export USER=${USER:-$(id -un)}
"$PSQL" -Xqc "CREATE ROLE \"$USER\" SUPERUSER LOGIN" -c 'CREATE DATABASE pgvector_python_test' postgres
"$PSQL" -Xqc 'CREATE EXTENSION vector_search' -d pgvector_python_test
export PGUSER=$USER

say "pgvector-python $VERSION, $("$pg_config" --version)"
cd "$suite"
"$python" -m pytest -q -p no:cacheprovider "$@"
