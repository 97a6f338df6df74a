//! What can be done with the elements of vectors: limits, binary form, order, arithmetic, distances,
//! averages. Messages, limits and rounding are pgvector's.

use std::cmp::Ordering;

use crate::error::{Error, Kind, Result};
use crate::kernel;

/// Dimensions that a vector may have.
pub const MAX_DIMS: usize = 16_000;

fn data(message: impl Into<String>) -> Error {
    Error::new(Kind::Data, message)
}

fn overflow() -> Error {
    Error::new(Kind::NumericRange, "value out of range: overflow")
}

// Limits

/// A vector has 1 to `MAX_DIMS` dimensions.
pub fn check_dims(dims: usize) -> Result<()> {
    match dims {
        0 => Err(data("vector must have at least 1 dimension")),
        1..=MAX_DIMS => Ok(()),
        _ => Err(Error::new(
            Kind::LimitExceeded,
            format!("vector cannot have more than {MAX_DIMS} dimensions"),
        )),
    }
}

/// A type modifier other than -1 is the number of dimensions demanded.
pub fn check_typmod(typmod: i32, dims: usize) -> Result<()> {
    if typmod == -1 || usize::try_from(typmod) == Ok(dims) {
        return Ok(());
    }
    Err(data(format!("expected {typmod} dimensions, not {dims}")))
}

/// The operands of most operators have the same dimensions.
pub fn check_same_dims(a: &[f32], b: &[f32]) -> Result<()> {
    if a.len() == b.len() {
        return Ok(());
    }
    Err(data(format!("different vector dimensions {} and {}", a.len(), b.len())))
}

/// An element is finite.
#[inline]
pub fn check_element(x: f32) -> Result<()> {
    if x.is_finite() {
        Ok(())
    } else if x.is_nan() {
        Err(data("NaN not allowed in vector"))
    } else {
        Err(data("infinite value not allowed in vector"))
    }
}

/// The type modifier of `vector(n)`.
pub fn typmod_in(modifiers: &[i32]) -> Result<i32> {
    let invalid = |message: String| Err(Error::new(Kind::InvalidParameter, message));
    match *modifiers {
        [n] if n < 1 => invalid("dimensions for type vector must be at least 1".into()),
        [n] if n as usize > MAX_DIMS => {
            invalid(format!("dimensions for type vector cannot exceed {MAX_DIMS}"))
        }
        [n] => Ok(n),
        _ => invalid("invalid type modifier".into()),
    }
}

/// A vector from the elements of an array.
pub fn from_elements(elements: impl ExactSizeIterator<Item = f32>, typmod: i32) -> Result<Vec<f32>> {
    check_dims(elements.len())?;
    check_typmod(typmod, elements.len())?;
    let elements: Vec<f32> = elements.collect();
    elements.iter().try_for_each(|x| check_element(*x))?;
    Ok(elements)
}

// Binary form: dims i16 | unused i16 = 0 | dims × f32, big-endian

/// Checks the two numbers before the elements; returns the dimensions.
pub fn check_binary_header(dims: i16, unused: i16, typmod: i32) -> Result<usize> {
    let dims = usize::try_from(dims).unwrap_or(0);
    check_dims(dims)?;
    check_typmod(typmod, dims)?;
    if unused != 0 {
        return Err(data(format!("expected unused to be 0, not {unused}")));
    }
    Ok(dims)
}

/// The elements of the binary form, checked.
pub fn decode_elements(bytes: &[u8]) -> Result<Vec<f32>> {
    let (chunks, _) = bytes.as_chunks::<4>();
    let elements: Vec<f32> = chunks.iter().map(|c| f32::from_be_bytes(*c)).collect();
    elements.iter().try_for_each(|x| check_element(*x))?;
    Ok(elements)
}

/// The whole binary form.
pub fn encode(elements: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; 4 + 4 * elements.len()];
    bytes[..2].copy_from_slice(&(elements.len() as u16).to_be_bytes());
    for (to, x) in bytes[4..].as_chunks_mut::<4>().0.iter_mut().zip(elements) {
        *to = x.to_be_bytes();
    }
    bytes
}

// Order

/// By the first elements that differ, then by dimensions, as PostgreSQL orders arrays.
pub fn compare(a: &[f32], b: &[f32]) -> Ordering {
    let differs = a.iter().zip(b).map(|(x, y)| x.partial_cmp(y)).find(|o| *o != Some(Ordering::Equal));
    differs.flatten().unwrap_or_else(|| a.len().cmp(&b.len()))
}

// Arithmetic

