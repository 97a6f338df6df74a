//! Room 1: k-means and the assignment of rows to centroids; the only room with threads, always those of
//! a pool that the caller gives. Vectors are rows of `dims` floats, one after the other; distances are
//! squared L2.
//!
//! `train` makes centroids, `Assigner` finds the nearest; `parallel` lets other rooms use the pool.

mod assign;
mod best;
mod bits;
mod gemm;
mod groups;
mod lloyd;
mod members;
pub mod parallel;
mod pca;
mod repair;
#[cfg(test)]
mod tests;
mod train;
mod wide;

pub use assign::Assigner;
pub use parallel::Step;
pub use pca::principal;
pub use train::train;
