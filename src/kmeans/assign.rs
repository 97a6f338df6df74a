//! The nearest centroid of every row. If a few principal directions of the centroids have most of their
//! variance, the search uses these directions only, and then compares the best few centroids exactly.

use super::best::{Best, MOST};
use super::bits;
use super::gemm::{CHUNK_ROWS, PackedPanels, Rows, Work};
use super::groups::{self, GROUPED_ROWS, Groups, MIN_GROUPED};
use super::lloyd::grouped;
use super::members::half_norms;
use super::parallel::Step;
use super::pca::{self, MAX_DIRECTIONS};
use super::train::{center, span};
use crate::error::Result;
use crate::kernel::{self, l2_squared};
use crate::memory;
use rayon::ThreadPool;
use std::sync::OnceLock;

/// Centroids compared exactly per row; [`MOST`] if there are at least `MANY` centroids, which are closer
/// together.
const BEST: usize = 8;
const MANY: usize = 1024;
/// Share of the centroids' energy that a reduction must keep: at 0.81 the search finds 99.9 % of the
/// nearest among 400 centroids of a hard mixture.
const ENERGY: f64 = 0.8;
/// With at least this many centroids, a reduction saves more time than projecting the rows takes.
const MIN_REDUCED: usize = 192;
/// At most this many centroids are used to compute the principal directions.
const MAX_SAMPLE: usize = 1024;
/// If a search takes fewer multiply-adds, it compares all centroids directly, without a plan.
const DIRECT: usize = 1 << 22;

/// Finds the nearest centroid (squared L2) of rows.
pub struct Assigner {
    centroids: Vec<f32>,
    dims: usize,
    /// Mean of the centroids, and a factor that scales their components to −1..1. Subtracting the mean keeps
    /// the digits that a large common offset would take.
    mean: Vec<f32>,
    scale: f32,
    plan: OnceLock<Plan>,
    tables: OnceLock<Option<bits::Tables>>,
}

/// What the search needs. The first large call makes it, with its threads and its callback.
struct Plan {
    directions: Option<PackedPanels>,
    search: Search,
}

/// The centroids, along the directions if there are any.
enum Search {
    All { centroids: PackedPanels, offsets: Vec<f32> },
    Grouped(Groups),
}

/// A thread's memory for [`GROUPED_ROWS`] rows.
struct Scratch {
    pack: Vec<[f32; 4]>,
    reduced: Vec<f32>,
    scores: Vec<f32>,
    groups: groups::Scratch,
    best: Vec<Best>,
}

impl Plan {
    fn scratch(&self) -> Result<Scratch> {
        let reduced = self.directions.as_ref().map_or(0, PackedPanels::stride);
        let (groups, scores, depth) = match &self.search {
            Search::All { centroids, .. } => {
                (groups::Scratch::default(), CHUNK_ROWS * centroids.stride(), centroids)
            }
            Search::Grouped(groups) => (groups.scratch()?, 0, groups.centres()),
        };
        let deepest = self.directions.as_ref().filter(|first| first.depth() > depth.depth()).unwrap_or(depth);
        Ok(Scratch {
            pack: deepest.scratch()?,
            reduced: memory::filled(0.0, GROUPED_ROWS * reduced)?,
            scores: memory::filled(0.0, scores)?,
            groups,
            best: memory::with_capacity(GROUPED_ROWS)?,
        })
    }

    /// The `count` best lists of each of `number` rows from `first` on, into `scratch.best`.
    fn find(&self, rows: &Rows, (first, number, count): (usize, usize, usize), scratch: &mut Scratch) {
        let Scratch { pack, reduced, scores, groups, best } = scratch;
        best.clear();
        best.resize(number, Best::new(count));
        let zero = [0.0; MAX_DIRECTIONS];
        let (rows, first) = match &self.directions {
            None => (*rows, first),
            Some(directions) => {
                let stride = directions.stride();
                let reduced = &mut reduced[..number * stride];
                for (chunk, out) in reduced.chunks_mut(CHUNK_ROWS * stride).enumerate() {
                    directions.product(rows, first + chunk * CHUNK_ROWS, out, pack);
                }
                (Rows { data: reduced, dims: stride, index: None, mean: &zero[..stride], scale: 1.0 }, 0)
            }
        };
        match &self.search {
            Search::Grouped(by_groups) => {
                by_groups.visit(&rows, (first, number), groups, |row, scores| {
                    scores.keys().for_each(|(list, key)| best[row].push(list, key));
                });
            }
            Search::All { centroids, offsets } => {
                let stride = centroids.stride();
                for at in (0..number).step_by(CHUNK_ROWS) {
                    let best = &mut best[at..number.min(at + CHUNK_ROWS)];
                    let scores = &mut scores[..best.len() * stride];
                    centroids.product(&rows, first + at, scores, pack);
                    for (best, scores) in best.iter_mut().zip(scores.chunks_exact(stride)) {
                        let keys = offsets.iter().zip(scores).map(|(offset, score)| offset - score);
                        (0..).zip(keys).for_each(|(list, key)| best.push(list, key));
                    }
                }
            }
        }
    }

    /// About the multiply-adds that a row takes.
    fn cost(&self, dims: usize) -> usize {
        let search = match &self.search {
            Search::All { centroids, .. } => centroids.stride() * centroids.depth(),
            Search::Grouped(groups) => groups.cost(),
        };
        dims * (self.directions.as_ref().map_or(0, PackedPanels::cols) + MOST) + search
    }
}

