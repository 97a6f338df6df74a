//! The functions of type `halfvec` (sql/halfvec.sql).

use std::ffi::CStr;

use half::f16;
use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

use super::array::Array;
use super::call::sql_functions;
use super::dense;
use super::text::Text;
use crate::pg::datum::bit::BitString;
use crate::pg::datum::bytea::Bytes;
use crate::pg::datum::dense::HalfVector;
use crate::pg::error::OrRaise;
use crate::value::{Element, MAX_DIMS, limits, vector};

// Input and output

sql_functions! {
    fn halfvec_in(
        literal: &CStr,
        _element: pg_sys::Oid,
        typmod: i32,
        fcinfo: pg_sys::FunctionCallInfo,
    ) -> Option<HalfVector> {
        dense::input(literal, typmod, fcinfo)
    }

    fn halfvec_out(a: HalfVector) -> Text {
        dense::output(&a)
    }
}

#[pg_extern(sql = false)]
fn halfvec_typmod_in(modifiers: Array) -> i32 {
    limits::typmod_in(f16::TYPE, MAX_DIMS, &modifiers.integer_typmods()).or_raise()
}

#[pg_extern(sql = false)]
fn halfvec_recv(message: Internal, _element: pg_sys::Oid, typmod: i32) -> HalfVector {
    dense::receive(message, typmod)
}

sql_functions! {
    fn halfvec_send(a: HalfVector) -> Bytes {
        Bytes::filled(vector::encoded_size(&a), |bytes| vector::encode(&a, bytes))
    }
}

// Functions

sql_functions! {
    fn halfvec_l2_distance(a: HalfVector, b: HalfVector) -> f64 {
        vector::l2_distance(&a, &b).or_raise()
    }

    fn halfvec_inner_product(a: HalfVector, b: HalfVector) -> f64 {
        vector::inner_product(&a, &b).or_raise()
    }

    fn halfvec_cosine_distance(a: HalfVector, b: HalfVector) -> f64 {
        vector::cosine_distance(&a, &b).or_raise()
    }

    fn halfvec_l1_distance(a: HalfVector, b: HalfVector) -> f64 {
        vector::l1_distance(&a, &b).or_raise()
    }

    fn halfvec_l2_squared_distance(a: HalfVector, b: HalfVector) -> f64 {
        vector::l2_squared_distance(&a, &b).or_raise()
    }

    fn halfvec_negative_inner_product(a: HalfVector, b: HalfVector) -> f64 {
        vector::negative_inner_product(&a, &b).or_raise()
    }

    fn halfvec_spherical_distance(a: HalfVector, b: HalfVector) -> f64 {
        vector::spherical_distance(&a, &b).or_raise()
    }

    fn halfvec_dims(a: HalfVector) -> i32 {
        a.len() as i32
    }

    fn halfvec_l2_norm(a: HalfVector) -> f64 {
        vector::norm(&a)
    }

    fn halfvec_l2_normalize(a: HalfVector) -> HalfVector {
        dense::normalized(&a)
    }

    fn halfvec_binary_quantize(a: HalfVector) -> BitString {
        BitString::filled(a.len(), |bytes| vector::binary_quantize(&a, bytes))
    }

    fn halfvec_subvector(a: HalfVector, start: i32, count: i32) -> HalfVector {
        HalfVector::new(vector::subvector(&a, start, count).or_raise())
    }
}

// Arithmetic

sql_functions! {
    fn halfvec_add(a: HalfVector, b: HalfVector) -> HalfVector {
        HalfVector::filled(a.len(), |out| vector::add(&a, &b, out)).or_raise()
    }

    fn halfvec_sub(a: HalfVector, b: HalfVector) -> HalfVector {
        HalfVector::filled(a.len(), |out| vector::sub(&a, &b, out)).or_raise()
    }

    fn halfvec_mul(a: HalfVector, b: HalfVector) -> HalfVector {
        HalfVector::filled(a.len(), |out| vector::mul(&a, &b, out)).or_raise()
    }

    fn halfvec_mul_scalar(a: HalfVector, x: f32) -> HalfVector {
        HalfVector::filled(a.len(), |out| vector::mul_scalar(&a, x, out)).or_raise()
    }

    fn scalar_mul_halfvec(x: f32, a: HalfVector) -> HalfVector {
        HalfVector::filled(a.len(), |out| vector::mul_scalar(&a, x, out)).or_raise()
    }

    fn halfvec_div_scalar(a: HalfVector, x: f32) -> HalfVector {
        HalfVector::filled(a.len(), |out| vector::div_scalar(&a, x, out)).or_raise()
    }

    fn halfvec_concat(a: HalfVector, b: HalfVector) -> HalfVector {
        dense::concat(&a, &b)
    }
}

// Order

sql_functions! {
    fn halfvec_lt(a: HalfVector, b: HalfVector) -> bool {
        vector::compare(&a, &b).is_lt()
    }

    fn halfvec_le(a: HalfVector, b: HalfVector) -> bool {
        vector::compare(&a, &b).is_le()
    }

    fn halfvec_eq(a: HalfVector, b: HalfVector) -> bool {
        vector::compare(&a, &b).is_eq()
    }

    fn halfvec_ne(a: HalfVector, b: HalfVector) -> bool {
        vector::compare(&a, &b).is_ne()
    }

    fn halfvec_ge(a: HalfVector, b: HalfVector) -> bool {
        vector::compare(&a, &b).is_ge()
    }

    fn halfvec_gt(a: HalfVector, b: HalfVector) -> bool {
        vector::compare(&a, &b).is_gt()
    }

    fn halfvec_cmp(a: HalfVector, b: HalfVector) -> i32 {
        vector::compare(&a, &b) as i32
    }
}

// Aggregates

sql_functions! {
    fn halfvec_accum(state: Array, a: HalfVector, fcinfo: pg_sys::FunctionCallInfo) -> Array {
        dense::accumulate(state, &a, "halfvec_accum", fcinfo)
    }
}

#[pg_extern(sql = false)]
fn halfvec_avg(state: Array) -> Option<HalfVector> {
    dense::average(state, "halfvec_avg")
}
