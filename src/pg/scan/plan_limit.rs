//! What the plan above a scan wants: its LIMIT, its filter, its distance thresholds.
//!
//! PostgreSQL does not tell an access method how many rows the query needs, nor which of them the filter
//! above drops. With both, the scan can wait until the needed number of rows is certain, so that a filtered
//! `LIMIT k` gets its k rows in exact order. A hook at executor start walks through the plan and records
//! every ordered scan, with what is [`Above`] it. The scan finds its record by its descriptor.
//!
//! A user who asks for the nearest rows by a LIMIT accepts that one is missing. An aggregate, the inner side
//! of a join or a subquery in an expression does not. So only nodes that pass on each row as it comes pass a
//! LIMIT down to a scan.

use std::cell::RefCell;
use std::ffi::c_void;
use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::filter_clauses::Compiled;
use crate::pg::compat::NodeInstrumentation;
use crate::pg::planner::min_max::is_exact;
use crate::pg::planner::threshold::{CompiledBound, Supposed, evaluate};
use crate::pg::settings::resolve::ScanRequest;

/// How many rows of a scan the plan above it needs.
#[derive(Clone, Copy)]
pub enum Above {
    /// All of it.
    Whole,
    /// An unknown number: there is a LIMIT above nodes that drop or add rows.
    Unknown { limit: *mut pg_sys::LimitState },
    /// The rows of a LIMIT, and one more row if `tied`. With `merged`, they come from several scans, or some
    /// are dropped on the way.
    Limit { limit: *mut pg_sys::LimitState, tied: bool, merged: bool },
}

/// The number of rows that a scan without a known limit looks for first. If a LIMIT above nodes that drop or
/// add rows is larger, the scan first looks for the rows of that LIMIT. The rows of its OFFSET do not count,
/// so that all pages are slices of the same sequence.
const FEW: i64 = 40;

/// The thresholds of an order.
pub struct Thresholds {
    /// For each clause, bounds of which one holds.
    pub certain: Vec<Vec<CompiledBound>>,
    /// Those of which it becomes known when the scan starts whether they hold.
    pub supposed: Vec<Supposed<*mut pg_sys::ExprState>>,
}

impl Thresholds {
    const NONE: &'static Self = &Self { certain: Vec::new(), supposed: Vec::new() };

    fn is_empty(&self) -> bool {
        self.certain.is_empty() && self.supposed.is_empty()
    }

    /// The current limit of the order (see [`evaluate`]).
    unsafe fn limit(&self, context: *mut pg_sys::ExprContext) -> Option<f64> {
        // SAFETY: as for `evaluate`.
        unsafe {
            let supposed = self.supposed.iter().filter(|supposed| supposed.holds(context));
            let supposed = supposed.map(|supposed| std::slice::from_ref(&supposed.bound));
            evaluate(self.certain.iter().map(Vec::as_slice).chain(supposed), context)
        }
    }
}

