//! What operators watch with: `pg_stat_statements`, `auto_explain` and the log. The hooks of these libraries
//! and of this one call each other, and vectors are not written to the log at full length.

use crate::harness::{Server, literal, major, vector};
use crate::readme::sql_blocks;

const CONF: &[&str] = &[
    "autovacuum = off",
    "fsync = off",
    "shared_preload_libraries = 'pg_stat_statements,auto_explain'",
    "compute_query_id = on",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_parameter_max_length = 20",
    "log_min_duration_statement = 0",
    "log_parameter_max_length = 20",
    "log_parameter_max_length_on_error = 20",
    "max_parallel_workers_per_gather = 0",
];

/// A server with both libraries. `None` if there are none.
fn server(name: &str) -> Option<Server> {
    let server = Server::new(name, &["fsync = off"]);
    if server.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'") == "0" {
        eprintln!("skipped: this server has no pg_stat_statements");
        return None;
    }
    server.restart(CONF);
    Some(server)
}

/// Runs the SQL blocks of the chapter for operators.
fn run_chapter(server: &Server) {
    let blocks = sql_blocks("docs/operations.md");
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    server.sql("CREATE DATABASE chapter");
    for block in blocks {
        server.sql(&format!("\\c chapter\n{block}"));
    }
}

#[test]
fn statements_are_counted_and_logged_without_their_vectors() {
    let Some(server) = server("watching") else { return };
    server.fill("items", 96, 0..3000);
    server.sql(
        "CREATE EXTENSION pg_stat_statements;
         CREATE INDEX items_index ON items USING ivf (embedding, category); VACUUM ANALYZE items",
    );
    let log = server.data().join("server.log");
    let length = || std::fs::metadata(&log).unwrap().len() as usize;
    let logged = |from| std::fs::read_to_string(&log).unwrap().split_off(from);
    let before = length();
    // pgbench sends its variables apart from the text, as drivers do.
    let long = literal(&vector(7, 96));
    let script = server.data().join("search.sql");
    std::fs::write(&script, "SELECT id FROM items ORDER BY embedding <-> :v LIMIT 3;\n").unwrap();
    // A generic plan names the parameter. A custom plan has the vector as a constant, at full length.
    for (plans, cut) in [("force_generic_plan", true), ("auto", false)] {
        let from = length();
        let (value, file) = (format!("v={long}"), script.to_str().unwrap());
        let to = format!("{} options='-c plan_cache_mode={plans}'", server.conninfo());
        let args = ["-n", "-t", "2", "-M", "extended", "-D", &value, "-f", file, &to];
        server.run("pgbench", &args).unwrap();
        let sent = logged(from);
        assert!(sent.contains("<-> $1") && sent.contains(&format!("$1 = '{}...'", &long[..20])), "{sent}");
        assert_eq!(!sent.contains(&long[..60]), cut, "{plans}: {sent}");
    }
    // Statements with and without a limit run through the hooks of all three libraries.
    for query in [
        format!("SELECT id FROM items ORDER BY embedding <-> '{long}' LIMIT 3"),
        format!("SELECT id FROM items WHERE category = 3 ORDER BY embedding <-> '{long}' LIMIT 7"),
        format!("SELECT count(*) FROM items WHERE embedding <-> '{long}' < 3"),
    ] {
        let with = server.sql(&format!("SET enable_seqscan = off; SET ivf.recall_target = 1; {query}"));
        let without = server.sql(&format!("SET enable_indexscan = off; SET ivf.recall_target = 1; {query}"));
        assert_eq!(with, without, "{query}");
    }
    let counted = server.sql("SELECT calls, query FROM pg_stat_statements WHERE query LIKE 'SELECT id%<->%'");
    assert!(counted.contains("embedding <-> $1 LIMIT $2") && !counted.contains(&long[..60]), "{counted}");
    let text = logged(before);
    assert!(text.contains("Index Scan using items_index"), "auto_explain shows the plan: {text}");
    if major() >= 18 {
        assert!(text.contains("IVF: lists="), "with the counters of the scan");
    }
    run_chapter(&server);
}
