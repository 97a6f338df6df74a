//! Operations on `vector` and `halfvec` values: limits, binary form, order, arithmetic, distances, averages.
//! Messages, limits and rounding are those of pgvector.

use std::cmp::Ordering;

use super::element::Element;
use super::limits::{
    all_finite, check_dims, check_elements, check_finite, check_numbers, check_put, check_same, check_typmod,
    data, overflow,
};
use crate::error::{Error, Kind, Result};

// Limits

/// The operands of most operators have the same dimensions.
#[inline]
pub fn check_same_dims<E: Element>(a: &[E], b: &[E]) -> Result<()> {
    check_same(E::TYPE, a.len(), b.len())
}

/// Converts numbers of an array or another type to elements of `out`.
///
/// # Errors
/// A number outside the element's range, NaN, infinity.
#[inline]
pub fn put_numbers<E: Element>(numbers: impl Iterator<Item = f32> + Clone, out: &mut [E]) -> Result<()> {
    E::put(numbers.clone(), out);
    if all_finite(out) { Ok(()) } else { check_numbers(numbers, out) }
}

/// The same for a slice of numbers.
#[inline]
pub fn put_slice<E: Element>(numbers: &[f32], out: &mut [E]) -> Result<()> {
    E::put_slice(numbers, out);
    check_put(numbers, out)
}

// Binary form: dims i16 | unused i16 = 0 | dims elements, all big-endian

/// Checks the two numbers before the elements; returns the dimensions.
pub fn check_binary_header<E: Element>(dims: i16, unused: i16, typmod: i32) -> Result<usize> {
    let dims = usize::try_from(dims).unwrap_or(0);
    check_dims::<E>(dims)?;
    check_typmod(typmod, dims)?;
    if unused != 0 {
        return Err(data(format!("expected unused to be 0, not {unused}")));
    }
    Ok(dims)
}

/// The elements of the binary form, checked.
pub fn decode_elements<E: Element>(bytes: &[u8]) -> Result<Vec<E>> {
    let elements: Vec<E> = bytes.chunks_exact(size_of::<E>()).map(E::from_be_bytes).collect();
    check_elements(&elements)?;
    Ok(elements)
}

/// Bytes of the binary form.
pub const fn encoded_size<E>(elements: &[E]) -> usize {
    4 + size_of_val(elements)
}

/// Writes the binary form. `bytes` has exactly its length.
#[inline]
pub fn encode<E: Element>(elements: &[E], bytes: &mut [u8]) {
    let dims = (elements.len() as u16).to_be_bytes();
    let (header, bytes) = bytes.split_at_mut(4);
    header.copy_from_slice(&[dims[0], dims[1], 0, 0]);
    for (to, x) in bytes.chunks_exact_mut(size_of::<E>()).zip(elements) {
        x.put_be_bytes(to);
    }
}

// Order

/// By the first elements that differ, then by dimensions, as PostgreSQL orders arrays.
pub fn compare<E: Element>(a: &[E], b: &[E]) -> Ordering {
    // Most vectors differ at once.
    if let (Some(x), Some(y)) = (a.first(), b.first())
        && x != y
    {
        return if x < y { Ordering::Less } else { Ordering::Greater };
    }
    // Equal parts are skipped, each with one comparison.
    let equal = |(x, y): &(&[E], &[E])| {
        x.len() == y.len() && x.iter().zip(*y).fold(true, |all, (x, y)| all & (x == y))
    };
    let part = a.chunks(16).zip(b.chunks(16)).find(|parts| !equal(parts));
    let differs = part.and_then(|(x, y)| {
        x.iter().zip(y).map(|(x, y)| x.partial_cmp(y)).find(|o| *o != Some(Ordering::Equal)).flatten()
    });
    differs.unwrap_or_else(|| a.len().cmp(&b.len()))
}

// Arithmetic: in f32, then rounded to the element. Results go to `out`, which has the same number of
// elements.

#[inline]
fn check_overflow<E: Element>(result: &[E]) -> Result<()> {
    if all_finite(result) { Ok(()) } else { Err(overflow()) }
}

