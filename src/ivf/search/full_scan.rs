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

/// What a scan returns.
#[derive(Clone, Copy)]
enum Kind {
    /// All rows, without values.
    Addresses,
    /// The rows with values up to this, as they are found.
    Within(f64),
    /// The rows with values up to this in order. `measured`: whether the values of all rows have been
    /// computed since the last row was dropped.
    InOrder { ceiling: f64, measured: bool },
}

/// A scan of all lists.
pub struct FullScan {
    kind: Kind,
    /// The current list; `None` if all have been read.
    chain: Option<ListChain>,
    /// The rows of the current page that were not returned yet.
    page: Vec<Tid>,
}

impl FullScan {
    /// A scan without an order: values are NaN, and the consumer fetches the rows.
    pub fn unordered(directory: &Directory) -> Self {
        Self { kind: Kind::Addresses, chain: Some(ListChain::new(directory, 0)), page: Vec::new() }
    }

    /// A scan of the rows with values up to `ceiling`, as they are found.
    pub fn within(directory: &Directory, ceiling: f64) -> Self {
        Self { kind: Kind::Within(ceiling), ..Self::unordered(directory) }
    }

    /// A scan in exact order. A pass computes the values of all rows, and returns as many of the nearest as
    /// the output has room for. The next pass returns the rows behind these.
    pub fn ordered(ceiling: f64) -> Self {
        Self { kind: Kind::InOrder { ceiling, measured: false }, chain: None, page: Vec::new() }
    }

    /// The next row.
    pub fn next<S: Store>(
        &mut self,
        (store, directory): (&S, &Directory),
        filter: &Filter,
        output: &mut Output,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        let ceiling = match &mut self.kind {
            Kind::Addresses => {
                let next = self.next_address(store, directory, filter)?;
                return Ok(next.map(|tid| (tid, f64::NAN)));
            }
            Kind::Within(ceiling) => {
                let ceiling = *ceiling;
                return self.next_within((store, directory), filter, ceiling, rows);
            }
            Kind::InOrder { ceiling, measured } => {
                if !std::mem::replace(measured, true) {
                    measure((store, directory), (filter, *ceiling), output, rows)?;
                }
                *ceiling
            }
        };
        loop {
            if let Some(row) = output.take() {
                return Ok(Some((row.tid, row.value.0)));
            }
            if !output.is_spent() {
                return Ok(None);
            }
            output.restart();
            measure((store, directory), (filter, ceiling), output, rows)?;
        }
    }

    fn next_within<S: Store>(
        &mut self,
        (store, directory): (&S, &Directory),
        filter: &Filter,
        ceiling: f64,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        while let Some(tid) = self.next_address(store, directory, filter)? {
            if let Some(value) = value_of(rows, tid, None)?
                && is_within(value, ceiling)
            {
                return Ok(Some((tid, value)));
            }
        }
        Ok(None)
    }

    fn next_address<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        filter: &Filter,
    ) -> Result<Option<Tid>> {
        loop {
            if let Some(tid) = self.page.pop() {
                return Ok(Some(tid));
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

/// Whether a value may be wanted. NaN comes last, and is no farther than the threshold of a scan without one.
pub(super) fn is_within(value: f64, ceiling: f64) -> bool {
    value.is_nan() || value <= ceiling
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
                    if is_within(value.0, ceiling) {
                        output.push(Ready { value, tid, key: value })?;
                    }
                }
            }
            Ok(())
        })?;
    }
    output.settle_all()
}
