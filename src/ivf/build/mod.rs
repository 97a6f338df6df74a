//! Building an index: sample, train, assign and code every row, write the lists in order, calibrate.
//!
//! The caller's thread does all input and output. The pool computes: it works on rows that were read while
//! the caller reads the next ones. Memory is bounded by [`Options::memory`]: the sample is made small enough,
//! and coded rows that do not fit are written to the spool.

mod input;
mod leading;
pub(super) mod model;
mod runs;
pub(super) mod write;

use std::sync::Arc;

use rayon::ThreadPool;

pub use self::input::{Chosen, Options, OriginalSink, RowSink, Source, Spool};
pub use self::model::MAX_LISTS;
use self::model::Model;
use self::runs::Record;
pub use self::runs::{Runs, Sorted};
use super::calibrate::{self, Queries};
use super::code::{Centres, RowCode};
use super::directory::Directory;
use super::elements::write_elements;
use super::progress::{Phase, Progress, Silent};
use super::sketch::Sketched;
use crate::error::Result;
use crate::kmeans::parallel::{StopSignal, Task};
use crate::kmeans::{Assigner, parallel};
use crate::memory::{self, Grow};
use crate::page::{Key, Store, Tid};
use crate::value::Metric;

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Rows in the index.
    pub rows: u64,
}

/// Builds an index in an empty store.
///
/// # Errors
/// Those of the source, the store, the spool and [`Progress::tick`]. After an error the store has no valid
/// contents.
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
    let routing = Routing::by_means(&model)?;
    let mut coder = Coder::new((Arc::clone(&model.directory), routing), options, pool, spool, progress)?;
    source.scan(&mut |tid, value, keys| coder.push(tid, value, keys))?;
    let (runs, rows, radii) = coder.finish()?;
    for (entry, radius) in model.entries.iter_mut().zip(radii) {
        entry.radius = if radius.is_finite() { radius } else { 0.0 };
    }
    progress.phase(Phase::Writing);
    let meta = write::index(store, &mut model, runs, spool, progress)?;
    progress.phase(Phase::Calibrating);
    let meta = calibrate::calibrate(store, meta, &model.queries, Queries::Rows, progress)?;
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
    let meta = write::index(store, &mut model, Runs::empty(1)?, &mut NoSpool, &Silent)?;
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

/// How rows find their lists.
pub enum Routing {
    /// There is one.
    One,
    /// By the means in the space of the vectors.
    Means(Box<Assigner>),
    /// As inserts find them, where the means are not known.
    Directory,
}

impl Routing {
    /// By the means that a model was made of.
    ///
    /// # Errors
    /// Out of memory.
    pub fn by_means(model: &Model) -> Result<Self> {
        if model.entries.len() == 1 {
            return Ok(Self::One);
        }
        Ok(Self::Means(Box::new(Assigner::new(&model.means, model.directory.dims())?)))
    }
}

/// What the pool needs to assign and code rows.
struct Encoder {
    routing: Routing,
    centres: Centres,
    directory: Arc<Directory>,
}

/// Rows that are assigned and coded together.
#[derive(Default)]
struct Batch {
    tids: Vec<Tid>,
    vectors: Vec<f32>,
    /// The elements of the extended records, if they have such.
    elements: Vec<u8>,
    /// The keys of all rows, one row after the other.
    keys: Vec<Key>,
    lists: Vec<u32>,
    records: Vec<u8>,
}

impl Batch {
    /// Makes the records.
    fn encode(&mut self, encoder: &Encoder, wanted: &StopSignal) -> Result<()> {
        let Encoder { routing, centres, directory } = encoder;
        let dims = directory.dims();
        self.lists.clear();
        self.lists.try_resize(self.tids.len(), 0)?;
        if let Routing::Means(assigner) = routing {
            assigner.assign_here(&self.vectors, &mut self.lists, &|_, _| wanted.check())?;
        }
        let size = Record::size(directory);
        self.records.clear();
        self.records.try_resize(self.tids.len() * size, 0)?;
        let Self { tids, vectors, elements, keys, lists, records } = self;
        let of_elements = elements.len() / tids.len().max(1);
        let columns = directory.meta.columns.widths().len();
        parallel::for_each_record(
            records,
            size,
            || RowCode::new(directory),
            |code, i, out| {
                let vector = &vectors[i * dims..][..dims];
                match routing {
                    // Rows without a code are left out before.
                    Routing::Directory => _ = code.encode_vector(directory, vector),
                    Routing::One | Routing::Means(_) => {
                        code.encode_unit(directory, vector, lists[i], centres);
                    }
                }
                if of_elements > 0 {
                    code.extended.copy_from_slice(&elements[i * of_elements..][..of_elements]);
                }
                Record::write(out, directory, tids[i], code, &keys[i * columns..][..columns]);
            },
        )?;
        wanted.check()
    }