#[inline]
fn elementwise<E: Element>(a: &[E], b: &[E], out: &mut [E], f: impl Fn(f32, f32) -> f32) -> Result<()> {
    check_same_dims(a, b)?;
    E::combine(a, b, out, f);
    check_overflow(out)
}

/// `a + b`, element by element.
#[inline]
pub fn add<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<()> {
    elementwise(a, b, out, |x, y| x + y)
}

/// `a - b`, element by element.
#[inline]
pub fn sub<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<()> {
    elementwise(a, b, out, |x, y| x - y)
}

/// `a * b`, element by element.
#[inline]
pub fn mul<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<()> {
    elementwise(a, b, out, |x, y| x * y)?;
    let zero = E::default();
    let vanished = |((z, x), y): ((&E, &E), &E)| (*z == zero) & (*x != zero) & (*y != zero);
    if out.iter().zip(a).zip(b).fold(false, |any, each| any | vanished(each)) {
        return Err(Error::new(Kind::NumericRange, "value out of range: underflow"));
    }
    Ok(())
}

/// `a * x` for each element. Overflow and underflow are errors, as for [`mul`].
#[inline]
pub fn mul_scalar<E: Element>(a: &[E], x: f32, out: &mut [E]) -> Result<()> {
    check_finite(E::TYPE, x)?;
    E::convert(a, out, |y| y * x);
    check_overflow(out)?;
    check_vanished(a, out, x == 0.0)
}

/// `a / x` for each element.
#[inline]
pub fn div_scalar<E: Element>(a: &[E], x: f32, out: &mut [E]) -> Result<()> {
    check_finite(E::TYPE, x)?;
    if x == 0.0 {
        return Err(Error::new(Kind::DivisionByZero, "division by zero"));
    }
    E::convert(a, out, |y| y / x);
    check_overflow(out)?;
    check_vanished(a, out, false)
}

/// An element may become zero only if it was, or if zero was what it was multiplied by.
fn check_vanished<E: Element>(a: &[E], out: &[E], by_zero: bool) -> Result<()> {
    let zero = E::default();
    if !by_zero && out.iter().zip(a).fold(false, |any, (z, x)| any | ((*z == zero) & (*x != zero))) {
        return Err(Error::new(Kind::NumericRange, "value out of range: underflow"));
    }
    Ok(())
}

/// Checks that the elements of both can be one vector.
#[inline]
pub fn check_concat<E: Element>(a: &[E], b: &[E]) -> Result<()> {
    check_dims::<E>(a.len() + b.len())
}

/// `count` elements from the 1-based `start`; elements outside the vector are left out, as `substring` does.
#[inline]
pub fn subvector<E: Element>(a: &[E], start: i32, count: i32) -> Result<&[E]> {
    let end = (i64::from(start) + i64::from(count) - 1).clamp(0, a.len() as i64) as usize;
    let first = (i64::from(start) - 1).clamp(0, a.len() as i64) as usize;
    let part = if count < 1 || first >= end { &[] } else { &a[first..end] };
    check_dims::<E>(part.len())?;
    Ok(part)
}

/// Euclidean norm.
#[inline]
pub fn norm<E: Element>(a: &[E]) -> f64 {
    E::norm_squared(a).sqrt()
}

/// `a` with norm 1; a zero vector stays zero.
#[inline]
pub fn l2_normalize<E: Element>(a: &[E], out: &mut [E]) {
    let norm = norm(a);
    if norm == 0.0 {
        return out.fill(E::default());
    }
    // No element is larger than the norm, so nothing overflows.
    E::convert(a, out, |x| (f64::from(x) / norm) as f32);
}

/// One bit per element, the first element in the highest bit: set if the element is positive.
#[inline]
pub fn binary_quantize<E: Element>(a: &[E], bytes: &mut [u8]) {
    let zero = E::default();
    let quantize =
        |c: &[E]| c.iter().zip((0..8).rev()).fold(0, |byte, (x, bit)| byte | u8::from(*x > zero) << bit);
    for (byte, elements) in bytes.iter_mut().zip(a.chunks(8)) {
        *byte = quantize(elements);
    }
}

