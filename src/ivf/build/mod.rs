//! Building an index: sample, train, assign and code every row, write the lists in order, calibrate.
//!
//! The caller's thread does all input and output; the pool computes. Memory is bounded by
//! [`Options::memory`]: the sample shrinks to fit, and coded rows go to the spool when they do not.

mod copies;
mod model;
mod runs;
mod write;

use std::ffi::CStr;

use rayon::ThreadPool;

use self::copies::{CopyRecord, Placed};
use self::model::Model;
use self::runs::{Record, Runs};
use super::calibrate::{self, Choice, Copies, Queries};
use super::code::RowCode;
use crate::cluster::{Assigner, Second, parallel};
use crate::error::Result;
use crate::page::{Columns, Key, Store, Tid};
use crate::value::Metric;

/// What to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// Dimensions of every vector.
    pub dims: usize,
    /// What the index orders by.
    pub metric: Metric,
    /// Number of lists, or 0 to choose by the number of rows.
    pub lists: u32,
    /// Bits per dimension: 1, 4 or 8.
    pub bits: u8,
    /// Seed of every random choice.
    pub seed: u64,
    /// Bytes to stay within.
    pub memory: usize,
    /// The columns beside the vector.
    pub columns: Columns,
    /// The share of the rows to have copies in second lists; `None` to measure which is best.
    pub copies: Option<f32>,
}

/// Takes rows: address, vector, and the keys in the filter columns.
pub type RowSink<'a> = dyn FnMut(Tid, &[f32], &[Key]) -> Result<()> + 'a;

/// Where the rows come from.
pub trait Source {
    /// About how many rows there are.
    fn rows_hint(&self) -> u64;
    /// Gives up to `want` random rows in random order.
    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()>;
    /// Gives every row with its keys in the filter columns.
    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()>;
}

/// A temporary file.
pub trait Spool {
    /// Appends and returns where.
    fn write(&mut self, bytes: &[u8]) -> Result<u64>;
    /// Reads back.
    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<()>;
}

/// A step of the build as users see it. The numbers are those of `pg_stat_progress_create_index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Reading a sample of the table.
    Sampling = 2,
    /// k-means on the sample.
    Training = 3,
    /// Reading the table; assigning and coding rows.
    Assigning = 4,
    /// Writing the lists.
    Writing = 5,
    /// Measuring how many lists a recall target needs.
    Calibrating = 6,
}

impl Phase {
    /// The phase's name by number.
    pub fn name(number: i64) -> Option<&'static CStr> {
        Some(match number {
            1 => c"initializing",
            2 => c"sampling table",
            3 => c"performing k-means",
            4 => c"assigning tuples",
            5 => c"writing lists",
            6 => c"calibrating recall",
            _ => return None,
        })
    }
}

/// How the build tells where it is, and how it is stopped.
pub trait Progress {
    /// A phase begins.
    fn phase(&self, _phase: Phase) {}
    /// Units of work of the phase.
    fn total(&self, _total: u64) {}
    /// Units done.
    fn done(&self, _done: u64) {}
    /// Called often; an error or unwinding ends the build.
    fn tick(&self) -> Result<()>;
}

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Rows in the index.
    pub rows: u64,
}

/// Builds an index in an empty store.
///
/// # Errors
/// Those of the source, the store, the spool and [`Progress::tick`]; the store's contents are then void.
pub fn build<S: Store>(
    store: &S,
    options: &Options,
    source: &mut dyn Source,
    spool: &mut dyn Spool,
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Built> {
    write::reserve_meta(store, options)?;
    let mut model = model::train(options, source, pool, progress)?;
    progress.phase(Phase::Assigning);
    progress.total(source.rows_hint());
    let mut coder = Coder::new(&model, options, pool, spool, progress);
    source.scan(&mut |tid, vector, keys| coder.push(tid, vector, keys))?;
    let Coded { runs, copies, rows, radii } = coder.finish()?;
    for (entry, radius) in model.entries.iter_mut().zip(radii) {
        entry.radius = if radius.is_finite() { radius } else { 0.0 };
    }
    progress.phase(Phase::Writing);
    let meta = write::index(store, &mut model, runs, spool, progress)?;
    progress.phase(Phase::Calibrating);
    let copies = copies.sort();
    let shape = CopyRecord::new(&model.directory);
    let none = Choice { share: 0.0, limit: 0.0 };
    let first = options.copies.is_none().then_some(none);
    let mut choices: Vec<Choice> = first.into_iter().chain(model.choices.iter().copied()).collect();
    if choices.is_empty() {
        choices.push(none);
    }
    let mut each = |f: &mut dyn FnMut(Tid, Second)| shape.each(&copies, model.entries.len(), spool, f);
    let choices = Copies { choices: &choices, each: &mut each };
    let meta = calibrate::calibrate(store, meta, (&model.queries, Queries::Rows), choices, progress)?;
    if meta.copy_limit > 0.0 {
        shape.write(store, &meta, &model.entries, &copies, spool, progress)?;
    }
    write::finish(store, &meta)?;
    Ok(Built { rows })
}

/// Builds an index without rows: one list.
///
/// # Errors
/// Those of the store.
pub fn build_empty<S: Store>(store: &S, options: &Options) -> Result<()> {
    write::reserve_meta(store, options)?;
    let mut model = model::untrained(options)?;
    let meta = write::index(store, &mut model, Runs::empty(1), &mut NoSpool, &Silent)?;
    write::finish(store, &meta)
}

struct NoSpool;

impl Spool for NoSpool {
    fn write(&mut self, _: &[u8]) -> Result<u64> {
        Ok(0)
    }
    fn read(&mut self, _: u64, _: &mut [u8]) -> Result<()> {
        Ok(())
    }
}

/// Progress that nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn tick(&self) -> Result<()> {
        Ok(())
    }
}

