//! Standbys replay replacements of lists under long scans.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::standby::caught_up;

const CONF: &[&str] =
    &["wal_consistency_checking = 'all'", "max_wal_senders = 4", "autovacuum = off", "max_connections = 30"];

/// Fails unless a statement on a standby has succeeded or was in conflict with the recovery.
pub fn right_or_cancelled(what: &str, answer: Result<String, String>) -> bool {
    match answer {
        Ok(_) => true,
        Err(message) => {
            let sqlstate = message.split_once(':').map_or("", |(_, rest)| rest).trim_start();
            let conflict = message.contains("40001") || message.contains("conflict with recovery");
            assert!(conflict, "{what}: {sqlstate}");
            false
        }
    }
}

/// Reads on the standby until `end`, and counts answers and conflicts.
fn read(standby: &Server, reader: u64, end: Instant, counts: &[AtomicU64; 2]) {
    for round in 0.. {
        if Instant::now() > end {
            break;
        }
        let seed = 1000 * reader + round;
        let condition = if seed % 3 == 2 { "WHERE category = 2" } else { "" };
        let script = match reader {
            0 => "SELECT ivf_check('items_index', true);".to_owned(),
            _ => format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM items WHERE id < 10; \
                 SELECT pg_sleep({}); {} COMMIT;",
                (seed % 2) as f64 * 0.3,
                comparison(seed, condition, (seed % 5) as f64 * 0.5)
            ),
        };
        let right = right_or_cancelled(&script, standby.try_sql(&script));
        counts[usize::from(right)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Lists are replaced on the primary until `end`. Without deletes, nothing but our own pages can be in
/// conflict.
fn write(primary: &Server, deletes: bool, topics: &mut std::ops::RangeFrom<u64>, end: Instant) -> u64 {
    let mut renewals = 0;
    while Instant::now() < end {
        let topic = topics.next().unwrap();
        primary.sql(&new_topic(topic));
        renewals += u64::from(vacuum(primary).is_some());
        primary.sql("SELECT ivf_maintain('items_index', true)");
        renewals += 1;
        if deletes {
            primary.sql(&drop_topic(topic));
            let update =
                format!("UPDATE items SET embedding = vec(id, {topic}) WHERE id % 13 = {}", topic % 13);
            primary.sql(&update);
        }
    }
    renewals
}

#[test]
fn long_scans_on_a_standby_are_right_or_cancelled() {
    let primary = server("renewal-primary", CONF);
    let standby =
        primary.standby("renewal-standby", &["hot_standby = on", "max_standby_streaming_delay = '1s'"]);
    let seconds = setting("VECTOR_SEARCH_TEST_RENEWAL_SECONDS", 10) / 2;
    let mut topics = 0..;
    for deletes in [false, true] {
        caught_up(&primary, &standby);
        let end = Instant::now() + Duration::from_secs(seconds);
        let counts = [const { AtomicU64::new(0) }; 2];
        let mut renewals = 0;
        std::thread::scope(|scope| {
            for reader in 0..6 {
                let (standby, counts) = (&standby, &counts);
                scope.spawn(move || read(standby, reader, end, counts));
            }
            renewals = write(&primary, deletes, &mut topics, end);
        });
        println!("{renewals} renewals, {counts:?} conflicts and answers");
        assert!(renewals > 0 && counts[1].load(Ordering::Relaxed) > 0);
        caught_up(&primary, &standby);
        verify(&standby);
    }
    verify(&primary);
}
