//! Finds the nearest neighbours of several queries at once, from the stored codes of all lists.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::{Candidate, Router, Scanner, Sink};
use crate::ivf::top_k::TopK;
use crate::memory::{self, Grow};
use crate::page::Store;
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
const COORDINATE_BYTES: usize = 16;
/// Number of lists that each query reads before that, the best ones. They hold most of its neighbours, and so
/// give a threshold that excludes nearly all rows of the other lists.
const FIRST: u32 = 16;
/// Width of the bounds during a calibration, in standard deviations: the width of the target .9. Neighbours
/// are ordered by estimates, so a wider bound would only read more records.
const WIDTH: Width = Width { deviations: 2.0, sound: false };

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

    /// Looks in all lists for this number of neighbours of each point, and calls `found` with the lists that
    /// hold them.
    pub(super) fn read(
        &mut self,
        points: &[f32],
        neighbours: usize,
        progress: &dyn Progress,
        found: &mut dyn FnMut(&Router, &mut dyn Iterator<Item = u32>) -> Result<()>,
    ) -> Result<()> {
        let Self { store, directory, scanner, queries } = self;
        let (padded, all) = (directory.padded(), directory.lists());
        let mut reader = Reader { store: *store, directory, scanner };
        for points in points.chunks(TOGETHER * padded) {
            let points = points.chunks_exact(padded);
            queries.resize_with(points.len(), || Query::new(directory));
            for (query, point) in queries.iter_mut().zip(points) {
                query.start(&mut reader, point, neighbours, all)?;
            }
            for list in 0..all {
                for query in &mut *queries {
                    query.rest(&mut reader, list)?;
                }
                progress.tick()?;
            }
            for query in &mut *queries {
                let mut lists = query.nearest.drain().map(|row| row.list);
                found(&query.router, &mut lists)?;
            }
        }
        Ok(())
    }
}

/// Memory of a query of a batch, in bytes.
pub(super) fn of_query(directory: &Directory) -> usize {
    COORDINATE_BYTES * directory.padded()
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
    pub(super) nearest: TopK<Neighbour>,
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
            nearest: TopK::new(0),
            scores: Vec::new(),
            ranks: Vec::new(),
        }
    }

    /// Takes a query and reads its best lists. This gives a threshold by which most rows of the other lists
    /// are excluded.
    pub(super) fn start<S: Store>(
        &mut self,
        reader: &mut Reader<'_, S>,
        point: &[f32],
        neighbours: usize,
        worth: u32,
    ) -> Result<()> {
        self.code.set(&reader.directory.codec, point);
        self.router.start(reader.directory, point)?;
        self.point.clear();
        self.point.try_extend(point)?;
        self.nearest.restart(neighbours);
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
        scanner.list(*store, directory, &self.code, (list, &terms, WIDTH), &mut self.nearest)
    }
}

/// A row, ordered by its estimated value, with its list. It is not ordered by its upper bound, because the
/// bounds of far lists are wider: neighbours would seem to lie in nearer lists than they do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    value: TotalF32,
    pub(super) list: u32,
}

/// The nearest rows by their estimates.
impl Sink for TopK<Neighbour> {
    fn threshold(&self) -> f32 {
        let farthest = self.greatest().filter(|_| self.is_full());
        farthest.map_or(f32::INFINITY, |row| row.value.0)
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        // With one bit there is only a lower bound. A row without bounds comes last.
        let value = match (candidate.lower, candidate.upper) {
            (f32::NEG_INFINITY, _) => f32::INFINITY,
            (lower, f32::INFINITY) => lower,
            (lower, upper) => (lower + upper) / 2.0,
        };
        Self::push(self, Neighbour { value: TotalF32(value), list });
    }
}
