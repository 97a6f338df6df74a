//! Indexes that are built, rebuilt and dropped beside writers; and backends that are terminated in a build.

use std::time::{Duration, Instant};

use crate::harness::{Server, literal, vector};

const CONF: &[&str] = &["autovacuum = off", "fsync = off", "deadlock_timeout = '1s'"];

/// What a writer does in a round.
fn writes(worker: u32, round: u32) -> String {
    let first = 1_000_000 * (worker + 1) + 300 * round;
    (first..first + 100)
        .map(|id| {
            let [value, other] = [id, id + 1].map(|seed| literal(&vector(u64::from(seed), 24)));
            format!(
                "INSERT INTO items VALUES ({id}, {}, '{value}');
                 UPDATE items SET embedding = '{other}' WHERE id = {id} - 5;
                 UPDATE items SET category = category + 1 WHERE id = {id} - 11;
                 DELETE FROM items WHERE id = {id} - 17;\n",
                id % 45
            )
        })
        .collect()
}

#[test]
fn concurrent_builds_have_all_rows() {
    let server = Server::new("beside-builds", CONF);
    server.fill("items", 24, 0..8000);
    let end = Instant::now() + Duration::from_secs(4);
    let mut builds = 0;
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let server = &server;
            scope.spawn(move || {
                for round in 0.. {
                    server.sql(&writes(worker, round));
                    if Instant::now() > end {
                        break;
                    }
                }
            });
        }
        loop {
            server.sql(
                "CREATE INDEX CONCURRENTLY made ON items USING ivf (embedding, category) WITH (lists = 20)",
            );
            server.check("made");
            server.sql("REINDEX INDEX CONCURRENTLY made; VACUUM items");
            server.check("made");
            builds += 2;
            if Instant::now() > end {
                break;
            }
            server.sql("DROP INDEX CONCURRENTLY made");
        }
    });
    println!("{builds} builds");
    server.check("made");
    let count = "SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> \
         (SELECT embedding FROM items WHERE id = 5)) s";
    assert_eq!(
        server.sql(&format!("SET enable_seqscan = off; SET ivf.recall_target = 1; {count}")),
        server.sql("SELECT count(*) FROM items")
    );
}

#[test]
fn a_build_whose_backend_is_terminated_leaves_nothing() {
    let server = Server::new("beside-terminated", CONF);
    server.fill("items", 256, 0..16_000);
    let files = || {
        server.sql(
            "CHECKPOINT; SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database
             WHERE datname = current_database())); SELECT count(*) FROM pg_ls_tmpdir()",
        )
    };
    let create = "SET maintenance_work_mem = '1MB'; SET application_name = 'builder'; \
         CREATE INDEX made ON items USING ivf (embedding) WITH (lists = 200)";
    let began = Instant::now();
    server.sql(&format!("{create}; DROP INDEX made"));
    let whole = began.elapsed();
    let before = files();
    let mut terminated = 0;
    for step in 1..5u32 {
        let build = server.start_sql(create);
        std::thread::sleep(whole * step / 7);
        let end = "SELECT count(pg_terminate_backend(pid, 20000)) FROM pg_stat_activity \
             WHERE application_name = 'builder' AND state = 'active'";
        let ended = server.sql(end);
        let output = build.wait_with_output().unwrap();
        if ended == "1" && !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("57P01"), "{said}");
            terminated += 1;
        }
        server.sql("DROP INDEX IF EXISTS made");
        assert_eq!(files(), before, "nothing is left, step {step}");
    }
    assert!(terminated >= 2, "{terminated} builds were terminated");
    server.sql(create);
    server.check("made");
}
