//! `ambuild`, `ambuildempty`: options, progress and temporary files for `ivf::build`.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::filter_columns::FilterColumns;
use super::table_source::TableSource;
use super::threads::pool;
use super::{dimensions, directory_cache, opclass};
use crate::error::{Error, Kind, Result};
use crate::ivf::build::{Built, Options, Spool, build, build_empty};
use crate::ivf::progress::{Phase, Progress};
use crate::ivf::sketch::Sketch;
use crate::page::memory::MemoryStore;
use crate::pg::allocator;
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::{OrRaise, in_index};
use crate::pg::settings::pgvector;
use crate::pg::settings::reloptions::{DEFAULT_BITS, IndexOptions};
use crate::pg::storage::buffer_store::{IndexStore, Logging, write_init_fork};

/// Builds an index from the rows of its table.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    let options = build_options(index, || sketch_of_build(heap, index, info)).or_raise();
    let sketch = options.sketch().or_raise();
    let mut table = TableSource::new(heap, index, info, sketch, options.seed);
    let store = IndexStore::new(index, Logging::AtTheEnd);
    let built = if table.nblocks() == 0 {
        build_empty(&store, &options).map(|()| Built { rows: 0 })
    } else {
        let pool = pool();
        pool.and_then(|pool| {
            build(&store, &options, &mut table, &mut TempFile::default(), &pool, &Shown::new())
        })
    }
    .map_err(|e| in_index(index, e))
    .or_raise();
    store.log_all();
    // SAFETY: palloc0 gives zeroed memory of the structure's size.
    unsafe {
        let result =
            pg_sys::palloc0(size_of::<pg_sys::IndexBuildResult>()).cast::<pg_sys::IndexBuildResult>();
        (*result).heap_tuples = table.seen;
        (*result).index_tuples = built.rows as f64;
        result
    }
}

/// How the values of a new index become coordinates.
fn sketch_of_build(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> Result<Sketch> {
    let dims = dimensions::of_build(heap, index, info)?;
    Ok(match opclass::indexed(index)?.0 {
        Indexed::Sparse => Sketch::of_sparse(dims, random_seed()?),
        Indexed::Vectors | Indexed::Halves => Sketch::of_tokens(dims, random_seed()?)?,
        _ => Sketch::none(dims),
    })
}

/// Writes the init fork of an unlogged index: an index without rows.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    let store = MemoryStore::new();
    // The index itself has been built before.
    build_options(index, || directory_cache::sketch(index))
        .and_then(|options| build_empty(&store, &options))
        .and_then(|()| write_init_fork(index, &store))
        .or_raise();
}

/// `ambuildphasename`.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(number: i64) -> *mut c_char {
    Phase::name(number).map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut())
}

/// What an index is to be made of, by its options and `sketch`.
fn build_options(index: pg_sys::Relation, sketch: impl FnOnce() -> Result<Sketch>) -> Result<Options> {
    let options = IndexOptions::of(index);
    pgvector::check_options(options.foreign)?;
    // This comes first, because its errors are about the columns.
    let columns = FilterColumns::of(index)?;
    columns.check(index)?;
    let columns = columns.layout()?;
    // SAFETY: reading a setting (kB).
    let memory = unsafe { pg_sys::maintenance_work_mem } as usize * 1024;
    let metric = opclass::indexed(index)?.1;
    let codes = [("bits", options.bits.is_some()), ("code_dimensions", options.code_dimensions > 0)];
    if let Some((name, _)) = codes.iter().find(|(_, is_set)| *is_set).filter(|_| metric.is_of_bits()) {
        let message = format!("option \"{name}\" is not for indexes over bit strings");
        return Err(Error::new(Kind::InvalidParameter, message)
            .with_hint("Such an index keeps the bits themselves: leave the option out."));
    }
    if options.bits == Some(1) && options.code_dimensions > 0 {
        let message = "option \"code_dimensions\" needs more than one bit per dimension";
        return Err(Error::new(Kind::InvalidParameter, message)
            .with_hint("Leave the option out, or set bits to 4 or 8."));
    }
    let sketch = sketch()?;
    Ok(Options {
        dims: sketch.size,
        metric,
        lists: options.lists as u32,
        bits: options.bits.unwrap_or(DEFAULT_BITS),
        code_dims: options.code_dimensions as u32,
        seed: random_seed()?,
        memory,
        columns,
        sketch: sketch.of(),
    })
}

