//! Values that an index does not store as they are: it stores a sketch of them (`ivf/sketch.rs`).

use super::maxsim::maxsim;
use super::metric::Metric;
use super::sparse::{self, Sparse, SparseBuf};
use super::tokens::{Tokens, TokensBuf};
use crate::error::{Error, Kind, Result};
use crate::kernel;

/// The value of which a sketch is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Original<'a> {
    /// A sparse vector.
    Sparse(Sparse<'a>),
    /// An array of vectors, compared by late interaction.
    Tokens(Tokens<'a>),
}

/// Such a value with memory of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum OriginalBuf {
    /// A sparse vector.
    Sparse(SparseBuf),
    /// An array of vectors.
    Tokens(TokensBuf),
}

impl OriginalBuf {
    /// The value without its memory.
    pub fn view(&self) -> Original<'_> {
        match self {
            Self::Sparse(vector) => Original::Sparse(vector.view()),
            Self::Tokens(tokens) => Original::Tokens(tokens.view()),
        }
    }
}

impl<'a> From<Sparse<'a>> for Original<'a> {
    fn from(vector: Sparse<'a>) -> Self {
        Self::Sparse(vector)
    }
}

impl<'a> From<Tokens<'a>> for Original<'a> {
    fn from(tokens: Tokens<'a>) -> Self {
        Self::Tokens(tokens)
    }
}

impl Original<'_> {
    /// Dimensions of the sparse vector, or of each vector of the set. `None` for an empty set, which is a
    /// value of any dimensions.
    pub fn dims(self) -> Option<usize> {
        match self {
            Self::Sparse(vector) => Some(vector.dims),
            Self::Tokens(tokens) => Some(tokens.dims()).filter(|dims| *dims > 0),
        }
    }

    /// Numbers that it has.
    pub fn numbers(self) -> usize {
        match self {
            Self::Sparse(vector) => vector.values.len(),
            Self::Tokens(tokens) => tokens.dims() * tokens.vectors().len(),
        }
    }

    /// A set's first vectors, which have at most `numbers` numbers, but at least one vector; a sparse vector
    /// as it is.
    #[must_use]
    pub fn cut(self, numbers: usize) -> Self {
        match self {
            Self::Sparse(_) => self,
            Self::Tokens(tokens) => Self::Tokens(tokens.first(numbers / tokens.dims().max(1))),
        }
    }

    /// Whether an index contains it: a sparse vector without elements has no cosine.
    pub fn is_indexed(self, metric: Metric) -> bool {
        match self {
            Self::Sparse(vector) => metric != Metric::Cosine || kernel::norm_squared(vector.values) > 0.0,
            Self::Tokens(_) => true,
        }
    }

    /// The operator's value for this row and a query. `tick` is called now and then in long work.
    ///
    /// # Errors
    /// Different dimensions; out of memory.
    pub fn distance(self, metric: Metric, query: Original<'_>, tick: impl Fn()) -> Result<f64> {
        match (self, query) {
            (Self::Tokens(row), Original::Tokens(query)) => Ok(0.0 - maxsim(row, query, tick)?),
            (Self::Sparse(row), Original::Sparse(query)) => match metric {
                Metric::L2 => sparse::l2_distance(row, query),
                Metric::Cosine => sparse::cosine_distance(row, query),
                Metric::InnerProduct => sparse::negative_inner_product(row, query),
                Metric::L1 => sparse::l1_distance(row, query),
                Metric::Hamming | Metric::Jaccard => {
                    Err(Error::new(Kind::Internal, "a metric of bit strings"))
                }
            },
            _ => Err(Error::new(Kind::Internal, "values of different types")),
        }
    }

    /// The value with memory of its own.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_buf(self) -> Result<OriginalBuf> {
        Ok(match self {
            Self::Sparse(vector) => OriginalBuf::Sparse(vector.to_buf()?),
            Self::Tokens(tokens) => OriginalBuf::Tokens(tokens.to_buf()?),
        })
    }
}
