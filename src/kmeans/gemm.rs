//! Matrix products of vectors with a fixed set of vectors (by packed tiles, `kernel::tile`), and the slicing
//! of long work so that it can be cancelled.
//!
//! Every output row depends on its own input row only, with sums in a fixed order: results are the same
//! for any number of threads.

use super::parallel::Step;
use crate::error::Result;
use crate::kernel;
use crate::memory;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Rows and columns of a tile.
const MR: usize = 4;
const NR: usize = 16;
/// Depth of a pass: a panel of the fixed side (16 kB) stays in the first-level cache.
const DEPTH: usize = 256;
/// Rows that one task takes at a time.
pub(super) const CHUNK_ROWS: usize = 128;
/// Multiply-adds per thread between two calls of the caller's step, some 10-50 ms.
const SLICE: u64 = 200_000_000;

/// Rows of `dims` floats, seen as `(x − mean) · scale`; `index` picks some of them.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) dims: usize,
    pub(super) index: Option<&'a [usize]>,
    pub(super) mean: &'a [f32],
    pub(super) scale: f32,
}

impl<'a> Rows<'a> {
    /// Number of rows seen.
    pub(super) fn len(&self) -> usize {
        self.index.map_or(self.data.len() / self.dims, <[usize]>::len)
    }

    /// Row `i` as stored.
    pub(super) fn raw(&self, i: usize) -> &'a [f32] {
        let i = self.index.map_or(i, |index| index[i]);
        &self.data[i * self.dims..][..self.dims]
    }

    /// Components of row `i`, centred and scaled.
    pub(super) fn row(&self, i: usize) -> impl Iterator<Item = f32> + 'a {
        let scale = self.scale;
        self.raw(i).iter().zip(self.mean).map(move |(x, m)| (x - m) * scale)
    }

    /// Row `i`, centred and scaled, into `out`.
    pub(super) fn copy(&self, i: usize, out: &mut [f32]) {
        out.iter_mut().zip(self.row(i)).for_each(|(o, x)| *o = x);
    }
}

/// The fixed side of products: `cols` vectors of `depth` floats, in panels of `NR`, the last padded by zeros.
pub(super) struct PackedPanels {
    panels: Vec<[f32; NR]>,
    depth: usize,
    cols: usize,
}

impl PackedPanels {
    /// Packs `vectors` (consecutive, `depth` floats each).
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn new(vectors: &[f32], depth: usize) -> Result<Self> {
        let cols = vectors.len() / depth;
        let mut panels = memory::filled([0.0; NR], cols.div_ceil(NR) * depth)?;
        for (panel, group) in panels.chunks_exact_mut(depth).zip(vectors.chunks(depth * NR)) {
            for (j, vector) in group.chunks_exact(depth).enumerate() {
                panel.iter_mut().zip(vector).for_each(|(p, x)| p[j] = *x);
            }
        }
        Ok(Self { panels, depth, cols })
    }

    /// Number of vectors.
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Floats of a vector.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Floats of a row of products: `cols` rounded up to whole panels.
    pub(super) fn stride(&self) -> usize {
        self.cols.next_multiple_of(NR)
    }

    /// Scratch memory for [`PackedPanels::product`] of up to [`CHUNK_ROWS`] rows.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn scratch(&self) -> Result<Vec<[f32; MR]>> {
        memory::with_capacity(CHUNK_ROWS.div_ceil(MR) * self.depth.min(DEPTH))
    }

    /// Inner products of the rows from `first` on with all vectors into `out`, `stride` floats a row; the
    /// length of `out` says how many rows, up to [`CHUNK_ROWS`]. `pack` is [scratch
    /// memory](PackedPanels::scratch).
    pub(super) fn product(&self, rows: &Rows, first: usize, out: &mut [f32], pack: &mut Vec<[f32; MR]>) {
        let stride = self.stride();
        out.fill(0.0);
        for start in (0..self.depth).step_by(DEPTH) {
            let depth = DEPTH.min(self.depth - start);
            pack_rows(rows, first, out.len() / stride, start..start + depth, pack);
            for (p, panel) in self.panels.chunks_exact(self.depth).enumerate() {
                let panel = &panel[start..start + depth];
                for (group, out) in pack.chunks_exact(depth).zip(out.chunks_mut(stride * MR)) {
                    let sums = kernel::tile(group, panel);
                    for (out, sums) in out.chunks_exact_mut(stride).zip(&sums) {
                        out[p * NR..][..NR].iter_mut().zip(sums).for_each(|(o, s)| *o += s);
                    }
                }
            }
        }
    }
}

