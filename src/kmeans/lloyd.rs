//! Lloyd's iterations in the working space: assignment by blocked products, means in a fixed order,
//! repair of wasted centroids.

use super::bits;
use super::gemm::{CHUNK_ROWS, PackedPanels, Rows, Work};
use super::groups::{GROUPED_ROWS, Groups, MIN_GROUPED};
use super::members::{Assignment, Members, half_norms, means};
use super::repair::repair;
use crate::error::Result;
use crate::memory;
use crate::random::SplitMix64;

/// The iterations stop if a smaller share of the rows changes its list, or if the inertia falls by a smaller
/// share.
const SETTLED: f64 = 0.005;
/// Rounds of k-means on centroids.
const GROUP_ROUNDS: usize = 4;

/// Clusters `rows` into `k` lists (`k` ≤ number of rows) in at most `iterations` rounds. Returns the list of
/// every row; some lists may be empty.
pub(super) fn lloyd(
    rows: &Rows,
    k: usize,
    iterations: usize,
    random: &mut SplitMix64,
    mut work: Work,
) -> Result<Vec<Assignment>> {
    let mut lists = Lloyd::new(rows, None, k, random, &work)?;
    lists.settle(iterations, random, &mut work)?;
    Ok(lists.near)
}

/// Rows, and the lists that they are in so far.
pub(super) struct Lloyd<'a> {
    rows: &'a Rows<'a>,
    /// The same rows in packed form, if they consist of zeros and ones.
    binary: Option<&'a bits::PackedBits>,
    /// The squared length of each row.
    norms: Vec<f32>,
    centroids: Vec<f32>,
    /// The list of each row, once it is assigned.
    pub(super) near: Vec<Assignment>,
}

impl<'a> Lloyd<'a> {
    /// Takes `k` of the rows as centroids.
    pub(super) fn new(
        rows: &'a Rows<'a>,
        binary: Option<&'a bits::PackedBits>,
        k: usize,
        random: &mut SplitMix64,
        work: &Work,
    ) -> Result<Self> {
        let n = rows.len();
        let mut centroids = memory::filled(0.0, k * rows.dims)?;
        let mut seeds = memory::collected(0..n)?;
        random.choose(&mut seeds, k);
        for (seed, out) in seeds.into_iter().zip(centroids.chunks_exact_mut(rows.dims)) {
            rows.copy(seed, out);
        }
        let mut norms = memory::filled(0.0f32, n)?;
        work.quiet().run(
            &mut norms,
            CHUNK_ROWS,
            CHUNK_ROWS * rows.dims,
            || Ok(()),
            |(), chunk, out| {
                for (i, norm) in out.iter_mut().enumerate() {
                    *norm = rows.row(chunk * CHUNK_ROWS + i).map(|x| x * x).sum();
                }
            },
        )?;
        let far = Assignment { list: u32::MAX, next: 0, moved: true, best: 0.0, second: 0.0 };
        Ok(Self { rows, binary, norms, centroids, near: memory::filled(far, n)? })
    }

    /// At most `iterations` rounds. `work` is for one round, and moves on by each. Returns whether the lists
    /// have settled.
    pub(super) fn settle(
        &mut self,
        iterations: usize,
        random: &mut SplitMix64,
        work: &mut Work,
    ) -> Result<bool> {
        let mut last = f64::INFINITY;
        for round in 0.. {
            self.assign(work)?;
            let inertia: f64 = self.near.iter().map(|x| f64::from(x.best)).sum();
            let moved = self.near.iter().filter(|x| x.moved).count() as f64;
            let settled = moved < SETTLED * self.near.len() as f64 || last - inertia < SETTLED * inertia;
            if round >= iterations {
                return Ok(settled);
            }
            let members = Members::new(&self.near, self.lists())?;
            let quiet = work.quiet();
            means(self.rows, &members, &mut self.centroids, &quiet)?;
            let repaired = repair(self.rows, &self.near, &members, &mut self.centroids, random, &quiet)?;
            if settled && !repaired {
                break;
            }
            // A repair changes the inertia abruptly; comparing it with the old value then does not show
            // convergence.
            last = if repaired { f64::INFINITY } else { inertia };
        }
        Ok(true)
    }

    /// One more round, without repairs. A repair would move the centroids of parts of one list, because these
    /// are near each other.
    pub(super) fn again(&mut self, work: &mut Work) -> Result<()> {
        let members = Members::new(&self.near, self.lists())?;
        means(self.rows, &members, &mut self.centroids, &work.quiet())?;
        self.assign(work)
    }

