//! Scans of all rows that pass the filter columns, for queries for which codes cannot order the rows: NULL
//! and zero queries, queries whose squares overflow f32, and exact scans of sketches. If extended records
//! have the elements of the rows, only rows are fetched that may be among the nearest or in the range.

use super::filter::Filter;
use super::key::ceiling_key;
use super::list_scan::Stats;
use super::output::{Output, Ready};
use super::rows::{Rows, value_of};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{self, Addresses, ListChain};
use crate::memory::Grow;
use crate::page::codes::slots;
use crate::page::{Page, Store, Tid};
use crate::quant::elements::QueryElements;
use crate::value::TotalF64;

/// What a scan returns.
#[derive(Clone, Copy)]
enum Kind {
    /// All rows, without values.
    Addresses,
    /// The rows with values up to this, as they are found.
    Within(f64),
    /// The rows with values up to this in order. `measured`: whether all rows have been looked at since the
    /// last row was dropped. The output has room for so many rows, and for `most` at last.
    InOrder { ceiling: f64, measured: bool, room: usize, most: usize },
}

/// A scan of all lists.
pub struct FullScan {
    kind: Kind,
    /// The current list; `None` if all have been read.
    chain: Option<ListChain>,
    /// The rows of the current page that were not returned yet.
    page: Vec<Tid>,
    /// What was done since [`FullScan::take_stats`].
    stats: Stats,
}

impl FullScan {
    /// A scan without an order: values are NaN, and the consumer fetches the rows.
    pub fn unordered(directory: &Directory) -> Self {
        let chain = Some(ListChain::new(directory, 0));
        Self { kind: Kind::Addresses, chain, page: Vec::new(), stats: Stats::default() }
    }

    /// A scan of the rows with values up to `ceiling`, as they are found.
    pub fn within(directory: &Directory, ceiling: f64) -> Self {
        Self { kind: Kind::Within(ceiling), ..Self::unordered(directory) }
    }

    /// A scan in exact order. A pass looks at all rows, and returns as many of the nearest as the output has
    /// room for: `room` at first, because a row is not fetched if its elements show that it will be dropped.
    /// The next pass returns the rows behind these, four times as many, but at most `most`.
    pub fn ordered(ceiling: f64, (room, most): (usize, usize)) -> Self {
        let kind = Kind::InOrder { ceiling, measured: false, room: room.min(most), most };
        Self { kind, chain: None, page: Vec::new(), stats: Stats::default() }
    }

    /// What was done since the last call.
    pub fn take_stats(&mut self) -> Stats {
        std::mem::take(&mut self.stats)
    }

    /// The next row.
    pub fn next<S: Store>(
        &mut self,
        index: (&S, &Directory),
        which: Which<'_>,
        output: &mut Output,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        let ceiling = match &mut self.kind {
            Kind::Addresses => {
                let next = self.next_address(index, which, f64::INFINITY)?;
                return Ok(next.map(|tid| (tid, f64::NAN)));
            }
            Kind::Within(ceiling) => {
                let ceiling = *ceiling;
                return self.next_within(index, which, ceiling, rows);
            }
            Kind::InOrder { ceiling, measured, room, .. } => {
                if !std::mem::replace(measured, true) {
                    output.set_room(*room);
                    measure(index, (which, *ceiling), (output, &mut self.stats), rows)?;
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
            if let Kind::InOrder { room, most, .. } = &mut self.kind {
                *room = room.saturating_mul(4).min(*most);
                output.set_room(*room);
            }
            measure(index, (which, ceiling), (output, &mut self.stats), rows)?;
        }
    }

    fn next_within<S: Store>(
        &mut self,
        index: (&S, &Directory),
        which: Which<'_>,
        ceiling: f64,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        while let Some(tid) = self.next_address(index, which, ceiling)? {
            self.stats.rows += 1;
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
        index: (&S, &Directory),
        which: Which<'_>,
        ceiling: f64,
    ) -> Result<Option<Tid>> {
        loop {
            if let Some(tid) = self.page.pop() {
                return Ok(Some(tid));
            }
            if !self.read_page(index, which, ceiling)? {
                return Ok(None);
            }
        }
    }

    fn read_page<S: Store>(
        &mut self,
        (store, directory): (&S, &Directory),
        which: Which<'_>,
        ceiling: f64,
    ) -> Result<bool> {
        let Some(chain) = &mut self.chain else { return Ok(false) };
        let list = chain.list();
        match chain.next(store)? {
            Some((_, page)) => {
                let copy = Page::clone(&*page);
                drop(page);
                let row = |tid| self.page.try_push(tid);
                let ceiling = ceiling_key(directory, ceiling);
                self.stats.extended += live_rows((store, directory), which, (list, &copy), ceiling, row)?;
            }
            None => {
                self.stats.lists += 1;
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

/// Which rows a scan looks at.
#[derive(Clone, Copy)]
pub(super) struct Which<'a> {
    /// Conditions on the filter columns.
    pub filter: &'a Filter,
    /// The query as the rows' elements are compared with it, if they are known.
    pub elements: Option<&'a QueryElements>,
    /// The lists, the best first, if that is known.
    pub lists: &'a [u32],
}

/// Passes on the addresses of the rows of a page that pass the filter, unless their elements show that their
/// keys are above `ceiling`. Returns how many rows' elements were compared.
pub(super) fn live_rows<S: Store>(
    (store, directory): (&S, &Directory),
    Which { filter, elements, .. }: Which<'_>,
    (list, page): (u32, &Page),
    ceiling: f32,
    mut row: impl FnMut(Tid) -> Result<()>,
) -> Result<u64> {
    let mut refined = 0;
    let mut addresses = Addresses::new(store, directory);
    for view in directory.codes.blocks_on(page) {
        for slot in slots(filter.passing(&directory.codes, view, view.live())) {
            let (tid, record) = addresses.record(list, view.reference(slot))?;
            refined += u64::from(elements.is_some());
            if elements.is_none_or(|elements| elements.sound_bound(record) <= ceiling) {
                row(tid)?;
            }
        }
    }
    Ok(refined)
}

/// Passes to the output all rows that it may keep.
fn measure<S: Store>(
    (store, directory): (&S, &Directory),
    (which, ceiling): (Which<'_>, f64),
    (output, stats): (&mut Output, &mut Stats),
    rows: &mut dyn Rows,
) -> Result<()> {
    let mut page_rows = Vec::new();
    for number in 0..directory.lists() {
        stats.lists += 1;
        let list = which.lists.get(number as usize).copied().unwrap_or(number);
        list_chain::codes_pages(store, directory, list, |_, page| {
            let most = ceiling_key(directory, ceiling.min(output.farthest()));
            let row = |tid| page_rows.try_push(tid);
            stats.extended += live_rows((store, directory), which, (list, page), most, row)?;
            stats.rows += page_rows.len() as u64;
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
