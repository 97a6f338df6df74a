#!/usr/bin/env bash
# Installs the Debian packages in bare Debians under target/packages-test, uses the extensions as an ordinary
# user, removes the packages and compares the file system with what it was before. Needs root, for chroot.
# Also holds the bill of materials, the checksums and their signature.
#
# usage: scripts/test_packages.sh [MAJOR...]     default: each major that has packages in target/package
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"
. "$ROOT/scripts/chroot.sh"
. "$ROOT/scripts/use_packages.sh"
cd "$ROOT"

try_major() {
    local major=$1 suite dir debs left
    suite=$(debian_with "$major")
    dir="$BUILD/packages-test/$suite"
    debs=("$PACKAGES/postgresql-$major-vector-search_$VERSION-1_$(dpkg --print-architecture).deb"
        "$PACKAGES/postgresql-$major-vector-search-compat_$VERSION-1_all.deb")
    for deb in "${debs[@]}"; do [ -e "$deb" ] || die "$deb is missing; run make deb"; done
    debian_for "$dir" "$major"
    debian_install "$dir" "postgresql-$major"
    files_of "$dir" >"$dir.before"

    say "installing the packages for PostgreSQL $major in a bare Debian $suite"
    cp "${debs[@]}" "$dir/tmp/"
    in_debian "$dir" sh -c 'apt-get install -y -qq /tmp/*vector-search*.deb' >"$dir.log" 2>&1 \
        || { tail -5 "$dir.log" >&2; die "the packages cannot be installed"; }
    try_extensions "$dir" "/usr/lib/postgresql/$major/bin"

    in_debian "$dir" sh -c "apt-get purge -y -qq 'postgresql-$major-vector-search*'" >>"$dir.log" 2>&1
    files_of "$dir" >"$dir.after"
    left=$(diff "$dir.before" "$dir.after") || die "after the removal the file system differs: $left"
    say "PostgreSQL $major on Debian $suite: installed, used as an ordinary user, removed; nothing is left"
}

# The signature holds, and a changed file is noticed.
try_checksums() {
    local home
    home=$(mktemp -d)
    export GNUPGHOME=$home
    gpg --batch --quiet --passphrase '' --quick-generate-key packages@vector-search.invalid ed25519 \
        sign never 2>/dev/null
    SIGN_WITH=packages@vector-search.invalid checksums
    gpg --batch --quiet --verify "$PACKAGES/SHA256SUMS.asc" "$PACKAGES/SHA256SUMS" 2>/dev/null \
        || die "the signature of SHA256SUMS is wrong"
    (cd "$PACKAGES" && sha256sum --quiet --check SHA256SUMS) || die "SHA256SUMS is wrong"
    gpgconf --kill all
    rm -rf "$home"
    unset GNUPGHOME
    checksums
}

need_tools debootstrap:debootstrap gpg:gpg diff:diffutils
majors=("$@")
if [ ${#majors[@]} -eq 0 ]; then
    mapfile -t majors < <(find "$PACKAGES" -name "postgresql-*-vector-search_$VERSION-*.deb" -printf '%f\n' \
        | sed -E 's/postgresql-([0-9]+)-.*/\1/' | sort -n)
fi
[ ${#majors[@]} -gt 0 ] || die "$PACKAGES has no packages; run make deb"
try_checksums
for major in "${majors[@]}"; do
    try_major "$major"
done
say "the packages passed"