// Distances: accumulated in f32, so that large values overflow to infinity

/// Squared Euclidean distance.
#[inline]
pub fn l2_squared_distance<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(E::l2_squared(a, b)))
}

/// Euclidean distance.
#[inline]
pub fn l2_distance<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    Ok(l2_squared_distance(a, b)?.sqrt())
}

/// Inner product.
#[inline]
pub fn inner_product<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(E::inner_product(a, b)))
}

/// Negative inner product.
#[inline]
pub fn negative_inner_product<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    Ok(-inner_product(a, b)?)
}

/// One minus the cosine of the angle; NaN where a norm is zero or overflows.
#[inline]
pub fn cosine_distance<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(E::cosine_distance(a, b))
}

/// Angle between unit vectors, in units of π.
pub fn spherical_distance<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    Ok(inner_product(a, b)?.clamp(-1.0, 1.0).acos() / std::f64::consts::PI)
}

/// Sum of the absolute differences.
#[inline]
pub fn l1_distance<E: Element>(a: &[E], b: &[E]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(E::l1(a, b)))
}

// avg: the state is {rows, sum of each dimension}; {0} before the first row

/// Dimensions that the sums of an aggregate's state have: 0 before the first row.
fn state_dims(state: &[f64]) -> usize {
    state.len().saturating_sub(1)
}

/// Adds a row to a state that has at least one row.
pub fn accumulate<E: Element>(state: &mut [f64], x: &[E]) -> Result<()> {
    check_typmod(state_dims(state) as i32, x.len())?;
    let Some((rows, sums)) = state.split_first_mut() else { return Ok(()) };
    *rows += 1.0;
    let mut finite = true;
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum += f64::from(x.widen());
        finite &= !sum.is_infinite();
    }
    if finite { Ok(()) } else { Err(overflow()) }
}

/// The state with one more row; `state` is not changed.
pub fn accumulated<E: Element>(state: &[f64], x: &[E]) -> Result<Vec<f64>> {
    // A state may be a very long array, so it is copied only after its dimensions are checked against the
    // row's.
    check_typmod(state_dims(state) as i32, x.len())?;
    let mut state = state.to_vec();
    accumulate(&mut state, x)?;
    Ok(state)
}

/// The state after the first row, given the one before it.
pub fn first_row<E: Element>(state: &[f64], x: &[E]) -> Vec<f64> {
    let rows = state.first().unwrap_or(&0.0) + 1.0;
    std::iter::once(rows).chain(x.iter().map(|x| f64::from(x.widen()))).collect()
}

/// The state of the rows of both. A state without rows is ignored, whatever its sums are.
pub fn combine(a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    let rows = |state: &[f64]| state.first().copied().unwrap_or(0.0);
    let (rows_a, rows_b) = (rows(a), rows(b));
    if rows_a == 0.0 && rows_b == 0.0 && a.len().max(b.len()) == 1 {
        // This happens if two workers of a query found no row. No other states without sums can be combined.
        return Ok(vec![0.0]);
    }
    let kept = if rows_a == 0.0 { b } else { a };
    check_dims::<f32>(state_dims(kept))?;
    if rows_a == 0.0 || rows_b == 0.0 {
        return Ok(kept.to_vec());
    }
    check_typmod(state_dims(a) as i32, state_dims(b))?;
    let sums: Vec<f64> = a.iter().zip(b).map(|(x, y)| x + y).collect();
    // The number of rows is not checked.
    if sums.iter().skip(1).any(|x| x.is_infinite()) { Err(overflow()) } else { Ok(sums) }
}

/// The average, or `None` if there were no rows.
pub fn average<E: Element>(state: &[f64]) -> Result<Option<Vec<E>>> {
    let Some((rows, sums)) = state.split_first().filter(|(rows, _)| **rows != 0.0) else { return Ok(None) };
    check_dims::<E>(sums.len())?;
    let mut elements = vec![E::default(); sums.len()];
    put_numbers(sums.iter().map(|sum| (sum / rows) as f32), &mut elements)?;
    Ok(Some(elements))
}

#[cfg(test)]
#[path = "vector_tests.rs"]
mod tests;
