//! The nearest centroid of every row. If a few principal directions of the centroids have most of their
//! variance, the search uses these directions only, and then compares the best few centroids exactly.

use super::bits;
use super::gemm::{CHUNK_ROWS, PackedPanels, Rows, Work};
use super::members::half_norms;
use super::parallel::Step;
use super::pca;
use super::train::{center, span};
use crate::error::Result;
use crate::kernel::{self, l2_squared};
use crate::memory;
use rayon::ThreadPool;
use std::sync::OnceLock;

/// Centroids compared exactly per row; and if there are at least `MANY` centroids, which are closer together.
const BEST: usize = 8;
const MOST: usize = 16;
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
    centroids: PackedPanels,
    offsets: Vec<f32>,
}

impl Plan {
    /// A thread's memory for a block of rows.
    fn scratch(&self) -> Result<Scratch> {
        let first = self.directions.as_ref().unwrap_or(&self.centroids);
        let pack = if first.depth() > self.centroids.depth() { first } else { &self.centroids }.scratch()?;
        let reduced = self.directions.as_ref().map_or(0, PackedPanels::stride);
        Ok(Scratch {
            pack,
            reduced: memory::with_capacity(CHUNK_ROWS * reduced)?,
            scores: memory::with_capacity(CHUNK_ROWS * self.centroids.stride())?,
        })
    }
}

struct Scratch {
    pack: Vec<[f32; 4]>,
    reduced: Vec<f32>,
    scores: Vec<f32>,
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
                let plan = self.plan(&Work { unit: 0, ..work })?;
                self.plan.get_or_init(|| plan)
            }
        };
        let rows = Rows { data: rows, dims, index: None, mean: &self.mean, scale: self.scale };
        let count = if self.centroids.len() / dims < MANY { BEST } else { MOST };
        let reduced_dims = plan.directions.as_ref().map_or(0, PackedPanels::cols);
        let zero = memory::filled(0.0, reduced_dims)?;
        let search = plan.centroids.stride() * if reduced_dims > 0 { reduced_dims } else { dims };
        let cost = CHUNK_ROWS * (dims * (reduced_dims + count) + search);
        work.run(
            out,
            CHUNK_ROWS,
            cost,
            || plan.scratch(),
            |scratch, chunk, out| {
                let Scratch { pack, reduced, scores } = scratch;
                scores.resize(out.len() * plan.centroids.stride(), 0.0);
                match &plan.directions {
                    None => plan.centroids.product(&rows, chunk * CHUNK_ROWS, scores, pack),
                    Some(directions) => {
                        reduced.resize(out.len() * directions.stride(), 0.0);
                        directions.product(&rows, chunk * CHUNK_ROWS, reduced, pack);
                        let reduced =
                            Rows { data: reduced, dims: reduced_dims, index: None, mean: &zero, scale: 1.0 };
                        plan.centroids.product(&reduced, 0, scores, pack);
                    }
                }
                for ((i, out), scores) in
                    out.iter_mut().enumerate().zip(scores.chunks_exact(plan.centroids.stride()))
                {
                    let best = best(scores, &plan.offsets, count).into_iter().take(count);
                    *out = self.nearest(rows.raw(chunk * CHUNK_ROWS + i), best);
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
        let depth = directions.as_ref().map_or(dims, PackedPanels::cols);
        let offsets = half_norms(&points, depth)?;
        Ok(Plan { directions, centroids: PackedPanels::new(&points, depth)?, offsets })
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
