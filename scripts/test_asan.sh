#!/usr/bin/env bash
# Runs the tests that need no PostgreSQL (kernels, the index in memory, fuzzing) under AddressSanitizer, which
# finds reads and writes outside of an allocation. The toolchain has its runtime. The option that switches it
# on is unstable, so RUSTC_BOOTSTRAP allows it, for this build only.
#
# usage: scripts/test_asan.sh [TEST_ARGUMENTS...]     e.g. kernel
# VECTOR_SEARCH_FUZZ_SECONDS=60 fuzzes each target for a minute instead of a second.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

case "$(uname -m)" in
    x86_64 | aarch64) ;;
    *) die "AddressSanitizer is tried on x86_64 and aarch64 only" ;;
esac
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$BUILD/asan"
export RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" RUSTDOCFLAGS=""
# Tests of what happens when memory runs out ask for impossible amounts.
export ASAN_OPTIONS="allocator_may_return_null=1 detect_leaks=0 ${ASAN_OPTIONS:-}"
say "compiling and running the tests under AddressSanitizer"
cargo test --locked --no-default-features --lib --test ivf --test fuzz \
    --target "$(uname -m)-unknown-linux-gnu" -- "$@"
say "the tests passed under AddressSanitizer"
