//! Sketches: values that are no dense vectors as dense vectors of few coordinates.
//!
//! **Sparse vectors.** Each index of the sparse vector has a coordinate of the sketch and a sign, by a hash
//! (count sketch). A coordinate is the sum of its elements with their signs. Products of different elements
//! that meet in a coordinate have random signs, so inner products are kept on average. Then the sketch is
//! scaled to the length of the vector: so lengths are exact, and the cosine of two sketches differs from that
//! of the vectors by about (1 - cosine²) / sqrt(coordinates). A vector that has no more dimensions than a
//! sketch is its own sketch. The extended record has the elements themselves (`elements.rs`).
//!
//! **Arrays of vectors** have sketches whose inner products estimate late interaction (`directions.rs`). The
//! sketch of a query differs from that of a row.
//!
//! The index stores and compares sketches as it does dense vectors. How far its values deviate from the
//! operator's is measured (`sketch_sample.rs`).

use std::sync::Arc;

use super::directions::Directions;
use crate::error::{self, Error, Result};
use crate::page::meta::{self, SketchOf};
use crate::quant::elements::{KEYS, MOST_ELEMENTS};
use crate::random::SplitMix64;
use crate::value::Original;
use crate::value::maxsim::LANES;
use crate::value::sparse::Sparse;

/// Coordinates of a sketch. With so many, a page has two blocks of codes, and the error of a cosine is about
/// .03. (With 512, three to ten times as many rows have to be fetched.)
pub const SIZE: usize = 896;
/// Directions of a sketch of vectors that have many dimensions.
const LEAST_DIRECTIONS: usize = 256;

const _: () = assert!(MOST_ELEMENTS == meta::MOST_ELEMENTS as usize, "the file format allows what codes do");

/// What an index is over, as its operator class says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Dense vectors and bit strings, which are their own coordinates.
    Coordinates,
    /// Sparse vectors.
    Sparse,
    /// Arrays of vectors.
    Tokens,
}

/// A value as an index takes it.
#[derive(Clone, Copy)]
pub struct Sketched<'a> {
    /// Its coordinates, or those of its sketch.
    pub coordinates: &'a [f32],
    /// The value itself, if it is a sparse vector.
    pub sparse: Option<Sparse<'a>>,
}

impl<'a> Sketched<'a> {
    /// A value with its coordinates.
    pub fn new(value: Original<'a>, coordinates: &'a [f32]) -> Self {
        let sparse = match value {
            Original::Sparse(vector) => Some(vector),
            Original::Tokens(_) => None,
        };
        Self { coordinates, sparse }
    }
}

impl<'a> From<&'a [f32]> for Sketched<'a> {
    fn from(coordinates: &'a [f32]) -> Self {
        Self { coordinates, sparse: None }
    }
}

impl<'a> From<&'a Vec<f32>> for Sketched<'a> {
    fn from(coordinates: &'a Vec<f32>) -> Self {
        coordinates.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Sketched<'a> {
    fn from(coordinates: &'a [f32; N]) -> Self {
        coordinates.as_slice().into()
    }
}

/// How the values of an index become its coordinates.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Dimensions of a value.
    pub dims: usize,
    /// Coordinates.
    pub size: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Dense vectors and bit strings are their own coordinates.
    Itself,
    /// Sparse vectors; the seed of the hash.
    Sparse(u64),
    /// Rows that are arrays of vectors, and the seed of the directions.
    Rows(Arc<Directions>, u64),
    /// Queries that are.
    Queries(Arc<Directions>, u64),
}

impl Sketch {
    /// Dense vectors and bit strings: their own coordinates.
    pub fn none(dims: usize) -> Self {
        Self { dims, size: dims, kind: Kind::Itself }
    }

    /// For sparse vectors.
    pub fn of_sparse(dims: usize, seed: u64) -> Self {
        Self { dims, size: dims.min(SIZE), kind: Kind::Sparse(seed) }
    }

    /// For arrays of vectors of so many dimensions.
    ///
    /// # Errors
    /// Out of memory.
    pub fn of_tokens(dims: usize, seed: u64) -> Result<Self> {
        let directions = SIZE.saturating_sub(dims).max(LEAST_DIRECTIONS) / LANES * LANES;
        Self::with_directions(dims, directions, seed)
    }

    fn with_directions(dims: usize, directions: usize, seed: u64) -> Result<Self> {
        let kind = Kind::Rows(Arc::new(Directions::new(dims, directions, seed)?), seed);
        Ok(Self { dims, size: dims + directions, kind })
    }

    /// What the meta page says of `size` coordinates. Only sketches of sets have more coordinates than their
    /// values have dimensions.
    ///
    /// # Errors
    /// Out of memory.
    pub fn of_meta(of: SketchOf, size: usize) -> Result<Self> {
        match of.dims as usize {
            0 => Ok(Self::none(size)),
            dims if dims < size => Self::with_directions(dims, size - dims, of.seed),
            dims => Ok(Self { dims, size, kind: Kind::Sparse(of.seed) }),
        }
    }

