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
cd "$ROOT"

# files_of DIR: every file with its rights and checksum, without what dpkg keeps of any package, and without
# the test's own files.
files_of() {
    local own=(-path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./var/lib/apt
        -o -path ./try -o -path ./tmp -o -path ./proc -o -path ./dev -o -path './.*')
    (cd "$1" && find . -xdev \( "${own[@]}" \) -prune -o -printf '%y %m %U:%G %p %l\n' | LC_ALL=C sort)
    (cd "$1" && find . -xdev \( "${own[@]}" \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum)
    in_debian "$1" dpkg-query -W -f '${Package} ${Status}\n'
}

# What an ordinary user does: both extensions, a table, an index, the nearest rows by index and without it.
use_extensions() {
    sql "$1" postgres postgres <<'SQL'
CREATE ROLE app LOGIN;
CREATE DATABASE app;
GRANT CREATE ON DATABASE app TO app;
SQL
    sql "$1" app app <<'SQL'
CREATE EXTENSION vector_search;
CREATE EXTENSION vector;
CREATE SCHEMA app;
CREATE TABLE app.items (id int PRIMARY KEY, kind int, embedding vector(8));
INSERT INTO app.items SELECT i, i % 3, ARRAY(SELECT sin(i * d) FROM generate_series(1, 8) d)
    FROM generate_series(1, 5000) i;
CREATE INDEX items_ivf ON app.items USING ivf (embedding vector_l2_ops, kind);
CREATE INDEX items_hnsw ON app.items USING hnsw (embedding vector_cosine_ops);
ANALYZE app.items;
SET ivf.recall_target = 1;
CREATE TEMP TABLE answers (way text, place int, id int);
DO $$
DECLARE
    line text;
    plan text := '';
    query text := 'SELECT id FROM app.items WHERE kind = 1 ORDER BY embedding <-> '
        || '(SELECT embedding FROM app.items WHERE id = 77) LIMIT 10';
BEGIN
    SET LOCAL enable_sort = off;
    FOR line IN EXECUTE 'EXPLAIN ' || query LOOP plan := plan || line; END LOOP;
    ASSERT plan LIKE '%Index Scan using items_ivf%', plan;
    EXECUTE 'INSERT INTO answers SELECT $q$index$q$, row_number() OVER (), id FROM (' || query || ') q';
    SET LOCAL enable_sort = on;
    SET LOCAL enable_indexscan = off;
    EXECUTE 'INSERT INTO answers SELECT $q$table$q$, row_number() OVER (), id FROM (' || query || ') q';
END $$;
SELECT (SELECT count(*) FROM answers WHERE way = 'index'), count(*) FROM
    (SELECT place, id FROM answers WHERE way = 'index'
     EXCEPT SELECT place, id FROM answers WHERE way = 'table') x;
SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 'app.items_hnsw'::regclass;
SELECT extversion FROM pg_extension WHERE extname = 'vector_search';
DROP EXTENSION vector_search CASCADE;
SQL
}

try_major() {
    local major=$1 suite dir debs answer left
    suite=$(debian_with "$major")
    dir="$BUILD/packages-test/$suite"
    debs=("$PACKAGES/postgresql-$major-vector-search_$VERSION-1_$(dpkg --print-architecture).deb"
        "$PACKAGES/postgresql-$major-vector-search-compat_$VERSION-1_all.deb")
    for deb in "${debs[@]}"; do [ -e "$deb" ] || die "$deb is missing; run make deb"; done
    debian "$dir" "$suite"
    no_clusters "$dir"
    debian_install "$dir" "postgresql-$major"
    files_of "$dir" >"$dir.before"

    say "installing the packages for PostgreSQL $major in a bare Debian $suite"
    cp "${debs[@]}" "$dir/tmp/"
    in_debian "$dir" sh -c 'apt-get install -y -qq /tmp/*vector-search*.deb' >"$dir.log" 2>&1 \
        || { tail -5 "$dir.log" >&2; die "the packages cannot be installed"; }
    start_server "$dir" "$major"
    answer=$(use_extensions "$dir" 2>"$dir.notices") || { cat "$dir.notices" >&2; answer=failed; }
    stop_server "$dir" "$major"
    [ "$answer" = "10|0"$'\n'"hnsw"$'\n'"$VERSION" ] || die "the extensions answered: $answer"

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
