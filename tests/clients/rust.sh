#!/usr/bin/env bash
# The tests of the Rust crate `pgvector` for postgres, sqlx and diesel; see scripts/test_clients.sh.
# usage: rust.sh DIRECTORY
set -euo pipefail

version=0.4.2
home=$1
crate="$home/pgvector-rust-$version"

if ! [ -d "$crate" ]; then
    # Cargo fetches the crate's source as that of a dependency.
    mkdir -p "$home/fetch/src"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\npgvector = "=%s"\n[workspace]\n' \
        "$version" >"$home/fetch/Cargo.toml"
    touch "$home/fetch/src/lib.rs"
    source=$(cargo metadata --quiet --format-version 1 --manifest-path "$home/fetch/Cargo.toml" \
        | python3 -c 'import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(os.path.dirname(next(p["manifest_path"] for p in packages if p["name"] == "pgvector")))')
    cp -r "$source" "$crate"
    printf '\n[workspace]\n' >>"$crate/Cargo.toml"
fi
export PQ_LIB_DIR=$PG_LIBDIR LD_LIBRARY_PATH=$PG_LIBDIR CARGO_TARGET_DIR=$home/rust
# The URLs of the tests name no user.
export PGUSER=$USER
cd "$crate"
cargo test --quiet --features postgres,sqlx,diesel,halfvec -- --test-threads 1
