//! All pairs of rows that are nearer to each other than a distance, exactly.
//!
//! The rows of some lists are the queries of a batch. Each list is copied once for all of them, part by part
//! (`frozen.rs`), and threads compare the queries with its codes. The bounds are those of a range search, so
//! no pair is missed; the table decides about the others. A row is compared with the rows of its own list
//! that come after it, and with those of later lists. So each pair is found once.

use std::ops::Range;
use std::rc::Rc;

use rayon::ThreadPool;

use super::super::effort;
use super::super::full_scan::{Which, live_rows};
use super::super::key::{ceiling_key, known_value};
use super::super::list_scan::{Candidate, Scanner, Sink, Stats};
use super::super::query::CodedQuery;
use super::super::route::Router;
use super::super::rows::{address_error, is_address};
use super::Surroundings;
use super::frozen::{Frozen, ROWS};
use super::measure::Table;
use crate::error::{Error, Result};
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::ListChain;
use crate::ivf::scan::Directories;
use crate::ivf::search::filter::Filter;
use crate::kmeans::parallel;
use crate::memory::{self, Grow};
use crate::page::{Page, Store, Tid};
use crate::quant::Width;

/// The most queries of a batch. With so many, the copy of a list serves hundreds of queries.
const MOST: usize = 512;
/// Parts of a batch that threads take one after the other: several for each, because some have more pairs.
const SHARES: usize = 8;

/// A pair: addresses of the versions of two rows that the snapshot sees, and the operator's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The row with the smaller address.
    pub row: Tid,
    /// The other row.
    pub other: Tid,
    /// The operator's value.
    pub value: f64,
}

/// A query: a row of the index.
struct Query {
    /// Its address in the index, and that of the version that the snapshot sees.
    row: Tid,
    version: Tid,
    list: u32,
    vector: Vec<f32>,
    coded: CodedQuery,
    router: Router,
    /// Whether codes cannot bound its distances, so that every row is measured.
    unbounded: bool,
}

/// A row that may be near a query.
#[derive(Clone, Copy)]
struct Near {
    row: Tid,
    /// The query's place in the batch.
    query: u32,
    /// The value, if the index knows it.
    known: Option<f64>,
}

/// What a thread finds.
#[derive(Default)]
struct Finder {
    scanner: Scanner,
    near: Vec<Near>,
    rows: Vec<Tid>,
    failed: Option<Error>,
}

/// A part of a list.
#[derive(Default)]
struct Part {
    list: u32,
    frozen: Frozen,
}

/// How threads compare queries with parts.
struct Comparison<'a> {
    directory: &'a Directory,
    /// Whether the queries are of the same set of lists.
    own: bool,
    threshold: f32,
    width: Width,
}

/// Finds the pairs of an index.
pub struct Pairs {
    directories: Directories,
    below: f64,
    queries: Vec<Query>,
    used: usize,
    capacity: usize,
    /// The most rows that are kept before they are measured.
    most: usize,
    finders: Vec<Finder>,
    parts: Vec<Part>,
    near: Vec<Near>,
    values: Vec<f64>,
    measured: u64,
}

impl Pairs {
    /// A search for pairs whose value is below a number, in about `memory` bytes.
    pub fn new(directories: Directories, below: f64, memory: usize) -> Self {
        /// Bytes for each coordinate of a query: the vector, its form in the index, codes and tables.
        const COORDINATE: usize = 24;
        let of_query = size_of::<Query>() + directories.0.padded() * COORDINATE;
        Self {
            capacity: (memory / 2 / of_query).clamp(1, MOST),
            most: (memory / 2 / (2 * size_of::<Near>())).max(1),
            directories,
            below,
            queries: Vec::new(),
            used: 0,
            finders: Vec::new(),
            parts: Vec::new(),
            near: Vec::new(),
            values: Vec::new(),
            measured: 0,
        }
    }

    /// Whether the batch takes no more queries.
    pub fn is_full(&self) -> bool {
        self.used >= self.capacity
    }

    /// Counters of all batches.
    pub fn stats(&self) -> Stats {
        let scanned = self.finders.iter().map(|finder| finder.scanner.stats);
        Stats { rows: self.measured, ..scanned.fold(Stats::default(), |all, stats| all + stats) }
    }

    fn directory(&self, set: usize) -> Option<Rc<Directory>> {
        let (current, next) = &self.directories;
        if set == 0 { Some(Rc::clone(current)) } else { next.clone() }
    }

