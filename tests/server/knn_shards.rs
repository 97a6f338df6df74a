//! `knn_shards`: the nearest rows of all shards at once.

use std::time::{Duration, Instant};

use crate::harness::{Server, literal, major, vector};
use crate::shards::{ROWS, SHARDS, sharded};

/// The ids and distances that the function finds in `items`; `more` are its arguments after `k`.
fn found(server: &Server, query: &str, more: &str) -> String {
    server.sql(&asked(query, more))
}

fn asked(query: &str, more: &str) -> String {
    format!("SELECT (item).id, distance FROM knn_shards('items', NULL::hit, 'embedding', {query}, 10 {more})")
}

/// The same rows by a sequential scan of the table that has all.
fn truth(server: &Server, query: &str, operator: &str, condition: &str) -> String {
    server.sql(&format!(
        "SET enable_indexscan = off; SELECT id, embedding {operator} {query} AS d FROM whole WHERE {condition}
         ORDER BY d LIMIT 10"
    ))
}

/// Raises an error that has all these words.
#[track_caller]
fn fails(server: &Server, statement: &str, words: &[&str]) {
    let error = server.try_sql(statement).unwrap_err();
    assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
}

#[test]
fn the_nearest_rows_of_all_shards() {
    let Some(server) = sharded("knn_shards") else { return };
    let query = format!("'{}'::vector", literal(&vector(5, 16)));
    server.sql("CREATE TYPE hit AS (id int)");
    fails(&server, &asked(&query, ""), &["55000", "needs the extension dblink", "CREATE EXTENSION dblink"]);
    // In a schema that no search path has.
    server.sql("CREATE SCHEMA \"Links\"; CREATE EXTENSION dblink SCHEMA \"Links\"");
    answers_are_exact(&server, &query);
    each_shard_scans_its_index_to_the_limit(&server, &query);
    recall_target_travels(&server, &query);
    columns_of_the_row_type(&server, &query);
    partitions_of_all_kinds(&server, &query);
    rights_are_those_of_the_caller(&server, &query);
    wrong_arguments_are_named(&server, &query);
    a_wait_can_be_cancelled(&server, &query);
    shards_only_read(&server, &query);
    shards_that_fail_are_named(&server, &query);
}

fn answers_are_exact(server: &Server, query: &str) {
    for (more, operator, condition) in [
        (String::new(), "<->", "true".to_owned()),
        (", operator => '<=>'".into(), "<=>", "true".into()),
        (", condition => 'category = 7 -- seven'".into(), "<->", "category = 7".into()),
        (", condition => 'category = 7 OR id < 50'".into(), "<->", "category = 7 OR id < 50".into()),
        (", below => 1.5".into(), "<->", format!("embedding <-> {query} < 1.5")),
        (
            ", condition => 'category < 9', below => 2.5".into(),
            "<->",
            format!("category < 9 AND embedding <-> {query} < 2.5"),
        ),
        (", condition => 'false'".into(), "<->", "false".into()),
        (", condition => 'id = 3000'".into(), "<->", "id = 3000".into()),
    ] {
        let true_rows = truth(server, query, operator, &condition);
        assert_eq!(found(server, query, &more), true_rows, "{more}");
    }
    // A statement that is prepared; a text; a number of rows that no shard has.
    assert_eq!(
        server.sql(&format!("PREPARE near AS {}; EXECUTE near({query})", asked("$1::vector", ""))),
        truth(server, query, "<->", "true")
    );
    assert_eq!(found(server, query.trim_end_matches("::vector"), ""), truth(server, query, "<->", "true"));
    let count = |k: u32| {
        server.sql(&format!(
            "SELECT count(*), count(DISTINCT (item).id) FROM \
             knn_shards('items', NULL::items, 'embedding', {query}, {k})"
        ))
    };
    assert_eq!(count(0), "0|0");
    assert_eq!(count(2 * SHARDS * ROWS), format!("{0}|{0}", SHARDS * ROWS));
}

/// Whether a backend belongs to this session: those of earlier ones may still be about to end.
const OWN: &str = "backend_type = 'client backend' AND backend_start >
    (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())";

