//! Questions about a relation that all parts of this room ask.

use std::ffi::CStr;

use pgrx::pg_sys;

/// A relation's name.
pub fn relation_name(relation: pg_sys::Relation) -> String {
    // SAFETY: an open relation has a pg_class row with a NUL-terminated name.
    let name = unsafe { CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) };
    name.to_string_lossy().into_owned()
}
