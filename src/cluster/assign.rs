//! The nearest centroid of every row. The search runs on the principal directions of the centroids where
//! they hold most of what tells these apart; the best few are then compared exactly.

use super::Step;
use super::gemm::{BLOCK, Packed, Rows, Work};
use super::lloyd::half_norms;
use super::pca;
use super::second::{Second, second};
use super::train::{center, span};
use crate::error::Result;
use crate::kernel::l2_squared;
use rayon::ThreadPool;
use std::sync::OnceLock;

/// Centroids compared exactly per row, and from `MANY` centroids on, which lie closer.
const BEST: usize = 8;
const MOST: usize = 16;
const MANY: usize = 1024;
/// Share of the centroids' energy that a reduction must keep: at 0.81 the search finds 99.9 % of the
/// nearest among 400 centroids of a hard mixture.
const ENERGY: f64 = 0.8;
/// From this many centroids on a reduction pays for the projection of the rows.
const MIN_REDUCED: usize = 192;
/// Centroids whose principal directions stand for those of all.
const MAX_SAMPLE: usize = 1024;
/// Fewer multiply-adds than this are done directly, without the plan.
const DIRECT: usize = 1 << 22;

/// Finds the nearest centroid (squared L2) of rows.
pub struct Assigner {
    centroids: Vec<f32>,
    dims: usize,
    /// Mean of the centroids and a factor that brings their components into −1..1: products about the
    /// mean do not lose the digits that a common offset would take.
    mean: Vec<f32>,
    scale: f32,
    plan: OnceLock<Plan>,
}

/// What the search needs; made by the first large call, which has threads and a step.
struct Plan {
    directions: Option<Packed>,
    centroids: Packed,
    offsets: Vec<f32>,
}

#[derive(Default)]
struct Scratch {
    pack: Vec<[f32; 4]>,
    reduced: Vec<f32>,
    scores: Vec<f32>,
    residual: Vec<f32>,
}

impl Assigner {
    /// Takes `centroids` of `dims` finite floats each, at least one.
    pub fn new(centroids: &[f32], dims: usize) -> Self {
        let dims = dims.max(1);
        let (mean, scale) = center(centroids, dims);
        Self { centroids: centroids.to_vec(), dims, mean, scale, plan: OnceLock::new() }
    }

    /// Writes the number of the nearest centroid of each of `rows` (`dims` floats each) to `out`. Where
    /// distances differ by little a near tie may win; a row with a non-finite component gets any list.
    /// Calls `step` on this thread with the rows done; its error ends the work.
    pub fn assign(&self, rows: &[f32], out: &mut [u32], pool: &ThreadPool, step: Step) -> Result<()> {
        self.each(rows, out, pool, step, &|found, _, _, _| found)
    }

    /// As [`Assigner::assign`], with the second list of each row.
    pub fn assign_two(
        &self,
        rows: &[f32],
        out: &mut [(u32, Second)],
        pool: &ThreadPool,
        step: Step,
    ) -> Result<()> {
        self.each(rows, out, pool, step, &|first, row, lists, residual| {
            (first, second(row, first, lists, &self.centroids, residual))
        })
    }

