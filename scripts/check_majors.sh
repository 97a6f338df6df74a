#!/usr/bin/env bash
# Compiles for the majors that the tests do not run on: 16, against headers from PyPI, and 17, against headers from
# Debian 13. Where Debian's packages cannot be fetched, 17 is left out with a word.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

check() {
    use_postgres "$1"
    say "compiling for $("$1" --version)"
    cargo check --locked --no-default-features --features "pg$MAJOR"
}

# Debian's header package for 17, unpacked below target/, with a pg_config that knows where. Nothing is installed.
headers_17() {
    local home="$BUILD/headers/debian17"
    [ ! -x "$home/pg_config" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    rm -rf "$home"
    mkdir -p "$home/lists/partial" "$home/cache/archives/partial"
    echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' >"$home/sources.list"
    local own=(-qq -o "Dir::Etc::sourcelist=$home/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$home/lists"
        -o "Dir::Cache=$home/cache" -o APT::Sandbox::User=root -o Acquire::Retries=2)
    apt-get "${own[@]}" update && (cd "$home" && apt-get "${own[@]}" download postgresql-server-dev-17) || return 1
    dpkg -x "$home"/postgresql-server-dev-17_*.deb "$home/root"
    rm -rf "$home/lists" "$home/cache" "$home"/*.deb
    local version
    version=$(sed -nE 's/^#define PG_VERSION "(.*)"/\1/p' "$home"/root/usr/include/*/postgresql/17/server/pg_config.h \
        "$home"/root/usr/include/postgresql/17/server/pg_config*.h 2>/dev/null | head -1)
    cat >"$home/pg_config.new" <<EOF
#!/bin/sh
case "\$1" in
    --version) echo "PostgreSQL ${version:-17}" ;;
    --includedir-server) echo "$home/root/usr/include/postgresql/17/server" ;;
    --includedir) echo "$home/root/usr/include/postgresql" ;;
    --pkgincludedir) echo "$home/root/usr/include/postgresql/17" ;;
    --bindir) echo "$home/root/usr/lib/postgresql/17/bin" ;;
    --sharedir) echo "$home/root/usr/share/postgresql/17" ;;
    *) echo "$home/root/usr/lib/postgresql/17/lib" ;;
esac
EOF
    chmod +x "$home/pg_config.new"
    mv "$home/pg_config.new" "$home/pg_config"
}

pgserver="$BUILD/headers/pgserver"
[ -x "$pgserver/pgserver/pginstall/bin/pg_config" ] || fetch_wheel pgserver==0.1.4 "$pgserver"
check "$pgserver/pgserver/pginstall/bin/pg_config"
if headers_17; then
    check "$BUILD/headers/debian17/pg_config"
else
    say "PostgreSQL 17 is left out: its headers cannot be fetched"
fi
