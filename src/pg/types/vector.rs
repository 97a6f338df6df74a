//! The functions of type `vector` (sql/vector.sql, sql/casts.sql).

use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

use super::array::Array;
use super::bits::Bits;
use super::text::Text;
use crate::error::{Error, Kind};
use crate::pg::error::{OrRaise, raise, soft};
use crate::pg::varlena::Vector;
use crate::value::{text, vector};

// Input and output

#[pg_extern(sql = false)]
fn vector_in(
    literal: &CStr,
    _element: pg_sys::Oid,
    typmod: i32,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Option<Vector> {
    match text::parse(literal.to_bytes(), typmod) {
        Ok(elements) => Some(Vector::new(&elements)),
        Err(error) => {
            soft(fcinfo, error);
            None
        }
    }
}

#[pg_extern(sql = false)]
fn vector_out(a: Vector) -> Text {
    Text::new(text::printed_space(a.len()), |bytes| text::print_into(&a, bytes))
}

#[pg_extern(sql = false)]
fn vector_typmod_in(modifiers: Array) -> i32 {
    vector::typmod_in(&modifiers.integer_typmods()).or_raise()
}

#[pg_extern(sql = false)]
fn vector_recv(message: Internal, _element: pg_sys::Oid, typmod: i32) -> Vector {
    let Some(message) = message.unwrap() else {
        raise(Error::new(Kind::NullNotAllowed, "a binary message must not be null"))
    };
    let message = message.cast_mut_ptr::<pg_sys::StringInfoData>();
    // SAFETY: a receive function's first argument is a StringInfo (`receive` in CREATE TYPE).
    let (dims, unused) = unsafe { (pg_sys::pq_getmsgint(message, 2), pg_sys::pq_getmsgint(message, 2)) };
    let dims = vector::check_binary_header(dims as i16, unused as i16, typmod).or_raise();
    // SAFETY: pq_getmsgbytes returns that many bytes of the message or raises.
    let bytes = unsafe {
        let first = pg_sys::pq_getmsgbytes(message, 4 * dims as i32);
        std::slice::from_raw_parts(first.cast::<u8>(), 4 * dims)
    };
    Vector::new(&vector::decode_elements(bytes).or_raise())
}

#[pg_extern(sql = false)]
fn vector_send(a: Vector) -> Vec<u8> {
    vector::encode(&a)
}

// Functions

#[pg_extern(sql = false)]
fn l2_distance(a: Vector, b: Vector) -> f64 {
    vector::l2_distance(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn inner_product(a: Vector, b: Vector) -> f64 {
    vector::inner_product(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn cosine_distance(a: Vector, b: Vector) -> f64 {
    vector::cosine_distance(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn l1_distance(a: Vector, b: Vector) -> f64 {
    vector::l1_distance(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn vector_l2_squared_distance(a: Vector, b: Vector) -> f64 {
    vector::l2_squared_distance(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn vector_negative_inner_product(a: Vector, b: Vector) -> f64 {
    vector::negative_inner_product(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn vector_spherical_distance(a: Vector, b: Vector) -> f64 {
    vector::spherical_distance(&a, &b).or_raise()
}

#[pg_extern(sql = false)]
fn vector_dims(a: Vector) -> i32 {
    a.len() as i32
}

#[pg_extern(sql = false)]
fn vector_norm(a: Vector) -> f64 {
    vector::norm(&a)
}

#[pg_extern(sql = false)]
fn l2_normalize(a: Vector) -> Vector {
    Vector::new(&vector::l2_normalize(&a).or_raise())
}

#[pg_extern(sql = false)]
fn binary_quantize(a: Vector) -> Bits {
    Bits::new(&vector::binary_quantize(&a), a.len())
}

#[pg_extern(sql = false)]
fn subvector(a: Vector, start: i32, count: i32) -> Vector {
    Vector::new(vector::subvector(&a, start, count).or_raise())
}

// Arithmetic

#[pg_extern(sql = false)]
fn vector_add(a: Vector, b: Vector) -> Vector {
    Vector::new(&vector::add(&a, &b).or_raise())
}

#[pg_extern(sql = false)]
fn vector_sub(a: Vector, b: Vector) -> Vector {
    Vector::new(&vector::sub(&a, &b).or_raise())
}

#[pg_extern(sql = false)]
fn vector_mul(a: Vector, b: Vector) -> Vector {
    Vector::new(&vector::mul(&a, &b).or_raise())
}

#[pg_extern(sql = false)]
fn vector_concat(a: Vector, b: Vector) -> Vector {
    Vector::new(&vector::concat(&a, &b).or_raise())
}

// Order

#[pg_extern(sql = false)]
fn vector_lt(a: Vector, b: Vector) -> bool {
    vector::compare(&a, &b).is_lt()
}

#[pg_extern(sql = false)]
fn vector_le(a: Vector, b: Vector) -> bool {
    vector::compare(&a, &b).is_le()
}

#[pg_extern(sql = false)]
fn vector_eq(a: Vector, b: Vector) -> bool {
    vector::compare(&a, &b).is_eq()
}

#[pg_extern(sql = false)]
fn vector_ne(a: Vector, b: Vector) -> bool {
    vector::compare(&a, &b).is_ne()
}

#[pg_extern(sql = false)]
fn vector_ge(a: Vector, b: Vector) -> bool {
    vector::compare(&a, &b).is_ge()
}

#[pg_extern(sql = false)]
fn vector_gt(a: Vector, b: Vector) -> bool {
    vector::compare(&a, &b).is_gt()
}

#[pg_extern(sql = false)]
fn vector_cmp(a: Vector, b: Vector) -> i32 {
    vector::compare(&a, &b) as i32
}

// Aggregates

#[pg_extern(sql = false)]
fn vector_accum(mut state: Array, a: Vector, fcinfo: pg_sys::FunctionCallInfo) -> Array {
    let sums = state.state("vector_accum").or_raise();
    if sums.len() == 1 {
        return Array::new(&vector::first_row(sums, &a));
    }
    // SAFETY: fcinfo is this call's; the aggregate's context is not asked for.
    if unsafe { pg_sys::AggCheckCallContext(fcinfo, std::ptr::null_mut()) } != 0 {
        // The state belongs to the aggregate: it may be changed in place, as float8_accum does.
        vector::accumulate(sums, &a).or_raise();
        return state;
    }
    let mut sums = sums.to_vec();
    vector::accumulate(&mut sums, &a).or_raise();
    Array::new(&sums)
}

#[pg_extern(sql = false)]
fn vector_combine(mut a: Array, mut b: Array) -> Array {
    let (a, b) = (a.state("vector_combine").or_raise(), b.state("vector_combine").or_raise());
    Array::new(&vector::combine(a, b).or_raise())
}

#[pg_extern(sql = false)]
fn vector_avg(mut state: Array) -> Option<Vector> {
    let average = vector::average(state.state("vector_avg").or_raise()).or_raise();
    average.map(|elements| Vector::new(&elements))
}

// Casts

#[pg_extern(sql = false)]
fn vector_coerce(a: Vector, typmod: i32, _explicit: bool) -> Vector {
    vector::check_typmod(typmod, a.len()).or_raise();
    a
}

#[pg_extern(sql = false)]
fn array_to_vector(mut array: Array, typmod: i32, _explicit: bool) -> Vector {
    array.check_flat().or_raise();
    vector::check_dims(array.len()).or_raise();
    vector::check_typmod(typmod, array.len()).or_raise();
    let elements = match array.element_type() {
        pg_sys::INT4OID => array.elements::<i32>().iter().map(|x| *x as f32).collect(),
        pg_sys::FLOAT4OID => array.elements::<f32>().to_vec(),
        pg_sys::FLOAT8OID => array.elements::<f64>().iter().map(|x| *x as f32).collect(),
        pg_sys::NUMERICOID => array.numerics(),
        _ => raise(Error::new(Kind::Data, "unsupported array type")),
    };
    Vector::new(&vector::from_elements(elements.into_iter(), typmod).or_raise())
}

#[pg_extern(sql = false)]
fn vector_to_float4(a: Vector, _typmod: i32, _explicit: bool) -> Array {
    Array::new(&a)
}
