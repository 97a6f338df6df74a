//! Renewing an index in use: `ivf::renew` in VACUUM and for `ivf_maintain`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use serde::Serialize;

use super::build::{TempFile, random_seed};
use super::directory_cache;
use super::readers::{Alone, OfTable, forget_all, nobody_reads};
use super::table_source::TableSource;
use super::threads::{Threads, pool, start};
use crate::error::Result;
use crate::ivf::build::{Options, OriginalSink, RowSink, Source};
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::Progress;
use crate::ivf::renew::{
    Reason, Renewed, change_root, compact, end_in_use, is_due, is_due_again, is_loose_at_rest,
    is_mostly_free, none_reads, renew, rows, sweep,
};
use crate::ivf::sketch::Sketched;
use crate::page::root::{LEAVING, UNREAD};
use crate::page::{Root, Store, Tid};
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
    /// Lists whose pages were moved to free ones. The file may also have become shorter because list states
    /// and summaries moved alone.
    pub moved: u32,
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
    let lists = IndexOptions::of(index).lists.max(0) as u32;
    let work = Maintenance { of: OfTable { table: heap, index }, store, lists, on_error, progress };
    let freed = sweep(&work.store, &work.of, progress)?;
    let root = read_root(&work.store)?;
    let mut due = match when {
        When::Never => None,
        When::IfBegun => root.next.is_some().then_some(Reason::Interrupted),
        When::Due => work.is_due(&root)?,
        When::Always => Some(is_due(&work.store, &root, lists)?.unwrap_or(Reason::Asked)),
    };
    let (rows, lists) = (root.current.built_rows, root.current.lists);
    let mut done = Maintained { rows, lists, freed, ..Maintained::default() };
    for _ in 0..MOST_TIMES {
        let Some(reason) = due else { break };
        // A user who asks for new lists gets them, once.
        let asked = when == When::Always && done.reason.is_none();
        // SAFETY: the caller vouches for the relations.
        due = unsafe { work.once(reason, asked, &mut done)? }.filter(|_| when != When::IfBegun);
    }
    if when != When::Never {
        let changed = done.reason.is_some() || done.freed.is_some();
        done.truncated = give_back(&work.store, changed, progress)?;
    }
    Ok(done)
}

/// Maintenance that is under way.
struct Maintenance<'a> {
    of: OfTable,
    store: IndexStore,
    /// The number of lists that users have named, or 0.
    lists: u32,
    on_error: OnError,
    progress: &'a dyn Progress,
}

impl Maintenance<'_> {
    /// Why the lists are to be replaced, or moved.
    fn is_due(&self, root: &Root) -> Result<Option<Reason>> {
        let due = is_due(&self.store, root, self.lists)?;
        let moves = due.is_none() && may_cut() && is_loose_at_rest(&self.store, self.progress)?;
        Ok(due.or(moves.then_some(Reason::Sparse)))
    }

    /// Replaces the lists, or moves their pages if that is enough and nobody has `asked` for new lists. Why
    /// it is to go on.
    unsafe fn once(&self, reason: Reason, asked: bool, done: &mut Maintained) -> Result<Option<Reason>> {
        if reason == Reason::Sparse && !asked {
            // Unless the file may be cut, it cannot become shorter.
            //
            // SAFETY: the caller vouches for the relations.
            let may_go_on = may_cut() && unsafe { self.move_lists(done)? };
            if !may_go_on || done.moved > 0 || !is_mostly_free(&self.store)? {
                return Ok(None);
            }
        }
        let before = Directory::load(&self.store)?;
        let made_for = rows(&self.store, &before)?;
        // SAFETY: the caller vouches for the relations; `replace` leaves nothing behind that is used here.
        match unsafe { self.attempt(|| self.replace())? } {
            Ok(Renewed { rows, lists }) => (done.rows, done.lists) = (rows, lists),
            Err(message) => {
                let now = read_root(&self.store)?.current.first_list;
                let begun = if before.meta.first_list == now { KEPT } else { FINISHED };
                warn(self.of.index, begun, &message);
                return Ok(None);
            }
        }
        done.reason = done.reason.or(Some(reason));
        done.freed = self.freed()?.or(done.freed);
        is_due_again(&self.store, self.lists, made_for, self.progress)
    }

    /// Moves lists. False if that failed.
    unsafe fn move_lists(&self, done: &mut Maintained) -> Result<bool> {
        // SAFETY: `compact` leaves nothing behind that is used here.
        let moved = unsafe { self.attempt(|| compact(&self.store, &self.of, self.progress))? };
        // Also after an error: pages that were taken are free.
        done.freed = self.freed()?.or(done.freed);
        match &moved {
            Ok(moved) => done.moved = moved.map_or(0, |moved| moved.lists),
            Err(message) => warn(self.of.index, AS_IT_IS, message),
        }
        Ok(moved.is_ok())
    }

    /// Frees the pages that lists have left, if nobody reads them by now.
    fn freed(&self) -> Result<Option<u32>> {
        note_unread(&self.store)?;
        sweep(&self.store, &self.of, self.progress)
    }

    /// Does work that VACUUM survives if it fails: its value, or the message of its error.
    unsafe fn attempt<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<std::result::Result<R, String>> {
        match self.on_error {
            OnError::Raise => Ok(Ok(work()?)),
            // SAFETY: the caller vouches for the work.
            OnError::Warn => unsafe { attempt(work) },
        }
    }

    /// Replaces the lists.
    fn replace(&self) -> Result<Renewed> {
        let (store, OfTable { table, index }) = (&self.store, self.of);
        let directory = directory_cache::directory(store)?;
        let options = Options {
            lists: self.lists,
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
        let source = TableSource::new(table, index, info, directory.sketch().clone(), options.seed).in_use();
        let mut source =
            AnyVisible { table: source, rows: rows(store, &directory)?, progress: self.progress };
        let pool = threads()?;
        renew(store, &options, &mut source, &mut TempFile::default(), (&pool, &self.of), self.progress)
    }
}

