//! Joins by distance whose range searches are made in batches.
//!
//! `a JOIN b ON a.e <-> b.e < r` is a nested loop, which repeats a range search (`range.rs`) for each row of
//! the outer table. A hook offers the same nested loop with a node above its outer side. The node reads some
//! outer rows ahead and searches for all of them together (`scan/join_batch.rs`). It returns the outer rows
//! as they came, and the searches find the rows that it has found for them. Everything else is as before.

use pgrx::pg_sys::Path;
use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::cost::{indexed_by, is_ours};
use super::monotone::Varying;
use super::range::tables;
use super::range_mark::is_range;
use super::threshold::{arguments, bound, is_harmless, operation};
use crate::pg::scan::join_batch::{self, Methods, NAME};
use crate::pg::settings::guc::JOIN_BATCHES;
use crate::pg::work::threads;

/// What a search of a batch costs, as a share of what it costs alone: with one thread or process, and with
/// several (docs/performance.md).
const SHARE_ALONE: f64 = 0.95;
const SHARE: f64 = 0.65;
/// `EXISTS` ends at the first row, which alone is found in the nearest lists. So batches are for rows of
/// which at most this share has one.
const MOST_MATCHED: f64 = 0.5;
/// With fewer outer rows than this, little is searched for together.
const LEAST_ROWS: f64 = 32.0;

static mut NEXT_HOOK: pg_sys::set_join_pathlist_hook_type = None;

static METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan),
    ReparameterizeCustomPathByChild: None,
});

/// Installs the hook; called once per process.
pub fn install_hook() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        NEXT_HOOK = pg_sys::set_join_pathlist_hook;
        pg_sys::set_join_pathlist_hook = Some(add_paths);
    }
}

/// Called by the planner when it has the paths of a join.
#[pg_guard]
unsafe extern "C-unwind" fn add_paths(
    root: *mut pg_sys::PlannerInfo,
    join: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    kind: pg_sys::JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_INNER, JOIN_LEFT, JOIN_SEMI};
    // SAFETY: the planner passes live structures; hooks are chained as all extensions do.
    unsafe {
        if let Some(next) = NEXT_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(root, join, outer, inner, kind, extra));
        }
        // Rows of a partition may be joined with those of another: then their expressions are translated
        // after this.
        let plain = (*inner).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
            && (*inner).rtekind == pg_sys::RTEKind::RTE_RELATION
            && (*outer).top_parent_relids.is_null();
        if !plain || !JOIN_BATCHES.get() || ![JOIN_INNER, JOIN_LEFT, JOIN_SEMI, JOIN_ANTI].contains(&kind) {
            return;
        }
        let asks = kind == JOIN_SEMI || kind == JOIN_ANTI;
        if asks && (*extra).semifactors.outer_match_frac > MOST_MATCHED || locks_rows(root, outer) {
            return;
        }
        for path in PgList::<pg_sys::Path>::from_pg((*inner).pathlist).iter_ptr() {
            let Some(search) = Search::of(root, outer, path) else { continue };
            let cheapest = (*outer).cheapest_total_path;
            if !cheapest.is_null() && (*cheapest).param_info.is_null() {
                let share = if threads() > 1 { SHARE } else { SHARE_ALONE };
                let path = search.joined(root, join, (kind, extra), (cheapest, share));
                pg_sys::add_path(join, path);
            }
            let partial = PgList::<pg_sys::Path>::from_pg((*outer).partial_pathlist);
            if let Some(partial) = partial.get_ptr(0)
                && (*join).consider_parallel
                && (*path).parallel_safe
            {
                let path = search.joined(root, join, (kind, extra), (partial, SHARE));
                pg_sys::add_partial_path(join, path);
            }
        }
    }
}

/// A range search that is repeated for the rows of the outer side.
struct Search {
    scan: *mut pg_sys::IndexPath,
    /// The vector from which it measures, an expression of the outer side's columns.
    query: *mut pg_sys::Node,
}

