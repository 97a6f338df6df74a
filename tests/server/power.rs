//! Loss of power: what has not reached the disk is gone. `pg_ctl stop -m immediate` stops a server without a
//! checkpoint; a WAL that is cut at any byte is what the disk may have of it.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::harness::{Server, literal, vector};
use crate::random::Random;

/// Nothing but WAL is written after a checkpoint, and commits do not wait for it.
const CONF: &[&str] = &[
    "autovacuum = off",
    // The machine goes on, so what was written is there.
    "fsync = off",
    "checkpoint_timeout = '1h'",
    "max_wal_size = '4GB'",
    "bgwriter_lru_maxpages = 0",
    "shared_buffers = '128MB'",
    "synchronous_commit = off",
];

/// Statements that insert rows one by one, and delete some.
fn writes(first: u32) -> String {
    (first..first + 1200)
        .map(|id| {
            let vector = literal(&vector(u64::from(id), 32));
            format!(
                "INSERT INTO items VALUES ({id}, {}, '{vector}');\nDELETE FROM items WHERE id = {id} - 9;\n",
                id % 45
            )
        })
        .collect()
}

/// Verifies the index, and that it gives as many rows as the table has.
fn verify(server: &Server) -> u32 {
    server.check("items_index");
    let count = server.sql("SELECT count(*) FROM items");
    let by_index = server.sql(&format!(
        "SET enable_seqscan = off; SET ivf.recall_target = 1;
         SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> '{}') s",
        literal(&vector(3, 32))
    ));
    assert_eq!(by_index, count);
    count.parse().unwrap()
}

#[test]
fn an_immediate_stop_in_the_middle_of_work() {
    let server = Server::new("power-stop", CONF);
    server.fill("items", 32, 0..6000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 30)");
    for round in 0..2u32 {
        let first = 100_000 * (round + 1);
        let mut work: Vec<_> = (0..3).map(|w| server.start_sql(&writes(first + 20_000 * w))).collect();
        work.push(server.start_sql("SET vacuum_cost_delay = '1ms'; VACUUM (INDEX_CLEANUP ON) items"));
        std::thread::sleep(Duration::from_millis(300 + 200 * u64::from(round)));
        server.stop("immediate");
        work.iter_mut().for_each(|child| drop(child.wait()));
        server.restart(CONF);
        assert!(verify(&server) >= 5000);
    }
}

/// Where the server's WAL ends: the name of the segment, and the offset in it.
fn end_of_wal(server: &Server) -> (String, u64) {
    let at = server.sql("SELECT * FROM pg_walfile_name_offset(pg_current_wal_lsn())");
    let (file, offset) = at.split_once('|').unwrap();
    (file.to_owned(), offset.parse().unwrap())
}

/// Writes rubbish over a segment of the WAL from an offset on.
fn cut(segment: &Path, offset: u64, random: &mut Random) {
    let mut file = OpenOptions::new().read(true).write(true).open(segment).unwrap();
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_to_end(&mut rest).unwrap();
    rest.iter_mut().for_each(|byte| *byte = random.next() as u8);
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&rest).unwrap();
}

#[test]
fn a_wal_that_is_cut_anywhere_gives_a_sound_index() {
    let server = Server::new("power-wal", CONF);
    server.fill("items", 32, 0..3000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 12)");
    let mut random = Random(77);
    let data = server.data();
    let mut lost = 0;
    for round in 0..4u32 {
        server.sql("SELECT pg_switch_wal(); CHECKPOINT");
        let (segment, from) = end_of_wal(&server);
        let before = verify(&server);
        server.sql(&writes(100_000 * (round + 1)));
        if round % 2 == 0 {
            server.sql("VACUUM (INDEX_CLEANUP ON) items");
        }
        let after = server.sql("SELECT max(id) FROM items");
        server.stop("immediate");
        let (kept, all) = (random.unit(), 0.8 * (16 << 20) as f32 - from as f32);
        // Most of the WAL of 1,200 rows is less than a megabyte.
        cut(&data.join("pg_wal").join(&segment), from + (kept * all.min(800_000.0)) as u64, &mut random);
        server.restart(CONF);
        assert!(verify(&server) >= before);
        lost += u32::from(server.sql("SELECT max(id) FROM items") != after);
    }
    assert!(lost >= 2, "{lost} of 4 cuts lost rows");
    server.sql(&writes(900_000));
    server.sql("VACUUM items");
    verify(&server);
}

/// With `wal_level = minimal` an index of a table of the same transaction is not logged: the server writes
/// its file to the disk at commit.
#[test]
fn an_index_that_is_not_logged_is_on_the_disk() {
    let conf = [
        CONF,
        &["wal_level = minimal", "max_wal_senders = 0", "wal_skip_threshold = 0", "synchronous_commit = on"],
    ]
    .concat();
    let server = Server::new("power-minimal", &conf);
    server.sql(
        "BEGIN; CREATE TABLE items (id int PRIMARY KEY, category int, embedding vector(32));
         INSERT INTO items SELECT i, i % 45, array_fill(sin(i), ARRAY[32])::vector
             FROM generate_series(1, 4000) i;
         CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 12);
         INSERT INTO items SELECT i, i % 45, array_fill(cos(i), ARRAY[32])::vector
             FROM generate_series(10001, 10500) i;
         COMMIT",
    );
    server.stop("immediate");
    server.restart(&conf);
    assert_eq!(verify(&server), 4500);
    server.sql(
        "BEGIN; TRUNCATE items; INSERT INTO items SELECT 1, 1, array_fill(1, ARRAY[32])::vector; COMMIT",
    );
    server.stop("immediate");
    server.restart(&conf);
    assert_eq!(verify(&server), 1);
}
