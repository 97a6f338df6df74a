//! Scans: callbacks, the rows that a scan fetches, and what the plan above it wants.

pub mod callbacks;
pub mod distance_memo;
pub mod plan_limit;
pub mod stats;
pub mod table_rows;
