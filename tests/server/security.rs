//! Tests that need two sessions: a temporary table of another session, and locks for which a caller without
//! rights must not wait.

use std::time::Duration;

use crate::harness::Server;

const FUNCTIONS: [&str; 8] = [
    "ivf_index_info('{}'::regclass)",
    "ivf_check('{}'::regclass, true)",
    "ivf_recall('{}'::regclass)",
    "ivf_neighbours('{}'::regclass, ARRAY['[1,2]'::vector])",
    "ivf_neighbour_graph('{}'::regclass)",
    "ivf_pairs('{}'::regclass, 1)",
    "ivf_recalibrate('{}'::regclass)",
    "ivf_recalibrate('{}'::regclass, ARRAY['[1,2]'::vector])",
];

fn calls(index: &str) -> impl Iterator<Item = String> {
    FUNCTIONS.iter().map(move |f| format!("SELECT {}", f.replace("{}", index)))
}

/// Waits until a query returns something.
fn awaited(server: &Server, query: &str) -> String {
    for _ in 0..300 {
        let found = server.sql(query);
        if !found.is_empty() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{query} gives nothing");
}

#[test]
fn a_temporary_table_of_another_session_is_refused() {
    let server = Server::new("security-temp", &["fsync = off"]);
    let mut other = server.start_sql(
        "CREATE TEMP TABLE t AS SELECT '[1,2]'::vector(2) AS e FROM generate_series(1, 100);
         CREATE INDEX t_i ON t USING ivf (e);
         CREATE TABLE ready AS SELECT 't_i'::regclass::oid AS index;
         SELECT pg_sleep(600)",
    );
    awaited(&server, "SELECT 1 FROM pg_class WHERE relname = 'ready'");
    let index = server.sql("SELECT index FROM ready");
    for call in calls(&index) {
        let error = server.try_sql(&call).unwrap_err();
        assert!(error.contains("cannot access temporary tables of other sessions"), "{call}: {error}");
    }
    let table = server.sql(
        "SELECT format('%I.t', nspname) FROM pg_class c JOIN pg_namespace n \
         ON n.oid = relnamespace WHERE relname = 't'",
    );
    let query = format!("SET enable_seqscan = off; SELECT e FROM {table} ORDER BY e <-> '[1,2]' LIMIT 1");
    let error = server.try_sql(&query).unwrap_err();
    assert!(error.contains("cannot access temporary tables of other sessions"), "{query}: {error}");
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep' \
         AND pid <> pg_backend_pid()",
    );
    let _ = other.wait();
}

#[test]
fn who_lacks_the_right_waits_for_no_lock() {
    let server = Server::new("security-locks", &["fsync = off"]);
    server.sql(
        "CREATE TABLE t AS SELECT '[1,2]'::vector(2) AS e FROM generate_series(1, 100);
         CREATE INDEX t_i ON t USING ivf (e);
         CREATE ROLE guest",
    );
    let mut other = server.start_sql("BEGIN; LOCK TABLE t; SELECT pg_sleep(600)");
    awaited(
        &server,
        "SELECT 1 FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessExclusiveLock' AND granted",
    );
    for call in calls("t_i") {
        let error = server.try_sql(&format!("SET ROLE guest; SET lock_timeout = '5s'; {call}")).unwrap_err();
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{call}: {error}");
    }
    // It does not wait for the lock of a relation that is no index either.
    for call in calls("t") {
        let error = server.try_sql(&format!("SET lock_timeout = '5s'; {call}")).unwrap_err();
        assert!(error.contains("is not an ivf index"), "{call}: {error}");
    }
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep' \
         AND pid <> pg_backend_pid()",
    );
    let _ = other.wait();
}

/// The planner runs before rights are checked, and `debug_print_plan` shows the plan to every user.
#[test]
fn a_plan_tells_only_who_may_read_where_rows_are() {
    let server = Server::new("security-plans", &["fsync = off", "autovacuum = off"]);
    server.sql(
        "CREATE TABLE secret AS SELECT i AS id, ARRAY[10 + sin(i), 10 + cos(i), sin(i * i)]::vector(3) e
             FROM generate_series(1, 5000) i;
         CREATE INDEX ON secret USING ivf (e) WITH (lists = 20); ANALYZE secret;
         CREATE TABLE parent (id int, e vector(3)) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parent DEFAULT; INSERT INTO parent SELECT * FROM secret;
         CREATE INDEX ON part USING ivf (e) WITH (lists = 20); ANALYZE part;
         CREATE ROLE nobody; CREATE ROLE reader; CREATE ROLE reader_of_column;
         GRANT SELECT ON secret, parent TO reader;
         GRANT SELECT (id, e) ON secret, parent TO reader_of_column",
    );
    let planned = |role: &str, table: &str, place: &str| -> Vec<String> {
        let script = format!(
            "SET ROLE {role}; SET enable_seqscan = off;
             SET client_min_messages = log;
             SET debug_print_plan = on;
             SELECT id FROM {table} WHERE e <-> '{place}' < 3 ORDER BY e <-> '{place}';
             SELECT 1 / 0"
        );
        let said = server.try_sql(&script).unwrap_err();
        assert_eq!(said.contains("permission denied"), role == "nobody", "{said}");
        let rows = |line: &str| line.split_once("plan_rows ").map(|(_, rows)| rows.trim().to_owned());
        said.lines().filter_map(rows).collect()
    };
    for table in ["secret", "parent"] {
        let rows = |role| [planned(role, table, "[10,10,0]"), planned(role, table, "[40,40,40]")];
        let [near, far] = rows("nobody");
        assert!(!near.is_empty() && near == far, "{table}: {near:?} and {far:?}");
        for role in ["reader", "reader_of_column"] {
            let [near, far] = rows(role);
            assert!(near != far, "{table}, {role}: {near:?}");
        }
    }
}
