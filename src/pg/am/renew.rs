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
use crate::ivf::renew::{
    Reason, Renewed, Transactions, end_in_use, is_due, is_due_again, none_reads, renew, rows, sweep,
};
use crate::page::Store;
use crate::pg::compat::sends_wal;
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::storage::buffer_store::{IndexStore, Logging};

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

/// The transactions that may read the rows of a table.
struct OfTable(pg_sys::Relation);

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
            pg_sys::GlobalVisCheckRemovableFullXid(self.0, transaction)
        }
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

/// The most times that one maintenance replaces the lists: each time there are a good many more rows, or they
/// lie elsewhere, so that this is enough while a table grows tenfold.
const MOST_TIMES: u32 = 8;

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
    let freed = sweep(&store, &OfTable(heap), progress)?;
    let root = read_root(&store)?;
    let lists = IndexOptions::of(index).lists.max(0) as u32;
    let reason = match when {
        When::Never => None,
        When::Due => is_due(&store, &root, lists)?,
        When::Always => Some(is_due(&store, &root, lists)?.unwrap_or(Reason::Asked)),
    };
    let mut done =
        Maintained { reason, rows: root.current.built_rows, lists: root.current.lists, freed, truncated: 0 };
    let mut due = reason;
    for _ in 0..MOST_TIMES {
        if due.is_none() {
            break;
        }
        let made_for = rows(&store, &Directory::load(&store)?)?;
        // SAFETY: the caller vouches for the relations.
        let renewed = unsafe { replace(heap, &store, lists, progress)? };
        (done.rows, done.lists) = (renewed.rows, renewed.lists);
        due = is_due_again(&store, lists, made_for, progress)?;
    }
    if reason.is_some() || freed.is_some() {
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
    let table = TableSource::new(heap, index, info, options.dims, options.seed);
    let mut source = AnyVisible { table, rows: rows(store, &directory)?, progress };
    let (pool, transactions) = (threads()?, OfTable(heap));
    renew(store, &options, &mut source, &mut TempFile::default(), (&pool, &transactions), progress)
}

/// Notes that nobody reads earlier lists, if that is known now, and shortens the file by the free pages at
/// its end. By how many.
fn give_back(store: &IndexStore, progress: &dyn Progress) -> Result<u32> {
    let index = store.relation();
    // SAFETY: the index is open.
    if unsafe { nobody_reads(index) } {
        none_reads(store)?;
    }
    // SAFETY: as above.
    unsafe {
        if pg_sys::IsInParallelMode() {
            // The lock would need a transaction number, which a parallel VACUUM must not take.
            return Ok(0);
        }
        // Without a transaction, those that read now could not be told from those that read later.
        pg_sys::GetCurrentTransactionId();
    }
    if end_in_use(store, progress)? == store.nblocks()? {
        return Ok(0);
    }
    let Some(_alone) = Alone::wait(index) else { return Ok(0) };
    let (pages, end) = (store.nblocks()?, end_in_use(store, progress)?);
    if end < pages {
        // SAFETY: the index is open and locked against all use; nothing refers to the pages from `end` on.
        unsafe { pg_sys::RelationTruncate(index, end) };
    }
    Ok(pages - end)
}

/// Whether nobody reads the index at this moment, as far as this server can know: who does has a lock on it
/// until the end of the transaction. On a standby, scans that this server does not know of may.
unsafe fn nobody_reads(index: pg_sys::Relation) -> bool {
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
struct Alone(pg_sys::Relation);

const ALONE: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;

impl Alone {
    /// Takes the lock if it can be had soon. Nobody ever waits behind this: it is taken when it is free, or
    /// not (`lazy_truncate_heap` in vacuumlazy.c does the same).
    fn wait(index: pg_sys::Relation) -> Option<Self> {
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

/// Autovacuum takes one thread, as it takes no parallel workers.
fn threads() -> Result<ThreadPool> {
    // SAFETY: reading what this process is.
    match unsafe { pg_sys::MyBackendType } {
        pg_sys::BackendType::B_AUTOVAC_WORKER => start(1),
        _ => pool(),
    }
}