    fn clear(&mut self) {
        self.tids.clear();
        self.vectors.clear();
        self.elements.clear();
        self.keys.clear();
    }
}

/// Collects rows into batches, which the pool assigns and codes: one while the next one is being read.
pub struct Coder<'a> {
    encoder: Arc<Encoder>,
    pool: &'a ThreadPool,
    spool: &'a mut dyn Spool,
    progress: &'a dyn Progress,
    runs: Runs,
    /// Rows of a full batch.
    full: usize,
    filling: Batch,
    coding: Option<Task<Batch>>,
    /// Memory for the next batch.
    spare: Batch,
    unit: Vec<f32>,
    radii: Vec<(f64, u64)>,
    rows: u64,
    seen: u64,
}

impl<'a> Coder<'a> {
    /// Codes rows for the lists of a directory.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        (directory, routing): (Arc<Directory>, Routing),
        options: &Options,
        pool: &'a ThreadPool,
        spool: &'a mut dyn Spool,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        const BATCH_BYTES: usize = 8 << 20;
        let lists = directory.lists() as usize;
        let of_elements = if directory.codec.has_elements() { directory.codec.extended_size() } else { 0 };
        let of_row = 4 * options.dims + of_elements;
        Ok(Self {
            runs: Runs::new(lists, Record::size(&directory), options.memory / 2)?,
            encoder: Arc::new(Encoder { routing, centres: Centres::new(&directory)?, directory }),
            pool,
            spool,
            progress,
            full: (BATCH_BYTES.min(options.memory / 16) / of_row).clamp(32, 4096),
            filling: Batch::default(),
            coding: None,
            spare: Batch::default(),
            unit: vec![0.0; options.dims],
            radii: memory::filled((0.0, 0), lists)?,
            rows: 0,
            seen: 0,
        })
    }

    /// Takes a row.
    ///
    /// # Errors
    /// Out of memory, and those of the spool and [`Progress::tick`].
    pub fn push(&mut self, tid: Tid, value: Sketched<'_>, keys: &[Key]) -> Result<()> {
        self.seen += 1;
        let (batch, directory, vector) = (&mut self.filling, &self.encoder.directory, value.coordinates);
        if directory.metric() == Metric::Cosine {
            if !super::code::normalize(vector, &mut self.unit) {
                return Ok(());
            }
            batch.vectors.try_extend(&self.unit)?;
        } else {
            batch.vectors.try_extend(vector)?;
        }
        if directory.codec.has_elements() {
            let before = batch.elements.len();
            batch.elements.try_resize(before + directory.codec.extended_size(), 0)?;
            write_elements(directory, value, &mut batch.elements[before..])?;
        }
        batch.keys.try_extend(keys)?;
        batch.tids.try_push(tid)?;
        if batch.tids.len() >= self.full { self.flush() } else { Ok(()) }
    }

    /// Gives the collected rows to the pool, and stores the codes of the batch before.
    fn flush(&mut self) -> Result<()> {
        self.progress.tick()?;
        self.progress.done(self.seen);
        let coded = self.coded()?;
        let mut batch = std::mem::replace(&mut self.filling, std::mem::take(&mut self.spare));
        let encoder = Arc::clone(&self.encoder);
        self.coding = Some(parallel::start(self.pool, move |wanted| {
            batch.encode(&encoder, wanted)?;
            Ok(batch)
        }));
        self.keep(coded)?;
        if self.pool.current_num_threads() == 1 {
            // With a pool of one thread, this thread waits: only one thread may work at a time.
            let coded = self.coded()?;
            self.keep(coded)?;
        }
        Ok(())
    }

    /// Waits for the batch in the pool.
    fn coded(&mut self) -> Result<Option<Batch>> {
        let progress = self.progress;
        self.coding.take().map(|task| task.wait(&|| progress.tick())).transpose()
    }

    fn keep(&mut self, coded: Option<Batch>) -> Result<()> {
        let Some(mut batch) = coded else { return Ok(()) };
        for record in batch.records.chunks_exact(Record::size(&self.encoder.directory)) {
            let (list, residual) = Record::list(record);
            let radius = &mut self.radii[list as usize];
            if residual.is_finite() {
                *radius = (radius.0 + f64::from(residual), radius.1 + 1);
            }
        }
        self.rows += batch.tids.len() as u64;
        self.runs.add(&batch.records, self.spool)?;
        batch.clear();
        self.spare = batch;
        Ok(())
    }

    /// The coded rows, how many there are, and the radii of the lists.
    ///
    /// # Errors
    /// As [`Coder::push`].
    pub fn finish(mut self) -> Result<(Runs, u64, Vec<f32>)> {
        self.flush()?;
        let last = self.coded()?;
        self.keep(last)?;
        let radius = |&(sum, n): &(f64, u64)| (sum / n.max(1) as f64).sqrt() as f32;
        let radii = memory::collected(self.radii.iter().map(radius))?;
        Ok((self.runs, self.rows, radii))
    }
}
