//! When a scan reads on for what it has found (`search/onward.rs`).
//!
//! If lists have several clusters each, their centroids lie between the clusters. A query there is near a
//! centroid and far from all rows, and the calibrated number of lists has few of its neighbours. Only the
//! rows that it finds tell it from an ordinary query. So a scan reads on while its tenth row is farther than
//! `beyond` and the excess of the next list is at most `excess`, up to a multiple of the usual lists.
//!
//! An ordinary query whose cluster is in a later list looks the same. It reads on until the cluster is found,
//! and so finds more. Then all queries may read fewer lists in any case (`share`). The three numbers are
//! chosen together, by walks along the lists (`walk.rs`). Only rules are taken by which ordinary queries read
//! hardly more lists and find no less. The best of these is that by which displaced queries find most.

use super::batch::Neighbour;
use super::displaced::Displaced;
use super::walk::Walk;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::search::{self, Router};
use crate::memory;
use crate::page::meta::{LEVELS, Onward, TARGETS};

/// Number of ordinary queries for which the rule is measured, at most.
pub(super) const ORDINARY: usize = 400;
/// The lists that ordinary queries read in addition may be at most this share of the usual ones. Two standard
/// errors are added to what the sample shows, because a few queries read very many lists.
const EXTRA: f64 = 0.01;
/// The same together with the lists that queries read which are far from all centroids.
const EXTRA_IN_ALL: f64 = 0.018;
/// Displaced queries must find this share more of their neighbours than without a rule.
const LEAST_WORTH: f64 = 0.002;
/// A rule by which ordinary queries read twice as many lists must find this share more. This decides between
/// rules by which displaced queries find the same.
const COST: f64 = 0.03;
/// Share of the allowed loss that displaced queries may have. The rest is a reserve, because they are few and
/// real queries differ from them.
const LOSS: f64 = 0.5;
/// Candidates for the share of the usual lists.
const SHARES: [f64; 9] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5];
/// Candidates for the distance beyond which scans read on: quantiles of the ordinary queries' distances,
const NEARER: [f64; 6] = [0.5, 0.75, 0.9, 0.96, 0.985, 0.995];
/// and more than the largest by these shares of it.
const FARTHER: [f32; 2] = [0.1, 0.5];
/// Candidates for the excess: within it are the lists of the neighbours of displaced queries, but for these
/// multiples of the allowed loss.
const LOSSES: [f64; 7] = [5.0, 2.5, 1.5, 0.9, 0.5, 0.2, 0.05];
/// With fewer far displaced queries, a distance is not used.
const LEAST_FAR: usize = 10;

