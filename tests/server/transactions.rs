//! Transactions that are prepared, rolled back in part, or rolled back by a crash; tables that move to other
//! tablespaces, or in and out of the WAL.

use crate::harness::Server;

const CONF: &[&str] =
    &["autovacuum = off", "fsync = off", "max_prepared_transactions = 4", "allow_in_place_tablespaces = on"];

/// A table of 3,000 rows and its index, and a function that compares a scan of all rows with the table.
const SET_UP: &str = "
CREATE FUNCTION vec(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
    $$ SELECT ARRAY[sin(i), cos(i * 3), sin(i * 0.1), i % 7, 1]::vector $$;
CREATE TABLE items (id int PRIMARY KEY, label int, embedding vector(5)) WITH (fillfactor = 70);
INSERT INTO items SELECT i, i % 9, vec(i) FROM generate_series(1, 3000) i;
CREATE INDEX items_index ON items USING ivf (embedding, label) WITH (lists = 12);
CREATE FUNCTION compare() RETURNS void LANGUAGE plpgsql AS $$
DECLARE by_index int[]; by_table int[];
BEGIN
    PERFORM set_config('ivf.recall_target', '1', true), set_config('enable_seqscan', 'off', true);
    SELECT array_agg(id) INTO by_index FROM (SELECT id FROM items ORDER BY embedding <-> '[1,1,1,1,1]') s;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true),
        set_config('enable_bitmapscan', 'off', true), set_config('enable_indexonlyscan', 'off', true);
    SELECT array_agg(id ORDER BY id) INTO by_table FROM items;
    IF (SELECT array_agg(id ORDER BY id) FROM unnest(by_index) id) IS DISTINCT FROM by_table THEN
        RAISE '% rows by the index, % by the table', cardinality(by_index), cardinality(by_table);
    END IF;
    PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
        set_config('enable_indexonlyscan', 'on', true);
END $$;
";

fn crash(server: &Server) {
    server.kill(&server.postmaster());
    server.restart(CONF);
}

fn verify(server: &Server, rows: u32) {
    server.check("items_index");
    assert_eq!(server.sql("SELECT compare(); SELECT count(*) FROM items").trim(), rows.to_string());
}

#[test]
fn what_is_rolled_back_is_not_there() {
    let server = Server::new("transactions", CONF);
    server.sql(SET_UP);
    server.sql(
        "BEGIN; INSERT INTO items SELECT i, 1, vec(i) FROM generate_series(4001, 4200) i; SELECT compare();
         SAVEPOINT a; INSERT INTO items SELECT i, 1, vec(i) FROM generate_series(4201, 4400) i;
         UPDATE items SET embedding = vec(id + 1) WHERE id % 10 = 0; SELECT compare();
         SAVEPOINT b; DELETE FROM items WHERE id % 7 = 0; SELECT compare(); ROLLBACK TO b; SELECT compare();
         ROLLBACK TO a; SELECT compare(); RELEASE a; COMMIT;
         BEGIN; DELETE FROM items WHERE id < 1500; SELECT compare(); ROLLBACK;
         DO $$ BEGIN FOR i IN 1..40 LOOP BEGIN
             INSERT INTO items SELECT 10000 + 10 * i + j, 1, vec(j) FROM generate_series(1, 5) j;
             IF i % 2 = 0 THEN RAISE EXCEPTION 'undone'; END IF;
             EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
    );
    verify(&server, 3000 + 200 + 100);
    // Updates that leave the indexed columns alone are HOT.
    server.sql(
        "ALTER TABLE items ADD note text; UPDATE items SET note = 'x' WHERE id % 4 = 0;
         SELECT pg_stat_force_next_flush()",
    );
    assert_ne!(server.sql("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'items'"), "0");
    verify(&server, 3300);
    server.sql("VACUUM items");
    verify(&server, 3300);
}

