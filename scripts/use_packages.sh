# shellcheck shell=bash
# Sourced by test_packages.sh and test_rpm.sh, after staging.sh and chroot.sh: what is done with packages that
# are installed in a Debian in a folder.

# files_of DIR: every file with its rights and checksum, without what dpkg and rpm keep of any package, and
# without the test's own files.
files_of() {
    local own=(-path ./var/lib/dpkg -o -path ./var/lib/rpm -o -path ./var/log -o -path ./var/cache
        -o -path ./var/lib/apt -o -path ./try -o -path ./tmp -o -path ./proc -o -path ./dev -o -path './.*')
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

# try_extensions DIR BIN: uses the extensions on a new server whose programs are in BIN.
try_extensions() {
    local answer
    start_server "$1" "$2"
    answer=$(use_extensions "$1" 2>"$1.notices") || { cat "$1.notices" >&2; answer=failed; }
    stop_server "$1" "$2"
    [ "$answer" = "10|0"$'\n'"hnsw"$'\n'"$VERSION" ] || die "the extensions answered: $answer"
}
