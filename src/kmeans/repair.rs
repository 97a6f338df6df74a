//! Moves wasted centroids into lists that gain more from a second centroid. Wasted are those of empty lists,
//! and of lists whose rows have another centroid almost as near. Lloyd's iterations alone do not correct such
//! a state.

use super::gemm::{Rows, Work};
use super::members::{Assignment, Members};
use crate::error::Result;
use crate::memory;
use crate::random::SplitMix64;

/// In a round this share of the lists, those with the highest inertia, is tried, and one more list for every
/// empty list.
const SHARE: usize = 16;
/// Rows of a list that are tried as its second centroid.
const TRIES: usize = 3;

/// Moves centroids; `centroids` are the means of `members`. Returns whether a move certainly reduces the
/// inertia.
pub(super) fn repair(
    rows: &Rows,
    near: &[Assignment],
    members: &Members,
    centroids: &mut [f32],
    random: &mut SplitMix64,
    work: &Work,
) -> Result<bool> {
    let dims = rows.dims;
    let k = centroids.len() / dims;
    let sums = |f: fn(&Assignment) -> f32| -> Result<Vec<f64>> {
        let sum = |list| members.of(list).iter().map(|i| f64::from(f(&near[*i]))).sum();
        memory::collected((0..k).map(sum))
    };
    let inertia = sums(|x| x.best)?;
    // The largest possible cost of removing a list: its rows go to their second-nearest centroids.
    let loss = sums(|x| x.second - x.best)?;
    let by = |keys: &[f64]| {
        let mut lists = memory::collected(0..k)?;
        // Sorted in place, because a stable sort allocates memory.
        lists.sort_unstable_by(|a, b| keys[*a].total_cmp(&keys[*b]).then(a.cmp(b)));
        Ok(lists)
    };
    let mut spare = by(&loss)?.into_iter().peekable();
    let empty = (0..k).filter(|list| members.of(*list).is_empty()).count();
    let limit = empty + (k / SHARE).max(4);
    let mut repaired = false;
    // Lists that must keep their centroids, because they got a second centroid or the rows of a list whose
    // centroid was moved.
    let mut needed = memory::filled(false, k)?;
    let mut away = memory::filled(false, k)?;
    for donor in by(&inertia)?.into_iter().rev().take(limit) {
        work.tick()?;
        while spare.next_if(|list| needed[*list]).is_some() {}
        let Some(&list) = spare.peek() else { break };
        let rows_of = members.of(donor);
        if away[donor] || list == donor || rows_of.len() < 2 {
            continue;
        }
        let (best, gain) = second_centroid(rows, near, rows_of, inertia[donor], random)?;
        if gain > loss[list] {
            rows.copy(best, &mut centroids[list * dims..][..dims]);
            repaired = true;
        } else if members.of(list).is_empty() {
            nudge(rows, best, centroids, donor, list);
        } else {
            continue;
        }
        spare.next();
        needed[donor] = true;
        away[list] = true;
        members.of(list).iter().for_each(|i| needed[near[*i].next as usize] = true);
    }
    Ok(repaired)
}

/// Draws some rows of a list, with probabilities proportional to their squared distances from its mean.
/// Returns the one that, as a second centroid, saves most of the list's `inertia`, and how much it saves at
/// least.
fn second_centroid(
    rows: &Rows,
    near: &[Assignment],
    members: &[usize],
    inertia: f64,
    random: &mut SplitMix64,
) -> Result<(usize, f64)> {
    let mut point = memory::filled(0.0, rows.dims)?;
    let mut found = (members[members.len() - 1], f64::NEG_INFINITY);
    for _ in 0..TRIES {
        let mut left = random.unit() * inertia;
        let drawn = members.iter().find(|i| {
            left -= f64::from(near[**i].best);
            left < 0.0
        });
        let drawn = drawn.copied().unwrap_or(found.0);
        rows.copy(drawn, &mut point);
        let saved = |i: &usize| {
            let distance: f32 = rows.row(*i).zip(&point).map(|(x, p)| (x - p) * (x - p)).sum();
            f64::from((near[*i].best - distance).max(0.0))
        };
        // The drawn row itself is not counted: a single far row is no second group.
        let gain: f64 = members.iter().filter(|i| **i != drawn).map(saved).sum();
        if gain > found.1 {
            found = (drawn, gain);
        }
    }
    Ok(found)
}

/// Splits the centroid of `donor` into two a little apart, on the line to row `toward`.
fn nudge(rows: &Rows, toward: usize, centroids: &mut [f32], donor: usize, list: usize) {
    let dims = rows.dims;
    for (d, x) in rows.row(toward).enumerate() {
        let mean = centroids[donor * dims + d];
        centroids[list * dims + d] = mean + 0.1 * (x - mean);
        centroids[donor * dims + d] = mean - 0.1 * (x - mean);
    }
}
