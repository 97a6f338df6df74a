//! Late interaction of sets of vectors: each vector of a query counts by its largest inner product.

use super::limits::check_same;
use crate::error::Result;
use crate::kernel::{self, TOKENS};
use crate::memory;

/// Vectors of the query that are compared together.
const LANES: usize = 16;

/// The sum, over the vectors of a query, of the largest inner product with a vector of the row. It is 0 if
/// the query has no vectors, and otherwise minus infinity if the row has none.
///
/// `tick` is called now and then.
///
/// # Errors
/// Different dimensions; out of memory.
pub fn maxsim(row: &[&[f32]], query: &[&[f32]], tick: impl Fn()) -> Result<f64> {
    let Some(dims) = row.first().or(query.first()).map(|vector| vector.len()) else { return Ok(0.0) };
    row.iter().chain(query).try_for_each(|vector| check_same("vector", dims, vector.len()))?;
    let mut interleaved = memory::filled([0.0; LANES], dims)?;
    let mut sum = 0.0;
    for some in query.chunks(LANES) {
        tick();
        for (lane, vector) in some.iter().enumerate() {
            interleaved.iter_mut().zip(*vector).for_each(|(lanes, x)| lanes[lane] = *x);
        }
        let mut best = [f32::NEG_INFINITY; LANES];
        for others in row.chunks(TOKENS) {
            // The last ones more than once, which does not change the largest product.
            let others = std::array::from_fn(|i| others[i.min(others.len() - 1)]);
            kernel::max_products(&interleaved, others, &mut best);
        }
        sum += best[..some.len()].iter().map(|best| f64::from(*best)).sum::<f64>();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
            let found = maxsim(&rows, &queries, || ()).unwrap();
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn empty_sets_and_different_dimensions() {
        let (two, three): (&[f32], &[f32]) = (&[1.0, 2.0], &[1.0, 2.0, 3.0]);
        assert_eq!(maxsim(&[], &[], || ()), Ok(0.0));
        assert_eq!(maxsim(&[two], &[], || ()), Ok(0.0));
        assert_eq!(maxsim(&[], &[two], || ()), Ok(f64::NEG_INFINITY));
        for (row, query) in [(&[two, three][..], &[two][..]), (&[two], &[three]), (&[], &[three, two])] {
            let error = maxsim(row, query, || ()).unwrap_err();
            assert!(error.message.starts_with("different vector dimensions"), "{error}");
        }
    }
}
