//! Questions about a relation that all parts of this room ask.

use std::ffi::CStr;

use pgrx::pg_sys;

/// A relation's name.
pub fn relation_name(relation: pg_sys::Relation) -> String {
    // SAFETY: an open relation has a pg_class row with a NUL-terminated name.
    let name = unsafe { CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) };
    name.to_string_lossy().into_owned()
}

/// Whether a role may read all columns of a table.
pub fn may_read_table(table: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog lookup by number.
    unsafe {
        pg_sys::pg_class_aclcheck(table, role, pg_sys::ACL_SELECT.into()) == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether a role may read a column of a table by a right on this column.
pub fn may_read_column(table: pg_sys::Oid, column: pg_sys::AttrNumber, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog lookup by numbers.
    let right = unsafe { pg_sys::pg_attribute_aclcheck(table, column, role, pg_sys::ACL_SELECT.into()) };
    right == pg_sys::AclResult::ACLCHECK_OK
}
