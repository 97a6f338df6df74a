#!/usr/bin/env bash
# Runs private PostgreSQL servers for the demo, the tests and the benchmarks.
#
#   server.sh start DIR PG_CONFIG [PORT [CONF_LINE...]]   make the cluster if needed; (re)start it
#   server.sh stop DIR [MODE]                             smart, fast (default) or immediate
#   server.sh status DIR                                  exit status 0 while it runs
#   server.sh backup DIR NEW                              a standby of DIR's server in NEW, not started;
#                                                         prints NEW's data directory
#   server.sh run DIR PROGRAM [ARG...]                    one of PostgreSQL's programs, as the server's user
#   server.sh remove DIR                                  stop the server and remove its cluster
#   server.sh env DIR                                     `export PGHOST=...` and PSQL, to eval
#   server.sh psql DIR [ARG...]                           psql with the server's own binaries
#   server.sh alarms DIR                                  what its log says of failed assertions, leaks, overwritten
#                                                         memory and crashes; prints nothing if all is well
#
# DIR is a directory under target/, one per server. The server listens only on a unix socket in a directory
# that is closed to other users, so a port clashes with nothing (default 5432). Postgres refuses to run as
# root. So if root calls this script, the server runs as `postgres` (or `nobody`). Files that this user could
# not reach (in a checkout under /root) are in /tmp/vector_search-HASH instead.
#
# VECTOR_SEARCH_CONF: lines for the configuration of every server. VECTOR_SEARCH_POSTGRES: a program to start in
# place of postgres, such as one that runs it under valgrind.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# Sets the globals below for one server. The names of its directories in /tmp have a hash of DIR.
locate() {
    dir=$(cd "$1" && pwd -P)
    local hash
    hash=$(printf '%s' "$dir" | cksum | cut -d' ' -f1)
    me=$(id -un)
    user=$me
    if [ "$(id -u)" -eq 0 ]; then
        user=nobody
        id postgres >/dev/null 2>&1 && user=postgres
    fi
    socket="/tmp/vs-$hash-$(id -u)"
    away="/tmp/vector_search-$hash-$(id -u)"
    data="$dir/data"
    reachable x "$dir" || data="$away/data"
    state="$dir/server.env"
}

# Runs a command as the server's user, away from directories that user cannot enter, in a plain
# locale, and without RUST_BACKTRACE, which makes every ERROR of a Rust extension slow.
as_server() {
    local run=()
    if [ "$user" != "$me" ]; then
        if command -v runuser >/dev/null; then
            run=(runuser -u "$user" --)
        else
            run=(sudo -n -u "$user")
        fi
    fi
    (cd / && "${run[@]}" env -u RUST_BACKTRACE -u PGDATA -u PGPORT -u PGHOST LC_ALL=C.UTF-8 "$@")
}

# Whether the server's user may read (r) or execute (x) a path.
reachable() { as_server test "-$1" "$2" 2>/dev/null; }

# own_dir MODE DIR OWNER: makes a directory in /tmp, or fails if another user already owns it.
own_dir() {
    mkdir -p "$2"
    case "$(stat -c '%F %U' "$2")" in
        "directory $user" | "directory $me") ;;
        *) die "$2 is in the way, and not ours" ;;
    esac
    [ "$3" = "$me" ] || chown "$3" "$2"
    chmod "$1" "$2"
}

