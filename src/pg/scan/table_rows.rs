//! The table rows of a scan, as its snapshot sees them. They are fetched, tested with the filter above the
//! scan, and their distances are computed.
//!
//! The search first announces rows ([`Rows::prefetch`]), and then requests the distance of each
//! ([`Rows::distance`]). An announced row is fetched at once. If its vector is out of line, the vector is not
//! read yet: only its page is prefetched, so that the pages of several rows are loaded together.
//!
//! ```text
//! prefetch(row): fetch, filter
//!   ├─ not visible, or filtered ───► Hidden            distance(row): None
//!   └─ passes
//!      ├─ the index knows it ──────► Distance(d)                      d
//!      ├─ vector out of line, and
//!      │  may be read here ────────► Toasted(pointer)                 measure_toasted ─► d
//!      │                                                               └─ if it cannot: fetch, measure_slot
//!      └─ else measure_slot
//!         ├─ NULL ─────────────────► Hidden                           None
//!         └─ its distance ─────────► Distance(d)                      d
//!
//! a row that was not named: fetch, filter ─ passes ─► what the index knows, or measure_slot
//! ```
//!
//! The states are kept in the order in which the rows were announced. When a row is requested, the states of
//! rows announced before it are dropped, because the search no longer wants them.

use std::collections::VecDeque;

use pgrx::{PgList, pg_sys};

use super::distance_memo;
use super::plan_limit::PlanRequest;
use crate::error::{Error, Kind, Result};
use crate::ivf::search::Rows;
use crate::ivf::search::batch::WithVector;
use crate::ivf::sketch::Sketch;
use crate::page::Tid;
use crate::pg::compat::{begin_fetch, is_heap};
use crate::pg::datum::indexed::{Indexed, Query};
use crate::pg::storage::buffer_hints::BufferHints;
use crate::pg::storage::buffer_lock;
use crate::pg::storage::tid::{item_pointer, tid};
use crate::pg::storage::toast::{ToastPointer, ToastReader, toast_pointer};
use crate::value::Metric;

/// The table of a scan.
pub struct TableRows {
    table: pg_sys::Relation,
    fetch: *mut pg_sys::IndexFetchTableData,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
    column: Column,
    indexed: (Indexed, Metric),
    /// Memory for the coordinates of a value.
    buffer: Vec<f32>,
    toast: ToastReader,
    /// Where all of this lives.
    context: pg_sys::MemoryContext,
    request: PlanRequest,
    /// The scan whose distances are stored in the memo; null if none.
    notes: *const u8,
    /// The buffer hints of the table, if it is a heap.
    hints: Option<BufferHints>,
    /// Prefetched rows, in the order in which they will be requested.
    prefetched: VecDeque<(Tid, Prefetched)>,
}

/// What is known of a row that was prefetched.
#[derive(Clone, Copy)]
enum Prefetched {
    /// The scan does not return it.
    Hidden,
    /// It passes the filter, and this is its distance.
    Distance(f64),
    /// It has a TOAST pointer to its vector, whose pages have been prefetched.
    Toasted(ToastPointer),
}

impl Drop for TableRows {
    fn drop(&mut self) {
        distance_memo::end(self.notes);
    }
}

/// Where the vector of a heap row comes from.
#[derive(Clone, Copy)]
enum Column {
    Attribute(i32),
    /// Compiled separately, because the query does not use the index's other expressions, which must not be
    /// evaluated.
    Expression {
        state: *mut pg_sys::ExprState,
        executor: *mut pg_sys::EState,
    },
}

