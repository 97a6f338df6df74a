//! Sketches of arrays of vectors ("tokens"), which are compared by late interaction.
//!
//! The operator's value is a sum over the query's vectors q of the support function of the row's set: h(q) is
//! the largest inner product of q with a vector of the row. So a row's sketch has values of its support
//! function, in directions that are fixed for the index, and a query is expressed by these directions.
//!
//! - A row has the mean of its vectors, and for each direction c the support function of its vectors without
//!   their mean: h(c) − mean · c.
//! - A query has the sum of its vectors, and for each direction a weight: each vector is replaced by the
//!   weighted sum of the directions next to it that is nearest to the vector.
//!
//! So the inner product of the two is a sum over the query's vectors q of mean · q, which is exact, and of
//! what the row's vectors have more than their mean, which is interpolated. The directions are random signs:
//! an index needs no more than their seed.
//!
//! (Sums and means of the vectors in the cells of random hyperplanes need more than ten times as many
//! candidates at so few coordinates: `docs/decisions/031-arrays-of-vectors.md`.)

use crate::error::Result;
use crate::kernel;
use crate::memory::{self, Grow};
use crate::random::SplitMix64;
use crate::value::TotalF32;
use crate::value::maxsim::{LANES, raise};
use crate::value::tokens::{Tokens, TokensBuf};

/// Directions by which a vector of a query is replaced. With fewer the sum of all is farther from it, with
/// more it is less like one direction.
const NEXT: usize = 16;
/// The weight of a direction grows by e each time the cosine grows by the inverse of this.
const SHARPNESS: f32 = 10.0;
/// Rows have this multiple of their mean, and queries this fraction of their sum. The error of codes is
/// proportional to the lengths of both, whose product is smallest so.
const OF_MEAN: f32 = 2.0;
/// Vectors of a query that are compared with the directions together.
const TOGETHER: usize = 4;

/// The directions of an index.
#[derive(Debug)]
pub struct Directions {
    dims: usize,
    /// Sixteen directions after the other, interleaved: their components in the first dimension, then those
    /// in the second.
    groups: Vec<[f32; LANES]>,
}

impl Directions {
    /// Directions for vectors of `dims` dimensions; `count` is a multiple of sixteen.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(dims: usize, count: usize, seed: u64) -> Result<Self> {
        let mut groups = memory::filled([0.0; LANES], dims * (count / LANES))?;
        let (mut random, length) = (SplitMix64(seed), 1.0 / (dims as f32).sqrt());
        for some in groups.chunks_mut(64 / LANES) {
            let mut bits = random.bits();
            for component in some.as_flattened_mut() {
                *component = if bits & 1 == 1 { length } else { -length };
                bits >>= 1;
            }
        }
        Ok(Self { dims, groups })
    }

    /// Bytes this takes.
    pub fn memory(&self) -> usize {
        size_of_val(self.groups.as_slice())
    }

    fn groups(&self) -> std::slice::ChunksExact<'_, [f32; LANES]> {
        self.groups.chunks_exact(self.dims)
    }

    /// The sketch of a row. That of a set without vectors is zero.
    ///
    /// # Errors
    /// Out of memory.
    pub fn write_row(&self, row: Tokens<'_>, out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        let count = row.vectors().len();
        if count == 0 {
            return Ok(());
        }
        let (mean, support) = out.split_at_mut(self.dims);
        row.vectors().for_each(|vector| add(mean, vector, 1.0));
        mean.iter_mut().for_each(|x| *x /= count as f32);
        let (mut centred, mut vector) = (TokensBuf::default(), memory::filled(0.0, self.dims)?);
        for of_row in row.vectors() {
            vector.copy_from_slice(of_row);
            add(&mut vector, mean, -1.0);
            centred.push(&vector)?;
        }
        for (group, out) in self.groups().zip(support.as_chunks_mut().0) {
            *out = [f32::NEG_INFINITY; LANES];
            raise(group, centred.view(), out);
        }
        mean.iter_mut().for_each(|x| *x *= OF_MEAN);
        make_finite(out);
        Ok(())
    }

    /// The sketch of a query.
    ///
    /// # Errors
    /// Out of memory.
    pub fn write_query(&self, query: Tokens<'_>, out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        let (sum, weights) = out.split_at_mut(self.dims);
        let mut interleaved = memory::filled([0.0; TOGETHER], self.dims)?;
        let mut products: [Vec<f32>; TOGETHER] = Default::default();
        let mut near: Vec<(TotalF32, usize)> = memory::with_capacity(weights.len())?;
        let mut replaced = memory::filled(0.0, self.dims)?;
        let mut vectors = query.vectors().peekable();
        while vectors.peek().is_some() {
            let mut lengths = [0.0; TOGETHER];
            interleaved.fill([0.0; TOGETHER]);
            for (lane, vector) in vectors.by_ref().take(TOGETHER).enumerate() {
                lengths[lane] = kernel::norm_squared(vector).sqrt() as f32;
                interleaved.iter_mut().zip(vector).for_each(|(lanes, x)| lanes[lane] = *x);
                add(sum, vector, 1.0 / OF_MEAN);
            }
            products.iter_mut().for_each(Vec::clear);
            for group in self.groups() {
                for (products, some) in products.iter_mut().zip(kernel::tile(&interleaved, group)) {
                    products.try_extend(&some)?;
                }
            }
            for (products, length) in products.iter().zip(lengths) {
                near.clear();
                near.extend(products.iter().enumerate().map(|(i, product)| (TotalF32(-product), i)));
                near.select_nth_unstable(NEXT);
                near.truncate(NEXT);
                self.replace(&near, length, &mut replaced, weights);
            }
        }
        make_finite(out);
        Ok(())
    }

    /// Adds the weights of the directions by which a vector is replaced. `near` has minus its products with
    /// them; `replaced` is memory for their sum.
    fn replace(&self, near: &[(TotalF32, usize)], length: f32, replaced: &mut [f32], weights: &mut [f32]) {
        if !(length > 0.0 && length.is_finite()) {
            return;
        }
        let nearest = near.iter().map(|pair| -pair.0.0).fold(f32::NEG_INFINITY, f32::max);
        let weight = |product: f32| (SHARPNESS * (product - nearest) / length).exp();
        let mut product = 0.0;
        replaced.fill(0.0);
        for (minus, at) in near {
            let of_group = &self.groups[at / LANES * self.dims..][..self.dims];
            let times = weight(-minus.0);
            replaced.iter_mut().zip(of_group).for_each(|(x, lanes)| *x += times * lanes[at % LANES]);
            product -= times * minus.0;
        }
        let factor = (f64::from(product) / kernel::norm_squared(replaced)) as f32;
        if factor.is_finite() {
            near.iter().for_each(|(minus, at)| weights[*at] += factor * weight(-minus.0));
        }
    }
}

