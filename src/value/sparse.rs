//! Operations on `sparsevec` values: limits, binary form, order, distances, conversions. Messages, limits and
//! rounding are those of pgvector.

use std::cmp::Ordering;

use super::element::Element;
use super::limits::{self, check_finite, check_same, check_typmod, check_within, data};
use super::overlap::{self, product, sum};
use super::vector;
use crate::error::{Error, Kind, Result};
use crate::memory::Grow;

/// The SQL type.
pub const TYPE: &str = "sparsevec";
/// Dimensions that a sparse vector may have.
pub const MAX_DIMS: usize = 1_000_000_000;
/// Elements other than zero that it may have.
pub const MAX_ELEMENTS: usize = 16_000;

/// A sparse vector: the elements other than zero by ascending index, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparse<'a> {
    /// Dimensions, 1 to [`MAX_DIMS`].
    pub dims: usize,
    /// The index of each element.
    pub indices: &'a [i32],
    /// The value of each element.
    pub values: &'a [f32],
}

impl Sparse<'_> {
    /// The vector with memory of its own.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_buf(self) -> Result<SparseBuf> {
        let mut buf = SparseBuf { dims: self.dims, ..SparseBuf::default() };
        buf.indices.try_extend(self.indices)?;
        buf.values.try_extend(self.values)?;
        Ok(buf)
    }
}

/// A sparse vector with memory of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseBuf {
    /// Dimensions.
    pub dims: usize,
    /// The index of each element.
    pub indices: Vec<i32>,
    /// The value of each element.
    pub values: Vec<f32>,
}

impl SparseBuf {
    /// The vector without its memory.
    pub fn view(&self) -> Sparse<'_> {
        Sparse { dims: self.dims, indices: &self.indices, values: &self.values }
    }
}

// Limits

/// A sparse vector has 1 to `MAX_DIMS` dimensions.
pub fn check_dims(dims: usize) -> Result<()> {
    check_within(TYPE, MAX_DIMS, dims)
}

/// The operands of most operators have the same dimensions.
#[inline]
pub fn check_same_dims(a: Sparse, b: Sparse) -> Result<()> {
    check_same(TYPE, a.dims, b.dims)
}

fn limit(message: impl Into<String>) -> Error {
    Error::new(Kind::LimitExceeded, message)
}

/// Fails if there are more elements than the type or the dimensions allow.
pub(super) fn check_count(count: usize, dims: usize) -> Result<()> {
    if count > MAX_ELEMENTS {
        return Err(limit(format!("sparsevec cannot have more than {MAX_ELEMENTS} non-zero elements")));
    }
    if count > dims {
        return Err(limit("sparsevec cannot have more elements than dimensions"));
    }
    Ok(())
}

/// Indices are within the dimensions and ascend.
pub(super) fn check_indices(indices: &[i32], dims: usize) -> Result<()> {
    let mut before = None;
    for &index in indices {
        if usize::try_from(index).map_or(true, |i| i >= dims) {
            return Err(data("sparsevec index out of bounds"));
        }
        match before.map_or(Ordering::Greater, |before| index.cmp(&before)) {
            Ordering::Less => return Err(data("sparsevec indices must be in ascending order")),
            Ordering::Equal => return Err(data("sparsevec indices must not contain duplicates")),
            Ordering::Greater => before = Some(index),
        }
    }
    Ok(())
}

// Binary form: dims i32 | elements i32 | unused i32 = 0 | elements × i32 | elements × f32, big-endian

/// Checks the three numbers before the elements; returns dimensions and elements.
pub fn check_binary_header(dims: i32, count: i32, unused: i32, typmod: i32) -> Result<(usize, usize)> {
    let dims = usize::try_from(dims).unwrap_or(0);
    check_dims(dims)?;
    let count =
        usize::try_from(count).map_err(|_| data("sparsevec cannot have negative number of elements"))?;
    check_count(count, dims)?;
    check_typmod(typmod, dims)?;
    if unused != 0 {
        return Err(data(format!("expected unused to be 0, not {unused}")));
    }
    Ok((dims, count))
}

