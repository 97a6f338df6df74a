//! Room 1: rotation, RaBitQ codes and their block layout.
//!
//! Sources: RaBitQ (arXiv 2405.12497), extended RaBitQ (arXiv 2409.09913); the constants are those of the
//! optimal uniform quantizer of a normal variable, which rotated coordinates are close to.

#[cfg(test)]
mod bounds_tests;
mod code;
mod estimate;
#[cfg(test)]
mod hostile;
pub mod pack;
mod rotate;
#[cfg(test)]
mod tests;

pub use code::{Codec, Factors, Form};
pub use estimate::{ListTerms, QueryCode, Stage1, Width};
pub use rotate::{Rotation, padded_dims};

/// 1.5 × 2²³, whose last bits are zero: what is added to it is rounded to a whole number (halves to even), which the last
/// bits of the sum are, in two's complement. Vector units have that without asking; `round_ties_even` is a library call
/// on the machine we compile for, and checked conversions to integers are not vectorised.
const WHOLE: f32 = 12_582_912.0;

/// Rounds a number between -127 and 127 to the nearest integer, halves to even.
pub fn round_to_byte(x: f32) -> i8 {
    ((x + WHOLE).to_bits() as u8).cast_signed()
}
