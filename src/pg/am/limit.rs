//! What the plan above a scan wants: its LIMIT, its filter, its distance threshold.
//!
//! An access method is not told how many rows will be taken, nor which of them the filter above it drops.
//! Both matter here: with them the scan can hold rows back until the wanted number is certain, so that a
//! filtered `LIMIT k` gets its k rows in exact order. A hook at the start of execution remembers, for each
//! ordered index scan right below a LIMIT, the two nodes; the scan finds its own by its descriptor.

use std::cell::RefCell;
use std::ffi::c_void;

use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, pg_sys};

use super::threshold::{evaluate, first_bound};
use crate::pg::compat::planstate_children;
use crate::pg::guc::Wanted;

/// An index scan right below a LIMIT, or below none.
#[derive(Clone, Copy)]
struct Limited {
    executor: *mut pg_sys::EState,
    scan: *mut pg_sys::IndexScanState,
    /// Null if no LIMIT is anywhere above.
    limit: *mut pg_sys::LimitState,
    /// The bound of a distance threshold; null without one.
    threshold: *mut pg_sys::ExprState,
}

/// Where the walk through a plan is.
struct Walk {
    executor: *mut pg_sys::EState,
    below_limit: bool,
}

thread_local! {
    static LIMITED: RefCell<Vec<Limited>> = const { RefCell::new(Vec::new()) };
}

static mut NEXT_HOOK: pg_sys::ExecutorStart_hook_type = None;

/// Installs the hook; called once per process.
pub fn install_hook() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        NEXT_HOOK = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(executor_start);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: std::ffi::c_int) {
    // SAFETY: Postgres passes a live query; hooks are chained as all extensions do.
    unsafe {
        match NEXT_HOOK {
            Some(next) => pg_sys::ffi::pg_guard_ffi_boundary(|| next(query, flags)),
            None => pg_sys::standard_ExecutorStart(query, flags),
        }
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 == 0 && !(*query).planstate.is_null() {
            let mut walk = Walk { executor: (*query).estate, below_limit: false };
            find_limits((*query).planstate, (&raw mut walk).cast());
        }
    }
}

/// Looks for LIMIT nodes in a tree of plan states.
#[pg_guard]
unsafe extern "C-unwind" fn find_limits(state: *mut pg_sys::PlanState, walk: *mut c_void) -> bool {
    if state.is_null() {
        return false;
    }
    // SAFETY: the walker passes live nodes and the state given to it; a node's tag tells its type.
    unsafe {
        let Walk { executor, below_limit } = *walk.cast::<Walk>();
        match (*state).type_ {
            pg_sys::NodeTag::T_LimitState => {
                descend((*state).lefttree, state.cast(), executor);
                let mut below = Walk { executor, below_limit: true };
                return planstate_children(state, find_limits, (&raw mut below).cast());
            }
            pg_sys::NodeTag::T_IndexScanState if !below_limit => {
                descend(state, std::ptr::null_mut(), executor);
            }
            _ => {}
        }
        planstate_children(state, find_limits, walk)
    }
}

/// Goes down from a LIMIT through nodes that neither drop nor add rows.
unsafe fn descend(
    state: *mut pg_sys::PlanState,
    limit: *mut pg_sys::LimitState,
    executor: *mut pg_sys::EState,
) {
    use pg_sys::NodeTag;
    if state.is_null() {
        return;
    }
    // SAFETY: live nodes of a started plan; a node's tag tells its type.
    unsafe {
        match (*state).type_ {
            NodeTag::T_IndexScanState => {
                let scan = state.cast::<pg_sys::IndexScanState>();
                let index = (*scan).iss_RelationDesc;
                if (*scan).iss_NumOrderByKeys > 0 && !index.is_null() && super::is_ivf(index) {
                    remember(Limited { executor, scan, limit, threshold: find_threshold(scan) });
                }
            }
            NodeTag::T_LockRowsState => descend((*state).lefttree, limit, executor),
            NodeTag::T_ResultState if (*state).qual.is_null() => {
                descend((*state).lefttree, limit, executor);
            }
            NodeTag::T_SubqueryScanState if (*state).qual.is_null() => {
                descend((*state.cast::<pg_sys::SubqueryScanState>()).subplan, limit, executor);
            }
            NodeTag::T_MergeAppendState => {
                let append = &*state.cast::<pg_sys::MergeAppendState>();
                for i in 0..append.ms_nplans.max(0) as usize {
                    descend(*append.mergeplans.add(i), limit, executor);
                }
            }
            _ => {}
        }
    }
}

/// The bound of a distance threshold in a scan's filter, ready to be evaluated.
unsafe fn find_threshold(scan: *mut pg_sys::IndexScanState) -> *mut pg_sys::ExprState {
    // SAFETY: a live node of a started plan; what is made for it lives as long as its query.
    unsafe {
        let state = &raw mut (*scan).ss.ps;
        let plan = (*state).plan.cast::<pg_sys::IndexScan>();
        let orders = PgList::<pg_sys::Node>::from_pg((*plan).indexorderbyorig);
        let mut memory = PgMemoryContexts::For((*(*state).state).es_query_cxt);
        memory.switch_to(|_| {
            let bound = orders.get_ptr(0).and_then(|order| first_bound((*plan).scan.plan.qual, order));
            bound.map_or(std::ptr::null_mut(), |bound| pg_sys::ExecInitExpr(bound.cast(), state))
        })
    }
}

