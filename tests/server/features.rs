//! What the server does with types and operators: replication, foreign tables, parallel plans, rights,
//! upgrades.

use crate::harness::{Server, major};
use std::time::Duration;

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(3))";
const FILL: &str = "INSERT INTO items SELECT i, v, v, v FROM (
    SELECT i, ARRAY[i, sin(i), 1]::vector(3) FROM generate_series(1, 2000) i) x (i, v)";
const SUM: &str = "SELECT count(*), md5(string_agg(i::text, '' ORDER BY id)) FROM items i";

#[test]
fn logical_replication_carries_the_types() {
    let publisher = Server::new("publisher", &["wal_level = logical", "fsync = off"]);
    publisher.sql(&format!("{TABLE}; {FILL}; CREATE PUBLICATION all_tables FOR ALL TABLES"));
    for binary in ["false", "true"] {
        let subscriber = Server::new("subscriber", &["fsync = off"]);
        subscriber.sql(TABLE);
        subscriber.sql(
            "CREATE INDEX ON items USING ivf (v); CREATE INDEX ON items USING ivf (h halfvec_cosine_ops)",
        );
        let from = publisher.conninfo();
        subscriber.sql(&format!(
            "CREATE SUBSCRIPTION s{binary} CONNECTION '{from}' PUBLICATION all_tables \
             WITH (binary = {binary})"
        ));
        publisher
            .sql("UPDATE items SET v = v + '[1,1,1]' WHERE id % 10 = 0; DELETE FROM items WHERE id % 7 = 0");
        let wanted = publisher.sql(SUM);
        for attempt in 0.. {
            if subscriber.sql(SUM) == wanted {
                break;
            }
            assert!(attempt < 1200, "binary {binary}: {} is not {wanted}", subscriber.sql(SUM));
            std::thread::sleep(Duration::from_millis(100));
        }
        subscriber.sql(
            "SELECT ivf_check(indexrelid, true) FROM pg_index JOIN pg_class c \
             ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam WHERE amname = 'ivf'",
        );
        assert_eq!(
            subscriber.sql("SELECT id FROM items ORDER BY v <-> '[500,0,1]' LIMIT 1"),
            publisher.sql("SELECT id FROM items ORDER BY v <-> '[500,0,1]' LIMIT 1")
        );
        subscriber.sql(&format!("DROP SUBSCRIPTION s{binary}"));
    }
}

#[test]
fn foreign_tables_order_remotely() {
    let server = Server::new("foreign", &["fsync = off"]);
    if server.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'") == "0" {
        eprintln!("skipped: this server has no postgres_fdw");
        return;
    }
    server.sql(&format!("{TABLE}; {FILL}"));
    server.sql(
        "INSERT INTO items SELECT id + n * 2000, v + ARRAY[n, n, n]::vector, h, s \
         FROM items, generate_series(1, 14) n",
    );
    server.sql("CREATE INDEX ON items USING ivf (v); VACUUM ANALYZE items");
    let socket = server.conninfo();
    let host = socket.split_whitespace().find_map(|part| part.strip_prefix("host=")).unwrap();
    server.sql(&format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '5432', \
         dbname 'postgres', extensions 'vector_search', use_remote_estimate 'true');
         CREATE USER MAPPING FOR postgres SERVER there OPTIONS (user 'postgres', password_required 'false');
         CREATE FOREIGN TABLE far (id int, v vector(3), h halfvec(3), s sparsevec(3)) \
         SERVER there OPTIONS (table_name 'items')"
    ));
    let query =
        "SELECT id FROM far WHERE v <> '[1,1,1]' AND h <-> '[1,1,1]' > 2 ORDER BY v <-> '[500,0,1]' LIMIT 5";
    let plan = server.sql(&format!("EXPLAIN (VERBOSE, COSTS OFF) {query}"));
    assert!(
        plan.contains("OPERATOR(public.<->)") && plan.contains("LIMIT 5") && !plan.contains("Sort"),
        "{plan}"
    );
    assert_eq!(server.sql(query), server.sql(&query.replace("far", "items")));
}

#[test]
fn aggregates_run_in_parallel() {
    let server = Server::new("parallel", &["fsync = off", "max_worker_processes = 8"]);
    server.sql(TABLE);
    server.sql(FILL);
    let query =
        "SELECT avg(v), sum(v), avg(h), sum(subvector(h, 2, 1)), avg(v) FILTER (WHERE id < 0) FROM items";
    let force = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; \
        SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;";
    let plan = server.sql(&format!("{force} EXPLAIN (COSTS OFF) {query}"));
    assert!(plan.contains("Partial Aggregate") && plan.contains("Gather"), "{plan}");
    let parallel = server.sql(&format!("{force} {query}"));
    let serial = server.sql(&format!("SET max_parallel_workers_per_gather = 0; {query}"));
    assert_eq!(parallel.split('|').next(), serial.split('|').next());
    assert!(parallel.starts_with("[1000.5,") && parallel.ends_with('|'), "{parallel}");
}

