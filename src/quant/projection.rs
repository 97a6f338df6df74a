//! The leading space: the few directions in which most of the residuals' energy lies. One-bit codes are those
//! of the residual's projection on it, so the first stage of a scan reads fewer bytes for each row.
//!
//! Sources: MRQ (arXiv 2411.06158), SAQ (arXiv 2509.12086).

use super::errors::ERROR_1;
use super::round::{Bytes, round_to_bytes};
use crate::error::Result;
use crate::kernel;
use crate::memory;

/// How much a projection may lengthen a vector's square, at most: its directions are rounded to bytes.
const LENGTHENED: f32 = 0.03;
/// The same of its length, as a factor.
pub(super) const LENGTHENED_MOST: f32 = 1.0 + 0.5 * LENGTHENED;
/// Rows whose residual is changed by more than this share when it is rounded to bytes are never excluded.
const ROUNDED_MOST: f32 = 0.015;

/// Nearly orthonormal directions in index coordinates, as bytes. They are those of the leading space after a
/// random rotation within it, so that the coordinates of a projection are nearly normal.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    padded: usize,
    /// `padded` bytes for each direction.
    directions: Vec<i8>,
    /// What a direction's bytes are multiplied by.
    scales: Vec<f32>,
    /// Standard deviation of the first stage's error for near rows, as `ERROR_1` is for codes of all
    /// dimensions. It includes what is outside the leading space.
    pub error: f32,
    /// Mean of the same error for near rows: what is outside of the leading space is alike in them.
    pub bias: f32,
    /// Rows of which a larger share of the energy is outside are never excluded by their one-bit codes.
    pub most_outside: f32,
}

impl Projection {
    /// Rounds directions of `padded` floats each. `None` if the projection would lengthen vectors too much.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(directions: &[f32], padded: usize) -> Result<Option<Self>> {
        let mut codes = memory::filled(0, directions.len())?;
        let vectors = directions.chunks_exact(padded).zip(codes.chunks_exact_mut(padded));
        let scales = memory::collected(vectors.map(|(direction, codes)| round_to_bytes(direction, codes)))?;
        let new = Self { padded, directions: codes, scales, error: ERROR_1, bias: 0.0, most_outside: 1.0 };
        Ok((new.longest() <= 1.0 + LENGTHENED).then_some(new))
    }

    /// Bytes that so many directions take.
    pub fn size(dims: usize, padded: usize) -> usize {
        dims.saturating_mul(4 + padded)
    }

    /// Reads what [`Projection::write`] made.
    ///
    /// # Errors
    /// Out of memory.
    pub fn read(bytes: &[u8], padded: usize, [error, bias, most_outside]: [f32; 3]) -> Result<Self> {
        let mut directions = memory::with_capacity(bytes.len())?;
        let mut scales = memory::with_capacity(bytes.len() / padded)?;
        for direction in bytes.chunks_exact(4 + padded) {
            let (scale, codes) = direction.split_at(4);
            scales.push(f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]));
            directions.extend(codes.iter().map(|code| code.cast_signed()));
        }
        Ok(Self { padded, directions, scales, error, bias, most_outside })
    }

    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (codes, scale) in self.directions.chunks_exact(self.padded).zip(&self.scales) {
            out.extend_from_slice(&scale.to_le_bytes());
            out.extend(codes.iter().map(|code| code.cast_unsigned()));
        }
    }

    /// Whether all directions are numbers.
    pub fn is_valid(&self) -> bool {
        self.scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0)
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

    /// The vector in index coordinates that a projection stands for.
    pub fn back(&self, projected: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.padded];
        for ((codes, scale), x) in self.directions.chunks_exact(self.padded).zip(&self.scales).zip(projected)
        {
            let x = scale * x;
            out.iter_mut().zip(codes).for_each(|(out, code)| *out += x * f32::from(*code));
        }
        out
    }

    /// How much longer the square of a vector may be after the projection: the largest eigenvalue, by power
    /// iteration.
    fn longest(&self) -> f32 {
        const STEPS: usize = 30;
        let mut random = crate::random::SplitMix64(0xE16E);
        let mut vector: Vec<f32> = (0..self.dims()).map(|_| random.sign()).collect();
        let mut longest = 0.0;
        for _ in 0..STEPS {
            let length = kernel::inner_product(&vector, &vector).sqrt();
            if length == 0.0 {
                break;
            }
            vector.iter_mut().for_each(|x| *x /= length);
            let back = self.back(&vector);
            longest = kernel::inner_product(&back, &back);
            for ((x, codes), scale) in
                vector.iter_mut().zip(self.directions.chunks_exact(self.padded)).zip(&self.scales)
            {
                *x = scale * kernel::dot_f32_i8(&back, codes);
            }
        }
        longest
    }

    /// How many times as long as its projection the residual of a row may be that may be excluded.
    pub(super) fn longer(&self) -> f32 {
        1.0 / (1.0 - self.most_outside).max(f32::MIN_POSITIVE).sqrt()
    }

    /// The largest error of `<y, q − c>` for the code `y` of a row that may be excluded, apart from that of
    /// the code itself: what is outside of the leading space, the lengthening, and the rounding of the row.
    ///
    /// Let `A = 1 − MᵀM` for the projection `M`. The error is `rᵀAv` for the residual `r` and `v = q − c`,
    /// and `A` plus the lengthening `e` is positive, so `|rᵀAv| ≤ √(rᵀ(A + e)r · vᵀ(A + e)v) + e |r| |v|`. A
    /// unit of `<y, v>` stands for a product of at least `2 |Mr| / √dims`.
    pub(super) fn outside_error(&self, outside: f32, gap: f32) -> f32 {
        let rows = self.most_outside + 2.1 * ROUNDED_MOST + LENGTHENED;
        let query = (outside * outside + LENGTHENED * gap * gap).sqrt();
        let product = rows.sqrt() * query + (LENGTHENED + 1.05 * ROUNDED_MOST) * gap;
        0.5 * (self.dims() as f32).sqrt() * product * self.longer()
    }
}

/// A row's residual or a centroid on its way to a projection: the vector rounded to bytes, and memory.
#[derive(Default)]
pub struct Projector {
    bytes: Bytes,
    dots: Vec<i32>,
    /// The projection of the vector set last.
    pub point: Vec<f32>,
}

impl Projector {
    /// Projects a vector. Returns false if rounding to bytes changes it by more than a bounded share.
    pub fn set(&mut self, projection: &Projection, vector: &[f32]) -> bool {
        self.bytes.set(vector);
        let Bytes { codes, scale } = &self.bytes;
        self.point.resize(projection.dims(), 0.0);
        projection.apply(codes, *scale, &mut self.dots, &mut self.point);
        let changed = |(x, code): (&f32, &i8)| (x - scale * f32::from(*code)).powi(2);
        let changed: f32 = vector.iter().zip(codes).map(changed).sum();
        let most = ROUNDED_MOST * ROUNDED_MOST * kernel::inner_product(vector, vector);
        most.is_finite() && changed <= most
    }
}
