#!/usr/bin/env bash
# Makes an archive of the files that an installation consists of, a bill of materials and checksums, under
# target/package. SIGN_WITH=key signs the checksums with gpg.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"
cd "$ROOT"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
stage "$pg_config"
# Documentation goes where PGXS puts an extension's documentation, so that no unexpected directory appears in
# /.
tree="$PACKAGES/pg$MAJOR"
rm -rf "$tree"
place "$tree" "$("$pg_config" --pkglibdir)" "$("$pg_config" --sharedir)" \
    "$("$pg_config" --docdir)/extension/vector_search"
cp -r examples "$tree$("$pg_config" --docdir)/extension/vector_search/"
name="vector_search-$VERSION-pg$MAJOR-$(uname -m)"
tar -C "$tree" --owner 0 --group 0 --sort name -czf "$PACKAGES/$name.tar.gz" .
cp "$STAGE/sbom.cdx.json" "$PACKAGES/$name.cdx.json"
say "$PACKAGES/$name.tar.gz holds the files by their places from /"
checksums
