#!/usr/bin/env bash
# Makes an RPM under target/package from packaging/vector_search.spec, for PG_CONFIG's PostgreSQL (or the
# newest of this machine). The spec calls this script, too, for its steps.
#
# usage: scripts/rpm.sh | scripts/rpm.sh stage PG_CONFIG | scripts/rpm.sh place ROOT MAJOR
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"

case ${1:-} in
    stage)
        PG_CONFIG=$2 "$ROOT/scripts/setup.sh"
        stage "$2"
        ;;
    place)
        STAGE="$PACKAGES/stage-$3"
        name="vector_search_$3"
        place "$2" "/usr/pgsql-$3/lib" "/usr/pgsql-$3/share" "/usr/share/doc/$name"
        # rpmbuild looks for dependencies of executable files.
        chmod 755 "$2/usr/pgsql-$3/lib/vector_search.so"
        place_compat "$2" "/usr/pgsql-$3/share" "/usr/share/doc/$name-compat"
        ;;
    '')
        command -v rpmbuild >/dev/null || die "rpmbuild is not here; it is in Debian's package rpm"
        "$ROOT/scripts/setup.sh"
        pg_config=${PG_CONFIG:-$(supported_configs | tail -1)}
        stage "$pg_config"
        top="$BUILD/rpm"
        rm -rf "$top"
        # What the spec would check of this machine are packages that only a machine with RPM has.
        rpmbuild -bb --nodeps --quiet --define "_topdir $top" --define "pgmajor $MAJOR" \
            --define "pgversion $VERSION" --define "staged $ROOT/scripts/rpm.sh" \
            "$ROOT/packaging/vector_search.spec" >&2
        find "$top/RPMS" -name '*.rpm' -exec mv -t "$PACKAGES/" {} +
        rm -rf "$top"
        checksums
        ;;
    *) die "usage: scripts/rpm.sh | scripts/rpm.sh stage PG_CONFIG | scripts/rpm.sh place ROOT MAJOR" ;;
esac
