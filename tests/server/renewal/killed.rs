//! SIGKILL to the server while VACUUM replaces lists and eight connections write.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
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

/// Lets writers and a VACUUM that replaces the lists run, and kills the server in the middle of it.
fn kill_in_the_middle(server: &Server, round: u64, random: &mut Random) {
    server.sql(&new_topic(round));
    let postmaster = server.postmaster();
    let mut children: Vec<_> = (0..8).map(|writer| server.start_sql(&writes(round, writer))).collect();
    let mut vacuum = server.start_sql(
        "SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 100; \
         SET vacuum_cost_page_dirty = 5; VACUUM items",
    );
    let phase = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE phase = 'cleaning up indexes'";
    while server.sql(phase) == "0" && vacuum.try_wait().unwrap().is_none() {}
    // Half of the times the new lists have been published.
    let (running, most) = ("SELECT ivf_index_info('items_index') -> 'maintenance' ->> 'running'", 300_000);
    while round.is_multiple_of(2) && server.sql(running) == "false" && vacuum.try_wait().unwrap().is_none() {}
    std::thread::sleep(Duration::from_micros(random.below(most) as u64));
    server.kill(&postmaster);
    children.push(vacuum);
    children.iter_mut().for_each(|child| drop(child.wait()));
    server.restart(CONF);
}

#[test]
fn a_renewal_that_is_killed_is_gone_on_with() {
    let server = server("renewal-killed", CONF);
    let seed = setting("VECTOR_SEARCH_TEST_SEED", 0);
    let seed = if seed > 0 { seed } else { SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() };
    println!("VECTOR_SEARCH_TEST_SEED={seed}");
    let mut random = Random(seed);
    let (mut interrupted, rounds) = (0, setting("VECTOR_SEARCH_TEST_KILLS", 3));
    let mut sizes = Vec::new();
    for round in 0..rounds {
        kill_in_the_middle(&server, round, &mut random);
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
    println!("{interrupted} of {rounds} were interrupted between publishing and the flip; pages {sizes:?}");
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
