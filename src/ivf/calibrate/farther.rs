//! How many lists a query needs that is farther from the rows than the calibration's own queries are.
//!
//! The neighbours of a row are in the lists around it. A query between the clusters, or outside all of them,
//! has its neighbours in lists whose scores hardly differ, and the calibrated number of lists finds too few
//! of them. Such a query is recognised by its distance from the nearest centroid. The *excess* of a list is
//! its score minus the least score, in units that are the same for near and far queries. The calibration
//! measures the excess of the lists that hold the neighbours of such queries. A far query reads all lists up
//! to that excess, but at most a multiple of the usual number (`search/effort.rs`).
//!
//! Real queries are not known, so far queries are made from rows in three ways. The way with the largest
//! excess counts. Few of the calibration's own queries may be treated as far: the distance is raised until
//! all of them together read hardly more lists than before.

use super::batch::{LEAST_QUERIES, QUERIES};
use super::displaced::{self, Displaced, KINDS};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::{self, Router};
use crate::memory::{self, Grow};
use crate::page::Store;
use crate::page::meta::{Farther, LEVELS, TARGETS};
use crate::value::TotalF32;

/// Share of the calibration's queries that are not far, at least.
const ORDINARY: f64 = 0.92;
/// The lists that its far queries read in addition may be at most this share of what all its queries read.
const EXTRA: f64 = 0.015;
/// Share of the allowed loss that the displaced queries may have. The rest is a reserve, because real queries
/// differ from them.
const LOSS: f64 = 0.75;
/// A kind with fewer far queries is not used.
const LEAST_FAR: usize = 10;

/// Measures which lists far queries need, when the rest of the calibration is complete. `points` are the
/// calibration's queries. Also returns the displaced queries for which it was measured, of each kind.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub(super) fn measure<S: Store>(
    store: &S,
    directory: &Directory,
    points: &[f32],
    progress: &dyn Progress,
) -> Result<(Farther, Vec<Displaced>)> {
    let all = points.len() / directory.padded();
    // There are no points between bit strings. And if rows equal their centroids, the unit of excess is zero.
    if directory.codec.is_exact() || all < LEAST_QUERIES || directory.mean_radius() <= 0.0 {
        return Ok((Farther::default(), Vec::new()));
    }
    let ordinary = Ordinary::new(directory, points, progress)?;
    let nearest = ordinary.farthest.last().map_or(f32::INFINITY, |query| query.distance);
    let mut kinds = Vec::new();
    for kind in KINDS {
        kinds.push(displaced::read(store, directory, points, (kind, nearest), progress)?);
    }
    let farther = choose(directory, &ordinary, &kinds);
    Ok((farther, kinds))
}

fn choose(directory: &Directory, ordinary: &Ordinary, kinds: &[Displaced]) -> Farther {
    let mut measured = Farther::default();
    for (i, target) in TARGETS.into_iter().enumerate() {
        let planned = search::lists(directory, target, f64::from(LEVELS[0]));
        let share = 1.0 - LOSS * f64::from(1.0 - target);
        let Some((beyond, excess)) = ordinary.choose(planned, &|beyond| excess_beyond(kinds, beyond, share))
        else {
            return Farther::default();
        };
        (measured.beyond[i], measured.excesses[i]) = (beyond, excess);
    }
    let is_valid = measured.beyond.iter().chain(&measured.excesses).all(|x| x.is_finite());
    if is_valid { measured } else { Farther::default() }
}

/// The excess up to which the lists hold `share` of the neighbours of far queries, for the kind of queries
/// with the largest; `None` if no kind has enough far queries.
fn excess_beyond(kinds: &[Displaced], beyond: f32, share: f64) -> Option<f32> {
    let found = kinds.iter().map(|kind| &kind.neighbours);
    let far = found.map(|found| &found[found.partition_point(|(distance, _)| *distance <= beyond)..]);
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
