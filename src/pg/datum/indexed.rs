//! The kinds of values that an index can be over.

use half::f16;
use pgrx::pg_sys;

use super::bit::{BitHeader, BitString};
use super::dense::{DenseHeader, HalfVector, Vector};
use super::short_header::AlignedCopy;
use super::sparse::{SparseHeader, SparseVector};
use super::tokens;
use crate::error::{Error, Kind, Result};
use crate::ivf::code::is_indexed;
use crate::ivf::sketch::{Sketch, Sketched};
use crate::memory::Grow;
use crate::pg::error::{OrRaise, interrupts};
use crate::value::{Element, Metric, Original, OriginalBuf};

/// Elements of a sparse vector that costs are estimated for.
const USUAL_ELEMENTS: usize = 100;
/// Vectors of a set that costs are estimated for.
const USUAL_TOKENS: usize = 16;

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
    /// `sparsevec`
    Sparse = 3,
    /// `vector[]`, as a set
    Vectors = 4,
    /// `halfvec[]`, as a set
    Halves = 5,
}

/// A query's value.
#[derive(Clone, Copy)]
pub enum Query<'a> {
    /// Its coordinates.
    Vector(&'a [f32]),
    /// A value of which sketches are made.
    Original(Original<'a>),
}

/// A query's value with memory of its own.
pub enum OwnedQuery {
    /// Its coordinates.
    Vector(Vec<f32>),
    /// A value of which sketches are made.
    Original(OriginalBuf),
}

impl OwnedQuery {
    /// The query without its memory.
    pub fn view(&self) -> Query<'_> {
        match self {
            Self::Vector(vector) => Query::Vector(vector),
            Self::Original(value) => Query::Original(value.view()),
        }
    }
}

impl<'a> Query<'a> {
    /// Its dimensions; `None` for a value of any dimensions.
    pub fn dims(self) -> Option<usize> {
        match self {
            Self::Vector(vector) => Some(vector.len()),
            Self::Original(value) => value.dims(),
        }
    }

    /// Whether an index contains such a value.
    pub fn is_indexed(self, metric: Metric) -> bool {
        match self {
            Self::Vector(vector) => is_indexed(metric, vector),
            Self::Original(value) => value.is_indexed(metric),
        }
    }

    /// Its coordinates in an index, by the sketch for queries; `memory` is used if they are a sketch.
    ///
    /// # Errors
    /// Out of memory.
    pub fn coordinates<'b>(self, sketch: &Sketch, memory: &'b mut Vec<f32>) -> Result<Sketched<'b>>
    where
        'a: 'b,
    {
        match self {
            Self::Vector(vector) => Ok(vector.into()),
            Self::Original(value) => {
                memory.try_resize(sketch.size, 0.0)?;
                sketch.write(value, memory)?;
                Ok(Sketched::new(value, memory))
            }
        }
    }
}

impl Indexed {
    /// Calls `with` with the dimensions and the coordinates of a datum that is not null. `buffer` is used if
    /// memory is needed. A value of other dimensions than its sketch has no coordinates.
    ///
    /// # Safety
    /// The datum is of this kind.
    pub unsafe fn coordinates<R>(
        self,
        sketch: &Sketch,
        datum: pg_sys::Datum,
        buffer: &mut Vec<f32>,
        with: impl FnOnce(usize, Sketched<'_>) -> R,
    ) -> R {
        // SAFETY: as the caller says.
        unsafe { self.try_coordinates(sketch, datum, buffer, with).or_raise() }
    }

    /// As [`Indexed::coordinates`].
    ///
    /// # Safety
    /// The datum is of this kind.
    ///
    /// # Errors
    /// Those of [`Indexed::original`].
    pub unsafe fn try_coordinates<R>(
        self,
        sketch: &Sketch,
        datum: pg_sys::Datum,
        buffer: &mut Vec<f32>,
        with: impl FnOnce(usize, Sketched<'_>) -> R,
    ) -> Result<R> {
        let memory = &mut AlignedCopy::new();
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            Ok(match self {
                Self::Vector => {
                    let vector = Vector::from_raw_in(memory, datum);
                    with(vector.len(), (&*vector).into())
                }
                Self::Half => {
                    let vector = HalfVector::from_raw_in(memory, datum);
                    with(vector.len(), f16::widen_all(&vector, buffer).into())
                }
                Self::Bits => {
                    let string = BitString::from_raw_in(memory, datum);
                    let vector = string.bits().coordinates(buffer);
                    with(vector.len(), vector.into())
                }
                Self::Sparse | Self::Vectors | Self::Halves => {
                    let sketched = |value: Original<'_>| {
                        let dims = value.dims().unwrap_or(sketch.dims);
                        let size = if dims == sketch.dims { sketch.size } else { 0 };
                        buffer.try_resize(size, 0.0)?;
                        if size > 0 {
                            sketch.write(value, buffer)?;
                        }
                        Ok(with(dims, Sketched::new(value, buffer)))
                    };
                    self.original(datum, sketched)?
                }
            })
        }
    }

