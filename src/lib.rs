//! `vector_search`: similarity search inside PostgreSQL.
//!
//! The rooms are listed in the order in which they may use one another (see `ARCHITECTURE.md`;
//! `tests/architecture.rs` checks it). Only `pg` knows Postgres.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

// Another version of pgrx knows PostgreSQL 19 (docs/decisions/032-two-versions-of-pgrx.md). Its macros write
// the path `pgrx`, too.
#[cfg(feature = "pg19")]
extern crate pgrx19 as pgrx;

pub mod error;
pub mod kernel;
pub mod memory;
pub mod mru;
pub mod random;

pub mod kmeans;
pub mod quant;
pub mod value;

pub mod page;

pub mod ivf;

#[cfg(feature = "postgres")]
mod pg;
