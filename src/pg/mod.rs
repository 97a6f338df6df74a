//! Room 4: the only room that knows Postgres. Translates its structures and calls into the rooms below.
//!
//! Nothing here runs off the main thread; nothing releases buffers while an error unwinds.
#![allow(unsafe_code)]

mod aligned;
mod allocator;
mod am;
mod buffer;
mod chunks;
mod compat;
pub mod error;
mod foreign;
mod foreign_settings;
mod guc;
mod known;
mod memory;
mod options;
mod owner;
mod pointer;
mod recent;
mod stats;
mod stream;
mod toast;
mod types;
mod utility;
pub mod varlena;

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../../sql/vector.sql", name = "vector", bootstrap);
extension_sql_file!("../../sql/halfvec.sql", name = "halfvec", requires = ["vector"]);
extension_sql_file!("../../sql/sparsevec.sql", name = "sparsevec", requires = ["halfvec"]);
extension_sql_file!("../../sql/bit.sql", name = "bit", requires = ["sparsevec"]);
extension_sql_file!("../../sql/casts.sql", name = "casts", requires = ["bit"]);
extension_sql_file!("../../sql/ivf.sql", name = "ivf", requires = ["casts"]);
extension_sql_file!("../../sql/filter.sql", name = "filter", requires = ["ivf"]);

/// Called by Postgres when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    guc::define();
    options::define();
    am::init();
    utility::install_hooks();
}

/// A relation's name.
pub fn relation_name(relation: pg_sys::Relation) -> String {
    // SAFETY: an open relation has a pg_class row with a NUL-terminated name.
    let name = unsafe { CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) };
    name.to_string_lossy().into_owned()
}
