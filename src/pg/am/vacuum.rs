//! `ambulkdelete` and `amvacuumcleanup`.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::build::random_seed;
use super::renew::{Maintained, OnError, When, maintain};
use crate::error::Result;
use crate::ivf::calibrate::vacuum::refresh;
use crate::ivf::progress::Progress;
use crate::ivf::vacuum::{Vacuumed, bulk_delete, count};
use crate::page::Store;
use crate::pg::allocator;
use crate::pg::compat::{vacuum_delay_point, with_table_of};
use crate::pg::error::{OrRaise, in_index};
use crate::pg::owner::as_owner;
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::pg::storage::tid::item_pointer;

/// Removes the rows that the callback names.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    callback_state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    let Some(callback) = callback else { return stats };
    // SAFETY: Postgres passes a live structure.
    let (index, ring) = unsafe { ((*info).index, (*info).strategy) };
    let store = IndexStore::through(index, Logging::EachChange, ring);
    let mut dead = |tid| {
        let mut pointer = item_pointer(tid);
        // SAFETY: the callback takes a heap address and its own state. It may raise: that of a concurrent
        // build sorts what it is given (validate_index_callback in catalog/index.c), to disk too.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| callback(&raw mut pointer, callback_state)) }
    };
    let result = bulk_delete(&store, &mut dead, &|| Delayed.tick());
    report(stats, result.map_err(|e| in_index(index, e)).or_raise())
}

/// Counts the rows, if no row had to be removed, and calibrates the index again if it has changed much.
#[pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: Postgres passes a live structure.
    let (index, ring, analyze_only) = unsafe { ((*info).index, (*info).strategy, (*info).analyze_only) };
    if analyze_only {
        return stats;
    }
    let store = IndexStore::through(index, Logging::EachChange, ring);
    let stats = if stats.is_null() {
        let counted = count(&store, &|| Delayed.tick());
        report(stats, counted.map_err(|e| in_index(index, e)).or_raise())
    } else {
        stats
    };
    // SAFETY: as above.
    let renewed = unsafe { renew_if_due(info) };
    // The file may be shorter.
    let store = IndexStore::through(index, Logging::EachChange, ring);
    // SAFETY: `report` returned the structure.
    unsafe { (*stats).num_pages = store.nblocks().map_err(|e| in_index(index, e)).or_raise() };
    if renewed {
        return stats;
    }
    let wanted = IndexOptions::of(index).recalibrate;
    let refreshed = random_seed().and_then(|seed| refresh(&store, wanted, seed, &Delayed));
    if refreshed.map_err(|e| in_index(index, e)).or_raise() {
        // SAFETY: an open relation has a name.
        let name = unsafe { pgrx::PgRelation::from_pg(index) }.name().to_owned();
        // SAFETY: Postgres passes a live structure.
        let level = PgLogLevel::from(unsafe { (*info).message_level } as isize);
        let message = format!("recalibrated index \"{name}\": many of its rows have changed");
        ereport!(level, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message);
    }
    stats
}

/// Replaces the lists of an index that has grown, shrunk or drifted, and finds its free pages. Returns
/// whether it has new lists, which are calibrated.
unsafe fn renew_if_due(info: *mut pg_sys::IndexVacuumInfo) -> bool {
    // SAFETY: Postgres passes a live structure; VACUUM has locked the table, runs as its owner and has a
    // snapshot.
    unsafe {
        let index = (*info).index;
        // An expression of an index that is not valid may raise errors for rows that there are. In parallel
        // mode functions may not do all that they may do in an INSERT.
        let can = (*(*index).rd_index).indisvalid && !is_urgent() && !pg_sys::IsInParallelMode();
        let when = match (can, IndexOptions::of(index).renew) {
            (true, true) => When::Due,
            (true, false) => When::IfBegun,
            (false, _) => When::Never,
        };
        let done = with_table_of(info, |table| {
            as_owner(table, || maintain(table, index, (when, OnError::Warn), &Delayed))
        });
        let done = done.map_err(|e| in_index(index, e)).or_raise();
        let name = crate::pg::relation::relation_name(index);
        let Maintained { rows, lists, moved, .. } = done;
        // VACUUM's own level, DEBUG2, would hide it: this is rare, and takes as long as a build.
        let say = |message: String| {
            ereport!(PgLogLevel::LOG, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message);
        };
        if let Some(reason) = done.reason {
            say(format!("renewed index \"{name}\" ({reason}): {rows} rows are in {lists} lists now"));
        }
        if moved > 0 {
            say(format!("moved {moved} lists of index \"{name}\" to free pages"));
        }
        done.reason.is_some()
    }
}

/// Whether this vacuum is to prevent the wraparound of transaction numbers: it must end soon.
unsafe fn is_urgent() -> bool {
    // SAFETY: a backend has its own entry.
    unsafe { u32::from((*pg_sys::MyProc).statusFlags) & pg_sys::PROC_VACUUM_FOR_WRAPAROUND != 0 }
}

/// Progress of work that takes part in VACUUM's cost-based delay and can be cancelled.
struct Delayed;

impl Progress for Delayed {
    fn tick(&self) -> Result<()> {
        vacuum_delay_point();
        allocator::check();
        Ok(())
    }
}

/// Adds to the statistics of this vacuum, which may take several passes.
fn report(stats: *mut pg_sys::IndexBulkDeleteResult, found: Vacuumed) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: null, or what an earlier pass returned; zeroed memory is a valid structure.
    unsafe {
        let stats = if stats.is_null() {
            pg_sys::palloc0(size_of::<pg_sys::IndexBulkDeleteResult>()).cast()
        } else {
            stats
        };
        (*stats).num_pages = found.pages;
        (*stats).num_index_tuples = found.live as f64;
        (*stats).tuples_removed += found.removed as f64;
        stats
    }
}