    fn lists(&self) -> usize {
        self.centroids.len() / self.rows.dims
    }

    /// Finds the two nearest centroids of every row.
    fn assign(&mut self, work: &mut Work) -> Result<()> {
        let Self { rows, binary, norms, centroids, near } = self;
        let tables = if binary.is_some() { bits::Tables::new(centroids, rows.dims)? } else { None };
        match binary.zip(tables) {
            Some((binary, tables)) => binary.assign(norms, &tables, near, work)?,
            None if centroids.len() / rows.dims < MIN_GROUPED => assign(rows, norms, centroids, near, work)?,
            None => assign_by_groups(rows, norms, centroids, near, work)?,
        }
        work.base += work.unit;
        Ok(())
    }
}

/// The two nearest centroids so far of a row.
#[derive(Clone, Copy)]
struct Two {
    list: u32,
    next: u32,
    best: f32,
    second: f32,
}

impl Two {
    const NONE: Self = Self { list: 0, next: 0, best: f32::INFINITY, second: f32::INFINITY };

    fn push(&mut self, list: u32, key: f32) {
        if key < self.second {
            if key < self.best {
                (self.next, self.second) = (self.list, self.best);
                (self.list, self.best) = (list, key);
            } else {
                (self.next, self.second) = (list, key);
            }
        }
    }

    /// The row's assignment, which was `before`.
    fn assignment(self, before: &Assignment, norm: f32) -> Assignment {
        let Self { list, next, best, second } = self;
        let distance = |key: f32| (2.0 * key + norm).max(0.0);
        let moved = before.list != list;
        Assignment { list, next, moved, best: distance(best), second: distance(second) }
    }
}

/// Clusters `centroids` (consecutive, `dims` floats each) into groups.
///
/// # Errors
/// Out of memory, and those of the caller's step.
pub(super) fn grouped(centroids: &[f32], dims: usize, work: &Work) -> Result<Groups> {
    let zero = memory::filled(0.0, dims)?;
    let rows = Rows { data: centroids, dims, index: None, mean: &zero, scale: 1.0 };
    let groups = Groups::number(rows.len());
    let quiet = work.quiet();
    let near = lloyd(&rows, groups, GROUP_ROUNDS, &mut SplitMix64(groups as u64), quiet)?;
    Groups::new(&rows, &Members::new(&near, groups)?, groups, &quiet)
}

/// Finds the two nearest centroids of every row among those of its nearest groups.
fn assign_by_groups(
    rows: &Rows,
    norms: &[f32],
    centroids: &[f32],
    near: &mut [Assignment],
    work: &Work,
) -> Result<()> {
    let groups = grouped(centroids, rows.dims, work)?;
    let scratch = || Ok((groups.scratch()?, memory::filled(Two::NONE, GROUPED_ROWS)?));
    work.run(near, GROUPED_ROWS, GROUPED_ROWS * groups.cost(), scratch, |(scratch, found), chunk, near| {
        let first = chunk * GROUPED_ROWS;
        found.fill(Two::NONE);
        groups.visit(rows, (first, near.len()), scratch, |row, scores| {
            let mut two = found[row];
            scores.keys().for_each(|(list, key)| two.push(list, key));
            found[row] = two;
        });
        for ((near, found), norm) in near.iter_mut().zip(found).zip(&norms[first..]) {
            *near = found.assignment(near, *norm);
        }
    })
}

/// Finds the two nearest centroids of every row.
fn assign(rows: &Rows, norms: &[f32], centroids: &[f32], near: &mut [Assignment], work: &Work) -> Result<()> {
    let fixed = PackedPanels::new(centroids, rows.dims)?;
    let offsets = half_norms(centroids, rows.dims)?;
    let cost = CHUNK_ROWS * fixed.stride() * rows.dims;
    let scratch = || Ok((fixed.scratch()?, memory::filled(0.0, CHUNK_ROWS * fixed.stride())?));
    work.run(near, CHUNK_ROWS, cost, scratch, |(pack, scores), chunk, near| {
        let scores = &mut scores[..near.len() * fixed.stride()];
        fixed.product(rows, chunk * CHUNK_ROWS, scores, pack);
        for ((i, near), scores) in near.iter_mut().enumerate().zip(scores.chunks_exact(fixed.stride())) {
            let norm = norms[chunk * CHUNK_ROWS + i];
            let mut two = Two::NONE;
            for (list, (dot, offset)) in (0..).zip(scores.iter().zip(&offsets)) {
                two.push(list, offset - dot);
            }
            *near = two.assignment(near, norm);
        }
    })
}
