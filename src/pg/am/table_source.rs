//! The table of an index as a source of rows: sampled by blocks, or read as a whole.

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::filter_columns::FilterColumns;
use super::leaving::Leaving;
use super::opclass::indexed;
use super::reservoir::{Reservoir, shuffled};
use super::visit::{ValueSink, Visit, is_of_value, named, visit, visit_original};
use crate::error::Result;
use crate::ivf::build::{Chosen, OriginalSink, RowSink, Source};
use crate::ivf::progress::Progress;
use crate::ivf::sketch::{Sketch, Sketched};
use crate::page::{Key, Tid};
use crate::pg::allocator;
use crate::pg::compat::{begin_fetch, is_heap};
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::{OrRaise, raise};
use crate::pg::storage::tid::{item_pointer, tid};
use crate::value::Original;

/// Blocks that are read to estimate the number of rows per block.
const DENSITY_BLOCKS: usize = 64;

/// A table being indexed.
pub struct TableSource {
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    /// Kind of the values, and how they become coordinates.
    values: (Indexed, Sketch),
    nblocks: u32,
    /// All blocks in random order, or a random part of them if the table is large.
    order: Vec<u32>,
    rows: u64,
    /// Rows of the table seen by the scan, indexed or not.
    pub seen: f64,
    /// Set while others delete rows, and VACUUM their vectors.
    leaving: Option<Leaving>,
}

