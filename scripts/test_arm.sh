#!/usr/bin/env bash
# Runs the tests that need no PostgreSQL (kernels, the index in memory, fuzzing) on aarch64, under the
# user-mode emulator of QEMU, on an x86-64 machine. The compiler is that of a minimal Debian in target/arm.
# Needs root, for chroot. Nothing is mounted, and no PostgreSQL is needed.
#
# usage: scripts/test_arm.sh [TEST_ARGUMENTS...]     e.g. kernel
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/chroot.sh"
cd "$ROOT"

# The next stable Debian: its Rust is new enough, and has a standard library for arm64.
SUITE=forky
TARGET=aarch64-unknown-linux-gnu
debian="$BUILD/arm/debian"

[ "$(uname -m)" = x86_64 ] || die "this is for x86-64 machines; elsewhere run: make test-pure"
need_tools debootstrap:debootstrap qemu-aarch64-static:qemu-user-static git:git

debian "$debian" "$SUITE"
in_debian "$debian" dpkg --add-architecture arm64
debian_install "$debian" rustc cargo gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-dev:arm64

copy_source "$debian/source"
say "fetching the crates"
debian_fetch "$debian" fetch --quiet --locked --target "$TARGET"
say "compiling the tests for $TARGET"
in_debian "$debian" CARGO_HOME=/cargo CARGO_TARGET_DIR=/build \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    sh -c "cd /source && cargo test --no-run --offline --locked --no-default-features --lib --test ivf \
        --test fuzz --target $TARGET --message-format json ${CARGO_BUILD_JOBS:+-j $CARGO_BUILD_JOBS}" \
    >"$BUILD/arm/messages.json" || die "the tests do not compile for $TARGET"

mapfile -t programs < <(sed -nE 's/.*"executable":"([^"]+)".*/\1/p' "$BUILD/arm/messages.json")
[ ${#programs[@]} -eq 3 ] || die "three test programs were expected, not: ${programs[*]}"
for program in "${programs[@]}"; do
    say "running $(basename "$program") on emulated aarch64"
    VECTOR_SEARCH_TEST_ISA=neon qemu-aarch64-static -L "$debian/usr/aarch64-linux-gnu" \
        "$debian$program" "$@"
done
say "the tests passed on emulated aarch64"
