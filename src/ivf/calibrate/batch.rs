//! Finds the nearest neighbours of several queries at once, from the stored codes of all lists.

use crate::error::Result;
use crate::ivf::deviation::Noise;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::{Candidate, NEAREST, Router, Scanner, Sink, dither};
use crate::ivf::top_k::TopK;
use crate::memory::{self, Grow, out_of_memory};
use crate::page::Store;
use crate::quant::elements::QueryElements;
use crate::quant::{QueryCode, Width};
use crate::value::TotalF32;

/// With fewer queries the index is not calibrated, and scans probe every list. (With ten neighbours of each
/// of 50 queries, a recall of .95 is known within about a hundredth.)
pub const LEAST_QUERIES: usize = 50;
/// Queries of a build, if its sample has that many rows. With so many, recall differs from the target by at
/// most a hundredth.
pub const QUERIES: std::ops::RangeInclusive<usize> = 500..=1200;
/// Number of queries that read the lists together, so that a list's pages are loaded from memory once for all
/// of them. Their tables and candidates still fit in the processor's second-level cache.
pub(super) const TOGETHER: usize = 16;
/// Memory of a query for each coordinate, in bytes: the point, its codes and tables.
const COORDINATE_BYTES: usize = 24;
/// Number of lists that each query reads before that, the best ones. They hold most of its neighbours, and so
/// give a threshold that excludes nearly all rows of the other lists.
const FIRST: u32 = 16;
/// Width of the bounds during a calibration, in standard deviations: the width of the target .9. Neighbours
/// are ordered by estimates, so a wider bound would only read more records.
const WIDTH: Width = Width { deviations: 2.0, sound: false };
/// A query's trail has the rows that were among so many nearest when they were read: ten, and the query
/// itself.
const CLOSE: usize = NEAREST + 1;

/// Queries that read all lists together.
pub(super) struct Batch<'a, S> {
    store: &'a S,
    directory: &'a Directory,
    scanner: Scanner,
    queries: Vec<Query>,
}

impl<'a, S: Store> Batch<'a, S> {
    /// Has read nothing so far.
    pub(super) fn new(store: &'a S, directory: &'a Directory) -> Result<Self> {
        memory::room(TOGETHER * of_query(directory))?;
        Ok(Self { store, directory, scanner: Scanner::default(), queries: Vec::new() })
    }

    /// Looks in all lists for this number of neighbours of each point, and calls `found` with each query.
    pub(super) fn read(
        &mut self,
        points: &[f32],
        neighbours: usize,
        progress: &dyn Progress,
        found: &mut dyn FnMut(&mut Query) -> Result<()>,
    ) -> Result<()> {
        let Self { store, directory, scanner, queries } = self;
        let (padded, all) = (directory.padded(), directory.lists());
        let mut reader = Reader { store: *store, directory, scanner };
        for points in points.chunks(TOGETHER * padded) {
            let points = points.chunks_exact(padded);
            queries.resize_with(points.len(), || Query::new(directory));
            for (query, point) in queries.iter_mut().zip(points) {
                query.start(&mut reader, (point, None), neighbours, all)?;
            }
            for list in 0..all {
                for query in &mut *queries {
                    query.rest(&mut reader, list)?;
                }
                progress.tick()?;
            }
            for query in &mut *queries {
                found(query)?;
            }
        }
        Ok(())
    }
}

/// Memory of a query of a batch, in bytes.
pub(super) fn of_query(directory: &Directory) -> usize {
    let of_elements = if directory.codec.has_elements() { QueryElements::SIZE } else { 0 };
    COORDINATE_BYTES * directory.padded() + of_elements
}

/// The index, and the memory for reading it.
pub(super) struct Reader<'a, S> {
    pub(super) store: &'a S,
    pub(super) directory: &'a Directory,
    pub(super) scanner: &'a mut Scanner,
}

pub(super) struct Query {
    code: QueryCode,
    pub(super) router: Router,
    point: Vec<f32>,
    /// For each list, whether it has not been read yet.
    left: Vec<bool>,
    pub(super) nearest: Nearest,
    /// The scores of all lists for one weight.
    pub(super) scores: Vec<f32>,
    /// The lists that hold neighbours, ascending and without duplicates, each with its rank in routing order.
    pub(super) ranks: Vec<(u32, u32)>,
}

