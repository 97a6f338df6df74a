//! Cancel and timeouts act within a second, in every phase of a build and in scans.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::harness::Server;

#[test]
fn a_build_reacts_to_cancel_within_a_second() {
    let server = Server::new("cancel", &["autovacuum = off", "fsync = off"]);
    server.fill("items", 384, 0..40_000);
    let started = Instant::now();
    server.sql("CREATE INDEX warm ON items USING ivf (embedding) WITH (lists = 400); DROP INDEX warm");
    let whole = started.elapsed();
    // What else the machine does may delay one cancel, but not the same one twice.
    let (mut steps, mut slow) = ((1..8u32).collect::<VecDeque<_>>(), Vec::new());
    while let Some(step) = steps.pop_front() {
        let after = whole * step / 8;
        let mut build = server.start_sql(
            "SET application_name = 'builder'; CREATE INDEX i ON items USING ivf (embedding) \
             WITH (lists = 400)",
        );
        std::thread::sleep(after);
        let asked = Instant::now();
        let cancelled = server.sql(
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = 'builder' AND state = 'active'",
        );
        let _ = build.wait();
        let took = asked.elapsed();
        let exists = server.sql("SELECT count(*) FROM pg_class WHERE relname = 'i'");
        server.sql("DROP INDEX IF EXISTS i");
        if cancelled == "1" && exists == "0" && took > Duration::from_millis(1500) {
            assert!(!slow.contains(&step), "cancel after {after:?} took {took:?}");
            slow.push(step);
            steps.push_back(step);
        }
    }
    // The same backend works on after a timeout in the middle of a build.
    let message = server.sql(
        "SET statement_timeout = '150ms';
              DO $$ BEGIN CREATE INDEX i ON items USING ivf (embedding) WITH (lists = 400);
                    EXCEPTION WHEN query_canceled THEN NULL; END $$;
              SET statement_timeout = 0; SELECT count(*) FROM items",
    );
    assert_eq!(message, "40000");
}

#[test]
fn progress_names_the_phases() {
    let server = Server::new("progress", &["autovacuum = off", "fsync = off"]);
    server.fill("items", 256, 0..40_000);
    let mut build = server.start_sql("CREATE INDEX i ON items USING ivf (embedding) WITH (lists = 300)");
    let mut seen = std::collections::BTreeSet::new();
    while build.try_wait().unwrap().is_none() {
        let rows = server.sql("SELECT phase FROM pg_stat_progress_create_index");
        seen.extend(rows.lines().map(str::to_owned));
    }
    let known =
        ["sampling table", "performing k-means", "assigning tuples", "writing lists", "calibrating recall"];
    let found = known.iter().filter(|k| seen.contains(&format!("building index: {k}"))).count();
    assert!(found >= 2, "{seen:?}");
    server.check("i");
}
