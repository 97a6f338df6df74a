//! What is computed from the sample: centroids, origin, scale, and the queries for the calibration.

use std::sync::Arc;

use rayon::ThreadPool;

use super::input::{Options, Source};
use super::leading;
use crate::error::{Error, Kind, Result};
use crate::ivf::calibrate::{Asking, QUERIES};
use crate::ivf::code::normalize;
use crate::ivf::deviation;
use crate::ivf::directory::{Directory, Entry};
use crate::ivf::progress::{Phase, Progress};
use crate::ivf::sketch::Sketch;
use crate::ivf::sketch_sample::SketchSample;
use crate::kernel;
use crate::kmeans::{self, Assigner};
use crate::memory::{self, Grow};
use crate::page::meta::{Leading, SketchOf};
use crate::page::{Meta, extended};
use crate::quant::{Codec, Projection, padded_dims};
use crate::value::Metric;

/// Rows per list if the user does not set the number of lists, and there are not too many. Scans with half as
/// many rows per list are no faster (`docs/performance.md`), and need twice the routing and the directory.
const ROWS_PER_LIST: u64 = 250;
/// Beyond this number of lists, they grow larger, too: the number grows as this power of the rows. Otherwise
/// routing becomes most of a query, and each backend's directory large.
const MANY_LISTS: f64 = 4000.0;
const GROWTH: f64 = 0.5;
/// With fewer rows than this, scanning a single list is faster than routing.
const ONE_LIST_ROWS: u64 = 10_000;
/// The most lists of an index, chosen or asked for. The reason is memory: every backend keeps the decoded
/// directory.
pub const MAX_LISTS: u32 = 65_536;
/// Sampled rows per list. More rows hardly improve recall (measured).
const SAMPLE_PER_LIST: usize = 64;
/// A list needs at least this many sampled rows for a useful mean.
const MIN_SAMPLE_PER_LIST: usize = 8;
/// The most rounds of k-means. It usually ends earlier, when hardly any row changes its list
/// (`kmeans/lloyd.rs`).
const ITERATIONS: usize = 10;

/// A trained index before its rows are known.
pub struct Model {
    /// Routing, rotation and codes; its page numbers are not final.
    pub directory: Arc<Directory>,
    /// The lists, rotated and rounded.
    pub entries: Vec<Entry>,
    /// The lists' means in the space of the vectors.
    pub means: Vec<f32>,
    /// The queries for the calibration.
    pub queries: Asking,
}

