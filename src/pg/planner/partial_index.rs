//! Partial indexes `WHERE embedding IS NOT NULL` over a column that is NOT NULL anyway.
//!
//! PostgreSQL 17 and later drop a query's condition `embedding IS NOT NULL` if the column is NOT NULL. Then
//! nothing implies the index's predicate, and the index would never be used. So a hook drops the predicate as
//! well.

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::cost::is_ours;
use crate::pg::compat::is_not_null;

#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
static mut NEXT_HOOK: pg_sys::get_relation_info_hook_type = None;
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
static mut NEXT_HOOK: pg_sys::build_simple_rel_hook_type = None;

/// Installs the hook; called once per process.
pub fn install_hook() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            NEXT_HOOK = pg_sys::get_relation_info_hook;
            pg_sys::get_relation_info_hook = Some(relation_info);
        }
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        {
            NEXT_HOOK = pg_sys::build_simple_rel_hook;
            pg_sys::build_simple_rel_hook = Some(simple_table);
        }
    }
}

/// Called by the planner when it knows a table's indexes.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
#[pg_guard]
unsafe extern "C-unwind" fn relation_info(
    root: *mut pg_sys::PlannerInfo,
    oid: pg_sys::Oid,
    is_parent: bool,
    table: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the planner passes live structures; hooks are chained as all extensions do.
    unsafe {
        if let Some(next) = NEXT_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(root, oid, is_parent, table));
        }
        if !is_parent {
            drop_predicates(table, oid);
        }
    }
}

/// Called by the planner when it knows an entry of FROM, and a table's indexes.
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
#[pg_guard]
unsafe extern "C-unwind" fn simple_table(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the planner passes live structures; hooks are chained as all extensions do.
    unsafe {
        if let Some(next) = NEXT_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(root, table, entry));
        }
        if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION && !(*entry).inh {
            drop_predicates(table, (*entry).relid);
        }
    }
}

/// Drops what is not needed of the predicates of a table's indexes.
unsafe fn drop_predicates(table: *mut pg_sys::RelOptInfo, oid: pg_sys::Oid) {
    // SAFETY: the planner's list of the table's indexes.
    unsafe {
        for index in PgList::<pg_sys::IndexOptInfo>::from_pg((*table).indexlist).iter_ptr() {
            if !(*index).indpred.is_null() && is_ours(index) {
                (*index).indpred = needed((*index).indpred, table, oid);
            }
        }
    }
}

/// The clauses of a predicate without those that hold for each row of the table.
unsafe fn needed(
    predicate: *mut pg_sys::List,
    table: *mut pg_sys::RelOptInfo,
    oid: pg_sys::Oid,
) -> *mut pg_sys::List {
    let mut kept = PgList::<pg_sys::Node>::new();
    // SAFETY: the planner's own copy of the predicate.
    unsafe {
        for clause in PgList::<pg_sys::Node>::from_pg(predicate).iter_ptr() {
            if !always_holds(clause, table, oid) {
                kept.push(clause);
            }
        }
    }
    kept.into_pg()
}

unsafe fn always_holds(clause: *mut pg_sys::Node, table: *mut pg_sys::RelOptInfo, oid: pg_sys::Oid) -> bool {
    // SAFETY: a node's tag tells its type.
    unsafe {
        if (*clause).type_ != pg_sys::NodeTag::T_NullTest {
            return false;
        }
        let test = &*clause.cast::<pg_sys::NullTest>();
        if test.nulltesttype != pg_sys::NullTestType::IS_NOT_NULL
            || test.argisrow
            || (*test.arg.cast::<pg_sys::Node>()).type_ != pg_sys::NodeTag::T_Var
        {
            return false;
        }
        let column = &*test.arg.cast::<pg_sys::Var>();
        column.varattno > 0 && is_not_null(table, oid, column.varattno)
    }
}