impl Column {
    /// The first column of an index.
    unsafe fn of(index: pg_sys::Relation) -> Result<Self> {
        // SAFETY: the caller passes an open index, whose pg_index row has a number for each column. Its
        // expressions are those of the columns numbered 0, in order (`FormIndexDatum`, index.c).
        unsafe {
            let attribute = (*(*index).rd_index).indkey.values.as_ptr().read();
            if attribute != 0 {
                return Ok(Self::Attribute(i32::from(attribute)));
            }
            let all = PgList::<pg_sys::Expr>::from_pg(pg_sys::RelationGetIndexExpressions(index));
            let missing = || Error::new(Kind::Internal, "an index lacks the expression of its first column");
            let expression = all.get_ptr(0).ok_or_else(missing)?;
            let executor = pg_sys::CreateExecutorState();
            Ok(Self::Expression { state: pg_sys::ExecPrepareExpr(expression, executor), executor })
        }
    }
}

/// The value of an expression for the row in a slot; `None` if it is NULL. It is valid until the next
/// evaluation.
unsafe fn evaluate(
    expression: *mut pg_sys::ExprState,
    executor: *mut pg_sys::EState,
    slot: *mut pg_sys::TupleTableSlot,
) -> Option<pg_sys::Datum> {
    // SAFETY: as `ExecEvalExprSwitchContext` does (executor.h): the expression was compiled by this executor,
    // for rows of the table.
    unsafe {
        let context = match (*executor).es_per_tuple_exprcontext {
            existing if !existing.is_null() => existing,
            _ => pg_sys::MakePerTupleExprContext(executor),
        };
        let evaluate = (*expression).evalfunc?;
        pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
        (*context).ecxt_scantuple = slot;
        let mut null = false;
        let before = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
        let datum = pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(expression, context, &raw mut null));
        pg_sys::MemoryContextSwitchTo(before);
        (!null).then_some(datum)
    }
}

impl TableRows {
    /// The table of an index as `snapshot` sees it.
    ///
    /// # Safety
    /// The relations are open and belong together; they and the snapshot outlive this, which lives in the
    /// current memory context.
    pub unsafe fn open(
        table: pg_sys::Relation,
        index: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        indexed: (Indexed, Metric),
    ) -> Result<Self> {
        // SAFETY: the caller vouches for the relations.
        unsafe {
            let column = Column::of(index)?;
            Ok(Self {
                table,
                fetch: begin_fetch(table),
                slot: pg_sys::table_slot_create(table, std::ptr::null_mut()),
                snapshot,
                column,
                indexed,
                buffer: Vec::new(),
                toast: ToastReader::default(),
                context: pg_sys::CurrentMemoryContext,
                request: PlanRequest::default(),
                notes: std::ptr::null(),
                hints: is_heap(table).then(|| BufferHints::of(table)),
                prefetched: VecDeque::new(),
            })
        }
    }

    /// Begins a scan under a snapshot.
    pub fn begin(&mut self, snapshot: pg_sys::Snapshot, request: PlanRequest) {
        self.snapshot = snapshot;
        self.request = request;
    }

    /// From now on stores distances in the memo of a scan.
    pub fn note_for(&mut self, scan: *const u8) {
        self.notes = scan;
    }

    /// Releases the current page, and forgets prefetched rows.
    pub fn reset(&mut self) {
        self.prefetched.clear();
        // SAFETY: fetch and slot were made by `open`.
        unsafe {
            pg_sys::ExecClearTuple(self.slot);
            pg_sys::table_index_fetch_reset(self.fetch);
        }
    }

    /// Requests the pages of rows that will be fetched. Returns whether any was requested from the disk.
    fn prefetch_pages(&self, rows: &[(Tid, Option<f64>)]) -> bool {
        let Some(hints) = &self.hints else { return false };
        let mut from_disk = false;
        for (row, _) in rows {
            // SAFETY: the table is open.
            from_disk |= unsafe { hints.request(self.table, row.blkno..row.blkno.saturating_add(1)) };
        }
        from_disk
    }

    /// Gives back what `open` took.
    pub fn close(mut self) {
        self.toast.close();
        // SAFETY: all of them were made by `open` and are given back once.
        unsafe {
            pg_sys::table_index_fetch_end(self.fetch);
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            if let Column::Expression { executor, .. } = self.column {
                pg_sys::FreeExecutorState(executor);
            }
        }
    }

