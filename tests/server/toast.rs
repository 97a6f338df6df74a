//! Vectors out of line: a backend that remembers their positions reads the right values, whatever happens to
//! the table.

use crate::harness::Server;

/// Two tables, one with vectors of two TOAST chunks and one with three. And a function that compares index
/// scans, which guess the positions of vectors, with sequential scans, and raises an error if their distances
/// differ.
const TABLES: &str = "
CREATE FUNCTION random_vector(dims int, seed int) RETURNS vector IMMUTABLE LANGUAGE sql AS
    $$ SELECT array_agg(sin(seed * 0.7 + i * (1 + seed % 13)) + cos(seed * i))::vector \
    FROM generate_series(1, dims) i $$;
CREATE TABLE items (id int PRIMARY KEY, embedding vector(600));
CREATE TABLE large (id int PRIMARY KEY, embedding vector(1300));
ALTER TABLE items ALTER embedding SET STORAGE EXTERNAL;
ALTER TABLE large ALTER embedding SET STORAGE EXTERNAL;
INSERT INTO items SELECT i, random_vector(600, i) FROM generate_series(1, 2500) i;
INSERT INTO large SELECT i, random_vector(1300, i) FROM generate_series(1, 600) i;
CREATE INDEX items_index ON items USING ivf (embedding);
CREATE INDEX large_index ON large USING ivf (embedding);
CREATE FUNCTION agree(what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE sql text; query text; by_index float8[]; without float8[]; name text; dims int;
BEGIN
    FOR name, dims IN VALUES ('items', 600), ('large', 1300) LOOP
        FOR i IN 1..25 LOOP
            query := format('embedding <-> %L', random_vector(dims, i * 101));
            sql := format('SELECT array_agg(d) FROM (SELECT %s d FROM %I ORDER BY %s \
            LIMIT 15) s', query, name, query);
            PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true),
                set_config('ivf.recall_target', '1', true);
            EXECUTE sql INTO by_index;
            PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
            EXECUTE sql INTO without;
            IF by_index IS DISTINCT FROM without THEN
                RAISE 'of % after %: % instead of %', name, what, by_index, without;
            END IF;
        END LOOP;
    END LOOP;
END $$;
CREATE FUNCTION descents() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(idx_scan)::bigint FROM pg_stat_all_indexes
    WHERE relid IN (SELECT reltoastrelid FROM pg_class WHERE relname IN ('items', 'large')) $$;
";

#[test]
fn values_are_found_wherever_they_lie() {
    let server = Server::new("toast", &["fsync = off", "autovacuum = off"]);
    server.sql(TABLES);
    // All this runs in one backend, which keeps the positions. The second time only the sequential scans need
    // the TOAST tables' indexes: fifty of them read 2500 and 600 rows. Index scans read 750 rows more.
    let descents = server.sql(
        "SELECT agree('the build');
         SELECT pg_stat_force_next_flush(); SELECT descents() AS before \\gset
         SELECT agree('the same');
         SELECT pg_stat_force_next_flush(); SELECT descents() - :before - 25 * (2500 + 600)",
    );
    let descents: i64 = descents.lines().last().unwrap().parse().unwrap();
    assert!((0..200).contains(&descents), "{descents} of 750 values were read by the index");
    server.sql(
        "SELECT agree('the build');
         UPDATE items SET embedding = random_vector(600, 5000 - id) WHERE id % 3 = 0;
         UPDATE large SET embedding = random_vector(1300, 5000 - id) WHERE id % 3 = 0;
         SELECT agree('updates');
         BEGIN; UPDATE items SET embedding = random_vector(600, id + 1); SAVEPOINT s;
         UPDATE large SET embedding = random_vector(1300, id + 1); SELECT agree('updates in the transaction');
         ROLLBACK TO s; SELECT agree('a part of it'); ROLLBACK;
         SELECT agree('updates that were rolled back');
         DELETE FROM items WHERE id % 5 = 1; DELETE FROM large WHERE id % 5 = 1; VACUUM items, large;
         SELECT agree('VACUUM');
         INSERT INTO items SELECT i, random_vector(600, i) FROM generate_series(3001, 3800) i;
         INSERT INTO large SELECT i, random_vector(1300, i) FROM generate_series(3001, 3300) i;
         SELECT agree('inserts into the gaps');
         UPDATE items SET embedding = random_vector(600, 9 - id) WHERE id > 2000;
         CLUSTER items USING items_pkey; VACUUM FULL large;
         SELECT agree('tables written anew');
         ALTER TABLE items ALTER embedding SET STORAGE EXTENDED;
         UPDATE items SET embedding = (array_fill(id, ARRAY[600]))::vector WHERE id % 2 = 0;
         SELECT agree('compressed values');
         REINDEX TABLE items; REINDEX TABLE large; SELECT agree('REINDEX');
         DELETE FROM items WHERE id > 100; DELETE FROM large WHERE id > 100; VACUUM items, large;
         SELECT agree('tables that have shrunk');
         TRUNCATE items, large; SELECT agree('TRUNCATE');
         INSERT INTO items SELECT i, random_vector(600, i) FROM generate_series(1, 400) i;
         INSERT INTO large SELECT i, random_vector(1300, i) FROM generate_series(1, 400) i;
         SELECT agree('new rows')",
    );
    // Pages of a temporary table are the backend's own.
    server.sql(
        "CREATE TEMP TABLE own AS SELECT * FROM items; ALTER TABLE items RENAME TO others; \
         ALTER TABLE own RENAME TO items;
         CREATE INDEX ON items USING ivf (embedding); SELECT agree('a copy'), agree('the same')",
    );
    server.sql("ALTER TABLE IF EXISTS others RENAME TO items");
    server.check("items_index");
    server.check("large_index");
}