impl Query {
    pub(super) fn new(directory: &Directory) -> Self {
        Self {
            code: QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]),
            router: Router::default(),
            point: Vec::new(),
            left: Vec::new(),
            nearest: Nearest::default(),
            scores: Vec::new(),
            ranks: Vec::new(),
        }
    }

    /// Takes a query, with its elements if they are known, and reads its best lists. This gives a threshold
    /// by which most rows of the other lists are excluded.
    pub(super) fn start<S: Store>(
        &mut self,
        reader: &mut Reader<'_, S>,
        (point, record): (&[f32], Option<&[u8]>),
        neighbours: usize,
        worth: u32,
    ) -> Result<()> {
        self.code.set(&reader.directory.codec, point);
        match record {
            Some(record) => reader.directory.set_record(&mut self.code, record)?,
            None => reader.directory.set_sketch(&mut self.code, point)?,
        }
        self.code.set_length(reader.directory.length(point));
        self.router.start(reader.directory, point)?;
        self.point.clear();
        self.point.try_extend(point)?;
        let noise = match record {
            Some(_) => Noise::default(),
            None => Noise::new(reader.directory, self.code.length(), dither(point).to_bits()),
        };
        self.nearest.restart(neighbours, noise);
        self.left.clear();
        self.left.try_resize(reader.directory.lists() as usize, false)?;
        self.scores.grow((reader.directory.lists() as usize).saturating_sub(self.scores.len()))?;
        for rank in 0..worth {
            let Some(list) = self.router.next_list() else { break };
            if rank < FIRST {
                self.read(reader, list)?;
            } else {
                self.left[list as usize] = true;
            }
        }
        Ok(())
    }

    /// Reads a list if it has not been read.
    pub(super) fn rest<S: Store>(&mut self, reader: &mut Reader<'_, S>, list: u32) -> Result<()> {
        if self.left[list as usize] { self.read(reader, list) } else { Ok(()) }
    }

    fn read<S: Store>(&mut self, reader: &mut Reader<'_, S>, list: u32) -> Result<()> {
        let Reader { store, directory, scanner } = reader;
        let (head, pages) = directory.head(list);
        store.prefetch_pages(head, pages);
        let terms = || self.router.terms(directory, list, &self.point);
        scanner.list(*store, directory, &self.code, (list, &terms, WIDTH), &mut self.nearest)?;
        self.nearest.missing.map_or(Ok(()), |bytes| Err(out_of_memory(bytes)))
    }
}

/// A row, ordered by its estimated value, with its list. It is not ordered by its upper bound, because the
/// bounds of far lists are wider: neighbours would seem to lie in nearer lists than they do.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    pub(super) value: TotalF32,
    pub(super) list: u32,
}

/// The nearest rows by their estimates.
#[derive(Default)]
pub(super) struct Nearest {
    top: TopK<Neighbour>,
    /// The values of the [`CLOSE`] nearest rows, and all rows that have been among them.
    close: TopK<TotalF32>,
    trail: Vec<Neighbour>,
    /// Number of bytes whose allocation failed.
    missing: Option<usize>,
    noise: Noise,
}

impl Nearest {
    fn restart(&mut self, wanted: usize, noise: Noise) {
        self.noise = noise;
        self.top.restart(wanted);
        self.trail.clear();
        self.close.restart(CLOSE);
        self.missing = None;
    }

    /// Removes all rows and returns them in no particular order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Neighbour> {
        self.top.drain()
    }

    /// Removes all rows and returns them in ascending order.
    pub(super) fn take_sorted(&mut self) -> Vec<Neighbour> {
        self.top.take_sorted()
    }

    /// The rows that were among the [`CLOSE`] nearest when they were read.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn trail(&self) -> Result<Vec<Neighbour>> {
        let mut rows = memory::with_capacity(self.trail.len())?;
        rows.extend(&self.trail);
        Ok(rows)
    }
}

impl Sink for Nearest {
    fn threshold(&self) -> f32 {
        let farthest = self.top.greatest().filter(|_| self.top.is_full());
        farthest.map_or(f32::INFINITY, |row| row.value.0)
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        let value = self.noise.applied(candidate.estimate(), candidate.tid);
        let row = Neighbour { value: TotalF32(value), list };
        if !self.close.is_full() || self.close.greatest().is_some_and(|greatest| row.value < *greatest) {
            self.close.push(row.value);
            let size = size_of_val(&*self.trail);
            self.missing = self.missing.or(self.trail.try_push(row).is_err().then_some(size));
        }
        self.top.push(row);
    }
}
