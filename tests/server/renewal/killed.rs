//! SIGKILL to the server while VACUUM or `ivf_maintain` replaces lists and eight connections write.

use std::time::Duration;

use super::*;
use crate::harness::random;
use crate::random::Random;

const CONF: &[&str] = &["autovacuum = off", "max_wal_size = '256MB'", "max_connections = 30"];

/// What one of the writers does.
fn writes(round: u64, writer: u64) -> String {
    let first = 1_000_000 * (8 * round + writer + 1);
    (0..1500)
        .map(|i| {
            let id = first + i;
            format!(
                "INSERT INTO items VALUES ({id}, {id} % 7, vec({id}, {id} % 60));
                 UPDATE items SET embedding = vec({id} + 5, {round}) WHERE id = {id} - 3;
                 DELETE FROM items WHERE id = {id} - 9;"
            )
        })
        .collect()
}

/// Lets writers and the replacement of the lists run, and kills the server in the middle of it. Whether the
/// replacement was at work then.
fn kill_in_the_middle(server: &Server, round: u64, random: &mut Random) -> bool {
    server.sql(&new_topic(round));
    let postmaster = server.postmaster();
    let mut children: Vec<_> = (0..8).map(|writer| server.start_sql(&writes(round, writer))).collect();
    let (work, begun) = if round % 3 == 2 {
        ("SELECT ivf_maintain('items_index')", "pg_stat_activity WHERE query LIKE 'SELECT ivf_maintain%'")
    } else {
        ("VACUUM items", "pg_stat_progress_vacuum WHERE phase = 'cleaning up indexes'")
    };
    let mut maintenance = server.start_sql(&format!(
        "SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 100; SET vacuum_cost_page_dirty = 5; {work}"
    ));
    let begun = format!("SELECT count(*) FROM {begun}");
    while server.sql(&begun) == "0" && maintenance.try_wait().unwrap().is_none() {}
    // Half of the times the new lists have been published.
    let (running, most) = ("SELECT ivf_index_info('items_index') -> 'maintenance' ->> 'running'", 300_000);
    while round.is_multiple_of(2)
        && server.sql(running) == "false"
        && maintenance.try_wait().unwrap().is_none()
    {}
    std::thread::sleep(Duration::from_micros(random.below(most) as u64));
    let at_work = maintenance.try_wait().unwrap().is_none();
    server.kill(&postmaster);
    children.push(maintenance);
    children.iter_mut().for_each(|child| drop(child.wait()));
    server.restart(CONF);
    at_work
}

#[test]
fn a_renewal_that_is_killed_is_gone_on_with() {
    let server = server("renewal-killed", CONF);
    let mut random = random();
    let (mut at_work, mut interrupted, rounds) = (0, 0, setting("VECTOR_SEARCH_TEST_KILLS", 3));
    let mut sizes = Vec::new();
    for round in 0..rounds {
        at_work += u64::from(kill_in_the_middle(&server, round, &mut random));
        verify(&server);
        let between = state(&server, "items_index").0;
        let reason = vacuum(&server);
        if between {
            interrupted += 1;
            assert_eq!(reason.as_deref(), Some("it was interrupted"));
        }
        assert!(!state(&server, "items_index").0, "the lists were replaced");
        verify(&server);
        server.sql(&drop_topic(round));
        server.sql("DELETE FROM items WHERE id BETWEEN 1000000 AND 99999999");
        sizes.push(pages(&server, "items_index").0);
    }
    println!("{at_work} of {rounds} kills came while lists were replaced,");
    println!("{interrupted} of them between publishing and the flip; pages {sizes:?}");
    // What the crashes have left is found: unused pages are known to be free, or are those of the lists
    // before.
    server.sql("SELECT ivf_maintain('items_index', true); SELECT pg_current_xact_id()");
    vacuum(&server);
    let ((pages, unused), free) = (pages(&server, "items_index"), state(&server, "items_index").1);
    let used = pages - unused;
    assert!(unused <= free + 2 * used, "{pages} pages, {unused} unused, {free} free");
    verify(&server);
    // So the file does not grow with the number of crashes.
    assert!(sizes.iter().all(|&pages| pages < 5 * sizes[0]), "pages: {sizes:?}");
}
