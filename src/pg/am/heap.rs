//! The table as the build sees it: sampled by blocks, then read whole.

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::insert::tid;
use crate::error::{Error, Kind, Result};
use crate::ivf::build::Source;
use crate::page::Tid;
use crate::pg::error::{OrRaise, raise};
use crate::pg::varlena::Vector;

/// Blocks read to learn how many rows a block holds.
const DENSITY_BLOCKS: usize = 64;

/// A table being indexed.
pub struct Table {
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    dims: usize,
    blocks: u32,
    /// All blocks in random order, or a random part of them if the table is large.
    order: Vec<u32>,
    rows: u64,
    /// Rows of the table seen by the scan, indexed or not.
    pub seen: f64,
}

/// What the callback of a heap scan does with a row.
struct Visit<'a> {
    dims: usize,
    sink: &'a mut dyn FnMut(Tid, &[f32]) -> Result<()>,
}

impl Table {
    /// The table of an index being built. Reads a few blocks.
    pub fn new(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
        dims: usize,
        seed: u64,
    ) -> Self {
        // SAFETY: ambuild passes an open table.
        let blocks =
            unsafe { pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM) };
        let order = shuffled(blocks, seed);
        let mut table = Self { heap, index, info, dims, blocks, order, rows: 0, seen: 0.0 };
        let probed = table.order.len().min(DENSITY_BLOCKS);
        let mut count = 0u64;
        for &block in &table.order[..probed] {
            count += table.count_block(block);
        }
        let per_block = count as f64 / probed.max(1) as f64;
        table.rows = (per_block * f64::from(blocks)).ceil() as u64;
        table
    }

    /// Rows of one block.
    fn count_block(&self, block: u32) -> u64 {
        #[pg_guard]
        unsafe extern "C-unwind" fn count(
            _index: pg_sys::Relation,
            _row: pg_sys::ItemPointer,
            _values: *mut pg_sys::Datum,
            isnull: *mut bool,
            _alive: bool,
            state: *mut c_void,
        ) {
            // SAFETY: the state is the counter passed below, and an index has at least one column.
            unsafe { *state.cast::<u64>() += u64::from(!*isnull) };
        }
        let mut rows = 0u64;
        self.scan_blocks(block, 1, Some(count), (&raw mut rows).cast());
        rows
    }

    fn scan_blocks(&self, first: u32, count: u32, callback: pg_sys::IndexBuildCallback, state: *mut c_void) {
        pgrx::check_for_interrupts!();
        // SAFETY: relations and index information are those of the running ambuild. A scan of a range
        // must not be synchronized with others (heapam_handler.c).
        unsafe {
            pg_sys::table_index_build_range_scan(
                self.heap,
                self.index,
                self.info,
                false,
                true,
                false,
                first,
                count,
                callback,
                state,
                std::ptr::null_mut(),
            );
        }
    }
}

/// The callback of heap scans: hands the row to the sink. An error is raised from here, through the scan.
#[pg_guard]
unsafe extern "C-unwind" fn visit(
    _index: pg_sys::Relation,
    row: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    _alive: bool,
    state: *mut c_void,
) {
    // SAFETY: the state is the `Visit` of the call below; values and flags are those of the row.
    unsafe {
        if *isnull {
            return;
        }
        let visit = &mut *state.cast::<Visit>();
        let vector = Vector::from_raw(*values);
        if vector.len() != visit.dims {
            let message = format!("expected {} dimensions, not {}", visit.dims, vector.len());
            raise(Error::new(Kind::Data, message));
        }
        (visit.sink)(tid(&*row), &vector).or_raise();
    }
}

impl Source for Table {
    fn rows_hint(&self) -> u64 {
        self.rows
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let mut rows = 0usize;
        for i in 0..self.order.len() {
            if rows >= want {
                break;
            }
            let mut take = |_: Tid, vector: &[f32]| {
                if rows < want {
                    rows += 1;
                    sink(vector)?;
                }
                Ok(())
            };
            let mut state = Visit { dims: self.dims, sink: &mut take };
            self.scan_blocks(self.order[i], 1, Some(visit), (&raw mut state).cast());
        }
        Ok(())
    }

    fn scan(&mut self, sink: &mut dyn FnMut(Tid, &[f32]) -> Result<()>) -> Result<()> {
        let mut state = Visit { dims: self.dims, sink };
        // SAFETY: relations and index information are those of the running ambuild.
        self.seen = unsafe {
            pg_sys::table_index_build_scan(
                self.heap,
                self.index,
                self.info,
                true,
                true,
                Some(visit),
                (&raw mut state).cast(),
                std::ptr::null_mut(),
            )
        };
        Ok(())
    }
}

impl Table {
    /// Blocks of the table.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }
}

/// Random blocks in random order: all of them, or 2²⁰ of a larger table (k-means never needs more).
fn shuffled(blocks: u32, seed: u64) -> Vec<u32> {
    const MOST: u32 = 1 << 20;
    let mut state = seed;
    let mut random = move |below: u64| {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(below)) >> 64) as u64
    };
    let kept = blocks.min(MOST);
    let stride = f64::from(blocks) / f64::from(kept.max(1));
    let mut order: Vec<u32> = (0..kept).map(|i| (f64::from(i) * stride) as u32).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, random(i as u64 + 1) as usize);
    }
    order
}
