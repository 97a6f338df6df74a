//! The leading space: the few directions in which most of the residuals' energy lies. Codes of the first stage
//! are of the residual's projection there.
//!
//! Sources: MRQ (arXiv 2411.06158), SAQ (arXiv 2509.12086).

use super::round::round_to_byte;
use crate::kernel;

/// Orthonormal directions in index coordinates, rounded to bytes. They are those of the leading space after a
/// random rotation within it, so that coordinates of a projection are nearly normal.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    padded: usize,
    /// `padded` bytes for each direction.
    directions: Vec<i8>,
    /// What a direction's bytes are multiplied by.
    scales: Vec<f32>,
    /// Standard deviation of the first stage's error, as `ERROR_1` for codes of all dimensions.
    pub error: f32,
    /// Rows of which a larger share of energy is outside are never excluded by their one-bit codes.
    pub most_outside: f32,
}

impl Projection {
    /// Rounds directions of `padded` floats each.
    pub fn new(directions: &[f32], padded: usize) -> Self {
        let mut rounded = Self {
            padded,
            directions: Vec::with_capacity(directions.len()),
            scales: Vec::new(),
            error: super::errors::ERROR_1,
            most_outside: 1.0,
        };
        for direction in directions.chunks_exact(padded) {
            let max = direction.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let inverse = if max > 0.0 { 127.0 / max } else { 0.0 };
            rounded.directions.extend(direction.iter().map(|x| round_to_byte(x * inverse)));
            rounded.scales.push(max / 127.0);
        }
        rounded
    }

    /// Bytes of `dims` directions.
    pub fn size(dims: usize, padded: usize) -> usize {
        dims.saturating_mul(4 + padded)
    }

    /// Reads what [`Projection::write`] made.
    pub fn read(bytes: &[u8], padded: usize, (error, most_outside): (f32, f32)) -> Self {
        let (mut directions, mut scales) = (Vec::new(), Vec::new());
        for direction in bytes.chunks_exact(4 + padded) {
            let (scale, codes) = direction.split_at(4);
            scales.push(f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]));
            directions.extend(codes.iter().map(|code| code.cast_signed()));
        }
        Self { padded, directions, scales, error, most_outside }
    }

    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (codes, scale) in self.directions.chunks_exact(self.padded).zip(&self.scales) {
            out.extend_from_slice(&scale.to_le_bytes());
            out.extend(codes.iter().map(|code| code.cast_unsigned()));
        }
    }

    /// Number of directions.
    pub fn dims(&self) -> usize {
        self.scales.len()
    }

    /// Projects the vector `bytes × scale`. `dots` is scratch memory.
    pub fn apply(&self, bytes: &[i8], scale: f32, dots: &mut Vec<i32>, out: &mut [f32]) {
        dots.resize(self.dims(), 0);
        kernel::dots_i8(bytes, &self.directions, dots);
        for ((out, dot), of_direction) in out.iter_mut().zip(dots).zip(&self.scales) {
            *out = *dot as f32 * (scale * of_direction);
        }
    }

    /// Projects a vector, which is rounded to bytes first.
    pub fn of(&self, vector: &[f32]) -> Vec<f32> {
        let max = vector.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let inverse = if max > 0.0 { 127.0 / max } else { 0.0 };
        let bytes: Vec<i8> = vector.iter().map(|x| round_to_byte(x * inverse)).collect();
        let mut out = vec![0.0; self.dims()];
        self.apply(&bytes, max / 127.0, &mut Vec::new(), &mut out);
        out
    }
}