impl Assigner {
    /// Takes `centroids` of `dims` finite floats each, at least one.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(centroids: &[f32], dims: usize) -> Result<Self> {
        let dims = dims.max(1);
        let (mean, scale) = center(centroids, dims)?;
        Ok(Self {
            centroids: memory::collected(centroids.iter().copied())?,
            dims,
            mean,
            scale,
            plan: OnceLock::new(),
            tables: OnceLock::new(),
        })
    }

    /// Writes the number of the nearest centroid of each of `rows` (`dims` floats each) to `out`. If
    /// distances differ by little, the second nearest centroid may be returned. A row with a non-finite
    /// component gets any list. Calls `step` on this thread with the rows done; its error ends the work.
    pub fn assign(&self, rows: &[f32], out: &mut [u32], pool: &ThreadPool, step: Step) -> Result<()> {
        self.assign_in(Some(pool), rows, out, step)
    }

    /// The same for a [task](super::parallel::start) in the pool.
    pub fn assign_here(&self, rows: &[f32], out: &mut [u32], step: Step) -> Result<()> {
        self.assign_in(None, rows, out, step)
    }

    fn assign_in(&self, pool: Option<&ThreadPool>, rows: &[f32], out: &mut [u32], step: Step) -> Result<()> {
        let dims = self.dims;
        let n = out.len().min(rows.len() / dims);
        let out = &mut out[..n];
        out.fill(0);
        if n == 0 || self.centroids.len() <= dims {
            return Ok(());
        }
        let work = Work { pool, step, base: 0, unit: n as u64, total: n as u64 };
        if self.plan.get().is_none() && n * self.centroids.len() <= DIRECT {
            return work.run(
                out,
                1,
                self.centroids.len(),
                || Ok(()),
                |(), i, out| {
                    out[0] = self.nearest(&rows[i * dims..][..dims], 0..(self.centroids.len() / dims) as u32);
                },
            );
        }
        if rows[..n * dims].chunks_exact(dims).all(bits::is_binary)
            && let Some(tables) = self.tables()?
        {
            return Self::assign_bits(tables, &rows[..n * dims], dims, out, &work);
        }
        let plan = match self.plan.get() {
            Some(plan) => plan,
            None => {
                let plan = self.plan(&work.quiet())?;
                self.plan.get_or_init(|| plan)
            }
        };
        let rows = Rows { data: rows, dims, index: None, mean: &self.mean, scale: self.scale };
        let count = if self.centroids.len() / dims < MANY { BEST } else { MOST };
        let chunk_rows = if matches!(plan.search, Search::Grouped(_)) { GROUPED_ROWS } else { CHUNK_ROWS };
        let cost = chunk_rows * plan.cost(dims);
        work.run(
            out,
            chunk_rows,
            cost,
            || plan.scratch(),
            |scratch, chunk, out| {
                let first = chunk * chunk_rows;
                plan.find(&rows, (first, out.len(), count), scratch);
                for ((i, out), best) in (first..).zip(out).zip(&scratch.best) {
                    *out = self.nearest(rows.raw(i), best.lists());
                }
            },
        )
    }

    /// The tables of bits, made at the first call.
    fn tables(&self) -> Result<Option<&bits::Tables>> {
        if let Some(tables) = self.tables.get() {
            return Ok(tables.as_ref());
        }
        let tables = bits::Tables::new(&self.centroids, self.dims)?;
        Ok(self.tables.get_or_init(|| tables).as_ref())
    }

    /// [`Assigner::assign`] for rows of zeros and ones.
    fn assign_bits(
        tables: &bits::Tables,
        rows: &[f32],
        dims: usize,
        out: &mut [u32],
        work: &Work,
    ) -> Result<()> {
        let size = CHUNK_ROWS.div_ceil(kernel::BLOCK_ROWS) * bits::packed_size(dims);
        let scratch = || Ok((memory::with_capacity(size)?, [[(0, 0.0); 2]; CHUNK_ROWS]));
        work.run(
            out,
            CHUNK_ROWS,
            tables.cost() + CHUNK_ROWS * dims,
            scratch,
            |(packed, found), chunk, out| {
                packed.clear();
                let rows = &rows[chunk * CHUNK_ROWS * dims..][..out.len() * dims];
                for rows in rows.chunks(kernel::BLOCK_ROWS * dims) {
                    bits::pack(rows.chunks_exact(dims), dims, packed);
                }
                tables.nearest(packed, &mut found[..out.len()]);
                out.iter_mut().zip(found).for_each(|(out, [best, _])| *out = best.0);
            },
        )
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
            let index = memory::collected(span(k, k.min(MAX_SAMPLE)))?;
            let sample = Rows { index: Some(&index), ..all };
            let basis = pca::directions(&sample, ENERGY, work)?;
            directions = basis.map(|x| PackedPanels::new(&x, dims)).transpose()?;
        }
        let points = match &directions {
            Some(directions) => work.products(&all, directions)?,
            None => {
                let mut points = memory::filled(0.0, k * dims)?;
                points.chunks_exact_mut(dims).enumerate().for_each(|(i, out)| all.copy(i, out));
                points
            }
        };
        let depth = directions.as_ref().map_or(dims, PackedPanels::stride);
        let search = if k >= MIN_GROUPED {
            Search::Grouped(grouped(&points, depth, work)?)
        } else {
            Search::All {
                centroids: PackedPanels::new(&points, depth)?,
                offsets: half_norms(&points, depth)?,
            }
        };
        Ok(Plan { directions, search })
    }
}