/// Samples the source and finds the lists.
pub fn train(
    options: &Options,
    source: &mut dyn Source,
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Model> {
    let dims = options.dims;
    let hint = source.rows_hint();
    let wanted = wanted_lists(options.lists, hint);
    progress.phase(Phase::Sampling);
    let want = sample_size(options, wanted, hint, *QUERIES.end());
    progress.total(want as u64);
    let mut sample = Vec::new();
    let mut unit = vec![0.0; dims];
    source.sample(want, &mut |vector| {
        if options.metric == Metric::Cosine {
            if normalize(vector, &mut unit) {
                sample.try_extend(&unit)?;
            }
        } else {
            sample.try_extend(vector)?;
        }
        if (sample.len() / dims).is_multiple_of(256) {
            progress.done((sample.len() / dims) as u64);
        }
        Ok(())
    })?;
    let rows = sample.len() / dims;
    if rows == 0 {
        return untrained(options);
    }
    let lists = (wanted as usize).min((rows / MIN_SAMPLE_PER_LIST).max(1));
    // Centroids fit the rows that they were trained on better than other rows. So the rows for the
    // calibration are not used for training.
    let queries = (rows / 4).clamp(*QUERIES.start(), *QUERIES.end()).min(rows);
    let positions = memory::collected(spread(rows, queries))?;
    move_to_front(&mut sample, dims, &positions);
    let spare = rows >= 4 * queries && rows - queries >= lists * MIN_SAMPLE_PER_LIST;
    let training = if spare { &sample[queries * dims..] } else { &sample[..] };
    progress.phase(Phase::Training);
    let step = |done: u64, total: u64| {
        progress.total(total);
        progress.done(done);
        progress.tick()
    };
    let seed = options.seed;
    let means = kmeans::train(training, dims, lists, ITERATIONS, seed, pool, &step)?;
    let lists = means.len() / dims;
    let (origin, scale) = match options.metric {
        // Bit strings need no origin and no scale.
        Metric::Hamming | Metric::Jaccard => (vec![0.0; dims], 1.0),
        Metric::Cosine => (mean(&sample, dims), 1.0),
        Metric::L2 | Metric::InnerProduct | Metric::L1 => {
            (mean(&sample, dims), scale(&sample, dims, &means, pool, progress)?)
        }
    };
    let meta = measured(unbuilt(options)?, &sample, source, progress)?;
    let meta = Meta { scale, lists: lists as u32, ..meta };
    let leading = leading::train(&flat(meta.clone())?, options, (&sample, &means), pool, progress)?;
    let rows = (&sample[..queries * dims], &positions[..]);
    model(meta, (&origin, leading), means, &mut |directory| ask(directory, rows, source))
}

/// With what the rows tell of their sketches, and of how values deviate from codes.
fn measured(meta: Meta, sample: &[f32], source: &mut dyn Source, progress: &dyn Progress) -> Result<Meta> {
    let dims = meta.dims as usize;
    let sketch = Sketch::of_meta(meta.sketch, dims)?;
    if !sketch.is_lossy() {
        return Ok(match meta.metric {
            Metric::L1 => Meta { deviation: deviation::measure(sample, dims, progress)?, ..meta },
            _ => meta,
        });
    }
    let mut rows = SketchSample::default();
    source.sample_originals(SketchSample::WANTED, &mut |row| rows.push(row))?;
    let elements = if meta.sketch.elements > 0 { rows.elements() } else { 0 };
    let deviation = rows.deviation(&sketch, meta.metric, progress)?;
    Ok(Meta { deviation, sketch: SketchOf { elements, ..meta.sketch }, ..meta })
}

/// Rows of the sample as queries: as they are, or as the table has them if queries have other sketches than
/// rows, or elements.
fn ask(
    directory: &Directory,
    (rows, positions): (&[f32], &[usize]),
    source: &mut dyn Source,
) -> Result<Asking> {
    let (mut asking, mut unit) = (Asking::default(), Vec::new());
    let is_of_tokens = directory.sketch().is_of_tokens();
    if !is_of_tokens && !directory.codec.has_elements() {
        for row in rows.chunks_exact(directory.dims()) {
            asking.push(directory, row.into(), &mut unit)?;
        }
        return Ok(asking);
    }
    source.sample_queries(positions, &mut |query| {
        // A query without vectors is equally far from all rows, so its neighbours are in any lists.
        let is_empty = is_of_tokens && query.coordinates.iter().all(|x| *x == 0.0);
        if is_empty { Ok(()) } else { asking.push(directory, query, &mut unit) }
    })?;
    Ok(asking)
}

/// The model of an empty table: one list at the origin.
pub fn untrained(options: &Options) -> Result<Model> {
    let zero = vec![0.0; options.dims];
    let mut nothing = |_: &Directory| Ok(Asking::default());
    model(Meta { lists: 1, ..unbuilt(options)? }, (&zero, None), zero.clone(), &mut nothing)
}

/// A directory whose origin is zero. It transforms the origin and the means.
fn flat(meta: Meta) -> Result<Directory> {
    let padded = padded_dims(meta.dims as usize);
    Directory::new(meta, (vec![0.0; padded], None), std::iter::empty())
}

fn model(
    meta: Meta,
    (origin, projection): (&[f32], Option<Projection>),
    means: Vec<f32>,
    ask: &mut dyn FnMut(&Directory) -> Result<Asking>,
) -> Result<Model> {
    let dims = meta.dims as usize;
    let padded = padded_dims(dims);
    let leading = projection.as_ref().map_or(Leading::default(), |projection| Leading {
        dims: projection.dims() as u32,
        error: projection.error,
        bias: projection.bias,
        most_outside: projection.most_outside,
    });
    // The final one is made below.
    let flat = flat(Meta { leading, ..meta })?;
    let mut rotated = vec![0.0; padded];
    flat.transform(origin, &mut rotated);
    let flat = Directory::new(flat.meta, (rotated, None), std::iter::empty())?;
    let mut point = vec![0.0; padded];
    let mut entries = memory::with_capacity(means.len() / dims)?;
    for mean in means.chunks_exact(dims) {
        flat.transform(mean, &mut point);
        entries.push(Entry::new(&point)?);
    }
    let queries = ask(&flat)?;
    let origin = (flat.origin, projection.map(Arc::new));
    let directory = Directory::new(flat.meta, origin, entries.iter().cloned())?;
    Ok(Model { directory: Arc::new(directory), entries, means, queries })
}

fn unbuilt(options: &Options) -> Result<Meta> {
    let padded = padded_dims(options.dims);
    let mut bits = match options.metric {
        metric if metric.is_of_bits() => 1,
        _ => options.bits,
    };
    let too_wide = |bits| -> Result<bool> {
        let layout = extended::Layout::new(Codec::new(padded, bits)?.extended_size());
        Ok(layout.is_some_and(|l| l.per_page() == 0))
    };
    if bits == 8 && too_wide(bits)? {
        // A record must fit a page. Above about 8,000 dimensions, records with eight bits do not fit.
        bits = 4;
    }
    if too_wide(bits)? {
        return Err(Error::new(
            Kind::LimitExceeded,
            format!("{} dimensions with {bits} bits do not fit a page", options.dims),
        ));
    }
    let has_elements = bits > 1 && options.sketch()?.has_elements();
    let elements = if has_elements { SketchSample::default().elements() } else { 0 };
    let dims =
        u32::try_from(options.dims).map_err(|_| Error::new(Kind::LimitExceeded, "too many dimensions"))?;
    Ok(Meta {
        instance: options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x51,
        generation: 1,
        sketch: SketchOf { elements, ..options.sketch },
        ..Meta::unbuilt(options.metric, bits, dims, options.seed, options.columns)
    })
}

/// Positions of `count` rows, evenly spread over a sample. (Adjacent rows of a sample come from one page of
/// the table.)
pub fn spread(rows: usize, count: usize) -> impl ExactSizeIterator<Item = usize> {
    (0..count).map(move |i| (i as u64 * rows as u64 / count as u64) as usize)
}

/// Moves rows at ascending positions to the front of a sample.
fn move_to_front(sample: &mut [f32], dims: usize, positions: &[usize]) {
    for (i, &from) in positions.iter().enumerate() {
        if from > i {
            let (front, back) = sample.split_at_mut(from * dims);
            front[i * dims..][..dims].swap_with_slice(&mut back[..dims]);
        }
    }
}

/// Lists for so many rows, unless users have named their number.
pub fn wanted_lists(named: u32, rows: u64) -> u64 {
    if named > 0 {
        return u64::from(named);
    }
    if rows < ONE_LIST_ROWS {
        return 1;
    }
    let lists = rows / ROWS_PER_LIST;
    let many = MANY_LISTS * (lists as f64 / MANY_LISTS).powf(GROWTH);
    lists.min(many as u64).min(MAX_LISTS.into())
}

/// Rows to sample: enough for the lists, within five eighths of the memory (the rest is for the reduced
/// copy that k-means works on).
fn sample_size(options: &Options, lists: u64, rows: u64, queries: usize) -> usize {
    let fits = (options.memory / 8 * 5) / (4 * options.dims);
    let wish =
        usize::try_from(lists).unwrap_or(usize::MAX).saturating_mul(SAMPLE_PER_LIST).saturating_add(queries);
    let rows = usize::try_from(rows).unwrap_or(usize::MAX).max(queries);
    wish.min(fits.max(MIN_SAMPLE_PER_LIST)).min(rows)
}

/// The mean of the finite rows; zero where it does not exist.
fn mean(rows: &[f32], dims: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; dims];
    let mut count = 0u64;
    for row in rows.chunks_exact(dims) {
        for (s, x) in sums.iter_mut().zip(row) {
            *s += f64::from(*x);
        }
        count += 1;
    }
    sums.iter()
        .map(|s| {
            let mean = (s / count.max(1) as f64) as f32;
            if mean.is_finite() { mean } else { 0.0 }
        })
        .collect()
}

