//! The index's random rotation: four rounds of sign flips, a Hadamard transform on the first or last power of
//! two coordinates, and a Kac step that mixes the halves. The rotation is orthogonal up to rounding. It needs
//! no matrix, only a seed.

use crate::kernel;
use crate::random::SplitMix64;

const ROUNDS: usize = 4;

/// Dimensions of codes for vectors of `dims` dimensions: a multiple of 64, so that code groups are whole.
/// The zero padding is added before the rotation, so its bits carry information too.
pub fn padded_dims(dims: usize) -> usize {
    dims.next_multiple_of(64).max(64)
}

/// A rotation of `padded_dims(dims)` dimensions.
pub struct Rotation {
    dims: usize,
    padded: usize,
    /// Largest power of two not above `padded`.
    block: usize,
    /// Plus or minus the normalisation, per round and coordinate.
    signs: Vec<f32>,
}

impl Rotation {
    /// The rotation of a seed. It is the same on every machine.
    pub fn new(dims: usize, seed: u64) -> Self {
        let padded = padded_dims(dims);
        let block = 1 << padded.ilog2();
        let mut random = SplitMix64(seed);
        let mut bits = 0u64;
        let signs = (0..ROUNDS * padded)
            .map(|i| {
                if i % 64 == 0 {
                    bits = random.bits();
                }
                let sign = if bits >> (i % 64) & 1 == 1 { -1.0 } else { 1.0 };
                // The factor 1/sqrt(block) of the Hadamard transform is multiplied into the signs of the
                // coordinates that it will transform.
                let (round, at) = (i / padded, i % padded);
                let touched = if round % 2 == 0 { at < block } else { at >= padded - block };
                if touched { sign / (block as f32).sqrt() } else { sign }
            })
            .collect();
        Self { dims, padded, block, signs }
    }

    /// Dimensions after padding.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// Rotates `x` (`dims` long) into `out` (`padded` long).
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!((x.len(), out.len()), (self.dims, self.padded), "lengths of a rotation");
        out[..self.dims].copy_from_slice(x);
        out[self.dims..].fill(0.0);
        let rest = self.padded - self.block;
        for (round, signs) in self.signs.chunks_exact(self.padded).enumerate() {
            for (o, s) in out.iter_mut().zip(signs) {
                *o *= s;
            }
            kernel::hadamard(if round % 2 == 0 { &mut out[..self.block] } else { &mut out[rest..] });
            self.mix(out);
        }
    }

    /// Rotates back what [`Rotation::apply`] has made; `out` is `padded` long.
    pub fn invert(&self, out: &mut [f32]) {
        let rest = self.padded - self.block;
        for (round, signs) in self.signs.chunks_exact(self.padded).enumerate().rev() {
            self.mix(out);
            kernel::hadamard(if round % 2 == 0 { &mut out[..self.block] } else { &mut out[rest..] });
            for (o, s) in out.iter_mut().zip(signs) {
                *o *= s;
            }
        }
    }

    /// The Kac step, which is its own inverse.
    fn mix(&self, out: &mut [f32]) {
        if self.padded == self.block {
            return;
        }
        let (low, high) = out.split_at_mut(self.padded / 2);
        for (a, b) in low.iter_mut().zip(high) {
            let (x, y) = (*a, *b);
            *a = (x + y) * std::f32::consts::FRAC_1_SQRT_2;
            *b = (x - y) * std::f32::consts::FRAC_1_SQRT_2;
        }
    }
}
