//! Training: choice of rows, working space, Lloyd's iterations there, means in full dimensions.

use super::bits;
use super::gemm::{CHUNK_ROWS, PackedPanels, Rows, Work};
use super::lloyd::Lloyd;
use super::members::{Assignment, Members, means};
use super::parallel::Step;
use super::pca;
use super::wide;
use crate::error::Result;
use crate::memory;
use crate::random::SplitMix64;
use rayon::ThreadPool;

/// Rows with larger components are ignored: the squares of such components would overflow f32.
const HUGE: f32 = 1e18;
/// More rows per list, or in all, do not make better centroids.
const ROWS_PER_LIST: usize = 64;
const MIN_CAP: usize = 4096;
/// Fewer rows are clustered without a reduction.
const MIN_REDUCED: usize = 1024;
/// Share of the energy that a reduction must keep. On 768-dimensional embeddings 0.76 costs 0.4 % of
/// inertia.
const ENERGY: f64 = 0.7;
/// Units of progress per round.
const UNIT: u64 = 100;

/// Trains `k` centroids (`k · dims` finite floats) on `samples` (rows of `dims` floats) by at most
/// `iterations` rounds of k-means (squared L2); the same `seed` gives the same result for any number of
/// threads. Rows with a component that is not finite or beyond 10¹⁸ are ignored; without any row the
/// centroids are zero. If there are at most `k` rows, the rows are the centroids, repeated in turn. Calls
/// `step` on this thread; its error ends the work.
///
/// Method: S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2), 1982; on the
/// principal directions of the rows where these hold most of the energy. Rows of zeros and ones are compared
/// by bits.
pub fn train(
    samples: &[f32],
    dims: usize,
    k: usize,
    iterations: usize,
    seed: u64,
    pool: &ThreadPool,
    step: Step,
) -> Result<Vec<f32>> {
    let mut centroids = memory::filled(0.0, k * dims)?;
    if centroids.is_empty() {
        return Ok(centroids);
    }
    let total = UNIT * (iterations as u64 + 3);
    let work = Work { pool: Some(pool), step, base: 0, unit: 0, total };
    work.tick()?;
    let index = usable_rows(samples, dims, k, &work)?;
    let zero = memory::filled(0.0, dims)?;
    let plain = Rows { data: samples, dims, index: Some(&index), mean: &zero, scale: 1.0 };
    let n = index.len();
    if n <= k {
        for (i, out) in centroids.chunks_exact_mut(dims).take(if n == 0 { 0 } else { k }).enumerate() {
            plain.copy(i % n, out);
        }
        return Ok(centroids);
    }
    let mut random = SplitMix64(seed);
    if let Some(binary) = bits::PackedBits::new(&plain, &work.quiet())? {
        cluster(&plain, (&plain, Some(&binary)), iterations, &mut centroids, &mut random, work)?;
        return Ok(centroids);
    }
    let (mean, scale) = centered(&plain, &work)?;
    let rows = Rows { mean: &mean, scale, ..plain };
    let basis = if n < MIN_REDUCED { None } else { pca::directions(&rows, ENERGY, &work)? };
    let reduced = match &basis {
        Some(basis) => Some(work.products(&rows, &PackedPanels::new(basis, dims)?)?),
        None => None,
    };
    let working = match &reduced {
        Some(data) => {
            Rows { data, dims: data.len() / n, index: None, mean: &zero[..data.len() / n], scale: 1.0 }
        }
        None => rows,
    };
    cluster(&plain, (&working, None), iterations, &mut centroids, &mut random, work)?;
    Ok(centroids)
}

/// Clusters the rows of the working space, packed too if they are `binary`, and makes the centroids of the
/// lists in full dimensions.
fn cluster(
    plain: &Rows,
    (working, binary): (&Rows, Option<&bits::PackedBits>),
    iterations: usize,
    centroids: &mut [f32],
    random: &mut SplitMix64,
    mut work: Work,
) -> Result<()> {
    let k = centroids.len() / plain.dims;
    (work.base, work.unit) = (UNIT, UNIT);
    let mut lists = Lloyd::new(working, binary, k, random, &work)?;
    let settled = lists.settle(iterations.saturating_sub(1), random, &mut work)?;
    let is_split = wide::split(working, &mut lists.near, k, random, &work.quiet())?;
    if iterations > 0 && (is_split || !settled) {
        // The parts of a split list attract rows of other lists, and may be wide again.
        lists.again(&mut work)?;
        wide::split(working, &mut lists.near, k, random, &work.quiet())?;
    }
    (work.base, work.unit) = (work.total - UNIT, UNIT);
    finish(plain, &lists.near, centroids, random, &work)
}

