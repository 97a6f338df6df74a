//! Rows on several servers: a partitioned table of foreign tables (`docs/scaling.md`). What the planner sends
//! to the shards depends on how the query is written.

use crate::harness::{Server, literal, major, vector};

pub const SHARDS: u32 = 4;
pub const ROWS: u32 = 1500;

/// A server whose database `postgres` has `items` on four shards, which are databases of the same server, and
/// `whole` with all rows. `None` if there is no postgres_fdw or no dblink.
pub fn sharded(name: &str) -> Option<Server> {
    let server = Server::new(name, &["fsync = off", "autovacuum = off"]);
    let there = "SELECT count(*) FROM pg_available_extensions WHERE name IN ('postgres_fdw', 'dblink')";
    if server.sql(there) != "2" {
        eprintln!("skipped: this server has no postgres_fdw and dblink");
        return None;
    }
    server.fill("whole", 16, 0..SHARDS * ROWS);
    server.sql(
        "CREATE EXTENSION postgres_fdw;
         CREATE TABLE items (id int, category int, embedding vector(16)) PARTITION BY RANGE (id)",
    );
    let socket = server.conninfo();
    let host = socket.split_whitespace().find_map(|part| part.strip_prefix("host=")).unwrap();
    for shard in 0..SHARDS {
        let (from, to) = (shard * ROWS, (shard + 1) * ROWS);
        server.sql(&format!("CREATE DATABASE shard{shard}"));
        let copy =
            server.sql(&format!("COPY (SELECT * FROM whole WHERE id >= {from} AND id < {to}) TO stdout"));
        server.sql(&format!(
            "\\c shard{shard}\nCREATE EXTENSION vector_search;
             CREATE TABLE items (id int, category int, embedding vector(16));
             CREATE VIEW said AS SELECT current_setting('ivf.recall_target', true) AS target;
             COPY items FROM stdin;\n{copy}\n\\.\n
             CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 8);
             VACUUM ANALYZE items"
        ));
        server.sql(&format!(
            "CREATE SERVER shard{shard} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', \
                 dbname 'shard{shard}', extensions 'vector_search', async_capable 'true', fetch_size '20', \
                 use_remote_estimate 'true', \
                 options '-c ivf.recall_target=1');
             CREATE USER MAPPING FOR postgres SERVER shard{shard} \
                 OPTIONS (user 'postgres', password_required 'false');
             CREATE FOREIGN TABLE items_{shard} PARTITION OF items FOR VALUES FROM ({from}) TO ({to}) \
                 SERVER shard{shard} OPTIONS (table_name 'items')"
        ));
    }
    Some(server)
}

/// The ten nearest of each shard, and of these the ten nearest.
fn by_hand(condition: &str, query: &str, order: &str) -> String {
    let shard = |shard| {
        format!(
            "(SELECT id, embedding <-> {query} AS d FROM items_{shard} {condition} \
             ORDER BY embedding <-> {query} LIMIT 10)"
        )
    };
    let all: Vec<String> = (0..SHARDS).map(shard).collect();
    format!("SELECT id FROM ({}) s ORDER BY {order} LIMIT 10", all.join(" UNION ALL "))
}

#[test]
fn shards_answer_in_exact_order() {
    let Some(server) = sharded("shards") else { return };
    let query = format!("'{}'::vector", literal(&vector(5, 16)));
    for condition in
        ["", "WHERE category = 7", &format!("WHERE category < 9 AND embedding <-> {query} < 2.5")]
    {
        let plain = format!("SELECT id FROM items {condition} ORDER BY embedding <-> {query} LIMIT 10");
        let truth = server.sql(&format!("SET enable_indexscan = off; {}", plain.replace("items", "whole")));
        assert!(truth.lines().count() > 2, "{condition}: {truth}");
        let one_by_one = by_hand(condition, &query, "d");
        let at_once = by_hand(condition, &query, "d + 0");
        for asked in [&plain, &one_by_one, &at_once] {
            assert_eq!(server.sql(asked), truth, "{asked}");
        }
        let plan = |asked: &str| server.sql(&format!("EXPLAIN (VERBOSE, COSTS OFF) {asked}"));
        let [whole, one_by_one, at_once] = [plan(&plain), plan(&one_by_one), plan(&at_once)];
        let count = |plan: &str, what: &str| plan.matches(what).count();
        // PostgreSQL 15 may fetch all rows of all shards at once, and sort them.
        let pushed =
            if major() < 18 { vec![&one_by_one, &at_once] } else { vec![&whole, &one_by_one, &at_once] };
        for plan in pushed {
            // With conditions the planner decides by its estimates who sorts.
            let sorted = count(plan, "ORDER BY (embedding OPERATOR(public.<->)");
            assert!(sorted == 4 || !condition.is_empty(), "{plan}");
            let conditions = count(plan, "WHERE ((category ");
            assert_eq!(conditions, if condition.is_empty() { 0 } else { 4 }, "{plan}");
            let within = count(plan, "< 2.5::double precision");
            assert_eq!(within, if condition.contains("2.5") { 4 } else { 0 }, "{plan}");
        }
        assert!(!whole.contains("LIMIT"), "{whole}");
        if condition.is_empty() {
            assert_eq!(count(&one_by_one, "LIMIT 10"), 4, "{one_by_one}");
            assert!(one_by_one.contains("Merge Append") && !one_by_one.contains("Async"), "{one_by_one}");
            let asynchronous = count(&at_once, "Async Foreign Scan");
            assert_eq!((count(&at_once, "LIMIT 10"), asynchronous), (4, 4), "{at_once}");
        }
    }
    // A prepared statement sends its parameter.
    let prepared = by_hand("", "$1", "d + 0");
    assert_eq!(
        server.sql(&format!(
            "SET plan_cache_mode = force_generic_plan; PREPARE near(vector) AS {prepared};
             EXECUTE near({query})"
        )),
        server.sql(&format!("SELECT id FROM whole ORDER BY embedding <-> {query} LIMIT 10"))
    );
    settings_reach_the_shards_and_a_missing_one_is_named(&server);
}

fn settings_reach_the_shards_and_a_missing_one_is_named(server: &Server) {
    server.sql("CREATE FOREIGN TABLE said (target text) SERVER shard2");
    // A session's own setting stays where it is; the server's option travels.
    assert_eq!(
        server.sql("SELECT '[1]'::vector; SET ivf.recall_target = 0.8; SELECT target FROM said"),
        "[1]\n1"
    );
    server.sql("ALTER SERVER shard3 OPTIONS (SET dbname 'gone')");
    let error = server
        .try_sql("SELECT id FROM items ORDER BY embedding <-> '[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 3");
    let error = error.unwrap_err();
    assert!(error.contains("08001") && error.contains("could not connect to server \"shard3\""), "{error}");
}
