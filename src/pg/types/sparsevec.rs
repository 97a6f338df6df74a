//! The functions of type `sparsevec` (sql/sparsevec.sql).

use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

use super::array::Array;
use super::call::sql_functions;
use super::dense::{Message, parsed};
use super::text::Text;
use crate::pg::datum::bytea::Bytes;
use crate::pg::datum::sparse::SparseVector;
use crate::pg::error::OrRaise;
use crate::value::sparse::{self, SparseBuf};
use crate::value::{limits, sparse_text};

// Input and output

sql_functions! {
    fn sparsevec_in(
        literal: &CStr,
        _element: pg_sys::Oid,
        typmod: i32,
        fcinfo: pg_sys::FunctionCallInfo,
    ) -> Option<SparseVector> {
        let vector = parsed(sparse_text::parse(literal.to_bytes(), typmod), fcinfo)?;
        Some(SparseVector::new(&vector))
    }

    fn sparsevec_out(a: SparseVector) -> Text {
        let a = a.view();
        Text::new(sparse_text::printed_space(a.values.len()), |bytes| sparse_text::print_into(a, bytes))
    }
}

#[pg_extern(sql = false)]
fn sparsevec_typmod_in(modifiers: Array) -> i32 {
    limits::typmod_in(sparse::TYPE, sparse::MAX_DIMS, &modifiers.integer_typmods()).or_raise()
}

#[pg_extern(sql = false)]
fn sparsevec_recv(message: Internal, _element: pg_sys::Oid, typmod: i32) -> SparseVector {
    let message = Message::new(message);
    let [dims, count, unused] = [(); 3].map(|()| message.integer(4) as i32);
    let (dims, count) = sparse::check_binary_header(dims, count, unused, typmod).or_raise();
    let indices = sparse::decode_indices(message.bytes(4 * count), dims).or_raise();
    let values = sparse::decode_values(message.bytes(4 * count)).or_raise();
    SparseVector::new(&SparseBuf { dims, indices, values })
}

sql_functions! {
    fn sparsevec_send(a: SparseVector) -> Bytes {
        let a = a.view();
        Bytes::filled(sparse::encoded_size(a), |bytes| sparse::encode(a, bytes))
    }
}

// Functions

sql_functions! {
    fn sparsevec_l2_distance(a: SparseVector, b: SparseVector) -> f64 {
        sparse::l2_distance(a.view(), b.view()).or_raise()
    }

    fn sparsevec_inner_product(a: SparseVector, b: SparseVector) -> f64 {
        sparse::inner_product(a.view(), b.view()).or_raise()
    }

    fn sparsevec_cosine_distance(a: SparseVector, b: SparseVector) -> f64 {
        sparse::cosine_distance(a.view(), b.view()).or_raise()
    }

    fn sparsevec_l1_distance(a: SparseVector, b: SparseVector) -> f64 {
        sparse::l1_distance(a.view(), b.view()).or_raise()
    }

    fn sparsevec_l2_squared_distance(a: SparseVector, b: SparseVector) -> f64 {
        sparse::l2_squared_distance(a.view(), b.view()).or_raise()
    }

    fn sparsevec_negative_inner_product(a: SparseVector, b: SparseVector) -> f64 {
        sparse::negative_inner_product(a.view(), b.view()).or_raise()
    }

    fn sparsevec_l2_norm(a: SparseVector) -> f64 {
        sparse::norm(a.view())
    }

    fn sparsevec_l2_normalize(a: SparseVector) -> SparseVector {
        let a = a.view();
        let mut kept = 0;
        let result = SparseVector::filled(a.dims, a.values.len(), |indices, values| {
            indices.copy_from_slice(a.indices);
            kept = sparse::l2_normalize(a, values);
        });
        if kept == a.values.len() {
            return result;
        }
        SparseVector::filled(a.dims, kept, |indices, values| {
            sparse::without_zeros(result.view(), indices, values);
        })
    }
}

// Order

sql_functions! {
    fn sparsevec_lt(a: SparseVector, b: SparseVector) -> bool {
        sparse::compare(a.view(), b.view()).is_lt()
    }

    fn sparsevec_le(a: SparseVector, b: SparseVector) -> bool {
        sparse::compare(a.view(), b.view()).is_le()
    }

    fn sparsevec_eq(a: SparseVector, b: SparseVector) -> bool {
        sparse::compare(a.view(), b.view()).is_eq()
    }

    fn sparsevec_ne(a: SparseVector, b: SparseVector) -> bool {
        sparse::compare(a.view(), b.view()).is_ne()
    }

    fn sparsevec_ge(a: SparseVector, b: SparseVector) -> bool {
        sparse::compare(a.view(), b.view()).is_ge()
    }

    fn sparsevec_gt(a: SparseVector, b: SparseVector) -> bool {
        sparse::compare(a.view(), b.view()).is_gt()
    }

    fn sparsevec_cmp(a: SparseVector, b: SparseVector) -> i32 {
        sparse::compare(a.view(), b.view()) as i32
    }
}
