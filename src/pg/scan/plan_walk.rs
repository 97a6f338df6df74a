//! The walk through a plan when it starts: which of its scans are ours, and what is above each.

use std::ffi::c_void;
use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, pg_sys};

use super::callbacks::is_ivf;
use super::filter_clauses::compiled;
use super::join_batch::is_ours;
use super::plan_limit::{Above, Limited, Thresholds, remember};
use crate::pg::compat::planstate_children;
use crate::pg::planner::monotone::Varying;
use crate::pg::planner::range_mark::is_range;
use crate::pg::planner::threshold::{Supposed, Threshold, limits, supposed};

impl Above {
    /// What is above the child of `node`, if `self` is above `node` and `node` passes on the child's rows as
    /// they come.
    unsafe fn below(self, node: *mut pg_sys::PlanState) -> Self {
        use pg_sys::NodeTag;
        // SAFETY: a live node of a started plan; its tag tells its type.
        unsafe {
            match (*node).type_ {
                NodeTag::T_LimitState => Self::Limit { limit: node.cast(), tied: false, merged: false },
                NodeTag::T_ResultState | NodeTag::T_SubqueryScanState if !(*node).qual.is_null() => {
                    self.vague()
                }
                NodeTag::T_ResultState | NodeTag::T_SubqueryScanState => self,
                NodeTag::T_CustomScanState if is_ours(node) => self,
                // Rows that are locked by others, or not there any more, are dropped.
                NodeTag::T_LockRowsState | NodeTag::T_AppendState | NodeTag::T_MergeAppendState => match self
                {
                    Self::Limit { limit, tied, .. } => Self::Limit { limit, tied, merged: true },
                    other => other,
                },
                // An incremental sort reads all rows of one distance before it returns them.
                NodeTag::T_IncrementalSortState => match self {
                    Self::Limit { limit, merged, .. } => Self::Limit { limit, tied: true, merged },
                    other => other,
                },
                NodeTag::T_ProjectSetState
                | NodeTag::T_MaterialState
                | NodeTag::T_NestLoopState
                | NodeTag::T_MergeJoinState
                | NodeTag::T_HashJoinState => self.vague(),
                // Aggregates, sorts, hashes, set operations, windows, and all unknown nodes.
                _ => Self::Whole,
            }
        }
    }

    /// The same, if rows are dropped or added on the way.
    fn vague(self) -> Self {
        match self {
            Self::Limit { limit, .. } => Self::Unknown { limit },
            other => other,
        }
    }
}

/// The position of the walk through a plan.
struct Walk {
    executor: *mut pg_sys::EState,
    /// Null at the top.
    parent: *mut pg_sys::PlanState,
    /// What is above those children whose rows the parent passes on.
    above: Above,
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

/// Records our ordered scans in a tree of plan states.
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
            if (*scan).iss_NumOrderByKeys > 0 && !index.is_null() && is_ivf(index) {
                let (exact, thresholds) = thresholds(scan);
                let clauses = compiled(scan);
                remember(Limited { executor, scan, above, exact, thresholds, clauses });
            }
        }
        let mut below = Walk { executor, parent: state, above: above.below(state) };
        planstate_children(state, visit, (&raw mut below).cast())
    }
}

/// Whether a node passes on the rows of this child as they come. Other children are inner sides of joins and
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

/// Whether a scan is a range search, and for each of its orders the thresholds in its filter, ready to be
/// evaluated.
unsafe fn thresholds(scan: *mut pg_sys::IndexScanState) -> (bool, Rc<[Thresholds]>) {
    // SAFETY: a live node of a started plan; what is made for it lives as long as its query.
    unsafe {
        let state = &raw mut (*scan).ss.ps;
        let plan = (*state).plan.cast::<pg_sys::IndexScan>();
        let orders: Vec<_> = PgList::from_pg((*plan).indexorderbyorig).iter_ptr().collect();
        let mut memory = PgMemoryContexts::For((*(*state).state).es_query_cxt);
        let compiled = memory.switch_to(|_| {
            let ready = |leaf: &*mut pg_sys::Node| pg_sys::ExecInitExpr(leaf.cast(), state);
            let compile = |bounds: &Vec<Threshold>| bounds.iter().map(|bound| bound.map(ready)).collect();
            let qual = (*plan).scan.plan.qual;
            let limits = limits(qual, &orders, Varying::All);
            let of = |(i, order): (usize, &*mut pg_sys::Node)| {
                let bounds = limits.iter().map(|limits| &limits.bounds[i]);
                let certain = bounds.filter(|bounds| !bounds.is_empty()).map(compile).collect();
                let supposed = PgList::<pg_sys::Node>::from_pg(qual)
                    .iter_ptr()
                    .filter_map(|clause| supposed(clause, *order, Varying::All))
                    .map(|Supposed { if_equal, bound }| {
                        let if_equal = if_equal.iter().map(|(a, b)| (ready(a), ready(b))).collect();
                        Supposed { if_equal, bound: bound.map(ready) }
                    })
                    .collect();
                Thresholds { certain, supposed }
            };
            orders.iter().enumerate().map(of).collect()
        });
        (is_range(&orders), compiled)
    }
}
