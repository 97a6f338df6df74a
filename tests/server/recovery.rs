//! Backups, recovery to a point in time, promotion, and `pg_rewind`. And checksums, which show damage that
//! the index itself cannot see.

use std::fs::{OpenOptions, rename};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::harness::{Server, literal, vector};
use crate::standby::caught_up;

const CONF: &[&str] = &[
    "autovacuum = off",
    "fsync = off",
    "max_wal_senders = 4",
    "wal_log_hints = on",
    "wal_keep_size = '128MB'",
];

fn create(server: &Server) {
    server.fill("items", 32, 0..4000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 16)");
}

/// An index that no backup has.
const SECOND: &str = "CREATE INDEX second ON items USING ivf (embedding) WITH (lists = 8)";

/// The number of rows; verifies the index.
fn rows(server: &Server) -> String {
    server.check("items_index");
    server.sql("SELECT count(*) FROM items")
}

const SEARCH: &str = "SET enable_seqscan = off; SET ivf.recall_target = 1; \
     SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY embedding <-> $v LIMIT 20) s";

fn search(server: &Server) -> String {
    server.sql(&SEARCH.replace("$v", &format!("'{}'", literal(&vector(3, 32)))))
}

/// A backup is taken while rows are written, verified, and brought to a named point.
#[test]
fn a_backup_is_recovered_to_a_point_in_time() {
    let archive = "archive_command = 'mkdir -p archive && cp %p archive/%f'";
    let server = Server::new("pitr", &[CONF, &["archive_mode = on", archive]].concat());
    create(&server);
    let archived = server.data().join("archive");
    let insert = |first: u32| -> String {
        let row = |id: u32| {
            format!("INSERT INTO items VALUES ({id}, 1, '{}');", literal(&vector(u64::from(id), 32)))
        };
        (first..first + 800).map(row).collect()
    };
    let mut writer = server.start_sql(&insert(10_000));
    let mut vacuum = server.start_sql("DELETE FROM items WHERE id % 9 = 1 AND id < 4000; VACUUM items");
    let restore = format!("restore_command = 'cp {}/%f %p'", archived.display());
    let conf = [CONF, &[&restore, "recovery_target_name = 'wanted'", "recovery_target_action = promote"]];
    let prepare = |data: &Path| {
        let verified = server.run("pg_verifybackup", &[data.to_str().unwrap()]);
        assert!(
            verified.as_ref().is_ok_and(|said| said.contains("backup successfully verified")),
            "{verified:?}"
        );
        rename(data.join("standby.signal"), data.join("recovery.signal")).unwrap();
        assert!(writer.wait().unwrap().success() && vacuum.wait().unwrap().success());
        server.sql(SECOND);
        server.sql("SELECT pg_create_restore_point('wanted')");
        server.sql("CREATE TABLE wanted AS SELECT count(*) AS rows FROM items");
        // What must not be there afterwards.
        server
            .sql("DELETE FROM items WHERE id < 3000; VACUUM items; SELECT ivf_maintain('items_index', true)");
        server.sql(&insert(20_000));
        server.sql("SELECT pg_switch_wal(); CHECKPOINT");
        for _ in 0..1200 {
            if server.sql(
                "SELECT last_archived_wal IS NOT NULL AND failed_count = 0 AND last_archived_wal >= \
                 pg_walfile_name(pg_current_wal_lsn() - 16777216) FROM pg_stat_archiver",
            ) == "t"
            {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the WAL is not archived");
    };
    let recovered = server.copy("pitr-recovered", prepare, &conf.concat());
    for attempt in 0.. {
        if recovered.sql("SELECT pg_is_in_recovery()") == "f" {
            break;
        }
        assert!(attempt < 1200, "recovery does not end");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    recovered.check("second");
    assert_eq!(rows(&recovered), server.sql("SELECT rows FROM wanted"));
    assert_eq!(recovered.sql("SELECT count(*) FROM items WHERE id >= 20000"), "0");
    recovered.sql(&insert(30_000));
    recovered.sql("VACUUM items; SELECT ivf_maintain('items_index', true)");
    rows(&recovered);
}

/// The standby takes over; the old primary, which has gone on alone, is brought back by `pg_rewind`.
#[test]
fn a_failover_and_the_way_back() {
    let old = Server::new("failover-old", CONF);
    create(&old);
    let new = old.standby("failover-new", CONF);
    caught_up(&old, &new);
    new.sql("SELECT pg_promote()");
    // The old primary still takes writes, which get lost.
    old.fill("items", 32, 50_000..51_000);
    old.sql("DELETE FROM items WHERE id % 3 = 0; VACUUM items; SELECT ivf_maintain('items_index', true)");
    new.fill("items", 32, 60_000..61_500);
    new.sql(&format!("DELETE FROM items WHERE id % 5 = 0; VACUUM items; {SECOND}; CHECKPOINT"));
    assert_eq!(rows(&new), new.sql("SELECT count(*) FROM items WHERE id < 4000 OR id >= 60000"));
    let data = old.data();
    old.stop("fast");
    let source = format!("--source-server={}", new.conninfo());
    let target = format!("--target-pgdata={}", data.display());
    old.run("pg_rewind", &[&target, &source, "--write-recovery-conf"]).unwrap();
    old.restart(CONF);
    new.fill("items", 32, 70_000..70_500);
    new.sql("VACUUM items");
    caught_up(&new, &old);
    assert_eq!(old.sql("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(rows(&old), rows(&new));
    old.check("second");
    assert_eq!(search(&old), search(&new));
    // What reads works on a standby; what writes says why not.
    old.sql("SELECT ivf_recall('items_index', 20), ivf_index_info('items_index')");
    for call in ["ivf_maintain('items_index')", "ivf_recalibrate('items_index')"] {
        let error = old.try_sql(&format!("SELECT {call}")).unwrap_err();
        assert!(error.contains("25006"), "{call}: {error}");
    }
}

/// With checksums no byte of the index changes unnoticed, also where each value of a field may be right.
#[test]
fn checksums_hold_and_notice_what_the_index_cannot() {
    let server = Server::new("checksums", CONF);
    let data = server.data();
    if server.sql("SHOW data_checksums") == "off" {
        server.stop("fast");
        server.run("pg_checksums", &["--enable", "-D", data.to_str().unwrap()]).unwrap();
        server.restart(CONF);
    }
    create(&server);
    server.fill("items", 32, 10_000..12_000);
    server.sql("DELETE FROM items WHERE id % 3 = 0; VACUUM items; SELECT ivf_maintain('items_index', true)");
    server.sql("VACUUM items; CHECKPOINT");
    let whole = rows(&server);
    let file = data.join(server.sql("SELECT pg_relation_filepath('items_index')"));
    let pages: u64 = server.sql("SELECT pg_relation_size('items_index') / 8192").parse().unwrap();
    server.stop("fast");
    server.run("pg_checksums", &["--check", "-D", data.to_str().unwrap()]).unwrap();
    // The seed of the rotation, in which every value is a valid one.
    let index = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let (mut byte, at) = ([0], 24 + 16);
    index.read_exact_at(&mut byte, at).unwrap();
    index.write_all_at(&[byte[0] ^ 4], at).unwrap();
    server.restart(CONF);
    for query in
        ["SELECT ivf_check('items_index')", &SEARCH.replace("$v", "(SELECT embedding FROM items LIMIT 1)")]
    {
        let error = server.try_sql(query).unwrap_err();
        assert!(error.contains("XX001"), "{pages} pages: {query}: {error}");
    }
    server.sql("REINDEX INDEX items_index");
    assert_eq!(rows(&server), whole);
}