/// An ordered scan of ours in a running plan.
#[derive(Clone)]
pub struct Limited {
    /// The plan's executor, which frees it.
    pub executor: *mut pg_sys::EState,
    /// The scan's node.
    pub scan: *mut pg_sys::IndexScanState,
    /// What is above it.
    pub above: Above,
    /// Whether it is a range search, which may miss no row.
    pub exact: bool,
    /// For each of its orders, the distance thresholds of its filter.
    pub thresholds: Rc<[Thresholds]>,
    /// The clauses of its filter that the index tests.
    pub clauses: Compiled,
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

/// What the plan wants from a scan.
#[derive(Clone, Copy)]
pub struct PlanRequest {
    /// Number of rows, and largest value.
    pub scan: ScanRequest,
    qual: *mut pg_sys::ExprState,
    /// The index conditions, if they must be rechecked; else null.
    recheck: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
    /// Whether no row can pass the filter, which compares the distance with NULL.
    pub is_empty: bool,
    /// Null, or where EXPLAIN ANALYZE counts rows removed by the filter.
    instrument: *mut NodeInstrumentation,
}

impl Default for PlanRequest {
    fn default() -> Self {
        Self {
            scan: ScanRequest::default(),
            qual: std::ptr::null_mut(),
            recheck: std::ptr::null_mut(),
            context: std::ptr::null_mut(),
            instrument: std::ptr::null_mut(),
            is_empty: false,
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

/// The record of a scan.
unsafe fn recorded(scan: pg_sys::IndexScanDesc) -> Option<Limited> {
    LIMITED.with_borrow(|all| {
        // SAFETY: entries are removed before their nodes are freed.
        all.iter().find(|l| unsafe { (*l.scan).iss_ScanDesc } == scan).cloned()
    })
}

/// The clauses of the plan's filter that a scan tests itself, if there are any, and the context for which
/// their values were compiled.
///
/// # Safety
/// As for [`plan_request`].
pub unsafe fn clauses(scan: pg_sys::IndexScanDesc) -> Option<(Compiled, *mut pg_sys::ExprContext)> {
    // SAFETY: as the caller says.
    unsafe {
        let Limited { scan: node, clauses, .. } = recorded(scan)?;
        (!clauses.is_empty()).then(|| (clauses, (*node).ss.ps.ps_ExprContext))
    }
}

/// What the plan above `scan` wants from its search for an order now (a LIMIT may be a parameter, which can
/// change between rescans).
///
/// # Safety
/// `scan` is live and the executor is asking it for a row.
pub unsafe fn plan_request(scan: pg_sys::IndexScanDesc, order: usize, recheck: bool) -> PlanRequest {
    // SAFETY: as the caller says.
    let found = unsafe { recorded(scan) };
    let everything = ScanRequest { everything: true, exact: true, ..ScanRequest::default() };
    let Some(Limited { scan: node, above, exact: any_order, thresholds, clauses, .. }) = found else {
        // Rows that were updated concurrently are checked again by plans for which no hook is called
        // (EvalPlanQual).
        return PlanRequest { scan: everything, ..PlanRequest::default() };
    };
    // SAFETY: as above; ExecLimit evaluates its counts before it asks its child for a row.
    unsafe {
        let thresholds = thresholds.get(order).unwrap_or(Thresholds::NONE);
        let Some(ceiling) = thresholds.limit((*node).ss.ps.ps_ExprContext) else {
            let scan = ScanRequest { any_order, ..ScanRequest::default() };
            return PlanRequest { scan, is_empty: true, ..PlanRequest::default() };
        };
        if any_order {
            // The executor evaluates the filter of the rows that it asks for.
            let scan = ScanRequest { ceiling, any_order, ..everything };
            return PlanRequest { scan, ..PlanRequest::default() };
        }
        let (limit, tied, merged) = match above {
            Above::Limit { limit, tied, merged } if !(*limit).noCount => {
                let with_ties = (*limit).limitOption == pg_sys::LimitOption::LIMIT_OPTION_WITH_TIES;
                (limit, tied || with_ties, merged)
            }
            Above::Unknown { limit } if !(*limit).noCount => (limit, false, true),
            _ => {
                // Whoever bounds the distance and takes all of the rows wants all within the bound.
                let scan = ScanRequest { ceiling, exact: !thresholds.is_empty(), ..everything };
                return PlanRequest { scan, ..PlanRequest::default() };
            }
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
        // If the index tests conditions, or there are thresholds, it is not known how many rows each of them
        // excludes. The scan measures it.
        let tests = (*scan).numberOfKeys > 0 || !clauses.is_empty();
        let filters = !state.qual.is_null() && !tests && thresholds.is_empty();
        let passing = if filters && expected > 0.0 { expected.min(1.0) as f32 } else { 1.0 };
        let rows = (*limit).count.saturating_add(i64::from(tied));
        // Late rows may be returned between two pages, and pages are counted from the first row.
        let paged = !tied && !merged && (*limit).offset % rows.max(1) == 0;
        PlanRequest {
            scan: ScanRequest {
                limit: Some(rows.max(1) as u64),
                passing,
                ceiling,
                everything: false,
                exact,
                any_order: false,
                paged,
                ordered: tied,
            },
            qual: state.qual,
            recheck: if recheck { (*node).indexqualorig } else { std::ptr::null_mut() },
            context: state.ps_ExprContext,
            instrument: state.instrument,
            is_empty: false,
        }
    }
}
