//! Does it survive Postgres? Tests on real servers: crashes, standbys, concurrency, cancel, bad input,
//! recall on texts' embeddings. Run by `scripts/test.sh`, which installs the extension first;
//! `VECTOR_SEARCH_PG_CONFIG` names the PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod beside;
mod cancel;
mod catalog;
mod compat;
mod concurrency;
mod crash;
mod differential;
mod explain;
mod failing_disk;
mod faults;
mod features;
mod filter_clauses;
mod harness;
mod hypothetical;
mod inject;
mod knn_shards;
mod memory;
mod moving;
mod neighbours;
mod nestings;
mod pgvector;
mod power;
#[path = "../support/random.rs"]
mod random;
mod range;
mod readme;
mod recall;
mod recovery;
mod renewal;
mod scan_memory;
mod scarce;
mod security;
mod session;
mod shards;
mod standby;
mod toast;
mod transactions;
mod upgrade;
mod upgrade_major;
mod watching;