#[test]
fn what_is_prepared_is_there_once_it_is_committed() {
    let server = Server::new("prepared", CONF);
    server.sql(SET_UP);
    for (end, before, after) in [("COMMIT PREPARED", 3000, 3200), ("ROLLBACK PREPARED", 3200, 3200)] {
        server.sql(&format!(
            "BEGIN; \
             INSERT INTO items SELECT i + 10 * {before}, 2, vec(i) FROM generate_series(20001, 20300) i;
             DELETE FROM items WHERE id <= {before} - 2900; PREPARE TRANSACTION 'two'"
        ));
        verify(&server, before);
        // VACUUM leaves the rows of a transaction that may still commit, before and after a crash.
        server.sql("VACUUM items");
        if end.starts_with("COMMIT") {
            crash(&server);
        }
        server.sql("VACUUM items");
        verify(&server, before);
        server.sql(&format!("{end} 'two'"));
        verify(&server, after);
        server.sql("VACUUM items");
        verify(&server, after);
    }
    // A concurrent build waits for the prepared transaction, and has its rows.
    server.sql(
        "BEGIN; INSERT INTO items SELECT i, 3, vec(i) FROM generate_series(40000, 40099) i;
         PREPARE TRANSACTION 'three'",
    );
    let create = "CREATE INDEX CONCURRENTLY later ON items USING ivf (embedding) WITH (lists = 5)";
    let build = server.start_sql(create);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND query LIKE 'CREATE INDEX%'";
    for _ in 0..100 {
        if server.sql(waits) != "0" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    server.sql("COMMIT PREPARED 'three'");
    assert!(build.wait_with_output().unwrap().status.success());
    server.check("later");
}

#[test]
fn tables_move() {
    let server = Server::new("moving-tables", CONF);
    server.sql(SET_UP);
    server.sql("CREATE TABLESPACE here LOCATION ''");
    server.sql("CREATE TABLESPACE there LOCATION ''");
    // After each of them the server crashes, and has so many rows.
    for (statement, rows) in [
        ("ALTER INDEX items_index SET TABLESPACE here", 3000),
        (
            "ALTER TABLE items SET TABLESPACE there; REINDEX (TABLESPACE there) INDEX items_index;
             INSERT INTO items SELECT i, 1, vec(i) FROM generate_series(5001, 6000) i;
             SELECT ivf_maintain('items_index', true)",
            4000,
        ),
        // A crash leaves nothing of an unlogged table.
        (
            "DELETE FROM items WHERE id > 5000; VACUUM items; ALTER TABLE items SET UNLOGGED;
             INSERT INTO items SELECT i, 1, vec(i) FROM generate_series(5001, 5100) i",
            0,
        ),
        (
            "INSERT INTO items SELECT i, 1, vec(i) FROM generate_series(1, 2000) i;
             ALTER TABLE items SET LOGGED; ALTER INDEX items_index SET TABLESPACE pg_default",
            2000,
        ),
    ] {
        server.sql(statement);
        crash(&server);
        verify(&server, rows);
    }
    server.sql(
        "SET temp_tablespaces = here;
         BEGIN; CREATE TEMP TABLE own ON COMMIT DROP AS SELECT * FROM items;
         CREATE INDEX own_index ON own USING ivf (embedding) WITH (lists = 5);
         INSERT INTO own SELECT id + 10000, label, embedding FROM items LIMIT 500;
         SELECT ivf_check('own_index', true); COMMIT;
         CREATE TEMP TABLE emptied (id int, embedding vector(5)) ON COMMIT DELETE ROWS;
         CREATE INDEX emptied_index ON emptied USING ivf (embedding);
         BEGIN; INSERT INTO emptied SELECT id, embedding FROM items LIMIT 300;
         SELECT ivf_check('emptied_index', true); COMMIT; SELECT ivf_check('emptied_index', true);
         INSERT INTO emptied SELECT id, embedding FROM items LIMIT 30",
    );
    assert_eq!(server.sql("SELECT count(*) FROM pg_class WHERE relname = 'own_index'"), "0");
}
