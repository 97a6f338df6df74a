//! When a scan reads on by what it has found (`search/onward.rs`).
//!
//! Where lists hold several clusters, their centroids lie between them. A query there is near a centroid and
//! far from all rows, and the calibrated number of lists finds few of its neighbours. Nothing tells it from
//! an ordinary query but the rows that it finds. So it reads on while the tenth of them is farther than
//! `beyond`, and the next list's score is not above that of the row by more than `excess`.
//!
//! An ordinary query whose cluster is in a later list looks the same, and also reads on: until the cluster is
//! found. That finds more, and the lists that all queries read can be fewer (`share`). The three numbers
//! are chosen together, by what walks along the lists (`walk.rs`) show: among those by which the ordinary
//! queries read hardly more lists and find no less, those by which displaced queries find most.

use super::batch::LEAST_QUERIES;
use super::farther::{anywhere, half_of, of_length_one};
use super::walk::{Walk, walks};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search;
use crate::kernel;
use crate::memory;
use crate::memory::Grow;
use crate::page::Store;
use crate::page::meta::{LEVELS, Onward, TARGETS};
use crate::random::SplitMix64;
use crate::value::{Metric, TotalF32};

/// Ordinary queries, at most.
const ORDINARY: usize = 600;
/// Displaced queries of each kind.
const DISPLACED: usize = 40;
/// Lists that ordinary queries may read more, as a share. What the sample shows is taken for less than the
/// truth by two standard errors: few queries read very many.
const EXTRA: f64 = 0.01;
/// And together with those that they read for being far from the centroids.
const EXTRA_IN_ALL: f64 = 0.018;
/// What displaced queries find more than without the rule, as a share, so that it is worth having.
const LEAST_WORTH: f64 = 0.002;
/// And what they must find more for each share of the usual lists that ordinary queries read.
const COST: f64 = 0.03;
/// Shares of the usual lists.
const SHARES: [f64; 9] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5];
/// Shares of the ordinary queries that are nearer.
const NEARER: [f64; 6] = [0.5, 0.75, 0.9, 0.96, 0.985, 0.995];
/// The excess goes up to the lists of all neighbours of displaced queries but for these shares of the loss
/// allowed.
const LOSSES: [f64; 5] = [0.6, 0.9, 1.5, 2.5, 5.0];

/// How queries are displaced from the rows.
#[derive(Clone, Copy)]
enum Kind {
    /// The mean of two rows.
    Two,
    /// The mean of eight.
    Eight,
    /// The mean of many.
    Many,
    /// Half the sum of four.
    Four,
    /// Half way between a row and the mean of all.
    Half,
    /// As far from the mean as a row, in a random direction.
    Anywhere,
    /// A centroid.
    Centroid,
}

const KINDS: [Kind; 7] =
    [Kind::Two, Kind::Eight, Kind::Many, Kind::Four, Kind::Half, Kind::Anywhere, Kind::Centroid];

/// Measures the rule for an index whose calibration is complete but for this. `points` are the calibration's
/// queries, each of which finds itself first if `itself` is 1. Ordinary ones read `worth` lists.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub fn measure<S: Store>(
    store: &S,
    directory: &Directory,
    points: &[f32],
    (itself, worth): (usize, u32),
    progress: &dyn Progress,
) -> Result<Onward> {
    let padded = directory.padded();
    let all = points.len() / padded;
    // One bit says too little about the rows that are found.
    let knows = directory.extended.is_some() && directory.metric() != Metric::Hamming;
    if !knows || all < LEAST_QUERIES || directory.mean_radius() <= 0.0 {
        return Ok(Onward::default());
    }
    let mut some = memory::with_capacity(ORDINARY.min(all) * padded)?;
    for point in points.chunks_exact(padded).step_by(all.div_ceil(ORDINARY)) {
        some.try_extend(point)?;
    }
    let ordinary = walks(store, directory, &some, (itself, worth), progress)?;
    let mut kinds = Vec::new();
    for kind in KINDS {
        let queries = displaced(directory, points, kind)?;
        kinds.push(walks(store, directory, &queries, (0, directory.lists()), progress)?);
    }
    let (mut measured, mut rule) = (Onward::default(), NONE);
    for (i, target) in TARGETS.into_iter().enumerate() {
        let usual = search::lists(directory, target, f64::from(LEVELS[0]));
        let sample = Sample { target: i, usual, all: directory.lists(), ordinary: &ordinary, kinds: &kinds };
        rule = sample.choose(rule);
        measured.shares[i] = rule.share as f32;
        (measured.beyond[i], measured.excesses[i]) = (rule.beyond, rule.excess);
    }
    Ok(measured)
}

