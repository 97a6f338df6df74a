//! Writing a built index: meta, origin, directory, list states, summaries of filter columns, then the codes
//! and extended records of each list. Pages are written in order of their numbers, and once each. Only the
//! summaries are written again at the end, because they are computed from the lists.

use super::input::{Options, Spool};
use super::model::Model;
use super::runs::{Record, Runs, Sorted};
use crate::error::{Error, Kind, Result};
use crate::ivf::code::write_code;
use crate::ivf::directory::{Directory, Entry, entry_size};
use crate::ivf::progress::Progress;
use crate::kernel::BLOCK_ROWS;
use crate::memory;
use crate::page::lists::{self, LISTS_PER_PAGE, ListState};
use crate::page::meta::META_BLOCK;
use crate::page::summary::{self, SUMMARY_SIZE};
use crate::page::tid::RecordRef;
use crate::page::{MAX_CHANGE_PAGES, Meta, NO_BLOCK, Page, PageKind, Root, Store, Summary, tape};

/// Writes block 0 as the meta page of an unfinished build.
pub fn reserve_meta<S: Store>(store: &S, options: &Options) -> Result<()> {
    let meta =
        Meta::unbuilt(options.metric, options.bits, options.dims as u32, options.seed, options.columns);
    store.change(|change| {
        let (blkno, handle) = change.extend()?;
        if blkno != META_BLOCK {
            return Err(Error::new(Kind::Internal, "an index is built in an empty file"));
        }
        Root::of(meta).write(change.page_mut(handle));
        Ok(())
    })
}

/// Declares the index complete.
pub fn finish<S: Store>(store: &S, meta: &Meta) -> Result<()> {
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        Root::of(Meta { ready: true, ..meta.clone() }).write(change.page_mut(handle));
        Ok(())
    })
}

/// Where pages come to lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the end of the file, which nobody else makes longer.
    End,
    /// On pages that were reserved.
    Reserved,
}

/// Writes consecutive pages, in batches of one change.
pub struct Pages<'a, S: Store> {
    store: &'a S,
    place: Place,
    next: u32,
    waiting: Vec<Page>,
}

impl<'a, S: Store> Pages<'a, S> {
    /// Appends pages from the block `next` on, which is the end of the file.
    fn at_end(store: &'a S, next: u32) -> Self {
        Self { store, place: Place::End, next, waiting: Vec::new() }
    }

    /// Writes pages to blocks that are reserved, from `next` on.
    pub fn reserved(store: &'a S, next: u32) -> Self {
        Self { store, place: Place::Reserved, next, waiting: Vec::new() }
    }
}

impl<S: Store> Pages<'_, S> {
    /// Writes a page, sooner or later, and says where.
    pub fn push(&mut self, page: Page) -> Result<u32> {
        let blkno = self.next;
        self.next = blkno.checked_add(1).filter(|&b| b != NO_BLOCK).ok_or_else(too_large)?;
        self.waiting.push(page);
        if self.waiting.len() == MAX_CHANGE_PAGES {
            self.flush()?;
        }
        Ok(blkno)
    }

    /// Writes what is waiting.
    pub fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let first = self.next - self.waiting.len() as u32;
        let (waiting, place) = (&mut self.waiting, self.place);
        self.store.change(|change| {
            for (blkno, page) in (first..).zip(waiting.drain(..)) {
                let (at, handle) = match place {
                    Place::End => change.extend()?,
                    Place::Reserved => (blkno, change.open(blkno)?),
                };
                if at != blkno {
                    return Err(Error::new(
                        Kind::Internal,
                        format!("block {at} was given out for block {blkno} while an index was built"),
                    ));
                }
                *change.page_mut(handle) = page;
            }
            Ok(())
        })
    }
}

