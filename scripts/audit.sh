#!/usr/bin/env bash
# Checks licences, sources and advisories of all crates (deny.toml) with cargo-deny, which is installed under
# target/ the first time. Advisories come from a git repository on the internet. AUDIT=licenses,bans,sources
# checks without it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

DENY_VERSION=0.20.2
deny=$(command -v cargo-deny || true)
[ ! -x "$BUILD/tools/bin/cargo-deny" ] || deny="$BUILD/tools/bin/cargo-deny"
if [ -z "$deny" ]; then
    say "building cargo-deny $DENY_VERSION (once, some minutes)"
    CARGO_TARGET_DIR="$BUILD/tools/build" cargo install cargo-deny --version "=$DENY_VERSION" --locked \
        --debug --root "$BUILD/tools"
    rm -rf "$BUILD/tools/build"
    deny="$BUILD/tools/bin/cargo-deny"
fi
IFS=, read -ra what <<<"${AUDIT:-advisories,licenses,bans,sources}"
"$deny" --locked --no-default-features --features pg18,pg19 check "${what[@]}"
# The fuzzer is a package of its own.
"$deny" --locked --manifest-path tests/fuzz/Cargo.toml check --config deny.toml "${what[@]}"
