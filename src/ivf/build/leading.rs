//! The leading space of an index (`quant/projection.rs`), if users have named its dimensions: trained on the
//! residuals of the sample.

use rayon::ThreadPool;

use super::input::Options;
use crate::error::{Error, Kind, Result};
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::kernel;
use crate::kmeans::{self, Assigner};
use crate::memory;
use crate::quant::{Projection, Projector, Rotation};

/// Rows of the sample that are used. The directions are fitted to every second one, and measured on the
/// others.
const ROWS: usize = 8192;
/// Rows that directions are fitted to, for each of them, at least.
const ROWS_PER_DIRECTION: usize = 2;
/// Bytes of directions at most: each query reads all of them, and each backend keeps them.
const MOST_BYTES: usize = 4 << 20;
/// Pairs of near rows on which the error is measured, and how many are needed.
const PAIRS: usize = 2000;
const LEAST_PAIRS: usize = 100;
/// Two rows are no pair if their squared distance is below this share of a row's residual: equal rows have no
/// error.
const EQUAL: f32 = 0.25;
/// Rows may have this many times the share of energy outside that all but a hundredth of the sample have.
const OUTSIDE: f32 = 1.5;
/// Residuals whose squares are larger, in units of the index, are left out.
const HUGE: f32 = 1e8;

