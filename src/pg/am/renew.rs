//! Renewing an index in use: `ivf::renew` in VACUUM and for `ivf_maintain`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use serde::Serialize;

use super::build::{TempFile, random_seed};
use super::directory_cache;
use super::readers::{Alone, OfTable, nobody_reads};
use super::table_source::TableSource;
use super::threads::{Threads, pool, start};
use crate::error::Result;
use crate::ivf::build::{Options, OriginalSink, RowSink, Source};
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::Progress;
use crate::ivf::renew::{Reason, Renewed, end_in_use, is_due, is_due_again, none_reads, renew, rows, sweep};
use crate::ivf::sketch::Sketched;
use crate::page::{Meta, Store, Tid};
use crate::pg::attempt::attempt;
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

    fn sample_queries(
        &mut self,
        positions: &[usize],
        sink: &mut dyn FnMut(Sketched<'_>) -> Result<()>,
    ) -> Result<()> {
        self.table.sample_queries(positions, sink)
    }

    fn sample_originals(&mut self, want: usize, sink: &mut OriginalSink<'_>) -> Result<()> {
        self.table.sample_originals(want, sink)
    }

    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()> {
        self.table.scan_any_visible(self.progress, sink)
    }

    fn look_up(&mut self, rows: &[Tid], sink: &mut RowSink<'_>) -> Result<()> {
        self.table.look_up(rows, self.progress, sink)
    }
}

/// When maintenance replaces the lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// If that is due.
    Due,
    /// Only what was begun: two sets of lists are slower than one.
    IfBegun,
    /// In any case.
    Always,
    /// Never.
    Never,
}

/// What maintenance does if it cannot replace the lists: because an expression of the index raises an error
/// by now, or the disk is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It fails.
    Raise,
    /// It warns, and the lists stay as they are.
    Warn,
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
    (when, on_error): (When, OnError),
    progress: &dyn Progress,
) -> Result<Maintained> {
    let store = IndexStore::new(index, Logging::EachChange);
    let freed = sweep(&store, &OfTable { table: heap, index }, progress)?;
    let root = read_root(&store)?;
    let lists = IndexOptions::of(index).lists.max(0) as u32;
    let reason = match when {
        When::Never => None,
        When::IfBegun => root.next.is_some().then_some(Reason::Interrupted),
        When::Due => is_due(&store, &root, lists)?,
        When::Always => Some(is_due(&store, &root, lists)?.unwrap_or(Reason::Asked)),
    };
    let (rows_now, lists_now) = (root.current.built_rows, root.current.lists);
    let mut done = Maintained { reason: None, rows: rows_now, lists: lists_now, freed, truncated: 0 };
    let mut due = reason;
    for _ in 0..MOST_TIMES {
        if due.is_none() {
            break;
        }
        let before = Directory::load(&store)?;
        let made_for = rows(&store, &before)?;
        // SAFETY: the caller vouches for the relations.
        let work = || unsafe { replace(heap, index, lists, progress) };
        let renewed = match on_error {
            OnError::Raise => work()?,
            // SAFETY: as above; `replace` leaves nothing behind that is used here.
            OnError::Warn => match unsafe { attempt(work)? } {
                Ok(renewed) => renewed,
                Err(message) => {
                    warn(index, (&before.meta, &read_root(&store)?.current), &message);
                    break;
                }
            },
        };
        (done.reason, done.rows, done.lists) = (reason, renewed.rows, renewed.lists);
        note_unread(&store)?;
        due = match when {
            When::IfBegun => None,
            _ => is_due_again(&store, lists, made_for, progress)?,
        };
    }
    if done.reason.is_some() || freed.is_some() {
        done.truncated = give_back(&store, progress)?;
    }
    Ok(done)
}

/// Warns of an error, from which on the index has other lists or the same.
fn warn(index: pg_sys::Relation, (before, after): (&Meta, &Meta), message: &str) {
    let name = crate::pg::relation::relation_name(index);
    let (what, detail) = if before.first_list == after.first_list {
        (
            "renew",
            "The index keeps its lists. It is correct, but becomes slower as it grows. A later VACUUM, or \
             SELECT ivf_maintain(...), tries again.",
        )
    } else {
        (
            "finish renewing",
            "The index has new lists and is correct. A later VACUUM frees the pages of the old ones.",
        )
    };
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_WARNING,
        format!("could not {what} index \"{name}\": {message}"),
        detail
    );
}

/// Replaces the lists.
unsafe fn replace(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    lists: u32,
    progress: &dyn Progress,
) -> Result<Renewed> {
    let store = &IndexStore::new(index, Logging::EachChange);
    let directory = directory_cache::directory(store)?;
    let options = Options {
        lists,
        dims: directory.dims(),
        metric: directory.metric(),
        bits: directory.meta.bits,
        code_dims: IndexOptions::of(index).code_dimensions as u32,
        seed: random_seed()?,
        columns: directory.meta.columns,
        sketch: directory.meta.sketch,
        // SAFETY: reading a setting (kB).
        memory: unsafe { pg_sys::maintenance_work_mem } as usize * 1024,
    };
    // SAFETY: the index is open; its description lives in the current context.
    let info = unsafe { pg_sys::BuildIndexInfo(index) };
    let table = TableSource::new(heap, index, info, directory.sketch().clone(), options.seed).in_use();
    let mut source = AnyVisible { table, rows: rows(store, &directory)?, progress };
    let (pool, transactions) = (threads()?, OfTable { table: heap, index });
    renew(store, &options, &mut source, &mut TempFile::default(), (&pool, &transactions), progress)
}

/// Notes that nobody reads earlier lists, if that is known now, and shortens the file by the free pages at
/// its end. By how many.
fn give_back(store: &IndexStore, progress: &dyn Progress) -> Result<u32> {
    let index = store.relation();
    note_unread(store)?;
    // SAFETY: reads and sets the state of the transaction.
    unsafe {
        if pg_sys::IsInParallelMode() {
            // A transaction number is not to be had in a parallel VACUUM.
            return Ok(0);
        }
        // Without a transaction, those that read now could not be told from those that read later.
        pg_sys::GetCurrentTransactionId();
    }
    // A standby would keep the lock until the end of VACUUM, which may be far.
    // SAFETY: a backend has its own entry.
    let in_vacuum = unsafe { u32::from((*pg_sys::MyProc).statusFlags) & pg_sys::PROC_IN_VACUUM != 0 };
    if (in_vacuum && sends_wal()) || end_in_use(store, progress)? == store.nblocks()? {
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

/// Notes that nobody reads earlier lists, if that is known now.
fn note_unread(store: &IndexStore) -> Result<()> {
    // SAFETY: the index is open.
    if unsafe { nobody_reads(store.relation()) } { none_reads(store) } else { Ok(()) }
}

/// Autovacuum takes one thread, as it takes no parallel workers.
fn threads() -> Result<Threads> {
    // SAFETY: reading what this process is.
    match unsafe { pg_sys::MyBackendType } {
        pg_sys::BackendType::B_AUTOVAC_WORKER => start(1),
        _ => pool(),
    }
}
