//! All kinds of indexes and tables get new lists.

use super::*;

/// Replaces the lists of an index by `ivf_maintain` and VACUUM, with rows inserted, updated and deleted
/// between, and compares scans with the table.
fn renew(server: &Server, table: &str, column: &str, op: &str, query: &str, condition: &str) {
    let index = format!("{table}_index");
    let compare =
        format!("SELECT compare('{table}', '{column}', '{op}', ({query})::text, '{condition}', 0);");
    let check = format!("SELECT ivf_check('{index}', true); {compare}");
    server.sql(&check);
    for round in 0..2 {
        server.sql(&format!("SELECT ivf_maintain('{index}', true); {check}"));
        server.sql(&format!("UPDATE {table} SET id = -id WHERE id % 5 = {round}; {check}"));
        server.sql(&format!("DELETE FROM {table} WHERE id % 7 = {round}; VACUUM {table}; {check}"));
    }
    let info =
        server.sql(&format!("SELECT ivf_index_info('{index}') #>> '{{maintenance,last}}' IS NOT NULL"));
    assert_eq!(info, "t", "{table}");
}

#[test]
fn all_kinds_of_indexes() {
    let server = Server::new("renewal-kinds", &["autovacuum = off", "fsync = off"]);
    server.sql(SET_UP);
    server.sql("CALL rows(1, 1200, NULL)");
    let table = |name: &str, value: &str, index: &str| {
        server.sql(&format!(
            "CREATE TABLE {name} AS SELECT id, category, {value} AS v FROM items;
             CREATE INDEX {name}_index ON {name} USING ivf ({index};"
        ));
    };
    for bits in [1, 4, 8] {
        let name = format!("bits{bits}");
        table(
            &name,
            "embedding::vector(16)",
            &format!("v vector_cosine_ops) WITH (lists = 8, bits = {bits})"),
        );
        renew(&server, &name, "v", "<=>", "vec(7, 9)", "");
    }
    table("half", "embedding::halfvec(16)", "v halfvec_l2_ops) WITH (lists = 8)");
    renew(&server, "half", "v", "<->", "vec(7, 9)", "");
    table("strings", "binary_quantize(embedding)::bit(16)", "v bit_hamming_ops) WITH (lists = 8)");
    renew(&server, "strings", "v", "<~>", "binary_quantize(vec(7, 9))::bit(16)", "");
    table("taxicab", "embedding::vector(16)", "v vector_l1_ops, id) WITH (lists = 8)");
    renew(&server, "taxicab", "v", "<+>", "vec(7, 9)", "");
    table("common", "binary_quantize(embedding)::bit(16)", "v bit_jaccard_ops) WITH (lists = 8)");
    renew(&server, "common", "v", "<%>", "binary_quantize(vec(7, 9))::bit(16)", "");
    table("open", "embedding::vector", "v vector_l1_ops) WITH (lists = 8)");
    renew(&server, "open", "v", "<+>", "vec(7, 9)", "");
    table("filtered", "embedding::vector(16)", "v, category, id) WITH (lists = 8)");
    renew(&server, "filtered", "v", "<->", "vec(7, 9)", "WHERE category = 3");
    renew(&server, "filtered", "v", "<->", "vec(7, 9)", "WHERE id BETWEEN 100 AND 300");
    table("part", "embedding::vector(16)", "v) WITH (lists = 8) WHERE category < 4");
    renew(&server, "part", "v", "<->", "vec(7, 9)", "WHERE category < 4");
    table("expression", "embedding::vector", "(subvector(v, 1, 8)::vector(8))) WITH (lists = 8)");
    renew(&server, "expression", "(subvector(v, 1, 8)::vector(8))", "<->", "subvector(vec(7, 9), 1, 8)", "");
    server.sql(
        "CREATE TABLE nulls AS SELECT id, category, NULLIF(category, 3)::text c, embedding v FROM items;
                UPDATE nulls SET v = NULL WHERE category = 5; DELETE FROM nulls WHERE v IS NULL;
                CREATE INDEX nulls_index ON nulls USING ivf (v, c) WITH (lists = 8)",
    );
    renew(&server, "nulls", "v", "<->", "vec(7, 9)", "WHERE c IS NULL");
}

#[test]
fn an_index_at_rest_is_left_alone() {
    let server = server("renewal-rest", &["autovacuum = off", "fsync = off"]);
    server.sql(&new_topic(0));
    let mut reasons = Vec::new();
    for _ in 0..6 {
        reasons.push(vacuum(&server));
        server.sql("SELECT pg_current_xact_id()");
    }
    assert!(reasons[0].is_some() && reasons[5].is_none(), "VACUUM has replaced the lists again: {reasons:?}");
}

#[test]
fn vacuum_with_parallel_workers() {
    let server = server("renewal-parallel", &["autovacuum = off", "fsync = off"]);
    server.sql("CREATE INDEX by_category ON items (category)");
    for topic in 0..3 {
        server.sql(&new_topic(topic));
        server.sql("DELETE FROM items WHERE id % 3 = 1");
        let parallel =
            "SET min_parallel_index_scan_size = 0; SET max_parallel_maintenance_workers = 2; VACUUM items";
        server.sql(parallel);
        verify(&server);
        server.sql(parallel);
        assert!(!state(&server, "items_index").0);
        server.sql(&drop_topic(topic));
    }
    // It replaces no lists; a VACUUM without workers does.
    let replaced = "SELECT ivf_index_info('items_index') #>> '{maintenance,last}' IS NOT NULL";
    assert_eq!(server.sql(replaced), "f");
    server.sql(&new_topic(3));
    server.sql("VACUUM (PARALLEL 0) items");
    assert_eq!(server.sql(replaced), "t");
    verify(&server);
}

#[test]
fn tables_without_wal() {
    let conf = ["autovacuum = off", "fsync = off"];
    let server = Server::new("renewal-unlogged", &conf);
    server.sql(SET_UP);
    server.sql("CALL rows(1, 1200, NULL)");
    server.sql(
        "CREATE UNLOGGED TABLE fleeting AS SELECT id, category, embedding::vector(16) v FROM items;
         CREATE INDEX fleeting_index ON fleeting USING ivf (v, category) WITH (lists = 8); CHECKPOINT",
    );
    renew(&server, "fleeting", "v", "<->", "vec(7, 9)", "");
    // A temporary table belongs to one session.
    server.sql(
        "CREATE TEMP TABLE own AS SELECT id, category, embedding::vector(16) v FROM items;
         CREATE INDEX own_index ON own USING ivf (v, category) WITH (lists = 8);
         SELECT ivf_maintain('own_index', true); SELECT ivf_check('own_index', true);
         INSERT INTO own SELECT n, n % 7, vec(n, 200) FROM generate_series(5000, 6500) n;
         VACUUM own; SELECT ivf_check('own_index', true);
         DELETE FROM own WHERE id < 1000; VACUUM own; SELECT pg_current_xact_id(); VACUUM own; VACUUM own;
         SELECT ivf_check('own_index', true);
         SELECT compare('own', 'v', '<->', vec(3, 3)::text, '', 0)",
    );
    server.kill(&server.postmaster());
    server.restart(&conf);
    assert_eq!(server.sql("SELECT count(*) FROM fleeting"), "0");
    server.sql("INSERT INTO fleeting SELECT id, category, embedding FROM items");
    renew(&server, "fleeting", "v", "<->", "vec(7, 9)", "");
}