impl Search {
    /// A path of the inner table, if it is such a search, and its rows can be searched for ahead.
    unsafe fn of(
        root: *mut pg_sys::PlannerInfo,
        outer: *mut pg_sys::RelOptInfo,
        path: *mut pg_sys::Path,
    ) -> Option<Self> {
        // SAFETY: the planner's structures; a node's tag tells its type.
        unsafe {
            let parameters = (*path).param_info.as_ref()?;
            let scan = path.cast::<pg_sys::IndexPath>();
            if (*path).type_ != pg_sys::NodeTag::T_IndexPath
                || !is_ours((*scan).indexinfo)
                || !(*scan).indexclauses.is_null()
                || !pg_sys::bms_is_subset(parameters.ppi_req_outer, (*outer).relids)
                || (*outer).rows < LEAST_ROWS
            {
                return None;
            }
            let orders: Vec<_> = PgList::from_pg((*scan).indexorderbys).iter_ptr().collect();
            let &[order] = &orders[..] else { return None };
            if !is_range(&orders) {
                return None;
            }
            // The index's column is the first operand (`range.rs`).
            let (_, query) = arguments(operation(order)?)?;
            let table = (*path).parent;
            let varying = Varying::Table(root, (*table).relid);
            let clauses = PgList::<pg_sys::RestrictInfo>::from_pg(parameters.ppi_clauses);
            let bounds: Vec<_> = clauses
                .iter_ptr()
                .filter_map(|clause| bound((*clause).clause.cast(), order, varying))
                .collect();
            let is_constant = !bounds.is_empty() && bounds.iter().all(|bound| is_constant(root, bound));
            // The index may test conditions that stay in the plan's filter.
            let others = clauses.len() > bounds.len() || !(*table).baserestrictinfo.is_null();
            let is_filtered = (*(*scan).indexinfo).nkeycolumns > 1 && others;
            (is_constant
                && !is_filtered
                && is_harmless(query)
                && reads_columns(outer, query)
                // Nothing can be searched for ahead in sketches.
                && indexed_by((*scan).indexinfo).is_some_and(|(kind, _)| !kind.is_sketched()))
            .then_some(Self { scan, query })
        }
    }

    /// A nested loop over an outer path with a node above it. A search costs this share of what it costs
    /// alone.
    unsafe fn joined(
        &self,
        root: *mut pg_sys::PlannerInfo,
        join: *mut pg_sys::RelOptInfo,
        (kind, extra): (pg_sys::JoinType::Type, *mut pg_sys::JoinPathExtraData),
        (outer, share): (*mut pg_sys::Path, f64),
    ) -> *mut pg_sys::Path {
        // SAFETY: the planner's structures, in the context in which it allocates them.
        unsafe {
            let outer = self.ahead(outer);
            let inner = copy(self.scan);
            let Path { startup_cost, total_cost, .. } = (*inner).path;
            (*inner).path.total_cost = startup_cost + share * (total_cost - startup_cost);
            let inner: *mut pg_sys::Path = inner.cast();
            let mut workspace = nested_loop_cost(root, kind, (outer, inner), extra);
            let path = pg_sys::create_nestloop_path(
                root,
                join,
                kind,
                &raw mut workspace,
                extra,
                outer,
                inner,
                (*extra).restrictlist,
                pg_sys::build_join_pathkeys(root, join, kind, (*outer).pathkeys),
                std::ptr::null_mut(),
            );
            path.cast()
        }
    }

    /// The node above an outer path.
    unsafe fn ahead(&self, outer: *mut pg_sys::Path) -> *mut pg_sys::Path {
        // SAFETY: a new node of zeros, in the planner's context.
        unsafe {
            let node = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast::<pg_sys::CustomPath>();
            // Parent, target, rows, order and parallel safety are those of the path below.
            (*node).path = *outer;
            (*node).path.type_ = pg_sys::NodeTag::T_CustomPath;
            (*node).path.pathtype = pg_sys::NodeTag::T_CustomScan;
            (*node).path.parallel_aware = false;
            (*node).path.total_cost += (*outer).rows * pg_sys::cpu_tuple_cost;
            (*node).custom_paths = one(outer);
            let index = pg_sys::makeInteger((*(*self.scan).indexinfo).indexoid.to_u32().cast_signed());
            (*node).custom_private = pg_sys::lappend(one(self.query), index.cast());
            (*node).methods = &raw const METHODS.0;
            node.cast()
        }
    }
}

