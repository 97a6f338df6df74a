//! The exact values of the candidates of many queries.
//!
//! Rows that are queries themselves need not be fetched: threads compute their values from the queries'
//! vectors. In a round each other row is fetched once for all queries that need it, in the table's order.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use rayon::ThreadPool;

use super::super::candidates::Mark;
use super::super::key::{key_of, known_value};
use super::super::output::Ready;
use super::super::rows::{Rows, address_error, is_address};
use super::frozen::OfBlock;
use super::query::{Finding, Found, Itself, Need, Query};
use super::shares::{self, in_shares};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory::{Grow, fallibly, out_of_memory};
use crate::page::Tid;
use crate::value::TotalF64;

/// What is done with a row's vector.
pub type WithVector<'a> = dyn FnMut(&[f32]) -> Result<()> + 'a;

/// The table as a batch sees it.
pub trait Table {
    /// Calls `with` with the indexed vector of the row that the snapshot sees at this address, and returns
    /// the address of this version; `None` if there is no such row.
    ///
    /// # Errors
    /// Those of `with`, and whatever the evaluation raises.
    fn measured(&mut self, row: Tid, with: &mut WithVector<'_>) -> Result<Option<Tid>>;

    /// The address of the version that the snapshot sees, without its vector.
    ///
    /// # Errors
    /// Whatever the table raises.
    fn version(&mut self, row: Tid) -> Result<Option<Tid>>;

    /// The rows as an ordinary scan for a query sees them.
    fn rows<'a>(&'a mut self, query: &'a [f32]) -> Box<dyn Rows + 'a>;
}

/// Coordinates that threads compare before a cancel is noticed.
const COMPARED: usize = 1 << 28;

/// What a thread needs.
#[derive(Default)]
struct Worker {
    /// Rows that a query needs next.
    next: Vec<Mark>,
    /// Those that have to be fetched.
    needs: Vec<Need>,
}

/// Memory for measuring.
#[derive(Default)]
pub(super) struct Measuring {
    workers: Vec<Worker>,
    needs: Vec<Need>,
    values: Vec<f64>,
    /// The places of the rows that are queries.
    queries: HashMap<Tid, u32, BuildHasherDefault<OfBlock>>,
    /// Rows fetched.
    pub rows: u64,
}

/// Queries whose rows are measured.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub directory: &'a Directory,
    pub queries: &'a [Query],
    /// Rows that each of them wants.
    pub wanted: usize,
}

impl Measuring {
    /// Measures rows until each query knows its nearest, or has no more candidates.
    ///
    /// # Errors
    /// Damage, out of memory, and those of the table.
    pub fn measure(
        &mut self,
        asked: Asked<'_>,
        findings: &mut [Finding],
        table: &mut dyn Table,
        (progress, pool): (&dyn Progress, Option<&ThreadPool>),
    ) -> Result<()> {
        let Asked { directory, queries, wanted } = asked;
        self.queries.clear();
        let bytes = size_of::<(Tid, u32)>() * queries.len();
        fallibly(|| self.queries.try_reserve(queries.len())).map_err(|_| out_of_memory(bytes))?;
        let rows = (0..).zip(queries).filter_map(|(at, query)| Some((query.itself?.row, at)));
        self.queries.extend(rows);
        while self.workers.len() < shares::workers(pool) {
            self.workers.try_push(Worker::default())?;
        }
        let together = (COMPARED / (wanted * directory.dims()).max(1)).max(1);
        loop {
            self.needs.clear();
            for (at, findings) in (0..).step_by(together).zip(findings.chunks_mut(together)) {
                progress.tick()?;
                in_shares(pool, &mut self.workers, findings, |worker, first, findings| {
                    let mut all = (at + first as u32..).zip(findings);
                    all.try_for_each(|(at, finding)| worker.find(asked, &self.queries, at, finding))
                })?;
                for worker in &mut self.workers {
                    self.needs.try_extend(&worker.needs)?;
                    worker.needs.clear();
                }
            }
            if self.needs.is_empty() {
                return Ok(());
            }
            self.fetch(asked, findings, table, progress)?;
        }
    }

    /// Fetches the rows that are needed.
    fn fetch(
        &mut self,
        asked: Asked<'_>,
        findings: &mut [Finding],
        table: &mut dyn Table,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.needs.sort_unstable_by_key(|need| (need.row, need.query));
        for needs in self.needs.chunk_by(|a, b| a.row == b.row) {
            progress.tick()?;
            self.rows += 1;
            self.values.clear();
            let version = values_of(asked, needs, table, &mut self.values)?;
            let Some(version) = version else { continue };
            for (need, &value) in needs.iter().zip(&self.values) {
                let finding = &mut findings[need.query as usize];
                finding.take(found(asked.directory, Itself { row: need.row, version }, value))?;
            }
        }
        Ok(())
    }
}

impl Worker {
    /// Measures the next rows of a query, until one has to be fetched, or its nearest are known.
    fn find(
        &mut self,
        Asked { directory, queries, wanted }: Asked<'_>,
        rows: &HashMap<Tid, u32, BuildHasherDefault<OfBlock>>,
        at: u32,
        finding: &mut Finding,
    ) -> Result<()> {
        let Self { next, needs } = self;
        let vector = &queries[at as usize].vector;
        let fetched = needs.len();
        while needs.len() == fetched {
            next.clear();
            finding.next_rows(directory, wanted, |row| next.try_push(row))?;
            if next.is_empty() {
                break;
            }
            for mark in &*next {
                let known = known_value(directory, mark.lower.0);
                let row = rows.get(&mark.tid).map(|&row| &queries[row as usize]);
                let Some((row, itself)) = row.and_then(|row| Some((row, row.itself?))) else {
                    needs.try_push(Need { row: mark.tid, query: at, known })?;
                    continue;
                };
                let value = match known {
                    Some(value) => value,
                    None => directory.metric().distance(&row.vector, vector)?,
                };
                finding.take(found(directory, itself, value))?;
            }
        }
        Ok(())
    }
}

/// A row with its value.
fn found(directory: &Directory, Itself { row, version }: Itself, value: f64) -> Found {
    // NaN comes last, as PostgreSQL sorts it, whatever its sign.
    let value = if value.is_nan() { f64::NAN } else { value };
    let key = TotalF64(key_of(directory, value));
    Found { ready: Ready { value: TotalF64(value), tid: row, key }, version }
}

/// Computes the values of one row for the queries that need it. Returns the address of the row's version, if
/// the snapshot sees one.
fn values_of(
    Asked { directory, queries, .. }: Asked<'_>,
    needs: &[Need],
    table: &mut dyn Table,
    values: &mut Vec<f64>,
) -> Result<Option<Tid>> {
    let row = needs[0].row;
    if !is_address(row) {
        return Err(address_error(row));
    }
    if directory.is_exact() {
        values.grow(needs.len())?;
        values.extend(needs.iter().filter_map(|need| need.known));
        return table.version(row);
    }
    table.measured(row, &mut |vector| {
        for need in needs {
            let query = &queries[need.query as usize].vector;
            values.try_push(directory.metric().distance(vector, query)?)?;
        }
        Ok(())
    })
}
