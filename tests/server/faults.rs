//! Bad input and damaged files raise the right error, and the server continues.

use crate::harness::{Server, literal, vector};
use crate::session::Session;

/// Runs a statement that must fail with an SQLSTATE, and checks that the same server goes on.
fn fails(server: &Server, sqlstate: &str, script: &str) -> String {
    let message = server.try_sql(script).expect_err(script);
    assert!(message.contains(sqlstate), "{}: {message}", &script[..script.len().min(200)]);
    assert!(!message.contains("server closed the connection"), "{message}");
    message
}

#[test]
fn text_that_is_no_vector() {
    let server = Server::new("faults-text", &["fsync = off"]);
    let bad = [
        ("22P02", "[1,2"),
        ("22000", "[]"),
        ("22P02", "[1,,2]"),
        ("22P02", "[1,2,]"),
        ("22000", "[nan]"),
        ("22000", "[inf]"),
        ("22003", "[1e40]"),
        ("22P02", "[1,2]]"),
        ("22P02", "[ü]"),
    ];
    for (state, text) in bad {
        fails(&server, state, &format!("SELECT '{text}'::vector"));
    }
    assert_eq!(server.sql("SELECT ' [ 1 , 2 ] '::vector"), "[1,2]");
    fails(&server, "54000", "SELECT ('[' || repeat('1,', 16000) || '1]')::vector");
    fails(&server, "22P02", "SELECT repeat('[', 10000000)::vector");
    fails(&server, "22023", "CREATE TABLE t (e vector(0))");
    fails(&server, "22023", "CREATE TABLE t (e vector(16001))");
    fails(&server, "22000", "SELECT '[1,2]'::vector(3)");
    fails(&server, "22000", "SELECT ARRAY[[1,2],[3,4]]::vector");
    fails(&server, "22004", "SELECT ARRAY[1,NULL]::vector");
    fails(&server, "22000", "SELECT '[1,2]'::vector <-> '[1,2,3]'");
}

#[test]
fn binary_that_is_no_vector() {
    let server = Server::new("faults-binary", &["fsync = off"]);
    server.sql("CREATE TABLE items (e vector)");
    // Header, one row of one column: its length and contents in hexadecimal.
    let copy = |value: &str| {
        let head = "5047434f50590aff0d0a000000000000000000";
        let length = value.len() / 2;
        let bytes = format!("{head}0001{length:08x}{value}ffff");
        format!(
            "SELECT lo_unlink(4711) FROM pg_largeobject_metadata WHERE oid = 4711;
             SELECT lo_from_bytea(4711, '\\x{bytes}');
             SELECT lo_export(4711, current_setting('data_directory') || '/bad.bin');
             SELECT format('COPY items FROM %L (FORMAT binary)', current_setting('data_directory') \
             || '/bad.bin') \\gexec\n"
        )
    };
    server.sql(&copy("000200003f80000040200000"));
    assert_eq!(server.sql("SELECT e FROM items"), "[1,2.5]");
    for (state, value) in [
        ("08P01", "000200003f800000"),
        ("22P03", "000100003f80000040200000"),
        ("22000", "00000000"),
        ("22000", "ffff0000"),
        ("54000", "3e810000"),
        ("22000", "000100013f800000"),
        ("22000", "000100007fc00000"),
        ("22000", "000100007f800000"),
        ("08P01", "00"),
    ] {
        fails(&server, state, &copy(value));
    }
    assert_eq!(server.sql("SELECT count(*) FROM items"), "1");
}

