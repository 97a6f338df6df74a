#!/usr/bin/env bash
# Builds the documentation as a site, target/book/html, with mdBook (a crate, installed under target/ the
# first time) and checks that every link of it leads to a file.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

MDBOOK_VERSION=0.5.4
mdbook=$(command -v mdbook || true)
[ ! -x "$BUILD/tools/bin/mdbook" ] || mdbook="$BUILD/tools/bin/mdbook"
if [ -z "$mdbook" ]; then
    say "building mdBook $MDBOOK_VERSION (once, a few minutes)"
    cargo install mdbook --version "$MDBOOK_VERSION" --locked --no-default-features --features search \
        --root "$BUILD/tools"
    mdbook="$BUILD/tools/bin/mdbook"
fi

# Copies the pages with their paths in the checkout. SUMMARY.md must be at the top.
book="$BUILD/book"
rm -rf "$book"
mkdir -p "$book/pages/src/ivf/search" "$book/pages/src/page" "$book/pages/src/pg"
cp README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md LICENSE "$book/pages/"
for page in src/ivf src/ivf/search src/page src/pg; do
    cp "$page/README.md" "$book/pages/$page/"
done
cp -r docs "$book/pages/docs"
mv "$book/pages/docs/book.toml" "$book/"
# Links of SUMMARY.md are relative to docs/. The pages of single benchmark runs are listed below "Benchmarks".
runs() {
    local page name
    for page in docs/benchmarks/*/*.md; do
        name=${page#docs/benchmarks/}
        printf '  - [%s](%s)\n' "${name%.md}" "$page"
    done
}
sed -E 's#\]\(#](docs/#; s#\(docs/\.\./#(#' docs/SUMMARY.md | while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in *'(docs/benchmarks/README.md)') runs ;; esac
done >"$book/pages/SUMMARY.md"
rm "$book/pages/docs/SUMMARY.md"

"$mdbook" build "$book"
python3 "$ROOT/scripts/check_site.py" "$book/html"
say "the documentation is in $book/html/index.html"
