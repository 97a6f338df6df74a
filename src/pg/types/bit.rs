//! The functions over core's type `bit` (sql/bit.sql).

use super::call::sql_functions;
use crate::pg::datum::bit::BitString;
use crate::pg::error::OrRaise;
use crate::value::bits;

sql_functions! {
    fn hamming_distance(a: BitString, b: BitString) -> f64 {
        bits::hamming_distance(a.bits(), b.bits()).or_raise()
    }

    fn jaccard_distance(a: BitString, b: BitString) -> f64 {
        bits::jaccard_distance(a.bits(), b.bits()).or_raise()
    }
}
