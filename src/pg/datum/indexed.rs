//! The kinds of values that an index can be over.

use half::f16;
use pgrx::pg_sys;

use super::bit::{BitHeader, BitString};
use super::dense::{DenseHeader, HalfVector, Vector};
use super::short_header::AlignedCopy;
use crate::error::{Error, Kind};
use crate::value::Element;

/// The kind of value that an index is over. The numbers are returned by the operator classes' support
/// functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// `vector`
    Vector = 0,
    /// `halfvec`
    Half = 1,
    /// `bit`
    Bits = 2,
}

impl Indexed {
    /// Calls `with` with the coordinates of a datum that is not null. `buffer` is used if memory is needed.
    ///
    /// # Safety
    /// The datum is of this kind.
    pub unsafe fn coordinates<R>(
        self,
        datum: pg_sys::Datum,
        buffer: &mut Vec<f32>,
        with: impl FnOnce(&[f32]) -> R,
    ) -> R {
        let memory = &mut AlignedCopy::new();
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            match self {
                Self::Vector => with(&Vector::from_raw_in(memory, datum)),
                Self::Half => with(f16::widen_all(&HalfVector::from_raw_in(memory, datum), buffer)),
                Self::Bits => with(BitString::from_raw_in(memory, datum).bits().coordinates(buffer)),
            }
        }
    }

    /// The name of the SQL type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Half => "halfvec",
            Self::Bits => "bit",
        }
    }

    /// Bytes of a value of `dims` dimensions.
    pub fn size(self, dims: usize) -> usize {
        match self {
            Self::Vector => size_of::<DenseHeader>() + 4 * dims,
            Self::Half => size_of::<DenseHeader>() + 2 * dims,
            Self::Bits => size_of::<BitHeader>() + dims.div_ceil(8),
        }
    }

    /// The operators' error for values of different dimensions.
    pub fn different(self, indexed: usize, query: usize) -> Error {
        let what = match self {
            Self::Vector => "vector dimensions",
            Self::Half => "halfvec dimensions",
            Self::Bits => "bit lengths",
        };
        Error::new(Kind::Data, format!("different {what} {indexed} and {query}"))
    }
}
