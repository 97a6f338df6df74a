//! The functions of type `vector` (sql/vector.sql).

use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

use super::array::Array;
use super::call::sql_functions;
use super::dense;
use super::text::Text;
use crate::pg::datum::bit::BitString;
use crate::pg::datum::bytea::Bytes;
use crate::pg::datum::dense::Vector;
use crate::pg::error::OrRaise;
use crate::value::{Element, MAX_DIMS, Metric, limits, vector};

// Input and output

sql_functions! {
    fn vector_in(
        literal: &CStr,
        _element: pg_sys::Oid,
        typmod: i32,
        fcinfo: pg_sys::FunctionCallInfo,
    ) -> Option<Vector> {
        dense::input(literal, typmod, fcinfo)
    }

    fn vector_out(a: Vector) -> Text {
        dense::output(&a)
    }
}

#[pg_extern(sql = false)]
fn vector_typmod_in(modifiers: Array) -> i32 {
    limits::typmod_in(f32::TYPE, MAX_DIMS, &modifiers.integer_typmods()).or_raise()
}

#[pg_extern(sql = false)]
fn vector_recv(message: Internal, _element: pg_sys::Oid, typmod: i32) -> Vector {
    dense::receive(message, typmod)
}

sql_functions! {
    fn vector_send(a: Vector) -> Bytes {
        Bytes::filled(vector::encoded_size(&a), |bytes| vector::encode(&a, bytes))
    }
}

// Functions

sql_functions! {
    #[known(Metric::L2)]
    fn l2_distance(a: Vector, b: Vector) -> f64 {
        vector::l2_distance(&a, &b).or_raise()
    }

    fn inner_product(a: Vector, b: Vector) -> f64 {
        vector::inner_product(&a, &b).or_raise()
    }

    #[known(Metric::Cosine)]
    fn cosine_distance(a: Vector, b: Vector) -> f64 {
        vector::cosine_distance(&a, &b).or_raise()
    }

    #[known(Metric::L1)]
    fn l1_distance(a: Vector, b: Vector) -> f64 {
        vector::l1_distance(&a, &b).or_raise()
    }

    fn vector_l2_squared_distance(a: Vector, b: Vector) -> f64 {
        vector::l2_squared_distance(&a, &b).or_raise()
    }

    #[known(Metric::InnerProduct)]
    fn vector_negative_inner_product(a: Vector, b: Vector) -> f64 {
        vector::negative_inner_product(&a, &b).or_raise()
    }

    fn vector_spherical_distance(a: Vector, b: Vector) -> f64 {
        vector::spherical_distance(&a, &b).or_raise()
    }

    fn vector_dims(a: Vector) -> i32 {
        a.len() as i32
    }

    fn vector_norm(a: Vector) -> f64 {
        vector::norm(&a)
    }

    fn l2_normalize(a: Vector) -> Vector {
        dense::normalized(&a)
    }

    fn binary_quantize(a: Vector) -> BitString {
        BitString::filled(a.len(), |bytes| vector::binary_quantize(&a, bytes))
    }

    fn subvector(a: Vector, start: i32, count: i32) -> Vector {
        Vector::new(vector::subvector(&a, start, count).or_raise())
    }
}

// Arithmetic

sql_functions! {
    fn vector_add(a: Vector, b: Vector) -> Vector {
        Vector::filled(a.len(), |out| vector::add(&a, &b, out)).or_raise()
    }

    fn vector_sub(a: Vector, b: Vector) -> Vector {
        Vector::filled(a.len(), |out| vector::sub(&a, &b, out)).or_raise()
    }

    fn vector_mul(a: Vector, b: Vector) -> Vector {
        Vector::filled(a.len(), |out| vector::mul(&a, &b, out)).or_raise()
    }

    fn vector_mul_scalar(a: Vector, x: f32) -> Vector {
        Vector::filled(a.len(), |out| vector::mul_scalar(&a, x, out)).or_raise()
    }

    fn scalar_mul_vector(x: f32, a: Vector) -> Vector {
        Vector::filled(a.len(), |out| vector::mul_scalar(&a, x, out)).or_raise()
    }

    fn vector_div_scalar(a: Vector, x: f32) -> Vector {
        Vector::filled(a.len(), |out| vector::div_scalar(&a, x, out)).or_raise()
    }

    fn vector_concat(a: Vector, b: Vector) -> Vector {
        dense::concat(&a, &b)
    }
}

// Order

sql_functions! {
    fn vector_lt(a: Vector, b: Vector) -> bool {
        vector::compare(&a, &b).is_lt()
    }

    fn vector_le(a: Vector, b: Vector) -> bool {
        vector::compare(&a, &b).is_le()
    }

    fn vector_eq(a: Vector, b: Vector) -> bool {
        vector::compare(&a, &b).is_eq()
    }

    fn vector_ne(a: Vector, b: Vector) -> bool {
        vector::compare(&a, &b).is_ne()
    }

    fn vector_ge(a: Vector, b: Vector) -> bool {
        vector::compare(&a, &b).is_ge()
    }

    fn vector_gt(a: Vector, b: Vector) -> bool {
        vector::compare(&a, &b).is_gt()
    }

    fn vector_cmp(a: Vector, b: Vector) -> i32 {
        vector::compare(&a, &b) as i32
    }
}

// Aggregates

sql_functions! {
    fn vector_accum(state: Array, a: Vector, fcinfo: pg_sys::FunctionCallInfo) -> Array {
        dense::accumulate(state, &a, "vector_accum", fcinfo)
    }
}

#[pg_extern(sql = false)]
fn vector_combine(mut a: Array, mut b: Array) -> Array {
    let (a, b) = (a.state("vector_combine").or_raise(), b.state("vector_combine").or_raise());
    Array::new(&vector::combine(a, b).or_raise())
}

#[pg_extern(sql = false)]
fn vector_avg(state: Array) -> Option<Vector> {
    dense::average(state, "vector_avg")
}
