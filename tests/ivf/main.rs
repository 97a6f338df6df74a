//! Is the index right? The whole index on the in-memory page store, against brute force.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod copies;
mod crash;
mod filter;
mod format;
mod model;
mod shapes;
mod world;
