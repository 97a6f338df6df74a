//! Scans of all rows that pass the filter columns, for queries for which codes cannot order the rows: NULL
//! and zero queries, queries whose squares overflow f32, and exact scans of sketches.

use super::filter::Filter;
use super::output::{Output, Ready};
use super::rows::{Rows, value_of};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{self, Addresses, ListChain};
use crate::memory::Grow;
use crate::page::codes::slots;
use crate::page::{Page, Store, Tid};
use crate::value::TotalF64;

/// A scan of all lists.
pub struct FullScan {
    /// Whether values of all rows have been computed since the last row was dropped; `None` for a scan
    /// without an order.
    measured: Option<bool>,
    /// Rows with greater values are not wanted.
    ceiling: f64,
    /// The current list; `None` if all have been read.
    chain: Option<ListChain>,
    /// The rows of the current page that were not returned yet.
    page: Vec<Tid>,
}

impl FullScan {
    /// A scan without an order: values are NaN, and the consumer fetches the rows.
    pub fn unordered(directory: &Directory) -> Self {
        Self {
            measured: None,
            ceiling: f64::INFINITY,
            chain: Some(ListChain::new(directory, 0)),
            page: Vec::new(),
        }
    }

    /// A scan in exact order. A pass computes the values of all rows, and returns as many of the nearest as
    /// the output has room for. The next pass returns the rows behind these.
    pub fn ordered(ceiling: f64) -> Self {
        Self { measured: Some(false), ceiling, chain: None, page: Vec::new() }
    }

    /// The next row.
    pub fn next<S: Store>(
        &mut self,
        (store, directory): (&S, &Directory),
        filter: &Filter,
        output: &mut Output,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        let Some(measured) = self.measured else { return self.next_unordered(store, directory, filter) };
        if !measured {
            measure((store, directory), (filter, self.ceiling), output, rows)?;
            self.measured = Some(true);
        }
        loop {
            if let Some(row) = output.take() {
                return Ok(Some((row.tid, row.value.0)));
            }
            if !output.is_spent() {
                return Ok(None);
            }
            output.restart();
            measure((store, directory), (filter, self.ceiling), output, rows)?;
        }
    }

    fn next_unordered<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        filter: &Filter,
    ) -> Result<Option<(Tid, f64)>> {
        loop {
            if let Some(tid) = self.page.pop() {
                return Ok(Some((tid, f64::NAN)));
            }
            if !self.read_page(store, directory, filter)? {
                return Ok(None);
            }
        }
    }

    fn read_page<S: Store>(&mut self, store: &S, directory: &Directory, filter: &Filter) -> Result<bool> {
        let Some(chain) = &mut self.chain else { return Ok(false) };
        let list = chain.list();
        match chain.next(store)? {
            Some((_, page)) => {
                let copy = Page::clone(&*page);
                drop(page);
                live_rows(store, directory, filter, (list, &copy), &mut self.page)?;
            }
            None => {
                let next = list + 1;
                self.chain = (next < directory.lists()).then(|| ListChain::new(directory, next));
            }
        }
        Ok(true)
    }
}

/// Adds the addresses of the rows of a page that pass.
pub(super) fn live_rows<S: Store>(
    store: &S,
    directory: &Directory,
    filter: &Filter,
    (list, page): (u32, &Page),
    out: &mut Vec<Tid>,
) -> Result<()> {
    let mut addresses = Addresses::new(store, directory);
    for view in directory.codes.blocks_on(page) {
        for slot in slots(filter.passing(&directory.codes, view, view.live())) {
            out.try_push(addresses.get(list, view.reference(slot))?)?;
        }
    }
    Ok(())
}

/// Passes all rows to the output, which keeps those that fit.
fn measure<S: Store>(
    (store, directory): (&S, &Directory),
    (filter, ceiling): (&Filter, f64),
    output: &mut Output,
    rows: &mut dyn Rows,
) -> Result<()> {
    let mut page_rows = Vec::new();
    for list in 0..directory.lists() {
        list_chain::codes_pages(store, directory, list, |_, page| {
            live_rows(store, directory, filter, (list, page), &mut page_rows)?;
            for tid in page_rows.drain(..) {
                if let Some(value) = value_of(rows, tid, None)? {
                    let value = TotalF64(if value.is_nan() { f64::NAN } else { value });
                    // NaN comes last, and is no farther than the threshold for a scan without one.
                    if value.0.is_nan() || value.0 <= ceiling {
                        output.push(Ready { value, tid, key: value })?;
                    }
                }
            }
            Ok(())
        })?;
    }
    output.settle_all()
}