/// The rows to train on: the usable rows, or a sample of them if there are more than training needs.
fn usable_rows(samples: &[f32], dims: usize, k: usize, work: &Work) -> Result<Vec<usize>> {
    let mut usable = memory::filled(false, samples.len() / dims)?;
    work.run(
        &mut usable,
        CHUNK_ROWS,
        CHUNK_ROWS * dims,
        || Ok(()),
        |(), chunk, usable| {
            for (row, usable) in samples[chunk * CHUNK_ROWS * dims..].chunks_exact(dims).zip(usable) {
                *usable = row.iter().all(|x| x.abs() <= HUGE);
            }
        },
    )?;
    let mut index = memory::with_capacity(usable.len())?;
    index.extend((0..usable.len()).filter(|i| usable[*i]));
    let cap = k.saturating_mul(ROWS_PER_LIST).max(MIN_CAP);
    if index.len() > cap {
        index = memory::collected(span(index.len(), cap).map(|i| index[i]))?;
    }
    Ok(index)
}

/// Means of the lists in full dimensions; a list without rows gets a row of the largest list.
fn finish(
    rows: &Rows,
    near: &[Assignment],
    centroids: &mut [f32],
    random: &mut SplitMix64,
    work: &Work,
) -> Result<()> {
    let k = centroids.len() / rows.dims;
    let members = Members::new(near, k)?;
    means(rows, &members, centroids, work)?;
    let largest = (0..k).max_by_key(|list| members.of(*list).len()).unwrap_or(0);
    let donors = members.of(largest);
    for (list, out) in centroids.chunks_exact_mut(rows.dims).enumerate() {
        if members.of(list).is_empty() {
            rows.copy(donors[random.below(donors.len())], out);
        }
    }
    Ok(())
}

/// `count` numbers below `n`, evenly spread.
pub(super) fn span(n: usize, count: usize) -> impl ExactSizeIterator<Item = usize> {
    (0..count).map(move |i| (i as u128 * n as u128 / count as u128) as usize)
}

/// The mean of `vectors` and the factor that brings them, less the mean, into −1..1.
pub(super) fn center(vectors: &[f32], dims: usize) -> Result<(Vec<f32>, f32)> {
    let mut sums = memory::filled(0.0f64, dims)?;
    for vector in vectors.chunks_exact(dims) {
        sums.iter_mut().zip(vector).for_each(|(s, x)| *s += f64::from(*x));
    }
    let count = (vectors.len() / dims).max(1) as f64;
    let mean = memory::collected(sums.iter().map(|s| (s / count) as f32))?;
    let far = vectors
        .chunks_exact(dims)
        .flat_map(|vector| vector.iter().zip(&mean))
        .fold(0.0f32, |far, (x, m)| far.max((x - m).abs()));
    Ok((mean, factor(far)))
}

/// The same for rows, in parallel: each task sums a run of rows, and the sums are added in order.
fn centered(rows: &Rows, work: &Work) -> Result<(Vec<f32>, f32)> {
    const RUN: usize = 4096;
    let (dims, n) = (rows.dims, rows.len());
    let run = |i: usize| i * RUN..n.min((i + 1) * RUN);
    let mut sums = memory::filled(0.0f64, n.div_ceil(RUN) * dims)?;
    work.run(
        &mut sums,
        dims,
        RUN * dims,
        || Ok(()),
        |(), i, sums| {
            for i in run(i) {
                sums.iter_mut().zip(rows.raw(i)).for_each(|(s, x)| *s += f64::from(*x));
            }
        },
    )?;
    let of_coordinate = |d| (sums.iter().skip(d).step_by(dims).sum::<f64>() / n as f64) as f32;
    let mean = memory::collected((0..dims).map(of_coordinate))?;
    let shifted = Rows { mean: &mean, ..*rows };
    let mut far = memory::filled(0.0f32, n.div_ceil(RUN))?;
    work.run(
        &mut far,
        1,
        RUN * dims,
        || Ok(()),
        |(), i, far| {
            far[0] = run(i).flat_map(|i| shifted.row(i)).fold(0.0, |far, x| far.max(x.abs()));
        },
    )?;
    let far = far.into_iter().fold(0.0, f32::max);
    Ok((mean, factor(far)))
}

/// 1/far, limited so that it neither overflows nor becomes zero.
fn factor(far: f32) -> f32 {
    if far > 0.0 { (1.0 / far).clamp(1e-30, 1e30) } else { 1.0 }
}
