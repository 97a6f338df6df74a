//! Room 1: the bytes of one value, and the metrics.

pub mod key;
pub mod metric;
mod shortest;
pub mod text;
pub mod vector;

pub use metric::Metric;
pub use vector::MAX_DIMS;
