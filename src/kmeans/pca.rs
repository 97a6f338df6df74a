//! Principal directions by subspace iteration on a subsample (randomized range finder with power steps;
//! Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 53, 2011).

use rayon::ThreadPool;

use super::gemm::{PackedPanels, Rows, Work};
use super::parallel::Step;
use crate::error::Result;
use crate::memory;
use crate::random::SplitMix64;

/// Below this many dimensions a reduction does not pay.
const MIN_DIMS: usize = 193;
/// Number of rows used, and largest number of floats that are copied for it.
const ROWS: usize = 2048;
const FLOATS: usize = 1 << 22;
/// Power steps; the third changes the kept energy by less than a percent on embeddings.
const STEPS: usize = 3;
/// The most directions.
pub(super) const MAX_DIRECTIONS: usize = 128;

/// Up to [`MAX_DIRECTIONS`] orthonormal directions (rows of `rows.dims` floats, a multiple of 16 of them,
/// some perhaps zero) that keep at least the share `least` of the energy (sum of squares about the mean) of
/// `rows`; `None` if there are no such directions.
pub(super) fn directions(rows: &Rows, least: f64, work: &Work) -> Result<Option<Vec<f32>>> {
    let (dims, n) = (rows.dims, rows.len());
    let target = if dims <= 384 { 96 } else { MAX_DIRECTIONS };
    let m = n.min(ROWS).min((FLOATS / dims).max(2 * target));
    if dims < MIN_DIMS || m < target {
        return Ok(None);
    }
    let mut sample = memory::filled(0.0, m * dims)?;
    for (i, out) in sample.chunks_exact_mut(dims).enumerate() {
        rows.copy(i * n / m, out);
    }
    let energy = energy(&sample);
    let (basis, mapped) = iterated(&sample, dims, target, work)?;
    let kept = self::energy(&mapped);
    Ok((kept >= least * energy && energy > 0.0).then_some(basis))
}

/// Orthonormal directions, rows of `dims` floats, of the space of this many dimensions in which most of the
/// energy of `rows` lies. Some are zero if the rows do not span so many dimensions.
///
/// # Errors
/// Out of memory, and those of `step`.
pub fn principal(
    rows: &[f32],
    dims: usize,
    wanted: usize,
    pool: &ThreadPool,
    step: Step,
) -> Result<Vec<f32>> {
    let n = rows.len() / dims;
    if n == 0 {
        return memory::filled(0.0, wanted * dims);
    }
    let work = Work { pool: Some(pool), step, base: 0, unit: 0, total: 0 };
    Ok(iterated(rows, dims, wanted, &work)?.0)
}

/// Subspace iteration: orthonormal directions, and the rows mapped onto them.
fn iterated(rows: &[f32], dims: usize, wanted: usize, work: &Work) -> Result<(Vec<f32>, Vec<f32>)> {
    let n = rows.len() / dims;
    let flipped = transposed(rows, dims)?;
    let zero = memory::filled(0.0, dims.max(n))?;
    let view = |data, dims| Rows { data, dims, index: None, mean: &zero[..dims], scale: 1.0 };
    let mut random = SplitMix64(0x5EED);
    let mut mixed: Vec<f32> = memory::collected((0..wanted * n).map(|_| random.sign()))?;
    let (mut basis, mut mapped) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let spread = work.products(&view(&flipped, n), &PackedPanels::new(&mixed, n)?)?;
        basis = transposed(&spread, wanted)?;
        orthonormalize(&mut basis, dims, work)?;
        mapped = work.products(&view(rows, dims), &PackedPanels::new(&basis, dims)?)?;
        mixed = transposed(&mapped, wanted)?;
    }
    Ok((basis, mapped))
}

fn energy(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

/// The transpose of a matrix with rows of `cols` floats.
fn transposed(matrix: &[f32], cols: usize) -> Result<Vec<f32>> {
    let rows = matrix.len() / cols;
    let mut out = memory::filled(0.0, matrix.len())?;
    // Tiles keep both sides in the cache.
    for first in (0..rows).step_by(16) {
        for (j, out) in out.chunks_exact_mut(rows).enumerate() {
            for i in first..rows.min(first + 16) {
                out[i] = matrix[i * cols + j];
            }
        }
    }
    Ok(out)
}

/// Gram-Schmidt, twice for stability; a row that depends on its predecessors becomes zero.
fn orthonormalize(basis: &mut [f32], dims: usize, work: &Work) -> Result<()> {
    for i in 0..basis.len() / dims {
        work.tick()?;
        let (before, rest) = basis.split_at_mut(i * dims);
        let row = &mut rest[..dims];
        normalize(row, 0.0);
        for _ in 0..2 {
            for b in before.chunks_exact(dims) {
                let along = dot(b, row);
                row.iter_mut().zip(b).for_each(|(x, b)| *x -= along * b);
            }
        }
        normalize(row, 1e-5);
    }
    Ok(())
}

/// Brings `row` to unit length, or to zero if it is not longer than `least`.
fn normalize(row: &mut [f32], least: f64) {
    let norm = energy(row).sqrt();
    let factor = if norm > least { (1.0 / norm) as f32 } else { 0.0 };
    row.iter_mut().for_each(|x| *x *= factor);
}

/// Inner product in eight partial sums, which the compiler vectorizes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
            *s += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