#[derive(Clone, Copy)]
struct Rule {
    share: f64,
    beyond: f32,
    excess: f32,
}

/// The rule by which no scan reads on.
const NONE: Rule = Rule { share: 1.0, beyond: f32::MAX, excess: 0.0 };

/// The walks, for one target.
struct Sample<'a> {
    target: usize,
    usual: f64,
    all: u32,
    ordinary: &'a [Walk],
    kinds: &'a [Vec<Walk>],
}

impl Sample<'_> {
    /// The best rule, or the one for the target `before`.
    fn choose(&self, before: Rule) -> Rule {
        let fits = |rule: Rule| self.is_cheap(rule) && (rule.share == 1.0 || self.finds_more(rule));
        let worth = |rule: Rule| self.of_displaced(rule) - COST * self.cost(rule);
        let mut best = (worth(NONE) + LEAST_WORTH, NONE);
        let mut consider = |rule: Rule| {
            if fits(rule) {
                let worth = worth(rule);
                if worth > best.0 {
                    best = (worth, rule);
                }
            }
        };
        consider(before);
        let mut distances: Vec<f32> = self.ordinary.iter().map(|walk| self.distance(walk, 1.0)).collect();
        distances.sort_unstable_by(f32::total_cmp);
        let farthest = distances.last().copied().unwrap_or_default();
        let beyond = NEARER.map(|share| distances[(share * (distances.len() - 1) as f64) as usize]);
        let beyond =
            beyond.into_iter().chain([1.1, 1.5].map(|times| farthest + (times - 1.0) * farthest.abs()));
        for beyond in [-f32::MAX].into_iter().chain(beyond).filter(|beyond| beyond.is_finite()) {
            let mut shares = SHARES.into_iter().filter(|share| *share == 1.0 || self.usual * share >= 1.0);
            for (share, loss) in shares.by_ref().flat_map(|share| LOSSES.map(|loss| (share, loss))) {
                let Some(excess) = self.excess(share, beyond, loss) else { continue };
                consider(Rule { share, beyond, excess });
            }
        }
        best.1
    }

    fn first(&self, walk: &Walk, share: f64) -> u32 {
        search::whole(share * self.usual + walk.further[self.target], walk.dither).min(self.all)
    }

    /// How far what the first lists have is.
    fn distance(&self, walk: &Walk, share: f64) -> f32 {
        walk.found.distance(walk.tenth(self.first(walk, share)))
    }

    /// What the queries find.
    fn of(&self, walks: &[Walk], rule: Rule) -> f64 {
        let found = walks.iter().map(|walk| walk.recall(self.read(walk, rule)));
        found.sum::<f64>() / walks.len().max(1) as f64
    }

    fn read(&self, walk: &Walk, rule: Rule) -> u32 {
        walk.read(self.first(walk, rule.share), rule.beyond, rule.excess)
    }

    /// Lists that ordinary queries read, as a share of the usual ones.
    fn cost(&self, rule: Rule) -> f64 {
        let read = self.ordinary.iter().map(|walk| f64::from(self.read(walk, rule)));
        read.sum::<f64>() / (self.usual * self.ordinary.len().max(1) as f64)
    }

    /// Whether ordinary queries read hardly more lists.
    fn is_cheap(&self, rule: Rule) -> bool {
        let (mut usual, mut in_all, mut sum, mut squares) = (0.0, 0.0, 0.0, 0.0);
        for walk in self.ordinary {
            let lists = f64::from(search::whole(self.usual, walk.dither).min(self.all));
            let read = f64::from(self.read(walk, rule));
            let more = read - f64::from(self.first(walk, 1.0));
            usual += lists;
            in_all += read - lists;
            sum += more;
            squares += more * more;
        }
        let count = self.ordinary.len().max(1) as f64;
        let error = (squares - sum * sum / count).max(0.0).sqrt();
        sum + 2.0 * error <= EXTRA * usual && in_all <= EXTRA_IN_ALL * usual
    }

    /// Whether ordinary queries find more, by more than the standard error.
    fn finds_more(&self, rule: Rule) -> bool {
        let (mut sum, mut squares) = (0.0, 0.0);
        for walk in self.ordinary {
            let more = walk.recall(self.read(walk, rule)) - walk.recall(self.first(walk, 1.0));
            sum += more;
            squares += more * more;
        }
        let count = self.ordinary.len().max(1) as f64;
        sum > (squares - sum * sum / count).max(0.0).sqrt()
    }

    /// What displaced queries find, as far as it was asked for.
    fn of_displaced(&self, rule: Rule) -> f64 {
        let target = f64::from(TARGETS[self.target]);
        let found = self.kinds.iter().map(|walks| self.of(walks, rule).min(target));
        found.sum::<f64>() / self.kinds.len() as f64
    }

    /// The excess of the lists of far queries' neighbours, by the kind that takes most.
    fn excess(&self, share: f64, beyond: f32, loss: f64) -> Option<f32> {
        let wanted = 1.0 - loss * (1.0 - f64::from(TARGETS[self.target]));
        let of_kind = |walks: &Vec<Walk>| {
            let far = walks.iter().filter(|walk| self.distance(walk, share) > beyond);
            let mut excesses: Vec<f32> = far.flat_map(Walk::excesses).collect();
            let count = excesses.len();
            let at = ((count as f64 * wanted).ceil() as usize).clamp(1, count.max(1)) - 1;
            let enough = count >= 10 * LEVELS[0] as usize;
            enough.then(|| *excesses.select_nth_unstable_by(at, f32::total_cmp).1)
        };
        self.kinds.iter().filter_map(of_kind).map(TotalF32).max().map(|excess| excess.0)
    }
}

