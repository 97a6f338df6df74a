//! `ivf_check(…, true)`: whether an index and its table have the same rows. It uses at most
//! `maintenance_work_mem`.
//!
//! Rows are compared by ranges of the table's blocks. For each range, one walk over the index collects the
//! entries of its rows and sorts them; then the range of the table is read. Usually there is one range; there
//! are more if the entries do not fit the memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use pgrx::pg_sys;

use super::access::Opened;
use crate::error::{Error, Result};
use crate::ivf::check;
use crate::ivf::code::is_indexed;
use crate::ivf::sketch::Sketched;
use crate::memory::{self, Grow};
use crate::page::{Key, Tid};
use crate::pg::allocator;
use crate::pg::am::directory_cache::sketch;
use crate::pg::am::filter_columns::FilterColumns;
use crate::pg::am::{opclass, table_source};
use crate::pg::storage::buffer_store::IndexStore;
use crate::quant::pack::write_bits;

/// Most groups of the table's blocks whose rows are counted.
const GROUPS: u32 = 4096;

/// What an index stores of a row: its heap address, a hash of its keys, and, in an index over bit strings, a
/// hash of its string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    row: u64,
    keys: u32,
    code: u32,
}

fn number(row: Tid) -> u64 {
    u64::from(row.blkno) << 16 | u64::from(row.offset)
}

fn hash<T: Hash + ?Sized>(value: &T) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish() as u32
}

fn damaged(row: u64, what: &str) -> Error {
    let (blkno, offset) = (row >> 16, row & 0xffff);
    Error::contradiction(format!("ivf index contradicts its table: the row at ({blkno},{offset}) {what}"))
}

/// A table and an index that are compared.
pub(super) struct AllRows<'a> {
    opened: &'a Opened,
    /// Blocks of each group.
    group: u32,
    /// Rows of the index in each group; those beyond the table's end are in the last.
    counts: Vec<u64>,
}

impl<'a> AllRows<'a> {
    /// Begins with nothing counted.
    pub(super) fn of(opened: &'a Opened) -> Self {
        // SAFETY: the table is open.
        let nblocks = unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            pg_sys::RelationGetNumberOfBlocksInFork(opened.table.as_ptr(), main)
        };
        let group = nblocks.div_ceil(GROUPS).max(1);
        // Each group begins within the table: a scan cannot begin beyond its end.
        let groups = nblocks.div_ceil(group).max(1);
        Self { opened, group, counts: vec![0; groups as usize] }
    }

    /// Counts a row of the index.
    pub(super) fn count(&mut self, row: Tid) -> Result<()> {
        let last = self.counts.len() - 1;
        self.counts[((row.blkno / self.group) as usize).min(last)] += 1;
        Ok(())
    }

    /// Fails if a row that the snapshot sees is not in the index, is in it twice, or differs.
    ///
    /// # Safety
    /// The snapshot is registered, and was registered before rows were counted.
    pub(super) unsafe fn compare(&self, store: &IndexStore, snapshot: pg_sys::Snapshot) -> Result<()> {
        // SAFETY: reading a setting (kB).
        let memory = unsafe { pg_sys::maintenance_work_mem } as u64 * 1024;
        let most = memory / size_of::<Entry>() as u64;
        let (mut first, groups) = (0, self.counts.len());
        while first < groups {
            let mut rows = self.counts[first];
            let more = self.counts[first + 1..].iter().take_while(|&&count| {
                rows += count;
                rows <= most
            });
            let end = first + 1 + more.count();
            let from = first as u32 * self.group;
            let to = if end == groups { pg_sys::InvalidBlockNumber } else { end as u32 * self.group };
            let rows = self.counts[first..end].iter().sum::<u64>() as usize;
            let entries = entries(store, from..to, rows)?;
            // SAFETY: the caller vouches for the snapshot.
            unsafe { self.compare_range(&entries, from..to, snapshot)? };
            first = end;
        }
        Ok(())
    }

    unsafe fn compare_range(
        &self,
        entries: &[Entry],
        blocks: Range<u32>,
        snapshot: pg_sys::Snapshot,
    ) -> Result<()> {
        let (table, index) = (self.opened.table.as_ptr(), self.opened.index.as_ptr());
        let metric = opclass::indexed(index)?.1;
        let sketch = sketch(index)?;
        let columns = FilterColumns::of(index)?;
        let mut bits = vec![0; if metric.is_of_bits() { sketch.dims.div_ceil(8) } else { 0 }];
        let mut wrong = [
            (None, "is not in the index"),
            (None, "is in the index twice"),
            (None, "has another value in the index"),
            (None, "has other values of filter columns in the index"),
        ];
        let mut look = |row: Tid, value: Sketched<'_>, keys: &[Key]| {
            let vector = value.coordinates;
            // Only heaps are scanned in ranges.
            if !blocks.contains(&row.blkno) {
                return Ok(());
            }
            let row = number(row);
            let first = entries.partition_point(|entry| entry.row < row);
            let end = entries.partition_point(|entry| entry.row <= row);
            let Some(entry) = entries[first..end].first() else {
                if is_indexed(metric, vector) {
                    wrong[0].0.get_or_insert(row);
                }
                return Ok(());
            };
            // Only a row that the snapshot sees keeps its address. That of a dead row may be read, be freed
            // by VACUUM, and be read again as that of a new row.
            if end - first > 1 {
                wrong[1].0.get_or_insert(row);
            }
            if metric.is_of_bits() {
                write_bits(vector, &mut bits);
                if entry.code != hash(bits.as_slice()) {
                    wrong[2].0.get_or_insert(row);
                }
            }
            if entry.keys != hash(keys) {
                wrong[3].0.get_or_insert(row);
            }
            Ok(())
        };
        let count = match blocks.end {
            pg_sys::InvalidBlockNumber => pg_sys::InvalidBlockNumber,
            end => end - blocks.start,
        };
        let range = (Some(&columns), (blocks.start, count));
        // SAFETY: both relations are open; the caller vouches for the snapshot.
        unsafe { table_source::each_row_of(table, index, sketch, snapshot, range, &mut look) };
        match wrong.into_iter().find_map(|(row, what)| row.map(|row| damaged(row, what))) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// The entries of the rows in a range of blocks, in order. There are about `rows` of them.
fn entries(store: &IndexStore, blocks: Range<u32>, rows: usize) -> Result<Vec<Entry>> {
    let mut entries = memory::with_capacity(rows)?;
    let mut visit = |row: Tid, keys: &[Key], code: Option<&[u8]>| match blocks.contains(&row.blkno) {
        true => entries.try_push(Entry { row: number(row), keys: hash(keys), code: code.map_or(0, hash) }),
        false => Ok(()),
    };
    let tick = || {
        pgrx::check_for_interrupts!();
        allocator::check();
        Ok(())
    };
    check::contents(store, &mut visit, &tick)?;
    entries.sort_unstable();
    Ok(entries)
}
