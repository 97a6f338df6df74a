//! The leading space of an index: trained on the residuals of a sample.

use rayon::ThreadPool;

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::kernel;
use crate::kmeans::{self, Assigner};
use crate::memory;
use crate::quant::{Projection, Rotation};

/// Prototype.
pub static LEADING: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
/// Rows of the sample that are used.
const ROWS: usize = 8192;

/// The leading space of the rows' residuals from their means.
pub(super) fn train(
    flat: &Directory,
    (sample, means): (&[f32], &[f32]),
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Option<Projection>> {
    let dims = flat.dims();
    let wanted: usize = LEADING.load(std::sync::atomic::Ordering::Relaxed);
    let rows = sample.len() / dims;
    if wanted == 0 || wanted >= dims || rows < 4 * wanted || means.len() == dims {
        return Ok(None);
    }
    let step = (rows / ROWS).max(1);
    let mut residuals: Vec<f32> = memory::with_capacity(rows.div_ceil(step) * dims)?;
    sample.chunks_exact(dims).step_by(step).for_each(|row| residuals.extend_from_slice(row));
    let mut lists = memory::filled(0, residuals.len() / dims)?;
    Assigner::new(means, dims)?.assign(&residuals, &mut lists, pool, &|_, _| progress.tick())?;
    for (row, &list) in residuals.chunks_exact_mut(dims).zip(&lists) {
        row.iter_mut().zip(&means[list as usize * dims..]).for_each(|(x, m)| *x -= m);
    }
    let mut basis = kmeans::principal(&residuals, dims, wanted, pool, &|_, _| progress.tick())?;
    mix(&mut basis, dims, flat.meta.seed);
    let padded = flat.padded();
    let mut directions = memory::filled(0.0, wanted * padded)?;
    for (from, to) in basis.chunks_exact(dims).zip(directions.chunks_exact_mut(padded)) {
        flat.rotate(from, to);
    }
    let mut projection = Projection::new(&directions, padded);
    measure(&mut projection, flat, &residuals, &lists)?;
    Ok(Some(projection))
}

/// Rotates the leading space at random, so that coordinates in it are alike.
fn mix(basis: &mut [f32], dims: usize, seed: u64) {
    let wanted = basis.len() / dims;
    let rotation = Rotation::new(wanted, seed ^ 0x1EAD);
    let (mut column, mut out) = (vec![0.0; wanted], vec![0.0; wanted]);
    for i in 0..dims {
        (0..wanted).for_each(|j| column[j] = basis[j * dims + i]);
        rotation.apply(&column, &mut out);
        (0..wanted).for_each(|j| basis[j * dims + i] = out[j]);
    }
}

/// Measures the error of the first stage on pairs of rows of one list, and how much energy is outside.
fn measure(projection: &mut Projection, flat: &Directory, residuals: &[f32], lists: &[u32]) -> Result<()> {
    let dims = flat.dims();
    let mut order: Vec<usize> = memory::collected(0..lists.len())?;
    order.sort_by_key(|&i| lists[i]);
    let padded = flat.padded();
    let (mut row, mut other) = (vec![0.0; padded], vec![0.0; padded]);
    let mut signs = vec![0; projection.dims() / 8];
    let (mut squares, mut pairs) = (0f64, 0u32);
    let mut outside: Vec<f32> = memory::with_capacity(lists.len())?;
    for pair in order.windows(2).filter(|pair| lists[pair[0]] == lists[pair[1]]) {
        flat.rotate(&residuals[pair[0] * dims..][..dims], &mut row);
        flat.rotate(&residuals[pair[1] * dims..][..dims], &mut other);
        let (inside, v) = (projection.of(&row), projection.of(&other));
        let [code_row, code_v] = kernel::sign_code(&inside, &v, &mut signs);
        let energy = kernel::inner_product(&inside, &inside);
        let squared = kernel::inner_product(&row, &row);
        let gap = kernel::inner_product(&other, &other);
        if !(code_row > 0.0 && gap > 0.0) {
            continue;
        }
        let alpha = energy / code_row;
        let error = (kernel::inner_product(&row, &other) - alpha * code_v) / alpha;
        squares += f64::from(error * error / gap);
        pairs += 1;
        outside.push(1.0 - energy / squared);
    }
    outside.sort_by(f32::total_cmp);
    if pairs > 0 {
        projection.error = (squares / f64::from(pairs)).sqrt() as f32;
        projection.most_outside = outside[(outside.len() - 1) * 995 / 1000];
    }
    if std::env::var("LEADING_SHOW").is_ok() {
        let mean = outside.iter().sum::<f32>() / outside.len() as f32;
        eprintln!("leading {}: outside mean {mean:.3}, most {:.3}, error {:.4} pairs {pairs}",
            projection.dims(), projection.most_outside, projection.error);
    }
    Ok(())
}
