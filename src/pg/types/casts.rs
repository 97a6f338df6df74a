//! Casts between the types and arrays (sql/casts.sql).

use half::f16;

use super::array::Array;
use super::call::sql_functions;
use super::dense;
use crate::pg::datum::dense::{HalfVector, Vector};
use crate::pg::datum::sparse::SparseVector;
use crate::pg::error::OrRaise;
use crate::value::limits::check_typmod;
use crate::value::{Element, sparse};

// To the dimensions declared

sql_functions! {
    fn vector_coerce(a: Vector, typmod: i32, _explicit: bool) -> Vector {
        check_typmod(typmod, a.len()).or_raise();
        a
    }

    fn halfvec_coerce(a: HalfVector, typmod: i32, _explicit: bool) -> HalfVector {
        check_typmod(typmod, a.len()).or_raise();
        a
    }

    fn sparsevec_coerce(a: SparseVector, typmod: i32, _explicit: bool) -> SparseVector {
        check_typmod(typmod, a.view().dims).or_raise();
        a
    }
}

// From and to arrays

sql_functions! {
    fn array_to_vector(array: Array, typmod: i32, _explicit: bool) -> Vector {
        dense::from_array(array, typmod)
    }

    fn array_to_halfvec(array: Array, typmod: i32, _explicit: bool) -> HalfVector {
        dense::from_array(array, typmod)
    }

    fn array_to_sparsevec(array: Array, typmod: i32, _explicit: bool) -> SparseVector {
        let mut array = array;
        array.check_numbers(sparse::check_dims, typmod).or_raise();
        let numbers = array.numbers().or_raise();
        dense::sparse_of(&numbers, sparse::check_numbers(&numbers).or_raise())
    }

    fn vector_to_float4(a: Vector, _typmod: i32, _explicit: bool) -> Array {
        Array::new(&a)
    }

    fn halfvec_to_float4(a: HalfVector, _typmod: i32, _explicit: bool) -> Array {
        Array::filled(a.len(), |numbers: &mut [f32]| f16::widen_to(&a, numbers))
    }
}

// Between the types

sql_functions! {
    fn vector_to_halfvec(a: Vector, typmod: i32, _explicit: bool) -> HalfVector {
        dense::converted(&a, typmod)
    }

    fn halfvec_to_vector(a: HalfVector, typmod: i32, _explicit: bool) -> Vector {
        check_typmod(typmod, a.len()).or_raise();
        let widen = |out: &mut [f32]| {
            f16::widen_to(&a, out);
            Ok(())
        };
        Vector::filled(a.len(), widen).or_raise()
    }

    fn vector_to_sparsevec(a: Vector, typmod: i32, _explicit: bool) -> SparseVector {
        dense::to_sparse(&a, typmod)
    }

    fn halfvec_to_sparsevec(a: HalfVector, typmod: i32, _explicit: bool) -> SparseVector {
        dense::to_sparse(&a, typmod)
    }

    fn sparsevec_to_vector(a: SparseVector, typmod: i32, _explicit: bool) -> Vector {
        dense::from_sparse(&a, typmod)
    }

    fn sparsevec_to_halfvec(a: SparseVector, typmod: i32, _explicit: bool) -> HalfVector {
        dense::from_sparse(&a, typmod)
    }
}
