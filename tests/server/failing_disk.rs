//! A disk that is full (ENOSPC), or cannot be read (EIO), for one file: calls of the C library are replaced
//! (`failing_disk.c`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Server;

const CONF: &[&str] = &["autovacuum = off", "fsync = off", "shared_buffers = '16MB'"];

/// The directory of the library and of the file that steers it; the server's user can reach both.
struct Disk(PathBuf);

impl Disk {
    /// Compiles the library. `None` without a C compiler.
    fn new() -> Option<Self> {
        let dir = PathBuf::from(format!("/tmp/vs-failing-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/failing_disk.c");
        let library = dir.join("failing_disk.so");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status();
        compiled.is_ok_and(|status| status.success()).then(|| Self(dir))
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.0.join(name).display().to_string();
        [("LD_PRELOAD", path("failing_disk.so")), ("FAILING_DISK", path("which"))]
    }

    /// Lets calls on a file fail, or none.
    fn fails(&self, which: Option<(&str, &str)>) {
        let order = which.map_or(String::new(), |(path, what)| format!("{path} {what}"));
        std::fs::write(self.0.join("which"), order).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SEARCH: &str = "SET enable_seqscan = off; SET ivf.recall_target = 1; SELECT count(*) FROM \
     (SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 7)) s";

/// A statement that adds copies of the first rows.
fn insert(rows: u32, first: u32) -> String {
    format!("INSERT INTO items SELECT id + {first}, category, embedding FROM items WHERE id < {rows}")
}

#[test]
fn a_full_disk_and_one_that_cannot_be_read() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: there is no C compiler");
        return;
    };
    let server = Server::new("failing-disk", CONF);
    server.fill("items", 64, 0..8000);
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 40)");
    server.restart_in(CONF, &disk.environment());
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.postmaster())).unwrap();
    if !maps.contains("failing_disk.so") {
        eprintln!("skipped: the server does not get the environment");
        return;
    }
    let path = server.sql("SELECT pg_relation_filepath('items_index')");
    let fails = |statement: &str, states: &[&str]| {
        let error = server.try_sql(statement).expect_err(statement);
        assert!(states.iter().any(|state| error.contains(state)), "{statement}: {error}");
    };
    // These rows are deleted below. Then their lists have room for the same rows, even if they were full.
    server.sql(&insert(20, 50_000));
    disk.fails(Some((&path, "write")));
    fails(&insert(4000, 100_000), &["53100"]);
    // What needs no room goes on, also in the index.
    server.sql("DELETE FROM items WHERE id % 100 = 3 OR id >= 50000; VACUUM items");
    server.sql(&insert(20, 60_000));
    assert_eq!(server.sql(SEARCH), server.sql("SELECT count(*) FROM items"));
    // A new file is in the same directory, under a name that is not known yet.
    let directory = Path::new(&path).parent().unwrap().display().to_string();
    disk.fails(Some((&directory, "write")));
    fails("CREATE INDEX other ON items USING ivf (embedding) WITH (lists = 40)", &["53100"]);
    fails("REINDEX INDEX items_index", &["53100"]);
    disk.fails(None);
    server.check("items_index");
    server.sql(&insert(4000, 200_000));
    server.check("items_index");
    // Nothing of the index is in the buffers after a restart.
    server.restart_in(CONF, &disk.environment());
    disk.fails(Some((&path, "read")));
    for statement in [SEARCH, "SELECT ivf_check('items_index')", "VACUUM items", &insert(4000, 300_000)] {
        fails(statement, &["58030", "could not read block"]);
    }
    assert_ne!(server.sql("SELECT count(*) FROM items"), "0");
    disk.fails(None);
    assert_eq!(server.sql(SEARCH), server.sql("SELECT count(*) FROM items"));
    server.sql("VACUUM items");
    server.check("items_index");
}
