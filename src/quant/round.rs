//! Rounding to whole numbers, as vector units do it.

/// 1.5 × 2²³, whose last bits are zero: what is added to it is rounded to a whole number (halves to even),
/// which the last bits of the sum are, in two's complement. Vector units have that without asking;
/// `round_ties_even` is a library call on the machine we compile for, and checked conversions to integers are
/// not vectorised.
pub(super) const WHOLE: f32 = 12_582_912.0;

/// Rounds a number between -127 and 127 to the nearest integer, halves to even.
pub fn round_to_byte(x: f32) -> i8 {
    ((x + WHOLE).to_bits() as u8).cast_signed()
}
