//! Splits lists that have many more rows than others. Where rows are dense, one list can have ten times the
//! mean: its inertia is small all the same. But a query that reads it takes ten times as long.

use super::gemm::{Rows, Work};
use super::lloyd::lloyd;
use super::members::{Assignment, Members};
use crate::error::Result;
use crate::memory;
use crate::random::SplitMix64;

/// Lists with more than this many times the mean number of rows are split.
const WIDE: f64 = 2.5;
/// Into parts of about this many times the mean.
const PART: f64 = 1.25;
/// A part may have to be split again.
const PASSES: usize = 3;
/// Rounds of k-means in a list.
const ROUNDS: usize = 6;

/// Splits the wide ones of `k` lists. The number of lists stays the same: as many of the lists whose rows
/// have another centroid almost as near are given up. Returns whether a row moved.
pub(super) fn split(
    rows: &Rows,
    near: &mut [Assignment],
    k: usize,
    random: &mut SplitMix64,
    work: &Work,
) -> Result<bool> {
    let mean = near.len() as f64 / k as f64;
    let mut spare =
        Spare { order: Vec::new(), fixed: memory::filled(false, k)?, gone: memory::filled(false, k)? };
    let mut any = false;
    for _ in 0..PASSES {
        let members = Members::new(near, k)?;
        let size = |list: usize| members.of(list).len();
        let mut wide = memory::with_capacity(k)?;
        wide.extend((0..k).filter(|list| size(*list) as f64 > WIDE * mean));
        if wide.is_empty() {
            break;
        }
        wide.sort_unstable_by_key(|list| (usize::MAX - size(*list), *list));
        spare.order(near, &members, mean)?;
        let mut moved = false;
        for list in wide {
            let wanted = (size(list) as f64 / (PART * mean)).ceil() as usize;
            let parts = parts(rows, members.of(list), wanted, random, work)?;
            moved |= move_parts(near, &members, list, &parts, &mut spare)?;
        }
        if !moved {
            // Equal rows stay together.
            break;
        }
        any = true;
    }
    Ok(any)
}

/// The part of each of `members`.
fn parts(
    rows: &Rows,
    members: &[usize],
    parts: usize,
    random: &mut SplitMix64,
    work: &Work,
) -> Result<Vec<Assignment>> {
    let index = memory::collected(members.iter().map(|i| rows.index.map_or(*i, |index| index[*i])))?;
    let own = Rows { index: Some(&index), ..*rows };
    lloyd(&own, parts, ROUNDS, random, work.quiet())
}

/// Gives each part but the first a list of its own, as long as there are lists to spare. Returns whether one
/// got a list.
fn move_parts(
    near: &mut [Assignment],
    members: &Members,
    list: usize,
    parts: &[Assignment],
    spare: &mut Spare,
) -> Result<bool> {
    spare.fixed[list] = true;
    let most = parts.iter().map(|part| part.list).max().unwrap_or(0) as usize;
    let mut lists = memory::filled(None, most + 1)?;
    let mut first = true;
    for (i, part) in members.of(list).iter().zip(parts) {
        let own = &mut lists[part.list as usize];
        if own.is_none() {
            *own = Some(if std::mem::take(&mut first) {
                list
            } else {
                spare.take(near, members).unwrap_or(list)
            });
        }
        near[*i].list = own.unwrap_or(list) as u32;
    }
    Ok(lists.iter().flatten().any(|own| *own != list))
}

/// The lists that can be given up.
struct Spare {
    /// By falling cost.
    order: Vec<usize>,
    /// Lists that stay: they were split or made, or have taken rows of a list that was given up.
    fixed: Vec<bool>,
    /// Lists that were given up: their numbers are those of parts now.
    gone: Vec<bool>,
}

impl Spare {
    /// Orders the small lists by what giving them up costs.
    fn order(&mut self, near: &[Assignment], members: &Members, mean: f64) -> Result<()> {
        let cost = |list: usize| -> f64 {
            members.of(list).iter().map(|i| f64::from(near[*i].second - near[*i].best)).sum()
        };
        let k = self.fixed.len();
        let small = (0..k).filter(|list| members.of(*list).len() as f64 <= mean && !self.fixed[*list]);
        let mut costs = memory::with_capacity(k)?;
        costs.extend(small.map(|list| (cost(list), list)));
        costs.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        self.order = memory::collected(costs.iter().map(|(_, list)| *list))?;
        Ok(())
    }

    /// Gives up a list: its rows go to their second-nearest lists.
    fn take(&mut self, near: &mut [Assignment], members: &Members) -> Option<usize> {
        loop {
            let list = self.order.pop()?;
            let rows = members.of(list);
            let has_another = |i: &usize| near[*i].next != list as u32 && !self.gone[near[*i].next as usize];
            if self.fixed[list] || !rows.iter().all(has_another) {
                continue;
            }
            for i in rows {
                self.fixed[near[*i].next as usize] = true;
                near[*i].list = near[*i].next;
            }
            self.fixed[list] = true;
            self.gone[list] = true;
            return Some(list);
        }
    }
}