/// Remembers a scan until its query's memory is freed.
unsafe fn remember(limited: Limited) {
    #[pg_guard]
    unsafe extern "C-unwind" fn forget(executor: *mut c_void) {
        LIMITED.with_borrow_mut(|all| all.retain(|l| l.executor.cast() != executor));
    }
    // SAFETY: the callback's memory lives in the context whose end calls it.
    unsafe {
        if LIMITED.with_borrow(|all| all.iter().all(|l| l.executor != limited.executor)) {
            let context = (*limited.executor).es_query_cxt;
            let callback = pg_sys::MemoryContextAlloc(context, size_of::<pg_sys::MemoryContextCallback>())
                .cast::<pg_sys::MemoryContextCallback>();
            (*callback).func = Some(forget);
            (*callback).arg = limited.executor.cast();
            (*callback).next = std::ptr::null_mut();
            pg_sys::MemoryContextRegisterResetCallback(context, callback);
        }
    }
    LIMITED.with_borrow_mut(|all| all.push(limited));
}

/// What is wanted of a scan.
#[derive(Clone, Copy)]
pub struct Wish {
    /// How much, up to which value.
    pub wanted: Wanted,
    qual: *mut pg_sys::ExprState,
    /// The index conditions, where they must be rechecked; else null.
    recheck: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
    /// Null, or where EXPLAIN ANALYZE counts rows removed by the filter.
    instrument: *mut pg_sys::Instrumentation,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            wanted: Wanted::default(),
            qual: std::ptr::null_mut(),
            recheck: std::ptr::null_mut(),
            context: std::ptr::null_mut(),
            instrument: std::ptr::null_mut(),
        }
    }
}

impl Wish {
    /// Whether a row of the table passes the scan's filter.
    ///
    /// # Safety
    /// The slot holds a row of the scanned table, and the scan's plan node is live.
    pub unsafe fn passes(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        if self.qual.is_null() && self.recheck.is_null() {
            return true;
        }
        // SAFETY: the expression was compiled for slots of this table. Nothing of the scan node lives in its
        // per-tuple memory while it asks the access method for a row (nodeIndexscan.c).
        unsafe {
            let before = std::mem::replace(&mut (*self.context).ecxt_scantuple, slot);
            let rechecked = self.recheck.is_null() || pg_sys::ExecQual(self.recheck, self.context);
            let passes = rechecked && (self.qual.is_null() || pg_sys::ExecQual(self.qual, self.context));
            (*self.context).ecxt_scantuple = before;
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            if rechecked && !passes && !self.instrument.is_null() {
                (*self.instrument).nfiltered1 += 1.0;
            }
            passes
        }
    }
}

/// What the plan above `scan` wants of it, as of now (a LIMIT may be a parameter that changes).
///
/// # Safety
/// `scan` is live and the executor is asking it for a row.
pub unsafe fn wish(scan: pg_sys::IndexScanDesc, recheck: bool) -> Wish {
    let found = LIMITED.with_borrow(|all| {
        // SAFETY: entries are removed before their nodes are freed.
        all.iter().find(|l| unsafe { (*l.scan).iss_ScanDesc } == scan).copied()
    });
    let Some(Limited { scan: node, limit, threshold, .. }) = found else { return Wish::default() };
    // SAFETY: as above; ExecLimit evaluates its counts before it asks its child for a row.
    unsafe {
        let ceiling = match threshold.is_null() {
            true => f64::INFINITY,
            false => evaluate(threshold, (*node).ss.ps.ps_ExprContext),
        };
        if limit.is_null() || (*limit).noCount {
            let wanted = Wanted { everything: true, ceiling, ..Wanted::default() };
            return Wish { wanted, ..Wish::default() };
        }
        let state = &(*node).ss.ps;
        if !state.qual.is_null() && pg_sys::contain_volatile_functions((*state.plan).qual.cast()) {
            // The executor must be the only one to evaluate it.
            let wanted = Wanted { ceiling, ..Wanted::default() };
            return Wish { wanted, ..Wish::default() };
        }
        let table = f64::from((*(*(*scan).heapRelation).rd_rel).reltuples);
        let expected = (*state.plan).plan_rows / table;
        // Of a plan with index conditions it is not known how many rows each part excludes: the scan learns it.
        let known = !state.qual.is_null() && expected > 0.0 && (*scan).numberOfKeys == 0;
        let passing = if known { expected.min(1.0) as f32 } else { 1.0 };
        let ties = i64::from((*limit).limitOption == pg_sys::LimitOption::LIMIT_OPTION_WITH_TIES);
        let rows = (*limit).count.saturating_add((*limit).offset).saturating_add(ties);
        Wish {
            wanted: Wanted { limit: Some(rows.max(1) as u64), passing, ceiling, everything: false },
            qual: state.qual,
            recheck: if recheck { (*node).indexqualorig } else { std::ptr::null_mut() },
            context: state.ps_ExprContext,
            instrument: state.instrument,
        }
    }
}
