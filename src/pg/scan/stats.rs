//! Counters of the last scan of this backend, for `ivf_last_scan()`.

use std::cell::Cell;

use pgrx::pg_sys;

use crate::ivf::search::Stats;

/// A scan's counters, and the user as whom it ran.
#[derive(Clone, Copy)]
pub struct Last {
    /// The user as whom the scan ran, who may differ from the session's user.
    pub user: pg_sys::Oid,
    /// What it has done so far.
    pub stats: Stats,
}

thread_local! {
    static LAST: Cell<Option<Last>> = const { Cell::new(None) };
}

/// Stores the counters of a scan.
pub fn set(last: Last) {
    LAST.set(Some(last));
}

/// The counters of the last scan.
pub fn get() -> Option<Last> {
    LAST.get()
}
