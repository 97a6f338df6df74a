//! Concurrency of maintenance and inserts: maintenance reads through a buffer ring, and concurrent inserts
//! lose no page.

use std::time::Duration;

use crate::harness::{Server, major};

#[test]
fn vacuum_reads_through_its_ring() {
    if major() < 16 {
        // This major has no `pg_stat_io`.
        return;
    }
    let server = Server::new("ring", &["autovacuum = off", "fsync = off", "shared_buffers = '32MB'"]);
    server.fill("items", 128, 0..20_000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding); VACUUM items");
    let pages: u64 = server.sql("SELECT pg_relation_size('items_index') / 8192").parse().unwrap();
    // Only the index is read: the table's pages are all visible. The session reports to `pg_stat_io` when it
    // ends, which may be after its client has ended.
    server.sql("SELECT pg_stat_reset_shared('io')");
    server.sql("VACUUM (INDEX_CLEANUP on) items");
    let count = |context: &str| -> u64 {
        let sql = format!(
            "SELECT coalesce(sum(hits + reads), 0)::bigint FROM pg_stat_io
             WHERE object = 'relation' AND context = '{context}' AND backend_type = 'client backend'"
        );
        server.sql(&sql).parse().unwrap()
    };
    let most = |context: &str| {
        let soon = || std::thread::sleep(Duration::from_millis(100));
        (0..50).any(|_| {
            count(context) > pages / 2 || {
                soon();
                false
            }
        })
    };
    assert!(
        most("vacuum"),
        "{} pages through the ring, {} not, of {pages}",
        count("vacuum"),
        count("normal")
    );
    server.sql("SELECT pg_stat_reset_shared('io')");
    server.sql("SELECT ivf_check('items_index')");
    assert!(most("bulkread"), "the verifier reads through a ring too");
}

#[test]
fn inserters_that_race_lose_no_page() {
    let server = Server::new("race", &["autovacuum = off", "fsync = off"]);
    // One list of long vectors, so that after every 32 rows an insert appends pages, also further pages of
    // blocks.
    server.sql(
        "CREATE TABLE items (id int, embedding vector(4000));
         CREATE INDEX items_index ON items USING ivf (embedding) WITH (lists = 1)",
    );
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let server = &server;
            scope.spawn(move || {
                server.sql(&format!(
                    "DO $$ BEGIN FOR i IN 1..120 LOOP
                         INSERT INTO items SELECT {worker} * 1000 + i, \
                     array_agg(sin(x * i + {worker}))::vector
                             FROM generate_series(1, 4000) x;
                         COMMIT;
                     END LOOP; END $$"
                ));
            });
        }
    });
    assert_eq!(server.sql("SELECT ivf_check('items_index', true) ->> 'unused_pages'"), "0");
    assert_eq!(server.sql("SELECT ivf_check('items_index', true) ->> 'live'"), "960");
}
