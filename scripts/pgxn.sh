#!/usr/bin/env bash
# Makes target/package/vector_search-VERSION.zip for PGXN: the committed files, with META.json at the top.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"
cd "$ROOT"

mkdir -p "$PACKAGES"
name="vector_search-$VERSION"
git archive --format zip --prefix "$name/" -o "$PACKAGES/$name.zip" HEAD
checksums
say "$PACKAGES/$name.zip can be uploaded, or installed by: pgxn install $PACKAGES/$name.zip"
