//! The rows of lists that take no new ones.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain;
use crate::ivf::progress::Progress;
use crate::memory::{self, Grow};
use crate::page::{Store, Tid};

/// A set of heap addresses, each of which is taken once.
pub struct Frozen {
    /// Ascending: block and offset in one number, and whether it was taken.
    rows: Vec<u64>,
    /// Rows that were not taken.
    left: u64,
}

const TAKEN: u64 = 1 << 63;

impl Frozen {
    /// The rows of an index's lists.
    ///
    /// # Errors
    /// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
    pub fn of<S: Store>(store: &S, directory: &Directory, progress: &dyn Progress) -> Result<Self> {
        let mut rows = Vec::new();
        let mut addresses = list_chain::Addresses::new(store, directory);
        for list in 0..directory.lists() {
            list_chain::codes_pages(store, directory, list, |_, page| {
                progress.tick()?;
                addresses.forget();
                for (block, slot) in directory.codes.live_slots(page) {
                    rows.try_push(number(addresses.get(list, block.reference(slot))?))?;
                }
                Ok(())
            })?;
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(Self { left: rows.len() as u64, rows })
    }

    /// How many were not taken yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Those that were not taken yet, ascending.
    ///
    /// # Errors
    /// Out of memory.
    pub fn rows_left(&self) -> Result<Vec<Tid>> {
        let left = self.rows.iter().filter(|row| **row & TAKEN == 0);
        let mut rows = memory::with_capacity(self.left as usize)?;
        rows.extend(left.map(|row| Tid { blkno: (row >> 16) as u32, offset: *row as u16 }));
        Ok(rows)
    }

    /// Takes a row. False if it is not of these lists, or was taken.
    pub fn take(&mut self, tid: Tid) -> bool {
        let number = number(tid);
        let at = self.rows.partition_point(|row| row & !TAKEN < number);
        let Some(row) = self.rows.get_mut(at).filter(|row| **row == number) else { return false };
        *row |= TAKEN;
        self.left -= 1;
        true
    }
}

fn number(tid: Tid) -> u64 {
    u64::from(tid.blkno) << 16 | u64::from(tid.offset)
}
