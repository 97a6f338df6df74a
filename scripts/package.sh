#!/usr/bin/env bash
# Builds the files that an installation consists of, under target/package.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
use_postgres "$pg_config"
pgrx package --no-default-features --features "pg$MAJOR" --pg-config "$pg_config" \
    --out-dir "$BUILD/package/pg$MAJOR"
# Documentation goes where PGXS puts an extension's documentation, so that no unexpected directory appears in
# /.
docs="$BUILD/package/pg$MAJOR$("$pg_config" --docdir)/extension/vector_search"
mkdir -p "$docs"
cp -r LICENSE README.md CHANGELOG.md ARCHITECTURE.md CONTRIBUTING.md docs examples "$docs/"
archive="$BUILD/package/vector_search-pg$MAJOR-$(uname -m).tar.gz"
tar -C "$BUILD/package/pg$MAJOR" -czf "$archive" .
say "$archive holds the files by their places from /"
