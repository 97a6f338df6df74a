//! SIGKILL to the server during build, insert and vacuum.

use std::process::Child;
use std::time::Duration;

use crate::harness::{Server, literal, random, setting, vector};

const CONF: &[&str] = &["max_wal_size = '256MB'", "checkpoint_timeout = '30s'", "autovacuum = off"];
/// Compares an exhaustive index scan with a sequential one: same rows in the same order.
const COMPARE: &str = "
    SET ivf.recall_target = 1;
    CREATE TEMP TABLE q AS SELECT embedding AS e FROM items ORDER BY id LIMIT 1;
    SET enable_seqscan = off;
    CREATE TEMP TABLE by_index AS SELECT row_number() OVER () AS n, id FROM
        (SELECT id FROM items ORDER BY embedding <-> (SELECT e FROM q)) s;
    SET enable_seqscan = on; SET enable_indexscan = off;
    CREATE TEMP TABLE by_table AS SELECT id, embedding <-> (SELECT e FROM q) AS d FROM items;
    SELECT (SELECT count(*) FROM by_table) - (SELECT count(*) FROM by_index),
           (SELECT count(*) FROM (SELECT id FROM by_table EXCEPT SELECT id FROM by_index) s),
           (SELECT count(*) FROM (SELECT d < lag(d) OVER (ORDER BY n) AS wrong
            FROM by_index JOIN by_table USING (id)) s WHERE wrong)";

fn verify(server: &Server) {
    server.check("items_index");
    assert_eq!(server.sql(COMPARE), "0|0|0", "rows too few, missing, and out of order in an exhaustive scan");
}

#[test]
fn a_build_that_is_killed_leaves_no_index() {
    let server = Server::new("crash-build", CONF);
    server.fill("items", 384, 0..40_000);
    let create = "CREATE INDEX items_index ON items USING ivf (embedding) WITH (lists = 400)";
    let postmaster = server.postmaster();
    let mut build = server.start_sql(create);
    while server.sql("SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE '%k-means'") == "0"
    {
        assert!(build.try_wait().unwrap().is_none(), "the build was not seen at work");
    }
    server.kill(&postmaster);
    let _ = build.wait();
    server.restart(CONF);
    assert_eq!(server.sql("SELECT count(*) FROM pg_class WHERE relname = 'items_index'"), "0");
    server.sql(create);
    verify(&server);
}

/// First number of the rows that are written before one of the kills.
fn first_of(round: u32) -> u32 {
    1_000_000 * (round + 1)
}

/// Eight connections that write until the server is killed.
fn writers(server: &Server, round: u32, statements: impl Fn(u32, &str) -> String) -> Vec<Child> {
    let script = |writer: u32| {
        let ids = (0..3000).map(|i| first_of(round) + 10_000 * writer + i);
        ids.map(|id| statements(id, &literal(&vector(u64::from(id), 48)))).collect::<String>()
    };
    (0..8).map(|writer| server.start_sql(&script(writer))).collect()
}

/// Kills the server after a pause in milliseconds. Which of the connections were at work then.
fn kill(server: &Server, postmaster: &str, mut children: Vec<Child>, pause: usize) -> Vec<bool> {
    std::thread::sleep(Duration::from_millis(pause as u64));
    let at_work = children.iter_mut().map(|child| child.try_wait().unwrap().is_none()).collect();
    server.kill(postmaster);
    children.iter_mut().for_each(|child| drop(child.wait()));
    server.restart(CONF);
    at_work
}

#[test]
fn inserts_that_are_killed_lose_nothing_committed() {
    let server = Server::new("crash-insert", CONF);
    server.fill("items", 48, 0..12_000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding)");
    let (mut random, mut at_work, rounds) = (random(), 0, setting("VECTOR_SEARCH_TEST_KILLS", 3) as u32);
    for round in 0..rounds {
        let insert =
            |id: u32, vector: &str| format!("INSERT INTO items VALUES ({id}, {}, '{vector}');\n", id % 45);
        let postmaster = server.postmaster();
        let writers = writers(&server, round, insert);
        at_work +=
            kill(&server, &postmaster, writers, 300 + random.below(900)).iter().filter(|w| **w).count();
        verify(&server);
        // The table stays as small as the kills of a few rounds make it, however many there are.
        server.sql(&format!("DELETE FROM items WHERE id BETWEEN 1000000 AND {}", first_of(round) - 1));
        if round % 8 == 7 {
            server.sql("VACUUM items");
        }
    }
    println!("{rounds} kills, {at_work} writers at work");
    assert!(server.sql("SELECT count(*) FROM items").parse::<u32>().unwrap() > 12_000);
}

/// Waits until a VACUUM removes rows from indexes or, after that, from the table.
const UNTIL_IT_REMOVES: &str = "
    DO $$ BEGIN
        FOR i IN 1..5000 LOOP
            PERFORM pg_stat_clear_snapshot();
            EXIT WHEN EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE phase LIKE '%vacuuming%');
            PERFORM pg_sleep(0.002);
        END LOOP;
    END $$";

#[test]
fn vacuums_that_are_killed_leave_a_sound_index() {
    let server = Server::new("crash-vacuum", CONF);
    server.fill("items", 48, 0..20_000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding)");
    let (mut random, mut vacuums, rounds) = (random(), 0, setting("VECTOR_SEARCH_TEST_KILLS", 3) as u32);
    for round in 0..rounds {
        server.sql(&format!("DELETE FROM items WHERE id % 7 = {}", round % 7));
        let mut children = writers(&server, round, |id, vector| {
            let (category, updated, deleted) = (id % 45, id - 3, id - 9);
            format!(
                "INSERT INTO items VALUES ({id}, {category}, '{vector}');
                 UPDATE items SET embedding = '{vector}' WHERE id = {updated};
                 DELETE FROM items WHERE id = {deleted};\n"
            )
        });
        let postmaster = server.postmaster();
        children.push(server.start_sql(
            // It waits two milliseconds after each two pages.
            "SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 40; SET vacuum_cost_page_hit = 20;
             VACUUM (INDEX_CLEANUP ON) items",
        ));
        server.sql(UNTIL_IT_REMOVES);
        let at_work = kill(&server, &postmaster, children, random.below(300));
        vacuums += u64::from(at_work[8]);
        verify(&server);
        // However many kills there are, there are rows to remove for each.
        server.sql(&format!("DELETE FROM items WHERE id BETWEEN 1000000 AND {}", first_of(round) - 1));
        server.fill("items", 48, (0..20_000).filter(|id| id % 7 == round % 7));
    }
    println!("{rounds} kills, {vacuums} vacuums at work");
    assert!(vacuums > 0, "no kill came in a VACUUM");
    server.sql("VACUUM items");
    verify(&server);
    server.fill("items", 48, 500_000..503_000);
    verify(&server);
}

#[test]
fn an_unlogged_index_is_empty_and_usable_after_a_crash() {
    let server = Server::new("crash-unlogged", CONF);
    server.sql("CREATE UNLOGGED TABLE items (id int PRIMARY KEY, category int, embedding vector(16))");
    server.fill("items", 16, 0..2000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding); CHECKPOINT");
    server.kill(&server.postmaster());
    server.restart(CONF);
    assert_eq!(server.sql("SELECT count(*) FROM items"), "0");
    server.fill("items", 16, 0..500);
    verify(&server);
}
