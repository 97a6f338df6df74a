//! What the functions of `vector` and `halfvec` have in common.

use std::ffi::CStr;

use pgrx::{Internal, pg_sys};

use super::array::Array;
use super::text::Text;
use crate::error::{Error, Kind, Result};
use crate::pg::datum::dense::Dense;
use crate::pg::datum::sparse::SparseVector;
use crate::pg::datum::value::Value;
use crate::pg::error::{OrRaise, raise, soft};
use crate::value::limits::check_typmod;
use crate::value::{Element, limits, sparse, text, vector};

/// The result of a parser; `None` after an error if the caller asked for soft errors.
pub fn parsed<T>(result: Result<T>, fcinfo: pg_sys::FunctionCallInfo) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            soft(fcinfo, error);
            None
        }
    }
}

pub fn input<E: Element>(
    literal: &CStr,
    typmod: i32,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Option<Value<Dense<E>>> {
    parsed(text::parse(literal.to_bytes(), typmod), fcinfo).map(|elements| Value::<Dense<E>>::new(&elements))
}

pub fn output<E: Element>(a: &[E]) -> Text {
    Text::new(text::printed_space(a.len()), |bytes| text::print_into(a, bytes))
}

/// The message of a receive function.
pub struct Message(*mut pg_sys::StringInfoData);

impl Message {
    pub fn new(message: Internal) -> Self {
        match message.unwrap() {
            Some(message) => Self(message.cast_mut_ptr()),
            None => raise(Error::new(Kind::NullNotAllowed, "a binary message must not be null")),
        }
    }

    /// The next integer, with this number of bytes.
    pub fn integer(&self, bytes: i32) -> u32 {
        // SAFETY: a receive function's first argument is a StringInfo (`receive` in CREATE TYPE).
        unsafe { pg_sys::pq_getmsgint(self.0, bytes) }
    }

    /// The next bytes.
    pub fn bytes(&self, count: usize) -> &[u8] {
        // SAFETY: as above; pq_getmsgbytes returns that many bytes of the message or raises.
        unsafe {
            let first = pg_sys::pq_getmsgbytes(self.0, count as i32);
            std::slice::from_raw_parts(first.cast::<u8>(), count)
        }
    }
}

pub fn receive<E: Element>(message: Internal, typmod: i32) -> Value<Dense<E>> {
    let message = Message::new(message);
    let (dims, unused) = (message.integer(2) as i16, message.integer(2) as i16);
    let dims = vector::check_binary_header::<E>(dims, unused, typmod).or_raise();
    Value::<Dense<E>>::new(&vector::decode_elements::<E>(message.bytes(size_of::<E>() * dims)).or_raise())
}

pub fn accumulate<E: Element>(
    mut state: Array,
    a: &[E],
    caller: &str,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Array {
    let plain = state.starts_at_one();
    let sums = state.state(caller).or_raise();
    if sums.len() == 1 {
        return Array::new(&vector::first_row(sums, a));
    }
    // SAFETY: fcinfo is this call's; the aggregate's context is not asked for.
    if plain && unsafe { pg_sys::AggCheckCallContext(fcinfo, std::ptr::null_mut()) } != 0 {
        // The state belongs to the aggregate: it may be changed in place, as float8_accum does.
        vector::accumulate(sums, a).or_raise();
        return state;
    }
    Array::new(&vector::accumulated(sums, a).or_raise())
}

/// The vector with norm 1.
#[inline(always)]
pub fn normalized<E: Element>(a: &[E]) -> Value<Dense<E>> {
    let normalize = |out: &mut [E]| {
        vector::l2_normalize(a, out);
        Ok(())
    };
    Value::<Dense<E>>::filled(a.len(), normalize).or_raise()
}

pub fn average<E: Element>(mut state: Array, caller: &str) -> Option<Value<Dense<E>>> {
    let average = vector::average::<E>(state.state(caller).or_raise()).or_raise();
    average.map(|elements| Value::<Dense<E>>::new(&elements))
}

pub fn concat<E: Element>(a: &[E], b: &[E]) -> Value<Dense<E>> {
    vector::check_concat(a, b).or_raise();
    Value::<Dense<E>>::joined(a, b)
}

pub fn from_array<E: Element>(mut array: Array, typmod: i32) -> Value<Dense<E>> {
    let dims = array.check_numbers(limits::check_dims::<E>, typmod).or_raise();
    Value::<Dense<E>>::filled(dims, |out| array.put_numbers(out)).or_raise()
}

/// The numbers as elements of another type.
pub fn converted<E: Element>(numbers: &[f32], typmod: i32) -> Value<Dense<E>> {
    check_typmod(typmod, numbers.len()).or_raise();
    Value::<Dense<E>>::filled(numbers.len(), |out| vector::put_slice(numbers, out)).or_raise()
}

/// All elements of a sparse vector.
pub fn from_sparse<E: Element>(a: &SparseVector, typmod: i32) -> Value<Dense<E>> {
    let dims = sparse::dense_dims::<E>(a.view(), typmod).or_raise();
    Value::<Dense<E>>::filled(dims, |out| sparse::to_dense(a.view(), out)).or_raise()
}

/// The nonzero elements of a vector, whose dimensions are checked against `typmod`.
pub fn to_sparse<E: Element>(a: &[E], typmod: i32) -> SparseVector {
    check_typmod(typmod, a.len()).or_raise();
    sparse_of(a, sparse::count(a))
}

/// The nonzero numbers, of which there are `count`.
pub fn sparse_of<E: Element>(numbers: &[E], count: usize) -> SparseVector {
    let fill = |indices: &mut [i32], values: &mut [f32]| sparse::gather(numbers, indices, values);
    SparseVector::filled(numbers.len(), count, fill)
}
