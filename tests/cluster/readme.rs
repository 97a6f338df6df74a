//! Every SQL block of the README runs, in order, on a fresh database.

use crate::harness::Server;

/// The SQL blocks of a file of the checkout.
pub fn sql_blocks(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
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
    blocks
}

#[test]
fn the_readme_runs_as_it_stands() {
    let blocks = sql_blocks("README.md");
    assert!(blocks.len() >= 4, "the README has {} SQL blocks", blocks.len());
    let server = Server::new("readme", &["fsync = off"]);
    server.sql("DROP EXTENSION vector_search");
    for block in &blocks {
        server.sql(block);
    }
}
