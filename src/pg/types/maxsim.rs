//! Late interaction of arrays of vectors (sql/maxsim.sql).

use super::array::Array;
use super::call::sql_functions;
use crate::error::Result;
use crate::pg::datum::tokens::{Of, of_array};
use crate::pg::error::{OrRaise, interrupts};
use crate::value::maxsim as value;

sql_functions! {
    fn maxsim(row: Array, query: Array) -> f64 {
        of(Of::Vectors, &row, &query).or_raise()
    }

    fn vector_negative_maxsim(row: Array, query: Array) -> f64 {
        0.0 - of(Of::Vectors, &row, &query).or_raise()
    }

    fn halfvec_maxsim(row: Array, query: Array) -> f64 {
        of(Of::Halves, &row, &query).or_raise()
    }

    fn halfvec_negative_maxsim(row: Array, query: Array) -> f64 {
        0.0 - of(Of::Halves, &row, &query).or_raise()
    }
}

fn of(elements: Of, row: &Array, query: &Array) -> Result<f64> {
    let (row, query) = (of_array(row, elements)?, of_array(query, elements)?);
    value::maxsim(row.view(), query.view(), interrupts)
}
