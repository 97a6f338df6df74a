//! How many lists a query needs that is farther from the rows than the calibration's own queries are.
//!
//! The neighbours of a row are in the lists around it. A query between the clusters, or outside all of them,
//! has its neighbours in lists whose scores hardly differ, and the calibrated number of lists finds too few
//! of them. Such a query is recognised by its distance from the nearest centroid. The *excess* of a list is
//! its score minus the least score, in units that are the same for near and far queries. The calibration
//! measures the excess of the lists that hold the neighbours of such queries. A far query reads all lists up
//! to that excess.
//!
//! Real queries are not known, so far queries are made from rows in three ways. The way with the largest
//! excess counts. Few of the calibration's own queries may be treated as far: the distance is raised until
//! all of them together read hardly more lists than before.

use super::batch::{Batch, LEAST_QUERIES, QUERIES};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::{self, Router};
use crate::kernel;
use crate::memory::{self, Grow};
use crate::page::Store;
use crate::page::meta::{Farther, LEVELS, TARGETS};
use crate::random::SplitMix64;
use crate::value::{Metric, TotalF32};

/// Share of the calibration's queries that are not far, at least.
const ORDINARY: f64 = 0.92;
/// The lists that its far queries read in addition may be at most this share of what all its queries read.
const EXTRA: f64 = 0.015;
/// Share of the allowed loss that the displaced queries may have. The rest is a reserve, because real queries
/// differ from them.
const LOSS: f64 = 0.75;
/// Displaced queries of each kind.
const DISPLACED: usize = 80;
/// A kind with fewer far queries is not used.
const LEAST_FAR: usize = 10;

/// How queries are displaced from the rows.
#[derive(Clone, Copy)]
enum Kind {
    /// Half way between two rows.
    Between,
    /// As far from the mean as a row, in the direction of the sum of four rows.
    Beside,
    /// As far from the mean as a row, in a random direction.
    Anywhere,
}

/// Measures which lists far queries need, when the rest of the calibration is complete. `points` are the
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
    let all = points.len() / directory.padded();
    // There are no points between bit strings. And if rows equal their centroids, the unit of excess is zero.
    if directory.metric() == Metric::Hamming || all < LEAST_QUERIES || directory.mean_radius() <= 0.0 {
        return Ok(Farther::default());
    }
    let ordinary = Ordinary::new(directory, points, progress)?;
    let nearest = ordinary.farthest.last().map_or(f32::INFINITY, |query| query.distance);
    let mut kinds = [const { Vec::new() }; 3];
    for (kind, found) in [Kind::Between, Kind::Beside, Kind::Anywhere].into_iter().zip(&mut kinds) {
        let far = far_queries(directory, points, kind, nearest)?;
        *found = neighbours(store, directory, &far, progress)?;
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    }
    let mut measured = Farther::default();
    for (i, target) in TARGETS.into_iter().enumerate() {
        let planned = search::lists(directory, target, f64::from(LEVELS[0]));
        let share = 1.0 - LOSS * f64::from(1.0 - target);
        let Some((beyond, excess)) = ordinary.choose(planned, &|beyond| excess_beyond(&kinds, beyond, share))
        else {
            return Ok(Farther::default());
        };
        (measured.beyond[i], measured.excesses[i]) = (beyond, excess);
    }
    let is_valid = measured.beyond.iter().chain(&measured.excesses).all(|x| x.is_finite());
    Ok(if is_valid { measured } else { Farther::default() })
}

/// The excess up to which the lists hold `share` of the neighbours of far queries, for the kind of queries
/// with the largest; `None` if no kind has enough far queries. `kinds` has, for each kind, pairs of a query's
/// distance and the excess of a neighbour's list, ordered by distance.
fn excess_beyond(kinds: &[Vec<(f32, f32)>], beyond: f32, share: f64) -> Option<f32> {
    let far = kinds.iter().map(|found| &found[found.partition_point(|(distance, _)| *distance <= beyond)..]);
    let enough = far.filter(|far| far.len() >= LEAST_FAR * LEVELS[0] as usize);
    let excesses = enough.map(|far| {
        let mut excesses: Vec<f32> = far.iter().map(|(_, excess)| excess.max(0.0)).collect();
        let at = ((excesses.len() as f64 * share).ceil() as usize).clamp(1, excesses.len()) - 1;
        *excesses.select_nth_unstable_by(at, f32::total_cmp).1
    });
    excesses.reduce(f32::max)
}

/// One of the calibration's own queries.
struct Own {
    distance: f32,
    /// The excess of all lists, ascending.
    excesses: Vec<f32>,
}

/// The calibration's own queries.
struct Ordinary {
    count: f64,
    /// The queries that may count as far, the farthest first.
    farthest: Vec<Own>,
}

