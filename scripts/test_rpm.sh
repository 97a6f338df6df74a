#!/usr/bin/env bash
# Installs the RPMs of `make rpm` with rpm's own checks in a bare folder, uses the extensions as an ordinary
# user, removes the packages and compares the file system with what it was before. Needs root, for chroot.
#
# The folder is a minimal Debian, because no distribution of RPMs can be fetched here. Two packages of its own
# files fulfil what ours require: one provides its libraries, the other is Debian's PostgreSQL in
# /usr/pgsql-NN.
#
# usage: scripts/test_rpm.sh [MAJOR]      default: 18
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"
. "$ROOT/scripts/chroot.sh"
. "$ROOT/scripts/use_packages.sh"
cd "$ROOT"

major=${1:-18}
suite=$(debian_with "$major")
home="$BUILD/rpm-test"
dir="$home/$suite"
prefix="/usr/pgsql-$major"

# rpm in that folder. Debian's refuses to install into a Debian unless it is told to (--force-debian).
rpm_there() { rpm --root "$dir" --dbpath /var/lib/rpm "$@"; }

# make_package NAME [FOLDER] <<<"lines of the spec": a package in target/rpm-test with the folder's files.
make_package() {
    local name=$1 files=${2:-} top="$home/build"
    rm -rf "$top"
    mkdir -p "$top/SPECS"
    {
        printf '%s\n' '%global debug_package %{nil}' '%global _build_id_links none' \
            '%global __os_install_post %{nil}' "Name: $name" 'Version: 1' 'Release: 1' \
            'Summary: what the test stands on' 'License: PostgreSQL'
        cat
        printf '%s\n' '%description' 'For a test.'
        [ -z "$files" ] || printf '%s\n' '%install' "cp -a '$files/.' %{buildroot}/"
        echo '%files'
        [ -z "$files" ] || (cd "$files" && find . ! -type d -printf '"%p"\n' | sed 's/^"\./"/')
    } >"$top/SPECS/$name.spec"
    rpmbuild -bb --quiet --define "_topdir $top" "$top/SPECS/$name.spec" >"$home/$name.log" 2>&1 \
        || { tail -5 "$home/$name.log" >&2; die "the package $name cannot be made"; }
    find "$top/RPMS" -name '*.rpm' -exec mv {} "$home/$name.rpm" \;
    rm -rf "$top"
}

# Debian's programs find their library where they lie, and share/ where Debian has it: a link leads there.
make_server_package() {
    local tree="$home/server"
    [ ! -e "$home/postgresql$major-server.rpm" ] || return 0
    debian_install "$dir" "postgresql-$major"
    rm -rf "$tree"
    mkdir -p "$tree$prefix" "$tree/usr/share/postgresql"
    cp -a "$dir/usr/lib/postgresql/$major/bin" "$dir/usr/lib/postgresql/$major/lib" "$tree$prefix/"
    cp -a "$dir/usr/share/postgresql/$major" "$tree$prefix/share"
    ln -s "$prefix/share" "$tree/usr/share/postgresql/$major"
    make_package "postgresql$major-server" "$tree" <<<'AutoReqProv: no'
    rm -rf "$tree"
    in_debian "$dir" dpkg --remove --force-depends "postgresql-$major" >>"$dir.log" 2>&1
    rm -rf "$dir/usr/share/postgresql/$major" "$dir/usr/lib/postgresql/$major/lib"
}

make_libraries_package() {
    local provided
    provided=$(find "$dir"/usr/lib/*-linux-gnu "$dir"/lib64/ -name '*.so*' \
        | /usr/lib/rpm/elfdeps --provides | LC_ALL=C sort -u)
    make_package libraries <<<"AutoReqProv: no
Provides: rtld(GNU_HASH)
$(sed 's/^/Provides: /' <<<"$provided")"
}

need_tools debootstrap:debootstrap rpm:rpm rpmbuild:rpm diff:diffutils
packages=("$PACKAGES/vector_search_$major-$VERSION-1.$(uname -m).rpm"
    "$PACKAGES/vector_search_$major-compat-$VERSION-1.noarch.rpm")
for package in "${packages[@]}"; do [ -e "$package" ] || die "$package is missing; run make rpm"; done

mkdir -p "$home"
debian "$dir" "$suite"
no_clusters "$dir"
make_server_package
rm -rf "$dir/var/lib/rpm"
rpm_there --initdb

say "without a server and its libraries the packages are refused"
refused=$(rpm_there --install --force-debian "${packages[@]}" 2>&1) \
    && die "the packages were installed without what they require"
grep -q "postgresql$major-server is needed by vector_search_$major" <<<"$refused" || die "rpm said: $refused"

make_libraries_package
rpm_there --install --force-debian "$home/libraries.rpm" "$home/postgresql$major-server.rpm"
files_of "$dir" >"$dir.before"
say "installing the packages for PostgreSQL $major"
rpm_there --install --force-debian "${packages[@]}"
changed=$(rpm_there --verify "vector_search_$major" "vector_search_$major-compat") \
    || die "rpm finds that files differ from the packages: $changed"
try_extensions "$dir" "$prefix/bin"

say "pgvector's package is refused beside the compatible one"
make_package "pgvector_$major" <<<'AutoReqProv: no'
refused=$(rpm_there --install --force-debian "$home/pgvector_$major.rpm" 2>&1) \
    && die "pgvector_$major was installed beside ours"
grep -q "pgvector_$major conflicts with (installed) vector_search_$major-compat" <<<"$refused" \
    || die "rpm said: $refused"

rpm_there --erase "vector_search_$major-compat" "vector_search_$major"
files_of "$dir" >"$dir.after"
left=$(diff "$dir.before" "$dir.after") || die "after the removal the file system differs: $left"
say "PostgreSQL $major: the RPMs were installed, used by an ordinary user, removed; nothing is left"
