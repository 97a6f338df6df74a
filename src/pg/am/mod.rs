//! The access method: one file per family of callbacks; this one is the table (`access/amapi.h`).

mod access;
mod all_rows;
mod build;
mod columns;
mod cost;
mod exact;
mod fitting;
mod functions;
mod heap;
mod insert;
mod limit;
mod monotone;
mod narrow;
mod opclass;
mod order;
mod pages;
mod partial;
mod recalibrate;
mod recall;
mod rows;
mod scan;
mod threshold;
mod vacuum;
mod validate;

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

use super::buffer::IndexStore;
use super::foreign_settings;
use crate::error::Result;
use crate::ivf::directory::Directory;

/// Set-up at library load.
pub fn init() {
    limit::install_hook();
    order::install_hook();
    partial::install_hook();
    pages::install_hook();
}

/// The one strategy of the classes for vectors: ordering by distance.
const ORDER_STRATEGY: u16 = 1;
/// The support function that names the metric, or the form of a filter column's keys.
const METRIC_PROC: u16 = 1;

/// Returns the table of callbacks of `ivf`.
#[pg_extern(sql = false)]
fn ivfhandler(_fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    routine(super::options::amoptions, true)
}

/// Returns the table of callbacks of pgvector's `ivfflat` as served here.
#[pg_extern(sql = false)]
fn ivfflathandler(_fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    foreign_settings::make();
    routine(super::options::IVFFLAT, false)
}

/// Returns the table of callbacks of pgvector's `hnsw` as served here.
#[pg_extern(sql = false)]
fn hnswhandler(_fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    foreign_settings::make();
    routine(super::options::HNSW, false)
}

/// The table of callbacks with one access method's options. Filter columns are ours alone.
fn routine(options: super::options::AmOptions, filter_columns: bool) -> Internal {
    // SAFETY: makeNode allocates a zeroed node in the current context; the fields are set below.
    let mut am = unsafe { PgBox::<pg_sys::IndexAmRoutine>::alloc_node(pg_sys::NodeTag::T_IndexAmRoutine) };
    am.amstrategies = columns::OVERLAPS;
    am.amsupport = METRIC_PROC;
    am.amcanorderbyop = true;
    am.amcanmulticol = filter_columns;
    am.amoptionalkey = true;
    am.amsearcharray = true;
    am.amsearchnulls = true;
    am.amusemaintenanceworkmem = true;
    // Bulk deletion and cleanup read the whole index once: worth a parallel worker each.
    am.amparallelvacuumoptions =
        (pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL | pg_sys::VACUUM_OPTION_PARALLEL_COND_CLEANUP) as u8;
    am.ambuild = Some(build::ambuild);
    am.ambuildempty = Some(build::ambuildempty);
    am.aminsert = Some(insert::aminsert);
    am.ambulkdelete = Some(vacuum::ambulkdelete);
    am.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
    am.amcostestimate = Some(cost::ESTIMATE);
    am.amoptions = Some(options);
    am.ambuildphasename = Some(build::ambuildphasename);
    am.amvalidate = Some(validate::amvalidate);
    am.ambeginscan = Some(scan::ambeginscan);
    am.amrescan = Some(scan::amrescan);
    am.amgettuple = Some(GETTUPLE);
    am.amendscan = Some(scan::amendscan);
    Internal::from(Some(pg_sys::Datum::from(am.into_pg())))
}

type GetTuple = unsafe extern "C-unwind" fn(pg_sys::IndexScanDesc, pg_sys::ScanDirection::Type) -> bool;

/// The one address of our `amgettuple`, by which an index is known to be ours.
static GETTUPLE: GetTuple = scan::amgettuple;

/// Whether an open index is of this access method.
///
/// # Safety
/// The relation is an open index.
unsafe fn is_ivf(index: pg_sys::Relation) -> bool {
    // SAFETY: an open index has its access method's table.
    let routine = unsafe { (*index).rd_indam };
    // SAFETY: as above, or null where the access method is gone.
    !routine.is_null() && unsafe { (*routine).amgettuple }.is_some_and(|f| std::ptr::fn_addr_eq(f, GETTUPLE))
}

/// A decoded directory that this backend keeps.
struct Kept {
    index: pg_sys::Oid,
    directory: Rc<Directory>,
    /// When it was used last, by the count of lookups.
    used: u64,
}

/// Bytes of directories that a backend keeps; the one in use is kept whatever its size.
const KEPT_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Cache {
    kept: Vec<Kept>,
    lookups: u64,
}

thread_local! {
    static DIRECTORIES: RefCell<Cache> = RefCell::default();
}

/// The directory of an index: the one kept from an earlier call if the meta page says it is current.
fn directory(store: &IndexStore) -> Result<Rc<Directory>> {
    // SAFETY: the relation is open.
    let index = unsafe { (*store.relation()).rd_id };
    let kept = DIRECTORIES.with_borrow_mut(|cache| {
        cache.lookups += 1;
        let now = cache.lookups;
        cache.kept.iter_mut().find(|k| k.index == index).map(|k| {
            k.used = now;
            Rc::clone(&k.directory)
        })
    });
    if let Some(directory) = kept
        && directory.is_current(store)?
    {
        return Ok(directory);
    }
    let directory = Rc::new(Directory::load(store)?);
    DIRECTORIES.with_borrow_mut(|cache| {
        cache.kept.retain(|k| k.index != index);
        cache.kept.push(Kept { index, directory: Rc::clone(&directory), used: cache.lookups });
        cache.kept.sort_by_key(|k| std::cmp::Reverse(k.used));
        let mut bytes = 0;
        cache.kept.retain(|k| {
            bytes += k.directory.memory();
            bytes <= KEPT_BYTES || k.index == index
        });
    });
    Ok(directory)
}
