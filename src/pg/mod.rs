//! Room 4: the only room that knows Postgres. Translates its structures and calls into the rooms below.
//!
//! Nothing here runs off the main thread; nothing releases buffers while an error unwinds.
#![allow(unsafe_code)]

pub mod error;
pub mod varlena;

mod types;

use std::ffi::CStr;

use pgrx::pg_sys;

pgrx::pg_module_magic!(name, version);

/// A relation's name.
pub fn relation_name(relation: pg_sys::Relation) -> String {
    // SAFETY: an open relation has a pg_class row with a NUL-terminated name.
    let name = unsafe { CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) };
    name.to_string_lossy().into_owned()
}
