//! Reads the lists of many queries: each list once for all of them, and on threads.
//!
//! The main thread copies lists (`frozen.rs`). Then threads compare the queries with the copies, each thread
//! a share of the queries with one list after the other, which stays in its cache meanwhile.

use std::ops::Range;

use rayon::ThreadPool;

use super::super::list_scan::{Scanner, Stats};
use super::super::settings::Settings;
use super::frozen::Frozen;
use super::query::{Finding, Query};
use super::reader::Reader;
use super::shares::in_shares;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::ListChain;
use crate::ivf::progress::Progress;
use crate::memory::{self, Grow};
use crate::page::{Page, Store};

/// Lists that fewer queries want are read from the store: a copy costs more than it saves, because it has all
/// records of the list, of which a query reads a few.
const FEW: usize = 16;
/// The same if there are threads, which cannot read from the store.
const FEW_ON_THREADS: usize = 6;
/// Queries that are compared with one list after the other. Their tables, and the list, fit the second-level
/// cache.
const TILE: usize = 64;
/// Pages of codes that threads compare with queries, at most, before a cancel is noticed. Of equal vectors
/// all records are compared too, which takes ten times as long.
const COMPARED: usize = 1 << 18;
/// Bytes of centroids that all queries of a thread are compared with before the next ones.
const CENTROIDS: usize = 16 << 10;
/// Bytes of centroids that threads compare before a cancel is noticed.
const ROUTED: usize = 1 << 30;

/// A list that is read for a query, which is named by its place among the readers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    list: u32,
    query: u32,
}

/// A part of a list, and who reads it.
#[derive(Default)]
struct Part {
    list: u32,
    reads: Range<usize>,
    frozen: Frozen,
}

/// Memory for reading lists.
pub(super) struct Comparing {
    readers: Vec<Reader>,
    scanner: Scanner,
    /// Those of the threads.
    scanners: Vec<Scanner>,
    reads: Vec<Read>,
    parts: Vec<Part>,
    /// Pages that are copied, at least, before queries are compared with them.
    pages: usize,
    lists: u64,
}

/// The index, and who works.
pub(super) struct Around<'a, S> {
    pub store: &'a S,
    pub progress: &'a dyn Progress,
    pub pool: Option<&'a ThreadPool>,
}

