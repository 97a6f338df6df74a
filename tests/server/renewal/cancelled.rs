//! VACUUM is cancelled while it replaces lists.

use std::time::{Duration, Instant};

use super::*;

/// Runs VACUUM with a setting that makes it slow; cancels it after a while. How long that took, and whether
/// it was still at work.
fn cancel_after(server: &Server, wait: Duration) -> (Duration, bool) {
    let mut vacuum = server.start_sql(
        "SET application_name = 'vacuum'; SET vacuum_cost_delay = '1ms'; SET vacuum_cost_limit = 50; \
         SET vacuum_cost_page_dirty = 5; VACUUM items",
    );
    let phase = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE phase = 'cleaning up indexes'";
    while server.sql(phase) == "0" && vacuum.try_wait().unwrap().is_none() {}
    std::thread::sleep(wait);
    let asked = Instant::now();
    let cancelled = server.sql(
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = 'vacuum' AND state = 'active'",
    );
    let _ = vacuum.wait();
    (asked.elapsed(), cancelled == "1")
}

#[test]
fn a_renewal_that_is_cancelled_leaves_a_right_index() {
    let server = server("renewal-cancelled", &["autovacuum = off", "fsync = off"]);
    server.sql(&new_topic(0));
    let (mut interrupted, mut at_work) = (0, 0);
    for round in 0..6u64 {
        let (wait, most) = (Duration::from_millis(250 * round), Duration::from_millis(1500));
        let (mut took, mut cancelled) = cancel_after(&server, wait);
        if cancelled && took >= most {
            // What else the machine does may delay one cancel, but not the next one, too.
            (took, cancelled) = cancel_after(&server, wait);
        }
        assert!(!cancelled || took < most, "cancel took {took:?} in round {round}");
        at_work += u32::from(cancelled);
        server.sql(&format!("CALL rows({0}, {0} + 50, NULL)", 10_000 + 100 * round));
        verify(&server);
        let between = state(&server, "items_index").0;
        interrupted += u32::from(between);
        if round % 3 == 2 {
            let reason = vacuum(&server);
            assert!(!between || reason.as_deref() == Some("it was interrupted"), "{reason:?}");
            server.sql(&drop_topic(round / 3));
            server.sql(&new_topic(round / 3 + 1));
        }
    }
    println!("{at_work} of 6 cancelled at work, {interrupted} between publishing and the flip");
    assert!(at_work > 0);
    // A timeout is the same; the backend works on.
    let script = "SET vacuum_cost_delay = '1ms'; SET vacuum_cost_limit = 50; \
                  SET statement_timeout = '400ms'; \
                  VACUUM items;";
    if let Err(message) = server.try_sql(script) {
        assert!(message.contains("57014"), "{message}");
    }
    vacuum(&server);
    assert!(!state(&server, "items_index").0);
    verify(&server);
}
