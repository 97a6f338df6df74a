//! The nearest rows of many queries at once.
//!
//! A scan reads about thirty lists, and most of its time goes into pinning, locking and loading their pages,
//! and into fetching rows. Here each list is read once for hundreds of queries, which threads compare with
//! its copy while that is in the processor's cache (`compare.rs`). Thousands of queries wait until their
//! candidates are known. Then rows that are queries are compared with each other, and the table is read once
//! for each other row that any query needs, in the table's order (`measure.rs`).
//!
//! A query reads the lists that the first round of a scan reads, and its candidates are the same
//! (`reader.rs`). If that does not give all of its rows, because rows are dead or a bound was wrong, an
//! ordinary scan answers it. So the result of each query is that of a scan with `LIMIT`.

pub mod ahead;
mod compare;
mod frozen;
mod in_range;
mod measure;
pub mod pairs;
mod query;
mod reader;
mod shares;
mod tour;

use std::ops::Range;
use std::rc::Rc;

use rayon::ThreadPool;

use self::compare::{Around, Comparing};
use self::measure::{Asked, Measuring};
pub use self::measure::{Table, WithVector};
pub use self::query::Itself;
use self::query::{Finding, Found, Query};
use self::reader::Reader;
pub use self::tour::tour;
pub use super::super::list_chain::rows as rows_of_list;
use super::super::scan::{Directories, Scan};
use super::filter::Filter;
use super::list_scan::Stats;
use super::settings::Settings;
use crate::error::Result;
use crate::ivf::code::{is_indexed, to_point};
use crate::ivf::progress::Progress;
use crate::memory::Grow;
use crate::page::{Store, Tid};
use crate::value::TotalF64;

/// The most queries that share copies of lists. More would only take memory: with so many, a copy serves
/// hundreds of queries.
const MOST: usize = 2048;
/// Bytes of pages that are copied before the queries are compared with them.
const PAGES: usize = 16 << 20;