/// Writes all pages except the final meta page, whose contents it returns.
pub fn index<S: Store>(
    store: &S,
    model: &mut Model,
    runs: Runs,
    spool: &mut dyn Spool,
    progress: &dyn Progress,
) -> Result<Meta> {
    let runs = runs.sort()?;
    let directory = &model.directory;
    let count = model.entries.len();
    let mut meta = directory.meta.clone();
    let origin = directory.origin_bytes();
    let size = entry_size(directory.padded()).checked_mul(count).ok_or_else(too_large)?;
    let columns = meta.columns.widths().len();
    let summary_pages = if columns == 0 { 0 } else { summary::pages(count as u32, columns) };
    let origin_size = origin.as_ref().map(Vec::len);
    let blkno = place(&mut meta, (origin_size, size, summary_pages), count as u32)?;
    let plans = plan(directory, &mut model.entries, &runs, blkno)?;
    meta.built_rows = (0..count).map(|l| u64::from(runs.count(l))).sum();

    let mut pages = Pages::at_end(store, META_BLOCK + 1);
    if let Some(origin) = origin {
        tape::write((PageKind::Origin, 0), &origin, |page| pages.push(page).map(drop))?;
    }
    let mut bytes = memory::with_capacity(size)?;
    model.entries.iter().for_each(|entry| entry.write(&mut bytes));
    tape::write((PageKind::Directory, 0), &bytes, |page| pages.push(page).map(drop))?;
    for states in plans.chunks(LISTS_PER_PAGE as usize) {
        let mut page = Page::zeroed();
        page.init(PageKind::Lists, 0);
        states.iter().enumerate().for_each(|(i, plan)| lists::write(&mut page, i, &plan.state));
        pages.push(page)?;
    }
    for _ in 0..summary_pages {
        pages.push(summaries_page(0))?;
    }
    progress.total(meta.built_rows);
    let mut done = 0;
    let mut summaries = vec![Summary::default(); columns];
    let mut open = summaries_page(0);
    for (list, plan) in plans.iter().enumerate() {
        summaries.fill(Summary::default());
        write_codes(directory, list, plan, &runs, spool, (&mut pages, &mut summaries))?;
        if columns > 0 {
            let (page, at) = summary::position(list as u32, columns);
            let places = open.content_mut()[at..].chunks_exact_mut(SUMMARY_SIZE);
            places.zip(&summaries).for_each(|(place, summary)| summary.write(place));
            if list + 1 == count || summary::position(list as u32 + 1, columns).0 != page {
                // The page was appended before the lists.
                pages.flush()?;
                let full = std::mem::replace(&mut open, summaries_page(0));
                pages.store.change(|change| {
                    let handle = change.open(meta.summaries_first + page)?;
                    *change.page_mut(handle) = full;
                    Ok(())
                })?;
            }
        }
        write_extended(directory, list, plan, &runs, spool, &mut pages)?;
        done += u64::from(runs.count(list));
        progress.done(done);
        progress.tick()?;
    }
    pages.flush()?;
    Ok(meta)
}

/// Assigns block numbers to origin, directory, list states and summaries; returns the first block after them.
fn place(
    meta: &mut Meta,
    (origin, directory, summaries): (Option<usize>, usize, u32),
    count: u32,
) -> Result<u32> {
    let mut blkno = META_BLOCK + 1;
    if let Some(origin) = origin {
        meta.origin_first = blkno;
        blkno += tape::pages(origin);
    }
    meta.directory_first = blkno;
    blkno = blkno.checked_add(tape::pages(directory)).ok_or_else(too_large)?;
    meta.lists_first = blkno;
    blkno = blkno.checked_add(count.div_ceil(LISTS_PER_PAGE)).ok_or_else(too_large)?;
    if summaries > 0 {
        meta.summaries_first = blkno;
        blkno = blkno.checked_add(summaries).ok_or_else(too_large)?;
    }
    Ok(blkno)
}

/// An empty page of summaries.
pub fn summaries_page(owner: u32) -> Page {
    let mut page = Page::zeroed();
    page.init(PageKind::Summaries, owner);
    page
}

/// Where the pages of a list come to lie.
pub struct Plan {
    /// The list's state when they are written.
    pub state: ListState,
    extended_first: u32,
    /// The page that follows on the last codes page, or [`NO_BLOCK`].
    tail: u32,
}

/// Pages that so many rows take: codes pages with their further ones, and extended pages.
pub fn pages_of(directory: &Directory, rows: u32) -> (u64, u64) {
    let codes = u64::from(rows).div_ceil(directory.codes.rows() as u64).max(1);
    let extended = directory.extended.map_or(0, |l| u64::from(rows).div_ceil(l.per_page() as u64));
    (codes * (1 + directory.codes.more() as u64), extended)
}

impl Plan {
    /// A list of so many rows on the blocks from `head` on, followed by `tail`. Its entry says so.
    ///
    /// # Errors
    /// The blocks are more than a file can have.
    pub fn of(directory: &Directory, entry: &mut Entry, (rows, head, tail): (u32, u64, u32)) -> Result<Self> {
        let (codes, extended) = pages_of(directory, rows);
        let step = 1 + directory.codes.more() as u32;
        let narrow = |b: u64| u32::try_from(b).ok().filter(|&b| b != NO_BLOCK).ok_or_else(too_large);
        let (extended_first, end) = (narrow(head + codes)?, narrow(head + codes + extended)?);
        let head = narrow(head)?;
        entry.head = head;
        entry.rows = rows;
        entry.contiguous = extended_first - head;
        Ok(Self {
            state: ListState {
                head,
                insert: extended_first - step,
                extended: if extended == 0 { NO_BLOCK } else { end - 1 },
                rows,
                contiguous: entry.contiguous,
                calibrated: rows.saturating_add(1),
                ..ListState::default()
            },
            extended_first,
            tail,
        })
    }
}