/// The indices of the binary form, checked.
pub fn decode_indices(bytes: &[u8], dims: usize) -> Result<Vec<i32>> {
    let indices: Vec<i32> = bytes.as_chunks::<4>().0.iter().map(|b| i32::from_be_bytes(*b)).collect();
    check_indices(&indices, dims)?;
    Ok(indices)
}

/// The values of the binary form, checked.
pub fn decode_values(bytes: &[u8]) -> Result<Vec<f32>> {
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_be_bytes(*b)).collect();
    for &value in &values {
        check_finite(TYPE, value)?;
        if value == 0.0 {
            return Err(data("binary representation of sparsevec cannot contain zero values"));
        }
    }
    Ok(values)
}

/// Bytes of the binary form.
pub const fn encoded_size(a: Sparse) -> usize {
    12 + 8 * a.values.len()
}

/// Writes the binary form. `bytes` has exactly its length.
pub fn encode(a: Sparse, bytes: &mut [u8]) {
    let header = [a.dims as i32, a.indices.len() as i32, 0];
    let numbers = header.iter().chain(a.indices).map(|n| n.to_be_bytes());
    for (to, number) in
        bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers.chain(a.values.iter().map(|x| x.to_be_bytes())))
    {
        *to = number;
    }
}

// Order

/// As the dense vectors compare: by the first elements that differ, then by dimensions.
pub fn compare(a: Sparse, b: Sparse) -> Ordering {
    // An element that only one vector has is compared with zero, or with the end of the shorter vector.
    let within = |index: i32, other: Sparse| (index as usize) < other.dims;
    let start = equal_start(a, b);
    let mut a_left = a.indices[start..].iter().zip(&a.values[start..]);
    let mut b_left = b.indices[start..].iter().zip(&b.values[start..]);
    loop {
        let order = match (a_left.next(), b_left.next()) {
            (None, None) => break,
            (Some((i, x)), Some((j, y))) => match i.cmp(j) {
                Ordering::Equal => x.total_cmp(y),
                Ordering::Less if within(*i, b) => x.total_cmp(&0.0),
                Ordering::Greater if within(*j, a) => 0f32.total_cmp(y),
                _ => break,
            },
            (Some((i, x)), None) if within(*i, b) => x.total_cmp(&0.0),
            (None, Some((j, y))) if within(*j, a) => 0f32.total_cmp(y),
            _ => break,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.dims.cmp(&b.dims)
}

/// The number of equal elements at the start of both, or a few less.
fn equal_start(a: Sparse, b: Sparse) -> usize {
    let values = equal_parts(a.values, b.values, |x, y| x.to_bits() == y.to_bits());
    equal_parts(&a.indices[..values], &b.indices[..values], |i, j| i == j)
}

/// The length of the equal parts at the start. Whole parts are compared, without a branch for each element.
fn equal_parts<T: Copy>(a: &[T], b: &[T], equal: impl Fn(T, T) -> bool) -> usize {
    const PART: usize = 16;
    let all =
        |(a, b): &(&[T; PART], &[T; PART])| a.iter().zip(*b).fold(true, |all, (x, y)| all & equal(*x, *y));
    PART * a.as_chunks::<PART>().0.iter().zip(b.as_chunks::<PART>().0).take_while(all).count()
}

// Distances: accumulated in f32

/// Squared Euclidean distance.
#[inline(always)]
pub fn l2_squared_distance(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(sum(a, b, |x, y| (x - y) * (x - y))))
}

/// Euclidean distance.
#[inline(always)]
pub fn l2_distance(a: Sparse, b: Sparse) -> Result<f64> {
    Ok(l2_squared_distance(a, b)?.sqrt())
}

/// Inner product.
#[inline(always)]
pub fn inner_product(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(product(a, b)))
}