/// A query's neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Address of the version of the row that the snapshot sees.
    pub row: Tid,
    /// The operator's value.
    pub value: f64,
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
    /// Those of the scan for a query that the batch cannot answer.
    of_scan: Settings,
    /// Rows that each query wants.
    wanted: usize,
    /// Memory for queries, of which the first `used` are in the batch, and for what is known of their rows.
    queries: Vec<Query>,
    findings: Vec<Finding>,
    used: usize,
    capacity: usize,
    /// Queries that are compared with lists together.
    together: usize,
    comparing: Comparing,
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
    /// bytes. With `but_itself` queries are rows, which do not count. The lists that a recall target needs
    /// were measured in the same way.
    pub fn new(directories: Directories, settings: Settings, memory: usize, but_itself: bool) -> Self {
        let limit = settings.limit.unwrap_or(1).max(1);
        let of_scan = Settings { limit: Some(limit + u64::from(but_itself)), ..settings };
        let wanted = limit as usize;
        let pages = PAGES.min(memory / 4);
        let rest = memory - pages;
        let of_reader = Reader::bytes(&directories.0, &settings);
        let together = (rest / 2 / of_reader).clamp(1, MOST);
        let rest = rest.saturating_sub(together * of_reader);
        let capacity = rest / Finding::bytes(&directories.0, &settings, wanted);
        Self {
            directories,
            settings,
            of_scan,
            wanted,
            queries: Vec::new(),
            findings: Vec::new(),
            used: 0,
            capacity: capacity.clamp(1, u32::MAX as usize),
            together,
            comparing: Comparing::new(pages),
            measuring: Measuring::default(),
            scan: None,
            neighbours: Vec::new(),
            unit: Vec::new(),
            point: Vec::new(),
        }
    }

    /// Whether the batch takes no more queries.
    pub fn is_full(&self) -> bool {
        self.used >= self.capacity
    }

    /// The number of neighbours of each query.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The number of queries that share the copies of lists. Those that come together should be near each
    /// other.
    pub fn together(&self) -> usize {
        self.together
    }

    /// Counters of all batches.
    pub fn stats(&self) -> Stats {
        let scans = self.scan.as_ref().map_or_else(Stats::default, Scan::stats);
        Stats { rows: self.measuring.rows, ..self.comparing.stats() } + scans
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
    /// `itself` is the row that it is, if any, which does not count.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, number: u64, vector: &[f32], itself: Option<Itself>) -> Result<()> {
        if !is_indexed(self.directories.0.metric(), vector) {
            return Ok(());
        }
        if self.used == self.queries.len() {
            self.queries.try_push(Query::default())?;
            self.findings.try_push(Finding::default())?;
        }
        let query = &mut self.queries[self.used];
        query.vector.clear();
        query.vector.try_extend(vector)?;
        (query.number, query.itself) = (number, itself);
        self.used += 1;
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
        pool: Option<&ThreadPool>,
        found: &mut dyn FnMut(u64, &[Neighbour]) -> Result<()>,
    ) -> Result<()> {
        let directory = Rc::clone(&self.directories.0);
        let used = std::mem::take(&mut self.used);
        let most = self.capacity.saturating_mul(Finding::left(&self.settings));
        let (mut first, mut candidates) = (0, 0);
        for begin in (0..used).step_by(self.together) {
            let range = begin..used.min(begin + self.together);
            let findings = &mut self.findings[range.clone()];
            findings.iter_mut().for_each(|finding| finding.restart(self.wanted));
            if self.directories.1.is_some() {
                // While lists are replaced there are two sets of them.
                findings.iter_mut().for_each(|finding| finding.incomplete = true);
            } else {
                let reading = Around { store: around.store, progress: around.progress, pool };
                let queries = &self.queries[range.clone()];
                self.comparing.find((&directory, &self.settings), (queries, &mut *findings), &reading)?;
            }
            candidates += findings.iter().map(Finding::candidates).sum::<usize>();
            if candidates >= most || range.end == used {
                self.answer(first..range.end, around, pool, found)?;
                (first, candidates) = (range.end, 0);
            }
        }
        Ok(())
    }

    /// Answers queries whose candidates are known.
    fn answer<S: Store>(
        &mut self,
        range: Range<usize>,
        around: &mut Surroundings<'_, S>,
        pool: Option<&ThreadPool>,
        found: &mut dyn FnMut(u64, &[Neighbour]) -> Result<()>,
    ) -> Result<()> {
        let directory = Rc::clone(&self.directories.0);
        let queries = &self.queries[range.clone()];
        let asked = Asked { directory: &directory, queries, wanted: self.wanted };
        let findings = &mut self.findings[range.clone()];
        self.measuring.measure(asked, findings, &mut *around.table, (around.progress, pool))?;
        for at in range {
            around.progress.tick()?;
            let finding = &mut self.findings[at];
            self.neighbours.clear();
            if finding.incomplete || finding.lacks(&directory, &self.settings) {
                self.scan_for(at, around)?;
            } else {
                for Found { ready, version } in finding.found.take_sorted() {
                    self.neighbours.try_push(Neighbour { row: version, value: ready.value.0 })?;
                }
            }
            found(self.queries[at].number, &self.neighbours)?;
        }
        Ok(())
    }

    /// Answers a query by an ordinary scan.
    fn scan_for<S: Store>(&mut self, at: usize, around: &mut Surroundings<'_, S>) -> Result<()> {
        let (directories, settings) = (&self.directories, self.of_scan);
        let scan = self.scan.get_or_insert_with(|| Scan::new(directories.clone(), settings));
        let Query { vector, itself, .. } = &self.queries[at];
        scan.start_filtered(settings, Some(vector), Filter::default());
        while self.neighbours.len() < self.wanted {
            let next = scan.next(around.store, &mut *around.table.rows(vector))?;
            let Some((row, value)) = next else { break };
            if itself.is_none_or(|itself| itself.row != row)
                && let Some(row) = around.table.version(row)?
            {
                self.neighbours.try_push(Neighbour { row, value })?;
            }
        }
        // A relaxed scan may return a row late. Rows with equal values stay in the order of the scan.
        self.neighbours.sort_by_key(|found| TotalF64(found.value));
        Ok(())
    }
}
