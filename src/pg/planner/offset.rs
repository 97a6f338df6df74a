//! Pages of a query: `LIMIT n OFFSET m`.
//!
//! A sort returns pages of the exact order, an index scan returns pages of its approximation. Pages of one
//! query fit together only if all of them come from the same plan. But costs grow with the offset, those of
//! an index scan more than those of a sort, so from some page on the planner would choose another plan. This
//! hook chooses the plan as for the first page, whatever the offset is.

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::cost::is_ours;
use super::query_page::{Page, limit, was_costed};
use crate::pg::compat;

/// Number of rows of a large page. The start-up cost expected for an unknown limit may be this many times
/// larger for such a page (`MORE`), and this many times smaller for a page of one row (`LESS`).
const MANY: f64 = 1000.0;
const MORE: f64 = 8.0;
const LESS: f64 = 0.25;
/// More than the server adds to the cost of a plan for the time that planning takes (`cached_plan_cost`,
/// plancache.c).
const PLANNING: f64 = 1000.0;

static mut NEXT_HOOK: pg_sys::create_upper_paths_hook_type = None;

/// Installs the hook; called once per process.
pub fn install_hook() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        NEXT_HOOK = pg_sys::create_upper_paths_hook;
        pg_sys::create_upper_paths_hook = Some(upper_paths);
    }
}

/// Called by the planner when it has the paths of a step above the tables.
#[pg_guard]
unsafe extern "C-unwind" fn upper_paths(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut std::ffi::c_void,
) {
    // SAFETY: the planner passes live structures; hooks are chained as all extensions do.
    unsafe {
        if let Some(next) = NEXT_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(root, stage, input, output, extra));
        }
        if stage == pg_sys::UpperRelationKind::UPPERREL_ORDERED {
            match Page::of(root) {
                Page::Whole => {}
                page => choose(root, output, page),
            }
        }
    }
}

/// Of the paths in the order of the query, keeps either those of our indexes or the others, whichever is
/// cheaper for the first page.
unsafe fn choose(root: *mut pg_sys::PlannerInfo, ordered: *mut pg_sys::RelOptInfo, page: Page) {
    // SAFETY: the planner's structures.
    unsafe {
        let paths: Vec<*mut pg_sys::Path> = PgList::from_pg((*ordered).pathlist).iter_ptr().collect();
        let mut by_index: Vec<*mut pg_sys::Path> = Vec::new();
        let mut others = Vec::new();
        for &path in &paths {
            if in_our_order(path) { by_index.push(path) } else { others.push(path) }
        }
        if page == Page::Parameter && limit(root).is_some_and(|(_, offset)| !offset.is_null()) {
            let index_is_cheaper =
                |rows, start| price(root, &by_index, rows, start) < price(root, &others, rows, 1.0);
            let depends = match by_index.is_empty() {
                // The planner has dropped the path of our index, because it was more expensive for every
                // page.
                true => was_costed(root),
                false => index_is_cheaper(1.0, LESS) != index_is_cheaper(MANY, MORE),
            };
            if depends {
                keep_to_the_pages(&paths);
            }
        }
        if by_index.is_empty() || others.is_empty() {
            return;
        }
        let rows = page.rows();
        let index = price(root, &by_index, rows, 1.0) < price(root, &others, rows, 1.0);
        let mut left = PgList::<pg_sys::Path>::new();
        for path in if index { by_index } else { others } {
            left.push(path);
        }
        (*ordered).pathlist = left.into_pg();
    }
}

/// Makes the server plan each execution, because the plan depends on the page's size, which is a parameter.
/// The server plans the first five executions with their parameters in any case. After that a generic plan
/// may look cheaper, but it could be another plan.
unsafe fn keep_to_the_pages(paths: &[*mut pg_sys::Path]) {
    // SAFETY: the caller passes the planner's paths.
    unsafe {
        let most = paths.iter().map(|path| (**path).total_cost).fold(0.0, f64::max) + PLANNING;
        for path in paths {
            (**path).startup_cost += most;
            (**path).total_cost += most;
        }
    }
}

