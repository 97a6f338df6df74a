//! Scans: callbacks, the rows that a scan fetches, and what the plan above it wants.

pub mod batch_rows;
pub mod callbacks;
pub mod distance_memo;
#[cfg(feature = "pg18")]
mod explain;
mod filter_clauses;
mod plan_limit;
mod plan_walk;
pub mod stats;
pub mod table_rows;

/// Set-up at library load.
pub fn init() {
    plan_walk::install_hook();
    #[cfg(feature = "pg18")]
    explain::install_hook();
}
