//! The exact values of the candidates of many queries. Each row is fetched once for all queries that need it,
//! in the order of the table.

use super::super::key::{key_of, known_value};
use super::super::list_scan::Candidate;
use super::super::output::Ready;
use super::super::rows::{Rows, is_address};
use super::query::{Found, Query};
use crate::error::{Error, Result};
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory::Grow;
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

/// A row that a query needs.
#[derive(Clone, Copy)]
struct Need {
    row: Tid,
    /// The query's place in the batch.
    query: u32,
    /// The value, if the index knows it.
    known: Option<f64>,
}

/// Memory for measuring.
#[derive(Default)]
pub(super) struct Measuring {
    needs: Vec<Need>,
    values: Vec<f64>,
    /// Rows fetched.
    pub rows: u64,
}

impl Measuring {
    /// Measures rows until each query knows its nearest, or has no more candidates.
    pub fn measure(
        &mut self,
        directory: &Directory,
        (queries, wanted): (&mut [Query], usize),
        table: &mut dyn Table,
        progress: &dyn Progress,
    ) -> Result<()> {
        loop {
            let needs = &mut self.needs;
            needs.clear();
            for (at, query) in (0..).zip(&mut *queries) {
                query.next_rows(directory, wanted, |candidate: Candidate| {
                    let known = known_value(directory, candidate);
                    needs.try_push(Need { row: candidate.tid, query: at, known })
                })?;
            }
            if needs.is_empty() {
                return Ok(());
            }
            needs.sort_unstable_by_key(|need| (need.row, need.query));
            for needs in self.needs.chunk_by(|a, b| a.row == b.row) {
                progress.tick()?;
                self.rows += 1;
                self.values.clear();
                let version = values_of(directory, (needs, queries), table, &mut self.values)?;
                let Some(version) = version else { continue };
                for (need, &value) in needs.iter().zip(&self.values) {
                    // NaN comes last, as PostgreSQL sorts it, whatever its sign.
                    let value = if value.is_nan() { f64::NAN } else { value };
                    let key = TotalF64(key_of(directory, value));
                    let ready = Ready { value: TotalF64(value), tid: need.row, key };
                    queries[need.query as usize].take(Found { ready, version })?;
                }
            }
        }
    }
}

/// The error of an index that refers to an address that no row has.
pub(super) fn address_error(row: Tid) -> Error {
    Error::corrupted(0, format!("({},{}) is no address of a row", row.blkno, row.offset))
}

/// Computes the values of one row for the queries that need it. Returns the address of the row's version, if
/// the snapshot sees one.
fn values_of(
    directory: &Directory,
    (needs, queries): (&[Need], &[Query]),
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
