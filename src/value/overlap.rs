//! How two sparse vectors are combined. Which of two indices is smaller is as good as random, and a
//! mispredicted branch takes longer than the rest of the work for an element. So there is no such branch
//! here. If the vectors have enough elements, one of them is expanded to a temporary dense vector, and the
//! order of the elements does not matter.

use std::cell::RefCell;
use std::hint::select_unpredictable;

use super::sparse::Sparse;
use crate::kernel;

thread_local! {
    /// A dense vector of zeros between calls.
    static DENSE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Vectors of more dimensions are not made dense, because the dense vector should fit the caches.
const MAX_SPREAD: usize = 1 << 16;
/// Vectors with fewer elements, counted together, are not made dense either.
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
    // The current index of each vector is kept, and both next indices are loaded before it is known which of
    // them is needed, because a load takes as long as the rest of a step.
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

/// Calls `with` with a dense vector of zeros, which `with` must set to zeros again; or with `None` for
/// vectors that are merged in the order of their indices.
#[inline(always)]
fn spread<R>(a: Sparse, b: Sparse, with: impl FnOnce(Option<&mut [f32]>) -> R) -> R {
    if a.indices.len() + b.indices.len() < MIN_SPREAD || a.dims.max(b.dims) > MAX_SPREAD {
        return with(None);
    }
    DENSE.with_borrow_mut(|dense| {
        if dense.len() < b.dims {
            dense.resize(b.dims, 0.0);
        }
        with(Some(dense))
    })
}

/// The sum of `term` of both values, over all indices that at least one vector has. `term` is symmetric, and
/// zero for two zeros.
#[inline(never)]
pub(super) fn sum(a: Sparse, b: Sparse, term: impl Fn(f32, f32) -> f32) -> f32 {
    spread(a, b, |dense| match dense {
        // The order of the sum depends on which vector is made dense. This comparison makes the distance
        // symmetric.
        Some(dense) if (b.indices.len(), b.indices) < (a.indices.len(), a.indices) => {
            spread_sum(b, a, dense, term)
        }
        Some(dense) => spread_sum(a, b, dense, term),
        None => {
            let mut sum = 0.0;
            each_pair(a, b, |x, y| sum += term(x, y));
            sum
        }
    })
}

/// Writes the values into the dense vector. An index outside its dimensions, which a damaged value may have,
/// is skipped.
#[inline(always)]
fn scatter(a: Sparse, dense: &mut [f32]) {
    for (index, x) in a.indices.iter().zip(a.values) {
        if let Some(place) = dense.get_mut(*index as usize) {
            *place = *x;
        }
    }
}

/// The same with a dense vector of zeros, which this function sets to zeros again.
#[inline(always)]
fn spread_sum(a: Sparse, b: Sparse, dense: &mut [f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    scatter(b, dense);
    let mut take = |index: i32| dense.get_mut(index as usize).map_or(0.0, std::mem::take);
    let of_a = four_sums(a, |index, x| term(x, take(index)));
    // The remaining terms are those at indices that `a` does not have.
    of_a + four_sums(b, |index, _| term(0.0, take(index)))
}

/// The sum of `term` over the elements, in four independent partial sums.
#[inline(always)]
fn four_sums(a: Sparse, mut term: impl FnMut(i32, f32) -> f32) -> f32 {
    let ((indices, last_indices), (values, last_values)) =
        (a.indices.as_chunks::<4>(), a.values.as_chunks::<4>());
    let mut sums = [0.0; 4];
    let mut add = |indices: &[i32], values: &[f32]| {
        for (sum, (index, x)) in sums.iter_mut().zip(indices.iter().zip(values)) {
            *sum += term(*index, *x);
        }
    };
    indices.iter().zip(values).for_each(|(indices, values)| add(indices, values));
    add(last_indices, last_values);
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// Inner product.
#[inline(never)]
pub(super) fn product(a: Sparse, b: Sparse) -> f32 {
    products::<false>(a, b).0
}

/// The cosine distance. (Three sums would be returned in memory.)
#[inline(never)]
pub(super) fn cosine_distance(a: Sparse, b: Sparse) -> f64 {
    let (product, a2, b2) = products::<true>(a, b);
    kernel::cosine_of_sums(product, a2, b2)
}

/// `(<a, b>, |a|², |b|²)`; the squares only if they are asked for.
#[inline(always)]
fn products<const SQUARES: bool>(a: Sparse, b: Sparse) -> (f32, f32, f32) {
    spread(a, b, |dense| {
        if let Some(dense) = dense {
            return spread_products::<SQUARES>(a, b, dense);
        }
        let (mut product, mut a2, mut b2) = (0f32, 0f32, 0f32);
        each_pair(a, b, |x, y| {
            product += x * y;
            a2 += if SQUARES { x * x } else { 0.0 };
            b2 += if SQUARES { y * y } else { 0.0 };
        });
        (product, a2, b2)
    })
}

/// The same with a dense vector of zeros, which this function sets to zeros again.
#[inline(always)]
fn spread_products<const SQUARES: bool>(a: Sparse, b: Sparse, dense: &mut [f32]) -> (f32, f32, f32) {
    let (mut product, mut a2) = (0f32, 0f32);
    scatter(b, dense);
    let b2 = if SQUARES { b.values.iter().fold(0f32, |sum, y| sum + y * y) } else { 0.0 };
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
