//! How hard to search: lists to probe and width of the bounds for what was asked.

use crate::ivf::directory::Directory;
use crate::page::meta::TARGETS;

/// Rows for which the calibration table holds.
pub const CALIBRATED_ROWS: f64 = 10.0;
/// How the number of lists grows with the number of rows wanted, and with 1/selectivity (reference
/// algorithms section 7: measured -0.3 under filters).
const GROWTH: f64 = 0.35;
/// What "exact" means here: six deviations of a row whose error is a third larger than the usual, which not
/// one row in 10⁹ exceeds.
const EXACT: f32 = 8.0;

/// Width of the bounds, in standard deviations.
pub fn width(directory: &Directory, target: f32, probes: u32) -> f32 {
    let lists = directory.lists();
    let width = if target >= 1.0 || (probes >= lists && lists > 1) {
        EXACT
    } else if lists == 1 {
        // No row is lost by routing: a small index is nearly exact at little cost.
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
    width.min(((directory.padded() - 1) as f32).sqrt())
}

/// Lists to probe so that `rows` rows are found with the recall asked for.
pub fn probes(directory: &Directory, target: f32, rows: f64) -> u32 {
    let table = &directory.meta.probes;
    let lists = directory.lists();
    if target >= 1.0 || table.iter().all(|&p| p == 0) {
        return lists;
    }
    let base = interpolate(table, target);
    let grown = base * (rows / CALIBRATED_ROWS).max(1.0).powf(GROWTH);
    (grown.ceil() as u32).clamp(1, lists)
}

/// The table at `target`, linear in the logit, beyond its ends by the end's slope.
fn interpolate(table: &[u32; TARGETS.len()], target: f32) -> f64 {
    let logit = |t: f32| f64::from(t / (1.0 - t)).ln();
    let last = TARGETS.len() - 1;
    let at = TARGETS.iter().position(|&t| t >= target).unwrap_or(last).max(1);
    let (low, high) = (TARGETS[at - 1], TARGETS[at]);
    let (below, above) = (f64::from(table[at - 1]), f64::from(table[at]));
    let share = (logit(target) - logit(low)) / (logit(high) - logit(low));
    (below + share * (above - below)).max(1.0)
}
