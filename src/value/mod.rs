//! Room 1: the bytes of one value, and the metrics.

pub mod metric;

pub use metric::Metric;

/// Dimensions that a vector may have.
pub const MAX_DIMS: usize = 16_000;
