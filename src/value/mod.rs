//! Room 1: the bytes of one value, and the metrics.

pub mod metric;

pub use metric::Metric;