/// A first estimate of what a nested loop costs.
unsafe fn nested_loop_cost(
    root: *mut pg_sys::PlannerInfo,
    kind: pg_sys::JoinType::Type,
    (outer, inner): (*mut pg_sys::Path, *mut pg_sys::Path),
    extra: *mut pg_sys::JoinPathExtraData,
) -> pg_sys::JoinCostWorkspace {
    let mut estimate = pg_sys::JoinCostWorkspace::default();
    // SAFETY: the caller vouches for the structures.
    unsafe {
        #[cfg(not(feature = "pg19"))]
        pg_sys::initial_cost_nestloop(root, &raw mut estimate, kind, outer, inner, extra);
        #[cfg(feature = "pg19")]
        {
            // As `try_nestloop_path` and `try_partial_nestloop_path` do (joinpath.c).
            let partial = (*outer).parallel_workers > 0;
            let nonpartial = if partial { 0 } else { pg_sys::PGS_CONSIDER_NONPARTIAL };
            let mask = u64::from(pg_sys::PGS_NESTLOOP_PLAIN | nonpartial);
            pg_sys::initial_cost_nestloop(root, &raw mut estimate, kind, mask, outer, inner, extra);
        }
    }
    estimate
}

/// A list of one.
unsafe fn one<T>(node: *mut T) -> *mut pg_sys::List {
    // SAFETY: a new list, in the planner's context.
    unsafe { pg_sys::lappend(std::ptr::null_mut(), node.cast()) }
}

/// A copy of a path.
unsafe fn copy(path: *mut pg_sys::IndexPath) -> *mut pg_sys::IndexPath {
    // SAFETY: a path is plain data; what it refers to is shared.
    unsafe {
        let copy = pg_sys::palloc0(size_of::<pg_sys::IndexPath>()).cast::<pg_sys::IndexPath>();
        *copy = *path;
        copy
    }
}

/// Whether a subquery of the outer side locks its rows: then none must be read that is not needed.
unsafe fn locks_rows(root: *mut pg_sys::PlannerInfo, outer: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: the planner's structures; a subquery is null or a node.
    unsafe {
        tables(root, (*outer).relids, (*root).simple_rte_array)
            .filter_map(|entry| (*entry).subquery.as_ref())
            .any(|query| !query.rowMarks.is_null())
    }
}

/// Whether a bound is the same for all outer rows.
unsafe fn is_constant(root: *mut pg_sys::PlannerInfo, bound: &super::threshold::Threshold) -> bool {
    let mut constant = true;
    bound.map(|leaf| {
        // SAFETY: an expression of the planner's.
        constant &= unsafe { pg_sys::pull_varnos(root, *leaf).is_null() && !pg_sys::contain_subplans(*leaf) };
    });
    constant
}

/// Whether all columns of an expression are in the rows of a table or join.
unsafe fn reads_columns(outer: *mut pg_sys::RelOptInfo, expression: *mut pg_sys::Node) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        let flags = pg_sys::PVC_INCLUDE_PLACEHOLDERS as i32;
        let columns = pg_sys::pull_var_clause(expression, flags);
        !columns.is_null()
            && !pg_sys::contain_subplans(expression)
            && PgList::<pg_sys::Node>::from_pg(columns)
                .iter_ptr()
                .all(|column| pg_sys::list_member((*(*outer).reltarget).exprs, column.cast()))
    }
}

/// Makes the plan of the node.
#[pg_guard]
unsafe extern "C-unwind" fn plan(
    _root: *mut pg_sys::PlannerInfo,
    _outer: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    _columns: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the planner passes a path of `Search::ahead` and the plan of the path below.
    unsafe {
        let private = PgList::<pg_sys::Node>::from_pg((*path).custom_private);
        let below = PgList::<pg_sys::Plan>::from_pg(plans);
        let (Some(below), Some(query), Some(index)) =
            (below.get_ptr(0), private.get_ptr(0), private.get_ptr(1))
        else {
            return std::ptr::null_mut();
        };
        let node = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        (*node).scan.plan.type_ = pg_sys::NodeTag::T_CustomScan;
        // The plan below tests the conditions.
        (*node).scan.plan.lefttree = below;
        (*node).scan.plan.targetlist = (*below).targetlist;
        (*node).custom_scan_tlist = (*below).targetlist;
        (*node).custom_exprs = one(pg_sys::copyObjectImpl(query.cast()).cast::<pg_sys::Node>());
        (*node).custom_private = one(index);
        (*node).methods = join_batch::plan_methods();
        node.cast()
    }
}
