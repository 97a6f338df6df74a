//! The metrics: what an operator returns and what the index compares.

use super::limits::MAX_DIMS;
use super::{jaccard, vector};
use crate::error::{Error, Result};

/// A distance the index can order by. Numbers are on disk: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Metric {
    /// Euclidean distance, `<->`.
    L2 = 1,
    /// Cosine distance, `<=>`: vectors are normalised before they are coded; zero vectors are not indexed.
    Cosine = 2,
    /// Negative inner product, `<#>`.
    InnerProduct = 3,
    /// Hamming distance of bit strings, `<~>`: squared Euclidean distance of coordinates 0 and 1.
    Hamming = 4,
    /// Jaccard distance of bit strings, `<%>`.
    Jaccard = 5,
    /// Taxicab distance, `<+>`: coded like `L2`; see `ivf/deviation.rs`.
    L1 = 6,
}

impl Metric {
    /// The metric with the given on-disk number.
    pub fn from_number(n: u8) -> Result<Self> {
        match n {
            1 => Ok(Self::L2),
            2 => Ok(Self::Cosine),
            3 => Ok(Self::InnerProduct),
            4 => Ok(Self::Hamming),
            5 => Ok(Self::Jaccard),
            6 => Ok(Self::L1),
            _ => Err(Error::corrupted(0, format_args!("unknown metric {n}"))),
        }
    }

    /// Whether this is a distance of bit strings, whose codes are the strings themselves.
    pub fn is_of_bits(self) -> bool {
        matches!(self, Self::Hamming | Self::Jaccard)
    }

    /// Dimensions that an index can have. Bit strings may be as long as in pgvector's indexes; such a string
    /// fits a page.
    pub fn most_dims(self) -> usize {
        match self {
            Self::Hamming | Self::Jaccard => 64_000,
            _ => MAX_DIMS,
        }
    }

    /// The operator's value for two vectors, computed as the operator computes it.
    ///
    /// # Errors
    /// Different dimensions.
    pub fn distance(self, a: &[f32], b: &[f32]) -> Result<f64> {
        match self {
            Self::L2 => vector::l2_distance(a, b),
            Self::Cosine => vector::cosine_distance(a, b),
            Self::InnerProduct => vector::negative_inner_product(a, b),
            Self::Hamming => vector::l2_squared_distance(a, b),
            Self::Jaccard => jaccard::of_coordinates(a, b),
            Self::L1 => vector::l1_distance(a, b),
        }
    }
}