    /// Writes what `f` makes of the nearest list, the row, the nearest few lists and some memory.
    fn each<T: Copy + Default + Send>(
        &self,
        rows: &[f32],
        out: &mut [T],
        pool: &ThreadPool,
        step: Step,
        f: &(impl Fn(u32, &[f32], &[u32], &mut Vec<f32>) -> T + Sync),
    ) -> Result<()> {
        let dims = self.dims;
        let n = out.len().min(rows.len() / dims);
        let out = &mut out[..n];
        out.fill(T::default());
        if n == 0 || self.centroids.len() <= dims {
            return Ok(());
        }
        let work = Work { pool, step, base: 0, unit: n as u64, total: n as u64 };
        if self.plan.get().is_none() && n * self.centroids.len() <= DIRECT {
            return work.run(
                out,
                1,
                self.centroids.len(),
                || (Vec::new(), (0..(self.centroids.len() / dims) as u32).collect::<Vec<u32>>()),
                |(residual, lists), i, out| {
                    let row = &rows[i * dims..][..dims];
                    let first = self.nearest(row, lists.iter().copied());
                    out[0] = f(first, row, lists, residual);
                },
            );
        }
        let plan = match self.plan.get() {
            Some(plan) => plan,
            None => {
                let plan = self.plan(&Work { unit: 0, ..work })?;
                self.plan.get_or_init(|| plan)
            }
        };
        let rows = Rows { data: rows, dims, index: None, mean: &self.mean, scale: self.scale };
        let count = if self.centroids.len() / dims < MANY { BEST } else { MOST };
        let reduced_dims = plan.directions.as_ref().map_or(0, Packed::cols);
        let zero = vec![0.0; reduced_dims];
        let search = plan.centroids.stride() * if reduced_dims > 0 { reduced_dims } else { dims };
        let cost = BLOCK * (dims * (reduced_dims + count) + search);
        work.run(out, BLOCK, cost, Scratch::default, |scratch, block, out| {
            let Scratch { pack, reduced, scores, residual } = scratch;
            scores.resize(out.len() * plan.centroids.stride(), 0.0);
            match &plan.directions {
                None => plan.centroids.product(&rows, block * BLOCK, scores, pack),
                Some(directions) => {
                    reduced.resize(out.len() * directions.stride(), 0.0);
                    directions.product(&rows, block * BLOCK, reduced, pack);
                    let reduced =
                        Rows { data: reduced, dims: reduced_dims, index: None, mean: &zero, scale: 1.0 };
                    plan.centroids.product(&reduced, 0, scores, pack);
                }
            }
            for ((i, out), scores) in
                out.iter_mut().enumerate().zip(scores.chunks_exact(plan.centroids.stride()))
            {
                let best = best(scores, &plan.offsets, count);
                let row = rows.raw(block * BLOCK + i);
                let first = self.nearest(row, best.into_iter().take(count));
                *out = f(first, row, &best[..count], residual);
            }
        })
    }

    /// The nearest of `lists`; the first of them if no distance is finite.
    fn nearest(&self, row: &[f32], lists: impl Iterator<Item = u32>) -> u32 {
        let mut found: Option<(u32, f32)> = None;
        for list in lists {
            let distance = l2_squared(row, &self.centroids[list as usize * self.dims..][..self.dims]);
            if found.is_none_or(|(_, least)| distance < least) {
                found = Some((list, if distance.is_nan() { f32::INFINITY } else { distance }));
            }
        }
        found.map_or(0, |(list, _)| list)
    }

    fn plan(&self, work: &Work) -> Result<Plan> {
        let (dims, k) = (self.dims, self.centroids.len() / self.dims);
        let all = Rows { data: &self.centroids, dims, index: None, mean: &self.mean, scale: self.scale };
        let mut directions = None;
        if k >= MIN_REDUCED {
            let index: Vec<usize> = span(k, k.min(MAX_SAMPLE)).collect();
            let sample = Rows { index: Some(&index), ..all };
            directions = pca::directions(&sample, ENERGY, work)?.map(|x| Packed::new(&x, dims));
        }
        let points = match &directions {
            Some(directions) => work.products(&all, directions)?,
            None => (0..k).flat_map(|i| all.row(i)).collect(),
        };
        let depth = directions.as_ref().map_or(dims, Packed::cols);
        let offsets = half_norms(&points, depth);
        Ok(Plan { directions, centroids: Packed::new(&points, depth), offsets })
    }
}

/// The lists of the `count` smallest `offset − score`, best first; list 0 where there are fewer.
fn best(scores: &[f32], offsets: &[f32], count: usize) -> [u32; MOST] {
    let mut lists = [0; MOST];
    let mut keys = [f32::INFINITY; MOST];
    let last = count.clamp(1, MOST) - 1;
    for (list, (score, offset)) in scores.iter().zip(offsets).enumerate() {
        let key = offset - score;
        if key < keys[last] {
            let mut at = last;
            while at > 0 && key < keys[at - 1] {
                (keys[at], lists[at]) = (keys[at - 1], lists[at - 1]);
                at -= 1;
            }
            (keys[at], lists[at]) = (key, list as u32);
        }
    }
    lists
}