    /// Calls `with` with a datum that is not null, of a kind of which sketches are made.
    ///
    /// # Safety
    /// The datum is of this kind.
    ///
    /// # Errors
    /// An array whose vectors have different dimensions; those of `with`; out of memory.
    pub unsafe fn original<R>(
        self,
        datum: pg_sys::Datum,
        with: impl FnOnce(Original<'_>) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            let of = match self {
                Self::Sparse => {
                    let memory = &mut AlignedCopy::new();
                    return with(SparseVector::from_raw_in(memory, datum).view().into());
                }
                Self::Vectors => tokens::Of::Vectors,
                Self::Halves => tokens::Of::Halves,
                _ => return Err(Error::new(Kind::Internal, "no sketches are made of such values")),
            };
            with(tokens::of_datum(datum, of)?.view().into())
        }
    }

    /// Whether an index stores sketches of such values.
    pub fn is_sketched(self) -> bool {
        matches!(self, Self::Sparse | Self::Vectors | Self::Halves)
    }

    /// The operator's value for a datum that is not null and a query of this kind. `buffer` is used if memory
    /// is needed.
    ///
    /// # Safety
    /// The datum is of this kind.
    ///
    /// # Errors
    /// Different dimensions.
    pub unsafe fn distance(
        self,
        datum: pg_sys::Datum,
        buffer: &mut Vec<f32>,
        (metric, query): (Metric, Query<'_>),
    ) -> Result<f64> {
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            match query {
                Query::Vector(query) => {
                    let none = Sketch::none(query.len());
                    self.coordinates(&none, datum, buffer, |_, row| metric.distance(row.coordinates, query))
                }
                Query::Original(query) => {
                    self.original(datum, |value| value.distance(metric, query, interrupts))
                }
            }
        }
    }

    /// Takes a datum that is not null as a query, in the memory of an earlier one if there is one.
    ///
    /// # Safety
    /// The datum is of this kind.
    ///
    /// # Errors
    /// Out of memory.
    pub unsafe fn query(self, datum: pg_sys::Datum, earlier: Option<OwnedQuery>) -> Result<OwnedQuery> {
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            if self.is_sketched() {
                return Ok(OwnedQuery::Original(self.original(datum, |value| value.to_buf())?));
            }
            let mut vector = match earlier {
                Some(OwnedQuery::Vector(vector)) => vector,
                _ => Vec::new(),
            };
            vector.clear();
            let mut take = |_, of: Sketched<'_>| vector.try_extend(of.coordinates);
            self.coordinates(&Sketch::none(0), datum, &mut Vec::new(), &mut take)?;
            Ok(OwnedQuery::Vector(vector))
        }
    }

    /// The name of the SQL type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Half => "halfvec",
            Self::Bits => "bit",
            Self::Sparse => "sparsevec",
            Self::Vectors => "vector[]",
            Self::Halves => "halfvec[]",
        }
    }

    /// Numbers that a distance takes, for a value of `dims` dimensions.
    pub fn numbers(self, dims: usize) -> usize {
        // An element of a sparse vector takes as long as several of a dense one.
        const ELEMENT: usize = 8;
        match self {
            Self::Sparse => ELEMENT * dims.min(USUAL_ELEMENTS),
            Self::Vectors | Self::Halves => USUAL_TOKENS * USUAL_TOKENS * dims,
            _ => dims,
        }
    }

    /// Bytes of a value of `dims` dimensions.
    pub fn size(self, dims: usize) -> usize {
        match self {
            Self::Vector => size_of::<DenseHeader>() + 4 * dims,
            Self::Half => size_of::<DenseHeader>() + 2 * dims,
            Self::Bits => size_of::<BitHeader>() + dims.div_ceil(8),
            Self::Sparse => size_of::<SparseHeader>() + 8 * dims.min(USUAL_ELEMENTS),
            Self::Vectors => USUAL_TOKENS * Self::Vector.size(dims),
            Self::Halves => USUAL_TOKENS * Self::Half.size(dims),
        }
    }

    /// The operators' error for values of different dimensions.
    pub fn different(self, indexed: usize, query: usize) -> Error {
        let what = match self {
            Self::Vector | Self::Vectors | Self::Halves => "vector dimensions",
            Self::Half => "halfvec dimensions",
            Self::Bits => "bit lengths",
            Self::Sparse => "sparsevec dimensions",
        };
        Error::new(Kind::Data, format!("different {what} {indexed} and {query}"))
    }
}
