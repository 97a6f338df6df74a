#!/usr/bin/env bash
# Builds the extension for PostgreSQL 19, and runs the SQL tests and the tests on real servers, in a minimal
# Debian in target/pg19. Its unstable suite has a Rust that is new enough for pgrx's version, which this
# machine's need not be, and its experimental suite has PostgreSQL 19. Needs root, for chroot. Nothing is
# mounted, except that the tests on real servers see this machine's /proc.
#
# usage: scripts/test_19.sh [build|sql|server] [TEST...]     e.g. sql ivf_scan; server standby
#        scripts/test_19.sh deb     makes the Debian packages there, puts them into target/package, and tries
#                                   them in a bare Debian
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/chroot.sh"
cd "$ROOT"

MAJOR=19
debian="$BUILD/pg19/debian"
# Paths in that Debian.
pg_config=/usr/lib/postgresql/$MAJOR/bin/pg_config
target=/build

what=${1:-all}
[ $# -eq 0 ] || shift
case $what in
    all | build | sql | server | deb) ;;
    *) die "usage: scripts/test_19.sh [build|sql|server|deb] [TEST...]" ;;
esac

# run IN COMMAND...: IN is in_debian or in_debian_with_proc. Settings of the tests and of cargo hold there, too.
mapfile -t settings < <(env | grep -E '^(VECTOR_SEARCH_TEST_|CARGO_PROFILE_|CARGO_BUILD_JOBS=)' || true)
run() {
    "$1" "$debian" CARGO_HOME=/cargo CARGO_NET_OFFLINE=true VECTOR_SEARCH_PG_CONFIG="$pg_config" \
        ${settings[@]+"${settings[@]}"} "${@:2}"
}

need_tools debootstrap:debootstrap git:git
mkdir -p "$BUILD/pg19"
debian_for "$debian" "$MAJOR"
# pgrx formats its bindings with rustfmt; the tests use cc and kill. The last line is what scripts/setup.sh asks for.
debian_install "$debian" "postgresql-$MAJOR" "postgresql-server-dev-$MAJOR" rustc cargo rustfmt procps \
    gcc libc6-dev libclang-dev make python3 python3-venv python3-pip sudo

debian_pgrx "$debian" "$MAJOR" "$target"

copy_source "$debian/source"
# What the scripts make there outlives the source.
mkdir -p "$debian$target"
ln -s "$target" "$debian/source/target"
say "fetching the crates"
debian_fetch "$debian" fetch --quiet --locked

[ "$what" = deb ] || run in_debian /source/scripts/install.sh "$pg_config"
case $what in all | sql)
    run in_debian_with_proc /source/scripts/regress.sh "$pg_config" "$@"
    ;;
esac
case $what in all | server)
    say "tests on real servers, PostgreSQL $MAJOR"
    run in_debian_with_proc sh -c 'cd /source && cargo test --locked --no-default-features --test server -- \
        --test-threads 1 "$@"' test "$@"
    ;;
esac
case $what in all | deb)
    run in_debian /source/scripts/deb.sh "$pg_config"
    mkdir -p "$BUILD/package"
    cp "$debian$target/package/postgresql-$MAJOR-"*.deb "$BUILD/package/"
    scripts/test_packages.sh "$MAJOR"
    ;;
esac
say "done: $what, on $(run in_debian "$pg_config" --version)"
