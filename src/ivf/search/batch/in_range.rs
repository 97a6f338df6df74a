//! The rows that may be within a distance of each of several queries.
//!
//! Each list is copied once for all queries, part by part (`frozen.rs`), and threads compare the queries with
//! its codes. The bounds are those of a range search, so no row is missed; the table decides about the
//! others. Codes leave few rows, so records are not copied. They are read where they lie, afterwards and by
//! one thread.

use std::ops::Range;

use rayon::ThreadPool;

use super::super::effort;
use super::super::full_scan::{Which, live_rows};
use super::super::key::{ceiling_key, known_value};
use super::super::list_scan::{Candidate, Scanner, Sink, Stats, Unrefined};
use super::super::query::CodedQuery;
use super::super::route::Router;
use super::frozen::{Frozen, ROWS};
use crate::error::{Error, Result};
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::ListChain;
use crate::ivf::progress::Progress;
use crate::ivf::search::filter::Filter;
use crate::kmeans::parallel;
use crate::memory::{self, Grow};
use crate::page::{Page, Store, Tid};
use crate::quant::Width;

/// The most queries that are compared together. With so many, the copy of a list serves hundreds of queries.
const MOST: usize = 512;
/// Parts of the queries that threads take one after the other: several for each, because some find more rows.
const SHARES: usize = 8;

/// A query, and where its search begins.
pub(super) struct Query {
    /// The vector as it was given.
    pub vector: Vec<f32>,
    /// Only rows of lists from this one on, and of this list only rows behind this one; `None` for all rows.
    after: Option<(u32, Tid)>,
    coded: CodedQuery,
    router: Router,
    /// Whether codes cannot bound its distances, so that every row may be near.
    unbounded: bool,
}

/// A row that may be near a query.
#[derive(Clone, Copy)]
pub(super) struct Near {
    /// Its address in the index.
    pub row: Tid,
    /// The query's place in the batch.
    pub query: u32,
    /// The value, if the index knows it.
    pub known: Option<f64>,
}

/// Takes rows that may be near some queries.
pub(super) type Found<'a> = &'a mut dyn FnMut(&[Query], &mut Vec<Near>) -> Result<bool>;

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Within {
    /// The largest value.
    pub ceiling: f64,
    /// Whether the queries' beginnings count.
    pub later: bool,
    /// The number of rows after which they are passed on.
    pub most: usize,
}

/// What a thread finds.
#[derive(Default)]
struct Finder {
    scanner: Scanner,
    near: Vec<Near>,
    /// Rows whose records are read later, with the place of the query.
    unrefined: Vec<(u32, Unrefined)>,
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
    later: bool,
    threshold: f32,
    width: Width,
    /// Whether records are copied, so that threads read them.
    with_records: bool,
}

/// The queries of a batch, and memory to compare them.
#[derive(Default)]
pub(super) struct InRange {
    queries: Vec<Query>,
    used: usize,
    finders: Vec<Finder>,
    parts: Vec<Part>,
    near: Vec<Near>,
}

impl InRange {
    /// The number of queries that should be compared together in about `memory` bytes.
    pub fn capacity(directory: &Directory, memory: usize) -> usize {
        /// Bytes for each coordinate of a query: the vector, its form in the index, codes and tables.
        const COORDINATE: usize = 24;
        let of_query = size_of::<Query>() + directory.padded() * COORDINATE;
        (memory / of_query).clamp(1, MOST)
    }

    /// The number of found rows that take about `memory` bytes.
    pub fn most(memory: usize) -> usize {
        (memory / (2 * size_of::<Near>())).max(1)
    }

    /// The queries.
    pub fn queries(&self) -> &[Query] {
        &self.queries[..self.used]
    }

    /// The list in which the first query's search begins.
    pub fn first_list(&self) -> u32 {
        self.queries().first().and_then(|query| query.after).map_or(0, |(list, _)| list)
    }

