//! What queries take that lie farther from the rows than the calibration's own do.
//!
//! A row's neighbours lie in the lists around it. A query between the clusters, or beside all of them, has its neighbours
//! in lists whose scores hardly differ, and the calibrated number of lists finds too few. What tells such a query is its
//! distance from the nearest centroid. What it takes is measured as the *excess* of the lists that hold its neighbours:
//! their score less the least, in units that are alike for near and far queries. It reads all lists up to that.
//!
//! Nobody knows what will be asked, so queries are made that are displaced from the rows in three ways, and the way that
//! takes most says how far the excess goes. Few of the calibration's own queries may be taken for such: their share falls
//! until all of them together read hardly more lists than before.

use super::calibrate::{Batch, LEAST_QUERIES, QUERIES, with_reserve};
use super::directory::Directory;
use super::search::{self, Router};
use crate::error::Result;
use crate::ivf::build::Progress;
use crate::kernel;
use crate::memory::{self, Grow};
use crate::page::Store;
use crate::page::meta::{Farther, LEVELS, TARGETS};
use crate::random::SplitMix64;
use crate::value::{Metric, TotalF32};

/// Share of the calibration's queries that are not far, at least.
const ORDINARY: f64 = 0.95;
/// Lists that its far queries add to what all of its queries read, at most.
const EXTRA: f64 = 0.02;
/// Displaced queries of each kind.
const DISPLACED: usize = 80;
/// Fewer far queries of a kind say nothing about it.
const LEAST_FAR: usize = 10;

/// How queries are displaced from the rows.
#[derive(Clone, Copy)]
enum Kind {
    /// Half way between two rows.
    Between,
    /// As far from the mean as a row, in the direction of no row: that of the sum of four.
    Beside,
    /// As far from the mean as a row, in a random direction.
    Anywhere,
}

/// Measures what far queries take of an index whose calibration is complete but for this. `points` are the
/// calibration's queries.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn measure<S: Store>(
    store: &S,
    directory: &Directory,
    points: &[f32],
    progress: &dyn Progress,
) -> Result<Farther> {
    let padded = directory.padded();
    let all = points.len() / padded;
    let unknown = Farther::default();
    // Between strings of bits there are none, and where rows equal their centroids there is no unit.
    if directory.metric() == Metric::Hamming || all < LEAST_QUERIES || directory.mean_radius() <= 0.0 {
        return Ok(unknown);
    }
    let mut ordinary = Ordinary::new(directory, points)?;
    let beyond = ordinary.quantile(ORDINARY);
    let mut excesses = [0.0f32; TARGETS.len()];
    for kind in [Kind::Between, Kind::Beside, Kind::Anywhere] {
        let far = far_queries(directory, points, kind, beyond)?;
        progress.tick()?;
        if far.len() / padded < LEAST_FAR {
            continue;
        }
        let mut found = excesses_of(store, directory, &far, progress)?;
        found.sort_unstable_by(f32::total_cmp);
        for (excess, target) in excesses.iter_mut().zip(TARGETS) {
            *excess = excess.max(quantile(&found, f64::from(with_reserve(target))));
        }
    }
    let beyond = ordinary.raise(directory, points, &excesses);
    let measured = Farther { beyond, excesses };
    let is_valid = beyond.is_finite() && excesses.iter().all(|e| e.is_finite());
    Ok(if is_valid && measured.is_known() { measured } else { unknown })
}

/// The value below which `share` of the ascending `values` are.
fn quantile(values: &[f32], share: f64) -> f32 {
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(0.0)
}

/// The calibration's own queries.
struct Ordinary {
    router: Router,
    /// Distance and number of each, the farthest first.
    distances: Vec<(f32, usize)>,
}

impl Ordinary {
    fn new(directory: &Directory, points: &[f32]) -> Result<Self> {
        let (padded, mut router) = (directory.padded(), Router::default());
        let all = points.len() / padded;
        // Users may have given any number of them.
        let step = all.div_ceil(*QUERIES.end());
        let mut distances = memory::with_capacity(all.div_ceil(step))?;
        for (i, point) in points.chunks_exact(padded).enumerate().step_by(step) {
            router.set(directory, point);
            distances.try_push((router.distance(directory), i))?;
        }
        distances.sort_unstable_by_key(|&(distance, i)| (std::cmp::Reverse(TotalF32(distance)), i));
        Ok(Self { router, distances })
    }

