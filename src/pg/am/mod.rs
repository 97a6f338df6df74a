//! The access method: one file per family of callbacks; this one is the table (`access/amapi.h`).

pub mod build;
mod column_equality;
mod dimensions;
pub mod directory_cache;
pub mod filter_columns;
mod insert;
mod leaving;
pub mod opclass;
mod readers;
pub mod renew;
mod reservoir;
pub mod table_source;
pub mod threads;
mod vacuum;
mod validate;
mod visit;

#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
use pgrx::PgMemoryContexts;
use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

use crate::pg::planner::cost;
use crate::pg::scan::callbacks;
use crate::pg::settings::{pgvector_placeholders, reloptions};

/// Returns the table of callbacks of `ivf`.
#[pg_extern(sql = false)]
fn ivfhandler(_fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    table(Method::Ivf)
}

/// Returns the table of callbacks of pgvector's `ivfflat` as served here.
#[pg_extern(sql = false)]
fn ivfflathandler(_fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    pgvector_placeholders::make();
    table(Method::Ivfflat)
}

/// Returns the table of callbacks of pgvector's `hnsw` as served here.
#[pg_extern(sql = false)]
fn hnswhandler(_fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    pgvector_placeholders::make();
    table(Method::Hnsw)
}

/// An access method.
#[derive(Clone, Copy)]
enum Method {
    Ivf,
    Ivfflat,
    Hnsw,
}

/// The table of callbacks, which the server copies and frees.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
fn table(method: Method) -> Internal {
    Internal::from(Some(pg_sys::Datum::from(routine(method))))
}

/// The table of callbacks. The server keeps its address as long as the process lives, and never frees it.
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
fn table(method: Method) -> Internal {
    use std::cell::Cell;

    type Table = Cell<*mut pg_sys::IndexAmRoutine>;
    thread_local! {
        static TABLES: [Table; 3] = const { [const { Cell::new(std::ptr::null_mut()) }; 3] };
    }
    TABLES.with(|tables| {
        let table = &tables[method as usize];
        if table.get().is_null() {
            // SAFETY: the context lives as long as the process.
            table.set(unsafe { PgMemoryContexts::TopMemoryContext.switch_to(|_| routine(method)) });
        }
        Internal::from(Some(pg_sys::Datum::from(table.get())))
    })
}

/// Makes a table of callbacks in the current memory context. Only `ivf` has filter columns.
fn routine(method: Method) -> *mut pg_sys::IndexAmRoutine {
    let (options, filter_columns): (reloptions::AmOptions, _) = match method {
        Method::Ivf => (reloptions::amoptions, true),
        Method::Ivfflat => (reloptions::IVFFLAT, false),
        Method::Hnsw => (reloptions::HNSW, false),
    };
    // SAFETY: makeNode allocates a zeroed node in the current context; the fields are set below.
    let mut am = unsafe { PgBox::<pg_sys::IndexAmRoutine>::alloc_node(pg_sys::NodeTag::T_IndexAmRoutine) };
    am.amstrategies = filter_columns::OVERLAPS;
    am.amsupport = opclass::METRIC_PROC;
    am.amcanorderbyop = true;
    am.amcanmulticol = filter_columns;
    am.amoptionalkey = true;
    am.amsearcharray = true;
    am.amsearchnulls = true;
    am.amusemaintenanceworkmem = true;
    // Cleanup may evaluate expressions of the index, which need not be safe in a parallel worker, and takes a
    // transaction number, which a parallel VACUUM must not.
    am.amparallelvacuumoptions = pg_sys::VACUUM_OPTION_NO_PARALLEL as u8;
    am.ambuild = Some(build::ambuild);
    am.ambuildempty = Some(build::ambuildempty);
    am.aminsert = Some(insert::aminsert);
    am.ambulkdelete = Some(vacuum::ambulkdelete);
    am.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
    am.amcostestimate = Some(cost::ESTIMATE);
    am.amoptions = Some(options);
    am.ambuildphasename = Some(build::ambuildphasename);
    am.amvalidate = Some(validate::amvalidate);
    am.ambeginscan = Some(callbacks::ambeginscan);
    am.amrescan = Some(callbacks::amrescan);
    am.amgettuple = Some(callbacks::GETTUPLE);
    am.amendscan = Some(callbacks::amendscan);
    am.into_pg()
}
