# shellcheck shell=bash
# Sourced by test_arm.sh, test_arm_server.sh, test_packages.sh, test_rpm.sh, test_docker.sh and test_19.sh: a
# minimal Debian in a folder.
#
# Nothing is mounted, so it works in a container, and a folder may be removed at any time.

# need_tools PROGRAM:PACKAGE...: installs the packages of missing programs. For scripts that use chroot.
need_tools() {
    [ "$(id -u)" -eq 0 ] || die "chroot needs root; run this target as root"
    need_programs "$@"
}

# in_debian DIR COMMAND...: runs a command in that Debian with a clean environment.
in_debian() {
    local dir=$1
    shift
    chroot "$dir" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# in_debian_with_proc DIR COMMAND...: the same with the machine's /proc, which is mounted for this command only.
in_debian_with_proc() {
    local dir=$1
    shift
    # shellcheck disable=SC2016  # for the inner shell
    unshare --mount sh -c 'mount --bind /proc "$0/proc" && exec chroot "$0" "$@"' "$dir" \
        /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}

# debian DIR SUITE: makes it, unless it is there.
debian() {
    local dir=$1 suite=$2
    [ ! -e "$dir/.complete" ] || return 0
    say "making a minimal Debian $suite in $dir"
    rm -rf "$dir"
    mkdir -p "$dir"
    # All suites share the script of sid; an older debootstrap does not know the newer names.
    debootstrap --variant=minbase --foreign "$suite" "$dir" "$DEBIAN_MIRROR" sid >"$dir.log" 2>&1 \
        || { tail -5 "$dir.log" >&2; die "debootstrap could not fetch Debian $suite from $DEBIAN_MIRROR"; }
    # The second stage mounts /proc only where it is empty.
    [ ! -L "$dir/proc" ] || rm "$dir/proc"
    mkdir -p "$dir/proc"
    touch "$dir/proc/.not-mounted"
    in_debian "$dir" /debootstrap/debootstrap --second-stage >>"$dir.log" 2>&1 \
        || { tail -5 "$dir.log" >&2; die "debootstrap could not set up Debian $suite in $dir"; }
    # No service starts in a chroot.
    printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"
    chmod 755 "$dir/usr/sbin/policy-rc.d"
    # It wants /proc, and what it makes are directories of services.
    in_debian "$dir" dpkg-divert --quiet --local --rename --add /usr/bin/systemd-tmpfiles
    ln -s true "$dir/usr/bin/systemd-tmpfiles"
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale >"$dir/etc/dpkg/dpkg.cfg.d/small"
    printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\nAPT::Sandbox::User "root";\n' \
        >"$dir/etc/apt/apt.conf.d/small"
    # This machine's proxy, and what it thinks of the dates of its mirror, holds there too.
    apt-config dump | grep -E '^Acquire::(Check-|https?::)' >>"$dir/etc/apt/apt.conf.d/small" || true
    echo "deb $DEBIAN_MIRROR $suite main" >"$dir/etc/apt/sources.list"
    touch "$dir/.complete"
}

# debian_install DIR PACKAGE...: with the machine's name server and proxies, once for the same packages.
debian_install() {
    local dir=$1 stamp
    shift
    stamp="$dir/.installed-$(echo "$*" | md5sum | cut -c1-12)"
    [ ! -e "$stamp" ] || return 0
    say "installing there: $*"
    cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
    local proxies=()
    mapfile -t proxies < <(env | grep -iE '^https?_proxy=' || true)
    in_debian "$dir" "${proxies[@]}" sh -c \
        'apt-get update -qq && apt-get install -y -qq "$@" && apt-get clean' apt "$@" \
        >"$dir.log" 2>&1 || { tail -20 "$dir.log" >&2; die "could not install $* in $dir"; }
    touch "$stamp"
}

# copy_source DIR: the files of the checkout, tracked or new, into DIR, with their times, so that cargo builds
# only what has changed.
copy_source() {
    rm -rf "$1"
    mkdir -p "$1"
    git -C "$ROOT" ls-files -z --cached --others --exclude-standard \
        | (cd "$ROOT" && while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done) \
        | tar -C "$ROOT" --null -T - -c | tar -C "$1" -x --no-same-owner
}

# debian_fetch DIR ARG...: cargo, with the crates of builds in that Debian in /cargo there. The machine's cargo
# fetches, because it knows the machine's proxies and certificates. The builds are offline.
debian_fetch() { CARGO_HOME="$1/cargo" cargo "${@:2}"; }

# debian_pgrx DIR MAJOR TARGET: builds cargo-pgrx for this PostgreSQL there, below TARGET (a path there), as
# setup.sh does on the machine. The source that is built later finds it if its target is TARGET.
debian_pgrx() {
    local dir=$1 version tools sources
    version=$(pgrx_version "$2")
    tools="$3/$(basename "$(pgrx_tools "$2")")"
    [ "$(cat "$dir$tools/.version" 2>/dev/null)" != "$version" ] || return 0
    say "building cargo-pgrx $version there (once, some minutes)"
    debian_fetch "$dir" info --quiet "cargo-pgrx@$version" >/dev/null
    sources=("$dir"/cargo/registry/src/*/"cargo-pgrx-$version")
    [ -d "${sources[0]}" ] || die "cargo did not fetch cargo-pgrx $version"
    debian_fetch "$dir" fetch --quiet --locked --manifest-path "${sources[0]}/Cargo.toml"
    in_debian "$dir" CARGO_HOME=/cargo CARGO_NET_OFFLINE=true \
        ${CARGO_BUILD_JOBS:+CARGO_BUILD_JOBS="$CARGO_BUILD_JOBS"} \
        cargo install --locked --debug --no-default-features --root "$tools" \
        --target-dir "$tools/build" --path "${sources[0]#"$dir"}"
    rm -rf "$dir$tools/build"
    echo "$version" >"$dir$tools/.version"
}

# debian_with MAJOR: the Debian that has this PostgreSQL.
debian_with() {
    case $1 in
        15) echo bookworm ;;
        17) echo trixie ;;
        18) echo forky ;;
        19) echo sid ;;
        *) die "no Debian is known that has PostgreSQL $1" ;;
    esac
}

# no_clusters DIR: installing a PostgreSQL there makes no cluster of it.
no_clusters() {
    install -d "$1/etc/postgresql-common"
    echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.conf"
}

# debian_for DIR MAJOR: makes it. PostgreSQL MAJOR can be installed there, and no cluster is made of it.
debian_for() {
    debian "$1" "$(debian_with "$2")"
    no_clusters "$1"
    [ "$2" = 19 ] || return 0
    # Before its release it is in the experimental suite. Sid itself has the libpq of an older PostgreSQL.
    echo "deb $DEBIAN_MIRROR experimental main" >"$1/etc/apt/sources.list.d/experimental.list"
    printf '%s\n' "Package: src:postgresql-$2" 'Pin: release a=experimental' 'Pin-Priority: 990' \
        >"$1/etc/apt/preferences.d/postgresql"
}

as_postgres() {
    local dir=$1
    shift
    in_debian "$dir" setpriv --reuid postgres --regid postgres --clear-groups "$@"
}

# start_server DIR BIN: a new server in that Debian, with its files in /try; it listens at a socket only.
start_server() {
    local bin=$2
    rm -rf "$1/try"
    install -d -m 700 "$1/try"
    in_debian "$1" chown postgres:postgres /try
    as_postgres "$1" "$bin/initdb" -D /try/data -A trust --no-sync >/dev/null
    as_postgres "$1" "$bin/pg_ctl" -D /try/data -l /try/log -w -s start \
        -o "-c listen_addresses= -c unix_socket_directories=/try -c fsync=off" \
        || { tail -5 "$1/try/log" >&2; die "$2/postgres does not start in $1"; }
}

stop_server() { as_postgres "$1" "$2/pg_ctl" -D /try/data -m immediate -s stop; }

# sql DIR ROLE DATABASE: runs standard input, prints values only.
sql() { as_postgres "$1" psql -X -q -A -t -v ON_ERROR_STOP=1 -h /try -U "$2" -d "$3"; }

DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
