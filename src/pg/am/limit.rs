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

use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, pg_sys};

use super::exact::is_exact;
use super::threshold::{Ready, bounds, evaluate};
use crate::pg::compat::planstate_children;
use crate::pg::guc::Wanted;

/// How much of a scan is taken by what is above it.
#[derive(Clone, Copy)]
enum Above {
    /// All of it.
    Whole,
    /// Nobody knows: there is a LIMIT above nodes that drop or add rows.
    Unknown { limit: *mut pg_sys::LimitState },
    /// What a LIMIT takes, and one more row if `tied`.
    Limit { limit: *mut pg_sys::LimitState, tied: bool },
}

impl Above {
    /// What is above the child whose rows `node`, below `self`, hands on as they come.
    unsafe fn below(self, node: *mut pg_sys::PlanState) -> Self {
        use pg_sys::NodeTag;
        // SAFETY: a live node of a started plan; its tag tells its type.
        unsafe {
            match (*node).type_ {
                NodeTag::T_LimitState => Self::Limit { limit: node.cast(), tied: false },
                NodeTag::T_ResultState | NodeTag::T_SubqueryScanState if !(*node).qual.is_null() => {
                    self.vague()
                }
                NodeTag::T_ResultState
                | NodeTag::T_SubqueryScanState
                | NodeTag::T_LockRowsState
                | NodeTag::T_AppendState
                | NodeTag::T_MergeAppendState => self,
                // It reads until the distance changes.
                NodeTag::T_IncrementalSortState => match self {
                    Self::Limit { limit, .. } => Self::Limit { limit, tied: true },
                    other => other,
                },
                NodeTag::T_ProjectSetState
                | NodeTag::T_MaterialState
                | NodeTag::T_NestLoopState
                | NodeTag::T_MergeJoinState
                | NodeTag::T_HashJoinState => self.vague(),
                // Aggregates, sorts, hashes, set operations, windows, and what is not known here.
                _ => Self::Whole,
            }
        }
    }

    /// The same where rows are dropped or added on the way.
    fn vague(self) -> Self {
        match self {
            Self::Limit { limit, .. } => Self::Unknown { limit },
            other => other,
        }
    }
}

/// Of a LIMIT above nodes that drop or add rows, so many rows are no more than a scan without a limit looks
/// for at first. Of a larger one that many are looked for; not those of its OFFSET, so that all pages are of
/// the same rows.
const FEW: i64 = 40;

/// An ordered scan of ours in a running plan.
#[derive(Clone)]
struct Limited {
    executor: *mut pg_sys::EState,
    scan: *mut pg_sys::IndexScanState,
    above: Above,
    thresholds: Rc<[Ready]>,
}

/// Where the walk through a plan is.
struct Walk {
    executor: *mut pg_sys::EState,
    /// Null at the top.
    parent: *mut pg_sys::PlanState,
    /// What is above the children whose rows the parent hands on.
    above: Above,
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
            let parent = std::ptr::null_mut();
            let mut walk = Walk { executor: (*query).estate, parent, above: Above::Whole };
            visit((*query).planstate, (&raw mut walk).cast());
        }
    }
}

/// Remembers the ordered scans of ours in a tree of plan states.
#[pg_guard]
unsafe extern "C-unwind" fn visit(state: *mut pg_sys::PlanState, walk: *mut c_void) -> bool {
    if state.is_null() {
        return false;
    }
    // SAFETY: the walker passes live nodes and the walk given to it; a node's tag tells its type.
    unsafe {
        let Walk { executor, parent, above } = *walk.cast::<Walk>();
        let above = if parent.is_null() || hands_on(parent, state) { above } else { Above::Whole };
        if (*state).type_ == pg_sys::NodeTag::T_IndexScanState {
            let scan = state.cast::<pg_sys::IndexScanState>();
            let index = (*scan).iss_RelationDesc;
            if (*scan).iss_NumOrderByKeys > 0 && !index.is_null() && super::is_ivf(index) {
                remember(Limited { executor, scan, above, thresholds: thresholds(scan) });
            }
        }
        let mut below = Walk { executor, parent: state, above: above.below(state) };
        planstate_children(state, visit, (&raw mut below).cast())
    }
}

