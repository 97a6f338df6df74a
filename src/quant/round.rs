//! Rounding to whole numbers, as vector units do it.

/// 1.5 × 2²³, whose last bits are zero. Adding a number to it rounds the number to a whole one (halves to
/// even), and the last bits of the sum are that whole number in two's complement. Every vector unit can do
/// this. `round_ties_even` is a library call on the machine that we compile for, and checked conversions to
/// integers are not vectorised.
pub(super) const WHOLE: f32 = 12_582_912.0;

/// Rounds a number between -127 and 127 to the nearest integer, halves to even.
pub fn round_to_byte(x: f32) -> i8 {
    ((x + WHOLE).to_bits() as u8).cast_signed()
}