/// Negative inner product.
#[inline(always)]
pub fn negative_inner_product(a: Sparse, b: Sparse) -> Result<f64> {
    Ok(-inner_product(a, b)?)
}

/// One minus the cosine of the angle; NaN where a norm is zero or overflows.
#[inline(always)]
pub fn cosine_distance(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(overlap::cosine_distance(a, b))
}

/// Sum of the absolute differences.
#[inline(always)]
pub fn l1_distance(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(sum(a, b, |x, y| (x - y).abs())))
}

/// Euclidean norm.
pub fn norm(a: Sparse) -> f64 {
    vector::norm(a.values)
}

/// Writes the values of `a`, scaled to norm 1, to `values`; a zero vector stays zero. Returns how many values
/// are not zero.
pub fn l2_normalize(a: Sparse, values: &mut [f32]) -> usize {
    let norm = norm(a);
    // No element is larger than the norm, so nothing overflows.
    for (to, value) in values.iter_mut().zip(a.values) {
        *to = (f64::from(*value) / norm) as f32;
    }
    count(values)
}

/// Writes the elements that are not zero to `indices` and `values`, which have room for exactly these.
pub fn without_zeros(a: Sparse, indices: &mut [i32], values: &mut [f32]) {
    let kept = a.indices.iter().zip(a.values).filter(|(_, x)| !x.is_zero());
    for ((to, value), (index, x)) in indices.iter_mut().zip(values).zip(kept) {
        (*to, *value) = (*index, *x);
    }
}

// Conversions

/// How many numbers are not zero.
pub fn count<E: Element>(numbers: &[E]) -> usize {
    // The number fits 32 bits, and a sum of 32 bits is faster than one of 64.
    numbers.iter().fold(0u32, |count, x| count + u32::from(!x.is_zero())) as usize
}

/// Writes the numbers other than zero and their indices to `values` and `indices`, which have room for
/// exactly these.
pub fn gather<E: Element>(numbers: &[E], indices: &mut [i32], values: &mut [f32]) {
    if values.len() == numbers.len() {
        // No number is zero, which is usual for vectors that come from a dense type.
        E::widen_to(numbers, values);
        indices.iter_mut().zip(0..).for_each(|(to, index)| *to = index);
        return;
    }
    let (mut to, mut start) = (0, 0);
    E::each_part(numbers, |part| {
        // Each number is written to the next free position. After a zero the position does not advance, so
        // the next number overwrites it. This needs no branch.
        for (index, x) in (start..).zip(part) {
            if let (Some(i), Some(value)) = (indices.get_mut(to), values.get_mut(to)) {
                (*i, *value) = (index, *x);
            }
            to += usize::from(*x != 0.0);
        }
        start += part.len() as i32;
    });
}

/// Checks that the numbers of an array can become a sparse vector. Returns how many are not zero.
pub fn check_numbers(numbers: &[f32]) -> Result<usize> {
    let count = count(numbers);
    check_count(count, numbers.len())?;
    if !limits::all_finite(numbers) {
        numbers.iter().try_for_each(|x| check_finite(TYPE, *x))?;
    }
    Ok(count)
}

/// The dimensions of the dense vector.
pub fn dense_dims<E: Element>(a: Sparse, typmod: i32) -> Result<usize> {
    limits::check_dims::<E>(a.dims)?;
    check_typmod(typmod, a.dims)?;
    Ok(a.dims)
}

/// Writes the elements to `out`, which has as many zeros as the vector has dimensions.
pub fn to_dense<E: Element>(a: Sparse, out: &mut [E]) -> Result<()> {
    let mut indices = a.indices;
    E::each_narrow_part(a.values, limits::check_put, |part| {
        let (of_part, rest) = indices.split_at(part.len());
        for (element, index) in part.iter().zip(of_part) {
            out[*index as usize] = *element;
        }
        indices = rest;
    })
}

#[cfg(test)]
#[path = "sparse_tests.rs"]
mod tests;
