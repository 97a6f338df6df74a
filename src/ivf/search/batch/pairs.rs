//! All pairs of rows that are nearer to each other than a distance, exactly.
//!
//! The rows of some lists are the queries of a batch (`in_range.rs`). A row is compared with the rows of its
//! own list that come after it, and with those of later lists. So each pair is found once.

use std::rc::Rc;

use rayon::ThreadPool;

use super::super::list_scan::Stats;
use super::super::rows::{address_error, is_address};
use super::Surroundings;
use super::in_range::{InRange, Near, Query, Within};
use super::measure::Table;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::scan::Directories;
use crate::memory::Grow;
use crate::page::{Store, Tid};

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

/// Finds the pairs of an index.
pub struct Pairs {
    directories: Directories,
    below: f64,
    queries: InRange,
    /// For each query, the version of its row that the snapshot sees.
    versions: Vec<Tid>,
    capacity: usize,
    /// The most rows that are kept before they are measured.
    most: usize,
    values: Vec<f64>,
    measured: u64,
}

impl Pairs {
    /// A search for pairs whose value is below a number, in about `memory` bytes.
    pub fn new(directories: Directories, below: f64, memory: usize) -> Self {
        Self {
            capacity: InRange::capacity(&directories.0, memory / 2),
            most: InRange::most(memory / 2),
            directories,
            below,
            queries: InRange::default(),
            versions: Vec::new(),
            values: Vec::new(),
            measured: 0,
        }
    }

    /// Whether the batch takes no more queries.
    pub fn is_full(&self) -> bool {
        self.versions.len() >= self.capacity
    }

    /// Counters of all batches.
    pub fn stats(&self) -> Stats {
        Stats { rows: self.measured, ..self.queries.stats() }
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
        if self.queries.push(&directory, vector, Some((list, row)))? {
            self.versions.try_push(version)?;
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
        for at in set..2 {
            let Some(directory) = self.directory(at).filter(|_| !self.versions.is_empty()) else { continue };
            let later = at == set;
            if !later {
                self.queries.encode_again(&directory, around.progress)?;
            }
            let first = if later { self.queries.first_list() } else { 0 };
            let within = Within { ceiling: self.below, later, most: self.most };
            let Surroundings { store, table, progress } = around;
            let Self { queries, versions, values, below, measured, .. } = self;
            let mut measure = |queries: &[Query], near: &mut Vec<Near>| {
                let asked = (&*directory, (queries, &**versions), *below);
                *measured += measure(asked, near, (&mut **table, *progress), values, found)?;
                Ok(true)
            };
            let lists = (&*directory, first..directory.lists());
            queries.read(lists, within, (*store, *progress, Some(pool)), &mut measure)?;
        }
        self.queries.clear();
        self.versions.clear();
        Ok(())
    }
}

/// Measures rows that may be near, each once for all its queries, in the order of the table. Returns how many
/// were measured.
fn measure(
    (directory, (queries, versions), below): (&Directory, (&[Query], &[Tid]), f64),
    near: &mut [Near],
    (table, progress): (&mut dyn Table, &dyn Progress),
    values: &mut Vec<f64>,
    found: &mut dyn FnMut(Pair) -> Result<()>,
) -> Result<u64> {
    near.sort_unstable_by_key(|near| (near.row, near.query));
    let mut measured = 0;
    for near in near.chunk_by(|a, b| a.row == b.row) {
        progress.tick()?;
        measured += 1;
        values.clear();
        let version = values_of(directory, (near, queries), &mut *table, values)?;
        let Some(version) = version else { continue };
        for (near, &value) in near.iter().zip(&*values) {
            // NaN is not below any number.
            if value < below {
                let query = versions[near.query as usize];
                found(Pair { row: query.min(version), other: query.max(version), value })?;
            }
        }
    }
    Ok(measured)
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