/// The price of the first page by the cheapest of some paths: number of disabled nodes, and cost. The
/// start-up cost is multiplied by `start`.
unsafe fn price(
    root: *mut pg_sys::PlannerInfo,
    paths: &[*mut pg_sys::Path],
    rows: f64,
    start: f64,
) -> (i32, f64) {
    let of_path = |path: &*mut pg_sys::Path| {
        // SAFETY: the caller passes the planner's structures.
        unsafe {
            let (disabled, price) = first_page(root, *path, rows);
            (disabled, price + (start - 1.0) * (**path).startup_cost)
        }
    };
    paths.iter().map(of_path).fold((i32::MAX, f64::INFINITY), |a, b| if b < a { b } else { a })
}

/// The child of a path that passes on the child's rows in their order.
unsafe fn below(path: *mut pg_sys::Path) -> Option<*mut pg_sys::Path> {
    use pg_sys::NodeTag;
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        Some(match (*path).type_ {
            NodeTag::T_ProjectionPath => (*path.cast::<pg_sys::ProjectionPath>()).subpath,
            NodeTag::T_ProjectSetPath => (*path.cast::<pg_sys::ProjectSetPath>()).subpath,
            NodeTag::T_SubqueryScanPath => (*path.cast::<pg_sys::SubqueryScanPath>()).subpath,
            NodeTag::T_IncrementalSortPath => (*path.cast::<pg_sys::IncrementalSortPath>()).spath.subpath,
            NodeTag::T_GatherMergePath => (*path.cast::<pg_sys::GatherMergePath>()).subpath,
            NodeTag::T_MaterialPath => (*path.cast::<pg_sys::MaterialPath>()).subpath,
            NodeTag::T_NestPath | NodeTag::T_MergePath | NodeTag::T_HashPath => {
                (*path.cast::<pg_sys::JoinPath>()).outerjoinpath
            }
            _ => return None,
        })
    }
}

/// Whether a path's order is that of a scan of one of our indexes.
unsafe fn in_our_order(path: *mut pg_sys::Path) -> bool {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        let any = |paths| PgList::<pg_sys::Path>::from_pg(paths).iter_ptr().any(|path| in_our_order(path));
        match (*path).type_ {
            pg_sys::NodeTag::T_IndexPath => {
                let scan = &*path.cast::<pg_sys::IndexPath>();
                !scan.indexorderbys.is_null() && is_ours(scan.indexinfo)
            }
            pg_sys::NodeTag::T_MergeAppendPath => any((*path.cast::<pg_sys::MergeAppendPath>()).subpaths),
            pg_sys::NodeTag::T_AppendPath => any((*path.cast::<pg_sys::AppendPath>()).subpaths),
            _ => below(path).is_some_and(|path| in_our_order(path)),
        }
    }
}

/// The disabled nodes of a path, and the cost of the first page by it. A sort keeps only as many rows as the
/// page has.
unsafe fn first_page(root: *mut pg_sys::PlannerInfo, path: *mut pg_sys::Path, rows: f64) -> (i32, f64) {
    // SAFETY: the planner's structures.
    unsafe {
        let share = (rows / (*path).rows.max(1.0)).min(1.0);
        let saved = sort_below(path)
            .map_or(0.0, |sort| (*sort).path.startup_cost - compat::sort_startup_cost(root, sort, rows));
        let (startup, total) = ((*path).startup_cost, (*path).total_cost);
        (compat::disabled_nodes(path), startup - saved + (total - startup) * share)
    }
}

/// The sort that gives a path its order, if there is one.
unsafe fn sort_below(path: *mut pg_sys::Path) -> Option<*mut pg_sys::SortPath> {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        match (*path).type_ {
            pg_sys::NodeTag::T_SortPath => Some(path.cast()),
            pg_sys::NodeTag::T_IncrementalSortPath => None,
            _ => below(path).and_then(|path| sort_below(path)),
        }
    }
}