    /// What the meta page says of these sketches.
    pub fn of(&self) -> SketchOf {
        match self.kind {
            Kind::Itself => SketchOf::default(),
            Kind::Sparse(seed) | Kind::Rows(_, seed) | Kind::Queries(_, seed) => {
                SketchOf { dims: self.dims as u32, seed, elements: 0 }
            }
        }
    }

    /// Whether different values may have the same sketch.
    pub fn is_lossy(&self) -> bool {
        self.is_of_tokens() || self.size < self.dims
    }

    /// What the values are.
    pub fn values(&self) -> Values {
        match self.kind {
            Kind::Itself => Values::Coordinates,
            Kind::Sparse(_) => Values::Sparse,
            Kind::Rows(..) | Kind::Queries(..) => Values::Tokens,
        }
    }

    /// Whether the values are arrays of vectors.
    pub fn is_of_tokens(&self) -> bool {
        matches!(self.kind, Kind::Rows(..) | Kind::Queries(..))
    }

    /// How queries become coordinates.
    #[must_use]
    pub fn for_queries(&self) -> Self {
        let kind = match &self.kind {
            Kind::Rows(directions, seed) => Kind::Queries(Arc::clone(directions), *seed),
            other => other.clone(),
        };
        Self { kind, ..*self }
    }

    fn hash(&self, seed: u64) -> Hash {
        Hash { dims: self.dims, seed, size: self.size }
    }

    /// Whether extended records have the elements of the values.
    pub fn has_elements(&self) -> bool {
        matches!(self.kind, Kind::Sparse(_)) && self.is_lossy()
    }

    /// Whether different indices may have the same key.
    pub fn keys_collide(&self) -> bool {
        self.dims > KEYS
    }

    /// The elements of a sparse vector by their keys, for extended records.
    pub fn elements<'a>(&self, vector: Sparse<'a>) -> impl ExactSizeIterator<Item = (u16, f32)> + 'a {
        let hash = self.hash(match self.kind {
            Kind::Sparse(seed) => seed,
            _ => 0,
        });
        vector.indices.iter().zip(vector.values).map(move |(index, value)| (hash.key(*index), *value))
    }

    /// The coordinate of a sketch to which elements with a key are added, or from which they are subtracted.
    pub fn place(&self, key: u16) -> (usize, bool) {
        self.hash(0).place(key)
    }

    /// Bytes this takes.
    pub fn memory(&self) -> usize {
        match &self.kind {
            Kind::Itself | Kind::Sparse(_) => 0,
            Kind::Rows(directions, _) | Kind::Queries(directions, _) => directions.memory(),
        }
    }

    /// Writes the sketch of a value to `out`, which has as many coordinates.
    ///
    /// # Errors
    /// Out of memory.
    pub fn write<'a>(&self, value: impl Into<Original<'a>>, out: &mut [f32]) -> Result<()> {
        match (&self.kind, value.into()) {
            (Kind::Rows(directions, _), Original::Tokens(row)) => directions.write_row(row, out),
            (Kind::Queries(directions, _), Original::Tokens(query)) => directions.write_query(query, out),
            (Kind::Sparse(seed), Original::Sparse(vector)) => {
                self.hash(*seed).write(vector, self.is_lossy(), out);
                Ok(())
            }
            _ => Err(Error::new(error::Kind::Internal, "a value of another type than the index")),
        }
    }
}

/// What makes sketches of sparse vectors.
#[derive(Clone, Copy)]
struct Hash {
    dims: usize,
    seed: u64,
    size: usize,
}

impl Hash {
    /// The key of an index: all that a sketch and a record know of it. If there are no more dimensions than
    /// keys, each has a key of its own.
    fn key(self, index: i32) -> u16 {
        let index = index.cast_unsigned();
        if self.dims > KEYS {
            return (SplitMix64(self.seed ^ u64::from(index)).bits() >> 48) as u16;
        }
        // Each step is a one-to-one mapping of sixteen bits.
        let [add, factor, ..] = [0, 16].map(|shift| (self.seed >> shift) as u16);
        let mut key = index as u16 ^ add;
        for _ in 0..3 {
            key = key.wrapping_mul(factor | 1);
            key ^= key >> 7;
            key = key.wrapping_mul(0x9E37);
            key ^= key >> 9;
        }
        key
    }

    /// The coordinate of a key, and whether its elements are subtracted.
    fn place(self, key: u16) -> (usize, bool) {
        ((usize::from(key >> 1) * self.size) >> 15, key & 1 == 1)
    }

