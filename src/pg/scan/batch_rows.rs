//! The table as a batch of queries reads it.

use super::table_rows::{Measured, TableRows};
use crate::error::Result;
use crate::ivf::search::Rows;
use crate::ivf::search::batch::{Table, WithVector};
use crate::page::Tid;
use crate::pg::datum::indexed::Query;

/// The rows of a table, without a filter.
pub struct BatchRows(pub TableRows);

impl Table for BatchRows {
    fn measured(&mut self, row: Tid, with: &mut WithVector<'_>) -> Result<Option<Tid>> {
        self.0.visit(row, Some(with))
    }

    fn version(&mut self, row: Tid) -> Result<Option<Tid>> {
        self.0.visit(row, None)
    }

    fn rows<'a>(&'a mut self, query: &'a [f32]) -> Box<dyn Rows + 'a> {
        Box::new(Measured { rows: &mut self.0, query: Some(Query::Vector(query)) })
    }
}
