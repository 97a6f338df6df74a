//! Hypothetical indexes: the planner is shown indexes that do not exist (`hypothetical.c`).

use std::path::Path;
use std::process::Command;

use crate::harness::Server;

#[test]
fn an_index_without_a_relation_has_a_cost() {
    let server = Server::new("hypothetical", &["autovacuum = off", "fsync = off"]);
    let dir = format!("/tmp/vs-hypothetical-{}", std::process::id());
    std::fs::create_dir_all(&dir).unwrap();
    let include = server.run("pg_config", &["--includedir-server"]).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/hypothetical.c");
    let library = format!("{dir}/hypothetical.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o", &library, &format!("-I{}", include.trim())])
        .arg(&source)
        .status();
    let Ok(status) = compiled else {
        eprintln!("skipped: there is no C compiler");
        return;
    };
    assert!(status.success());
    server.fill("items", 16, 0..20_000);
    server.sql(
        "ALTER TABLE items ADD bits bit(64); UPDATE items SET bits = ('x' || md5(id::text))::bit(64);
         CREATE INDEX ON items USING ivf (embedding vector_cosine_ops, category, id);
         CREATE INDEX ON items USING ivf (bits bit_hamming_ops);
         CREATE INDEX ON items USING ivf ((embedding::vector));
         CREATE TABLE empty (e vector); CREATE INDEX ON empty USING ivf ((e::vector(3))); VACUUM ANALYZE",
    );
    let target = "(SELECT embedding FROM items WHERE id = 5)";
    for query in [
        format!("SELECT id FROM items ORDER BY embedding <=> {target} LIMIT 10"),
        format!("SELECT id FROM items WHERE category = 3 ORDER BY embedding <=> {target} LIMIT 10"),
        format!(
            "SELECT id FROM items WHERE category = 3 OR id < 99 ORDER BY embedding <=> {target} LIMIT 10"
        ),
        format!("SELECT id FROM items WHERE embedding <=> {target} < 0.1"),
        format!("SELECT id FROM items WHERE embedding <=> {target} < 0.1 ORDER BY embedding <=> {target}"),
        "SELECT b.id FROM items a JOIN items b ON a.embedding <=> b.embedding < 0.1 WHERE a.id < 5".into(),
        format!("SELECT id FROM items ORDER BY embedding <-> {target} LIMIT 10"),
        "SELECT id FROM items ORDER BY bits <~> b'1'::bit(64) LIMIT 10".into(),
        "SELECT e FROM empty ORDER BY e::vector(3) <-> '[1,2,3]' LIMIT 10".into(),
    ] {
        let plan = server.sql(&format!("LOAD '{library}'; SET enable_seqscan = off; EXPLAIN {query}"));
        assert!(plan.contains("using hypothetical on"), "{query}\n{plan}");
        assert!(!plan.contains("Infinity") && !plan.contains("NaN"), "{query}\n{plan}");
    }
    // Ten rows of many cost less than all of them.
    let plan = server.sql(&format!(
        "LOAD '{library}'; EXPLAIN SELECT id FROM items ORDER BY embedding <=> {target} LIMIT 10"
    ));
    assert!(plan.contains("using hypothetical on"), "{plan}");
    std::fs::remove_dir_all(&dir).unwrap();
}
