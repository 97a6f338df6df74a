//! What the plan above a scan wants: its LIMIT, its filter, its distance thresholds.
//!
//! An access method is not told how many rows will be taken, nor which of them the filter above it drops.
//! Both matter here: with them the scan can hold rows back until the wanted number is certain, so that a
//! filtered `LIMIT k` gets its k rows in exact order. A hook at the start of execution walks through the plan
//! and remembers every ordered scan, with what is [`Above`] it; the scan finds its own by its descriptor.
//!
//! Who asks for the nearest rows by a LIMIT accepts that one is missing. An aggregate does not, nor does a
//! join's inner side or a subquery in an expression: only nodes that hand on each row as it comes carry a
//! LIMIT down to a scan.

use std::cell::RefCell;
use std::ffi::c_void;
use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::pg::planner::min_max::is_exact;
use crate::pg::planner::threshold::{CompiledBound, evaluate};
use crate::pg::settings::resolve::ScanRequest;

/// How much of a scan is taken by what is above it.
#[derive(Clone, Copy)]
pub enum Above {
    /// All of it.
    Whole,
    /// Nobody knows: there is a LIMIT above nodes that drop or add rows.
    Unknown { limit: *mut pg_sys::LimitState },
    /// What a LIMIT takes, and one more row if `tied`. It may be `merged` from several scans, or lose
    /// rows on the way.
    Limit { limit: *mut pg_sys::LimitState, tied: bool, merged: bool },
}

/// Of a LIMIT above nodes that drop or add rows, so many rows are no more than a scan without a limit looks
/// for at first. Of a larger one that many are looked for; not those of its OFFSET, so that all pages are of
/// the same rows.
const FEW: i64 = 40;

/// An ordered scan of ours in a running plan.
#[derive(Clone)]
pub struct Limited {
    /// The plan's executor, which frees it.
    pub executor: *mut pg_sys::EState,
    /// The scan's node.
    pub scan: *mut pg_sys::IndexScanState,
    /// What is above it.
    pub above: Above,
    /// The distance thresholds of its filter.
    pub thresholds: Rc<[CompiledBound]>,
}

thread_local! {
    static LIMITED: RefCell<Vec<Limited>> = const { RefCell::new(Vec::new()) };
}

/// Remembers a scan until its query's memory is freed.
pub unsafe fn remember(limited: Limited) {
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
pub struct PlanRequest {
    /// How much, up to which value.
    pub scan: ScanRequest,
    qual: *mut pg_sys::ExprState,
    /// The index conditions, where they must be rechecked; else null.
    recheck: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
    /// Null, or where EXPLAIN ANALYZE counts rows removed by the filter.
    instrument: *mut pg_sys::Instrumentation,
}

impl Default for PlanRequest {
    fn default() -> Self {
        Self {
            scan: ScanRequest::default(),
            qual: std::ptr::null_mut(),
            recheck: std::ptr::null_mut(),
            context: std::ptr::null_mut(),
            instrument: std::ptr::null_mut(),
        }
    }
}

impl PlanRequest {
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
pub unsafe fn plan_request(scan: pg_sys::IndexScanDesc, recheck: bool) -> PlanRequest {
    let found = LIMITED.with_borrow(|all| {
        // SAFETY: entries are removed before their nodes are freed.
        all.iter().find(|l| unsafe { (*l.scan).iss_ScanDesc } == scan).cloned()
    });
    let everything = |ceiling| ScanRequest { everything: true, ceiling, ..ScanRequest::default() };
    let Some(Limited { scan: node, above, thresholds, .. }) = found else {
        // Rows that changed are looked at again by plans that no hook sees (EvalPlanQual).
        return PlanRequest { scan: everything(f64::INFINITY), ..PlanRequest::default() };
    };
    // SAFETY: as above; ExecLimit evaluates its counts before it asks its child for a row.
    unsafe {
        let ceiling = evaluate(&thresholds, (*node).ss.ps.ps_ExprContext);
        let (limit, tied, merged) = match above {
            Above::Limit { limit, tied, merged } if !(*limit).noCount => {
                let with_ties = (*limit).limitOption == pg_sys::LimitOption::LIMIT_OPTION_WITH_TIES;
                (limit, tied || with_ties, merged)
            }
            Above::Unknown { limit } if !(*limit).noCount => (limit, false, true),
            _ => return PlanRequest { scan: everything(ceiling), ..PlanRequest::default() },
        };
        let few = matches!(above, Above::Unknown { .. }) && (*limit).count <= FEW;
        let exact = is_exact(limit);
        let state = &(*node).ss.ps;
        if few || !state.qual.is_null() && pg_sys::contain_volatile_functions((*state.plan).qual.cast()) {
            // The executor must be the only one to evaluate a volatile filter.
            let scan = ScanRequest { ceiling, exact, ..ScanRequest::default() };
            return PlanRequest { scan, ..PlanRequest::default() };
        }
        let table = f64::from((*(*(*scan).heapRelation).rd_rel).reltuples);
        let expected = (*state.plan).plan_rows / table;
        // Of a plan with index conditions or thresholds it is not known how many rows each part excludes: the
        // scan learns it.
        let filters = !state.qual.is_null() && (*scan).numberOfKeys == 0 && thresholds.is_empty();
        let passing = if filters && expected > 0.0 { expected.min(1.0) as f32 } else { 1.0 };
        let rows = (*limit).count.saturating_add(i64::from(tied));
        // Rows that are found too late come between two of the pages that begin with the first row.
        let paged = !tied && !merged && (*limit).offset % rows.max(1) == 0;
        PlanRequest {
            scan: ScanRequest {
                limit: Some(rows.max(1) as u64),
                passing,
                ceiling,
                everything: false,
                exact,
                paged,
                ordered: tied,
            },
            qual: state.qual,
            recheck: if recheck { (*node).indexqualorig } else { std::ptr::null_mut() },
            context: state.ps_ExprContext,
            instrument: state.instrument,
        }
    }
}
