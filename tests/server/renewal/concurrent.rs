//! Sixteen connections that write, scan, verify and vacuum while lists are replaced again and again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;

#[test]
fn sixteen_connections_while_lists_are_replaced() {
    let conf = ["autovacuum = off", "fsync = off", "deadlock_timeout = '1s'", "max_connections = 40"];
    let server = server("renewal-concurrent", &conf);
    let end = Instant::now() + Duration::from_secs(setting("VECTOR_SEARCH_TEST_RENEWAL_SECONDS", 10));
    let renewals = AtomicU64::new(0);
    let mut most = 0;
    std::thread::scope(|scope| {
        for worker in 0..14u64 {
            let server = &server;
            scope.spawn(move || {
                for round in 0.. {
                    server.sql(&script(worker, round));
                    if Instant::now() > end {
                        break;
                    }
                }
            });
        }
        let (server, renewals) = (&server, &renewals);
        scope.spawn(move || {
            while Instant::now() < end {
                server.check("items_index");
            }
        });
        let mut topic = 0;
        while Instant::now() < end {
            server.sql(&new_topic(topic));
            renewals.fetch_add(u64::from(vacuum(server).is_some()), Ordering::Relaxed);
            server.sql(&drop_topic(topic));
            server.sql("SELECT ivf_maintain('items_index', true); VACUUM items");
            renewals.fetch_add(1, Ordering::Relaxed);
            topic += 1;
            most = most.max(pages(server, "items_index").0);
        }
    });
    let renewals = renewals.into_inner();
    println!("{renewals} renewals, {most} pages at most");
    assert!(renewals >= 1, "{renewals} renewals");
    verify(&server);
    vacuum(&server);
    verify(&server);
}

/// What a connection does in a round.
fn script(worker: u64, round: u64) -> String {
    let seed = 1000 * worker + round;
    let of_base = |what: &str, rows: u64| {
        // Two writers that lock rows in different orders would deadlock.
        format!(
            "{what} WHERE id IN (SELECT id FROM items WHERE id < 50000000 AND id % 97 = {} LIMIT {rows} \
             FOR UPDATE SKIP LOCKED);",
            seed % 97
        )
    };
    match worker {
        0..=2 => (0..60)
            .map(|i| {
                let id = 1_000_000 * (worker + 1) + round * 60 + i;
                format!("INSERT INTO items VALUES ({id}, {id} % 7, vec({id}, {id} % 50));\n")
            })
            .collect(),
        3 => format!(
            "BEGIN; CALL rows({0}, {0} + 200, {round}); SELECT pg_sleep(.05); {1};",
            50_000_000 + 1000 * round,
            if round.is_multiple_of(2) {
                "ROLLBACK"
            } else {
                "DELETE FROM items WHERE id > 50000000 AND id < 99000000; COMMIT"
            }
        ),
        4 | 5 => {
            let update = of_base(&format!("UPDATE items SET embedding = vec({seed}, id % 50)"), 60);
            let hot = of_base("UPDATE items SET category = category", 60);
            format!("{update} {hot} SELECT pg_sleep(.02);")
        }
        6 => of_base("DELETE FROM items", 150) + "SELECT pg_sleep(.05);",
        // A scan that stays open while lists are replaced and pages used again.
        7..=10 => format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM items WHERE id < 10; \
             SELECT pg_sleep({}); {} COMMIT;",
            (seed % 3) as f64 * 0.2,
            comparison(seed, "", (seed % 7) as f64 * 0.3)
        ),
        11 | 12 => format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; {} COMMIT;",
            comparison(seed, &format!("WHERE category = {}", seed % 7), (seed % 5) as f64 * 0.2)
        ),
        _ => (0..10)
            .map(|i| {
                format!(
                    "SET enable_seqscan = off; SELECT 1 / (count(*) = 10)::int FROM (SELECT id FROM items \
                     ORDER BY embedding <-> vec({seed}, {i}) LIMIT 10) s;\n"
                )
            })
            .collect(),
    }
}
