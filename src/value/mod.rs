//! Room 1: the bytes of one value, and the metrics.

pub mod bits;
pub mod element;
pub mod jaccard;
pub mod key;
pub mod limits;
pub mod maxsim;
pub mod metric;
pub mod numeric;
pub mod original;
mod overlap;
mod shortest;
pub mod sparse;
pub mod sparse_text;
pub mod text;
pub mod tokens;
mod total;
pub mod vector;

pub use element::Element;
pub use limits::MAX_DIMS;
pub use metric::Metric;
pub use original::{Original, OriginalBuf};
pub use total::{TotalF32, TotalF64};
