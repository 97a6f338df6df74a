//! Is the index right? The whole index on the in-memory page store, against brute force.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod filter;
mod format;
mod hamming;
mod model;
mod racing;
mod refresh;
mod shapes;
mod world;
