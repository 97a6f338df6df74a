#!/usr/bin/env bash
# Tests the extension in a PostgreSQL with assertions, whose memory is checked: built from Debian's source in
# target/cassert/MAJOR, with what it frees overwritten. The extension is built with Rust's assertions and
# checks of overflow. Nothing is installed but tools to build with.
#
# usage: scripts/test_cassert.sh [STEP...]     MAJOR=18 (default) or 15
#
#   build      the server and the extension
#   sql        the SQL tests (SQL_TESTS="NAME..." for some)
#   server     the tests on real servers (SERVER_TESTS="PART-OF-A-NAME..." for some)
#   parallel   the SQL tests with each plan that can be run in a worker
#   nodes      the SQL tests with each tree of nodes copied, written and read (on 15 in all steps)
#   caches     some SQL tests with all caches discarded whenever they may be (CACHES="NAME..." for others)
#   valgrind   the SQL tests under valgrind (SQL_TESTS, too)
#
# Without an argument: build, sql, server, parallel, nodes, caches. Valgrind takes an hour.
#
# HARD=1 takes another server, target/cassert/MAJOR-hard. There an entry of a cache goes as soon as nobody
# holds it, and what is allocated is filled with changing bytes, which also shows bytes that an input function
# leaves unset. Each look at the catalog then scans it: what takes a second with assertions takes up to 80.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

MAJOR=${MAJOR:-18}
home="$BUILD/cassert"
name="$MAJOR${HARD:+-hard}"
prefix="$home/$name"
pg_config="$prefix/bin/pg_config"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

case $MAJOR in
    15) suite=bookworm ;;
    18) suite=forky ;;
    *) die "MAJOR is 15 or 18" ;;
esac

