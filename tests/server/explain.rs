//! `EXPLAIN (ANALYZE)` shows the counters of each scan of a plan, on PostgreSQL 18.

use crate::harness::{Server, major};

#[test]
fn explain_says_what_each_scan_did() {
    if major() < 18 {
        return;
    }
    let server = Server::new("explain", &["fsync = off", "autovacuum = off"]);
    server.sql(
        "CREATE TABLE items AS SELECT i AS id, i % 10 AS kind, ARRAY[sin(i), cos(i), sin(i * i)]::vector(3) e
             FROM generate_series(1, 5000) i;
         CREATE INDEX ON items USING ivf (e, kind) WITH (lists = 20); ANALYZE items",
    );
    let explain = |options: &str, query: &str| {
        server.sql(&format!("SET enable_seqscan = off; SET enable_sort = off; EXPLAIN ({options}) {query}"))
    };
    let nearest = "SELECT id FROM items ORDER BY e <-> '[0,1,0]' LIMIT 10";
    let line = |plan: &str| plan.lines().filter(|l| l.trim_start().starts_with("IVF: ")).count();
    let plan = explain("ANALYZE", nearest);
    assert!(plan.contains("IVF: lists=") && plan.contains(" of 20 codes="), "{plan}");
    assert!(plan.contains(" rounds=1") && !plan.contains("threshold"), "{plan}");
    // Nothing was scanned.
    assert_eq!(line(&explain("COSTS OFF", nearest)), 0);
    let both = format!("SELECT * FROM ({nearest}) a UNION ALL SELECT * FROM ({nearest}) b");
    assert_eq!(line(&explain("ANALYZE", &both)), 2);
    let filtered = "SELECT id FROM items WHERE kind = 3 ORDER BY e <-> '[0,1,0]' LIMIT 10";
    assert!(explain("ANALYZE", filtered).contains(" excluded="));
    let within = "SELECT id FROM items WHERE e <-> '[0,1,0]' < 0.3 ORDER BY e <-> '[0,1,0]'";
    let plan = explain("ANALYZE", within);
    assert!(plan.contains(" threshold reached"), "{plan}");
    let json = explain("ANALYZE, FORMAT JSON", within);
    for key in ["\"Lists\": 20", "\"Lists Read\": ", "\"Rows Fetched\": ", "\"Threshold Reached\": true"] {
        assert!(json.contains(key), "{key} in {json}");
    }
    // The counters are those of ivf_last_scan.
    let both = format!(
        "SET enable_seqscan = off; SET enable_sort = off; EXPLAIN (ANALYZE) {nearest};
         SELECT format(' codes=%s ', ivf_last_scan() -> 'codes')"
    );
    let shown = server.sql(&both);
    let (plan, codes) = shown.trim_end().rsplit_once('\n').unwrap();
    assert!(plan.contains(codes.trim()), "{codes} in {plan}");
}
