//! Scans: callbacks, the rows that a scan fetches, and what the plan above it wants.

mod ahead;
pub mod batch_rows;
pub mod callbacks;
pub mod distance_memo;
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
mod explain;
mod filter_clauses;
pub mod join_batch;
mod plan_limit;
mod plan_walk;
pub mod stats;
pub mod table_rows;

/// Set-up at library load.
pub fn init() {
    plan_walk::install_hook();
    join_batch::register();
    ahead::install();
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
    explain::install_hook();
}
