//! The nearest neighbours of some queries at once, by the stored codes of all lists.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::{Candidate, Router, Scanner, Sink};
use crate::memory::{self, Grow};
use crate::page::Store;
use crate::quant::{QueryCode, Width};
use crate::value::TotalF32;

/// With fewer queries the index is not calibrated, and scans read every list.
pub const LEAST_QUERIES: usize = 50;
/// Queries of a build, if its sample has that many rows. With so many, recall differs from the target by at
/// most a hundredth.
pub const QUERIES: std::ops::RangeInclusive<usize> = 500..=1200;
/// Queries that read the lists together.
pub(super) const TOGETHER: usize = 16;
/// Bytes that a query keeps of each coordinate: the point, its codes and tables.
const COORDINATE_BYTES: usize = 16;
/// Lists that each query reads alone before that, the best first.
const FIRST: u32 = 16;
/// Width of the bounds while calibrating, in standard deviations.
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
                let mut lists = query.nearest.rows.drain().map(|row| row.list);
                found(&query.router, &mut lists)?;
            }
        }
        Ok(())
    }
}

/// Bytes that a query of a batch keeps of the coordinates.
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
    /// Whether each list is still to be read.
    left: Vec<bool>,
    pub(super) nearest: NearestEstimates,
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
            nearest: NearestEstimates { wanted: 0, rows: BinaryHeap::new() },
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
        self.nearest.wanted = neighbours;
        self.nearest.rows.clear();
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

/// A row by its estimated value, with its list. Bounds of far lists are wider: ordered by upper bounds,
/// neighbours seemed to lie in nearer lists than they do.
#[derive(Clone, Copy)]
pub(super) struct Neighbour {
    value: f32,
    pub(super) list: u32,
}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> Ordering {
        TotalF32(self.value).cmp(&TotalF32(other.value)).then(self.list.cmp(&other.list))
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbour {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Neighbour {}

/// The nearest rows by their estimates.
pub(super) struct NearestEstimates {
    wanted: usize,
    pub(super) rows: BinaryHeap<Neighbour>,
}

impl Sink for NearestEstimates {
    fn threshold(&self) -> f32 {
        if self.rows.len() < self.wanted {
            return f32::INFINITY;
        }
        self.rows.peek().map_or(f32::INFINITY, |r| r.value)
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        // With one bit there is only a lower bound. A row without bounds comes last.
        let value = match (candidate.lower, candidate.upper) {
            (f32::NEG_INFINITY, _) => f32::INFINITY,
            (lower, f32::INFINITY) => lower,
            (lower, upper) => (lower + upper) / 2.0,
        };
        let row = Neighbour { value, list };
        if self.rows.len() < self.wanted {
            self.rows.push(row);
        } else if let Some(mut farthest) = self.rows.peek_mut()
            && row < *farthest
        {
            *farthest = row;
        }
    }
}
