//! What scans of some queries would find, list after list in routing order.

use super::batch::Neighbour;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::search::{self, Found, NEAREST, Router};
use crate::ivf::top_k::TopK;
use crate::memory::{self, Grow};
use crate::page::meta::TARGETS;
use crate::value::TotalF32;

/// The number of lists of which the score is kept; no query is taken to read more.
const MOST: usize = 4096;

/// What a scan of one query would find.
///
/// It is reconstructed from the rows that were among the nearest when the calibration read them (the trail).
/// The best lists were read in routing order, so for these it is exact. The others were read in another
/// order. If a list was read late, its rows are missing if ten nearer ones were known by then. So the tenth
/// row of some lists may seem farther than it is, and the scan may seem to read more lists.
pub(super) struct Walk {
    /// Relates values to scores.
    pub found: Found,
    /// The query's dither: rounds numbers of lists up or down.
    pub dither: f64,
    /// For each target, the additional lists of a far query.
    pub further: [f64; TARGETS.len()],
    /// The scores of the best lists, ascending.
    scores: Vec<f32>,
    /// Each number of lists with which the tenth nearest row changes, and that row's value.
    steps: Vec<(u32, f32)>,
    /// The rank of the list of each of the nearest rows in routing order, ascending.
    ranks: Vec<u32>,
}

impl Walk {
    /// The walk of a query, from its trail. `itself` is 1 if the query is a row, which is not counted.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        directory: &Directory,
        router: &mut Router,
        (point, trail): (&[f32], &mut [Neighbour]),
        itself: usize,
    ) -> Result<Self> {
        router.set(directory, point)?;
        let all = directory.lists();
        let mut scores = memory::with_capacity(all as usize)?;
        scores.extend((0..all).map(|list| router.score(directory, list)));
        trail.sort_unstable();
        let rows = trail.get_mut(itself..).unwrap_or_default();
        // The score of a list tells its rank. (Of two lists with equal scores, either may come first.)
        scores.sort_unstable_by(f32::total_cmp);
        let rank = |list: u32| {
            let score = router.score(directory, list);
            scores.partition_point(|other| other.total_cmp(&score).is_lt()) as u32
        };
        rows.iter_mut().for_each(|row| row.list = rank(row.list));
        let mut ranks: Vec<u32> = rows.iter().take(NEAREST).map(|row| row.list).collect();
        ranks.sort_unstable();
        rows.sort_unstable_by_key(|row| row.list);
        let steps = steps(rows)?;
        scores.truncate(MOST);
        let further = TARGETS.map(|target| search::further(directory, target, router));
        let (found, dither) = (router.found(directory), search::dither(point));
        Ok(Self { found, dither, further, scores, steps, ranks })
    }

    /// The value of the tenth nearest row of this number of lists.
    pub fn tenth(&self, read: u32) -> f32 {
        let at = self.steps.partition_point(|step| step.0 <= read);
        at.checked_sub(1).and_then(|at| self.steps.get(at)).map_or(f32::INFINITY, |step| step.1)
    }

    /// The share of the nearest rows that this number of lists holds.
    pub fn recall(&self, read: u32) -> f64 {
        self.ranks.partition_point(|rank| *rank < read) as f64 / self.ranks.len().max(1) as f64
    }

    /// The excess of the lists of the nearest rows. It is finite, because the rule is chosen among these, and
    /// an index whose rule is not finite counts as damaged.
    pub fn excesses(&self) -> impl Iterator<Item = f32> {
        let value = self.steps.last().map_or(f32::INFINITY, |step| step.1);
        let score = |rank: &u32| self.scores.get(*rank as usize).copied();
        self.ranks.iter().map(move |rank| {
            let excess = score(rank).map_or(f32::MAX, |score| self.found.excess(value, score));
            if excess.is_nan() { f32::MAX } else { excess.clamp(-f32::MAX, f32::MAX) }
        })
    }

    /// The number of lists that are read: `first` in any case, and more by the rule.
    pub fn read(&self, first: u32, beyond: f32, excess: f32) -> u32 {
        let mut read = first;
        loop {
            let tenth = self.tenth(read);
            if self.found.distance(tenth) <= beyond {
                return read;
            }
            let limit = self.found.limit(tenth, excess);
            let worth = self.scores.partition_point(|score| *score <= limit) as u32;
            let next = self.steps.partition_point(|step| step.0 <= read);
            let until = self.steps.get(next).map_or(u32::MAX, |step| step.0);
            if worth <= read {
                return read;
            }
            read = worth.min(until);
        }
    }
}

/// Each number of lists with which the tenth nearest row changes. The rows are in the order of their lists'
/// ranks.
fn steps(rows: &[Neighbour]) -> Result<Vec<(u32, f32)>> {
    let (mut nearest, mut steps): (_, Vec<(u32, f32)>) = (TopK::new(NEAREST), Vec::new());
    for row in rows {
        nearest.push(row.value);
        let Some(&TotalF32(tenth)) = nearest.greatest().filter(|_| nearest.is_full()) else { continue };
        let read = row.list + 1;
        match steps.last_mut() {
            Some(step) if step.0 == read => step.1 = tenth,
            Some(step) if step.1 == tenth => {}
            _ => steps.try_push((read, tenth))?,
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivf::build::{Options, build_empty};
    use crate::page::memory::MemoryStore;
    use crate::value::Metric;

    #[test]
    fn excesses_are_finite() {
        let store = MemoryStore::new();
        let options = Options {
            dims: 2,
            metric: Metric::L2,
            lists: 0,
            bits: 4,
            code_dims: 0,
            seed: 1,
            memory: 1 << 20,
            columns: Default::default(),
            sketch: Default::default(),
        };
        build_empty(&store, &options).unwrap();
        let directory = Directory::load(&store).unwrap();
        let mut router = Router::default();
        router.set(&directory, &vec![0.0; directory.padded()]).unwrap();
        // The nearest rows are as good as equal to the query, and in lists that are not the best ones.
        let walk = Walk {
            found: router.found(&directory),
            dither: 0.0,
            further: [0.0; TARGETS.len()],
            scores: vec![f32::NEG_INFINITY, 5.0, 1e30, f32::INFINITY],
            steps: vec![(4, 0.0)],
            ranks: vec![0, 1, 2, 3, 4],
        };
        let excesses: Vec<f32> = walk.excesses().collect();
        assert_eq!(excesses, [-f32::MAX, f32::MAX, f32::MAX, f32::MAX, f32::MAX]);
    }
}