/// By the statement that a shard got.
fn each_shard_scans_its_index_to_the_limit(server: &Server, query: &str) {
    for (more, condition) in
        [("", None), (", condition => 'category = 7', below => 2.5", Some("Index Cond: (category = 7)"))]
    {
        // The sessions of the shards are there while this one is.
        let got = server.sql(&format!(
            "CREATE TEMP TABLE out AS {};
             SELECT datname || '#' || query FROM pg_stat_activity WHERE query LIKE '%LIMIT 10%'
                 AND datname LIKE 'shard_' AND {OWN} ORDER BY datname",
            asked(query, more)
        ));
        assert_eq!(got.lines().filter(|line| line.contains('#')).count(), SHARDS as usize, "{got}");
        for statement in got.split("shard").filter(|part| part.contains('#')) {
            let (shard, statement) = statement.split_once('#').unwrap();
            let explain = format!("SET enable_seqscan = off;\nEXPLAIN (COSTS OFF) {statement}");
            let plan = server.sql(&format!("\\c shard{shard}\n{explain}"));
            assert!(plan.contains("Limit") && plan.contains("Index Scan using items_index"), "{plan}");
            assert!(plan.contains("Order By: (embedding <-> ") && !plan.contains("Sort"), "{plan}");
            assert!(condition.is_none_or(|line| plan.contains(line)), "{plan}");
        }
    }
}

fn recall_target_travels(server: &Server, query: &str) {
    let with = |setting: &str| {
        format!(", condition => 'current_setting(''ivf.recall_target'')::float8 = {setting}'")
    };
    let rows = |more: &str| found(server, query, more).lines().count();
    // The option of the foreign server says 1.
    assert_eq!(rows(&with("1")), 10);
    assert_eq!(rows(&format!("{}, recall_target => 0.7", with("0.7"))), 10);
    // For one query only.
    let both = format!("{}; {}", asked(query, ", recall_target => 0.7"), asked(query, &with("1")));
    assert_eq!(server.sql(&both).lines().count(), 20);
    fails(
        server,
        &asked(query, ", recall_target => 7"),
        &["22023", "7 is outside the valid range for parameter \"ivf.recall_target\""],
    );
}

