//! Rows of zeros and ones, such as bit strings. Their products with centroids are computed by table lookups,
//! four coordinates at a time, which is about twenty times as fast as multiplication.

use super::gemm::{CHUNK_ROWS, Rows, Work};
use super::members::Assignment;
use crate::error::Result;
use crate::kernel;
use crate::memory;

/// Number of coordinates of one lookup; and bytes of a group, which are the nibbles of 32 rows or the entries
/// of a table.
const LOOKUP: usize = 4;
const GROUP: usize = 16;
/// Steps of a table per unit, so that the sum of four coordinates of at most one fits a byte. The rounding
/// error is about ±0.005 for each lookup, and 0.06 for 768 coordinates, where distances differ by tens.
const STEPS: f32 = 63.75;

/// Whether every component of a row is zero or one.
pub(super) fn is_binary(row: &[f32]) -> bool {
    // There is no early exit, so that the compiler can compare many numbers at once.
    row.iter().fold(true, |all, x| all & ((*x == 0.0) | (*x == 1.0)))
}

fn groups(dims: usize) -> usize {
    dims.div_ceil(LOOKUP)
}

/// Bytes that [`pack`] appends.
pub(super) fn packed_size(dims: usize) -> usize {
    groups(dims) * GROUP
}

/// Appends up to 32 binary rows in the layout that `kernel::scan_block` reads, where missing ones are zero.
pub(super) fn pack<'a>(rows: impl Iterator<Item = &'a [f32]>, dims: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + groups(dims) * GROUP, 0);
    for (i, row) in rows.enumerate() {
        let (byte, shift) = (2 * (i % 8) + i / 8 % 2, i / 16 * 4);
        for (four, group) in row.chunks(LOOKUP).zip(out[at..].chunks_exact_mut(GROUP)) {
            let bits = four.iter().enumerate().map(|(j, x)| u8::from(*x > 0.5) << j);
            group[byte] |= bits.fold(0, |nibble, bit| nibble | bit) << shift;
        }
    }
}

/// The lookup tables of centroids with components from zero to one.
pub(super) struct Tables {
    tables: Vec<u8>,
    /// Half the squared length of every centroid, in steps.
    offsets: Vec<f32>,
    size: usize,
}

impl Tables {
    /// The tables of `centroids` (rows of `dims` floats), if all components are from zero to one.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn new(centroids: &[f32], dims: usize) -> Result<Option<Self>> {
        if !centroids.iter().all(|x| (0.0..=1.0).contains(x)) {
            return Ok(None);
        }
        let size = groups(dims) * GROUP;
        let mut tables = memory::filled(0, centroids.len() / dims * size)?;
        for (centroid, table) in centroids.chunks_exact(dims).zip(tables.chunks_exact_mut(size)) {
            for (four, group) in centroid.chunks(LOOKUP).zip(table.chunks_exact_mut(GROUP)) {
                let x: [f32; LOOKUP] = std::array::from_fn(|j| four.get(j).map_or(0.0, |x| x * STEPS));
                let low = [0.5, x[0] + 0.5, x[1] + 0.5, x[0] + x[1] + 0.5];
                let high = [0.0, x[2], x[3], x[2] + x[3]];
                for (nibble, entry) in group.iter_mut().enumerate() {
                    *entry = (low[nibble % 4] + high[nibble / 4]) as u8;
                }
            }
        }
        let mut offsets = super::members::half_norms(centroids, dims)?;
        offsets.iter_mut().for_each(|x| *x *= STEPS);
        Ok(Some(Self { tables, offsets, size }))
    }

    /// The two nearest centroids of up to 128 packed rows. Each is returned as its list and half the squared
    /// distance minus half the row's squared length.
    pub(super) fn nearest(&self, packed: &[u8], out: &mut [[(u32, f32); 2]]) {
        out.fill([(0, f32::INFINITY); 2]);
        for (list, (table, offset)) in self.tables.chunks_exact(self.size).zip(&self.offsets).enumerate() {
            for (block, out) in packed.chunks_exact(self.size).zip(out.chunks_mut(kernel::BLOCK_ROWS)) {
                let mut sums = [0; kernel::BLOCK_ROWS];
                kernel::scan_block(table, block, self.size, &mut sums);
                for (sum, [best, second]) in sums.iter().zip(out) {
                    let score = offset - *sum as f32;
                    if score < second.1 {
                        *second = (list as u32, score);
                        if score < best.1 {
                            std::mem::swap(best, second);
                        }
                    }
                }
            }
        }
        for near in out.as_flattened_mut() {
            near.1 /= STEPS;
        }
    }

    /// Multiply-adds that take as long as the search for a block of rows.
    pub(super) fn cost(&self) -> usize {
        CHUNK_ROWS * self.tables.len() / 64
    }
}

/// Rows packed once, for many searches.
pub(super) struct PackedBits {
    blocks: Vec<u8>,
    size: usize,
}

impl PackedBits {
    /// Packs the rows if they are all binary.
    pub(super) fn new(rows: &Rows, work: &Work) -> Result<Option<Self>> {
        let n = rows.len();
        let mut binary = memory::filled(false, n)?;
        let cost = CHUNK_ROWS * rows.dims;
        work.run(
            &mut binary,
            CHUNK_ROWS,
            cost,
            || Ok(()),
            |(), chunk, binary| {
                for (i, binary) in binary.iter_mut().enumerate() {
                    *binary = is_binary(rows.raw(chunk * CHUNK_ROWS + i));
                }
            },
        )?;
        if binary.contains(&false) {
            return Ok(None);
        }
        let size = groups(rows.dims) * GROUP;
        let mut blocks = memory::filled(0, n.div_ceil(kernel::BLOCK_ROWS) * size)?;
        let scratch = || memory::with_capacity(size);
        work.run(&mut blocks, size, kernel::BLOCK_ROWS * rows.dims, scratch, |packed, block, out| {
            packed.clear();
            let first = block * kernel::BLOCK_ROWS;
            pack((first..n.min(first + kernel::BLOCK_ROWS)).map(|i| rows.raw(i)), rows.dims, packed);
            out.copy_from_slice(packed);
        })?;
        Ok(Some(Self { blocks, size }))
    }

    /// Finds the two nearest centroids of every row, whose squared lengths are `norms`.
    pub(super) fn assign(
        &self,
        norms: &[f32],
        tables: &Tables,
        near: &mut [Assignment],
        work: &Work,
    ) -> Result<()> {
        let scratch = || Ok([[(0, 0.0); 2]; CHUNK_ROWS]);
        work.run(near, CHUNK_ROWS, tables.cost(), scratch, |found, chunk, near| {
            let found = &mut found[..near.len()];
            let packed = &self.blocks[chunk * CHUNK_ROWS / kernel::BLOCK_ROWS * self.size..];
            let blocks = found.len().div_ceil(kernel::BLOCK_ROWS);
            tables.nearest(&packed[..blocks * self.size], found);
            for ((i, near), [best, second]) in near.iter_mut().enumerate().zip(found) {
                let norm = norms[chunk * CHUNK_ROWS + i];
                let distance = |score: f32| (2.0 * score + norm).max(0.0);
                let moved = near.list != best.0;
                *near = Assignment {
                    list: best.0,
                    next: second.0,
                    moved,
                    best: distance(best.1),
                    second: distance(second.1),
                };
            }
        })
    }
}
