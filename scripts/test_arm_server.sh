#!/usr/bin/env bash
# Builds the extension for aarch64 and runs the SQL tests with Debian's arm64 PostgreSQL 18, under the
# user-mode emulator of QEMU, on an x86-64 machine. The compiler and the emulator are those of the minimal
# Debian of test_arm.sh, the server's files are in its folder /arm. Needs root, for chroot. Nothing is mounted,
# except that the tests see this machine's /proc.
#
# usage: scripts/test_arm_server.sh [TEST...]     e.g. ivf_scan
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/chroot.sh"
cd "$ROOT"

MAJOR=18
SUITE=$(debian_with "$MAJOR")
TARGET=aarch64-unknown-linux-gnu
debian="$BUILD/arm/debian"
# Paths in that Debian.
arm=/arm
bin=$arm/usr/lib/postgresql/$MAJOR/bin
pg_config=$bin/pg_config
target=/build-server

[ "$(uname -m)" = x86_64 ] || die "this is for x86-64 machines; elsewhere run: make test-server"
need_tools debootstrap:debootstrap git:git

# emulated FILE...: puts in place of each aarch64 program a script that runs it in the emulator. So programs
# that start each other (initdb starts postgres) need no support of the kernel. A program finds its files by
# its own path, which is the script's.
emulated() {
    local file
    for file in "$@"; do
        [ "$(head -c 20 "$file" | od -An -tx1 -j 18 | tr -d ' ')" = b700 ] || continue
        mv "$file" "$file.aarch64"
        printf '#!/bin/sh\nexec /usr/bin/qemu-aarch64 -L %s -0 "$0" "$0.aarch64" "$@"\n' "$arm" >"$file"
        chmod 755 "$file"
    done
}

# The arm64 packages of the server and what they need, unpacked but not configured. As if nothing were
# installed, apt chooses all that it needs.
arm_server() {
    local root="$debian$arm" apt deb
    [ ! -e "$root/.complete" ] || return 0
    say "fetching the arm64 packages of PostgreSQL $MAJOR"
    rm -rf "$root" "$debian/arm-packages"
    mkdir -p "$root/usr/lib" "$debian/arm-packages/partial"
    : >"$debian/arm-packages/status"
    apt=(apt-get -qq -y -o APT::Architecture=arm64 -o APT::Architectures::=arm64
        -o Dir::State::status=/arm-packages/status -o Dir::Cache::archives=/arm-packages)
    local proxies=()
    mapfile -t proxies < <(env | grep -iE '^https?_proxy=' || true)
    # shellcheck disable=SC2016  # for the inner shell
    in_debian "$debian" "${proxies[@]}" sh -c 'cd /arm-packages && server=$1 headers=$2 && shift 2 &&
        "$@" --download-only install "$server" && "$@" download "$headers"' sh \
        "postgresql-$MAJOR" "postgresql-server-dev-$MAJOR" "${apt[@]}" >"$debian.log" 2>&1 \
        || { tail -5 "$debian.log" >&2; die "apt could not fetch PostgreSQL $MAJOR for arm64"; }
    for link in bin lib sbin; do
        mkdir -p "$root/usr/$link"
        ln -s "usr/$link" "$root/$link"
    done
    for deb in "$debian"/arm-packages/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" --keep-directory-symlink -x
    done
    # The emulator looks here first for each file that a program opens. These are the machine's.
    rm -rf "$root"/{etc,dev,run,tmp,var,proc,sys,home,root} "$debian/arm-packages"
    emulated "$root/usr/lib/postgresql/$MAJOR"/bin/* \
        "$root/usr/lib/postgresql/$MAJOR"/lib/pgxs/src/test/regress/pg_regress
    touch "$root/.complete"
}

debian "$debian" "$SUITE"
in_debian "$debian" dpkg --add-architecture arm64
debian_install "$debian" rustc cargo rustfmt gcc libc6-dev libclang-dev gcc-aarch64-linux-gnu \
    libc6-dev-arm64-cross libstd-rust-dev:arm64 qemu-user procps
arm_server
debian_pgrx "$debian" "$MAJOR" "$target"

copy_source "$debian/source-server"
mkdir -p "$debian$target"
ln -s "$target" "$debian/source-server/target"
say "fetching the crates"
debian_fetch "$debian" fetch --quiet --locked
say "compiling the extension for $TARGET"
mapfile -t settings < <(env | grep -E '^(CARGO_PROFILE_|CARGO_BUILD_JOBS=)' || true)
in_debian "$debian" CARGO_HOME=/cargo CARGO_NET_OFFLINE=true ${settings[@]+"${settings[@]}"} \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    /source-server/scripts/install.sh "$pg_config" "$TARGET"
say "SQL tests on emulated aarch64"
in_debian_with_proc "$debian" /source-server/scripts/regress.sh "$pg_config" "$@"
say "the SQL tests passed on emulated aarch64, $(in_debian "$debian" "$pg_config" --version)"
