//! Room 4: the only room that knows Postgres. It translates the server's structures and calls into the rooms
//! below.
//!
//! Nothing here runs off the main thread; nothing releases buffers while an error unwinds.
#![allow(unsafe_code)]

mod allocator;
mod am;
mod attempt;
mod compat;
pub mod datum;
pub mod error;
#[cfg(target_os = "linux")]
mod error_memory;
mod functions;
mod owner;
mod planner;
mod relation;
mod scan;
mod settings;
mod storage;
mod types;
mod work;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../../sql/vector.sql", name = "vector", bootstrap);
extension_sql_file!("../../sql/halfvec.sql", name = "halfvec", requires = ["vector"]);
extension_sql_file!("../../sql/sparsevec.sql", name = "sparsevec", requires = ["halfvec"]);
extension_sql_file!("../../sql/bit.sql", name = "bit", requires = ["sparsevec"]);
extension_sql_file!("../../sql/casts.sql", name = "casts", requires = ["bit"]);
extension_sql_file!("../../sql/maxsim.sql", name = "maxsim", requires = ["casts"]);
extension_sql_file!("../../sql/ivf.sql", name = "ivf", requires = ["maxsim"]);
extension_sql_file!("../../sql/filter.sql", name = "filter", requires = ["ivf"]);
extension_sql_file!("../../sql/shards.sql", name = "shards", requires = ["filter"]);

/// Called by Postgres when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    #[cfg(target_os = "linux")]
    error_memory::init();
    allocator::init();
    settings::init();
    scan::init();
    planner::init();
}
