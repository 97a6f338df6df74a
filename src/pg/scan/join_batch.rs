//! The node above the outer side of a nested loop that searches for the inner rows of several outer rows
//! together (`planner/join_batches.rs`).
//!
//! It reads a batch of outer rows, looks for the rows within the join's distance of all of them, and returns
//! the outer rows in their order. The range search of the inner side finds what was found for the outer row
//! at hand (`ahead.rs`). So the join's result does not depend on this node.
//!
//! The first outer row is returned at once; its range search tells the distance. The first batch has 16 rows,
//! and each further one four times as many, so that a LIMIT reads few rows in vain. If more inner rows are
//! found than there is memory for, the batches become smaller.

use std::ffi::{CStr, c_int};

use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, pg_sys};

use super::ahead::{self, Searched};
use super::callbacks::conflict;
use crate::error::{Error, Kind, Result};
use crate::ivf::search::batch::ahead::Ahead;
use crate::pg::am::directory_cache::directories;
use crate::pg::am::opclass;
use crate::pg::am::threads::Threads;
use crate::pg::datum::indexed::{Indexed, OwnedQuery};
use crate::pg::error::{OrRaise, in_index};
use crate::pg::planner::threshold::result;
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::pg::work::{Interruptible, pool};

/// What EXPLAIN calls the node, and the name by which workers find its methods.
pub const NAME: &CStr = c"IvfJoinBatch";

/// Rows of the first batch that is searched for, and the factor by which batches grow.
const FIRST: usize = 16;
const GROWTH: usize = 4;
/// With fewer queries, threads take longer to start than they save.
const FEW: usize = 64;

/// A table of functions and a name.
pub struct Methods<T>(pub T);

// SAFETY: the tables are constant, and their names and functions static.
unsafe impl<T> Sync for Methods<T> {}

static PLAN_METHODS: Methods<pg_sys::CustomScanMethods> =
    Methods(pg_sys::CustomScanMethods { CustomName: NAME.as_ptr(), CreateCustomScanState: Some(create) });

static METHODS: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain),
});

/// Registers the node for plans that are sent to workers; called once per process.
pub fn register() {
    // SAFETY: the methods are static.
    unsafe { pg_sys::RegisterCustomScanMethods(plan_methods()) };
}

/// The methods of the node's plan.
pub fn plan_methods() -> *const pg_sys::CustomScanMethods {
    &raw const PLAN_METHODS.0
}

/// Whether a custom node is one of these.
///
/// # Safety
/// A live node of this tag.
pub unsafe fn is_ours(node: *mut pg_sys::PlanState) -> bool {
    // SAFETY: as the caller says.
    std::ptr::eq(unsafe { (*node.cast::<pg_sys::CustomScanState>()).methods }, &raw const METHODS.0)
}

/// The node as the executor knows it.
#[repr(C)]
struct Node {
    custom: pg_sys::CustomScanState,
    /// Null before the plan begins, and if it is only explained.
    batch: *mut Batch,
}

/// The node's state. It is dropped with the memory of its query at the latest.
struct Batch {
    index: pg_sys::Oid,
    /// The index, once it is open.
    opened: Option<Opened>,
    query: *mut pg_sys::ExprState,
    /// The outer rows of the batch, and where one of them is put.
    rows: *mut pg_sys::Tuplestorestate,
    slot: *mut pg_sys::TupleTableSlot,
    /// Rows of the batch, and how many were returned.
    size: usize,
    returned: usize,
    /// Rows that the next batch may have, and the most that any may have.
    next: usize,
    most: usize,
    /// Whether the outer side has no more rows.
    ended: bool,
    pool: Option<Threads>,
    /// Outer rows whose inner rows were searched for ahead, by this process.
    searched: u64,
}