    /// Forgets the queries.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Counters of all comparisons.
    pub fn stats(&self) -> Stats {
        let scanned = self.finders.iter().map(|finder| finder.scanner.stats);
        scanned.fold(Stats::default(), |all, stats| all + stats)
    }

    /// Adds a query, unless it has no neighbours. Returns whether it was added.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, directory: &Directory, vector: &[f32], after: Option<(u32, Tid)>) -> Result<bool> {
        if self.used == self.queries.len() {
            memory::room(size_of::<Query>() + directory.padded() * size_of::<[f32; 8]>())?;
            self.queries.try_push(Query {
                vector: Vec::new(),
                after,
                coded: CodedQuery::new(directory),
                router: Router::default(),
                unbounded: false,
            })?;
        }
        let query = &mut self.queries[self.used];
        query.after = after;
        query.vector.clear();
        query.vector.try_extend(vector)?;
        let has_neighbours = query.encode(directory);
        self.used += usize::from(has_neighbours);
        Ok(has_neighbours)
    }

    /// Prepares the queries for another set of lists.
    ///
    /// # Errors
    /// Those of `progress`.
    pub fn encode_again(&mut self, directory: &Directory, progress: &dyn Progress) -> Result<()> {
        for query in &mut self.queries[..self.used] {
            progress.tick()?;
            query.coded = CodedQuery::new(directory);
            query.encode(directory);
        }
        Ok(())
    }

    /// Compares the queries with lists. `found` gets what is found, whenever it is much, and at the end. It
    /// returns whether to go on.
    ///
    /// # Errors
    /// Damage, out of memory, and the errors of the store and of `found`.
    pub fn read<S: Store>(
        &mut self,
        (directory, lists): (&Directory, Range<u32>),
        within: Within,
        (store, progress, pool): (&S, &dyn Progress, Option<&ThreadPool>),
        found: Found<'_>,
    ) -> Result<()> {
        let comparison = Comparison {
            directory,
            later: within.later,
            threshold: ceiling_key(directory, within.ceiling),
            width: effort::width(directory, 1.0, directory.lists(), true),
            with_records: directory.extended.is_none()
                || directory.deviates()
                || self.queries().iter().any(|query| query.unbounded),
        };
        let (mut parts, mut rows) = (0, 0);
        for list in lists {
            let (head, pages) = directory.head(list);
            store.prefetch_pages(head, pages);
            let mut chain = ListChain::new(directory, list);
            loop {
                progress.tick()?;
                if rows >= ROWS {
                    self.compare(&comparison, parts, (store, pool))?;
                    (parts, rows) = (0, 0);
                    if self.finders.iter().map(|finder| finder.near.len()).sum::<usize>() >= within.most
                        && !self.pass_on(found)?
                    {
                        store.end_prefetch();
                        return Ok(());
                    }
                }
                if parts == self.parts.len() {
                    self.parts.try_push(Part::default())?;
                }
                let part = &mut self.parts[parts];
                if !part.frozen.take(store, directory, &mut chain, comparison.with_records)? {
                    break;
                }
                part.list = list;
                rows += part.frozen.rows(directory);
                parts += 1;
            }
            store.end_prefetch();
        }
        self.compare(&comparison, parts, (store, pool))?;
        self.pass_on(found).map(|_| ())
    }

    fn pass_on(&mut self, found: Found<'_>) -> Result<bool> {
        self.near.clear();
        for finder in &mut self.finders {
            self.near.try_extend(&finder.near)?;
            finder.near.clear();
        }
        found(&self.queries[..self.used], &mut self.near)
    }

    /// Compares the queries with the first parts.
    fn compare<S: Store>(
        &mut self,
        comparison: &Comparison<'_>,
        parts: usize,
        (store, pool): (&S, Option<&ThreadPool>),
    ) -> Result<()> {
        let parts = &self.parts[..parts];
        let threads = pool.map_or(1, ThreadPool::current_num_threads);
        let share = self.used.div_ceil(SHARES * threads).max(1);
        let shares = self.queries[..self.used].chunks_mut(share);
        while self.finders.len() < shares.len() {
            self.finders.try_push(Finder::default())?;
        }
        let mut work = memory::collected(shares.zip(&mut self.finders).enumerate())?;
        let compare = |(at, (queries, finder)): &mut (usize, (&mut [Query], &mut Finder))| {
            for (query, number) in queries.iter_mut().zip((*at * share) as u32..) {
                let mut compare = |part| finder.compare(comparison, part, (query, number));
                if let Err(error) = parts.iter().try_for_each(&mut compare) {
                    finder.failed = Some(error);
                    return;
                }
            }
        };
        match pool {
            Some(pool) => parallel::for_each(pool, &mut work, compare),
            None => work.iter_mut().for_each(compare),
        }
        if let Some(error) = self.finders.iter_mut().find_map(|finder| finder.failed.take()) {
            return Err(error);
        }
        self.finders.iter_mut().try_for_each(|finder| finder.refine(comparison, &self.queries, store))
    }
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
    /// Finds the rows of a part that may be near a query.
    fn compare(
        &mut self,
        comparison: &Comparison<'_>,
        Part { list, frozen }: &Part,
        (query, number): (&mut Query, u32),
    ) -> Result<()> {
        let Comparison { directory, later, threshold, width, with_records } = *comparison;
        let list = *list;
        let after = query.after.filter(|_| later);
        if after.is_some_and(|(first, _)| first > list) {
            return Ok(());
        }
        let after = after.filter(|(first, _)| *first == list).map(|(_, row)| row);
        if query.unbounded {
            for page in frozen.codes() {
                self.take_all((frozen, directory), (list, page), (after, number))?;
            }
            return Ok(());
        }
        let Query { coded, router, .. } = query;
        let terms = || router.terms(directory, list, &coded.point);
        let list = (list, &terms as &dyn Fn() -> _, width);
        let mut sink = Below { directory, threshold, after, number, near: &mut self.near, failed: None };
        self.scanner.unrefined = (!with_records).then(Vec::new);
        self.scanner.list(frozen, directory, &coded.code, list, &mut sink)?;
        sink.failed.map_or(Ok(()), Err)?;
        let unrefined = self.scanner.unrefined.take().unwrap_or_default();
        self.unrefined.grow(unrefined.len())?;
        self.unrefined.extend(unrefined.into_iter().map(|row| (number, row)));
        Ok(())
    }

    /// Reads the records of the rows that the codes have left.
    fn refine<S: Store>(&mut self, comparison: &Comparison<'_>, queries: &[Query], store: &S) -> Result<()> {
        let Comparison { directory, later, threshold, width, .. } = *comparison;
        let unrefined = std::mem::take(&mut self.unrefined);
        let mut of_list = Vec::new();
        for rows in unrefined.chunk_by(|a, b| (a.0, a.1.list) == (b.0, b.1.list)) {
            let (number, list) = (rows[0].0, rows[0].1.list);
            let Query { coded, router, after, .. } = &queries[number as usize];
            let after = after.filter(|(first, _)| later && *first == list).map(|(_, row)| row);
            of_list.clear();
            of_list.grow(rows.len())?;
            of_list.extend(rows.iter().map(|(_, row)| *row));
            let terms = router.terms(directory, list, &coded.point);
            let mut sink = Below { directory, threshold, after, number, near: &mut self.near, failed: None };
            let rows = (&*of_list, terms, width);
            self.scanner.refine_later(store, directory, &coded.code, rows, &mut sink)?;
            sink.failed.map_or(Ok(()), Err)?;
        }
        self.unrefined = unrefined;
        self.unrefined.clear();
        Ok(())
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
struct Below<'a> {
    directory: &'a Directory,
    threshold: f32,
    /// Only rows behind this one.
    after: Option<Tid>,
    number: u32,
    near: &'a mut Vec<Near>,
    failed: Option<Error>,
}

impl Sink for Below<'_> {
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
