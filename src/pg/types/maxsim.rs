//! Late interaction of arrays of vectors (sql/maxsim.sql).

use half::f16;

use super::array::Array;
use super::call::sql_functions;
use crate::error::Result;
use crate::memory;
use crate::pg::datum::dense::{HalfVector, Vector};
use crate::pg::error::OrRaise;
use crate::value::Element;
use crate::value::maxsim as value;

sql_functions! {
    fn maxsim(row: Array, query: Array) -> f64 {
        of_vectors(&row, &query).or_raise()
    }

    fn vector_negative_maxsim(row: Array, query: Array) -> f64 {
        0.0 - of_vectors(&row, &query).or_raise()
    }

    fn halfvec_maxsim(row: Array, query: Array) -> f64 {
        of_halves(&row, &query).or_raise()
    }

    fn halfvec_negative_maxsim(row: Array, query: Array) -> f64 {
        0.0 - of_halves(&row, &query).or_raise()
    }
}

fn of_vectors(row: &Array, query: &Array) -> Result<f64> {
    let (row, query): (Vec<Vector>, Vec<Vector>) = (row.values()?, query.values()?);
    let row = memory::collected(row.iter().map(|vector| &**vector))?;
    let query = memory::collected(query.iter().map(|vector| &**vector))?;
    value::maxsim(&row, &query, interrupts)
}

fn of_halves(row: &Array, query: &Array) -> Result<f64> {
    let (row, query) = (Widened::new(row)?, Widened::new(query)?);
    value::maxsim(&row.slices()?, &query.slices()?, interrupts)
}

fn interrupts() {
    pgrx::check_for_interrupts!();
}

/// The vectors of an array of `halfvec` as floats, one after the other.
struct Widened {
    vectors: Vec<HalfVector>,
    numbers: Vec<f32>,
}

impl Widened {
    fn new(array: &Array) -> Result<Self> {
        let vectors: Vec<HalfVector> = array.values()?;
        let mut numbers = memory::filled(0.0, vectors.iter().map(|vector| vector.len()).sum())?;
        let mut rest = &mut numbers[..];
        for vector in &vectors {
            let (some, others) = rest.split_at_mut(vector.len());
            f16::widen_to(vector, some);
            rest = others;
        }
        Ok(Self { vectors, numbers })
    }

    fn slices(&self) -> Result<Vec<&[f32]>> {
        let mut rest = &self.numbers[..];
        memory::collected(self.vectors.iter().map(|vector| {
            let (some, others) = rest.split_at(vector.len());
            rest = others;
            some
        }))
    }
}
