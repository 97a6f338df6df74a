//! Who may still read what maintenance replaces: transactions, those who use an index now, and standbys.

use std::time::{Duration, SystemTime};

use pgrx::pg_sys;

use crate::ivf::renew::Transactions;
use crate::pg::compat::sends_wal;
use crate::pg::storage::buffer_store::relation_needs_wal;
use crate::pg::storage::recovery_conflict;

/// The transactions that may read the rows of a table, and an index on it.
#[derive(Clone, Copy)]
pub(super) struct OfTable {
    pub table: pg_sys::Relation,
    pub index: pg_sys::Relation,
}

impl Transactions for OfTable {
    fn next(&self) -> u64 {
        // SAFETY: reads a counter.
        unsafe { pg_sys::ReadNextFullTransactionId() }.value
    }

    fn now(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn have_ended(&self, before: u64) -> bool {
        // As nbtree asks before it uses a deleted page again (nbtpage.c), but by the transactions of this
        // moment: what `GlobalVisCheckRemovableFullXid` knows may be as old as VACUUM's snapshot.
        //
        // SAFETY: the table is open.
        before <= unsafe { recovery_conflict::last_dead(self.table) }
    }

    fn forget_ended(&self) {
        // SAFETY: both are open.
        unsafe { recovery_conflict::log(self.index, recovery_conflict::last_dead(self.table)) };
    }
}

/// Tells standbys that what all transactions up to now could read is about to go from the index.
///
/// # Safety
/// The index is open; a transaction is under way, not in parallel mode.
pub(super) unsafe fn forget_all(index: pg_sys::Relation) {
    // SAFETY: the caller vouches for the index and the transaction. By this transaction's number a standby
    // knows, when it replays the record, that its snapshots are older.
    unsafe {
        if relation_needs_wal(index) {
            pg_sys::GetCurrentTransactionId();
            recovery_conflict::log(index, pg_sys::GetCurrentFullTransactionId().value);
        }
    }
}

/// Whether nobody reads the index at this moment, as far as this server can know: who does has a lock on it
/// until the end of the transaction. On a standby, scans that this server does not know of may.
pub(super) unsafe fn nobody_reads(index: pg_sys::Relation) -> bool {
    // SAFETY: the caller passes an open index. This backend's own scans, as of cursors, hold further
    // references.
    unsafe {
        if (*index).rd_refcnt > 1 || sends_wal() {
            return false;
        }
        let lock = (*index).rd_lockInfo.lockRelId;
        let tag = pg_sys::LOCKTAG {
            locktag_field1: lock.dbId.to_u32(),
            locktag_field2: lock.relId.to_u32(),
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        let mut others = 0;
        pg_sys::GetLockConflicts(&raw const tag, ALONE, &raw mut others);
        others == 0
    }
}

/// A lock against all use of an index.
pub(super) struct Alone(pg_sys::Relation);

const ALONE: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;

impl Alone {
    /// Takes the lock if it can be had soon. Nobody ever waits behind this: it is taken when it is free, or
    /// not (`lazy_truncate_heap` in vacuumlazy.c does the same).
    pub fn wait(index: pg_sys::Relation) -> Option<Self> {
        const TIMES: u32 = 20;
        const PAUSE: Duration = Duration::from_millis(25);
        // SAFETY: the index is open. This backend's own scans, as of cursors, hold further references.
        unsafe {
            if (*index).rd_refcnt > 1 {
                return None;
            }
            for _ in 0..TIMES {
                if pg_sys::ConditionalLockRelation(index, ALONE) {
                    return Some(Self(index));
                }
                pgrx::check_for_interrupts!();
                std::thread::sleep(PAUSE);
            }
        }
        None
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the lock was taken, and is given back once; an error's abort does so itself.
            unsafe { pg_sys::UnlockRelation(self.0, ALONE) };
        }
    }
}
