//! Renewing an index in use: `ivf::renew` in VACUUM and for `ivf_maintain`.

use std::time::{Duration, SystemTime};

use pgrx::pg_sys;
use rayon::ThreadPool;
use serde::Serialize;

use super::build::{TempFile, build_options, pool, random_seed, start};
use super::table_source::TableSource;
use crate::error::Result;
use crate::ivf::build::{Options, RowSink, Source};
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::Progress;
use crate::ivf::renew::{Reason, Renewed, Transactions, end_in_use, is_due, none_reads, renew, rows, sweep};
use crate::page::Store;
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::pg::storage::recovery_conflict;

/// What maintenance has done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Maintained {
    /// Why the lists were replaced, if they were.
    pub reason: Option<Reason>,
    /// Rows that were copied to new lists.
    pub rows: u64,
    /// Lists now.
    pub lists: u32,
    /// Pages that were found free for reuse, if they were looked for.
    pub freed: Option<u32>,
    /// Pages by which the file has become shorter.
    pub truncated: u32,
}

/// The transactions that may read the rows of a table, and an index on it.
struct OfTable {
    table: pg_sys::Relation,
    index: pg_sys::Relation,
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
        // SAFETY: the table is open. As nbtree asks before it uses a deleted page again (nbtpage.c).
        unsafe {
            let transaction = pg_sys::FullTransactionId { value: before };
            pg_sys::GlobalVisCheckRemovableFullXid(self.table, transaction)
        }
    }

    fn forget_ended(&self) {
        // SAFETY: both are open.
        unsafe { recovery_conflict::log(self.index, recovery_conflict::last_dead(self.table)) };
    }
}

/// The rows of a table that any snapshot may see, and most likely some that none may.
struct AnyVisible<'a> {
    table: TableSource,
    rows: u64,
    progress: &'a dyn Progress,
}

impl Source for AnyVisible<'_> {
    fn rows_hint(&self) -> u64 {
        self.rows
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        self.table.sample(want, sink)
    }

    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()> {
        self.table.scan_any_visible(self.progress, sink)
    }
}

/// When maintenance replaces the lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// If that is due.
    Due,
    /// In any case.
    Always,
    /// Never.
    Never,
}

/// Replaces the lists of an index, and has its free pages used again. The caller has a lock on the table that
/// excludes other maintenance, has counted the rows, and runs as the table's owner.
///
/// # Safety
/// The relations are open and belong together; a snapshot is active.
///
/// # Errors
/// Damage, out of memory, and those of [`Progress::tick`].
pub unsafe fn maintain(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    when: When,
    progress: &dyn Progress,
) -> Result<Maintained> {
    let store = IndexStore::new(index, Logging::EachChange);
    let freed = sweep(&store, &OfTable { table: heap, index }, progress)?;
    let root = read_root(&store)?;
    let lists = IndexOptions::of(index).lists.max(0) as u32;
    let reason = match when {
        When::Never => None,
        When::Due | When::Always => is_due(&store, &root, lists)?,
    };
    let mut done =
        Maintained { reason, rows: root.current.built_rows, lists: root.current.lists, freed, truncated: 0 };
    if reason.is_some() || when == When::Always {
        // SAFETY: the caller vouches for the relations.
        let renewed = unsafe { replace(heap, &store, lists, progress)? };
        (done.rows, done.lists) = (renewed.rows, renewed.lists);
    }
    if reason.is_some() || freed.is_some() || when == When::Always {
        done.truncated = give_back(&store, progress)?;
    }
    Ok(done)
}

/// Replaces the lists.
unsafe fn replace(
    heap: pg_sys::Relation,
    store: &IndexStore,
    lists: u32,
    progress: &dyn Progress,
) -> Result<Renewed> {
    let index = store.relation();
    let directory = Directory::load(store)?;
    let options = Options {
        lists,
        dims: directory.dims(),
        metric: directory.metric(),
        bits: directory.meta.bits,
        seed: random_seed()?,
        columns: directory.meta.columns,
        ..build_options(index)?
    };
    // SAFETY: the index is open; its description lives in the current context.
    let info = unsafe { pg_sys::BuildIndexInfo(index) };
    let table = TableSource::new(heap, index, info, options.dims, options.seed).in_use();
    let mut source = AnyVisible { table, rows: rows(store, &directory)?, progress };
    let (pool, transactions) = (threads()?, OfTable { table: heap, index });
    renew(store, &options, &mut source, &mut TempFile::default(), (&pool, &transactions), progress)
}

/// Gives the free pages at the end of the file back to the system, and notes that nobody reads earlier lists, if
/// nobody uses the index for a moment. How many pages there were.
fn give_back(store: &IndexStore, progress: &dyn Progress) -> Result<u32> {
    if read_root(store)?.retired == 0 && end_in_use(store, progress)? == store.nblocks()? {
        return Ok(0);
    }
    let Some(_alone) = Alone::wait(store.relation())? else { return Ok(0) };
    none_reads(store)?;
    let (pages, end) = (store.nblocks()?, end_in_use(store, progress)?);
    if end < pages {
        // SAFETY: the index is open and locked against all use; nothing refers to the pages from `end` on.
        unsafe { pg_sys::RelationTruncate(store.relation(), end) };
    }
    Ok(pages - end)
}

/// A lock against all use of an index. Everybody who reads it keeps a lock until the end of the transaction.
struct Alone(pg_sys::Relation);

const ALONE: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;

impl Alone {
    /// Takes the lock if it can be had soon. Nobody ever waits behind this: it is taken when it is free, or not
    /// (`lazy_truncate_heap` in vacuumlazy.c does the same).
    fn wait(index: pg_sys::Relation) -> Result<Option<Self>> {
        const TIMES: u32 = 20;
        const PAUSE: Duration = Duration::from_millis(25);
        // SAFETY: the index is open. This backend's own scans, as of cursors, hold further references. For standbys
        // the lock needs a transaction id, which VACUUM cannot take while it has parallel workers.
        unsafe {
            if (*index).rd_refcnt > 1 || pg_sys::IsInParallelMode() {
                return Ok(None);
            }
            for _ in 0..TIMES {
                if pg_sys::ConditionalLockRelation(index, ALONE) {
                    return Ok(Some(Self(index)));
                }
                pgrx::check_for_interrupts!();
                std::thread::sleep(PAUSE);
            }
        }
        Ok(None)
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

/// Autovacuum takes one thread, as it takes no parallel workers.
fn threads() -> Result<ThreadPool> {
    // SAFETY: reading what this process is.
    match unsafe { pg_sys::MyBackendType } {
        pg_sys::BackendType::B_AUTOVAC_WORKER => start(1),
        _ => pool(),
    }
}
