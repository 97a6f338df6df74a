//! Decides whether a plan may show estimates that depend on a table's rows. Whoever sees a plan learns
//! something from its numbers, so the rules are those of the server's own estimates
//! (`examine_simple_variable`, selfuncs.c).

use pgrx::pg_sys;

use crate::pg::relation::{may_read_column, may_read_table};

/// Whether estimates may depend on where the rows of an index's table are. This holds if the query may read
/// the vectors and all rows.
///
/// Plans are made before rights are checked, and `debug_print_plan` shows them to everybody. Row-level
/// security and security barriers hide rows. For a partition or an inheritance child, the entry of the parent
/// contains these conditions, and rights on the table that the query names are sufficient
/// (`expand_single_inheritance_child`, inherit.c).
///
/// # Safety
/// The planner's structures, which belong together.
pub unsafe fn may_tell(root: *mut pg_sys::PlannerInfo, index: &pg_sys::IndexOptInfo) -> bool {
    // SAFETY: the planner's arrays have an entry for each table. The array of parents exists only if there
    // are children. An index has at least one column.
    unsafe {
        let table = &*index.rel;
        let user = if table.userid == pg_sys::InvalidOid { pg_sys::GetUserId() } else { table.userid };
        let mut column = Some(*index.indexkeys).filter(|&column| column > 0);
        let mut relid = table.relid;
        let mut allowed = false;
        loop {
            let entry = &**(*root).simple_rte_array.add(relid as usize);
            if !entry.securityQuals.is_null() {
                return false;
            }
            allowed |= entry.rtekind == pg_sys::RTEKind::RTE_RELATION
                && (may_read_table(entry.relid, user)
                    || column.is_some_and(|column| may_read_column(entry.relid, column as i16, user)));
            let parents = (*root).append_rel_array;
            if parents.is_null() {
                return allowed;
            }
            let Some(parent) = (*parents.add(relid as usize)).as_ref() else { return allowed };
            column = column.and_then(|column| column_of_parent(parent, column));
            relid = parent.parent_relid;
        }
    }
}

/// The number that a child's column has in the parent, if the parent has the column.
unsafe fn column_of_parent(parent: &pg_sys::AppendRelInfo, column: i32) -> Option<i32> {
    if parent.parent_colnos.is_null() || column > parent.num_child_cols {
        return None;
    }
    // SAFETY: the array has one number for each column of the child. Columns are counted from one.
    let number = unsafe { *parent.parent_colnos.add(column as usize - 1) };
    (number > 0).then_some(i32::from(number))
}