fn add(to: &mut [f32], vector: &[f32], times: f32) {
    to.iter_mut().zip(vector).for_each(|(to, x)| *to += times * x);
}

/// Sums of huge components may be infinite.
fn make_finite(out: &mut [f32]) {
    out.iter_mut().for_each(|x| *x = if x.is_nan() { 0.0 } else { x.clamp(-f32::MAX, f32::MAX) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::maxsim::maxsim;

    const DIMS: usize = 32;
    const COUNT: usize = 256;

    fn drawn(random: &mut SplitMix64, count: usize) -> TokensBuf {
        let mut tokens = TokensBuf::default();
        for _ in 0..count {
            let vector: Vec<f32> = (0..DIMS).map(|_| random.normal()).collect();
            let length = kernel::norm_squared(&vector).sqrt() as f32;
            tokens.push(&vector.iter().map(|x| x / length).collect::<Vec<f32>>()).unwrap();
        }
        tokens
    }

    fn row(directions: &Directions, tokens: Tokens<'_>) -> Vec<f32> {
        let mut out = vec![1.0; DIMS + COUNT];
        directions.write_row(tokens, &mut out).unwrap();
        out
    }

    fn query(directions: &Directions, tokens: Tokens<'_>) -> Vec<f32> {
        let mut out = vec![1.0; DIMS + COUNT];
        directions.write_query(tokens, &mut out).unwrap();
        out
    }

    #[test]
    fn products_of_sketches_estimate_late_interaction() {
        let (mut random, directions) = (SplitMix64(1), Directions::new(DIMS, COUNT, 7).unwrap());
        let (mut truth, mut estimates) = (Vec::new(), Vec::new());
        for i in 0..200 {
            let (a, b) = (drawn(&mut random, 1 + i % 20), drawn(&mut random, 10));
            truth.push(maxsim(a.view(), b.view(), || ()).unwrap());
            let (row, query) = (row(&directions, a.view()), query(&directions, b.view()));
            estimates.push(f64::from(kernel::inner_product(&row, &query)));
        }
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (of_truth, of_estimates) = (mean(&truth), mean(&estimates));
        let pairs = || truth.iter().zip(&estimates).map(|(x, y)| (x - of_truth, y - of_estimates));
        let together: f64 = pairs().map(|(x, y)| x * y).sum();
        let spread = |of: fn((f64, f64)) -> f64| pairs().map(|pair| of(pair).powi(2)).sum::<f64>().sqrt();
        let correlation = together / spread(|pair| pair.0) / spread(|pair| pair.1);
        assert!(correlation > 0.93, "{correlation}");
        // Vectors in random directions are like none of the index. So a scan measures its offset.
        assert!((0.5..2.0).contains(&(of_estimates / of_truth)), "{of_estimates} {of_truth}");
    }

    #[test]
    fn a_row_of_one_vector_is_exact() {
        let (mut random, directions) = (SplitMix64(2), Directions::new(DIMS, COUNT, 7).unwrap());
        let (a, b) = (drawn(&mut random, 1), drawn(&mut random, 6));
        let value = maxsim(a.view(), b.view(), || ()).unwrap();
        let estimate = kernel::inner_product(&row(&directions, a.view()), &query(&directions, b.view()));
        assert!((value - f64::from(estimate)).abs() < 1e-4, "{value} {estimate}");
    }

    #[test]
    fn extremes_are_finite() {
        let directions = Directions::new(DIMS, COUNT, 7).unwrap();
        assert!(row(&directions, Tokens::default()).iter().all(|x| *x == 0.0));
        assert!(query(&directions, Tokens::default()).iter().all(|x| *x == 0.0));
        for values in [[f32::MAX, -f32::MAX], [0.0, 0.0], [1e-45, 1e-40], [1e30, 1e-30]] {
            let mut tokens = TokensBuf::default();
            values.iter().for_each(|x| tokens.push(&[*x; DIMS]).unwrap());
            let both = [row(&directions, tokens.view()), query(&directions, tokens.view())];
            assert!(both.iter().flatten().all(|x| x.is_finite()), "{values:?}");
        }
    }
}
