//! Datums of `vector[]` and `halfvec[]` as arrays of vectors.

use half::f16;
use pgrx::pg_sys;

use super::dense::Dense;
use super::short_header::AlignedCopy;
use super::value::{Layout, Value};
use crate::error::Result;
use crate::pg::types::array::Array;
use crate::value::Element;
use crate::value::tokens::TokensBuf;

/// An array of any type; `Array` reads what follows its header.
struct ArrayLayout;

// SAFETY: `fits` compares the size with that of the header. Nothing else is read by the layout.
unsafe impl Layout for ArrayLayout {
    const TYPE: &'static str = "array";

    unsafe fn fits(_: *const u8, size: usize) -> bool {
        size >= size_of::<pg_sys::ArrayType>()
    }
}

/// The elements' type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// `vector`
    Vectors,
    /// `halfvec`
    Halves,
}

/// The vectors of an array.
///
/// # Errors
/// NULLs, several dimensions, vectors of different dimensions, out of memory.
pub fn of_array(array: &Array, of: Of) -> Result<TokensBuf> {
    match of {
        Of::Vectors => collected::<f32>(array),
        Of::Halves => collected::<f16>(array),
    }
}

/// The vectors of a datum that is not null.
///
/// # Safety
/// The datum is an array of elements of this type.
///
/// # Errors
/// As [`of_array`].
pub unsafe fn of_datum(datum: pg_sys::Datum, of: Of) -> Result<TokensBuf> {
    let memory = &mut AlignedCopy::new();
    // SAFETY: the caller vouches for the datum. The value, which is freed here if it was copied, outlives the
    // array.
    unsafe {
        let value = Value::<ArrayLayout>::from_raw_in(memory, datum);
        of_array(&Array::from_raw(pg_sys::Datum::from(value.start)), of)
    }
}

fn collected<E: Element>(array: &Array) -> Result<TokensBuf> {
    let mut tokens = TokensBuf::default();
    for vector in array.values::<Dense<E>>()? {
        tokens.push(&vector)?;
    }
    Ok(tokens)
}