/// Whether a node's rows come from this child as they are asked for. The others are inner sides of joins and
/// plans of subqueries.
unsafe fn hands_on(parent: *mut pg_sys::PlanState, child: *mut pg_sys::PlanState) -> bool {
    let among = |plans: *mut *mut pg_sys::PlanState, n: std::ffi::c_int| {
        // SAFETY: the node has that many.
        (0..n.max(0) as usize).any(|i| unsafe { *plans.add(i) } == child)
    };
    // SAFETY: live nodes of a started plan; a node's tag tells its type.
    unsafe {
        match (*parent).type_ {
            pg_sys::NodeTag::T_SubqueryScanState => {
                (*parent.cast::<pg_sys::SubqueryScanState>()).subplan == child
            }
            pg_sys::NodeTag::T_AppendState => {
                let append = &*parent.cast::<pg_sys::AppendState>();
                among(append.appendplans, append.as_nplans)
            }
            pg_sys::NodeTag::T_MergeAppendState => {
                let append = &*parent.cast::<pg_sys::MergeAppendState>();
                among(append.mergeplans, append.ms_nplans)
            }
            _ => (*parent).lefttree == child,
        }
    }
}

/// The distance thresholds in a scan's filter, ready to be evaluated.
unsafe fn thresholds(scan: *mut pg_sys::IndexScanState) -> Rc<[Ready]> {
    // SAFETY: a live node of a started plan; what is made for it lives as long as its query.
    unsafe {
        let state = &raw mut (*scan).ss.ps;
        let plan = (*state).plan.cast::<pg_sys::IndexScan>();
        let orders = PgList::<pg_sys::Node>::from_pg((*plan).indexorderbyorig);
        let mut memory = PgMemoryContexts::For((*(*state).state).es_query_cxt);
        memory.switch_to(|_| {
            let found = orders.get_ptr(0).map(|order| bounds((*plan).scan.plan.qual, order));
            let ready = |leaf: &*mut pg_sys::Node| pg_sys::ExecInitExpr(leaf.cast(), state);
            found.into_iter().flatten().map(|(_, bound)| bound.map(ready)).collect()
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
        all.iter().find(|l| unsafe { (*l.scan).iss_ScanDesc } == scan).cloned()
    });
    let everything = |ceiling| Wanted { everything: true, ceiling, ..Wanted::default() };
    let Some(Limited { scan: node, above, thresholds, .. }) = found else {
        // Rows that changed are looked at again by plans that no hook sees (EvalPlanQual).
        return Wish { wanted: everything(f64::INFINITY), ..Wish::default() };
    };
    // SAFETY: as above; ExecLimit evaluates its counts before it asks its child for a row.
    unsafe {
        let ceiling = evaluate(&thresholds, (*node).ss.ps.ps_ExprContext);
        let (limit, beyond) = match above {
            Above::Limit { limit, tied } if !(*limit).noCount => {
                let tied = tied || (*limit).limitOption == pg_sys::LimitOption::LIMIT_OPTION_WITH_TIES;
                (limit, i64::from(tied))
            }
            Above::Unknown { limit } if !(*limit).noCount => (limit, 0),
            _ => return Wish { wanted: everything(ceiling), ..Wish::default() },
        };
        let few = matches!(above, Above::Unknown { .. }) && (*limit).count <= FEW;
        let exact = is_exact(limit);
        let state = &(*node).ss.ps;
        if few || !state.qual.is_null() && pg_sys::contain_volatile_functions((*state.plan).qual.cast()) {
            // The executor must be the only one to evaluate a volatile filter.
            let wanted = Wanted { ceiling, exact, ..Wanted::default() };
            return Wish { wanted, ..Wish::default() };
        }
        let table = f64::from((*(*(*scan).heapRelation).rd_rel).reltuples);
        let expected = (*state.plan).plan_rows / table;
        // Of a plan with index conditions or thresholds it is not known how many rows each part excludes: the
        // scan learns it.
        let filters = !state.qual.is_null() && (*scan).numberOfKeys == 0 && thresholds.is_empty();
        let passing = if filters && expected > 0.0 { expected.min(1.0) as f32 } else { 1.0 };
        let rows = (*limit).count.saturating_add(beyond);
        Wish {
            wanted: Wanted { limit: Some(rows.max(1) as u64), passing, ceiling, everything: false, exact },
            qual: state.qual,
            recheck: if recheck { (*node).indexqualorig } else { std::ptr::null_mut() },
            context: state.ps_ExprContext,
            instrument: state.instrument,
        }
    }
}