/// Assigns block numbers to every list: codes pages (each followed by its further pages), then extended
/// pages.
fn plan(directory: &Directory, entries: &mut [Entry], runs: &Sorted, first: u32) -> Result<Vec<Plan>> {
    let mut blkno = u64::from(first);
    let mut plans = memory::with_capacity(entries.len())?;
    for (list, entry) in entries.iter_mut().enumerate() {
        let rows = runs.count(list);
        plans.push(Plan::of(directory, entry, (rows, blkno, NO_BLOCK))?);
        let (codes, extended) = pages_of(directory, rows);
        blkno += codes + extended;
    }
    Ok(plans)
}

/// Writes the codes pages of a list, and takes the keys of its rows into the summaries.
pub fn write_codes<S: Store>(
    directory: &Directory,
    list: usize,
    plan: &Plan,
    runs: &Sorted,
    spool: &mut dyn Spool,
    (pages, summaries): (&mut Pages<'_, S>, &mut [Summary]),
) -> Result<()> {
    let layout = &directory.codes;
    let per_page = layout.rows();
    let mut open = new_codes(directory, list, pages.next);
    let mut row = 0usize;
    let mut keys = Vec::new();
    runs.each(list, spool, |record| {
        if row > 0 && row.is_multiple_of(per_page) {
            let next = pages.next + open.len() as u32;
            open[0].set_next(next);
            for page in open.drain(..) {
                pages.push(page)?;
            }
            open = new_codes(directory, list, next);
        }
        let coded = Record::read(record, directory);
        let reference = match directory.extended {
            Some(layout) => RecordRef {
                blkno: plan.extended_first + (row / layout.per_page()) as u32,
                offset: (row % layout.per_page()) as u16,
            },
            None => coded.tid,
        };
        let (index, slot) = (row % per_page / BLOCK_ROWS, row % per_page % BLOCK_ROWS);
        let (first, more) = open.split_at_mut(1);
        let mut block = layout.block_mut(&mut first[0], index);
        block.put(slot, coded.add, coded.rescale, reference);
        directory.meta.columns.read_row(coded.keys, &mut keys);
        layout.put_keys(&mut block, slot, &keys);
        summaries.iter_mut().zip(&keys).for_each(|(summary, &key)| summary.add(key));
        write_code(directory, block.codes(), 0, slot, coded.signs);
        for (i, page) in more.iter_mut().enumerate() {
            let (group, _) = layout.more_groups(i);
            write_code(directory, layout.more_codes_mut(page, i), group, slot, coded.signs);
        }
        row += 1;
        Ok(())
    })?;
    open[0].set_next(plan.tail);
    open.into_iter().try_for_each(|page| pages.push(page).map(drop))
}

/// An empty codes page for `blkno`, and the further pages that follow it.
pub fn new_codes(directory: &Directory, list: usize, blkno: u32) -> Vec<Page> {
    let layout = &directory.codes;
    let mut pages = vec![Page::zeroed(); 1 + layout.more()];
    let owner = directory.owner(list as u32);
    pages[0].init(PageKind::Codes, owner);
    if layout.more() > 0 {
        let more: Vec<u32> = (blkno + 1..).take(layout.more()).collect();
        layout.block_mut(&mut pages[0], 0).set_more(&more);
        pages[1..].iter_mut().for_each(|p| p.init(PageKind::CodesMore, owner));
    }
    pages
}

/// Writes the extended pages of a list.
pub fn write_extended<S: Store>(
    directory: &Directory,
    list: usize,
    plan: &Plan,
    runs: &Sorted,
    spool: &mut dyn Spool,
    pages: &mut Pages<'_, S>,
) -> Result<()> {
    let Some(layout) = directory.extended else { return Ok(()) };
    let mut page = Page::zeroed();
    let mut previous = NO_BLOCK;
    let mut used = 0;
    runs.each(list, spool, |record| {
        if used == layout.per_page() {
            previous = pages.push(page.clone())?;
            used = 0;
        }
        if used == 0 {
            page.init(PageKind::Extended, directory.owner(list as u32));
            page.set_next(previous);
        }
        let row = Record::read(record, directory);
        let (tid, rest) = layout.record_mut(&mut page, used).split_at_mut(crate::page::TID_SIZE);
        tid.copy_from_slice(&row.tid.to_bytes());
        rest.copy_from_slice(row.extended);
        used += 1;
        page.set_count(used as u32);
        Ok(())
    })?;
    if used > 0 {
        pages.push(page)?;
    }
    debug_assert!(
        plan.state.extended == NO_BLOCK || plan.state.extended == pages.next - 1,
        "the plan and the pages agree"
    );
    Ok(())
}

fn too_large() -> Error {
    Error::new(Kind::LimitExceeded, "ivf index would have more blocks than a relation can")
}
