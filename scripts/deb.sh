#!/usr/bin/env bash
# Makes Debian packages under target/package, for each supported PostgreSQL of this machine that has headers
# and for the embedded 18, or for the given ones:
#
#   postgresql-NN-vector-search          the extension vector_search
#   postgresql-NN-vector-search-compat   the extension "vector", for apps written for pgvector
#
# They install into the places of Debian's and of PostgreSQL's own packages, whatever the headers' place is.
#
# usage: scripts/deb.sh [PG_CONFIG...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"

command -v dpkg-deb >/dev/null || die "dpkg-deb is not here; it is in Debian's package dpkg"
configs=("$@")
if [ $# -eq 0 ]; then
    "$ROOT/scripts/setup.sh"
    mapfile -t configs < <(supported_configs)
fi
REVISION=1
MAINTAINER="vector_search contributors <maintainers@vector-search.invalid>"
mkdir -p "$PACKAGES"

# The newest glibc whose symbols the library uses.
libc_version() {
    objdump -T "$1" | sed -nE 's/.*[( ]GLIBC_([0-9.]+).*/\1/p' | sort -V | tail -1
}

# control TREE NAME ARCHITECTURE DEPENDS CONFLICTS; standard input is the description, a short line first.
control() {
    install -d "$1/DEBIAN"
    {
        printf '%s: %s\n' Package "$2" Version "$VERSION-$REVISION" Architecture "$3" \
            Maintainer "$MAINTAINER" Installed-Size "$(du -sk --exclude DEBIAN "$1" | cut -f1)" Depends "$4"
        [ -z "$5" ] || printf 'Conflicts: %s\n' "$5"
        printf '%s: %s\n' Section database Priority optional
        sed -e '1s/^/Description: /' -e '2,$s/^/ /'
    } >"$1/DEBIAN/control"
    (cd "$1" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$1/DEBIAN/md5sums"
}

# document TREE NAME: what Debian asks of every package.
document() {
    local doc="$1/usr/share/doc/$2"
    mv "$doc/LICENSE" "$doc/copyright"
    [ ! -e "$doc/CHANGELOG.md" ] || mv "$doc/CHANGELOG.md" "$doc/changelog"
    [ -e "$doc/changelog" ] || install -m 644 "$ROOT/CHANGELOG.md" "$doc/changelog"
    gzip -9n "$doc/changelog"
    find "$1" -type d -exec chmod 755 {} +
}

# build TREE
build() {
    dpkg-deb --root-owner-group --build "$1" "$PACKAGES" >&2
    rm -rf "$1"
}

debs_of() {
    stage "$1"
    local name="postgresql-$MAJOR-vector-search" share="/usr/share/postgresql/$MAJOR" tree="$PACKAGES/deb"
    rm -rf "$tree"
    place "$tree" "/usr/lib/postgresql/$MAJOR/lib" "$share" "/usr/share/doc/$name"
    document "$tree" "$name"
    control "$tree" "$name" "$(dpkg --print-architecture)" \
        "postgresql-$MAJOR, libc6 (>= $(libc_version "$STAGE/lib/vector_search.so")), libgcc-s1" "" <<END
$SUMMARY
The extension vector_search has the types, operators and functions of
pgvector, and an index of its own, ivf, that builds in seconds, tunes itself
and filters inside the index. Whoever may create objects in a database may
create it there: CREATE EXTENSION vector_search.
END
    build "$tree"
    place_compat "$tree" "$share" "/usr/share/doc/$name-compat"
    document "$tree" "$name-compat"
    control "$tree" "$name-compat" all "$name (>= $VERSION)" "postgresql-$MAJOR-pgvector" <<END
extension "vector" for apps written for pgvector, served by vector_search
Access methods, operator classes and settings of pgvector, without pgvector.
The files have the names of pgvector's files, so only one of the two packages
can be installed.
END
    build "$tree"
}

for config in "${configs[@]}"; do
    # Each major has its own version of cargo-pgrx.
    PG_CONFIG="$config" "$ROOT/scripts/setup.sh"
    debs_of "$config"
done
checksums
