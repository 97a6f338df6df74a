//! The nearest rows of many queries at once.
//!
//! A scan reads about thirty lists, and most of its time goes into pinning, locking and loading their pages.
//! Here each list is read once for all queries of a batch that want it: its pages are copied, and each query
//! compares its codes on the copies while they are in the processor's cache (`copies.rs`). Then the table is
//! read once for each row that any query needs, in the table's order (`measure.rs`).
//!
//! A query reads the lists that the first round of a scan reads, and its candidates are the same
//! (`query.rs`). If that does not give all of its rows, because rows are dead or a bound was wrong, an
//! ordinary scan answers it. So the result of each query is that of a scan with `LIMIT`.

mod copies;
mod frozen;
mod measure;
pub mod pairs;
mod query;

use std::rc::Rc;

use self::copies::{Copies, Pages};
use self::measure::Measuring;
pub use self::measure::{Table, WithVector};
use self::query::{Found, Query};
pub use super::super::list_chain::rows as rows_of_list;
use super::super::scan::{Directories, Scan};
use super::filter::Filter;
use super::list_scan::{Scanner, Stats};
use super::settings::Settings;
use super::stages::LEAST_WINDOW;
use crate::error::Result;
use crate::ivf::code::to_point;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory::{self, Grow};
use crate::page::{Store, Tid};
use crate::quant::ListTerms;
use crate::value::TotalF64;

/// The most queries of a batch. More would only take memory: with so many, each copy of a page serves about
/// as many queries as there can be.
const MOST: usize = 512;
/// Bytes of pages that are copied before the queries compare their codes. They fit the second-level cache.
const PAGES: usize = 1 << 20;
/// Lists that fewer queries want are read from the store: copies cost more than they save.
const FEW: usize = 3;
/// Candidates for which a query has room, as a multiple of its window. If there are more, a scan answers it.
const ROOM: usize = 64;

/// A query's neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Address of the version of the row that the snapshot sees.
    pub row: Tid,
    /// The operator's value.
    pub value: f64,
}

/// A list that is read for a query, which is named by its place in the batch.
#[derive(Clone, Copy)]
struct Read {
    list: u32,
    query: u32,
    terms: ListTerms,
}

/// What a batch reads and writes.
pub struct Surroundings<'a, S> {
    /// The index.
    pub store: &'a S,
    /// Its table.
    pub table: &'a mut dyn Table,
    /// Can end the work.
    pub progress: &'a dyn Progress,
}

/// A batch of queries; [`Batch::run`] answers them and empties it.
pub struct Batch {
    directories: Directories,
    settings: Settings,
    /// Rows that each query wants.
    wanted: usize,
    /// Memory for queries, of which the first `used` are in the batch.
    queries: Vec<Query>,
    used: usize,
    capacity: usize,
    scanner: Scanner,
    pages: Pages,
    /// Which lists are read for which queries.
    reads: Vec<Read>,
    measuring: Measuring,
    /// Answers queries that the batch cannot answer.
    scan: Option<Scan>,
    neighbours: Vec<Neighbour>,
    /// Memory for a query's form in the index.
    unit: Vec<f32>,
    point: Vec<f32>,
}

impl Batch {
    /// A batch that finds the nearest rows by the settings, whose limit is their number, in about `memory`
    /// bytes. With `but_itself`, one row of each query does not count.
    pub fn new(directories: Directories, settings: Settings, memory: usize, but_itself: bool) -> Self {
        let limit = settings.limit.unwrap_or(1).max(1);
        let wanted = limit as usize - usize::from(but_itself && limit > 1);
        let pages = PAGES.min(memory / 4);
        let of_query = Query::bytes(&directories.0, Self::room(settings));
        let capacity = ((memory - pages) / of_query).clamp(1, MOST);
        Self {
            directories,
            settings,
            wanted,
            queries: Vec::new(),
            used: 0,
            capacity,
            scanner: Scanner::default(),
            pages: Pages::new(pages),
            reads: Vec::new(),
            measuring: Measuring::default(),
            scan: None,
            neighbours: Vec::new(),
            unit: Vec::new(),
            point: Vec::new(),
        }
    }

    /// Candidates for which a query has room.
    fn room(settings: Settings) -> usize {
        let window = settings.limit.unwrap_or(1).max(LEAST_WINDOW);
        usize::try_from(window).unwrap_or(usize::MAX).saturating_mul(ROOM)
    }

    /// Whether the batch takes no more queries.
    pub fn is_full(&self) -> bool {
        self.used >= self.capacity
    }

    /// The number of neighbours of each query.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The number of queries that it takes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counters of all batches.
    pub fn stats(&self) -> Stats {
        let scans = self.scan.as_ref().map_or_else(Stats::default, Scan::stats);
        Stats { rows: self.measuring.rows, ..self.scanner.stats } + scans
    }