#[test]
fn a_filter_by_text_knows_what_its_collation_calls_equal() {
    let server = Server::new("collation", &["fsync = off"]);
    let created = server.try_sql(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    if let Err(error) = created {
        assert!(error.contains("ICU is not supported in this build"), "{error}");
        eprintln!("skipped: this server has no ICU");
        return;
    }
    server.sql(
        "CREATE TABLE items (id int, s text COLLATE loose, t text, tags text[] COLLATE loose, v vector(3));
         INSERT INTO items SELECT i, w, w, ARRAY[w, 'x'], ARRAY[i, sin(i), 1]::vector(3)
             FROM (SELECT i, (ARRAY['Straße', 'STRAßE', 'straße', 'weg', 'Weg'])[i % 5 + 1] \
         FROM generate_series(1, 2000) i) x (i, w);
         CREATE INDEX items_index ON items USING ivf (v, s, t, tags); ANALYZE items",
    );
    server.check("items_index");
    let equal = [
        ("s = 'STRAßE'", "1200"),
        ("s = 'WEG'", "800"),
        ("s IN ('WEG', 'nowhere')", "800"),
        ("s = 'WEG' COLLATE \"C\"", "0"),
        ("s = 'Weg' COLLATE \"C\"", "400"),
        ("t = 'WEG'", "0"),
        ("t = 'WEG' COLLATE loose", "800"),
        ("tags && ARRAY['WEG']", "800"),
        ("tags @> ARRAY['wEG', 'X']", "800"),
        ("tags @> ARRAY['weg'] COLLATE \"C\"", "400"),
    ];
    for (condition, rows) in equal {
        let query = format!(
            "SELECT count(*) FROM (SELECT id FROM items WHERE {condition} ORDER BY v <-> '[1,2,3]' \
             LIMIT 2000) q"
        );
        for forced in ["enable_seqscan", "enable_indexscan"] {
            let found = server.sql(&format!(
                "SET {forced} = off; SET enable_sort = {}; {query}",
                forced == "enable_indexscan"
            ));
            assert_eq!(found, rows, "{condition}, {forced} off");
        }
        let plan = server.sql(&format!("SET enable_seqscan = off; SET enable_sort = off; EXPLAIN {query}"));
        assert!(plan.contains("items_index"), "{condition}: {plan}");
    }
}

#[test]
fn columns_change_their_type() {
    let server = Server::new("altering", &["fsync = off"]);
    server.sql(&format!("{TABLE}; {FILL}; CREATE INDEX by_v ON items USING ivf (v)"));
    server.sql("ALTER TABLE items ALTER COLUMN v TYPE vector(2) USING subvector(v, 1, 2)");
    server.sql("SELECT ivf_check('by_v', true)");
    assert_eq!(server.sql("SELECT id FROM items ORDER BY v <-> '[77,1]' LIMIT 1"), "77");
    let error = server.try_sql("ALTER TABLE items ALTER COLUMN v TYPE vector(3)").unwrap_err();
    assert!(error.contains("22000: expected 3 dimensions, not 2"), "{error}");
    // The index stays valid, and requires the column's values to have its dimensions.
    server.sql("ALTER TABLE items ALTER COLUMN v TYPE vector; INSERT INTO items VALUES (0, '[0,1]')");
    server.sql("SELECT ivf_check('by_v', true), ivf_recall('by_v'), ivf_recalibrate('by_v')");
    let error = server.try_sql("INSERT INTO items VALUES (-1, '[0,1,2]')").unwrap_err();
    assert!(error.contains("22000: expected 2 dimensions, not 3"), "{error}");
    // It takes them from the rows now, and keeps them as its option.
    server.sql("REINDEX INDEX by_v; SELECT ivf_check('by_v', true)");
    let error = server.try_sql("INSERT INTO items VALUES (-1, '[0,1,2]')").unwrap_err();
    assert!(error.contains("22000: expected 2 dimensions, not 3"), "{error}");
    server.sql("ALTER TABLE items ALTER COLUMN v TYPE vector(2)");
    let shorter = "ALTER TABLE items ALTER COLUMN v TYPE vector(1) USING subvector(v, 1, 1)";
    let error = server.try_sql(shorter).unwrap_err();
    assert!(error.contains("22023: option \"dimensions\" is 2, but the column's type has 1"), "{error}");
    server.sql(&format!("ALTER INDEX by_v RESET (dimensions); {shorter}; SELECT ivf_check('by_v', true)"));
    server.sql(
        "DROP INDEX by_v; ALTER TABLE items ALTER COLUMN h TYPE vector(3), ALTER COLUMN s TYPE halfvec(3)",
    );
    server.sql(
        "CREATE TABLE arrays (a real[]); INSERT INTO arrays VALUES ('{1,2}'); \
         ALTER TABLE arrays ALTER COLUMN a TYPE vector(2)",
    );
    assert_eq!(server.sql("SELECT a || a FROM arrays"), "[1,2,1,2]");
}

#[test]
fn a_user_with_rights_in_the_database_creates_it() {
    let server = Server::new("trusted", &["fsync = off"]);
    server.sql("DROP EXTENSION vector_search; CREATE ROLE app LOGIN; CREATE DATABASE apps OWNER app");
    server.sql(
        "\\c apps app\nCREATE SCHEMA search; CREATE EXTENSION vector_search SCHEMA search; \
         SET search_path = search, public;
         CREATE SCHEMA mine; CREATE TABLE mine.t (v vector(2)); CREATE INDEX ON mine.t USING ivf (v);
         INSERT INTO mine.t VALUES ('[1,2]'); SELECT v FROM mine.t ORDER BY v <-> '[1,1]' LIMIT 1; \
         DROP EXTENSION vector_search CASCADE",
    );
    server.sql("CREATE ROLE stranger LOGIN");
    let error = server.try_sql("\\c apps stranger\nCREATE EXTENSION vector_search").unwrap_err();
    assert!(error.contains("42501"), "{error}");
}

/// A constraint that is NOT VALID says nothing about rows that are older than it (PostgreSQL 18).
#[test]
fn a_constraint_that_is_not_valid_hides_no_null() {
    if major() < 18 {
        return;
    }
    let server = Server::new("not-valid", &["fsync = off", "autovacuum = off"]);
    server.sql(
        "CREATE TABLE items (id int, e vector(3));
         INSERT INTO items SELECT i, CASE WHEN i % 100 > 0 THEN ARRAY[i % 7, i % 11, 1]::vector(3) END
             FROM generate_series(1, 1000) i;
         ALTER TABLE items ADD CONSTRAINT there NOT NULL e NOT VALID;
         CREATE INDEX ON items USING ivf (e vector_cosine_ops) WITH (lists = 4); ANALYZE items",
    );
    let first = "SET enable_seqscan = off; SET enable_sort = off;
         SELECT id FROM items ORDER BY 1 - (e <=> '[1,2,3]') DESC LIMIT 10";
    let mut ids: Vec<u32> = server.sql(first).lines().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=10).map(|i| 100 * i).collect::<Vec<u32>>(), "NULL comes first");
    server.sql("DELETE FROM items WHERE e IS NULL; ALTER TABLE items VALIDATE CONSTRAINT there");
    let plan = "SET enable_seqscan = off; SET enable_sort = off;
         EXPLAIN SELECT id FROM items ORDER BY 1 - (e <=> '[1,2,3]') DESC LIMIT 10";
    assert!(server.sql(plan).contains("Index Scan"));
}

