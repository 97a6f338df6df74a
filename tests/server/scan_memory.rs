//! The memory of scans is bounded by `work_mem`, whatever the number of rows of the table is.

use crate::harness::Server;

const TABLE: &str = "
    CREATE TABLE t (id int, emb vector(3));
    INSERT INTO t SELECT i, format('[%s,%s,%s]', i % 17 + random(), i % 5 + random(), \
    i % 7 + random())::vector
        FROM generate_series(1, 400000) i;
    CREATE INDEX ON t USING ivf (emb);
    ANALYZE t;
    CREATE FUNCTION peak() RETURNS int LANGUAGE sql AS $$
        SELECT substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') \
        FROM 'VmPeak:\\s*(\\d+) kB')::int $$";

/// Runs a query; returns by how many MB the backend's address space has grown, and the query's result.
fn growth(server: &Server, query: &str) -> (i64, String) {
    let out = server.sql(&format!(
        "SET work_mem = '4MB'; SET enable_seqscan = off; SET enable_sort = off; SET jit = off;
         SET max_parallel_workers_per_gather = 0;
         SELECT count(*) FROM (SELECT id FROM t ORDER BY emb <-> '[1,2,3]' LIMIT 5) s;
         SELECT peak(); {query}; SELECT peak()"
    ));
    let lines: Vec<&str> = out.lines().collect();
    let [.., before, answer, after] = lines[..] else { panic!("{out}") };
    let number = |text: &str| text.parse::<i64>().unwrap();
    ((number(after) - number(before)) / 1024, answer.to_owned())
}

#[test]
fn a_scan_keeps_no_more_than_its_memory() {
    let server = Server::new("scan_memory", &["fsync = off", "shared_buffers = 256MB"]);
    server.sql(TABLE);
    for (query, answer) in [
        (
            "SELECT count(*) FROM (SELECT id FROM t WHERE length(md5(id::text)) = 5 \
             ORDER BY emb <-> '[1,2,3]' LIMIT 10) s",
            "0",
        ),
        ("SELECT count(*) FROM (SELECT id FROM t ORDER BY emb <-> '[1,2,3]') s", "400000"),
        // Every value is NaN, so all rows are fetched.
        ("SELECT count(*) FROM (SELECT id FROM t ORDER BY emb <#> '[3e38,3e38,3e38]') s", "400000"),
        ("SELECT count(*) FROM (SELECT id FROM t ORDER BY emb <-> '[1,2,3]' LIMIT 10 OFFSET 300000) s", "10"),
    ] {
        let (megabytes, found) = growth(&server, query);
        assert_eq!(found, answer, "{query}");
        assert!(megabytes < 20, "{query}: {megabytes} MB");
    }
}
