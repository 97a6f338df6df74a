//! The effort of a scan: number of lists and width of the bounds for a recall target.

use super::route::Router;
use crate::ivf::directory::Directory;
use crate::page::Meta;
use crate::page::meta::{LEVELS, TARGETS};
use crate::quant::Width;
use crate::random::SplitMix64;

/// Exponent with which the number of lists grows with the number of rows, beyond the largest level measured:
/// the exponent between the two largest levels, within these bounds.
const GROWTH: std::ops::RangeInclusive<f64> = 0.35..=1.0;
/// A query that is unlike the calibration's reads at most this many times the usual number of lists. Of ten
/// million rows such queries otherwise read up to three quarters of all lists, and found hardly more.
const MOST: f64 = 16.0;
/// It may read this number in any case. In a small index with many clusters it may need all lists, and this
/// many take a fraction of a millisecond.
const MOST_AT_LEAST: f64 = 256.0;
/// Number of standard deviations that counts as exact: six for a row whose error is a third larger than
/// usual. Fewer than one row in 10⁹ exceeds it.
const EXACT: f32 = 8.0;

/// Width of the bounds. If no row may be lost, bounds are sound, except that an error may exceed `EXACT`
/// standard deviations. Sketches have no sound bounds that exclude rows, so that they are left to scans
/// without a limit.
pub fn width(directory: &Directory, target: f32, probes: u32, without_end: bool) -> Width {
    let lists = directory.lists();
    let reads_all = probes >= lists && lists > 1 && (without_end || !directory.sketch().is_lossy());
    let sound = target >= 1.0 || reads_all;
    let width = if sound {
        EXACT
    } else if lists == 1 && !directory.sketch().is_of_tokens() {
        // With one list no row is lost by routing, so wider bounds make a small index nearly exact at little
        // cost.
        3.0
    } else {
        match target {
            t if t <= 0.9 => 1.9,
            t if t <= 0.95 => 2.2,
            t if t <= 0.98 => 2.5,
            t if t <= 0.99 => 2.8,
            _ => 3.2,
        }
    };
    // The error is a cosine times sqrt(D - 1) deviations: it cannot be larger than that.
    let deviations = width.min(((directory.padded() - 1) as f32).sqrt());
    Width { deviations, sound }
}

/// Average number of lists to read, so that the `rows` nearest rows are found with the target recall.
pub fn lists(directory: &Directory, target: f32, rows: f64) -> f64 {
    let meta = &directory.meta;
    let all = f64::from(directory.lists());
    if target >= 1.0 || meta.probes.iter().all(|&p| p == 0) {
        return all;
    }
    // Between the measured levels the logarithms are interpolated linearly.
    let mut measured = meta.measured();
    let first = measured.next().map_or(meta.probes.map(f64::from), |(_, table)| table.map(f64::from));
    let (mut from, mut low) = (f64::from(LEVELS[0]), interpolate(&first, target).max(1.0));
    let (mut before, mut growth) = (None, *GROWTH.start());
    for (level, table) in measured {
        let (to, high) = (f64::from(level), interpolate(&table.map(f64::from), target).max(low));
        let slope = (high / low).ln() / (to / from).ln();
        if rows <= to {
            return (low * (rows / from).max(1.0).powf(slope)).clamp(1.0, all);
        }
        // Where a cluster ends between two of them one alone says little.
        growth = (slope + before.unwrap_or(slope)) / 2.0;
        before = Some(slope);
        (from, low) = (to, high);
    }
    if rows <= from {
        return low.min(all);
    }
    let lists = low * (rows / from).powf(growth.clamp(*GROWTH.start(), *GROWTH.end()));
    lists.max(holding(meta, rows * f64::from(target))).clamp(1.0, all)
}

/// Lists that hold so many rows, if they hold as many as the others.
fn holding(meta: &Meta, rows: f64) -> f64 {
    rows * f64::from(meta.lists) / (meta.built_rows as f64).max(1.0)
}

/// How many lists a query reads in addition to the calibrated number, if it is farther from the rows than the
/// calibration's queries are. The router must have computed its distance.
pub fn further(directory: &Directory, target: f32, router: &Router) -> f64 {
    let far = &directory.meta.farther;
    if target >= 1.0 || !far.is_known() {
        return 0.0;
    }
    let beyond = interpolate(&far.beyond.map(f64::from), target);
    if f64::from(router.distance(directory)) <= beyond {
        return 0.0;
    }
    let excess = interpolate(&far.excesses.map(f64::from), target).max(0.0);
    let within = router.count_within(directory, excess as f32) as f64;
    let usual = lists(directory, target, f64::from(LEVELS[0]));
    (within - usual).max(0.0).min(f64::from(most(usual)) - usual)
}

/// The most lists that a far query, or one that reads on, may read. `usual` is the number for other queries.
pub fn most(usual: f64) -> u32 {
    (MOST * usual).max(MOST_AT_LEAST).ceil() as u32
}

/// The rule by which scans read on for what they have found; see [`super::onward`].
#[derive(Clone, Copy, Debug)]
pub struct Onward {
    /// The share of the usual lists that is read in any case.
    pub share: f64,
    /// A scan reads on only while its tenth row is farther than this.
    pub beyond: f32,
    /// A scan reads on only while the next list's excess is at most this.
    pub excess: f32,
}

/// The rule for a target: that of the next higher measured one.
pub fn onward(directory: &Directory, target: f32) -> Option<Onward> {
    let measured = &directory.meta.onward;
    if target >= 1.0 || !measured.is_known() {
        return None;
    }
    let at = TARGETS.iter().position(|&t| t >= target)?;
    // Between two targets the larger share holds, because a small share needs the numbers of its own target.
    let lower = if TARGETS[at] > target { at.saturating_sub(1) } else { at };
    let share = measured.shares[at].max(measured.shares[lower]);
    Some(Onward { share: f64::from(share), beyond: measured.beyond[at], excess: measured.excesses[at] })
}

/// Rounds `lists` up or down by the query's `dither`, so that the average over queries is `lists`. (One list
/// more may change recall by several hundredths.)
pub fn whole(lists: f64, dither: f64) -> u32 {
    (lists - dither).ceil().max(1.0) as u32
}

/// A number in [0, 1) that depends only on the query, so that the same query always reads the same lists.
pub fn dither(point: &[f32]) -> f64 {
    // The rotation has mixed all coordinates into each.
    let bits = point.iter().take(8).fold(0, |bits, x| SplitMix64(bits ^ u64::from(x.to_bits())).bits());
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The table interpolated at `target`, linearly in the logit; beyond its ends it is extrapolated.
fn interpolate(table: &[f64; TARGETS.len()], target: f32) -> f64 {
    let logit = |t: f32| f64::from(t / (1.0 - t)).ln();
    let last = TARGETS.len() - 1;
    let at = TARGETS.iter().position(|&t| t >= target).unwrap_or(last).max(1);
    let (low, high) = (TARGETS[at - 1], TARGETS[at]);
    let share = (logit(target) - logit(low)) / (logit(high) - logit(low));
    table[at - 1] + share * (table[at] - table[at - 1])
}