    /// The list that is nearest to a query; queries of one list read about the same lists.
    /// `None` if it has no neighbours.
    ///
    /// # Errors
    /// Out of memory.
    pub fn nearest_list(&mut self, vector: &[f32]) -> Result<Option<u32>> {
        let directory = &self.directories.0;
        self.unit.try_resize(directory.dims(), 0.0)?;
        self.point.try_resize(directory.padded(), 0.0)?;
        let has_neighbours = to_point(directory, vector, &mut self.unit, &mut self.point);
        Ok(has_neighbours.then(|| directory.nearest(&self.point)))
    }

    /// Adds a query, unless it has no neighbours (a zero vector under cosine). `number` is the caller's;
    /// `itself` is a row that does not count.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, number: u64, vector: &[f32], itself: Option<Tid>) -> Result<()> {
        let directory = &self.directories.0;
        if self.used == self.queries.len() {
            // A query allocates in small pieces.
            memory::room(Query::bytes(directory, Self::room(self.settings)))?;
            self.queries.try_push(Query::new(directory))?;
        }
        let query = &mut self.queries[self.used];
        if query.set(directory, vector)? {
            (query.number, query.itself) = (number, itself);
            self.used += 1;
        }
        Ok(())
    }

    /// Answers the queries in order, and forgets them. `found` gets each query's number and its neighbours,
    /// the nearest first.
    ///
    /// # Errors
    /// Damage, out of memory, and the errors of the store, the table and `found`.
    pub fn run<S: Store>(
        &mut self,
        around: &mut Surroundings<'_, S>,
        found: &mut dyn FnMut(u64, &[Neighbour]) -> Result<()>,
    ) -> Result<()> {
        let directory = Rc::clone(&self.directories.0);
        // While lists are replaced there are two sets of them.
        let together = self.directories.1.is_none();
        let room = Self::room(self.settings);
        let used = std::mem::take(&mut self.used);
        for query in &mut self.queries[..used] {
            around.progress.tick()?;
            query.plan(&directory, &self.settings, (self.wanted, room))?;
            query.incomplete |= !together;
        }
        while self.read_lists(&directory, used, around)? {}
        let queries = &mut self.queries[..used];
        queries.iter_mut().for_each(Query::finish);
        let (table, progress) = (&mut *around.table, around.progress);
        self.measuring.measure(&directory, (queries, self.wanted), table, progress)?;
        for at in 0..used {
            around.progress.tick()?;
            let query = &mut self.queries[at];
            self.neighbours.clear();
            if query.incomplete || query.lacks(&directory, &self.settings) {
                self.scan_for(at, around)?;
            } else {
                for Found { ready, version } in query.found.take_sorted() {
                    self.neighbours.try_push(Neighbour { row: version, value: ready.value.0 })?;
                }
            }
            found(self.queries[at].number, &self.neighbours)?;
        }
        Ok(())
    }

    /// Reads the next lists of all queries, each list once. Returns false if there are none.
    fn read_lists<S: Store>(
        &mut self,
        directory: &Directory,
        used: usize,
        around: &mut Surroundings<'_, S>,
    ) -> Result<bool> {
        let reads = &mut self.reads;
        reads.clear();
        let queries = &mut self.queries[..used];
        for (at, query) in (0..).zip(&mut *queries) {
            query.next_lists(directory, &self.settings, |list, terms| {
                reads.try_push(Read { list, query: at, terms })
            })?;
        }
        reads.sort_unstable_by_key(|read| (read.list, read.query));
        let lists = || reads.chunk_by(|a, b| a.list == b.list);
        for reads in lists() {
            let (head, pages) = directory.head(reads[0].list);
            around.store.prefetch_pages(head, pages);
        }
        for reads in lists() {
            around.progress.tick()?;
            self.pages.clear();
            let copies = Copies::new(around.store, &mut self.pages);
            for (at, &Read { list, query, terms }) in reads.iter().enumerate() {
                if let Some(next) = reads.get(at + 1) {
                    queries[next.query as usize].prefetch();
                }
                let (query, list) = (&mut queries[query as usize], (list, terms));
                if reads.len() < FEW {
                    query.read_list((around.store, directory), &mut self.scanner, list)?;
                } else {
                    query.read_list((&copies, directory), &mut self.scanner, list)?;
                }
            }
        }
        around.store.end_prefetch();
        Ok(!self.reads.is_empty())
    }

    /// Answers a query by an ordinary scan.
    fn scan_for<S: Store>(&mut self, at: usize, around: &mut Surroundings<'_, S>) -> Result<()> {
        let (directories, settings) = (&self.directories, self.settings);
        let scan = self.scan.get_or_insert_with(|| Scan::new(directories.clone(), settings));
        let Query { vector, itself, .. } = &self.queries[at];
        scan.start_filtered(settings, Some(vector), Filter::default());
        while self.neighbours.len() < self.wanted {
            let next = scan.next(around.store, &mut *around.table.rows(vector))?;
            let Some((row, value)) = next else { break };
            if Some(row) != *itself
                && let Some(row) = around.table.version(row)?
            {
                self.neighbours.try_push(Neighbour { row, value })?;
            }
        }
        // A relaxed scan may return a row late.
        self.neighbours.sort_unstable_by_key(|found| (TotalF64(found.value), found.row));
        Ok(())
    }
}