    /// Writes the sketch of a vector. It is zero only for zero.
    fn write(self, vector: Sparse<'_>, is_lossy: bool, out: &mut [f32]) {
        out.fill(0.0);
        if !is_lossy {
            for (index, value) in vector.indices.iter().zip(vector.values) {
                if let Some(place) = out.get_mut(*index as usize) {
                    *place = *value;
                }
            }
            return;
        }
        let most = vector.values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        if most == 0.0 {
            return;
        }
        // Sums of single precision neither overflow nor vanish.
        let unit = if (1e-15..1e15).contains(&most) { 1.0 } else { 1.0 / f64::from(most) };
        for (index, value) in vector.indices.iter().zip(vector.values) {
            let (at, is_negative) = self.place(self.key(*index));
            let value = (f64::from(*value) * unit) as f32;
            out[at] += if is_negative { -value } else { value };
        }
        let squared = |x: &f32| f64::from(*x) * f64::from(*x);
        let length = vector.values.iter().map(squared).sum::<f64>().sqrt();
        let found = out.iter().map(squared).sum::<f64>().sqrt();
        if found == 0.0 {
            // All elements have cancelled each other. The first one stands for them.
            out[self.place(self.key(vector.indices[0])).0] = length.min(f32::MAX.into()) as f32;
            return;
        }
        let factor = length / found;
        let limit = f64::from(f32::MAX);
        out.iter_mut().for_each(|x| *x = (f64::from(*x) * factor).clamp(-limit, limit) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sketch of 40 elements, each index and value made of a number.
    fn sketch_of(numbers: std::ops::Range<i32>, sketch: &Sketch) -> (Vec<f32>, Vec<f32>) {
        let indices: Vec<i32> = numbers.clone().map(|n| n * 7919 % 99_991).collect();
        let values: Vec<f32> = numbers.map(|n| (n % 11) as f32 - 5.5).collect();
        let mut pairs: Vec<(i32, f32)> = indices.into_iter().zip(values).collect();
        pairs.sort_unstable_by_key(|pair| pair.0);
        let (indices, values): (Vec<i32>, Vec<f32>) = pairs.into_iter().unzip();
        let mut out = vec![0.0; sketch.size];
        sketch.write(Sparse { dims: 100_000, indices: &indices, values: &values }, &mut out).unwrap();
        (out, values)
    }

    fn product(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum()
    }

    #[test]
    fn lengths_are_kept_and_products_about() {
        let mut errors = 0.0;
        for seed in 0..50 {
            let sketch = Sketch::of_sparse(100_000, seed);
            let (a, values) = sketch_of(0..80, &sketch);
            let (b, _) = sketch_of(40..120, &sketch);
            assert!((product(&a, &a) / product(&values, &values) - 1.0).abs() < 1e-5);
            let truth: f64 = (40..80).map(|n: i32| (f64::from(n % 11) - 5.5).powi(2)).sum();
            errors += ((product(&a, &b) - truth) / product(&values, &values)).powi(2);
        }
        let deviation = (errors / 50.0).sqrt();
        // (1 - cosine²) / sqrt(coordinates) for a cosine of about a half.
        assert!((0.015..0.04).contains(&deviation), "{deviation}");
    }

    #[test]
    fn only_zero_has_a_zero_sketch() {
        let sketch = Sketch::of_sparse(1_000_000, 5);
        let mut out = vec![1.0; sketch.size];
        sketch.write(Sparse { dims: 1_000_000, indices: &[], values: &[] }, &mut out).unwrap();
        assert!(out.iter().all(|x| *x == 0.0));
        let hash = sketch.hash(5);
        let place = |i: i32| hash.place(hash.key(i));
        let (at, sign) = place(0);
        let other = (1..).find(|i| place(*i) == (at, !sign)).unwrap();
        sketch
            .write(Sparse { dims: 1_000_000, indices: &[0, other], values: &[3.0, 3.0] }, &mut out)
            .unwrap();
        assert_eq!((out[at], product(&out, &out)), (18f32.sqrt(), f64::from(18f32.sqrt() * 18f32.sqrt())));
        for values in [[f32::MAX, f32::MAX], [1e-45, 1e-45], [1e-30, 1e30]] {
            sketch.write(Sparse { dims: 1_000_000, indices: &[1, 2], values: &values }, &mut out).unwrap();
            assert!(out.iter().all(|x| x.is_finite()) && out.iter().any(|x| *x != 0.0), "{values:?}");
        }
    }

    #[test]
    fn few_dimensions_are_their_own_sketch() {
        let sketch = Sketch::of_sparse(5, 1);
        let mut out = vec![7.0; 5];
        // An index beyond the dimensions, which a damaged value may have, is left out.
        sketch.write(Sparse { dims: 5, indices: &[0, 3, 9], values: &[1.5, -2.0, 4.0] }, &mut out).unwrap();
        assert_eq!(out, [1.5, 0.0, 0.0, -2.0, 0.0]);
        assert!(!sketch.is_lossy() && Sketch::of_sparse(SIZE + 1, 1).is_lossy());
    }
}
