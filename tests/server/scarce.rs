//! No room for a file, no threads, no workers: the statement fails or does with less, and once there is
//! room again all goes on.

use crate::harness::Server;
use crate::session::Session;

const CONF: &[&str] = &["autovacuum = off", "fsync = off"];
const INDEX: &str = "CREATE INDEX items_index ON items USING ivf (embedding) WITH (lists = 40)";

/// Whether a file could not grow: not at all, or by a part of a page (53100, as on a full disk).
fn is_full(answer: &str) -> bool {
    answer.contains("File too large") || (answer.contains("wrote only") && answer.contains("53100"))
}

/// The largest file that the backend may write is smaller than the index, as on a disk that is full.
#[test]
fn files_that_cannot_grow() {
    let server = Server::new("scarce-files", CONF);
    server.fill("items", 64, 0..8000);
    server.sql(INDEX);
    let size: u64 = server.sql("SELECT pg_relation_size('items_index')").parse().unwrap();
    server.sql("DROP INDEX items_index");
    let files = || {
        server.sql(
            "SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database \
        WHERE datname = current_database()))",
        )
    };
    server.sql("CHECKPOINT");
    let before = files();
    let mut session = Session::new(&server);
    session.run("SELECT '[1]'::vector");
    for share in [1, 3, 6, 9] {
        session.limit(&server, &format!("fsize={}", size * share / 10));
        let answer = session.run(INDEX);
        assert!(is_full(&answer) && answer.contains("SQLSTATE"), "{share}: {answer}");
    }
    session.limit(&server, "fsize=unlimited");
    server.sql("CHECKPOINT");
    assert_eq!(files(), before, "nothing is left of the builds");
    assert_eq!(session.run(INDEX), "");
    server.check("items_index");
    // Inserts need more pages at some time. The table's file is the smaller one, so it is filled elsewhere.
    let insert = "INSERT INTO items SELECT id + 100000, category, embedding FROM items WHERE id < 8000";
    session.run("CREATE TABLE many AS SELECT * FROM items");
    session.run("CREATE INDEX many_index ON many USING ivf (embedding) WITH (lists = 40)");
    let size: u64 = server.sql("SELECT pg_relation_size('many_index')").parse().unwrap();
    let table: u64 = server.sql("SELECT pg_relation_size('many')").parse().unwrap();
    session.run("DELETE FROM many WHERE id >= 2000");
    session.run("VACUUM many");
    server.sql("CHECKPOINT");
    assert!(table > 0 && size > 0);
    session.limit(&server, &format!("fsize={size}"));
    let answer = session.run(&insert.replace("items", "many").replace("FROM many", "FROM items"));
    session.limit(&server, "fsize=unlimited");
    assert!(is_full(&answer), "{answer}");
    server.check("many_index");
    session.run(&insert.replace("INSERT INTO items", "INSERT INTO many"));
    server.sql("VACUUM many");
    server.check("many_index");
    assert_eq!(server.sql("SELECT count(*) FROM many"), "10000");
}

/// A build spills its codes to a temporary file, whose size has a limit of its own.
#[test]
fn temporary_files_that_may_not_grow() {
    let server = Server::new("scarce-temporary", CONF);
    server.fill("items", 256, 0..12_000);
    let little = "SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 0;";
    let error = server.try_sql(&format!("{little} SET temp_file_limit = '100kB'; {INDEX}")).unwrap_err();
    assert!(error.contains("53400") && error.contains("temp_file_limit"), "{error}");
    assert_eq!(server.sql("SELECT count(*) FROM pg_ls_tmpdir()"), "0");
    server.sql(&format!("{little} {INDEX}"));
    server.check("items_index");
}

#[test]
fn threads_that_cannot_start() {
    let server = Server::new("scarce-threads", CONF);
    server.fill("items", 32, 0..6000);
    let mut session = Session::new(&server);
    session.run("SET max_parallel_maintenance_workers = 4");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", session.backend)).unwrap();
    let most = limits.lines().find(|line| line.starts_with("Max processes")).unwrap();
    let most = most.split_whitespace().nth(3).unwrap();
    session.limit(&server, "nproc=1");
    let answer = session.run(INDEX);
    assert!(answer.contains("could not start threads") && answer.contains("SQLSTATE 53200"), "{answer}");
    session.limit(&server, &format!("nproc={most}"));
    assert_eq!(session.run(INDEX), "");
    session.limit(&server, "nproc=1");
    // What needs no threads goes on.
    assert_eq!(
        session.run("INSERT INTO items SELECT id + 10000, 1, embedding FROM items WHERE id < 100"),
        ""
    );
    let nearest = "SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> \
         (SELECT embedding FROM items WHERE id = 7) LIMIT 10) s";
    assert_eq!(session.run(nearest), "10");
    server.check("items_index");
}

