//! Room 1: rotation, RaBitQ codes and their block layout.
//!
//! Sources: RaBitQ (arXiv 2405.12497), extended RaBitQ (arXiv 2409.09913); the constants are those of the
//! optimal uniform quantizer of a normal variable. Rotated coordinates are nearly normal.

#[cfg(test)]
mod bounds_tests;
mod code;
pub mod elements;
mod errors;
mod estimate;
#[cfg(test)]
mod hostile;
pub mod pack;
mod projection;
mod rotate;
mod round;
#[cfg(test)]
mod tests;

pub use code::{Codec, Factors, Form, Leading};
pub use errors::TRUSTED;
pub use estimate::{ListTerms, QueryCode, Stage1, Width};
pub use projection::{Projection, Projector};
pub use rotate::{Rotation, padded_dims};
pub use round::{Bytes, round_to_bytes};