/// The leading space of the rows' residuals from their means, if users want one and there are rows enough.
///
/// # Errors
/// [`Kind::InvalidParameter`] if the directions would be too many; out of memory, and those of
/// [`Progress::tick`].
pub(super) fn train(
    flat: &Directory,
    options: &Options,
    (sample, means): (&[f32], &[f32]),
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Option<Projection>> {
    let (dims, padded) = (flat.dims(), flat.padded());
    let wanted = (options.code_dims as usize).next_multiple_of(64);
    // Without records of all dimensions nothing would make up for those left out.
    let without = flat.codec.is_exact() || flat.codec.bits() == 1 || means.len() == dims;
    if wanted == 0 || wanted >= padded || without {
        return Ok(None);
    }
    if wanted * padded > MOST_BYTES {
        let most = MOST_BYTES / padded / 64 * 64;
        let option = options.code_dims;
        let message = format!(
            "option \"code_dimensions\" is {option}, but for {dims} dimensions at most {most} are allowed"
        );
        return Err(Error::new(Kind::InvalidParameter, message)
            .with_hint(format!("Set code_dimensions to at most {most}, or leave it out.")));
    }
    // Residuals, their transpose, and what is made for each direction.
    let fits = options.memory / 8 * 3 / (size_of::<f32>() * (2 * dims + 2 * wanted));
    let (fitted, measured) = residuals(flat, fits.min(ROWS), (sample, means), (pool, progress))?;
    if fitted.lists.len() < ROWS_PER_DIRECTION * wanted {
        return Ok(None);
    }
    let mut basis = kmeans::principal(&fitted.rows, dims, wanted, pool, &|_, _| progress.tick())?;
    mix(&mut basis, dims, flat.meta.seed);
    let mut directions = memory::filled(0.0, wanted * padded)?;
    for (from, to) in basis.chunks_exact(dims).zip(directions.chunks_exact_mut(padded)) {
        flat.rotate(from, to);
    }
    let Some(mut projection) = Projection::new(&directions, padded)? else { return Ok(None) };
    Ok(measure(&mut projection, flat, &measured, progress)?.then_some(projection))
}

/// Residuals, one after the other, and the list of each.
#[derive(Default)]
struct Residuals {
    rows: Vec<f32>,
    lists: Vec<u32>,
}

/// The residuals of some rows of the sample in units of the index: half of them to fit to, the others to
/// measure.
fn residuals(
    flat: &Directory,
    most: usize,
    (sample, means): (&[f32], &[f32]),
    (pool, progress): (&ThreadPool, &dyn Progress),
) -> Result<(Residuals, Residuals)> {
    let (dims, scale) = (flat.dims(), flat.meta.scale);
    let step = (sample.len() / dims).div_ceil(most.max(1)).max(1);
    let mut halves = [Residuals::default(), Residuals::default()];
    let rows: Vec<&[f32]> = memory::collected(sample.chunks_exact(dims).step_by(step))?;
    let assigner = Assigner::new(means, dims)?;
    for (half, of) in halves.iter_mut().enumerate() {
        let mut some: Vec<f32> = memory::with_capacity(rows.len().div_ceil(2) * dims)?;
        rows.iter().skip(half).step_by(2).for_each(|row| some.extend_from_slice(row));
        let mut lists = memory::filled(0, some.len() / dims)?;
        assigner.assign(&some, &mut lists, pool, &|_, _| progress.tick())?;
        let mut kept = 0;
        for i in 0..lists.len() {
            let mean = &means[lists[i] as usize * dims..];
            let row = &mut some[i * dims..][..dims];
            row.iter_mut().zip(mean).for_each(|(x, m)| *x = (*x - m) * scale);
            let squared = kernel::inner_product(row, row);
            if squared <= HUGE {
                some.copy_within(i * dims..(i + 1) * dims, kept * dims);
                lists[kept] = lists[i];
                kept += 1;
            }
        }
        some.truncate(kept * dims);
        lists.truncate(kept);
        *of = Residuals { rows: some, lists };
    }
    Ok(halves.into())
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
fn measure(
    projection: &mut Projection,
    flat: &Directory,
    residuals: &Residuals,
    progress: &dyn Progress,
) -> Result<bool> {
    let (dims, padded) = (flat.dims(), flat.padded());
    let pairs = pairs(residuals, dims, progress)?;
    let (mut row, mut other) = (vec![0.0; padded], vec![0.0; padded]);
    let (mut inside, mut other_inside) = (Projector::default(), Projector::default());
    let mut signs = vec![0; projection.dims() / 8];
    let (mut errors, mut outside) =
        (memory::with_capacity(pairs.len())?, memory::with_capacity(pairs.len())?);
    for (i, near) in pairs {
        progress.tick()?;
        flat.rotate(&residuals.rows[i * dims..][..dims], &mut row);
        flat.rotate(&residuals.rows[near * dims..][..dims], &mut other);
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
    let count = errors.len() as f32;
    let mean = errors.iter().sum::<f32>() / count;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f32>() / count;
    outside.sort_by(f32::total_cmp);
    projection.bias = mean.max(0.0);
    // At right angles the code's own error is that of codes of all dimensions.
    projection.error = projection.error.max(variance.sqrt());
    projection.most_outside = (OUTSIDE * outside[outside.len() - 1 - outside.len() / 100]).clamp(0.01, 0.9);
    Ok(true)
}

/// Rows, each with its nearest one of the same list.
fn pairs(residuals: &Residuals, dims: usize, progress: &dyn Progress) -> Result<Vec<(usize, usize)>> {
    let Residuals { rows, lists } = residuals;
    let mut order: Vec<usize> = memory::collected(0..lists.len())?;
    order.sort_by_key(|&i| lists[i]);
    let step = (order.len() / PAIRS).max(1);
    let vector = |i: usize| &rows[i * dims..][..dims];
    let mut found = memory::with_capacity(order.len() / step + 1)?;
    let together = order.chunk_by(|a, b| lists[*a] == lists[*b]);
    let of_lists = together.flat_map(|of_list| of_list.iter().map(move |i| (of_list, *i)));
    for (of_list, i) in of_lists.step_by(step) {
        progress.tick()?;
        let least = EQUAL * kernel::inner_product(vector(i), vector(i));
        let mut nearest = (f32::INFINITY, i);
        for &j in of_list.iter().filter(|j| **j != i) {
            let distance = kernel::l2_squared(vector(i), vector(j));
            if distance >= least && distance < nearest.0 {
                nearest = (distance, j);
            }
        }
        if nearest.1 != i {
            found.push((i, nearest.1));
        }
    }
    Ok(found)
}