/// REPACK (CONCURRENTLY) copies a table while others write to it, and inserts what they wrote into the new
/// indexes (PostgreSQL 19).
#[test]
fn a_table_is_repacked_while_rows_change() {
    if major() < 19 {
        return;
    }
    let server = Server::new("repack", &["fsync = off", "autovacuum = off", "wal_level = replica"]);
    server.fill("items", 16, 0..20_000);
    server.sql(
        "CREATE INDEX by_cosine ON items USING ivf (embedding vector_cosine_ops, id);
         DELETE FROM items WHERE id % 3 = 0",
    );
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..20 {
                server.sql(&format!(
                    "INSERT INTO items (id, category, embedding)
                         SELECT 100000 + id + {i} * 20, category, embedding FROM items WHERE id < 20;
                     DELETE FROM items WHERE id % 1000 = {i} * 7 + 1;
                     UPDATE items SET category = category + 1 WHERE id % 500 = {i}"
                ));
            }
        });
        for _ in 0..3 {
            server.sql("REPACK (CONCURRENTLY) items");
        }
        writer.join().unwrap();
    });
    server.check("by_cosine");
    let target = "(SELECT embedding FROM items WHERE id = 5)";
    let nearest = format!("SELECT id FROM items ORDER BY embedding <=> {target}, id LIMIT 20");
    let by_index = server.sql(&format!("SET ivf.recall_target = 1; SET enable_seqscan = off; {nearest}"));
    let by_table = server.sql(&format!("SET enable_indexscan = off; {nearest}"));
    assert_eq!(by_index, by_table);
}