    fn quantile(&self, share: f64) -> f32 {
        let at = ((1.0 - share) * self.distances.len() as f64) as usize;
        self.distances.get(at).map_or(f32::INFINITY, |&(distance, _)| distance)
    }

    /// The least distance, above that of [`ORDINARY`] queries, beyond which far ones add no more than [`EXTRA`] lists.
    fn raise(&mut self, directory: &Directory, points: &[f32], excesses: &[f32; TARGETS.len()]) -> f32 {
        let (padded, count) = (directory.padded(), self.distances.len() as f64);
        let most = ((1.0 - ORDINARY) * count) as usize;
        let planned = TARGETS.map(|target| search::lists(directory, target, f64::from(LEVELS[0])));
        let mut extra = [0.0; TARGETS.len()];
        for &(distance, i) in self.distances.iter().take(most) {
            self.router.set(directory, &points[i * padded..][..padded]);
            for ((extra, excess), planned) in extra.iter_mut().zip(excesses).zip(planned) {
                let lists = self.router.count_within(directory, *excess) as f64;
                *extra += (lists - planned).max(0.0) / planned;
            }
            if extra.iter().any(|extra| *extra > EXTRA * count) {
                return distance;
            }
        }
        self.quantile(ORDINARY)
    }
}

/// Queries displaced from the points, those of them that are far.
fn far_queries(directory: &Directory, points: &[f32], kind: Kind, beyond: f32) -> Result<Vec<f32>> {
    let padded = directory.padded();
    let mut random = SplitMix64(directory.meta.seed ^ kind as u64);
    let mut noise = memory::filled(0.0, directory.dims())?;
    let mut query = memory::filled(0.0, padded)?;
    let mut far: Vec<f32> = memory::with_capacity(DISPLACED * padded)?;
    let mut router = Router::default();
    for _ in 0..DISPLACED {
        let mut row = || &points[random.below(points.len() / padded) * padded..][..padded];
        match kind {
            Kind::Between => add(&mut query, [row(), row()]),
            Kind::Beside => add(&mut query, [row(), row(), row(), row()]),
            Kind::Anywhere => {
                let row = row();
                let length = kernel::inner_product(row, row).sqrt();
                noise.fill_with(|| normal(&mut random));
                directory.transform(&noise, &mut query);
                query.iter_mut().zip(&directory.origin).for_each(|(q, g)| *q += g);
                stretch(&mut query, length);
            }
        }
        if directory.metric() == Metric::Cosine {
            // Of length one, as all are before the origin is taken from them.
            query.iter_mut().zip(&directory.origin).for_each(|(q, g)| *q += g);
            stretch(&mut query, 1.0);
            query.iter_mut().zip(&directory.origin).for_each(|(q, g)| *q -= g);
        }
        router.set(directory, &query);
        if router.distance(directory) > beyond && query.iter().all(|x| x.is_finite()) {
            far.try_extend(&query)?;
        }
    }
    Ok(far)
}

/// Half of the sum: of two rows what is half way between them, of four a sum about as long as each of them is where they
/// have nothing in common.
fn add<const N: usize>(query: &mut [f32], rows: [&[f32]; N]) {
    query.fill(0.0);
    for row in rows {
        query.iter_mut().zip(row).for_each(|(q, x)| *q += 0.5 * x);
    }
}

fn stretch(query: &mut [f32], length: f32) {
    let factor = length / kernel::inner_product(query, query).sqrt();
    query.iter_mut().for_each(|q| *q *= factor);
}

/// About normal.
fn normal(random: &mut SplitMix64) -> f32 {
    ((0..12).map(|_| random.unit()).sum::<f64>() - 6.0) as f32
}

/// The excess of the list of each neighbour of the queries.
fn excesses_of<S: Store>(
    store: &S,
    directory: &Directory,
    queries: &[f32],
    progress: &dyn Progress,
) -> Result<Vec<f32>> {
    let mut found = Vec::new();
    let mut batch = Batch::new(store, directory)?;
    batch.read(queries, LEVELS[0] as usize, progress, &mut |router, lists| {
        for list in lists {
            found.try_push(router.excess(directory, list))?;
        }
        Ok(())
    })?;
    Ok(found)
}
