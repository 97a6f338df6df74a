//! What can be done with `sparsevec` values: limits, binary form, order, distances, conversions. Messages,
//! limits and rounding are pgvector's.

use std::cmp::Ordering;

use super::element::Element;
use super::limits::{check_finite, check_same, check_typmod, check_within, data, overflow};
use super::vector::{self, cosine};
use crate::error::{Error, Kind, Result};

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
    /// Where the elements are.
    pub indices: &'a [i32],
    /// As many values.
    pub values: &'a [f32],
}

/// A sparse vector with memory of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseBuf {
    /// Dimensions.
    pub dims: usize,
    /// Where the elements are.
    pub indices: Vec<i32>,
    /// As many values.
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

/// There are at most as many elements as the type and the dimensions allow.
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

/// Writes the whole binary form to as many bytes as it has.
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
    // An element that only one has is compared with zero, or with the end of the shorter vector.
    let within = |index: i32, other: Sparse| (index as usize) < other.dims;
    let mut a_left = a.indices.iter().zip(a.values).peekable();
    let mut b_left = b.indices.iter().zip(b.values).peekable();
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

// Distances: accumulated in f32 in the order of the indices

/// Calls `visit` with both values at each index that at least one has.
#[inline]
fn each_pair(a: Sparse, b: Sparse, mut visit: impl FnMut(f32, f32)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(&at), Some(&other)) = (a.indices.get(i), b.indices.get(j)) {
        match at.cmp(&other) {
            Ordering::Less => {
                visit(a.values[i], 0.0);
                i += 1;
            }
            Ordering::Equal => {
                visit(a.values[i], b.values[j]);
                (i, j) = (i + 1, j + 1);
            }
            Ordering::Greater => {
                visit(0.0, b.values[j]);
                j += 1;
            }
        }
    }
    a.values[i..].iter().for_each(|x| visit(*x, 0.0));
    b.values[j..].iter().for_each(|y| visit(0.0, *y));
}

fn product(a: Sparse, b: Sparse) -> f32 {
    let (mut i, mut j, mut sum) = (0, 0, 0f32);
    while let (Some(&at), Some(&other)) = (a.indices.get(i), b.indices.get(j)) {
        match at.cmp(&other) {
            Ordering::Less => i += 1,
            Ordering::Equal => {
                sum += a.values[i] * b.values[j];
                (i, j) = (i + 1, j + 1);
            }
            Ordering::Greater => j += 1,
        }
    }
    sum
}

/// Squared Euclidean distance.
#[inline]
pub fn l2_squared_distance(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    let mut sum = 0f32;
    each_pair(a, b, |x, y| sum += (x - y) * (x - y));
    Ok(f64::from(sum))
}

/// Euclidean distance.
#[inline]
pub fn l2_distance(a: Sparse, b: Sparse) -> Result<f64> {
    Ok(l2_squared_distance(a, b)?.sqrt())
}

/// Inner product.
#[inline]
pub fn inner_product(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(product(a, b)))
}

/// Negative inner product.
#[inline]
pub fn negative_inner_product(a: Sparse, b: Sparse) -> Result<f64> {
    Ok(-inner_product(a, b)?)
}

/// One minus the cosine of the angle; NaN where a norm is zero or overflows.
#[inline]
pub fn cosine_distance(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    let squared = |v: Sparse| v.values.iter().fold(0f32, |sum, x| sum + x * x);
    Ok(cosine(product(a, b), squared(a), squared(b)))
}

/// Sum of the absolute differences.
#[inline]
pub fn l1_distance(a: Sparse, b: Sparse) -> Result<f64> {
    check_same_dims(a, b)?;
    let mut sum = 0f32;
    each_pair(a, b, |x, y| sum += (x - y).abs());
    Ok(f64::from(sum))
}

/// Euclidean norm.
pub fn norm(a: Sparse) -> f64 {
    vector::norm(a.values)
}

/// `a` with norm 1; a zero vector stays zero, and so does an element that becomes zero.
pub fn l2_normalize(a: Sparse) -> Result<SparseBuf> {
    let norm = norm(a);
    let room = a.values.len();
    let mut result =
        SparseBuf { dims: a.dims, indices: Vec::with_capacity(room), values: Vec::with_capacity(room) };
    for (index, value) in a.indices.iter().zip(a.values) {
        let value = (f64::from(*value) / norm) as f32;
        if value.is_infinite() {
            return Err(overflow());
        }
        if value != 0.0 {
            result.indices.push(*index);
            result.values.push(value);
        }
    }
    Ok(result)
}

// Conversions

/// How many numbers are not zero.
pub fn count(numbers: &[f32]) -> usize {
    numbers.iter().fold(0, |count, x| count + usize::from(*x != 0.0))
}

/// Puts the numbers other than zero, and where they are, into as many of both.
pub fn gather(numbers: &[f32], indices: &mut [i32], values: &mut [f32]) {
    let mut to = indices.iter_mut().zip(values);
    for (index, x) in (0..).zip(numbers) {
        if *x != 0.0
            && let Some((i, value)) = to.next()
        {
            (*i, *value) = (index, *x);
        }
    }
}

/// The numbers of an array may become a sparse vector: how many are not zero.
pub fn check_numbers(numbers: &[f32]) -> Result<usize> {
    let count = count(numbers);
    check_count(count, numbers.len())?;
    numbers.iter().try_for_each(|x| check_finite(TYPE, *x))?;
    Ok(count)
}

/// The dimensions of the dense vector.
pub fn dense_dims<E: Element>(a: Sparse, typmod: i32) -> Result<usize> {
    vector::check_dims::<E>(a.dims)?;
    check_typmod(typmod, a.dims)?;
    Ok(a.dims)
}

/// Puts all elements, those that are zero too, into `out`: as many zeros as there are dimensions.
pub fn to_dense<E: Element>(a: Sparse, out: &mut [E]) -> Result<()> {
    for (index, x) in a.indices.iter().zip(a.values) {
        let element = E::narrow(*x);
        vector::check_range(*x, element)?;
        out[*index as usize] = element;
    }
    Ok(())
}

#[cfg(test)]
#[path = "sparse_tests.rs"]
mod tests;
