//! Counters of the last scan of this backend, for `ivf_last_scan()`.

use std::cell::Cell;

use crate::ivf::search::Stats;

const NONE: Stats = Stats { lists: 0, skipped: 0, codes: 0, excluded: 0, extended: 0, rows: 0, kept: 0 };

thread_local! {
    static LAST: Cell<Stats> = const { Cell::new(NONE) };
}

/// Remembers what a scan has done so far.
pub fn set(stats: Stats) {
    LAST.set(stats);
}

/// What the last scan did.
pub fn get() -> Stats {
    LAST.get()
}
