//! Is the index right? Tests the whole index on the in-memory page store against brute force.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ahead;
mod bounds;
mod compact;
mod compact_beside;
mod crash;
mod damage;
#[path = "../support/damaged.rs"]
mod damaged;
mod earlier;
mod earlier_pages;
mod farther;
mod filter;
mod format;
mod hamming;
#[path = "../../src/quant/hostile.rs"]
mod hostile;
mod leading;
mod memory;
mod model;
mod neighbours;
mod order;
mod originals;
mod pages;
mod pairs;
mod plain;
mod racing;
#[path = "../support/random.rs"]
mod random;
mod range;
mod refresh;
mod renew;
mod renew_readers;
mod shapes;
mod sparse;
mod tokens;
mod within;
mod world;