fn elementwise(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> Result<Vec<f32>> {
    check_same_dims(a, b)?;
    let result: Vec<f32> = a.iter().zip(b).map(|(x, y)| f(*x, *y)).collect();
    if result.iter().any(|x| x.is_infinite()) { Err(overflow()) } else { Ok(result) }
}

/// `a + b`, element by element.
pub fn add(a: &[f32], b: &[f32]) -> Result<Vec<f32>> {
    elementwise(a, b, |x, y| x + y)
}

/// `a - b`, element by element.
pub fn sub(a: &[f32], b: &[f32]) -> Result<Vec<f32>> {
    elementwise(a, b, |x, y| x - y)
}

/// `a * b`, element by element.
pub fn mul(a: &[f32], b: &[f32]) -> Result<Vec<f32>> {
    let result = elementwise(a, b, |x, y| x * y)?;
    let vanished = |((z, x), y): ((&f32, &f32), &f32)| *z == 0.0 && *x != 0.0 && *y != 0.0;
    if result.iter().zip(a).zip(b).any(vanished) {
        return Err(Error::new(Kind::NumericRange, "value out of range: underflow"));
    }
    Ok(result)
}

/// `a`'s elements, then `b`'s.
pub fn concat(a: &[f32], b: &[f32]) -> Result<Vec<f32>> {
    check_dims(a.len() + b.len())?;
    Ok([a, b].concat())
}

/// `count` elements from the 1-based `start`; what lies outside is left out, as by `substring`.
pub fn subvector(a: &[f32], start: i32, count: i32) -> Result<&[f32]> {
    let end = (i64::from(start) + i64::from(count) - 1).clamp(0, a.len() as i64) as usize;
    let first = (i64::from(start) - 1).clamp(0, a.len() as i64) as usize;
    let part = if count < 1 || first >= end { &[] } else { &a[first..end] };
    check_dims(part.len())?;
    Ok(part)
}

/// Euclidean norm.
pub fn norm(a: &[f32]) -> f64 {
    kernel::norm_squared(a).sqrt()
}

/// `a` with norm 1; a zero vector stays zero.
pub fn l2_normalize(a: &[f32]) -> Result<Vec<f32>> {
    let norm = norm(a);
    if norm == 0.0 {
        return Ok(vec![0.0; a.len()]);
    }
    let result: Vec<f32> = a.iter().map(|x| (f64::from(*x) / norm) as f32).collect();
    if result.iter().any(|x| x.is_infinite()) { Err(overflow()) } else { Ok(result) }
}

/// One bit per element, first element highest: is it positive?
pub fn binary_quantize(a: &[f32]) -> Vec<u8> {
    a.chunks(8)
        .map(|c| c.iter().zip((0..8).rev()).fold(0, |byte, (x, bit)| byte | u8::from(*x > 0.0) << bit))
        .collect()
}

// Distances: accumulated in f32, so that large values overflow to infinity

/// Squared Euclidean distance.
pub fn l2_squared_distance(a: &[f32], b: &[f32]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(kernel::l2_squared(a, b)))
}

/// Euclidean distance.
pub fn l2_distance(a: &[f32], b: &[f32]) -> Result<f64> {
    Ok(l2_squared_distance(a, b)?.sqrt())
}

/// Inner product.
pub fn inner_product(a: &[f32], b: &[f32]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(kernel::inner_product(a, b)))
}

/// Negative inner product.
pub fn negative_inner_product(a: &[f32], b: &[f32]) -> Result<f64> {
    Ok(-inner_product(a, b)?)
}

/// One minus the cosine of the angle; NaN where a norm is zero or overflows.
pub fn cosine_distance(a: &[f32], b: &[f32]) -> Result<f64> {
    check_same_dims(a, b)?;
    let (product, a2, b2) = kernel::cosine_sums(a, b);
    let similarity = f64::from(product) / (f64::from(a2) * f64::from(b2)).sqrt();
    Ok(1.0 - similarity.clamp(-1.0, 1.0))
}

/// Angle between unit vectors, in units of π.
pub fn spherical_distance(a: &[f32], b: &[f32]) -> Result<f64> {
    Ok(inner_product(a, b)?.clamp(-1.0, 1.0).acos() / std::f64::consts::PI)
}

/// Sum of the absolute differences.
pub fn l1_distance(a: &[f32], b: &[f32]) -> Result<f64> {
    check_same_dims(a, b)?;
    Ok(f64::from(kernel::l1(a, b)))
}

// avg: the state is {rows, sum of each dimension}; {0} before the first row

/// Dimensions that the sums of an aggregate's state have: 0 before the first row.
fn state_dims(state: &[f64]) -> usize {
    state.len().saturating_sub(1)
}

/// Adds a row to a state that has seen one.
pub fn accumulate(state: &mut [f64], x: &[f32]) -> Result<()> {
    check_typmod(state_dims(state) as i32, x.len())?;
    let Some((rows, sums)) = state.split_first_mut() else { return Ok(()) };
    *rows += 1.0;
    let mut finite = true;
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum += f64::from(*x);
        finite &= !sum.is_infinite();
    }
    if finite { Ok(()) } else { Err(overflow()) }
}

/// The state after the first row, given the one before it.
pub fn first_row(state: &[f64], x: &[f32]) -> Vec<f64> {
    let rows = state.first().unwrap_or(&0.0) + 1.0;
    std::iter::once(rows).chain(x.iter().map(|x| f64::from(*x))).collect()
}

/// The state of the rows of both.
pub fn combine(a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    match (a.first(), b.first()) {
        (Some(0.0) | None, _) => return Ok(b.to_vec()),
        (_, Some(0.0) | None) => return Ok(a.to_vec()),
        _ => check_typmod(state_dims(a) as i32, state_dims(b))?,
    }
    let sums: Vec<f64> = a.iter().zip(b).map(|(x, y)| x + y).collect();
    if sums.iter().any(|x| x.is_infinite()) { Err(overflow()) } else { Ok(sums) }
}

/// The average; none without rows.
pub fn average(state: &[f64]) -> Result<Option<Vec<f32>>> {
    let Some((rows, sums)) = state.split_first().filter(|(rows, _)| **rows != 0.0) else { return Ok(None) };
    from_elements(sums.iter().map(|sum| (sum / rows) as f32), -1).map(Some)
}

#[cfg(test)]
#[path = "vector_tests.rs"]
mod tests;