/// Collects rows into batches, assigns and codes them.
struct Coder<'a> {
    model: &'a Model,
    assigner: Option<Assigner>,
    pool: &'a ThreadPool,
    spool: &'a mut dyn Spool,
    progress: &'a dyn Progress,
    runs: Runs,
    copies: Runs,
    shape: CopyRecord,
    placed: Placed,
    batch: usize,
    tids: Vec<Tid>,
    vectors: Vec<f32>,
    /// A row's keys after the other.
    keys: Vec<Key>,
    unit: Vec<f32>,
    lists: Vec<(u32, Second)>,
    records: Vec<u8>,
    radii: Vec<(f64, u64)>,
    rows: u64,
    seen: u64,
}

impl<'a> Coder<'a> {
    fn new(
        model: &'a Model,
        options: &Options,
        pool: &'a ThreadPool,
        spool: &'a mut dyn Spool,
        progress: &'a dyn Progress,
    ) -> Self {
        const BATCH_BYTES: usize = 8 << 20;
        let lists = model.entries.len();
        let shape = CopyRecord::new(&model.directory);
        let memory = if model.choices.is_empty() { options.memory / 2 } else { options.memory / 8 * 3 };
        Self {
            assigner: (lists > 1).then(|| Assigner::new(&model.means, options.dims)),
            pool,
            spool,
            progress,
            runs: Runs::new(lists, Record::size(&model.directory), memory),
            copies: Runs::new(lists, shape.size(), options.memory / 8),
            placed: Placed::new(lists),
            shape,
            batch: (BATCH_BYTES.min(options.memory / 8) / (4 * options.dims)).clamp(32, 4096),
            tids: Vec::new(),
            vectors: Vec::new(),
            keys: Vec::new(),
            unit: vec![0.0; options.dims],
            lists: Vec::new(),
            records: Vec::new(),
            radii: vec![(0.0, 0); lists],
            rows: 0,
            seen: 0,
            model,
        }
    }

    fn push(&mut self, tid: Tid, vector: &[f32], keys: &[Key]) -> Result<()> {
        self.seen += 1;
        if self.model.directory.metric() == Metric::Cosine {
            if !super::code::normalize(vector, &mut self.unit) {
                return Ok(());
            }
            self.vectors.extend_from_slice(&self.unit);
        } else {
            self.vectors.extend_from_slice(vector);
        }
        self.keys.extend_from_slice(keys);
        self.tids.push(tid);
        if self.tids.len() >= self.batch { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.progress.tick()?;
        self.progress.done(self.seen);
        if self.tids.is_empty() {
            return Ok(());
        }
        let dims = self.unit.len();
        self.lists.clear();
        self.lists.resize(self.tids.len(), (0, Second::default()));
        if let Some(assigner) = &self.assigner {
            let progress = self.progress;
            assigner.assign_two(&self.vectors, &mut self.lists, self.pool, &|_, _| progress.tick())?;
        }
        let directory = &self.model.directory;
        let size = Record::size(directory);
        // A row's record is followed by that of its copy, if it may be given one.
        let limit = self.model.choices.last().map_or(0.0, |c| c.limit);
        let shape = &self.shape;
        let both = size + if limit > 0.0 { shape.size() } else { 0 };
        self.records.clear();
        self.records.resize(self.tids.len() * both, 0);
        let (tids, vectors, lists, keys) = (&self.tids, &self.vectors, &self.lists, &self.keys);
        let columns = directory.meta.columns.widths().len();
        parallel::for_each_record(
            self.pool,
            &mut self.records,
            both,
            || RowCode::new(directory),
            |code, i, out| {
                let (out, copy) = out.split_at_mut(size);
                let (list, second) = lists[i];
                let keys = &keys[i * columns..][..columns];
                code.encode_unit(directory, &vectors[i * dims..][..dims], list);
                Record::write(out, directory, tids[i], code, keys);
                if second.loss <= limit {
                    code.encode_copy(directory, second.list);
                    shape.put(copy, (tids[i], list, second.loss), code, keys);
                }
            },
        );
        self.progress.tick()?;
        for (record, (_, second)) in self.records.chunks_exact_mut(both).zip(&self.lists) {
            let (record, copy) = record.split_at_mut(size);
            let (list, residual) = Record::list(record);
            let radius = &mut self.radii[list as usize];
            if residual.is_finite() {
                *radius = (radius.0 + f64::from(residual), radius.1 + 1);
            }
            let place = self.placed.next(list);
            self.runs.push(record);
            if second.loss <= limit {
                CopyRecord::place(copy, place);
                self.copies.push(copy);
            }
        }
        self.rows += self.tids.len() as u64;
        self.runs.settle(self.spool)?;
        self.copies.settle(self.spool)?;
        self.tids.clear();
        self.vectors.clear();
        self.keys.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Coded> {
        self.flush()?;
        let radii = self.radii.iter().map(|&(sum, n)| (sum / n.max(1) as f64).sqrt() as f32).collect();
        Ok(Coded { runs: self.runs, copies: self.copies, rows: self.rows, radii })
    }
}

/// What the coder leaves.
struct Coded {
    runs: Runs,
    copies: Runs,
    rows: u64,
    radii: Vec<f32>,
}