/// The power of two that brings residuals to about length one, so that half-precision factors fit.
fn scale(
    sample: &[f32],
    dims: usize,
    means: &[f32],
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<f32> {
    let rows = &sample[..sample.len().min(1000 * dims)];
    let mut lists = vec![0; rows.len() / dims];
    Assigner::new(means, dims)?.assign(rows, &mut lists, pool, &|_, _| progress.tick())?;
    let (mut sum, mut count) = (0.0f64, 0u32);
    for (row, &list) in rows.chunks_exact(dims).zip(&lists) {
        let d = f64::from(kernel::l2_squared(row, &means[list as usize * dims..][..dims]));
        if d.is_finite() {
            (sum, count) = (sum + d, count + 1);
        }
    }
    let root = (sum / f64::from(count.max(1))).sqrt();
    if !(root > 0.0 && root.is_finite()) {
        return Ok(1.0);
    }
    // Limited so that its square and its inverse neither overflow nor become subnormal.
    Ok((-root.log2().round()).clamp(-60.0, 60.0).exp2() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_with_the_rows() {
        assert_eq!([0, 9_999, 10_000, 1_000_000].map(|rows| wanted_lists(0, rows)), [1, 1, 40, 4000]);
        assert_eq!(wanted_lists(0, 10_000_000), 12_649);
        assert_eq!(wanted_lists(0, u64::MAX), u64::from(MAX_LISTS));
        assert_eq!(wanted_lists(7, 10_000_000), 7);
    }
}
