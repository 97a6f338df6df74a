//! Rounding to whole numbers, as vector units do it.

/// 1.5 × 2²³, whose last bits are zero. Adding a number to it rounds the number to a whole one (halves to
/// even), and the last bits of the sum are that whole number in two's complement. Every vector unit can do
/// this. `round_ties_even` is a library call on the machine that we compile for, and checked conversions to
/// integers are not vectorised.
pub(super) const WHOLE: f32 = 12_582_912.0;

/// A vector rounded to bytes.
#[derive(Default)]
pub struct Bytes {
    /// One byte per dimension.
    pub codes: Vec<i8>,
    /// The vector is about `codes * scale`.
    pub scale: f32,
}

impl Bytes {
    /// Rounds `x`.
    pub fn new(x: &[f32]) -> Self {
        let mut bytes = Self::default();
        bytes.set(x);
        bytes
    }

    /// Rounds `x` into the same memory. With an infinite element all is zero.
    pub fn set(&mut self, x: &[f32]) {
        self.codes.resize(x.len(), 0);
        let step = round_to_bytes(x, &mut self.codes);
        self.scale = if step.is_finite() { step } else { 0.0 };
    }
}

/// Rounds `x` to bytes. Returns what they are multiplied by.
pub fn round_to_bytes(x: &[f32], out: &mut [i8]) -> f32 {
    let max = folded(x, 0.0, |max, x| max.max(x.abs())).into_iter().fold(0.0, f32::max);
    let step = max / 127.0;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    for (byte, x) in out.iter_mut().zip(x) {
        *byte = round_to_byte(x * inverse);
    }
    step
}

/// Rounds a number between -127 and 127 to the nearest integer, halves to even.
fn round_to_byte(x: f32) -> i8 {
    ((x + WHOLE).to_bits() as u8).cast_signed()
}

/// Folds into eight lanes, so that no step waits for the one before.
pub(super) fn folded(vector: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    let mut lanes = [start; 8];
    let (chunks, rest) = vector.as_chunks::<8>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, *x);
        }
    }
    for x in rest {
        lanes[0] = step(lanes[0], *x);
    }
    lanes
}