#[test]
fn odd_queries_and_odd_tables() {
    let server = Server::new("faults-odd", &["fsync = off", "autovacuum = off"]);
    server.sql(
        "CREATE TABLE empty (id int, e vector(3)); CREATE INDEX ON empty USING ivf (e);
         CREATE TABLE one (id int, e vector(3)); INSERT INTO one VALUES (1, '[1,2,3]'), (2, NULL);
         CREATE INDEX ON one USING ivf (e vector_cosine_ops);
         CREATE TABLE same (id int, e vector(3)); INSERT INTO same SELECT i, '[1,2,3]' \
         FROM generate_series(1, 50000) i;
         CREATE INDEX same_index ON same USING ivf (e) WITH (lists = 40);
         CREATE TABLE huge (id int, e vector(3));
         INSERT INTO huge SELECT i, format('[%s,%s,1]', i || 'e34', -i || 'e35')::vector \
         FROM generate_series(1, 500) i;
         INSERT INTO huge VALUES (0, '[1e38,1e38,1e38]'), (501, '[-3e38,3e38,-3e38]'), (502, '[1e-40,0,0]');
         CREATE INDEX ON huge USING ivf (e);
         CREATE TABLE few (id int, e vector(3)); INSERT INTO few SELECT i, format('[%s,1,1]', i)::vector \
         FROM generate_series(1, 20) i;
         CREATE INDEX ON few USING ivf (e) WITH (lists = 1000);",
    );
    let count = |table: &str, query: &str, operator: &str| {
        server.sql(&format!(
            "SET enable_seqscan = off; SET ivf.recall_target = 1;
             SELECT count(*) FROM (SELECT id FROM {table} ORDER BY e {operator} {query}) s"
        ))
    };
    assert_eq!(count("empty", "'[1,2,3]'", "<->"), "0");
    assert_eq!(count("one", "'[1,2,3]'", "<=>"), "1");
    assert_eq!(count("one", "'[0,0,0]'", "<=>"), "1");
    assert_eq!(count("one", "(SELECT NULL::vector)", "<=>"), "1");
    // An order by a constant NULL is no order; the planner must not choose the index without an order.
    assert_eq!(count("same", "NULL::vector", "<->"), "50000");
    assert_eq!(count("same", "'[1,2,3]'", "<->"), "50000");
    assert_eq!(count("same", "(SELECT NULL::vector)", "<->"), "50000");
    assert_eq!(count("few", "'[5,1,1]'", "<->"), "20");
    for query in ["'[1e38,-1e38,1]'", "'[1,1,1]'", "'[3e38,3e38,3e38]'"] {
        let rows = |setting: &str| {
            server.sql(&format!(
                "SET enable_seqscan = off; SET ivf.recall_target = 1; {setting};
                 SELECT string_agg(d::text, ' ') FROM (SELECT e <-> {query} AS d FROM huge \
                 ORDER BY e <-> {query}) s"
            ))
        };
        assert_eq!(rows("SET enable_sort = on"), rows("SET enable_indexscan = off"), "{query}");
    }
    let message =
        fails(&server, "22000", "SET enable_seqscan = off; SELECT * FROM few ORDER BY e <-> '[1,2]'");
    assert!(message.contains("different vector dimensions 3 and 2"), "{message}");
    server.check("same_index");
}

#[test]
fn an_index_that_grows_from_nothing_keeps_its_recall() {
    let server = Server::new("faults-grow", &["fsync = off", "autovacuum = off"]);
    server.sql(
        "CREATE TABLE items (id int PRIMARY KEY, category int, embedding vector(32));
         CREATE INDEX items_index ON items USING ivf (embedding)",
    );
    server.fill("items", 32, 0..20_000);
    server.check("items_index");
    let query = literal(&vector(3, 32));
    let search = format!("SELECT id FROM items ORDER BY embedding <-> '{query}' LIMIT 10");
    let by_index = server.sql(&format!("SET enable_seqscan = off; {search}"));
    assert_eq!(by_index, server.sql(&format!("SET enable_indexscan = off; {search}")));
}

#[test]
fn little_memory_and_many_lists() {
    let server = Server::new("faults-memory", &["fsync = off", "autovacuum = off"]);
    server.fill("items", 256, 0..5000);
    server.sql(
        "SET maintenance_work_mem = '1MB';
         CREATE INDEX items_index ON items USING ivf (embedding) WITH (lists = 32768)",
    );
    server.check("items_index");
    server.sql(
        "DROP INDEX items_index; SET maintenance_work_mem = '2047GB'; \
         CREATE INDEX items_index ON items USING ivf (embedding)",
    );
    server.check("items_index");
}

