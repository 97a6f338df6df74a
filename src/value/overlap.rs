//! How two sparse vectors are walked together. Which of two indices is next is as good as random, and a branch that
//! is mispredicted takes longer than all else that an element needs: there is none here.
//!
//! Sums are of f32 in the order of the indices, as pgvector's are; zeros added in between change none.

use std::cell::RefCell;
use std::hint::select_unpredictable;

use super::sparse::Sparse;

thread_local! {
    /// A dense vector of zeros between calls.
    static DENSE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Vectors of more dimensions are not made dense: that should fit the caches.
const MAX_SPREAD: usize = 1 << 16;
/// Nor are those of fewer elements, both together.
const MIN_SPREAD: usize = 24;

/// `x`, or zero.
#[inline]
fn where_true(condition: bool, x: f32) -> f32 {
    f32::from_bits(select_unpredictable(condition, x.to_bits(), 0))
}

/// Calls `visit` with both values at each index that at least one has.
#[inline]
fn each_pair(a: Sparse, b: Sparse, mut visit: impl FnMut(f32, f32)) {
    let (a_values, b_values) = (&a.values[..a.indices.len()], &b.values[..b.indices.len()]);
    let (mut i, mut j) = (0, 0);
    // The two indices in turn are kept, and the next ones loaded before it is known which of them follows: a load
    // takes as long as all else of a step.
    if let (Some(&first), Some(&other_first)) = (a.indices.first(), b.indices.first()) {
        let (mut at, mut other) = (first, other_first);
        while i + 1 < a.indices.len() && j + 1 < b.indices.len() {
            let (next, other_next) = (a.indices[i + 1], b.indices[j + 1]);
            let (here, there) = (at <= other, other <= at);
            visit(where_true(here, a_values[i]), where_true(there, b_values[j]));
            at = select_unpredictable(here, next, at);
            other = select_unpredictable(there, other_next, other);
            i += usize::from(here);
            j += usize::from(there);
        }
    }
    while i < a.indices.len() && j < b.indices.len() {
        let (here, there) = (a.indices[i] <= b.indices[j], b.indices[j] <= a.indices[i]);
        visit(where_true(here, a_values[i]), where_true(there, b_values[j]));
        i += usize::from(here);
        j += usize::from(there);
    }
    a_values[i..].iter().for_each(|x| visit(*x, 0.0));
    b_values[j..].iter().for_each(|y| visit(0.0, *y));
}

/// The sum of `term` of both values at each index that at least one has.
#[inline(never)]
pub(super) fn sum(a: Sparse, b: Sparse, term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sum = 0.0;
    each_pair(a, b, |x, y| sum += term(x, y));
    sum
}

/// Inner product.
pub(super) fn product(a: Sparse, b: Sparse) -> f32 {
    products::<false>(a, b).0
}

/// `(<a, b>, |a|², |b|²)`; the squares only if they are asked for.
#[inline]
pub(super) fn products<const SQUARES: bool>(a: Sparse, b: Sparse) -> (f32, f32, f32) {
    if a.indices.len() + b.indices.len() < MIN_SPREAD || a.dims.max(b.dims) > MAX_SPREAD {
        let (mut product, mut a2, mut b2) = (0f32, 0f32, 0f32);
        each_pair(a, b, |x, y| {
            product += x * y;
            a2 += if SQUARES { x * x } else { 0.0 };
            b2 += if SQUARES { y * y } else { 0.0 };
        });
        return (product, a2, b2);
    }
    DENSE.with_borrow_mut(|dense| {
        if dense.len() < b.dims {
            dense.resize(b.dims, 0.0);
        }
        spread_products::<SQUARES>(a, b, dense)
    })
}

/// The same by way of a dense vector of zeros, of which it makes zeros again.
fn spread_products<const SQUARES: bool>(a: Sparse, b: Sparse, dense: &mut [f32]) -> (f32, f32, f32) {
    let (mut product, mut a2, mut b2) = (0f32, 0f32, 0f32);
    // An index outside, which a damaged value may have, is passed over: nothing may stay behind.
    for (index, y) in b.indices.iter().zip(b.values) {
        if let Some(place) = dense.get_mut(*index as usize) {
            *place = *y;
        }
        if SQUARES {
            b2 += y * y;
        }
    }
    for (index, x) in a.indices.iter().zip(a.values) {
        product += x * dense.get(*index as usize).unwrap_or(&0.0);
        if SQUARES {
            a2 += x * x;
        }
    }
    for index in b.indices {
        if let Some(place) = dense.get_mut(*index as usize) {
            *place = 0.0;
        }
    }
    (product, a2, b2)
}
