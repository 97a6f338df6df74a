//! The leading space of an index (`quant/projection.rs`): trained on the residuals of the sample, and as small
//! as it may be without many more rows to refine.

use rayon::ThreadPool;

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::kernel;
use crate::kmeans::{self, Assigner};
use crate::memory;
use crate::quant::{Projection, Projector, Rotation};

/// Rows of the sample that are used.
const ROWS: usize = 6144;
/// Bytes of directions at most: each query reads all of them, and each backend keeps them.
const MOST_BYTES: usize = 1 << 20;
/// With fewer dimensions a code is hardly longer than its factors and its reference.
const LEAST_DIMS: usize = 128;
/// The first stage's error may be this many times as large as with codes of all dimensions. Measured: up to
/// twice the records are read then, and that takes less time than half of the codes.
const MOST_ERROR: f32 = 2.0;
/// Pairs of near rows on which the error is measured.
const PAIRS: usize = 2000;
const LEAST_PAIRS: usize = 100;
/// Standard deviations by which errors are compared: the width of the bounds at a target of .95.
const WIDTH: f32 = 2.2;
/// Rows may have this many times the share of energy outside that all but a hundredth of the sample have.
const OUTSIDE: f32 = 1.5;
/// Standard deviation of the error of codes of all dimensions, and mean product of a code and a direction,
/// for each root of the dimensions; see `quant/errors.rs`.
const ERROR_OF_ALL: f32 = 0.3014;

