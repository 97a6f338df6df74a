//! Inserts, deletes, vacuum and scans from eight connections at once.

use std::time::{Duration, Instant};

use crate::harness::{Server, literal, setting, vector};

/// How long the test runs; an environment variable can shorten it.
fn duration() -> Duration {
    Duration::from_secs(setting("VECTOR_SEARCH_TEST_SECONDS", 60))
}

#[test]
fn eight_connections_for_a_minute() {
    let server = Server::new("concurrency", &["autovacuum = off", "fsync = off", "deadlock_timeout = '1s'"]);
    server.fill("items", 32, 0..12_000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding)");
    let calibration = "SELECT ivf_index_info('items_index') -> 'calibration'";
    let built = server.sql(calibration);
    let end = Instant::now() + duration();
    std::thread::scope(|scope| {
        for worker in 0..8u32 {
            let server = &server;
            scope.spawn(move || {
                let mut round = 0u32;
                while Instant::now() < end {
                    round += 1;
                    server.sql(&script(worker, round));
                }
            });
        }
    });
    server.check("items_index");
    // On a slow machine fewer rows than a fifth may have been inserted.
    server.sql(
        "INSERT INTO items SELECT id + 100000000, category,
             (SELECT array_agg(sin(id * 0.37 * j + j * j)) FROM generate_series(1, 32) j)::vector
         FROM items ORDER BY id LIMIT 6000",
    );
    server.sql("VACUUM items");
    server.check("items_index");
    assert_ne!(server.sql(calibration), built, "VACUUM has calibrated the index anew");
    let count = server.sql("SELECT count(*) FROM items");
    let scanned = server.sql(
        "SET enable_seqscan = off; SET ivf.recall_target = 1;
         SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items \
         LIMIT 1)) s",
    );
    assert_eq!(scanned, count, "an exhaustive scan finds every committed row");
}

fn script(worker: u32, round: u32) -> String {
    let query = literal(&vector(u64::from(worker * 1000 + round), 32));
    match worker {
        0..=2 => (0..200)
            .map(|i| {
                let id = 1_000_000 * (worker + 1) + round * 200 + i;
                let vector = literal(&vector(u64::from(id), 32));
                format!("INSERT INTO items VALUES ({id}, {}, '{vector}');\n", id % 45)
            })
            .collect(),
        // Two writers that lock rows in different orders would deadlock.
        3 => format!(
            "DELETE FROM items WHERE id IN (SELECT id FROM items WHERE id % 37 = {} FOR UPDATE SKIP LOCKED);
             SELECT pg_sleep(0.2)",
            round % 37
        ),
        4 => format!(
            "UPDATE items SET embedding = '{query}' WHERE id IN
                 (SELECT id FROM items WHERE id % 53 = {} LIMIT 50 FOR UPDATE SKIP LOCKED)",
            round % 53
        ),
        5 => "VACUUM items; SELECT pg_sleep(0.05)".into(),
        // Scans check their result: ten rows, in order.
        _ => (0..20)
            .map(|_| {
                format!(
                    "SET enable_seqscan = off;
                     DO $$ DECLARE n int := 0; last float8 := '-infinity'; r record; BEGIN
                       FOR r IN SELECT id, embedding <-> '{query}' AS d FROM items
                                WHERE category < {} ORDER BY embedding <-> '{query}' LIMIT 10 LOOP
                         n := n + 1;
                         IF r.d < last THEN RAISE 'order: % after %', r.d, last; END IF;
                         last := r.d;
                       END LOOP;
                       IF n <> 10 THEN RAISE 'only % rows', n; END IF; END $$;\n",
                    5 + round % 40
                )
            })
            .collect(),
    }
}