    /// Puts the version of a row that the snapshot sees into the slot, if there is one.
    unsafe fn fetch(&mut self, tid: Tid) -> bool {
        let mut pointer = item_pointer(tid);
        let all_dead = std::ptr::null_mut();
        // SAFETY: fetch, snapshot and slot belong to the running scan, and the table is locked; what is not
        // asked for may be null. The slot of a heap is a `BufferHeapTupleTableSlot`; the page is pinned and
        // locked while its row is looked for, and the pin goes to the slot or back.
        unsafe {
            let Some(hints) = &self.hints else {
                let mut again = false;
                return pg_sys::table_index_fetch_tuple(
                    self.fetch,
                    &raw mut pointer,
                    self.snapshot,
                    self.slot,
                    &raw mut again,
                    all_dead,
                );
            };
            // Like `heapam_index_fetch_tuple` (heapam_handler.c), except that the page is found by a buffer
            // hint, and is not pruned: the executor prunes it when it fetches the returned rows.
            let buffer = hints.pin(self.table, tid.blkno);
            buffer_lock::lock_shared(buffer);
            let tuple = &raw mut (*self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tupdata;
            let found = pg_sys::heap_hot_search_buffer(
                &raw mut pointer,
                self.table,
                buffer,
                self.snapshot,
                tuple,
                all_dead,
                true,
            );
            buffer_lock::unlock(buffer);
            if found {
                pg_sys::ExecStorePinnedBufferHeapTuple(tuple, self.slot, buffer);
                (*self.slot).tts_tableOid = (*self.table).rd_id;
            } else {
                pg_sys::ReleaseBuffer(buffer);
            }
            found
        }
    }

    /// The indexed value of the row in the slot; `None` if it is NULL.
    unsafe fn datum(&mut self) -> Option<pg_sys::Datum> {
        // SAFETY: the slot holds a row of the table.
        unsafe {
            let mut null = false;
            match self.column {
                Column::Attribute(number) => {
                    let datum = pg_sys::slot_getattr(self.slot, number, &raw mut null);
                    (!null).then_some(datum)
                }
                Column::Expression { state, executor } => evaluate(state, executor, self.slot),
            }
        }
    }

    /// The address of the version of a row that the snapshot sees, if there is one. If asked for, its vector
    /// is passed to `with`; a row without one does not count.
    pub(super) fn visit(&mut self, row: Tid, with: Option<&mut WithVector<'_>>) -> Result<Option<Tid>> {
        // SAFETY: the table is open, and what `open` made lives as long as this; the slot keeps the row while
        // its vector is read.
        unsafe {
            if !self.fetch(row) {
                return Ok(None);
            }
            let version = Some(tid(&(*self.slot).tts_tid));
            let Some(with) = with else { return Ok(version) };
            let Some(datum) = self.datum() else { return Ok(None) };
            let (snapshot, context) = (self.snapshot, self.context);
            let here = toast_pointer(datum).and_then(|at| self.toast.fetch(&at, snapshot, context));
            let datum = here.unwrap_or(datum);
            self.indexed
                .0
                .coordinates(&Sketch::none(0), datum, &mut self.buffer, |_, row| with(row.coordinates))?;
            Ok(version)
        }
    }

    /// Stores a distance in the memo.
    fn note(&self, pointer: &ToastPointer, distance: f64) {
        if !self.notes.is_null() {
            distance_memo::note(self.notes, pointer, distance);
        }
    }

    /// The state of a row, if it was prefetched. Removes it and the states before it.
    fn take_prefetched(&mut self, tid: Tid) -> Option<Prefetched> {
        while let Some((next, state)) = self.prefetched.pop_front() {
            if next == tid {
                return Some(state);
            }
        }
        None
    }
}

/// The rows of the table, with the query from which distances are computed.
pub struct Measured<'a> {
    /// The rows.
    pub rows: &'a mut TableRows,
    /// `None` is SQL's NULL.
    pub query: Option<Query<'a>>,
}

