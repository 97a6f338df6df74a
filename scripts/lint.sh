#!/usr/bin/env bash
# Checks format, lints and documentation, for the pure crate and with Postgres.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
use_postgres "$pg_config"

python3 "$ROOT/scripts/check_licences.py"
say "format and lints"
cargo fmt --check
cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
cargo clippy --locked --no-default-features --all-targets -- -D warnings
# `test = false` keeps the server tests out of all targets.
cargo clippy --locked --no-default-features --test server -- -D warnings
cargo clippy --locked --no-default-features --features "pg$MAJOR" --lib -- -D warnings
# libFuzzer is C++.
need_programs c++:g++
cargo clippy --locked --no-default-features --manifest-path tests/fuzz/Cargo.toml --target-dir "$BUILD" \
    -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-default-features --no-deps --quiet
