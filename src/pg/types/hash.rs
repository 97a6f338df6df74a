//! Hashes of values (`access/hash/README`): equal values have equal hashes. Hash indexes store them, and they
//! decide the hash partitions of rows, so never change them.

use std::ffi::c_int;

use super::call::sql_functions;
use crate::pg::datum::dense::{Dense, HalfVector, Vector};
use crate::pg::datum::sparse::SparseVector;
use crate::pg::datum::value::Value;
use crate::value::Element;

/// Calls `with` with bytes that are equal for equal vectors: -0 equals 0.
fn canonical<E: Element, R>(a: &Value<Dense<E>>, with: impl FnOnce(&[u8]) -> R) -> R {
    if a.iter().all(|x| x.widen() != 0.0) {
        return with(a.bytes());
    }
    let positive = |x: &E| if x.widen() == 0.0 { E::default() } else { *x };
    let elements: Vec<E> = a.iter().map(positive).collect();
    with(Value::<Dense<E>>::new(&elements).bytes())
}

unsafe extern "C-unwind" {
    // Not among pgrx' bindings (common/hashfn.h).
    fn hash_bytes(bytes: *const u8, length: c_int) -> u32;
    fn hash_bytes_extended(bytes: *const u8, length: c_int, seed: u64) -> u64;
}

fn hash(bytes: &[u8]) -> i32 {
    // SAFETY: the slice has that many bytes.
    unsafe { hash_bytes(bytes.as_ptr(), bytes.len() as i32) as i32 }
}

fn hash_extended(bytes: &[u8], seed: i64) -> i64 {
    // SAFETY: the slice has that many bytes.
    unsafe { hash_bytes_extended(bytes.as_ptr(), bytes.len() as i32, seed as u64) as i64 }
}

sql_functions! {
    fn vector_hash(a: Vector) -> i32 {
        canonical(&a, hash)
    }

    fn vector_hash_extended(a: Vector, seed: i64) -> i64 {
        canonical(&a, |bytes| hash_extended(bytes, seed))
    }

    fn halfvec_hash(a: HalfVector) -> i32 {
        canonical(&a, hash)
    }

    fn halfvec_hash_extended(a: HalfVector, seed: i64) -> i64 {
        canonical(&a, |bytes| hash_extended(bytes, seed))
    }

    fn sparsevec_hash(a: SparseVector) -> i32 {
        // A sparse vector stores no zeros, so equal values have equal bytes.
        hash(a.bytes())
    }

    fn sparsevec_hash_extended(a: SparseVector, seed: i64) -> i64 {
        hash_extended(a.bytes(), seed)
    }
}
