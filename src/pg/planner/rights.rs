//! What a plan may tell of a table's rows: what the server's own estimates may
//! (`examine_simple_variable`, selfuncs.c), for whoever sees a plan learns from its numbers.

use pgrx::pg_sys;

/// Whether estimates may tell where the rows of an index's table are: the query may read the vectors, and all
/// rows.
///
/// Plans are made before rights are checked, and `debug_print_plan` shows them to everybody. Row-level
/// security and security barriers hide rows. Of a partition or an inheritance child the entry of a parent
/// says so, and rights on the table that the query names suffice (`expand_single_inheritance_child`,
/// inherit.c).
///
/// # Safety
/// The planner's structures, which belong together.
pub unsafe fn may_tell(root: *mut pg_sys::PlannerInfo, index: &pg_sys::IndexOptInfo) -> bool {
    // SAFETY: the planner's arrays have a place for each table, that of parents only where there are
    // children; an index has at least one column.
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
            allowed |=
                entry.rtekind == pg_sys::RTEKind::RTE_RELATION && may_select(entry.relid, column, user);
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

/// The parent's number of a child's column, if it has it.
unsafe fn column_of_parent(parent: &pg_sys::AppendRelInfo, column: i32) -> Option<i32> {
    if parent.parent_colnos.is_null() || column > parent.num_child_cols {
        return None;
    }
    // SAFETY: as many numbers as the child has columns, counted from one.
    let number = unsafe { *parent.parent_colnos.add(column as usize - 1) };
    (number > 0).then_some(i32::from(number))
}

/// Whether a role may read a table, or a column of it.
unsafe fn may_select(table: pg_sys::Oid, column: Option<i32>, user: pg_sys::Oid) -> bool {
    let (select, ok) = (pg_sys::ACL_SELECT as pg_sys::AclMode, pg_sys::AclResult::ACLCHECK_OK);
    // SAFETY: catalog lookups by number.
    unsafe {
        pg_sys::pg_class_aclcheck(table, user, select) == ok
            || column
                .is_some_and(|column| pg_sys::pg_attribute_aclcheck(table, column as i16, user, select) == ok)
    }
}
