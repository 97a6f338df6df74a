//! VACUUM moves lists to free pages while others write, scan and verify, on a primary and its standby, and
//! when the server is killed.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::harness::random;
use crate::random::Random;
use crate::standby::caught_up;

/// A server with 6,000 rows in 60 lists.
fn many_lists(name: &str, conf: &[&str]) -> Server {
    let server = Server::new(name, conf);
    server.sql(SET_UP);
    server.sql("CALL rows(1, 6000, NULL)");
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 60)");
    server
}

/// Replaces the lists, and ends transactions, so that half of the file is free for the next VACUUM.
const HALF_FREE: &str = "SELECT ivf_maintain('items_index', true); SELECT pg_current_xact_id();";

/// Has the table and its index grow, and shrink again, so that list states often lie at the end of the file.
const SWOLLEN: &str = "CALL rows(100000000, 100007999, NULL); SELECT ivf_maintain('items_index', true);
    DELETE FROM items WHERE id BETWEEN 100000000 AND 100007999;";

/// Where the list states lie.
fn states(server: &Server) -> String {
    server.sql("CHECKPOINT; SELECT pg_read_binary_file(pg_relation_filepath('items_index'), 80, 4)")
}

/// Runs VACUUM. What it says.
fn vacuumed(server: &Server) -> String {
    let output = server.start_sql("SELECT pg_current_xact_id(); SET client_min_messages = log; VACUUM items");
    let output = output.wait_with_output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{messages}");
    messages
}

/// How many lists VACUUM has moved.
fn moved(server: &Server) -> u64 {
    let messages = vacuumed(server);
    let mut words = messages.split_whitespace().skip_while(|word| *word != "moved");
    words.nth(1).map_or(0, |number| number.parse().unwrap())
}

/// What a connection does in a round: the number of rows stays.
fn script(worker: u64, round: u64) -> String {
    let seed = 1000 * worker + round;
    match worker {
        0..=3 => (0..30)
            .map(|i| {
                let id = 1_000_000 * (worker + 1) + round * 30 + i;
                format!(
                    "BEGIN; INSERT INTO items VALUES ({id}, {id} % 7, vec({id}, {id} % 50));
                     UPDATE items SET embedding = vec({seed}, id % 50) WHERE id = {id} - 2;
                     DELETE FROM items WHERE id = {id} - 5; COMMIT;\n"
                )
            })
            .collect(),
        4..=6 => format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM items WHERE id < 10; {} COMMIT;",
            comparison(seed, if seed.is_multiple_of(2) { "" } else { "WHERE category = 2" }, 0.1)
        ),
        _ => "SELECT ivf_check('items_index', true)".to_owned(),
    }
}

/// The same for forty rounds.
fn scripts(worker: u64, first: u64) -> String {
    (first..first + 40).map(|round| script(worker, round)).collect()
}

