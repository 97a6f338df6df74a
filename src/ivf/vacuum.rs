//! Removing dead rows: their slots are cleared, and keep their records for the next insert.
//!
//! Rows never move, so a scan that runs beside a vacuum sees every live row exactly once.

use super::directory::Directory;
use super::walk::{self, Addresses};
use crate::error::Result;
use crate::page::{PageKind, Store, Tid, lists};

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

/// Removes every row for which `dead` says so. `tick` is called between pages, when nothing is locked.
///
/// # Errors
/// Damage, or the store's or `tick`'s errors; rows removed so far stay removed.
pub fn bulk_delete<S: Store>(
    store: &S,
    dead: &mut dyn FnMut(Tid) -> bool,
    tick: &dyn Fn() -> Result<()>,
) -> Result<Vacuumed> {
    let directory = Directory::load(store)?;
    let mut result = Vacuumed::default();
    for list in 0..directory.lists() {
        clean_list(store, &directory, list, dead, tick, &mut result)?;
    }
    result.pages = store.blocks()?;
    Ok(result)
}

/// Counts the rows without removing any.
///
/// # Errors
/// As [`bulk_delete`].
pub fn count<S: Store>(store: &S, tick: &dyn Fn() -> Result<()>) -> Result<Vacuumed> {
    let directory = Directory::load(store)?;
    let mut result = Vacuumed::default();
    for list in 0..directory.lists() {
        let mut rows = 0;
        walk::codes_pages(store, &directory, list, |_, page| {
            for b in 0..directory.codes.blocks() {
                rows += u64::from(directory.codes.block(page, b).live().count_ones());
            }
            tick()
        })?;
        result.live += rows;
        note(store, &directory, list, rows, None)?;
    }
    result.pages = store.blocks()?;
    Ok(result)
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
    walk::codes_pages(store, directory, list, |block, page| {
        tick()?;
        addresses.forget();
        let mut gone = vec![0u32; layout.blocks()];
        let mut free = false;
        for (index, gone) in gone.iter_mut().enumerate() {
            let view = layout.block(page, index);
            for slot in walk::bits(view.live()) {
                if dead(addresses.get(list, view.reference(slot))?) {
                    *gone |= 1 << slot;
                }
            }
            removed += u64::from(gone.count_ones());
            rows += u64::from((view.live() & !*gone).count_ones());
            free |= view.free() | *gone != 0;
        }
        if free {
            first_free.get_or_insert(block);
        }
        if gone.iter().all(|&g| g == 0) {
            return Ok(());
        }
        // Live slots are cleared by vacuum alone, of which there is one at a time: they are as they were.
        store.change(|change| {
            let handle = change.open(block)?;
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
    note(store, directory, list, rows, first_free.filter(|_| removed > 0))
}

/// Notes a list's rows, and its first page with a free slot if that is new.
fn note<S: Store>(store: &S, directory: &Directory, list: u32, rows: u64, free: Option<u32>) -> Result<()> {
    let (block, index) = directory.state_position(list);
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let known = {
        let page = store.read(block)?;
        page.expect_kind(block, PageKind::Lists)?;
        lists::read(&page, index).rows
    };
    if known == rows && free.is_none() {
        return Ok(());
    }
    store.change(|change| {
        let handle = change.open(block)?;
        let mut state = lists::read(change.page(handle), index);
        state.rows = rows;
        state.insert = free.unwrap_or(state.insert);
        lists::write(change.page_mut(handle), index, &state);
        Ok(())
    })
}