/// What could not be done, and how the index is then.
type Failed = (&'static str, &'static str);

const AS_IT_IS: Failed = (
    "move the lists of",
    "The index is correct, and its file as long as it was. A later VACUUM, or SELECT ivf_maintain(...), \
     tries again.",
);
const KEPT: Failed = (
    "renew",
    "The index keeps its lists. It is correct, but becomes slower as it grows. A later VACUUM, or SELECT \
     ivf_maintain(...), tries again.",
);
const FINISHED: Failed = (
    "finish renewing",
    "The index has new lists and is correct. A later VACUUM frees the pages of the old ones.",
);

fn warn(index: pg_sys::Relation, (what, detail): Failed, message: &str) {
    let name = crate::pg::relation::relation_name(index);
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_WARNING,
        format!("could not {what} index \"{name}\": {message}"),
        detail
    );
}

/// Shortens the file by the free pages at its end. By how many. If lists have `changed`, notes first that
/// nobody reads earlier lists, if that is known now.
fn give_back(store: &IndexStore, changed: bool, progress: &dyn Progress) -> Result<u32> {
    let index = store.relation();
    // SAFETY: reads the state of the transaction.
    if unsafe { pg_sys::IsInParallelMode() } {
        // A transaction number is not to be had in a parallel VACUUM.
        return Ok(0);
    }
    if changed {
        note_unread(store)?;
        // Without a transaction, those that read now could not be told from those that read later.
        // SAFETY: a transaction is under way.
        unsafe { pg_sys::GetCurrentTransactionId() };
    }
    if !may_cut() || end_in_use(store, progress)? == store.nblocks()? {
        return Ok(0);
    }
    let Some(_alone) = Alone::wait(index) else { return Ok(0) };
    let (pages, end) = (store.nblocks()?, end_in_use(store, progress)?);
    if end < pages {
        // SAFETY: the index is open and locked against all use; nothing refers to the pages from `end` on.
        unsafe { pg_sys::RelationTruncate(index, end) };
        change_root(store, |root| root.free = root.free.saturating_sub(pages - end))?;
    }
    Ok(pages - end)
}

/// Whether the file may be cut now. A standby would keep the lock until the end of VACUUM, which may be far.
fn may_cut() -> bool {
    // SAFETY: a backend has its own entry.
    let in_vacuum = unsafe { u32::from((*pg_sys::MyProc).statusFlags) & pg_sys::PROC_IN_VACUUM != 0 };
    !(in_vacuum && sends_wal())
}

/// Notes that nobody reads earlier lists, if that is known now. A standby of which this server does not know
/// may read them, so the log has its scans end first: lists that were moved keep their pages' owners, by
/// which such a scan would notice it.
fn note_unread(store: &IndexStore) -> Result<()> {
    let index = store.relation();
    // SAFETY: the index is open.
    if matches!(read_root(store)?.retired, 0 | UNREAD | LEAVING) || !unsafe { nobody_reads(index) } {
        return Ok(());
    }
    // SAFETY: as above; a transaction is under way, not in parallel mode.
    unsafe { forget_all(index) };
    none_reads(store)
}

/// Autovacuum takes one thread, as it takes no parallel workers.
fn threads() -> Result<Threads> {
    // SAFETY: reading what this process is.
    match unsafe { pg_sys::MyBackendType } {
        pg_sys::BackendType::B_AUTOVAC_WORKER => start(1),
        _ => pool(),
    }
}