impl TableSource {
    /// The table of an index being built. Reads a few blocks.
    pub fn new(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
        sketch: Sketch,
        seed: u64,
    ) -> Self {
        // SAFETY: ambuild passes an open table.
        let nblocks =
            unsafe { pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM) };
        let order = shuffled(nblocks, seed);
        let values = (indexed(index).or_raise().0, sketch);
        let mut table = Self { heap, index, info, values, nblocks, order, rows: 0, seen: 0.0, leaving: None };
        let probed = table.order.len().min(DENSITY_BLOCKS);
        let mut count = 0u64;
        for &blkno in &table.order[..probed] {
            count += table.count_block(blkno);
        }
        let per_block = count as f64 / probed.max(1) as f64;
        table.rows = (per_block * f64::from(nblocks)).ceil() as u64;
        table
    }

    /// Passes rows of random blocks, those that are chosen.
    fn sample_of(
        &mut self,
        want: usize,
        mut chosen: Option<&mut Chosen<'_>>,
        sink: &mut dyn FnMut(Sketched<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut rows = 0usize;
        let mut leaving = self.leaving.take();
        for i in 0..self.order.len() {
            if rows >= want || chosen.as_ref().is_some_and(|chosen| chosen.is_over()) {
                break;
            }
            let mut take = |_: Tid, value: Sketched<'_>, _: &[Key]| {
                if rows < want {
                    rows += 1;
                    sink(value)?;
                }
                Ok(())
            };
            let sample = Visit::new((self.values.0, &self.values.1), None, &mut take);
            let mut takes_next = || chosen.as_mut().is_none_or(|chosen| chosen.takes_next());
            let takes_next = Some(&mut takes_next as &mut dyn FnMut() -> bool);
            let mut state = Visit { leaving: leaving.as_mut(), is_sample: true, takes_next, ..sample };
            self.scan_blocks(self.order[i], 1, Some(visit), (&raw mut state).cast());
        }
        self.leaving = leaving;
        Ok(())
    }

    /// Rows of one block.
    fn count_block(&self, blkno: u32) -> u64 {
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
        self.scan_blocks(blkno, 1, Some(count), (&raw mut rows).cast());
        rows
    }

    fn scan_blocks(&self, first: u32, count: u32, callback: pg_sys::IndexBuildCallback, state: *mut c_void) {
        pgrx::check_for_interrupts!();
        allocator::check();
        // SAFETY: relations and index information are those of the running ambuild. A scan of a range
        // must not be synchronized with others (heapam_handler.c).
        unsafe {
            pg_sys::table_index_build_range_scan(
                self.heap,
                self.index,
                self.info,
                false,
                !(*self.info).ii_Concurrent,
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

impl Source for TableSource {
    fn rows_hint(&self) -> u64 {
        self.rows
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        self.sample_of(want, None, &mut |value| sink(value.coordinates))
    }

    fn sample_queries(
        &mut self,
        positions: &[usize],
        sink: &mut dyn FnMut(Sketched<'_>) -> Result<()>,
    ) -> Result<()> {
        let of_queries = self.values.1.for_queries();
        let of_rows = std::mem::replace(&mut self.values.1, of_queries);
        let sampled = self.sample_of(positions.len(), Some(&mut Chosen::new(positions)), sink);
        self.values.1 = of_rows;
        sampled
    }

    fn sample_originals(&mut self, want: usize, sink: &mut OriginalSink<'_>) -> Result<()> {
        let (dims, mut rows) = (self.values.1.dims, 0usize);
        for i in 0..self.order.len() {
            if rows >= want {
                break;
            }
            let mut take = |_: Tid, value: Original<'_>| {
                // The scan of all rows names those of other dimensions.
                if rows < want && value.dims() == Some(dims) {
                    rows += 1;
                    sink(value)?;
                }
                Ok(())
            };
            let mut state: (Indexed, &mut ValueSink<'_>) = (self.values.0, &mut take);
            self.scan_blocks(self.order[i], 1, Some(visit_original), (&raw mut state).cast());
        }
        Ok(())
    }

    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()> {
        let columns = FilterColumns::of(self.index)?;
        let mut state = Visit::new((self.values.0, &self.values.1), Some(&columns), sink);
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
        if state.left_out {
            // The server then keeps the index from snapshots older than the build (index.c).
            // SAFETY: the build's index information.
            unsafe { (*self.info).ii_BrokenHotChain = true };
        }
        Ok(())
    }
}

/// Passes every row of the index's table that `snapshot` sees to the sink, with the values that the index
/// stores (as amcheck's `bt_check_every_level` does). Without `columns` the rows have no keys.
///
/// # Safety
/// The relations are open and belong together; the snapshot is registered or active.
pub unsafe fn each_row(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    sketch: Sketch,
    snapshot: pg_sys::Snapshot,
    columns: Option<&FilterColumns>,
    sink: &mut RowSink<'_>,
) {
    let all = (0, pg_sys::InvalidBlockNumber);
    // SAFETY: the caller vouches for the arguments.
    unsafe { each_row_of(heap, index, sketch, snapshot, (columns, all), sink) }
}

/// The same for a range of blocks.
///
/// # Safety
/// As for [`each_row`].
pub unsafe fn each_row_of(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    sketch: Sketch,
    snapshot: pg_sys::Snapshot,
    (columns, (first, count)): (Option<&FilterColumns>, (u32, u32)),
    sink: &mut RowSink<'_>,
) {
    let values = (indexed(index).or_raise().0, &sketch);
    let mut state = Visit::new(values, columns, sink);
    // SAFETY: the caller vouches for the arguments.
    unsafe { visible(heap, index, snapshot, (first, count), (Some(visit), (&raw mut state).cast())) }
}

/// Passes every value of the index's table that `snapshot` sees to the sink.
///
/// # Safety
/// As for [`each_row`]; the index has sketches of the values.
pub unsafe fn each_original(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    sink: &mut ValueSink<'_>,
) {
    let all = (0, pg_sys::InvalidBlockNumber);
    let mut state = (indexed(index).or_raise().0, sink);
    // SAFETY: the caller vouches for the arguments.
    unsafe { visible(heap, index, snapshot, all, (Some(visit_original), (&raw mut state).cast())) }
}

/// Scans a range of blocks for the rows that `snapshot` sees; all of a table that is no heap. A range does
/// not begin beyond the end of its table.
unsafe fn visible(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    (first, count): (u32, u32),
    (callback, state): (pg_sys::IndexBuildCallback, *mut c_void),
) {
    // SAFETY: the caller vouches for the arguments; the scan ends with the build scan (heapam_handler.c).
    unsafe {
        let info = concurrent(index);
        let scan = pg_sys::table_beginscan_strat(heap, snapshot, 0, std::ptr::null_mut(), true, false);
        // A build scan may be given either limits or a scan, which it takes for one of the whole table
        // (heapam_handler.c). So the scan has the limits. It is not synchronized with others all the same.
        if is_heap(heap) {
            pg_sys::heap_setscanlimits(scan, first, count);
        }
        pg_sys::table_index_build_scan(heap, index, info, true, false, callback, state, scan);
    }
}

/// The index information for reading a table while others may write it: rows are those that a snapshot sees.
///
/// # Safety
/// The index is open.
unsafe fn concurrent(index: pg_sys::Relation) -> *mut pg_sys::IndexInfo {
    // SAFETY: the caller passes an open index.
    unsafe {
        let info = pg_sys::BuildIndexInfo(index);
        (*info).ii_Concurrent = true;
        (*info).ii_Unique = false;
        info
    }
}

impl TableSource {
    /// The table of a finished index, which others may read and write.
    ///
    /// # Safety
    /// The relations are open and belong together.
    pub unsafe fn of_index(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        sketch: Sketch,
        seed: u64,
    ) -> Self {
        // SAFETY: the caller vouches for the index.
        Self::new(heap, index, unsafe { concurrent(index) }, sketch, seed)
    }

    /// A table in use: vectors of deleted rows may be gone. To be scanned to its end, see
    /// [`TableSource::scan_any_visible`].
    pub fn in_use(mut self) -> Self {
        self.leaving = Some(Leaving::new());
        self
    }

    /// Passes every row that any snapshot may see to the sink, and rows of transactions under way, some of
    /// them twice, as BRIN's summaries need them (`table_index_build_range_scan` with `anyvisible`). Nothing
    /// waits for transactions, and other backends may change the table.
    ///
    /// # Errors
    /// Those of the sink and of [`Progress::tick`].
    pub fn scan_any_visible(&mut self, progress: &dyn Progress, sink: &mut RowSink<'_>) -> Result<()> {
        /// Each part looks again which rows are dead to everybody: what an expression takes from these may be
        /// gone from TOAST, which is an error.
        const BLOCKS: u32 = 64;
        let columns = FilterColumns::of(self.index)?;
        // SAFETY: the table is open.
        let nblocks =
            unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.heap, pg_sys::ForkNumber::MAIN_FORKNUM) };
        let mut leaving = self.leaving.take();
        for first in (0..nblocks).step_by(BLOCKS as usize) {
            progress.tick()?;
            let mut state = Visit {
                leaving: leaving.as_mut(),
                ..Visit::new((self.values.0, &self.values.1), Some(&columns), &mut *sink)
            };
            self.scan_blocks(first, BLOCKS.min(nblocks - first), Some(visit), (&raw mut state).cast());
        }
        self.leaving = leaving;
        Ok(())
    }

    /// Passes the rows at these addresses to the sink, unless they are dead to everybody. A scan does not
    /// give a row of which it sees an older version while a newer one comes to lie before it on the page:
    /// that one would come, if nobody else changed the table. Ends the work of [`TableSource::in_use`].
    ///
    /// # Errors
    /// Those of the sink and of [`Progress::tick`].
    pub fn look_up(&mut self, tids: &[Tid], progress: &dyn Progress, sink: &mut RowSink<'_>) -> Result<()> {
        const MOST: usize = pg_sys::INDEX_MAX_KEYS as usize;
        let columns = FilterColumns::of(self.index)?;
        let mut leaving = self.leaving.take();
        let mut state = Visit {
            leaving: leaving.as_mut(),
            ..Visit::new((self.values.0, &self.values.1), Some(&columns), sink)
        };
        let (mut values, mut nulls) = ([pg_sys::Datum::null(); MOST], [false; MOST]);
        // SAFETY: the relations are open. What is made here is given back at the end, or by an error's abort.
        // The snapshot sees what is not dead to everybody (InitNonVacuumableSnapshot in snapmgr.h).
        unsafe {
            let executor = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(executor);
            let slot = pg_sys::table_slot_create(self.heap, std::ptr::null_mut());
            (*context).ecxt_scantuple = slot;
            let fetch = begin_fetch(self.heap);
            let mut snapshot: pg_sys::SnapshotData = std::mem::zeroed();
            snapshot.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_NON_VACUUMABLE;
            snapshot.vistest = pg_sys::GlobalVisTestFor(self.heap);
            for &row in tids {
                progress.tick()?;
                let (mut found, mut again) = (false, false);
                let mut version = item_pointer(row);
                // The last version counts: an index that is younger than an update has its values.
                while pg_sys::table_index_fetch_tuple(
                    fetch,
                    &raw mut version,
                    &raw mut snapshot,
                    slot,
                    &raw mut again,
                    std::ptr::null_mut(),
                ) {
                    pg_sys::FormIndexDatum(
                        self.info,
                        slot,
                        executor,
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                    );
                    found = true;
                    if !again {
                        break;
                    }
                }
                if found {
                    let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                    let mut root = item_pointer(row);
                    visit(self.index, &raw mut root, values, nulls, false, (&raw mut state).cast());
                }
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
            pg_sys::table_index_fetch_end(fetch);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            (*self.info).ii_ExpressionsState = std::ptr::null_mut();
            pg_sys::FreeExecutorState(executor);
        }
        if let Some(mut leaving) = leaving {
            leaving.close();
        }
        Ok(())
    }

    /// Passes about `want` rows from all parts of the table to the sink: a few rows from each of many blocks.
    pub fn scattered(&mut self, want: usize, sink: &mut dyn FnMut(Tid, &[f32])) {
        let each = want.div_ceil(self.order.len().max(1));
        let mut chosen: Vec<(Tid, Vec<f32>)> = Vec::new();
        for i in 0..self.order.len() {
            let mut rows = Reservoir::new(each.min(want - chosen.len()), u64::from(self.order[i]));
            self.offer(self.order[i], 1, &mut rows);
            chosen.append(&mut rows.kept);
        }
        if chosen.len() < want / 2 {
            // Only few blocks contain rows of the index, as with a partial index.
            let mut rows = Reservoir::new(want, 0);
            self.offer(0, self.nblocks, &mut rows);
            chosen = rows.kept;
        }
        chosen.iter().for_each(|(tid, vector)| sink(*tid, vector));
    }

    fn offer(&self, first: u32, count: u32, rows: &mut Reservoir) {
        if rows.size == 0 {
            return;
        }
        let mut offer = |tid: Tid, value: Sketched<'_>, _: &[Key]| {
            rows.offer(tid, value.coordinates);
            Ok(())
        };
        let mut state = Visit::new((self.values.0, &self.values.1), None, &mut offer);
        self.scan_blocks(first, count, Some(visit), (&raw mut state).cast());
    }

    /// The dimensions of the first row of the index, if there is one. A row that is deleted, but that some
    /// may still see, counts if there is no other.
    pub fn first_dimensions(&self) -> Option<usize> {
        /// What is looked for, and what was found.
        struct First {
            indexed: Indexed,
            alive: Option<usize>,
            dead: Option<usize>,
        }
        #[pg_guard]
        unsafe extern "C-unwind" fn first(
            _index: pg_sys::Relation,
            row: pg_sys::ItemPointer,
            values: *mut pg_sys::Datum,
            isnull: *mut bool,
            is_alive: bool,
            state: *mut c_void,
        ) {
            // SAFETY: the state is that passed below; the value is of the index's kind.
            unsafe {
                let First { indexed, alive, dead } = &mut *state.cast::<First>();
                let found = if is_alive { alive } else { dead };
                if found.is_none() && !*isnull {
                    let dims = |dims, _: Sketched<'_>| dims;
                    match indexed.try_coordinates(&Sketch::none(0), *values, &mut Vec::new(), dims) {
                        // A set without vectors has none.
                        Ok(dims) => *found = Some(dims).filter(|dims| *dims > 0 || !indexed.is_sketched()),
                        Err(error) if !is_alive && is_of_value(&error) => (),
                        Err(error) => raise(named(error, tid(&*row))),
                    }
                }
            }
        }
        let mut state = First { indexed: self.values.0, alive: None, dead: None };
        // Larger and larger parts, so that a row at the beginning is found at once.
        let (mut from, mut count) = (0, 1);
        while from < self.nblocks && state.alive.is_none() {
            count = count.min(self.nblocks - from);
            self.scan_blocks(from, count, Some(first), (&raw mut state).cast());
            from += count;
            count = count.saturating_mul(2);
        }
        state.alive.or(state.dead)
    }

    /// Blocks of the table.
    pub fn nblocks(&self) -> u32 {
        self.nblocks
    }
}
