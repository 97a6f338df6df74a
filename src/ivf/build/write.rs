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
use crate::page::{MAX_CHANGE_PAGES, Meta, NO_BLOCK, Page, PageKind, Store, Summary, tape};

/// Writes block 0 as the meta page of an unfinished build.
pub fn reserve_meta<S: Store>(store: &S, options: &Options) -> Result<()> {
    let meta =
        Meta::unbuilt(options.metric, options.bits, options.dims as u32, options.seed, options.columns);
    store.change(|change| {
        let (blkno, handle) = change.extend()?;
        if blkno != META_BLOCK {
            return Err(Error::new(Kind::Internal, "an index is built in an empty file"));
        }
        meta.write(change.page_mut(handle));
        Ok(())
    })
}

/// Declares the index complete.
pub fn finish<S: Store>(store: &S, meta: &Meta) -> Result<()> {
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        Meta { ready: true, ..meta.clone() }.write(change.page_mut(handle));
        Ok(())
    })
}

/// Appends pages in batches of one change.
struct Pages<'a, S: Store> {
    store: &'a S,
    next: u32,
    waiting: Vec<Page>,
}

impl<S: Store> Pages<'_, S> {
    fn push(&mut self, page: Page) -> Result<u32> {
        let blkno = self.next;
        self.next = blkno.checked_add(1).filter(|&b| b != NO_BLOCK).ok_or_else(too_large)?;
        self.waiting.push(page);
        if self.waiting.len() == MAX_CHANGE_PAGES {
            self.flush()?;
        }
        Ok(blkno)
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let first = self.next - self.waiting.len() as u32;
        let waiting = &mut self.waiting;
        self.store.change(|change| {
            for (blkno, page) in (first..).zip(waiting.drain(..)) {
                let (at, handle) = change.extend()?;
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
    let origin: Vec<u8> = directory.origin.iter().flat_map(|x| x.to_le_bytes()).collect();
    let size = entry_size(directory.padded()).checked_mul(count).ok_or_else(too_large)?;
    let columns = meta.columns.widths().len();
    let summary_pages = if columns == 0 { 0 } else { summary::pages(count as u32, columns) };
    let has_origin = directory.origin.iter().any(|&x| x != 0.0);
    let origin_size = has_origin.then_some(origin.len());
    let blkno = place(&mut meta, (origin_size, size, summary_pages), count as u32)?;
    let plans = plan(directory, &mut model.entries, &runs, blkno)?;
    meta.built_rows = (0..count).map(|l| u64::from(runs.count(l))).sum();

    let mut pages = Pages { store, next: META_BLOCK + 1, waiting: Vec::new() };
    if meta.origin_first != NO_BLOCK {
        tape::write(PageKind::Origin, &origin, |page| pages.push(page).map(drop))?;
    }
    let mut bytes = memory::with_capacity(size)?;
    model.entries.iter().for_each(|entry| entry.write(&mut bytes));
    tape::write(PageKind::Directory, &bytes, |page| pages.push(page).map(drop))?;
    for states in plans.chunks(LISTS_PER_PAGE as usize) {
        let mut page = Page::zeroed();
        page.init(PageKind::Lists, 0);
        states.iter().enumerate().for_each(|(i, plan)| lists::write(&mut page, i, &plan.state));
        pages.push(page)?;
    }
    for _ in 0..summary_pages {
        pages.push(summaries_page())?;
    }
    progress.total(meta.built_rows);
    let mut done = 0;
    let mut summaries = vec![Summary::default(); columns];
    let mut open = summaries_page();
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
                let full = std::mem::replace(&mut open, summaries_page());
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

fn summaries_page() -> Page {
    let mut page = Page::zeroed();
    page.init(PageKind::Summaries, 0);
    page
}

struct Plan {
    state: ListState,
    extended_first: u32,
}

/// Assigns block numbers to every list: codes pages (each followed by its further pages), then extended
/// pages.
fn plan(directory: &Directory, entries: &mut [Entry], runs: &Sorted, first: u32) -> Result<Vec<Plan>> {
    let mut blkno = u64::from(first);
    let mut plans = memory::with_capacity(entries.len())?;
    for (list, entry) in entries.iter_mut().enumerate() {
        let rows = runs.count(list);
        let step = 1 + directory.codes.more() as u64;
        let codes = u64::from(rows).div_ceil(directory.codes.rows() as u64).max(1);
        let extended = directory.extended.map_or(0, |l| u64::from(rows).div_ceil(l.per_page() as u64));
        let narrow = |b: u64| u32::try_from(b).ok().filter(|&b| b != NO_BLOCK).ok_or_else(too_large);
        let head = narrow(blkno)?;
        let extended_first = narrow(blkno + codes * step)?;
        blkno += codes * step + extended;
        let end = narrow(blkno)?;
        entry.head = head;
        entry.rows = rows;
        entry.contiguous = extended_first - head;
        plans.push(Plan {
            state: ListState {
                head,
                insert: extended_first - step as u32,
                extended: if extended == 0 { NO_BLOCK } else { end - 1 },
                rows,
                contiguous: entry.contiguous,
                calibrated: rows.saturating_add(1),
            },
            extended_first,
        });
    }
    Ok(plans)
}

fn write_codes<S: Store>(
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
    open.into_iter().try_for_each(|page| pages.push(page).map(drop))
}

/// An empty codes page for `blkno`, and the further pages that follow it.
fn new_codes(directory: &Directory, list: usize, blkno: u32) -> Vec<Page> {
    let layout = &directory.codes;
    let mut pages = vec![Page::zeroed(); 1 + layout.more()];
    pages[0].init(PageKind::Codes, list as u32);
    if layout.more() > 0 {
        let more: Vec<u32> = (blkno + 1..).take(layout.more()).collect();
        layout.block_mut(&mut pages[0], 0).set_more(&more);
        pages[1..].iter_mut().for_each(|p| p.init(PageKind::CodesMore, list as u32));
    }
    pages
}

fn write_extended<S: Store>(
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
            page.init(PageKind::Extended, list as u32);
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
    Error::new(Kind::LimitExceeded, "the index would have more blocks than a relation can")
}
