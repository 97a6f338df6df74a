//! What the planner is told: costs, row estimates, and which orders, limits and predicates an index serves.

mod assumed;
pub mod cost;
pub mod filter_clauses;
mod index_paths;
mod join_batches;
pub mod min_max;
pub mod monotone;
mod offset;
mod partial_index;
mod query_page;
mod range;
pub mod range_mark;
mod rights;
mod row_estimates;
mod similarity_order;
pub mod support;
pub mod threshold;

/// Set-up at library load.
pub fn init() {
    similarity_order::install_hook();
    partial_index::install_hook();
    offset::install_hook();
    join_batches::install_hook();
}
