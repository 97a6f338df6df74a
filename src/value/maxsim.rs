//! Late interaction of arrays of vectors: each vector of a query counts by its largest inner product.

use super::limits::check_same;
use super::tokens::Tokens;
use crate::error::Result;
use crate::kernel::{self, TOKENS};
use crate::memory;

/// Vectors of the query that are compared together.
pub const LANES: usize = 16;

/// The sum, over the vectors of a query, of the largest inner product with a vector of the row. It is 0 if
/// the query has no vectors, and otherwise minus infinity if the row has none.
///
/// `tick` is called now and then.
///
/// # Errors
/// Different dimensions; out of memory.
pub fn maxsim(row: Tokens<'_>, query: Tokens<'_>, tick: impl Fn()) -> Result<f64> {
    let dims = row.dims().max(query.dims());
    if row.dims().min(query.dims()) > 0 {
        check_same("vector", row.dims(), query.dims())?;
    }
    let mut interleaved = memory::filled([0.0; LANES], dims)?;
    let (mut vectors, mut sum) = (query.vectors(), 0.0);
    while vectors.len() > 0 {
        tick();
        let some = vectors.len().min(LANES);
        for (lane, vector) in vectors.by_ref().take(LANES).enumerate() {
            interleaved.iter_mut().zip(vector).for_each(|(lanes, x)| lanes[lane] = *x);
        }
        let mut best = [f32::NEG_INFINITY; LANES];
        raise(&interleaved, row, &mut best);
        sum += best[..some].iter().map(|best| f64::from(*best)).sum::<f64>();
    }
    Ok(sum)
}

/// Raises each of `best` to the largest inner product of one of sixteen interleaved vectors with those of a
/// set, which has their dimensions.
pub fn raise(sixteen: &[[f32; LANES]], set: Tokens<'_>, best: &mut [f32; LANES]) {
    let mut vectors = set.vectors();
    while let Some(first) = vectors.next() {
        // If fewer are left, one more than once, which does not change the largest product.
        let others =
            std::array::from_fn::<_, TOKENS, _>(
                |i| if i == 0 { first } else { vectors.next().unwrap_or(first) },
            );
        kernel::max_products(sixteen, others, best);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tokens::TokensBuf;

    fn set(vectors: &[Vec<f32>]) -> TokensBuf {
        let mut set = TokensBuf::default();
        vectors.iter().for_each(|vector| set.push(vector).unwrap());
        set
    }

    #[test]
    fn sums_of_largest_products() {
        let mut state = 8u64;
        let mut unit = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        for (rows, queries, dims) in [(1, 1, 1), (3, 2, 5), (8, 16, 64), (9, 17, 128), (40, 33, 31)] {
            let mut draw = |count: usize| -> Vec<Vec<f32>> {
                (0..count).map(|_| (0..dims).map(|_| unit() - 0.5).collect()).collect()
            };
            let (rows, queries) = (draw(rows), draw(queries));
            let product = |a: &Vec<f32>, b: &Vec<f32>| -> f64 {
                a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
            };
            let best = |q: &Vec<f32>| rows.iter().map(|r| product(r, q)).fold(f64::NEG_INFINITY, f64::max);
            let expected: f64 = queries.iter().map(best).sum();
            let found = maxsim(set(&rows).view(), set(&queries).view(), || ()).unwrap();
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn empty_sets_and_different_dimensions() {
        let of = |vector: &[f32]| set(&[vector.to_vec()]);
        let (none, two, three) = (set(&[]), of(&[1.0, 2.0]), of(&[1.0, 2.0, 3.0]));
        assert_eq!(maxsim(none.view(), none.view(), || ()), Ok(0.0));
        assert_eq!(maxsim(two.view(), none.view(), || ()), Ok(0.0));
        assert_eq!(maxsim(none.view(), two.view(), || ()), Ok(f64::NEG_INFINITY));
        for (row, query) in [(&two, &three), (&three, &two)] {
            let error = maxsim(row.view(), query.view(), || ()).unwrap_err();
            assert!(error.message.starts_with("different vector dimensions"), "{error}");
        }
    }
}