/// Says that all are to end when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn lists_move_while_they_are_in_use() {
    let conf = ["wal_consistency_checking = 'all'", "max_wal_senders = 4", "autovacuum = off"];
    let primary = many_lists("renewal-moved", &conf);
    let standby =
        primary.standby("renewal-moved-standby", &["hot_standby = on", "max_standby_streaming_delay = '1s'"]);
    caught_up(&primary, &standby);
    let (mut lists, mut of_states, done) = (0, 0, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (primary, done) = (&primary, &done);
            scope.spawn(move || {
                for round in 0.. {
                    primary.sql(&script(worker, round));
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let (standby, read) = (&standby, &done);
        scope.spawn(move || {
            for seed in 0.. {
                let script =
                    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {} COMMIT;", comparison(seed, "", 0.2));
                standby::right_or_cancelled(&script, standby.try_sql(&script));
                let script = "SELECT ivf_check('items_index')";
                standby::right_or_cancelled(script, standby.try_sql(script));
                if read.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        // The others end with this thread, also if it fails.
        let _ends = Ends(&done);
        for round in 0..30 {
            if round >= 6 && of_states > 0 {
                break;
            }
            if round % 3 == 2 {
                primary.sql(SWOLLEN);
            }
            primary.sql(HALF_FREE);
            // The pages of the earlier lists are free when transactions that may read them have ended.
            // VACUUM would not cut the file while there is a standby, so it does not move lists. Nor does it
            // replace them instead.
            let messages = vacuumed(&primary);
            caught_up(&primary, standby);
            assert!(!messages.contains("moved") && !messages.contains("much of the file"), "{messages}");
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(20) {
                let maintain = "SELECT ivf_maintain('items_index') -> 'moved'";
                let before = states(&primary);
                let now: u64 = primary.sql(maintain).parse().unwrap();
                lists += now;
                if now > 0 {
                    of_states += u32::from(states(&primary) != before);
                    break;
                }
                primary.sql("SELECT pg_current_xact_id(), pg_sleep(.1)");
            }
        }
    });
    println!("{lists} lists were moved, list states {of_states} times");
    assert!(lists > 60 && of_states > 0, "{lists} lists were moved, list states {of_states} times");
    becomes_short(&primary);
    verify(&primary);
    caught_up(&primary, &standby);
    verify(&standby);
}

/// However long the file has become: when nobody writes, it becomes short.
fn becomes_short(server: &Server) {
    server.sql(HALF_FREE);
    // The backends of those that have written may be about to end.
    for attempt in 1.. {
        server.sql("SELECT ivf_maintain('items_index'); SELECT pg_current_xact_id()");
        let (pages, unused) = pages(server, "items_index");
        if attempt >= 4 && unused <= pages / 4 {
            return;
        }
        assert!(attempt < 100, "{unused} of {pages} pages are unused");
    }
}

#[test]
fn a_move_that_is_killed_loses_nothing() {
    let conf = ["autovacuum = off", "max_wal_size = '256MB'", "max_connections = 30"];
    let server = many_lists("renewal-moved-killed", &conf);
    let mut random: Random = random();
    let (mut within, mut most, rounds) = (0, 0, setting("VECTOR_SEARCH_TEST_KILLS", 3));
    // On a slow machine VACUUM may have ended before it is seen.
    for round in 0..10 * rounds {
        if within >= rounds && most > 0 {
            break;
        }
        half_free_in_use(&server);
        let postmaster = server.postmaster();
        let mut children: Vec<_> =
            (0..4).map(|worker| server.start_sql(&scripts(worker, 1000 + 40 * round))).collect();
        let slow =
            "SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 5; SET vacuum_cost_page_dirty = 5;";
        let mut vacuum = server.start_sql(&format!("{slow} VACUUM items"));
        let begun = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE phase = 'cleaning up indexes'";
        while server.sql(begun) == "0" && vacuum.try_wait().unwrap().is_none() {}
        std::thread::sleep(Duration::from_micros(random.below(400_000) as u64));
        within += u64::from(vacuum.try_wait().unwrap().is_none());
        server.kill(&postmaster);
        children.push(vacuum);
        children.iter_mut().for_each(|child| drop(child.wait()));
        server.restart(&conf);
        verify(&server);
        let lists: u64 = (0..3).map(|_| moved(&server)).sum();
        most = most.max(lists);
        verify(&server);
    }
    println!("{within} kills came while VACUUM was at work");
    assert!(within > 0 && most > 0, "{most} lists were moved after a kill");
    let (pages, unused) = pages(&server, "items_index");
    assert!(unused <= pages / 2, "{unused} of {pages} pages are unused");
}

/// The same, though nobody else uses the index: VACUUM alone moves its lists.
fn half_free_in_use(server: &Server) {
    let mut reader = server.interactive();
    let mut input = reader.stdin.take().unwrap();
    writeln!(input, "BEGIN; LOCK TABLE items IN ACCESS SHARE MODE;").unwrap();
    writeln!(input, "SELECT count(*) FROM (SELECT FROM items ORDER BY embedding <-> vec(1, 1) LIMIT 1) s;")
        .unwrap();
    let reads = "SELECT count(*) FROM pg_locks WHERE relation = 'items_index'::regclass";
    while server.sql(reads) == "0" {}
    server.sql(HALF_FREE);
    drop(input);
    let _ = reader.wait();
}