/// Builds use threads, not workers; VACUUM, scans of the table and queries take workers if there are some.
#[test]
fn workers_that_cannot_start() {
    let server = Server::new("scarce-workers", CONF);
    server.fill("items", 32, 0..6000);
    for processes in ["max_worker_processes = 0", "max_worker_processes = 1"] {
        server.restart(&[CONF, &[processes, "max_logical_replication_workers = 0"]].concat());
        server.sql(&format!(
            "SET max_parallel_maintenance_workers = 4; SET min_parallel_table_scan_size = 0; \
             SET min_parallel_index_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
             ALTER TABLE items SET (parallel_workers = 4);
             DROP INDEX IF EXISTS items_index, by_category;
             {INDEX}; CREATE INDEX by_category ON items (category);
             DELETE FROM items WHERE id % 5 = 0; VACUUM (PARALLEL 4) items;
             REINDEX INDEX items_index; SELECT ivf_recalibrate('items_index'), ivf_recall('items_index', 20);
             SELECT avg(embedding) FROM items;
             SELECT a.id FROM items a ORDER BY a.embedding <-> (SELECT avg(embedding) FROM items) LIMIT 5"
        ));
        server.check("items_index");
    }
}

/// Cursors hold pages until hardly a buffer is left for anything else.
#[test]
fn buffers_that_are_all_pinned() {
    let server = Server::new("scarce-buffers", CONF);
    server.fill("items", 64, 0..4000);
    server.sql(INDEX);
    // Sixteen buffers, the least that PostgreSQL allows.
    server.restart(&[CONF, &["shared_buffers = '128kB'"]].concat());
    let mut session = Session::new(&server);
    session.run("SET enable_seqscan = off; SET lock_timeout = '20s'");
    let work = [
        "SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items \
         WHERE id = 7) LIMIT 10) s",
        "INSERT INTO items SELECT id + 100000, 1, embedding FROM items WHERE id < 50",
        "DELETE FROM items WHERE id >= 100000",
        "VACUUM items",
        "SELECT ivf_check('items_index', true) IS NOT NULL",
        "SELECT ivf_index_info('items_index') ->> 'lists'",
    ];
    let (mut worked, mut failed) = (0, 0);
    // Another session holds the pages, so that VACUUM can run in this one.
    let mut holder = Session::new(&server);
    holder.run("BEGIN; SET enable_indexscan = off; SET enable_bitmapscan = off");
    for cursors in 0..16 {
        for statement in work {
            let answer = session.run(statement);
            match answer.rsplit_once("SQLSTATE ") {
                None => worked += 1,
                Some((_, "53200" | "XX000")) if answer.contains("no unpinned buffers") => failed += 1,
                Some(_) => panic!("{cursors} cursors, {statement}: {answer}"),
            }
        }
        holder.run(&format!(
            "SAVEPOINT s; DECLARE c{cursors} CURSOR FOR SELECT 1 FROM items; MOVE {} IN c{cursors}",
            1 + 180 * cursors
        ));
    }
    assert!(worked > 20 && failed > 5, "{worked} worked, {failed} failed");
    holder.run("ROLLBACK");
    session.run("VACUUM items");
    server.check("items_index");
}

/// A file that is shorter than it was, as a file system without its journal may leave it.
#[test]
fn a_file_that_was_cut() {
    let server = Server::new("scarce-cut", CONF);
    server.fill("items", 64, 0..3000);
    server.sql(INDEX);
    let data = server.data();
    let search = "SET enable_seqscan = off; SET ivf.recall_target = 1; SELECT count(*) FROM \
         (SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 7)) s";
    let mut noticed = 0;
    for share in [0, 50, 99] {
        server.sql("REINDEX INDEX items_index; CHECKPOINT");
        let file = data.join(server.sql("SELECT pg_relation_filepath('items_index')"));
        let size: u64 = server.sql("SELECT pg_relation_size('items_index')").parse().unwrap();
        server.stop("fast");
        std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(size * share / 100).unwrap();
        server.restart(CONF);
        for statement in [
            search,
            "SELECT ivf_check('items_index', true)",
            "INSERT INTO items SELECT id + 10000, 1, embedding FROM items WHERE id < 300",
            "DELETE FROM items WHERE id % 7 = 1; VACUUM items",
        ] {
            match server.try_sql(statement) {
                Err(error) => {
                    let known = ["XX001", "XX002", "58P01"].iter().any(|state| error.contains(state));
                    assert!(known, "{share} %: {statement}: {error}");
                    noticed += 1;
                }
                Ok(rows) if statement == search => {
                    assert_eq!(rows, server.sql("SELECT count(*) FROM items"), "{share} %: rows are missing");
                }
                Ok(_) => {}
            }
        }
    }
    assert!(noticed >= 6, "{noticed} statements noticed");
    server.sql("REINDEX INDEX items_index");
    server.check("items_index");
}
