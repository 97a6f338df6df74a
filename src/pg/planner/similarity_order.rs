//! Orders that follow the distance: `ORDER BY 1 - (embedding <=> $1) DESC`, `ORDER BY (embedding <#> $1) * -1
//! DESC`.
//!
//! The planner matches an index with `ORDER BY embedding <=> $1` only. If a query orders by a sum,
//! difference, product or negative of a distance and constants, rows in the order of the distance are in the
//! query's order, too. So a hook lets the planner create the paths for the distance, and labels them with the
//! pathkeys of the order (optimizer/README, "PathKeys").

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::cost::is_ours;
use super::index_paths::index_paths;
use super::monotone::{Varying, step};
use super::query_page::Page;
use super::{filter_clauses, range, row_estimates};
use crate::pg::compat;

/// Numbers of a B-tree's ascending and descending order, up to PostgreSQL 17 as strategies, then as
/// comparisons.
const ASCENDING: u32 = 1;
const DESCENDING: u32 = 5;

static mut NEXT_HOOK: pg_sys::set_rel_pathlist_hook_type = None;

/// Installs the hook; called once per process.
pub fn install_hook() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        NEXT_HOOK = pg_sys::set_rel_pathlist_hook;
        pg_sys::set_rel_pathlist_hook = Some(add_paths);
    }
}

/// Called by the planner when it has the paths of a table.
#[pg_guard]
unsafe extern "C-unwind" fn add_paths(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    number: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the planner passes live structures; hooks are chained as all extensions do.
    unsafe {
        if let Some(next) = NEXT_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(root, table, number, entry));
        }
        if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
            && (*entry).inh
            && let Some(path) = PgList::<pg_sys::Path>::from_pg((*table).pathlist).get_ptr(0)
            && (*path).param_info.is_null()
        {
            // The row estimates of its partitions may have been corrected.
            (*table).rows = (*path).rows;
        }
        let plain = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION && !(*entry).inh;
        let indexes = PgList::<pg_sys::IndexOptInfo>::from_pg((*table).indexlist);
        if !plain
            || !indexes.iter_ptr().any(|index| is_ours(index))
            || !(*entry).tablesample.is_null()
            || pg_sys::is_dummy_rel(table)
        {
            return;
        }
        filter_clauses::mark_secured(root, table);
        if let Page::Rows(rows) = Page::of(root)
            && (*root).limit_tuples > rows
        {
            // The costs of sorting partitions must not depend on the page either.
            (*root).limit_tuples = rows;
        }
        let wanted = PgList::<pg_sys::PathKey>::from_pg((*root).query_pathkeys);
        if let Some(order) = wanted.get_ptr(0)
            && let Some(distance) = followed(order, root, table)
        {
            offer(root, table, order, distance);
        }
        range::offer(root, table);
        row_estimates::correct(root, table);
    }
}

/// The distance of this table's rows that an order follows; `None` if it follows none, or is by the distance
/// itself.
unsafe fn followed(
    order: *mut pg_sys::PathKey,
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: the planner's structures.
    unsafe {
        let class = (*order).pk_eclass;
        if (*class).ec_has_volatile {
            return None;
        }
        let members = compat::class_members(class, table);
        let (distance, falls) = members.into_iter().find_map(|member| {
            let expression = (*member).em_expr.cast::<pg_sys::Node>();
            let of_table = pg_sys::bms_equal((*member).em_relids, (*table).relids);
            let (inner, falls) = innermost(expression).filter(|_| of_table)?;
            (inner != expression).then_some((inner, falls))
        })?;
        // The nearest rows must come first. Rows without a distance are not in the index, so they must come
        // last or be excluded.
        let ascends = compat::direction(order) == if falls { DESCENDING } else { ASCENDING };
        let known = !(*order).pk_nulls_first || never_null(distance, root, table);
        (ascends && known).then_some(distance)
    }
}

/// The operation deep in an expression that the expression grows or falls with, and whether it falls.
unsafe fn innermost(mut expression: *mut pg_sys::Node) -> Option<(*mut pg_sys::Node, bool)> {
    let mut falls = false;
    // SAFETY: an expression, whose tag tells its type.
    unsafe {
        while let Some(step) = step(expression, Varying::All) {
            expression = step.varies;
            falls ^= step.falls;
        }
        ((*expression).type_ == pg_sys::NodeTag::T_OpExpr).then_some((expression, falls))
    }
}

/// Whether no column in an expression can be NULL, by the table's declaration or the query's conditions.
unsafe fn never_null(
    expression: *mut pg_sys::Node,
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
) -> bool {
    // SAFETY: the planner's structures: lists of nodes whose tags tell their types.
    unsafe {
        let entry = *(*root).simple_rte_array.add((*table).relid as usize);
        let conditions = pg_sys::get_actual_clauses((*table).baserestrictinfo);
        let tested = pg_sys::find_nonnullable_vars(conditions.cast());
        let columns = PgList::<pg_sys::Var>::from_pg(pg_sys::pull_var_clause(expression, 0));
        columns.iter_ptr().all(|column| {
            compat::is_among(column, tested) || compat::is_not_null(table, (*entry).relid, (*column).varattno)
        })
    }
}

/// Offers the planner's own paths in the order of the distance as paths of the order that follows it.
unsafe fn offer(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    order: *mut pg_sys::PathKey,
    distance: *mut pg_sys::Node,
) {
    // SAFETY: the planner's structures, in the context in which it allocates them.
    unsafe {
        let by_distance = compat::expression_pathkeys(root, distance.cast(), table);
        let Some(nearest) = PgList::<pg_sys::PathKey>::from_pg(by_distance).get_ptr(0) else { return };
        // Paths in the order of the distance itself are not offered. It belongs to this table alone, so the
        // planner could not merge the parts of a table in this order, although it would try to.
        for scan in index_paths(root, table, None, by_distance) {
            let first = PgList::<pg_sys::PathKey>::from_pg((*scan).path.pathkeys).get_ptr(0);
            if first != Some(nearest) || !is_ours((*scan).indexinfo) {
                continue;
            }
            let mut keys = PgList::<pg_sys::PathKey>::new();
            keys.push(order);
            (*scan).path.pathkeys = keys.into_pg();
            pg_sys::add_path(table, scan.cast());
        }
    }
}
