//! Removing dead rows: their slots are cleared, and keep their records for the next insert.
//!
//! Rows never move, so a scan that runs at the same time sees every live row exactly once.
//!
//! If a list lost rows, vacuum computes its summaries again from the remaining rows. Inserts go on meanwhile,
//! so vacuum first sets the list's watch. An insert adds 1 to the watch in the change that writes its row. If
//! vacuum finds the watch changed, it keeps the old summaries. An insert that began before finds either the
//! old summaries with the watch, or the new ones, which it widens again if needed.

use super::directory::Directory;
use super::list_chain::{self, Addresses};
use crate::error::Result;
use crate::page::codes::slots;
use crate::page::summary::{SUMMARY_SIZE, set_watch, watch};
use crate::page::{PageKind, Store, Summary, Tid, lists};

/// What a vacuum found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Rows removed now.
    pub removed: u64,
    /// Rows left.
    pub live: u64,
    /// Pages of the index.
    pub pages: u32,
}

/// Removes every row for which `dead` returns true. `tick` is called between pages, when nothing is locked.
///
/// # Errors
/// Damage, or the store's or `tick`'s errors; rows removed so far stay removed.
pub fn bulk_delete<S: Store>(
    store: &S,
    dead: &mut dyn FnMut(Tid) -> bool,
    tick: &dyn Fn() -> Result<()>,
) -> Result<Vacuumed> {
    let mut result = Vacuumed::default();
    for directory in &directories(store)? {
        for list in 0..directory.lists() {
            clean_list(store, directory, list, dead, tick, &mut result)?;
        }
    }
    result.pages = store.nblocks()?;
    Ok(result)
}

/// Counts the rows without removing any, and ends the watches that an interrupted vacuum has left.
///
/// # Errors
/// As [`bulk_delete`].
pub fn count<S: Store>(store: &S, tick: &dyn Fn() -> Result<()>) -> Result<Vacuumed> {
    let mut result = Vacuumed::default();
    for directory in &directories(store)? {
        for list in 0..directory.lists() {
            let mut rows = 0;
            list_chain::codes_pages(store, directory, list, |_, page| {
                let blocks = directory.codes.blocks_on(page);
                rows += blocks.map(|block| u64::from(block.live().count_ones())).sum::<u64>();
                tick()
            })?;
            result.live += rows;
            note(store, directory, list, rows, None)?;
            narrow_summaries(store, directory, list, false, tick)?;
        }
    }
    result.pages = store.nblocks()?;
    Ok(result)
}

/// The directories of all lists that have rows.
fn directories<S: Store>(store: &S) -> Result<Vec<Directory>> {
    let (current, next) = Directory::load_all(store)?;
    Ok(std::iter::once(current).chain(next).collect())
}

fn clean_list<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    dead: &mut dyn FnMut(Tid) -> bool,
    tick: &dyn Fn() -> Result<()>,
    result: &mut Vacuumed,
) -> Result<()> {
    let layout = &directory.codes;
    let mut addresses = Addresses::new(store, directory);
    let (mut rows, mut removed) = (0u64, 0u64);
    let mut first_free = None;
    list_chain::codes_pages(store, directory, list, |blkno, page| {
        tick()?;
        addresses.forget();
        let mut gone = vec![0u32; layout.blocks()];
        let mut free = false;
        for (view, gone) in layout.blocks_on(page).zip(&mut gone) {
            for slot in slots(view.live()) {
                if dead(addresses.get(list, view.reference(slot))?) {
                    *gone |= 1 << slot;
                }
            }
            removed += u64::from(gone.count_ones());
            rows += u64::from((view.live() & !*gone).count_ones());
            free |= view.free() | *gone != 0;
        }
        if free {
            first_free.get_or_insert(blkno);
        }
        if gone.iter().all(|&g| g == 0) {
            return Ok(());
        }
        // Only vacuum clears live slots, and there is one vacuum at a time. So these slots still have the
        // rows that they had in the copy.
        store.change(|change| {
            let handle = change.open(blkno)?;
            let page = change.page_mut(handle);
            for (index, gone) in gone.iter().enumerate().filter(|(_, g)| **g != 0) {
                let mut block = layout.block_mut(page, index);
                let live = block.as_ref().live();
                block.set_live(live & !gone);
            }
            Ok(())
        })
    })?;
    result.removed += removed;
    result.live += rows;
    note(store, directory, list, rows, first_free.filter(|_| removed > 0))?;
    narrow_summaries(store, directory, list, removed > 0, tick)
}

/// Computes the summaries of a list again if it has `lost` rows, or if an earlier vacuum was interrupted
/// while doing so.
fn narrow_summaries<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    lost: bool,
    tick: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let Some((blkno, at)) = directory.summaries_position(list) else { return Ok(()) };
    let watched = {
        let page = store.read(blkno)?;
        page.expect_kind(blkno, PageKind::Summaries)?;
        watch(&page.content()[at..]) > 0
    };
    if !lost && !watched {
        return Ok(());
    }
    let set = |from: &dyn Fn(&mut [u8])| {
        store.change(|change| {
            let handle = change.open(blkno)?;
            from(&mut change.page_mut(handle).content_mut()[at..]);
            Ok(())
        })
    };
    set(&|bytes| set_watch(bytes, 1))?;
    let mut left = vec![Summary::default(); directory.meta.columns.widths().len()];
    let mut keys = Vec::new();
    list_chain::codes_pages(store, directory, list, |_, page| {
        tick()?;
        for (block, slot) in directory.codes.live_slots(page) {
            directory.codes.keys(block, slot, &mut keys);
            left.iter_mut().zip(&keys).for_each(|(summary, &key)| summary.add(key));
        }
        Ok(())
    })?;
    set(&|bytes| {
        if watch(bytes) == 1 {
            bytes.chunks_exact_mut(SUMMARY_SIZE).zip(&left).for_each(|(place, summary)| summary.write(place));
        }
        set_watch(bytes, 0);
    })
}

/// Stores a list's number of rows, and its first page with a free slot if this has changed.
fn note<S: Store>(store: &S, directory: &Directory, list: u32, rows: u64, free: Option<u32>) -> Result<()> {
    let (blkno, index) = directory.state_position(list);
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let known = {
        let page = store.read(blkno)?;
        page.expect_kind(blkno, PageKind::Lists)?;
        lists::read(&page, index).rows
    };
    if known == rows && free.is_none() {
        return Ok(());
    }
    store.change(|change| {
        let handle = change.open(blkno)?;
        let mut state = lists::read(change.page(handle), index);
        state.rows = rows;
        state.insert = free.unwrap_or(state.insert);
        lists::write(change.page_mut(handle), index, &state);
        Ok(())
    })
}