    /// Adds a row of a list as a query, unless it has no neighbours. The rows of a batch are of one set of
    /// lists (0: those in use, 1: those that take their place), and come list after list.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(
        &mut self,
        (set, list): (usize, u32),
        (row, version): (Tid, Tid),
        vector: &[f32],
    ) -> Result<()> {
        let Some(directory) = self.directory(set) else { return Ok(()) };
        if self.used == self.queries.len() {
            memory::room(size_of::<Query>() + directory.padded() * size_of::<[f32; 8]>())?;
            self.queries.try_push(Query {
                row,
                version,
                list,
                vector: Vec::new(),
                coded: CodedQuery::new(&directory),
                router: Router::default(),
                unbounded: false,
            })?;
        }
        let query = &mut self.queries[self.used];
        (query.row, query.version, query.list) = (row, version, list);
        query.vector.clear();
        query.vector.try_extend(vector)?;
        if query.encode(&directory) {
            self.used += 1;
        }
        Ok(())
    }

    /// Finds the pairs of the queries, rows of the given set of lists, with themselves and all later rows,
    /// and forgets the queries.
    ///
    /// # Errors
    /// Damage, out of memory, and the errors of the store, the table and `found`.
    pub fn run<S: Store>(
        &mut self,
        set: usize,
        around: &mut Surroundings<'_, S>,
        pool: &ThreadPool,
        found: &mut dyn FnMut(Pair) -> Result<()>,
    ) -> Result<()> {
        let first = self.queries[..self.used].first().map_or(0, |query| query.list);
        for at in set..2 {
            let Some(directory) = self.directory(at) else { continue };
            if at != set {
                for query in &mut self.queries[..self.used] {
                    around.progress.tick()?;
                    query.coded = CodedQuery::new(&directory);
                    query.encode(&directory);
                }
            }
            let lists = if at == set { first } else { 0 }..directory.lists();
            if self.used > 0 {
                self.read(&directory, (lists, at == set), (around, pool), found)?;
            }
        }
        self.used = 0;
        Ok(())
    }

    /// Compares the queries with lists, and measures what is found.
    fn read<S: Store>(
        &mut self,
        directory: &Directory,
        (lists, own): (Range<u32>, bool),
        (around, pool): (&mut Surroundings<'_, S>, &ThreadPool),
        found: &mut dyn FnMut(Pair) -> Result<()>,
    ) -> Result<()> {
        let comparison = Comparison {
            directory,
            own,
            threshold: ceiling_key(directory, self.below),
            width: effort::width(directory, 1.0, directory.lists(), true),
        };
        let (mut parts, mut rows) = (0, 0);
        for list in lists {
            let (head, pages) = directory.head(list);
            around.store.prefetch_pages(head, pages);
            let mut chain = ListChain::new(directory, list);
            loop {
                around.progress.tick()?;
                if rows >= ROWS {
                    self.compare(&comparison, parts, pool)?;
                    (parts, rows) = (0, 0);
                    if self.finders.iter().map(|finder| finder.near.len()).sum::<usize>() >= self.most {
                        self.measure(directory, around, found)?;
                    }
                }
                if parts == self.parts.len() {
                    self.parts.try_push(Part::default())?;
                }
                let part = &mut self.parts[parts];
                if !part.frozen.take(around.store, directory, &mut chain)? {
                    break;
                }
                part.list = list;
                rows += part.frozen.rows(directory);
                parts += 1;
            }
            around.store.end_prefetch();
        }
        self.compare(&comparison, parts, pool)?;
        self.measure(directory, around, found)
    }

    /// Compares the queries with the first parts.
    fn compare(&mut self, comparison: &Comparison<'_>, parts: usize, pool: &ThreadPool) -> Result<()> {
        let parts = &self.parts[..parts];
        let share = self.used.div_ceil(SHARES * pool.current_num_threads());
        let shares = self.queries[..self.used].chunks_mut(share);
        while self.finders.len() < shares.len() {
            self.finders.try_push(Finder::default())?;
        }
        let mut work = memory::collected(shares.zip(&mut self.finders).enumerate())?;
        parallel::for_each(pool, &mut work, |(at, (queries, finder))| {
            for (query, number) in queries.iter_mut().zip((*at * share) as u32..) {
                let mut compare = |part| finder.compare(comparison, part, (query, number));
                if let Err(error) = parts.iter().try_for_each(&mut compare) {
                    finder.failed = Some(error);
                    return;
                }
            }
        });
        match self.finders.iter_mut().find_map(|finder| finder.failed.take()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Measures the rows found, each once for all its queries, in the order of the table.
    fn measure<S>(
        &mut self,
        directory: &Directory,
        around: &mut Surroundings<'_, S>,
        found: &mut dyn FnMut(Pair) -> Result<()>,
    ) -> Result<()> {
        let Self { near, finders, queries, values, below, .. } = self;
        near.clear();
        for finder in finders {
            near.try_extend(&finder.near)?;
            finder.near.clear();
        }
        near.sort_unstable_by_key(|near| (near.row, near.query));
        for near in near.chunk_by(|a, b| a.row == b.row) {
            around.progress.tick()?;
            self.measured += 1;
            values.clear();
            let version = values_of(directory, (near, queries), around.table, values)?;
            let Some(version) = version else { continue };
            for (near, &value) in near.iter().zip(&*values) {
                // NaN is not below any number.
                if value < *below {
                    let query = queries[near.query as usize].version;
                    found(Pair { row: query.min(version), other: query.max(version), value })?;
                }
            }
        }
        Ok(())
    }
}

/// Computes the values of one row for the queries that it may be near.
fn values_of(
    directory: &Directory,
    (near, queries): (&[Near], &[Query]),
    table: &mut dyn Table,
    values: &mut Vec<f64>,
) -> Result<Option<Tid>> {
    let row = near[0].row;
    if !is_address(row) {
        return Err(address_error(row));
    }
    if near.iter().all(|near| near.known.is_some()) {
        values.grow(near.len())?;
        values.extend(near.iter().filter_map(|near| near.known));
        return table.version(row);
    }
    table.measured(row, &mut |vector| {
        for near in near {
            let query = &queries[near.query as usize].vector;
            values.try_push(directory.metric().distance(vector, query)?)?;
        }
        Ok(())
    })
}

impl Query {
    /// Prepares the query for a set of lists. Returns false if it has no neighbours.
    fn encode(&mut self, directory: &Directory) -> bool {
        if !self.coded.transform(directory, &self.vector) {
            return false;
        }
        self.unbounded = self.coded.may_overflow(directory, &self.vector);
        if !self.unbounded {
            self.coded.encode(directory);
            self.router.relate(directory, &self.coded.point);
        }
        true
    }
}

impl Finder {
    /// Finds the rows of a part that may be near a query and come after it.
    fn compare(
        &mut self,
        comparison: &Comparison<'_>,
        Part { list, frozen }: &Part,
        (query, number): (&mut Query, u32),
    ) -> Result<()> {
        let Comparison { directory, own, threshold, width } = *comparison;
        let list = *list;
        if own && query.list > list {
            return Ok(());
        }
        let after = if own && query.list == list { Some(query.row) } else { None };
        if query.unbounded {
            for page in frozen.codes() {
                self.take_all((frozen, directory), (list, page), (after, number))?;
            }
            return Ok(());
        }
        let Query { coded, router, .. } = query;
        let terms = || router.terms(directory, list, &coded.point);
        let list = (list, &terms as &dyn Fn() -> _, width);
        let mut sink = Within { directory, threshold, after, number, near: &mut self.near, failed: None };
        self.scanner.list(frozen, directory, &coded.code, list, &mut sink)?;
        sink.failed.map_or(Ok(()), Err)
    }

    /// Takes all rows of a page.
    fn take_all(
        &mut self,
        (frozen, directory): (&Frozen, &Directory),
        page: (u32, &Page),
        (after, query): (Option<Tid>, u32),
    ) -> Result<()> {
        self.rows.clear();
        let all = Which { filter: &Filter::default(), elements: None, lists: &[] };
        live_rows((frozen, directory), all, page, f32::INFINITY, |tid| self.rows.try_push(tid))?;
        let later = self.rows.iter().filter(|row| after.is_none_or(|after| **row > after));
        for &row in later {
            self.near.try_push(Near { row, query, known: None })?;
        }
        Ok(())
    }
}

/// Takes the rows below a threshold.
struct Within<'a> {
    directory: &'a Directory,
    threshold: f32,
    /// Only rows behind this one.
    after: Option<Tid>,
    number: u32,
    near: &'a mut Vec<Near>,
    failed: Option<Error>,
}

impl Sink for Within<'_> {
    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn push(&mut self, _: u32, candidate: Candidate) {
        if self.after.is_some_and(|after| candidate.tid <= after) {
            return;
        }
        let known = known_value(self.directory, candidate.lower);
        let near = Near { row: candidate.tid, query: self.number, known };
        if let Err(error) = self.near.try_push(near) {
            self.failed = Some(error);
        }
    }
}