# Sets bin: the directory with the server's programs, copied to /tmp if out of reach.
find_binaries() {
    bin=$("$1" --bindir) || die "$1 is not a working pg_config"
    [ -x "$bin/postgres" ] || die "$bin has no postgres (only the client is installed?)"
    reachable x "$bin/postgres" && return 0
    local tree
    case $bin in
        "$BUILD"/pg18/*) tree="$BUILD/pg18" ;;
        "$BUILD"/cassert/*) tree=${bin%/bin} ;;
        *) die "$user cannot run $bin/postgres" ;;
    esac
    own_dir 755 "$away" "$me"
    mkdir -p "$away/pg"
    # Files are never overwritten in place, because a running server has them mapped.
    cp -a --update --remove-destination "$tree/." "$away/pg/"
    chmod -R a+rX "$away/pg"
    bin="$away/pg${bin#"$tree"}"
    reachable x "$bin/postgres" || die "$user cannot run $bin/postgres"
}

running() { as_server "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1; }

make_cluster() {
    case $data in "$away"/*) own_dir 755 "$away" "$me" ;; esac
    # After an interrupted initdb there is no version file.
    rm -rf "$data"
    mkdir -m 700 "$data"
    [ "$user" = "$me" ] || chown "$user" "$data"
    as_server "$bin/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 \
        --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 \
        || { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    as_server sh -c 'echo "include = '\''vector_search.conf'\''" >>"$1"' - "$data/postgresql.conf"
}

write_conf() {
    local port=$1
    shift
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$socket'"
        echo "port = $port"
        printf '%s\n' "$@" ${VECTOR_SEARCH_CONF:+"$VECTOR_SEARCH_CONF"}
    } | as_server sh -c 'cat >"$1"' - "$data/vector_search.conf"
}

start() {
    [ $# -ge 2 ] || usage
    mkdir -p "$1"
    locate "$1"
    find_binaries "$2"
    local port=${3:-5432}
    local have want
    want=$("$2" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
    have=$(as_server cat "$data/PG_VERSION" 2>/dev/null || true)
    if [ -z "$have" ]; then
        make_cluster
        have=$want
    fi
    [ "$have" = "$want" ] || die "$data is a cluster of PostgreSQL $have, not $want"
    # Postgres refuses wider permissions, which a chmod -R over the checkout may have set.
    as_server chmod 700 "$data"
    own_dir 700 "$socket" "$user"
    if running; then
        as_server "$bin/pg_ctl" stop -D "$data" -m fast -w >/dev/null
    fi
    write_conf "$port" "${@:4}"
    printf '%s=%q\n' PGHOST "$socket" PGPORT "$port" PGUSER postgres PGDATABASE postgres \
        VS_BIN "$bin" >"$state"
    as_server "$bin/pg_ctl" start -D "$data" -w -t 120 -l "$data/server.log" \
        ${VECTOR_SEARCH_POSTGRES:+-p "$VECTOR_SEARCH_POSTGRES"} \
        </dev/null >/dev/null 2>&1 \
        || { as_server tail -n 20 "$data/server.log" >&2; die "the server did not start"; }
}

# For all commands but start: reads the settings that the last start wrote.
recall() {
    [ $# -ge 1 ] || usage
    [ -f "$1/server.env" ] || die "no server was ever started in $1"
    locate "$1"
    # shellcheck disable=SC1090
    . "$state"
    bin=$VS_BIN
}

stop() {
    recall "$@"
    running || return 0
    as_server "$bin/pg_ctl" stop -D "$data" -m "${2:-fast}" -w >/dev/null
}

remove() {
    [ $# -eq 1 ] || usage
    mkdir -p "$1"
    locate "$1"
    [ ! -f "$state" ] || stop "$1" immediate
    rm -rf "$data" "$state"
}

# Makes a standby: a copy of a running server, which streams from it once it is started.
backup() {
    [ $# -eq 2 ] || usage
    recall "$1"
    local host=$PGHOST port=$PGPORT from_bin=$bin
    mkdir -p "$2"
    locate "$2"
    bin=$from_bin
    case $data in "$away"/*) own_dir 755 "$away" "$me" ;; esac
    rm -rf "$data"
    mkdir -m 700 "$data"
    [ "$user" = "$me" ] || chown "$user" "$data"
    as_server "$bin/pg_basebackup" -h "$host" -p "$port" -U postgres -D "$data" -R -c fast -X stream
    echo "$data"
}

# Runs a program of the server's PostgreSQL in its data directory. pg_upgrade writes to where it is called.
run_program() {
    [ $# -ge 2 ] || usage
    recall "$1"
    as_server sh -c 'cd "$1" && shift && exec "$@"' - "$data" "$bin/$2" "${@:3}"
}

print_env() {
    recall "$@"
    sed -n 's/^PG/export PG/p' "$state"
    printf 'export PSQL=%q\n' "$bin/psql"
}

# A test that kills a server does so by signal 9 or 3. No other signal is meant to end a process.
alarms() {
    recall "$@"
    as_server grep -a -A 25 -E 'TRAP:|problem in [a-z ]+ |was not closed| leak: |terminated by signal (4|6|7|8|11):' \
        "$data/server.log" || [ $? -eq 1 ]
}

run_psql() {
    recall "$@"
    shift
    export PGHOST PGPORT PGUSER PGDATABASE
    exec "$bin/psql" "$@"
}

[ $# -ge 1 ] || usage
command=$1
shift
case $command in
    start) start "$@" ;;
    stop) stop "$@" ;;
    status) recall "$@" && running ;;
    remove) remove "$@" ;;
    backup) backup "$@" ;;
    run) run_program "$@" ;;
    env) print_env "$@" ;;
    psql) run_psql "$@" ;;
    alarms) alarms "$@" ;;
    *) usage ;;
esac