fn columns_of_the_row_type(server: &Server, query: &str) {
    server.sql("CREATE TYPE \"Wide hit\" AS (embedding vector, gone int, id bigint, category text)");
    server.sql("ALTER TYPE \"Wide hit\" DROP ATTRIBUTE gone");
    let wide = server.sql(&format!(
        "SELECT (item).id, (item).category, (item).embedding = w.embedding, distance
         FROM knn_shards('items', NULL::\"Wide hit\", 'embedding', {query}, 3)
             LEFT JOIN whole w ON w.id = (item).id ORDER BY distance"
    ));
    let expected = server.sql(&format!(
        "SET enable_indexscan = off; SELECT id, category, true, embedding <-> {query} AS d FROM whole
         ORDER BY d LIMIT 3"
    ));
    assert_eq!(wide, expected);
    let table = server
        .sql(&format!("SELECT (item).* FROM knn_shards('items', NULL::items, 'embedding', {query}, 3)"));
    assert_eq!(table, server.sql(&format!("SELECT * FROM whole ORDER BY embedding <-> {query} LIMIT 3")));
}

/// Two shards on one server, tables and columns of other names there, a partition of this server, and names
/// that must be quoted.
fn partitions_of_all_kinds(server: &Server, query: &str) {
    server.sql(
        "\\c shard0\nCREATE SCHEMA \"Other schema\";
         CREATE TABLE \"Other schema\".\"The 'table\"
             (\"Its id\" int, category int, \"vector\"\"s\" vector(16));
         INSERT INTO \"Other schema\".\"The 'table\" SELECT id + 100000, category, embedding FROM items",
    );
    server.sql(
        "CREATE TABLE \"Odd items\" (id int, category int, \"the 'embedding\" vector(16))
             PARTITION BY RANGE (id);
         CREATE TABLE here PARTITION OF \"Odd items\" FOR VALUES FROM (0) TO (1500);
         INSERT INTO here SELECT * FROM whole WHERE id < 1500;
         CREATE TABLE nested PARTITION OF \"Odd items\" FOR VALUES FROM (1500) TO (99999)
             PARTITION BY RANGE (id);
         CREATE FOREIGN TABLE odd_1 PARTITION OF nested FOR VALUES FROM (1500) TO (3000)
             SERVER shard1 OPTIONS (table_name 'items');
         CREATE FOREIGN TABLE odd_2 PARTITION OF \"Odd items\" FOR VALUES FROM (100000) TO (101500)
             SERVER shard0 OPTIONS (schema_name 'Other schema', table_name 'The ''table');
         CREATE FOREIGN TABLE odd_3 PARTITION OF \"Odd items\" FOR VALUES FROM (101500) TO (103000)
             SERVER shard0 OPTIONS (table_name 'items');
         ALTER FOREIGN TABLE odd_1 ALTER \"the 'embedding\" OPTIONS (column_name 'embedding');
         ALTER FOREIGN TABLE odd_2 ALTER \"the 'embedding\" OPTIONS (column_name 'vector\"s'),
             ALTER id OPTIONS (column_name 'Its id');
         ALTER FOREIGN TABLE odd_3 ALTER \"the 'embedding\" OPTIONS (column_name 'embedding')",
    );
    let condition = "id % 3 = 0 AND \"Odd items\".category < 40";
    let near = server.sql(&format!(
        "SELECT (item).id, distance FROM knn_shards(
             '\"Odd items\"', NULL::hit, 'the ''embedding', {query}, 40, condition => $$ {condition} $$)"
    ));
    // odd_3 shows the rows of `here` under their own numbers, and odd_2 under others.
    let expected = server.sql(&format!(
        "SELECT id, embedding <-> {query} AS d FROM (
             SELECT * FROM whole WHERE id < 3000 UNION ALL SELECT * FROM whole WHERE id < 1500
             UNION ALL SELECT id + 100000, category, embedding FROM whole WHERE id < 1500) \"Odd items\"
         WHERE {condition} ORDER BY d, id LIMIT 40"
    ));
    let sorted = |rows: &str| {
        let mut lines: Vec<String> = rows.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let distances = |rows: &str| -> Vec<String> {
        rows.lines().map(|line| line.split_once('|').unwrap().1.to_owned()).collect()
    };
    assert_eq!(distances(&near), distances(&expected));
    // At the end there may be another one of the same distance.
    let last = distances(&near).pop().unwrap();
    let before = |rows: &str| -> Vec<String> {
        sorted(rows).into_iter().filter(|line| !line.ends_with(&format!("|{last}"))).collect()
    };
    assert!(before(&near).len() > 30);
    assert_eq!(before(&near), before(&expected));
    server.sql("DROP TABLE \"Odd items\"");
}

fn rights_are_those_of_the_caller(server: &Server, query: &str) {
    server.sql(
        "CREATE ROLE alice LOGIN PASSWORD 'secret'; CREATE ROLE owner LOGIN;
         GRANT USAGE ON SCHEMA \"Links\" TO public;
         CREATE FUNCTION as_owner(vector) RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS $$
             SELECT (item).id || '|' || distance FROM knn_shards('items', NULL::hit, 'embedding', $1) $$;
         GRANT EXECUTE ON FUNCTION as_owner TO alice",
    );
    let as_alice = |statement: &str| format!("SET SESSION AUTHORIZATION alice; {statement}");
    let denied = |words: &[&str]| fails(server, &as_alice(&asked(query, "")), words);
    denied(&["42501", "permission denied for table items"]);
    server.sql("GRANT SELECT ON items TO alice");
    denied(&["42704", "server \"shard", "user mapping not found for", "alice"]);
    for shard in 0..SHARDS {
        server.sql(&format!(
            "CREATE USER MAPPING FOR alice SERVER shard{shard} OPTIONS (user 'alice', password 'secret')"
        ));
    }
    denied(&["42501", "server \"shard", "permission denied for foreign server"]);
    server.sql("GRANT USAGE ON FOREIGN SERVER shard0, shard1, shard2, shard3 TO alice");
    // This server trusts everybody on its socket, and dblink lets nobody but a superuser use that.
    denied(&["2F003", "server \"shard", "password"]);
    let file = server.data().join("pg_hba.conf");
    let trust = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("local all alice scram-sha-256\n{trust}")).unwrap();
    server.sql("SELECT pg_reload_conf()");
    // Until the server has read the file.
    for _ in 0..300 {
        if !server.try_sql(&as_alice(&asked(query, ""))).is_err_and(|message| message.contains("2F003")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    denied(&["42501", "server \"shard", "permission denied for table items"]);
    for shard in 0..SHARDS {
        server.sql(&format!("\\c shard{shard}\nGRANT SELECT ON items TO alice"));
    }
    let near = truth(server, query, "<->", "true");
    assert_eq!(server.sql(&as_alice(&asked(query, ""))), near);
    // The connections of a function's owner are not left to its caller, nor those of the caller to others.
    let links = "SELECT coalesce(cardinality(\"Links\".dblink_get_connections()), 0)";
    assert_eq!(server.sql(&as_alice(&format!("SELECT as_owner({query}); {links}"))), format!("{near}\n0"));
    assert_eq!(server.sql(&format!("SET ROLE alice; {}; {links}", asked(query, ""))), format!("{near}\n0"));
    assert_eq!(server.sql(&as_alice(&format!("{}; {links}", asked(query, "")))), format!("{near}\n4"));
    // A connection is not used with other options of its user's mapping.
    let mapping =
        |user: &str| format!("ALTER USER MAPPING FOR alice SERVER shard1 OPTIONS (SET user '{user}')");
    let changed = format!("{ask}; {}; {ask}", mapping("nobody"), ask = asked(query, ""));
    fails(server, &as_alice(&changed), &["08001", "server \"shard1\"", "role \"nobody\" does not exist"]);
    server.sql(&mapping("alice"));
    // Policies of the table would be passed by.
    server.sql("ALTER TABLE items ENABLE ROW LEVEL SECURITY");
    denied(&["0A000", "has row-level security"]);
    server.sql("ALTER TABLE items DISABLE ROW LEVEL SECURITY");
    std::fs::write(&file, trust).unwrap();
    server.sql("SELECT pg_reload_conf()");
}

fn wrong_arguments_are_named(server: &Server, query: &str) {
    let call = |arguments: &str| format!("SELECT * FROM knn_shards({arguments})");
    for (arguments, words) in [
        (
            format!("'items', NULL::hit, 'category', {query}"),
            ["42883", "no column \"category\" with an operator <->"],
        ),
        (format!("'items', NULL::hit, 'missing', {query}"), ["42883", "no column \"missing\""]),
        (
            format!("'items', NULL::hit, 'embedding', {query}, 3, '='"),
            ["42883", "operator = of vector_search"],
        ),
        (format!("'items', 3, 'embedding', {query}"), ["42809", "type integer is not a row type"]),
        (format!("'items', NULL::pg_class, 'embedding', {query}"), ["42703", "no column \"oid\""]),
        (format!("'items', NULL::hit, 'embedding', {query}, -1"), ["22023", "a k of 0 or more"]),
        ("'items', NULL::hit, 'embedding', NULL::vector".into(), ["22023", "needs a query that is not null"]),
        ("'items', NULL::hit, 'embedding', '[1,2]'::vector".into(), ["22000", "server \"shard"]),
        (
            format!("'items', NULL::hit, 'embedding', {query}, condition => 'missing > 3'"),
            ["42703", "server \"shard"],
        ),
        (
            format!("'items', NULL::hit, 'embedding', {query}, condition => 'true)'"),
            ["42601", "server \"shard"],
        ),
    ] {
        fails(server, &call(&arguments), &words);
    }
}

fn a_wait_can_be_cancelled(server: &Server, query: &str) {
    let slow = asked(query, ", condition => 'pg_sleep(60) IS NOT NULL'");
    // The next query of the session works.
    let script = format!(
        "\\set ON_ERROR_STOP 0\n{};\nSET statement_timeout = '1s';\n{slow};\nRESET statement_timeout;\n{};",
        asked(query, ""),
        asked(query, "")
    );
    let near = truth(server, query, "<->", "true");
    assert_eq!(server.sql(&script), format!("{near}\n{near}"));
    fails(server, &format!("SET statement_timeout = '1s'; {slow}"), &["57014", "statement timeout"]);
    // Before PostgreSQL 17 the shards do not hear of it.
    let sleeping = "pg_stat_activity WHERE datname LIKE 'shard_' AND wait_event = 'PgSleep'";
    if major() >= 17 {
        let count = format!("SELECT count(*) FROM {sleeping}");
        let began = Instant::now();
        while server.sql(&count) != "0" {
            assert!(began.elapsed() < Duration::from_secs(20), "shards go on with what was cancelled");
        }
    }
    server.sql(&format!("SELECT pg_terminate_backend(pid, 5000) FROM {sleeping}"));
}

fn shards_only_read(server: &Server, query: &str) {
    let more = ", condition => 'true)) x; DELETE FROM items; SELECT 1, 1 WHERE ((true'";
    fails(server, &asked(query, more), &["server \"shard"]);
    server.sql(
        "\\c shard0\nCREATE FUNCTION drain() RETURNS bool LANGUAGE sql AS 'DELETE FROM items RETURNING true'",
    );
    let more = ", condition => 'CASE WHEN id >= 0 THEN drain() END'";
    fails(server, &asked(query, more), &["server \"shard"]);
    assert_eq!(found(server, query, ""), truth(server, query, "<->", "true"));
    let left = server.sql("SELECT count(*) FROM items");
    assert_eq!(left, (SHARDS * ROWS).to_string());
}

fn shards_that_fail_are_named(server: &Server, query: &str) {
    let near = truth(server, query, "<->", "true");
    let asked = asked(query, "");
    // A shard that has restarted since the last query: the connection is made anew.
    let script = format!(
        "{asked}; SELECT pg_terminate_backend(pid, 20000)::text FROM pg_stat_activity
         WHERE datname = 'shard2' AND {OWN}; {asked}"
    );
    assert_eq!(server.sql(&script), format!("{near}\ntrue\n{near}"));
    // A shard that is away, before the session's first query and after it.
    let away = "ALTER SERVER shard3 OPTIONS (SET dbname 'gone')";
    let back = "ALTER SERVER shard3 OPTIONS (SET dbname 'shard3')";
    let words = ["08001", "server \"shard3\": could not establish connection", "\"gone\" does not exist"];
    fails(server, &format!("{asked}; {away}; {asked}"), &words);
    fails(server, &asked, &words);
    let script = format!("\\set ON_ERROR_STOP 0\n{asked};\n{back};\n{asked};");
    assert_eq!(server.sql(&script), near);
    // The same from a session that had its connections.
    let kill = format!(
        "SELECT pg_terminate_backend(pid, 20000)::text FROM pg_stat_activity
         WHERE datname = 'shard3' AND {OWN}"
    );
    let script = format!(
        "\\set ON_ERROR_STOP 0\n{asked};\n{kill};\n\
         ALTER DATABASE shard3 RENAME TO moved;\n{asked};\nALTER DATABASE moved RENAME TO shard3;\n{asked};"
    );
    assert_eq!(server.sql(&script), format!("{near}\ntrue\n{near}"));
    // An error of one shard while the others answer.
    let more = ", condition => 'CASE WHEN id = 4600 THEN 1 / (id - 4600) END IS NULL'";
    let failing = format!(
        "SELECT * FROM knn_shards('items', NULL::hit, 'embedding', {query}, {k} {more})",
        k = SHARDS * ROWS
    );
    fails(server, &failing, &["22012", "server \"shard3\": division by zero"]);
}
