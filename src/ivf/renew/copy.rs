//! The rows of the lists in use are coded again and written to the new lists.

use std::sync::Arc;

use rayon::ThreadPool;

use super::frozen::Frozen;
use super::leave::take_out_if_empty;
use super::publish::write_directory;
use super::space::Space;
use crate::error::Result;
use crate::ivf::build::write::{Pages, Plan, pages_of, write_codes, write_extended};
use crate::ivf::build::{Coder, Options, Routing, Runs, Source, Spool};
use crate::ivf::directory::{Directory, Entry};
use crate::ivf::progress::Progress;
use crate::memory;
use crate::page::lists::{self, KEPT, LISTS_PER_PAGE};
use crate::page::summary::SUMMARY_SIZE;
use crate::page::{Meta, NO_BLOCK, PageKind, Store, Summary};

/// The rows of an index, coded for its new lists.
pub struct Coded {
    directory: Arc<Directory>,
    runs: Runs,
    radii: Vec<f32>,
}

/// Reads the rows of the lists in use from the table, and codes them.
///
/// # Errors
/// As [`super::renew`].
pub fn code<S: Store>(
    store: &S,
    current: &Directory,
    (next, routing): (Directory, Routing),
    options: &Options,
    (source, spool): (&mut dyn Source, &mut dyn Spool),
    (pool, progress): (&ThreadPool, &dyn Progress),
) -> Result<Coded> {
    let mut frozen = Frozen::of(store, current, progress)?;
    progress.total(frozen.left());
    let directory = Arc::new(next);
    let routing = if directory.lists() == 1 { Routing::One } else { routing };
    let mut coder = Coder::new((Arc::clone(&directory), routing), options, pool, spool, progress)?;
    source.scan(&mut |tid, value, keys| {
        if frozen.take(tid) { coder.push(tid, value, keys) } else { Ok(()) }
    })?;
    // A row that is updated during the scan may be missed. What is not there now is dead to everybody.
    let missed = frozen.rows_left()?;
    source.look_up(&missed, &mut |tid, value, keys| {
        if frozen.take(tid) { coder.push(tid, value, keys) } else { Ok(()) }
    })?;
    let (runs, _, radii) = coder.finish()?;
    Ok(Coded { directory, runs, radii })
}

/// Writes coded rows to pages that nothing refers to, and a directory that does; the list states and
/// summaries know of them. Returns the description of the lists with them.
///
/// # Errors
/// As [`super::renew`].
pub fn write<S: Store>(
    store: &S,
    coded: Coded,
    spool: &mut dyn Spool,
    space: &mut Space<'_, S>,
    (asked, progress): (bool, &dyn Progress),
) -> Result<Meta> {
    let Coded { directory, runs, radii } = coded;
    let runs = runs.sort()?;
    let lists = directory.lists() as usize;
    let built_rows = (0..lists).map(|list| u64::from(runs.count(list))).sum();
    progress.total(built_rows);
    let mut entries = memory::with_capacity(lists)?;
    let mut plans = memory::with_capacity(lists)?;
    let mut done = 0;
    for (list, radius) in radii.iter().enumerate() {
        let mut entry = directory.entry(list as u32)?;
        let rows = runs.count(list);
        let (codes, extended) = pages_of(&directory, rows);
        let first = space.take(u32::try_from(codes + extended).unwrap_or(u32::MAX))?;
        let tail = entry.head;
        let plan = Plan::of(&directory, &mut entry, (rows, first.into(), tail))?;
        entry.radius = if radius.is_finite() { *radius } else { 0.0 };
        let mut summaries = vec![Summary::default(); directory.meta.columns.widths().len()];
        let mut pages = Pages::reserved(store, first);
        write_codes(&directory, list, &plan, &runs, spool, (&mut pages, &mut summaries))?;
        write_extended(&directory, list, &plan, &runs, spool, &mut pages)?;
        pages.flush()?;
        widen(store, &directory, list as u32, &summaries)?;
        entries.push(entry);
        plans.push(plan);
        done += u64::from(rows);
        progress.done(done);
        progress.tick()?;
    }
    note(store, &directory, &plans, asked)?;
    let directory_first = write_directory(store, space, directory.meta.first_list, &entries)?;
    Ok(Meta { directory_first, built_rows, ..directory.meta.clone() })
}

/// Has the summaries of a list cover further rows.
fn widen<S: Store>(store: &S, directory: &Directory, list: u32, rows: &[Summary]) -> Result<()> {
    let Some((blkno, at)) = directory.summaries_position(list) else { return Ok(()) };
    store.change(|change| {
        let handle = change.open(blkno)?;
        change.page(handle).expect_kind(blkno, PageKind::Summaries)?;
        let bytes = &mut change.page_mut(handle).content_mut()[at..];
        for (bytes, rows) in bytes.chunks_exact_mut(SUMMARY_SIZE).zip(rows) {
            let mut summary = Summary::read(bytes);
            summary.join(rows);
            summary.write(bytes);
        }
        Ok(())
    })
}

/// Notes in the list states where the copied rows are. What inserts have written there stays.
fn note<S: Store>(store: &S, directory: &Directory, plans: &[Plan], asked: bool) -> Result<()> {
    for (page, plans) in (0..).zip(plans.chunks(LISTS_PER_PAGE as usize)) {
        let (blkno, _) = directory.state_position(page * LISTS_PER_PAGE);
        store.change(|change| {
            let handle = change.open(blkno)?;
            change.page(handle).expect_kind(blkno, PageKind::Lists)?;
            for (index, Plan { state: copied, .. }) in plans.iter().enumerate() {
                let mut state = lists::read(change.page(handle), index);
                state.moved = copied.head;
                state.moved_extended = copied.extended;
                state.rows = copied.rows;
                state.contiguous = copied.contiguous;
                state.calibrated = if asked { KEPT } else { copied.calibrated };
                lists::write(change.page_mut(handle), index, &state);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Has inserts begin with the last page of the copied rows, which may have free slots, and go on with their
/// last extended page where the list has no other. Pages that took new rows meanwhile, and have none, leave
/// their lists: a scan would read them for nothing. Nothing depends on this, so a crash may leave it undone.
///
/// # Errors
/// Damage, or the store's errors.
pub fn begin_with_first_pages<S: Store>(store: &S, progress: &dyn Progress) -> Result<()> {
    let directory = Directory::load(store)?;
    let step = 1 + directory.codes.more() as u32;
    for list in 0..directory.lists() {
        progress.tick()?;
        let (blkno, index) = directory.state_position(list);
        store.change(|change| {
            let handle = change.open(blkno)?;
            change.page(handle).expect_kind(blkno, PageKind::Lists)?;
            let mut state = lists::read(change.page(handle), index);
            if state.moved == NO_BLOCK {
                return Ok(());
            }
            state.insert = state.moved + state.contiguous - step;
            if state.extended == NO_BLOCK {
                state.extended = std::mem::replace(&mut state.moved_extended, NO_BLOCK);
            }
            take_out_if_empty(change, &directory, list, (state.insert, state.head))?;
            lists::write(change.page_mut(handle), index, &state);
            Ok(())
        })?;
    }
    Ok(())
}

impl Directory {
    /// A list as it is stored.
    pub(super) fn entry(&self, list: u32) -> Result<Entry> {
        let ((codes, scale), (head, contiguous)) = (self.centroid(list), self.head(list));
        Ok(Entry {
            head,
            contiguous,
            radius: self.radius(list),
            scale,
            rows: self.built_rows(list),
            codes: memory::collected(codes.iter().copied())?,
        })
    }
}