impl Comparing {
    /// The copies take about so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            readers: Vec::new(),
            scanner: Scanner::default(),
            scanners: Vec::new(),
            reads: Vec::new(),
            parts: Vec::new(),
            pages: (bytes / size_of::<Page>()).max(1),
            lists: 0,
        }
    }

    /// Counters of all lists read.
    pub fn stats(&self) -> Stats {
        let all = self.scanners.iter().fold(self.scanner.stats, |all, scanner| all + scanner.stats);
        // Threads read lists in parts.
        Stats { lists: self.lists, ..all }
    }

    /// Finds the candidates of the queries.
    ///
    /// # Errors
    /// Damage, out of memory, and those of the store.
    pub fn find<S: Store>(
        &mut self,
        (directory, settings): (&Directory, &Settings),
        (queries, findings): (&[Query], &mut [Finding]),
        around: &Around<'_, S>,
    ) -> Result<()> {
        let used = queries.len();
        while self.readers.len() < used {
            // A reader allocates in small pieces.
            memory::room(Reader::bytes(directory, settings))?;
            self.readers.try_push(Reader::new(directory))?;
        }
        while self.scanners.len() < used.div_ceil(TILE) {
            self.scanners.try_push(Scanner::default())?;
        }
        let of_query = directory.lists() as usize * directory.padded();
        let together = (ROUTED / of_query.max(1)).max(1);
        for (readers, queries) in self.readers.chunks_mut(together).zip(queries.chunks(together)) {
            around.progress.tick()?;
            let readers = &mut readers[..queries.len()];
            in_shares(around.pool, &mut self.scanners, readers, |_, first, readers| {
                plan((directory, settings), &queries[first..], readers)
            })?;
        }
        while self.read_next((directory, settings), used, around)? {}
        around.progress.tick()?;
        let mut all = memory::collected(self.readers.iter_mut().zip(findings))?;
        in_shares(around.pool, &mut self.scanners, &mut all, |_, _, all| {
            all.iter_mut().try_for_each(|(reader, finding)| reader.finish(finding))
        })
    }

    /// Reads the next lists of the first `used` readers. Returns false if there are none.
    fn read_next<S: Store>(
        &mut self,
        (directory, settings): (&Directory, &Settings),
        used: usize,
        around: &Around<'_, S>,
    ) -> Result<bool> {
        in_shares(around.pool, &mut self.scanners, &mut self.readers[..used], |_, _, readers| {
            readers.iter_mut().try_for_each(|reader| reader.find_next(directory, settings))
        })?;
        let mut reads = std::mem::take(&mut self.reads);
        reads.clear();
        for (query, reader) in (0..).zip(&self.readers[..used]) {
            reads.grow(reader.next.len())?;
            reads.extend(reader.next.iter().map(|&list| Read { list, query }));
        }
        reads.sort_unstable();
        self.lists += reads.len() as u64;
        let lists = || reads.chunk_by(|a, b| a.list == b.list);
        for reads in lists() {
            let (head, pages) = directory.head(reads[0].list);
            around.store.prefetch_pages(head, pages);
        }
        let few = if around.pool.is_some() { FEW_ON_THREADS } else { FEW };
        let (mut first, mut parts, mut pages, mut compared) = (0, 0, 0, 0);
        for of_list in lists() {
            let range = first..first + of_list.len();
            first = range.end;
            if of_list.len() < few {
                self.read_few(directory, of_list, around)?;
                continue;
            }
            let mut chain = ListChain::new(directory, of_list[0].list);
            loop {
                around.progress.tick()?;
                if pages >= self.pages || compared >= COMPARED {
                    self.compare(directory, (&reads, parts, used), around.pool)?;
                    (parts, pages, compared) = (0, 0, 0);
                    self.limit_copies();
                }
                if parts == self.parts.len() {
                    self.parts.try_push(Part::default())?;
                }
                let part = &mut self.parts[parts];
                if !part.frozen.take(around.store, directory, &mut chain, true)? {
                    break;
                }
                (part.list, part.reads) = (chain.list(), range.clone());
                (parts, pages) = (parts + 1, pages + part.frozen.pages());
                compared += of_list.len() * part.frozen.codes().len();
            }
        }
        self.compare(directory, (&reads, parts, used), around.pool)?;
        self.limit_copies();
        around.store.end_prefetch();
        self.reads = reads;
        Ok(!self.reads.is_empty())
    }

    /// Gives back the memory of copies if it is more than twice what they may take, because the parts of some
    /// lists are larger than those of others.
    fn limit_copies(&mut self) {
        let pages: usize = self.parts.iter().map(|part| part.frozen.room()).sum();
        if pages > 2 * self.pages {
            self.parts.clear();
        }
    }

    /// Reads a list for a few queries.
    fn read_few<S: Store>(
        &mut self,
        directory: &Directory,
        reads: &[Read],
        around: &Around<'_, S>,
    ) -> Result<()> {
        for &Read { list, query } in reads {
            around.progress.tick()?;
            let reader = &mut self.readers[query as usize];
            reader.read_list((around.store, directory), &mut self.scanner, list)?;
        }
        Ok(())
    }

    /// Compares the queries with the first parts.
    fn compare(
        &mut self,
        directory: &Directory,
        (reads, parts, used): (&[Read], usize, usize),
        pool: Option<&ThreadPool>,
    ) -> Result<()> {
        let Self { readers, scanners, parts: all, .. } = self;
        in_shares(pool, scanners, &mut readers[..used], |scanner, first, readers| {
            for Part { list, reads: range, frozen } in &all[..parts] {
                let reads = &reads[range.clone()];
                let place = |at: usize| reads.partition_point(|read| (read.query as usize) < at);
                let reads = &reads[place(first)..place(first + readers.len())];
                for (at, read) in reads.iter().enumerate() {
                    if let Some(next) = reads.get(at + 1) {
                        readers[next.query as usize - first].prefetch();
                    }
                    let reader = &mut readers[read.query as usize - first];
                    reader.read_list((frozen, directory), scanner, *list)?;
                }
            }
            Ok(())
        })
    }
}

/// Lets readers plan what they read for queries. All readers compare a few centroids before the next ones, so
/// that these stay in the first-level cache.
fn plan(
    (directory, settings): (&Directory, &Settings),
    queries: &[Query],
    readers: &mut [Reader],
) -> Result<()> {
    for (reader, query) in readers.iter_mut().zip(queries) {
        reader.set(directory, query)?;
    }
    let (lists, some) = (directory.lists() as usize, (CENTROIDS / directory.padded()).max(1));
    for first in (0..lists).step_by(some) {
        readers.iter_mut().for_each(|reader| reader.score(directory, first..lists.min(first + some)));
    }
    readers.iter_mut().try_for_each(|reader| reader.plan(directory, settings))
}
