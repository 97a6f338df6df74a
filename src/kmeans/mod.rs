//! Room 1: k-means and the assignment of rows to centroids; the only room with threads, always those of
//! a pool that the caller gives. Vectors are rows of `dims` floats, one after the other; distances are
//! squared L2.
//!
//! `train` makes centroids, `Assigner` finds the nearest; `parallel` lets other rooms use the pool.

mod assign;
mod bits;
mod gemm;
mod lloyd;
mod members;
pub mod parallel;
mod pca;
mod repair;
#[cfg(test)]
mod tests;
mod train;

pub use assign::Assigner;
pub use train::train;

use crate::error::Result;

/// The caller's callback for progress (units done, units in all) and cancellation: called on the calling
/// thread only, at least every 100 ms or so; an error ends the work at once and is returned.
pub type Step<'a> = &'a dyn Fn(u64, u64) -> Result<()>;
