//! What all types check alike, with the type's name in the message.

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

// Errors are made out of line: in line they would cost the calls that have none.

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

/// A type modifier other than -1 is the number of dimensions demanded.
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
