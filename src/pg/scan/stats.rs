//! Counters of the last scan of this backend, for `ivf_last_scan()`.

use std::cell::Cell;

use pgrx::pg_sys;

use crate::ivf::search::Stats;

/// A scan's counters, and whose they are.
#[derive(Clone, Copy)]
pub struct Last {
    /// The user that it ran as, who may be another than the session's.
    pub user: pg_sys::Oid,
    /// What it has done so far.
    pub stats: Stats,
}

thread_local! {
    static LAST: Cell<Option<Last>> = const { Cell::new(None) };
}

/// Remembers what a scan has done so far.
pub fn set(last: Last) {
    LAST.set(Some(last));
}

/// What the last scan did.
pub fn get() -> Option<Last> {
    LAST.get()
}