/// The leading space of the rows' residuals from their means, if one serves better than all dimensions.
/// `wanted` are its dimensions if users have named them, else 0.
pub(super) fn train(
    flat: &Directory,
    wanted: u32,
    (sample, means): (&[f32], &[f32]),
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Option<Projection>> {
    let (dims, padded) = (flat.dims(), flat.padded());
    let (wanted, rows) = ((wanted as usize).next_multiple_of(64), sample.len() / dims);
    let fits = (MOST_BYTES / padded).min(padded / 2) / 64 * 64;
    let most = if wanted > 0 { wanted } else { fits };
    let without = flat.codec.is_exact() || flat.codec.bits() == 1 || means.len() == dims;
    if without || most >= dims || most < 64 || (wanted == 0 && most < LEAST_DIMS) || rows < 4 * most {
        return Ok(None);
    }
    let (residuals, lists) = residuals(dims, (sample, means), pool, progress)?;
    let basis = kmeans::principal(&residuals, dims, most, pool, &|_, _| progress.tick())?;
    let sizes = if wanted > 0 { most..=most } else { LEAST_DIMS..=most };
    for size in sizes.step_by(64) {
        progress.tick()?;
        let mut basis = memory::collected(basis[..size * dims].iter().copied())?;
        mix(&mut basis, dims, flat.meta.seed);
        let mut directions = memory::filled(0.0, size * padded)?;
        for (from, to) in basis.chunks_exact(dims).zip(directions.chunks_exact_mut(padded)) {
            flat.rotate(from, to);
        }
        let Some(mut projection) = Projection::new(&directions, padded) else { continue };
        if !measure(&mut projection, flat, &residuals, &lists)? {
            continue;
        }
        // An error of the product of code and query counts the less, the longer the code.
        let error = (projection.bias + WIDTH * projection.error) / (size as f32).sqrt();
        if wanted > 0 || error <= MOST_ERROR * WIDTH * ERROR_OF_ALL / (padded as f32).sqrt() {
            return Ok(Some(projection));
        }
    }
    Ok(None)
}

/// The residuals of some rows of the sample, and the lists that the rows belong to.
fn residuals(
    dims: usize,
    (sample, means): (&[f32], &[f32]),
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<(Vec<f32>, Vec<u32>)> {
    let step = (sample.len() / dims / ROWS).max(1);
    let mut residuals: Vec<f32> = memory::with_capacity((sample.len() / dims).div_ceil(step) * dims)?;
    let usable = |row: &&[f32]| row.iter().all(|x| x.is_finite());
    sample.chunks_exact(dims).step_by(step).filter(usable).for_each(|row| residuals.extend_from_slice(row));
    let mut lists = memory::filled(0, residuals.len() / dims)?;
    Assigner::new(means, dims)?.assign(&residuals, &mut lists, pool, &|_, _| progress.tick())?;
    for (row, &list) in residuals.chunks_exact_mut(dims).zip(&lists) {
        row.iter_mut().zip(&means[list as usize * dims..]).for_each(|(x, m)| *x -= m);
    }
    Ok((residuals, lists))
}

/// Rotates the leading space at random, so that coordinates in it are alike.
fn mix(basis: &mut [f32], dims: usize, seed: u64) {
    let size = basis.len() / dims;
    let rotation = Rotation::new(size, seed ^ 0x1EAD);
    let (mut column, mut out) = (vec![0.0; size], vec![0.0; size]);
    for i in 0..dims {
        (0..size).for_each(|j| column[j] = basis[j * dims + i]);
        rotation.apply(&column, &mut out);
        (0..size).for_each(|j| basis[j * dims + i] = out[j]);
    }
}

/// Measures the error of the first stage on pairs of near rows of one list, and how much energy is outside.
/// Returns false if there are too few pairs.
fn measure(projection: &mut Projection, flat: &Directory, residuals: &[f32], lists: &[u32]) -> Result<bool> {
    let (dims, padded) = (flat.dims(), flat.padded());
    let mut order: Vec<usize> = memory::collected(0..lists.len())?;
    order.sort_by_key(|&i| lists[i]);
    let (mut row, mut other) = (vec![0.0; padded], vec![0.0; padded]);
    let (mut inside, mut other_inside) = (Projector::default(), Projector::default());
    let mut signs = vec![0; projection.dims() / 8];
    let (mut errors, mut outside) =
        (memory::with_capacity(lists.len())?, memory::with_capacity(lists.len())?);
    let together = order.chunk_by(|a, b| lists[*a] == lists[*b]);
    let vector = |i: usize| &residuals[i * dims..][..dims];
    let step = (order.len() / PAIRS).max(1);
    for (number, (of_list, i)) in
        together.flat_map(|of_list| of_list.iter().map(move |i| (of_list, *i))).enumerate()
    {
        if !number.is_multiple_of(step) {
            continue;
        }
        let distance = |j: &&usize| kernel::l2_squared(vector(i), vector(**j));
        let others = of_list.iter().filter(|j| **j != i);
        let Some(near) = others.min_by(|a, b| distance(a).total_cmp(&distance(b))) else { continue };
        flat.rotate(vector(i), &mut row);
        flat.rotate(vector(*near), &mut other);
        inside.set(projection, &row);
        other_inside.set(projection, &other);
        let [code_row, code_other] = kernel::sign_code(&inside.point, &other_inside.point, &mut signs);
        let energy = kernel::inner_product(&inside.point, &inside.point);
        let gap = kernel::inner_product(&other, &other).sqrt();
        let alpha = energy / code_row;
        let error = (kernel::inner_product(&row, &other) / alpha - code_other) / gap;
        let share = 1.0 - energy / kernel::inner_product(&row, &row);
        if error.is_finite() && share.is_finite() {
            errors.push(error);
            outside.push(share);
        }
    }
    if errors.len() < LEAST_PAIRS {
        return Ok(false);
    }
    let pairs = errors.len() as f32;
    let mean = errors.iter().sum::<f32>() / pairs;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f32>() / pairs;
    outside.sort_by(f32::total_cmp);
    projection.bias = mean.max(0.0);
    projection.error = variance.sqrt();
    projection.most_outside = (OUTSIDE * outside[outside.len() - 1 - outside.len() / 100]).clamp(0.01, 0.9);
    Ok(true)
}