fn mean_of<'a, const N: usize>(query: &mut [f32], mut row: impl FnMut() -> &'a [f32]) {
    half_of(query, std::array::from_fn::<_, N, _>(|_| row()));
    query.iter_mut().for_each(|x| *x *= 2.0 / N as f32);
}

/// Queries displaced from the points.
fn displaced(directory: &Directory, points: &[f32], kind: Kind) -> Result<Vec<f32>> {
    let padded = directory.padded();
    let mut random = SplitMix64(directory.meta.seed ^ 0x5eed ^ kind as u64);
    let mut query = memory::filled(0.0, padded)?;
    let mut queries: Vec<f32> = memory::with_capacity(DISPLACED * padded)?;
    for _ in 0..DISPLACED {
        let mut row = || &points[random.below(points.len() / padded) * padded..][..padded];
        match kind {
            Kind::Two => half_of(&mut query, [row(), row()]),
            Kind::Four => half_of(&mut query, [row(), row(), row(), row()]),
            Kind::Half => half_of(&mut query, [row()]),
            Kind::Eight => mean_of::<8>(&mut query, row),
            Kind::Many => mean_of::<32>(&mut query, row),
            Kind::Anywhere => {
                let row = row();
                let length = kernel::inner_product(row, row).sqrt();
                anywhere(directory, length, &mut query, &mut random)?;
            }
            Kind::Centroid => {
                let (codes, scale) = directory.centroid(random.below(directory.lists() as usize) as u32);
                query.iter_mut().zip(codes).for_each(|(q, code)| *q = scale * f32::from(*code));
            }
        }
        of_length_one(directory, &mut query);
        if query.iter().all(|x| x.is_finite()) {
            queries.try_extend(&query)?;
        }
    }
    Ok(queries)
}