/// Interleaves the wanted columns of `count` rows by groups of `MR`, the last group padded by zeros.
fn pack_rows(
    rows: &Rows,
    first: usize,
    count: usize,
    columns: std::ops::Range<usize>,
    pack: &mut Vec<[f32; MR]>,
) {
    let depth = columns.len();
    pack.clear();
    pack.resize(count.div_ceil(MR) * depth, [0.0; MR]);
    let mean = &rows.mean[columns.clone()];
    for i in 0..count {
        let row = &rows.raw(first + i)[columns.clone()];
        let group = &mut pack[i / MR * depth..][..depth];
        for ((slot, x), m) in group.iter_mut().zip(row).zip(mean) {
            slot[i % MR] = (x - m) * rows.scale;
        }
    }
}

/// How work runs and reports: a pool, the caller's callback, and the share of this part in the whole.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    /// None: this thread is one of the pool's.
    pub(super) pool: Option<&'a ThreadPool>,
    pub(super) step: Step<'a>,
    /// Done before this part, done by this part, and the total, in the caller's units.
    pub(super) base: u64,
    pub(super) unit: u64,
    pub(super) total: u64,
}

impl Work<'_> {
    /// Threads that share the work.
    pub(super) fn threads(&self) -> usize {
        self.pool.map_or_else(rayon::current_num_threads, ThreadPool::current_num_threads).max(1)
    }

    /// The same, for a part that does not count in the progress.
    pub(super) fn quiet(&self) -> Self {
        Self { unit: 0, ..*self }
    }

    /// Calls the caller's callback, without progress.
    pub(super) fn tick(&self) -> Result<()> {
        (self.step)(self.base, self.total)
    }

    /// Calls `f(scratch, i, chunk i)` for all chunks of `size` items of `out` in parallel, in slices of
    /// bounded `cost` (multiply-adds of a chunk) with the caller's step in between. All memory of `f` is
    /// allocated by `scratch`; if this fails in a thread, the work ends with that error.
    pub(super) fn run<T: Send, W: Send>(
        &self,
        out: &mut [T],
        size: usize,
        cost: usize,
        scratch: impl Fn() -> Result<W> + Sync,
        f: impl Fn(&mut W, usize, &mut [T]) + Sync,
    ) -> Result<()> {
        let threads = self.threads();
        let chunks = (SLICE / (cost as u64).max(1)).clamp(1, 1 << 16) as usize * threads;
        let all = out.len().div_ceil(size).max(1) as u64;
        for (slice, part) in out.chunks_mut(chunks * size).enumerate() {
            let first = slice * chunks;
            (self.step)(self.base + self.unit * first as u64 / all, self.total)?;
            let mut run = || {
                part.par_chunks_mut(size).enumerate().try_for_each_init(&scratch, |w, (i, chunk)| {
                    let w = w.as_mut().map_err(|error| error.clone())?;
                    f(w, first + i, chunk);
                    Ok(())
                })
            };
            match self.pool {
                Some(pool) => pool.install(run),
                None => run(),
            }?;
        }
        (self.step)(self.base + self.unit, self.total)
    }

    /// All products of `rows` with `fixed`, `fixed.stride()` floats a row.
    pub(super) fn products(&self, rows: &Rows, fixed: &PackedPanels) -> Result<Vec<f32>> {
        let mut out = memory::filled(0.0, rows.len() * fixed.stride())?;
        let cost = CHUNK_ROWS * fixed.stride() * fixed.depth;
        self.run(
            &mut out,
            CHUNK_ROWS * fixed.stride(),
            cost,
            || fixed.scratch(),
            |pack, chunk, out| {
                fixed.product(rows, chunk * CHUNK_ROWS, out, pack);
            },
        )?;
        Ok(out)
    }
}