impl Ordinary {
    fn new(directory: &Directory, points: &[f32], progress: &dyn Progress) -> Result<Self> {
        let (padded, mut router) = (directory.padded(), Router::default());
        let all = points.len() / padded;
        // Users may have passed any number of queries.
        let step = all.div_ceil(*QUERIES.end());
        let mut distances = memory::with_capacity(all.div_ceil(step))?;
        for (i, point) in points.chunks_exact(padded).enumerate().step_by(step) {
            router.set(directory, point)?;
            distances.try_push((router.distance(directory), i))?;
            progress.tick()?;
        }
        distances.sort_unstable_by_key(|&(distance, i)| (std::cmp::Reverse(TotalF32(distance)), i));
        let count = distances.len() as f64;
        let mut farthest = Vec::new();
        for &(distance, i) in distances.iter().take(1 + ((1.0 - ORDINARY) * count) as usize) {
            router.set(directory, &points[i * padded..][..padded])?;
            let mut excesses = memory::with_capacity(directory.lists() as usize)?;
            excesses.extend((0..directory.lists()).map(router.excesses(directory)));
            excesses.sort_unstable_by(f32::total_cmp);
            farthest.try_push(Own { distance, excesses })?;
        }
        Ok(Self { count, farthest })
    }

    /// The least distance for which queries beyond it read no more than the share [`EXTRA`] of the `planned`
    /// lists in addition; and the excess for these queries, computed by `excess`.
    fn choose(&self, planned: f64, excess: &dyn Fn(f32) -> Option<f32>) -> Option<(f32, f32)> {
        let fits = |(i, own): (usize, &Own)| {
            let excess = excess(own.distance)?;
            let extra = |own: &Own| {
                let lists = own.excesses.partition_point(|e| *e <= excess);
                (lists as f64 - planned).max(0.0)
            };
            let extra: f64 = self.farthest[..i].iter().map(extra).sum();
            (extra <= EXTRA * self.count * planned).then_some((own.distance, excess))
        };
        let farthest = || {
            // If there is none: the distance of the farthest query, with the excess for the nearest of them.
            let (first, last) = (self.farthest.first()?, self.farthest.last()?);
            Some((first.distance, excess(last.distance)?))
        };
        self.farthest.iter().enumerate().rev().find_map(fits).or_else(farthest)
    }
}

/// Makes queries from the points, displaced from them, and returns those that are far.
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
            Kind::Between => half_of(&mut query, [row(), row()]),
            Kind::Beside => half_of(&mut query, [row(), row(), row(), row()]),
            Kind::Anywhere => {
                let row = row();
                let length = kernel::inner_product(row, row).sqrt();
                noise.fill_with(|| normal(&mut random));
                directory.transform(&noise, &mut query);
                if directory.metric() == Metric::L2 {
                    add(&mut query, &directory.origin, 1.0);
                    stretch(&mut query, length);
                }
            }
        }
        if directory.metric() == Metric::Cosine {
            // Scaled to length one, as all vectors are before the origin is subtracted.
            add(&mut query, &directory.origin, 1.0);
            stretch(&mut query, 1.0);
            add(&mut query, &directory.origin, -1.0);
        }
        router.set(directory, &query)?;
        if router.distance(directory) > beyond && query.iter().all(|x| x.is_finite()) {
            far.try_extend(&query)?;
        }
    }
    Ok(far)
}

/// Half the sum of the rows. For two rows this is the point half way between them. For four independent rows
/// it is about as long as each of them.
fn half_of<const N: usize>(query: &mut [f32], rows: [&[f32]; N]) {
    query.fill(0.0);
    rows.iter().for_each(|row| add(query, row, 0.5));
}

fn add(query: &mut [f32], vector: &[f32], times: f32) {
    query.iter_mut().zip(vector).for_each(|(q, x)| *q += times * x);
}

fn stretch(query: &mut [f32], length: f32) {
    let factor = length / kernel::inner_product(query, query).sqrt();
    query.iter_mut().for_each(|q| *q *= factor);
}

/// About normal.
fn normal(random: &mut SplitMix64) -> f32 {
    ((0..12).map(|_| random.unit()).sum::<f64>() - 6.0) as f32
}

/// Returns, for each neighbour of each query, the query's distance and the excess of the neighbour's list.
fn neighbours<S: Store>(
    store: &S,
    directory: &Directory,
    queries: &[f32],
    progress: &dyn Progress,
) -> Result<Vec<(f32, f32)>> {
    let mut found = Vec::new();
    let mut batch = Batch::new(store, directory)?;
    batch.read(queries, LEVELS[0] as usize, progress, &mut |router, lists| {
        let (distance, excess) = (router.distance(directory), router.excesses(directory));
        for list in lists {
            found.try_push((distance, excess(list)))?;
        }
        Ok(())
    })?;
    Ok(found)
}