/// A seed that nobody can guess.
pub fn random_seed() -> Result<u64> {
    let mut seed = 0u64;
    // SAFETY: pg_strong_random fills the eight bytes.
    if unsafe { pg_sys::pg_strong_random((&raw mut seed).cast::<c_void>(), size_of::<u64>()) } {
        return Ok(seed);
    }
    Err(Error::new(Kind::Internal, "could not generate a random seed"))
}

/// Progress in `pg_stat_progress_create_index`, at most ten times a second.
pub struct Shown {
    last: Cell<Instant>,
    /// Whether the command itself was made known by this, and ends with it.
    command: bool,
}

const INTERVAL: Duration = Duration::from_millis(100);

impl Shown {
    fn new() -> Self {
        Self { last: Cell::new(Instant::now()), command: false }
    }

    /// Progress of work on an index that is no command of the server: it is shown until this is dropped.
    pub fn of(index: pg_sys::Relation, table: pg_sys::Relation) -> Self {
        // SAFETY: the relations are open. What is shown ends with the transaction at the latest.
        unsafe {
            let command = pg_sys::ProgressCommandType::PROGRESS_COMMAND_CREATE_INDEX;
            pg_sys::pgstat_progress_start_command(command, (*table).rd_id);
            show(pg_sys::PROGRESS_CREATEIDX_INDEX_OID.to_u32(), i64::from((*index).rd_id.to_u32()));
        }
        Self { last: Cell::new(Instant::now()), command: true }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.command && !std::thread::panicking() {
            // SAFETY: ends what was begun; an error's abort does so itself.
            unsafe { pg_sys::pgstat_progress_end_command() };
        }
    }
}

fn show(parameter: u32, value: i64) {
    // SAFETY: the parameters are those of CREATE INDEX (commands/progress.h).
    unsafe { pg_sys::pgstat_progress_update_param(parameter as i32, value) };
}

impl Progress for Shown {
    fn phase(&self, phase: Phase) {
        show(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, phase as i64);
        show(pg_sys::PROGRESS_CREATEIDX_TUPLES_TOTAL, 0);
        show(pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE, 0);
    }

    fn total(&self, total: u64) {
        show(pg_sys::PROGRESS_CREATEIDX_TUPLES_TOTAL, total as i64);
    }

    fn done(&self, done: u64) {
        if self.last.get().elapsed() >= INTERVAL {
            self.last.set(Instant::now());
            show(pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE, done as i64);
        }
    }

    fn tick(&self) -> Result<()> {
        pgrx::check_for_interrupts!();
        allocator::check();
        Ok(())
    }
}

/// A temporary file of this transaction. It counts towards `temp_file_limit`, and is removed at the end of
/// the transaction.
#[derive(Default)]
pub(super) struct TempFile {
    file: Option<*mut pg_sys::BufFile>,
    length: u64,
}

impl Spool for TempFile {
    fn write(&mut self, bytes: &[u8]) -> Result<u64> {
        let file = match self.file {
            Some(file) => file,
            // SAFETY: creates a file that the transaction's end removes.
            None => *self.file.insert(unsafe { pg_sys::BufFileCreateTemp(false) }),
        };
        let at = self.length;
        // SAFETY: the file is open; the buffer has that many bytes. BufFileWrite raises on failure.
        unsafe {
            pg_sys::BufFileSeek(file, 0, at as i64, libc::SEEK_SET);
            pg_sys::BufFileWrite(file, bytes.as_ptr().cast_mut().cast(), bytes.len());
        }
        self.length += bytes.len() as u64;
        Ok(at)
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        let read = match self.file {
            // SAFETY: the file is open; the buffer has that many bytes.
            Some(file) => unsafe {
                pg_sys::BufFileSeek(file, 0, offset as i64, libc::SEEK_SET);
                pg_sys::BufFileRead(file, out.as_mut_ptr().cast(), out.len())
            },
            None => 0,
        };
        if read == out.len() {
            return Ok(());
        }
        Err(Error::new(Kind::Internal, "a temporary file of the index build ended early"))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(file) = self.file
            && !std::thread::panicking()
        {
            // SAFETY: the file was opened here and is closed once.
            unsafe { pg_sys::BufFileClose(file) };
        }
    }
}