#[test]
fn settings_and_options_out_of_range() {
    let server = Server::new("faults-settings", &["fsync = off"]);
    // Settings are known once the library is loaded, which any use of the type does.
    for setting in
        ["probes = -1", "probes = 99999999", "probes = 'abc'", "recall_target = 1.5", "iterative_scan = 'on'"]
    {
        fails(&server, "22023", &format!("SELECT '[1]'::vector; SET ivf.{setting}"));
    }
    fails(&server, "42602", "SELECT '[1]'::vector; SET ivf.nothing = 1");
    server.sql("CREATE TABLE t (e vector(3))");
    for option in
        ["lists = -1", "lists = 1000000", "bits = 3", "recall_target = 2", "nothing = 1", "probes = -2"]
    {
        fails(&server, "22023", &format!("CREATE INDEX ON t USING ivf (e) WITH ({option})"));
    }
    fails(&server, "22023", "CREATE TABLE u (e vector); CREATE INDEX ON u USING ivf (e)");
    fails(&server, "42704", "CREATE TABLE v (e point); CREATE INDEX ON v USING ivf (e)");
    fails(&server, "0A000", "CREATE INDEX ON t USING ivf (e, e)");
    fails(&server, "0A000", "CREATE UNIQUE INDEX ON t USING ivf (e)");
    server.sql("CREATE INDEX i ON t USING ivf (e); ALTER INDEX i SET (probes = 3, recall_target = 0.99)");
    fails(&server, "22023", "ALTER INDEX i SET (probes = -3)");
    fails(&server, "42809", "SELECT ivf_check('t')");
    fails(&server, "42809", "SELECT ivf_index_info('pg_class_oid_index')");
}