/// The open index.
struct Opened {
    relation: pg_sys::Relation,
    store: IndexStore,
    kind: Indexed,
    /// Memory for a query.
    vector: Option<OwnedQuery>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        ahead::unregister(self.address());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn create(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: a new node of zeros, in the executor's context.
    unsafe {
        let node = pg_sys::palloc0(size_of::<Node>()).cast::<Node>();
        (*node).custom.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*node).custom.methods = &raw const METHODS.0;
        node.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    executor: *mut pg_sys::EState,
    flags: c_int,
) {
    // SAFETY: the executor passes a node of `create`, with a plan of `planner/join_batches.rs`.
    unsafe {
        let state = &raw mut (*node).ss.ps;
        let plan = (*state).plan.cast::<pg_sys::CustomScan>();
        // The node reads its child forwards only.
        let flags = flags & !(pg_sys::EXEC_FLAG_MARK | pg_sys::EXEC_FLAG_BACKWARD) as c_int;
        (*state).lefttree = pg_sys::ExecInitNode((*plan).scan.plan.lefttree, executor, flags);
        let query = PgList::<pg_sys::Expr>::from_pg((*plan).custom_exprs).get_ptr(0);
        let query = pg_sys::ExecInitExpr(query.unwrap_or(std::ptr::null_mut()), state);
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int != 0 {
            return;
        }
        let index = index_of(plan);
        let descriptor = (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor;
        let slot =
            pg_sys::ExecInitExtraTupleSlot(executor, descriptor, &raw const pg_sys::TTSOpsMinimalTuple);
        let rows = pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem);
        let batch = Batch {
            index,
            opened: None,
            query,
            rows,
            slot,
            size: 0,
            returned: 0,
            next: FIRST,
            most: usize::MAX,
            ended: false,
            pool: None,
            searched: 0,
        };
        let batch = PgMemoryContexts::For((*executor).es_query_cxt).leak_and_drop_on_delete(batch);
        ahead::register(batch.cast_const().cast(), index, (*executor).es_snapshot);
        (*node.cast::<Node>()).batch = batch;
    }
}

/// The index of a plan.
unsafe fn index_of(plan: *mut pg_sys::CustomScan) -> pg_sys::Oid {
    // SAFETY: the caller passes a plan of `planner/join_batches.rs`.
    unsafe {
        let number = PgList::<pg_sys::Integer>::from_pg((*plan).custom_private).get_ptr(0);
        number.map_or(pg_sys::InvalidOid, |number| pg_sys::Oid::from((*number).ival.cast_unsigned()))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn execute(node: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a node that was begun.
    unsafe {
        let batch = &mut *(*node.cast::<Node>()).batch;
        let slot = (*node).ss.ss_ScanTupleSlot;
        if batch.returned == batch.size && !batch.ended {
            batch.read(node);
        }
        if batch.returned == batch.size
            || !pg_sys::tuplestore_gettupleslot(batch.rows, true, false, batch.slot)
        {
            return pg_sys::ExecClearTuple(slot);
        }
        let number = batch.returned;
        batch.returned += 1;
        ahead::change(batch.address(), |_, found| {
            found.iter_mut().for_each(|found| found.number = number);
        });
        copy_row(slot, batch.slot);
        slot
    }
}

/// Puts a copy of a row into another slot (`ExecCopySlot`, tuptable.h).
unsafe fn copy_row(to: *mut pg_sys::TupleTableSlot, from: *mut pg_sys::TupleTableSlot) {
    // SAFETY: live slots of the same columns.
    unsafe {
        if let Some(copy) = (*(*to).tts_ops).copyslot {
            pg_sys::ffi::pg_guard_ffi_boundary(|| copy(to, from));
        }
    }
}

impl Batch {
    /// Reads the next outer rows, and searches for their inner rows if the distance is known.
    unsafe fn read(&mut self, node: *mut pg_sys::CustomScanState) {
        // SAFETY: the caller passes this batch's node.
        unsafe {
            pg_sys::tuplestore_clear(self.rows);
            (self.size, self.returned) = (0, 0);
            let address = self.address();
            let known = ahead::change(address, |asked, found| (asked, found.take()));
            let (asked, found) = known.unwrap_or((None, None));
            let ceiling = asked.filter(|ceiling| ceiling.is_finite() && self.next > 1);
            let mut search = ceiling.and_then(|_| self.prepared(node, found));
            let most = search.as_ref().map_or(1, |ahead| self.next.min(ahead.capacity()));
            while self.size < most {
                let row = pg_sys::ExecProcNode((*node).ss.ps.lefttree);
                if row.is_null() || (*row).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                    self.ended = true;
                    break;
                }
                pg_sys::tuplestore_puttupleslot(self.rows, row);
                self.size += 1;
                if let Some(search) = &mut search {
                    search.push(self.query(node, row).or_raise()).or_raise();
                } else if self.next > 1 {
                    ahead::note_row(address, self.query(node, row).or_raise()).or_raise();
                }
            }
            if let (Some(ahead), Some(ceiling)) = (search, ceiling)
                && self.size > 1
            {
                self.search(ahead, ceiling);
            }
        }
    }

    /// What it is known by in `ahead.rs`.
    fn address(&self) -> *const u8 {
        std::ptr::from_ref(self).cast()
    }

    /// The index, which is opened at the first call.
    unsafe fn open(&mut self, node: *mut pg_sys::CustomScanState) -> Result<&mut Opened> {
        if self.opened.is_none() {
            // SAFETY: the caller passes this batch's node. The inner side of the join has locked the index,
            // and the lock stays until the end of the transaction.
            self.opened = Some(unsafe {
                let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
                let relation = pg_sys::index_open(self.index, lock);
                let store = IndexStore::new(relation, Logging::EachChange);
                store.seen_by((*(*node).ss.ps.state).es_snapshot);
                Opened { relation, store, kind: opclass::indexed(relation)?.0, vector: None }
            });
        }
        self.opened.as_mut().ok_or_else(|| Error::new(Kind::Internal, "the index is not open"))
    }

    /// Queries that can be searched for; `None` where the index cannot do so, also later.
    unsafe fn prepared(
        &mut self,
        node: *mut pg_sys::CustomScanState,
        found: Option<Searched>,
    ) -> Option<Ahead> {
        // SAFETY: the caller passes this batch's node.
        let Opened { store, relation, .. } = unsafe { self.open(node) }.or_raise();
        let now = directories(store).map_err(|e| in_index(*relation, e)).or_raise();
        if let Some(mut ahead) = found.map(|found| found.ahead).filter(|ahead| ahead.reads(&now)) {
            ahead.clear();
            return Some(ahead);
        }
        // SAFETY: reads a setting.
        let memory = unsafe { pg_sys::work_mem }.max(0) as usize * 1024;
        let ahead = Ahead::new(&now, memory).filter(|ahead| ahead.capacity() > 1);
        if ahead.is_none() {
            self.next = 1;
        }
        ahead
    }

    /// The query of an outer row; `None` for NULL.
    unsafe fn query(
        &mut self,
        node: *mut pg_sys::CustomScanState,
        row: *mut pg_sys::TupleTableSlot,
    ) -> Result<Option<&[f32]>> {
        // SAFETY: the caller passes this batch's node and a row of its child. The expression was compiled for
        // the node's slot.
        unsafe {
            let expression = self.query;
            let Opened { kind, vector, .. } = self.open(node)?;
            let slot = (*node).ss.ss_ScanTupleSlot;
            copy_row(slot, row);
            let context = (*node).ss.ps.ps_ExprContext;
            (*context).ecxt_scantuple = slot;
            pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            let mut memory = PgMemoryContexts::For((*context).ecxt_per_tuple_memory);
            let earlier = vector.take();
            *vector = memory.switch_to(|_| match result(expression, context) {
                Some((datum, false)) => kind.query(datum, earlier).map(Some),
                _ => Ok(None),
            })?;
            pg_sys::ExecClearTuple(slot);
            Ok(match vector {
                Some(OwnedQuery::Vector(vector)) => Some(vector),
                _ => None,
            })
        }
    }

    /// Searches for the inner rows of the batch.
    fn search(&mut self, mut ahead: Ahead, ceiling: f64) {
        let Some(Opened { store, relation, .. }) = &self.opened else { return };
        // SAFETY: reads the state of this process.
        let alone = unsafe { pg_sys::ParallelWorkerNumber < 0 && !pg_sys::IsInParallelMode() };
        if self.size >= FEW && self.pool.is_none() && alone {
            self.pool = pool();
        }
        let done = ahead.run(ceiling, store, &Interruptible, self.pool.as_deref());
        let done = done.map_err(|e| conflict(store, |now| ahead.reads(now), e));
        let found = done.map_err(|e| in_index(*relation, e)).or_raise();
        if found {
            self.searched += self.size as u64;
            self.next = self.next.saturating_mul(GROWTH).min(self.most);
        } else {
            self.most = self.size / GROWTH;
            self.next = self.most;
        }
        ahead::change(self.address(), |_, place| {
            *place = Some(Searched { ahead, ceiling, number: 0 });
        });
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the executor passes a node that was begun; the batch itself goes with its memory context.
    unsafe {
        if let Some(batch) = (*node.cast::<Node>()).batch.as_mut() {
            ahead::unregister(batch.address());
            pg_sys::tuplestore_end(batch.rows);
            batch.pool = None;
            if let Some(opened) = batch.opened.take() {
                pg_sys::index_close(opened.relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            }
        }
        pg_sys::ExecEndNode((*node).ss.ps.lefttree);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the executor passes a node that was begun.
    unsafe {
        let batch = &mut *(*node.cast::<Node>()).batch;
        pg_sys::tuplestore_clear(batch.rows);
        (batch.size, batch.returned, batch.ended) = (0, 0, false);
        batch.next = FIRST.min(batch.most);
        let child = (*node).ss.ps.lefttree;
        // Otherwise it is restarted when it is asked for a row.
        if (*child).chgParam.is_null() {
            pg_sys::ExecReScan(child);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    out: *mut pg_sys::ExplainState,
) {
    // SAFETY: the server passes a live node, and where to write.
    unsafe {
        let name = pg_sys::get_rel_name(index_of((*node).ss.ps.plan.cast()));
        if !name.is_null() {
            pg_sys::ExplainPropertyText(c"Index".as_ptr(), name, out);
        }
        if let Some(batch) = (*node.cast::<Node>()).batch.as_ref()
            && (*out).analyze
        {
            let label = c"Rows Searched Ahead".as_ptr();
            pg_sys::ExplainPropertyUInteger(label, std::ptr::null(), batch.searched, out);
        }
    }
}
