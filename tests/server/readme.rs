//! Every SQL block of the README and of the chapters under `docs/` runs, in order, each file on a fresh
//! database.

use std::path::Path;

use crate::harness::Server;

/// The blocks of these chapters need a server with pgvector, which `moving.rs` has, or with
/// pg_stat_statements, which `watching.rs` has.
const RUN_ELSEWHERE: [&str; 2] = ["docs/moving-from-pgvector.md", "docs/operations.md"];

/// The SQL blocks of a file of the checkout, without those that begin with "```sql citus". These need Citus,
/// and `tests/citus` runs them.
pub fn sql_blocks(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line.trim_end()) {
            (None, "```sql") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    assert!(block.is_none(), "{file}: the last SQL block does not end");
    blocks
}

/// The markdown files of a folder of the checkout, sorted.
fn chapters(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")).collect();
    files.sort();
    files
}

#[test]
fn the_documentation_runs_as_it_stands() {
    let server = Server::new("readme", &["fsync = off"]);
    let mut files = vec!["README.md".to_owned()];
    files.extend(chapters("docs"));
    files.extend(chapters("docs/decisions"));
    files.extend(chapters("docs/recipes"));
    files.retain(|file| !RUN_ELSEWHERE.contains(&file.as_str()));
    let mut run = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let blocks = sql_blocks(file);
        if blocks.is_empty() {
            continue;
        }
        server.sql(&format!("CREATE DATABASE chapter{i}"));
        for block in &blocks {
            if let Err(message) = server.try_sql(&format!("\\c chapter{i}\n{block}")) {
                panic!("{file}: {message}\nof\n{block}");
            }
        }
        run.push((file.as_str(), blocks.len()));
    }
    // Finding no blocks (for example, if fences are written in another way) must fail the test.
    for (file, least) in [
        ("README.md", 2),
        ("docs/reference.md", 4),
        ("docs/queries.md", 5),
        ("docs/recipes/semantic-cache.md", 3),
        ("docs/scaling.md", 3),
    ] {
        assert!(run.iter().any(|&(f, blocks)| f == file && blocks >= least), "{file} in {run:?}");
    }
}
