//! Every row that passes the filter columns, for queries that codes cannot order: NULL and zero queries, and
//! values beyond f32's squares.

use super::filter::Filter;
use super::output::{Output, Ready};
use super::rows::{Rows, value_of};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{self, Addresses, bits, guard_circle};
use crate::page::{NO_BLOCK, Page, PageKind, Store, Tid};

/// A scan of all lists.
pub struct FullScan {
    /// Whether all rows have been measured since the last that was let go.
    measured: Option<bool>,
    /// List and codes page that come next, unless all have been read.
    position: Option<(u32, u32)>,
    steps: u32,
    page: Vec<Tid>,
}

impl FullScan {
    /// Rows in no order; their values are NaN and the heap is left to the consumer.
    pub fn unordered() -> Self {
        Self { measured: None, position: Some((0, NO_BLOCK)), steps: 0, page: Vec::new() }
    }

    /// Rows in exact order: all are measured, and the nearest that the output has room for come; then anew
    /// for the rows behind them.
    pub fn ordered() -> Self {
        Self { measured: Some(false), ..Self::unordered() }
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
            measure((store, directory), filter, output, rows)?;
            self.measured = Some(true);
        }
        loop {
            if let Some(row) = output.take() {
                return Ok(Some((row.tid, row.value)));
            }
            if !output.is_spent() {
                return Ok(None);
            }
            output.restart();
            measure((store, directory), filter, output, rows)?;
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
        let Some((list, blkno)) = self.position else { return Ok(false) };
        let blkno = if blkno == NO_BLOCK { directory.head(list).0 } else { blkno };
        let page = Page::clone(&*store.read(blkno)?);
        page.expect_owned(blkno, PageKind::Codes, list)?;
        live_rows(store, directory, filter, (list, &page), &mut self.page)?;
        guard_circle(store, blkno, &mut self.steps)?;
        self.position = match page.next() {
            NO_BLOCK if list + 1 < directory.lists() => Some((list + 1, NO_BLOCK)),
            NO_BLOCK => None,
            next => Some((list, next)),
        };
        Ok(true)
    }
}

fn live_rows<S: Store>(
    store: &S,
    directory: &Directory,
    filter: &Filter,
    (list, page): (u32, &Page),
    out: &mut Vec<Tid>,
) -> Result<()> {
    let mut addresses = Addresses::new(store, directory);
    for b in 0..directory.codes.blocks() {
        let view = directory.codes.block(page, b);
        for slot in bits(filter.passing(&directory.codes, view, view.live())) {
            out.push(addresses.get(list, view.reference(slot))?);
        }
    }
    Ok(())
}

/// Puts out all rows as far as there is room.
fn measure<S: Store>(
    (store, directory): (&S, &Directory),
    filter: &Filter,
    output: &mut Output,
    rows: &mut dyn Rows,
) -> Result<()> {
    let mut page_rows = Vec::new();
    for list in 0..directory.lists() {
        list_chain::codes_pages(store, directory, list, |_, page| {
            live_rows(store, directory, filter, (list, page), &mut page_rows)?;
            for tid in page_rows.drain(..) {
                if let Some(value) = value_of(rows, tid, None)? {
                    let value = if value.is_nan() { f64::NAN } else { value };
                    output.push(Ready { key: value, value, tid })?;
                }
            }
            Ok(())
        })?;
    }
    output.settle_all()
}