impl Measured<'_> {
    /// The distance of a vector out of line, if it can be read here.
    unsafe fn measure_toasted(&mut self, pointer: &ToastPointer) -> Result<Option<f64>> {
        let (rows, Some(query)) = (&mut *self.rows, self.query) else { return Ok(None) };
        let (indexed, metric) = rows.indexed;
        // SAFETY: a visible row points to the value, which stays until the next one is read.
        unsafe {
            let Some(value) = rows.toast.fetch(pointer, rows.snapshot, rows.context) else { return Ok(None) };
            let distance = indexed.distance(value, &mut rows.buffer, (metric, query))?;
            rows.note(pointer, distance);
            Ok(Some(distance))
        }
    }

    /// The distance of the row in the slot; `None` if its vector is NULL.
    unsafe fn measure_slot(&mut self) -> Result<Option<f64>> {
        // SAFETY: the slot keeps the row while the vector is read.
        unsafe {
            let Some(datum) = self.rows.datum() else { return Ok(None) };
            let Some(query) = self.query else { return Ok(Some(f64::NAN)) };
            let pointer = toast_pointer(datum);
            if let Some(pointer) = &pointer
                && let distance @ Some(_) = self.measure_toasted(pointer)?
            {
                return Ok(distance);
            }
            let rows = &mut *self.rows;
            let (indexed, metric) = rows.indexed;
            let distance = indexed.distance(datum, &mut rows.buffer, (metric, query))?;
            if let Some(pointer) = &pointer {
                rows.note(pointer, distance);
            }
            Ok(Some(distance))
        }
    }

    /// Fetches a row and computes its distance. If its vector is out of line, only prefetches the vector's
    /// pages.
    unsafe fn prefetch_row(&mut self, (tid, known): (Tid, Option<f64>)) -> Result<Prefetched> {
        // SAFETY: the scan is running.
        unsafe {
            let rows = &mut *self.rows;
            if !rows.fetch(tid) || !rows.request.passes(rows.slot) {
                return Ok(Prefetched::Hidden);
            }
            if let Some(known) = known {
                return Ok(Prefetched::Distance(known));
            }
            if let Column::Attribute(_) = rows.column
                && let Some(pointer) = rows.datum().and_then(|datum| toast_pointer(datum))
                && rows.toast.prefetch(&pointer, rows.snapshot, rows.context)
            {
                return Ok(Prefetched::Toasted(pointer));
            }
            Ok(self.measure_slot()?.map_or(Prefetched::Hidden, Prefetched::Distance))
        }
    }
}

impl Rows for Measured<'_> {
    fn prefetch(&mut self, rows: &[(Tid, Option<f64>)], spare: &[(Tid, Option<f64>)]) -> Result<()> {
        let from_disk = self.rows.prefetch_pages(rows);
        let spare = if from_disk { spare } else { &[] };
        self.rows.prefetch_pages(spare);
        for &row in rows.iter().chain(spare) {
            pgrx::check_for_interrupts!();
            // SAFETY: the scan is running.
            let state = unsafe { self.prefetch_row(row)? };
            self.rows.prefetched.push_back((row.0, state));
        }
        Ok(())
    }

    fn distance(&mut self, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
        pgrx::check_for_interrupts!();
        // SAFETY: the scan is running.
        unsafe {
            match self.rows.take_prefetched(tid) {
                Some(Prefetched::Hidden) => return Ok(None),
                Some(Prefetched::Distance(distance)) => return Ok(Some(distance)),
                Some(Prefetched::Toasted(pointer)) => {
                    if let distance @ Some(_) = self.measure_toasted(&pointer)? {
                        return Ok(distance);
                    }
                    // The server reads the vector, after its row has been fetched again.
                    if !self.rows.fetch(tid) {
                        return Ok(None);
                    }
                }
                None => {
                    if !self.rows.fetch(tid) || !self.rows.request.passes(self.rows.slot) {
                        return Ok(None);
                    }
                    if known.is_some() {
                        return Ok(known);
                    }
                }
            }
            self.measure_slot()
        }
    }
}