# fetch_source: the source of Debian's package in target/cassert/source-MAJOR. Without Debian's patches: one of them
# installs libraries into /usr/lib/postgresql, whatever the prefix.
fetch_source() {
    local source="$home/source-$MAJOR" apt="$home/apt-$MAJOR"
    [ ! -d "$source" ] || return 0
    say "fetching the source of postgresql-$MAJOR from Debian $suite"
    rm -rf "$apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
        >"$apt/sources.list"
    local own=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
        -o Acquire::Retries=2)
    apt-get "${own[@]}" update
    (cd "$apt" && apt-get "${own[@]}" source --download-only "postgresql-$MAJOR")
    dpkg-source --no-check --no-copy --skip-patches -x "$apt"/*.dsc "$source.new" >"$home/source-$MAJOR.log"
    rm -rf "$apt"
    mv "$source.new" "$source"
}

# build_server: what a developer of PostgreSQL configures, and no library that the tests do not need.
build_server() {
    local flags="-O1 -fno-omit-frame-pointer" modules="auto_explain citext dblink pg_stat_statements postgres_fdw"
    [ -z "${HARD:-}" ] \
        || flags+=" -DRELCACHE_FORCE_RELEASE -DCATCACHE_FORCE_RELEASE -DRANDOMIZE_ALLOCATED_MEMORY"
    # From 18 on these are settings.
    [ "$MAJOR" -ge 18 ] || flags+=" -DCOPY_PARSE_PLAN_TREES -DWRITE_READ_PARSE_PLAN_TREES"
    # Tells valgrind of the server's own allocator. Without valgrind it costs next to nothing.
    [ ! -e /usr/include/valgrind/memcheck.h ] || flags+=" -DUSE_VALGRIND"
    [ "$(cat "$prefix/built" 2>/dev/null)" != "$flags $modules" ] || return 0
    fetch_source
    say "building PostgreSQL $MAJOR with assertions (log: target/cassert/build-$name.log)"
    rm -rf "$prefix" "$home/build-$name"
    mkdir -p "$home/build-$name"
    (
        cd "$home/build-$name"
        "$home/source-$MAJOR/configure" --prefix="$prefix" --enable-cassert --enable-debug --without-icu \
            --without-readline --without-zlib CFLAGS="$flags"
        # Nothing may be installed elsewhere.
        libraries=$(printf 'show:\n\t@echo $(pkglibdir)\n' | make -s -f src/Makefile.global -f - top_builddir=. show)
        case $libraries in "$prefix"/*) ;; *) die "the libraries would be installed into $libraries" ;; esac
        make -s -j "${JOBS:-2}"
        make -s install
        for module in $modules; do
            make -s -C "contrib/$module" -j "${JOBS:-2}" install
        done
    ) >"$home/build-$name.log" 2>&1 \
        || { tail -n 20 "$home/build-$name.log" >&2; die "PostgreSQL $MAJOR does not build"; }
    echo "$flags $modules" >"$prefix/built"
}

build() {
    need_programs gcc:gcc make:make perl:perl bison:bison flex:flex dpkg-source:dpkg-dev patch:patch \
        valgrind:valgrind
    build_server
    # A directory of its own for each server: these settings must not make other builds start anew.
    CARGO_TARGET_DIR="$home/cargo-$name" CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
        CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 scripts/install.sh "$pg_config"
}

# Runs a step with more configuration for each server that it starts.
with_conf() { VECTOR_SEARCH_CONF=$1 "${@:2}"; }

sql_tests() {
    local tests=("$@")
    [ $# -gt 0 ] || read -r -a tests <<<"${SQL_TESTS:-}"
    scripts/regress.sh "$pg_config" "${tests[@]}"
}

server_tests() {
    local tests
    read -r -a tests <<<"${SERVER_TESTS:-}"
    say "tests on real servers, $("$pg_config" --version)"
    VECTOR_SEARCH_PG_CONFIG="$pg_config" \
        cargo test --locked --no-default-features --test server -- --test-threads 1 "${tests[@]}"
}

parallel() {
    local setting=debug_parallel_query
    [ "$MAJOR" -ge 16 ] || setting=force_parallel_mode
    with_conf "$setting = regress" sql_tests
}

nodes() {
    [ "$MAJOR" -ge 18 ] || { say "skipped: PostgreSQL $MAJOR does this in all steps"; return 0; }
    with_conf "debug_copy_parse_plan_trees = on
debug_write_read_parse_plan_trees = on
debug_raw_expression_coverage_test = on" sql_tests
}

caches() {
    local tests
    read -r -a tests <<<"${CACHES:-sanity vector_type vector_cast sparsevec ivf_scan}"
    with_conf 'debug_discard_caches = 1' sql_tests "${tests[@]}"
}

# Every error that valgrind reports fails the step, whether a frame is ours or not.
under_valgrind() {
    local logs status=0
    grep -q -- -DUSE_VALGRIND "$prefix/built" || die "install valgrind, then run: $0 build"
    # The server's user writes there.
    logs=$(mktemp -d /tmp/vs-valgrind-XXXXXX)
    chmod 755 "$logs"
    mkdir -m 777 "$logs/logs"
    cat >"$logs/postgres" <<EOF
#!/bin/sh
exec valgrind --quiet --leak-check=no --track-origins=yes --trace-children=yes --num-callers=25 \\
    --error-markers=VALGRIND-ERROR-BEGIN,VALGRIND-ERROR-END --gen-suppressions=no \\
    --suppressions="$home/source-$MAJOR/src/tools/valgrind.supp" --log-file="$logs/logs/%p.log" \\
    "$prefix/bin/postgres" "\$@"
EOF
    chmod 755 "$logs/postgres"
    VECTOR_SEARCH_POSTGRES="$logs/postgres" sql_tests || status=$?
    rm -rf "$home/valgrind-$name"
    mv "$logs/logs" "$home/valgrind-$name"
    rm -rf "$logs"
    if grep -q VALGRIND-ERROR-BEGIN -r "$home/valgrind-$name"; then
        cat "$home/valgrind-$name"/*.log >&2
        die "valgrind reports errors (target/cassert/valgrind-$name)"
    fi
    return "$status"
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(build sql server parallel nodes caches)
for step in "${steps[@]}"; do
    say "PostgreSQL $name with assertions: $step"
    case $step in
        build) build ;;
        sql) sql_tests ;;
        server) server_tests ;;
        parallel) parallel ;;
        nodes) nodes ;;
        caches) caches ;;
        valgrind) under_valgrind ;;
        *) die "no such step: $step" ;;
    esac
done
say "passed on PostgreSQL $name with assertions: ${steps[*]}"