/// Measures the rule, when the rest of the calibration is complete. `own` are the calibration's own queries.
///
/// # Errors
/// Out of memory.
pub(super) fn measure(directory: &Directory, own: Own<'_>, displaced: &mut [Displaced]) -> Result<Onward> {
    // One bit says too little about the rows that are found.
    if directory.extended.is_none() || displaced.is_empty() || own.trails.is_empty() {
        return Ok(Onward::default());
    }
    let (padded, mut router) = (directory.padded(), Router::default());
    let mut ordinary = memory::with_capacity(own.trails.len())?;
    for (query, trail) in own.trails {
        let point = &own.points[*query * padded..][..padded];
        ordinary.push(Walk::new(directory, &mut router, (point, trail), own.itself)?);
    }
    let mut kinds = Vec::new();
    for Displaced { points, trails, .. } in displaced {
        let mut walks = memory::with_capacity(trails.len())?;
        for (point, trail) in points.chunks_exact(padded).zip(trails) {
            walks.push(Walk::new(directory, &mut router, (point, trail), 0)?);
        }
        kinds.push(walks);
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

/// The calibration's own queries.
pub(super) struct Own<'a> {
    /// All of them.
    pub points: &'a [f32],
    /// For some of them: the number of the query, and the rows that were among its nearest when they were
    /// read.
    pub trails: &'a mut [(usize, Vec<Neighbour>)],
    /// 1 if each finds itself as its nearest neighbour, which is not counted.
    pub itself: usize,
}

#[derive(Clone, Copy)]
struct Rule {
    share: f64,
    beyond: f32,
    excess: f32,
}

/// The rule by which no scan reads on.
const NONE: Rule = Rule { share: 1.0, beyond: f32::MAX, excess: 0.0 };

/// What ordinary queries read by a rule.
struct Cost {
    /// Lists, as a share of the usual ones.
    lists: f64,
    /// Whether these are hardly more than without the rule.
    is_low: bool,
    /// Whether the queries find more, by more than the standard error.
    finds_more: bool,
}

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
        let mut best = Best { worth: self.of_displaced(NONE) - COST + LEAST_WORTH, rule: NONE };
        self.consider(before, &mut best);
        for beyond in self.distances() {
            for share in SHARES.into_iter().filter(|share| *share == 1.0 || self.usual * share >= 1.0) {
                let excesses = self.excesses(share, beyond);
                for excess in LOSSES.iter().filter_map(|loss| self.within(&excesses, *loss)) {
                    // The greater the excess, the more is read.
                    if !self.consider(Rule { share, beyond, excess }, &mut best) {
                        break;
                    }
                }
            }
        }
        best.rule
    }

    /// Takes the rule if it is better than the best one. Returns whether it is cheap enough, as far as known.
    fn consider(&self, rule: Rule, best: &mut Best) -> bool {
        let found = self.of_displaced(rule);
        // Ordinary queries read at least their share of the usual lists.
        if found - COST * rule.share <= best.worth {
            return true;
        }
        let cost = self.cost(rule);
        let worth = found - COST * cost.lists;
        if cost.is_low && (rule.share == 1.0 || cost.finds_more) && worth > best.worth {
            *best = Best { worth, rule };
        }
        cost.is_low
    }

    /// Distances beyond which scans may read on: quantiles of the ordinary queries' distances.
    fn distances(&self) -> impl Iterator<Item = f32> {
        let mut distances: Vec<f32> = self.ordinary.iter().map(|walk| self.distance(walk, 1.0)).collect();
        distances.sort_unstable_by(f32::total_cmp);
        let farthest = distances.last().copied().unwrap_or_default();
        let last = distances.len().saturating_sub(1) as f64;
        let quantiles = NEARER.map(|share| distances[(share * last) as usize]);
        let more = FARTHER.map(|more| farthest + more * farthest.abs());
        [-f32::MAX].into_iter().chain(quantiles).chain(more).filter(|beyond| beyond.is_finite())
    }

    fn first(&self, walk: &Walk, share: f64) -> u32 {
        search::whole(share * self.usual + walk.further[self.target], walk.dither).min(self.all)
    }

    /// The distance of the tenth row of the first lists.
    fn distance(&self, walk: &Walk, share: f64) -> f32 {
        walk.found.distance(walk.tenth(self.first(walk, share)))
    }

    fn read(&self, walk: &Walk, rule: Rule) -> u32 {
        let first = self.first(walk, rule.share);
        walk.read(first, rule.beyond, rule.excess).min(first.max(search::most(self.usual)))
    }

    fn cost(&self, rule: Rule) -> Cost {
        let (mut usual, mut lists) = (0.0, 0.0);
        let (mut more, mut found) = (Sum::default(), Sum::default());
        for walk in self.ordinary {
            let (first, read) = (self.first(walk, 1.0), self.read(walk, rule));
            usual += f64::from(search::whole(self.usual, walk.dither).min(self.all));
            lists += f64::from(read);
            more.add(f64::from(read) - f64::from(first));
            found.add(walk.recall(read) - walk.recall(first));
        }
        let is_low = more.sum + 2.0 * more.error() <= EXTRA * usual && lists <= (1.0 + EXTRA_IN_ALL) * usual;
        Cost { lists: lists / usual.max(1.0), is_low, finds_more: found.sum > found.error() }
    }

    /// The share of their neighbours that displaced queries find; of each kind up to the target.
    fn of_displaced(&self, rule: Rule) -> f64 {
        let target = 1.0 - LOSS * (1.0 - f64::from(TARGETS[self.target]));
        let of_kind = |walks: &Vec<Walk>| {
            let found = walks.iter().map(|walk| walk.recall(self.read(walk, rule)));
            (found.sum::<f64>() / walks.len().max(1) as f64).min(target)
        };
        self.kinds.iter().map(of_kind).sum::<f64>() / self.kinds.len() as f64
    }

    /// The excess of the lists of displaced queries' neighbours, ascending, if scans of them may read on.
    fn excesses(&self, share: f64, beyond: f32) -> Vec<f32> {
        let far = self.kinds.iter().flatten().filter(|walk| self.distance(walk, share) > beyond);
        let mut excesses: Vec<f32> = far.flat_map(Walk::excesses).collect();
        excesses.sort_unstable_by(f32::total_cmp);
        excesses
    }

    /// The excess within which all but a multiple `loss` of the allowed loss are.
    fn within(&self, excesses: &[f32], loss: f64) -> Option<f32> {
        let wanted = 1.0 - loss * (1.0 - f64::from(TARGETS[self.target]));
        let at = (excesses.len() as f64 * wanted).ceil() as usize;
        let enough = excesses.len() >= LEAST_FAR * LEVELS[0] as usize;
        excesses.get(at.max(1) - 1).copied().filter(|_| enough)
    }
}

/// The best rule so far: what displaced queries find by it, less what it costs ordinary ones.
struct Best {
    worth: f64,
    rule: Rule,
}

/// A sum and its standard error.
#[derive(Default)]
struct Sum {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        self.sum += x;
        self.squares += x * x;
    }

    fn error(&self) -> f64 {
        (self.squares - self.sum * self.sum / self.count.max(1.0)).max(0.0).sqrt()
    }
}
