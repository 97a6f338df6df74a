//! Renewing an index in use: `ivf::renew` in VACUUM and for `ivf_maintain`.

use pgrx::pg_sys;
use rayon::ThreadPool;
use serde::Serialize;

use super::build::{TempFile, build_options, pool, random_seed, start};
use super::table_source::TableSource;
use crate::error::Result;
use crate::ivf::build::{Options, RowSink, Source};
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::Progress;
use crate::ivf::renew::{Reason, Transactions, is_due, renew, rows, sweep};
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
}

/// The transactions that may read the rows of a table.
struct OfTable(pg_sys::Relation);

impl Transactions for OfTable {
    fn next(&self) -> u64 {
        // SAFETY: reads a counter.
        unsafe { pg_sys::ReadNextFullTransactionId() }.value
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

/// Replaces the lists of an index if that is due, and finds free pages. The caller has a lock on the table that
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
    progress: &dyn Progress,
) -> Result<Maintained> {
    let store = IndexStore::new(index, Logging::EachChange);
    let transactions = OfTable(heap);
    let freed = sweep(&store, &transactions, progress)?;
    let root = read_root(&store)?;
    let lists = IndexOptions::of(index).lists.max(0) as u32;
    let Some(reason) = is_due(&store, &root, lists)? else {
        return Ok(Maintained { lists: root.current.lists, freed, ..Maintained::default() });
    };
    let directory = Directory::load(&store)?;
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
    let mut source = AnyVisible { table, rows: rows(&store, &directory)?, progress };
    let pool = threads()?;
    let done =
        renew(&store, &options, &mut source, &mut TempFile::default(), (&pool, &transactions), progress)?;
    Ok(Maintained { reason: Some(reason), rows: done.rows, lists: done.lists, freed })
}

/// Autovacuum takes one thread, as it takes no parallel workers.
fn threads() -> Result<ThreadPool> {
    // SAFETY: reading what this process is.
    match unsafe { pg_sys::MyBackendType } {
        pg_sys::BackendType::B_AUTOVAC_WORKER => start(1),
        _ => pool(),
    }
}