#[test]
fn a_concurrent_build_that_fails_leaves_an_invalid_index() {
    let server = Server::new("faults-cic", &["fsync = off", "autovacuum = off"]);
    server.fill("items", 16, 0..2000);
    // An index on an expression that fails for one row.
    fails(
        &server,
        "22012",
        "CREATE INDEX CONCURRENTLY broken ON items USING ivf (((embedding + (embedding - \
         embedding))::vector(16)))
         WHERE 1 / (id - 1999) < 100",
    );
    assert_eq!(server.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'broken'::regclass"), "f");
    fails(&server, "55000", "SELECT ivf_check('broken')");
    server.sql("DELETE FROM items WHERE id = 1999; REINDEX INDEX CONCURRENTLY broken");
    server.check("broken");
    server.sql("DROP INDEX broken; CREATE INDEX CONCURRENTLY whole ON items USING ivf (embedding)");
    server.check("whole");
}

#[test]
fn a_snapshot_from_before_the_build_is_not_held_against_the_index() {
    let server = Server::new("faults-snapshot", &["fsync = off", "autovacuum = off"]);
    server.sql("CREATE TABLE t (id int, label int, e vector(3)) WITH (fillfactor = 50)");
    server.sql("INSERT INTO t SELECT i, 1, ARRAY[i, 1, 1]::vector FROM generate_series(1, 1000) i");
    let check = "SELECT ivf_check('t_index', true)";
    let mut old = Session::new(&server);
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.run("SELECT count(*) FROM t");
    // New row versions on the same pages (HOT), to which the index refers by the addresses of the old
    // versions.
    server.sql("UPDATE t SET label = 2; CREATE INDEX t_index ON t USING ivf (e, label)");
    assert_eq!(server.sql("SELECT indcheckxmin FROM pg_index WHERE indexrelid = 't_index'::regclass"), "t");
    server.sql(check);
    let error = old.run(check);
    assert!(error.contains("is newer than this transaction's snapshot"), "{error}");
}

#[test]
fn a_cursor_that_is_overtaken_by_vacuum_returns_its_own_rows() {
    let server = Server::new("faults-cursor", &["fsync = off", "autovacuum = off"]);
    server.fill("items", 16, 0..12_000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding)");
    let query = literal(&vector(3, 16));
    let mut reader = Session::new(&server);
    reader.run("SET enable_seqscan = off");
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    reader.run(&format!("DECLARE c CURSOR FOR SELECT id FROM items ORDER BY embedding <-> '{query}'"));
    assert_eq!(reader.run("FETCH 5 IN c").lines().count(), 5);
    server.sql("DELETE FROM items WHERE id % 2 = 0");
    server.sql("VACUUM items");
    server.fill("items", 16, 50_000..56_000);
    assert_eq!(reader.run("FETCH ALL IN c").lines().count(), 11_995);
    assert_eq!(reader.run("SELECT count(*) FROM items"), "12000");
    server.check("items_index");
}

/// Writes bytes into the file of `items_index`, while the server's buffers keep the old pages.
fn overwrite(server: &Server, offset: u32, hex: &str) {
    server.sql(&format!(
        "SET zero_damaged_pages = off;
         SELECT lo_unlink(4712) FROM pg_largeobject_metadata WHERE oid = 4712;
         SELECT pg_relation_filepath('items_index') AS file \\gset
         SELECT lo_from_bytea(4712, overlay(pg_read_binary_file(:'file')
             PLACING decode('{hex}', 'hex') FROM {from} FOR {length}));
         SELECT lo_export(4712, current_setting('data_directory') || '/' || :'file');",
        from = offset + 1,
        length = hex.len() / 2
    ));
}

#[test]
fn errors_name_the_index() {
    let server = Server::new("faults-names", &["fsync = off", "autovacuum = off"]);
    server.fill("items", 16, 0..100);
    let insert = "INSERT INTO items SELECT id + 1000, category, embedding FROM items";
    let described = "SELECT ivf_index_info('items_index')";
    let near = literal(&vector(3, 16));
    let scan =
        format!("SET enable_seqscan = off; SELECT id FROM items ORDER BY embedding <-> '{near}' LIMIT 1");
    // Offsets in the meta page's contents: the version, whether the build is complete, the metric.
    for (offset, hex, state, text, other) in [
        (4, "6300", "0A000", "index \"items_index\" has format 99", described),
        (6, "00", "XX002", "index \"items_index\" was not built to its end", described),
        (7, "02", "XX002", "the metric is not that of the operator class", &scan),
    ] {
        server.sql(
            "DROP INDEX IF EXISTS items_index; CREATE INDEX items_index ON items USING ivf (embedding);
             CHECKPOINT",
        );
        overwrite(&server, 24 + offset, hex);
        server.restart(&["fsync = off", "autovacuum = off", "ignore_checksum_failure = on"]);
        for statement in [other, insert] {
            let message = fails(&server, state, statement);
            assert!(message.contains(text), "{statement}: {message}");
        }
    }
    server.sql(
        "DROP INDEX items_index;
         CREATE FUNCTION label(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
         CREATE INDEX items_index ON items USING ivf (embedding, (label(id)));
         CREATE OR REPLACE FUNCTION label(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE
             AS 'BEGIN RETURN 2; END'",
    );
    let message = fails(&server, "XX002", "SELECT ivf_check('items_index', true)");
    let text = "index \"items_index\" contradicts its table: the row at (0,1) has other values of filter \
                columns in the index";
    assert!(message.contains(text), "{message}");
    assert!(message.contains("REINDEX") && !message.contains("block 0"), "{message}");
}

#[test]
fn damaged_pages_are_reported_as_damage() {
    let server = Server::new("faults-damage", &["fsync = off", "autovacuum = off"]);
    server.fill("items", 64, 0..12_000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding)");
    let query = literal(&vector(3, 64));
    for place in [0.0, 0.001, 0.02, 0.33, 0.5, 1.0] {
        server.sql("REINDEX INDEX items_index; CHECKPOINT");
        let last: u32 = server.sql("SELECT pg_relation_size('items_index') / 8192 - 1").parse().unwrap();
        let block = (f64::from(last) * place).ceil() as u32;
        overwrite(&server, block * 8192 + 2000, &"5a".repeat(3000));
        server.restart(&["fsync = off", "autovacuum = off", "ignore_checksum_failure = off"]);
        let used = server.try_sql(&format!(
            "SET enable_seqscan = off; SET ivf.recall_target = 1;
             SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> '{query}') s"
        ));
        let checked = server.try_sql("SELECT ivf_check('items_index', true)");
        for result in [used, checked] {
            if let Err(message) = result {
                assert!(
                    ["XX001", "XX002", "58P01"].iter().any(|s| message.contains(s)),
                    "block {block}: {message}"
                );
            }
        }
        assert_eq!(server.sql("SELECT count(*) FROM items"), "12000");
    }
    server.sql("REINDEX INDEX items_index");
    server.check("items_index");
}
