//! Checks that all types have in common, with the type's name in the message.

use super::element::Element;
use super::shortest::float_text;
use crate::error::{Error, Kind, Result};

/// Dimensions that a `vector` or `halfvec` may have.
pub const MAX_DIMS: usize = 16_000;

/// A value that the type does not allow.
pub(super) fn data(message: impl Into<String>) -> Error {
    Error::new(Kind::Data, message)
}

#[cold]
pub(super) fn overflow() -> Error {
    Error::new(Kind::NumericRange, "value out of range: overflow")
}

/// A value of the type has 1 to `most` dimensions.
#[inline]
pub(super) fn check_within(name: &str, most: usize, dims: usize) -> Result<()> {
    if dims >= 1 && dims <= most { Ok(()) } else { Err(outside(name, most, dims)) }
}

#[cold]
fn outside(name: &str, most: usize, dims: usize) -> Error {
    if dims == 0 {
        return data(format!("{name} must have at least 1 dimension"));
    }
    Error::new(Kind::LimitExceeded, format!("{name} cannot have more than {most} dimensions"))
}

#[inline]
pub(super) fn check_same(name: &str, a: usize, b: usize) -> Result<()> {
    if a == b { Ok(()) } else { Err(different(name, a, b)) }
}

// Errors are created out of line; inlined, they would slow down calls without an error.

#[cold]
fn different(name: &str, a: usize, b: usize) -> Error {
    data(format!("different {name} dimensions {a} and {b}"))
}

#[cold]
fn unexpected(typmod: i32, dims: usize) -> Error {
    data(format!("expected {typmod} dimensions, not {dims}"))
}

#[inline]
pub(super) fn check_finite(name: &str, x: f32) -> Result<()> {
    if x.is_finite() {
        Ok(())
    } else if x.is_nan() {
        Err(data(format!("NaN not allowed in {name}")))
    } else {
        Err(data(format!("infinite value not allowed in {name}")))
    }
}

/// Checks the dimensions against a type modifier; -1 allows any number.
#[inline]
pub fn check_typmod(typmod: i32, dims: usize) -> Result<()> {
    if typmod == -1 || usize::try_from(typmod) == Ok(dims) { Ok(()) } else { Err(unexpected(typmod, dims)) }
}

/// The type modifier of a type of up to `most` dimensions: their number.
pub fn typmod_in(name: &str, most: usize, modifiers: &[i32]) -> Result<i32> {
    let invalid = |message: String| Err(Error::new(Kind::InvalidParameter, message));
    match *modifiers {
        [n] if n < 1 => invalid(format!("dimensions for type {name} must be at least 1")),
        [n] if n as usize > most => invalid(format!("dimensions for type {name} cannot exceed {most}")),
        [n] => Ok(n),
        _ => invalid("invalid type modifier".into()),
    }
}

/// A vector has 1 to `MAX_DIMS` dimensions.
#[inline]
pub fn check_dims<E: Element>(dims: usize) -> Result<()> {
    check_within(E::TYPE, MAX_DIMS, dims)
}

/// An element is finite.
#[inline]
pub fn check_element<E: Element>(x: E) -> Result<()> {
    check_finite(E::TYPE, x.widen())
}

/// Whether all elements are finite.
#[inline]
pub(super) fn all_finite<E: Element>(elements: &[E]) -> bool {
    // Without a branch in the loop.
    elements.iter().fold(true, |all, x| all & x.is_finite())
}

pub(super) fn check_elements<E: Element>(elements: &[E]) -> Result<()> {
    if all_finite(elements) {
        return Ok(());
    }
    elements.iter().try_for_each(|x| check_element(*x))
}

/// Checks that all numbers have become finite elements.
#[inline]
pub(super) fn check_put<E: Element>(numbers: &[f32], elements: &[E]) -> Result<()> {
    if all_finite(elements) { Ok(()) } else { check_numbers(numbers.iter().copied(), elements) }
}

/// Finds the error in numbers of which not all have become finite elements.
#[cold]
pub(super) fn check_numbers<E: Element>(numbers: impl Iterator<Item = f32>, elements: &[E]) -> Result<()> {
    for (x, element) in numbers.zip(elements) {
        check_range(x, *element)?;
    }
    check_elements(elements)
}

/// A finite number has a finite nearest element.
#[inline]
fn check_range<E: Element>(x: f32, element: E) -> Result<()> {
    if x.is_finite() && !element.is_finite() { Err(beyond::<E>(x)) } else { Ok(()) }
}

#[cold]
fn beyond<E: Element>(x: f32) -> Error {
    out_of_range(E::TYPE, float_text(x).as_bytes())
}

/// A number in a literal that the type cannot hold.
pub(super) fn out_of_range(name: &str, token: &[u8]) -> Error {
    let token = String::from_utf8_lossy(token);
    Error::new(Kind::NumericRange, format!("\"{token}\" is out of range for type {name}"))
}
