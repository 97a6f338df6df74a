//! Removing dead rows: their slots are cleared, and keep their records for the next insert.
//!
//! Rows never move, so a scan that runs beside a vacuum sees every live row exactly once.

use std::collections::BTreeMap;

use super::directory::Directory;
use super::insert::expect_owned;
use super::walk::{self, Addresses};
use crate::error::Result;
use crate::page::{PageKind, Store, Tid, codes, lists};

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
    if directory.copies.is_none() {
        for list in 0..directory.lists() {
            let mut found = Found::default();
            find(store, &directory, list, dead, tick, &mut found)?;
            clear(store, &directory, list, &found, &mut result)?;
        }
    } else {
        // Copies go first: a slot that another row may take must have none left.
        let mut found = Vec::new();
        for list in 0..directory.lists() {
            let mut one = Found::default();
            find(store, &directory, list, dead, tick, &mut one)?;
            found.push(one);
        }
        if found.iter().any(|f| f.removed > 0) {
            for list in 0..directory.lists() {
                clear_copies(store, &directory, list, &found, tick)?;
            }
        }
        for (list, found) in (0..).zip(&found) {
            clear(store, &directory, list, found, &mut result)?;
            tick()?;
        }
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
        walk::codes_pages(store, &directory, list, |_, page| {
            for b in 0..directory.codes.blocks() {
                result.live += u64::from(directory.codes.block(page, b).live().count_ones());
            }
            tick()
        })?;
    }
    result.pages = store.blocks()?;
    Ok(result)
}

/// The dead rows of a list.
#[derive(Default)]
struct Found {
    removed: u64,
    left: u64,
    /// The first page with a free slot, once the dead rows are gone.
    first_free: Option<u32>,
    /// Masks of the dead by block, of the pages that have some.
    pages: BTreeMap<u32, Vec<u32>>,
}

fn find<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    dead: &mut dyn FnMut(Tid) -> bool,
    tick: &dyn Fn() -> Result<()>,
    found: &mut Found,
) -> Result<()> {
    let layout = &directory.codes;
    let mut addresses = Addresses::new(store, directory);
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
            found.removed += u64::from(gone.count_ones());
            found.left += u64::from((view.live() & !*gone).count_ones());
            free |= view.live() & !*gone != u32::MAX;
        }
        if free {
            found.first_free.get_or_insert(block);
        }
        if gone.iter().any(|&g| g != 0) {
            found.pages.insert(block, gone);
        }
        Ok(())
    })
}

/// Clears the slots of a list's dead rows, which are as they were found: vacuum alone clears slots, and there is one
/// at a time.
fn clear<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    found: &Found,
    result: &mut Vacuumed,
) -> Result<()> {
    for (&block, gone) in &found.pages {
        clear_page(store, &directory.codes, (block, PageKind::Codes, list), gone)?;
    }
    result.removed += found.removed;
    result.live += found.left;
    if found.removed > 0 {
        let (state_block, index) = directory.state_position(list);
        store.change(|change| {
            let handle = change.open(state_block)?;
            let mut state = lists::read(change.page(handle), index);
            state.rows = u32::try_from(found.left).unwrap_or(u32::MAX);
            state.insert = found.first_free.unwrap_or(state.insert);
            lists::write(change.page_mut(handle), index, &state);
            Ok(())
        })?;
    }
    Ok(())
}

/// Clears the copies in `list` of rows that were found dead.
fn clear_copies<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    found: &[Found],
    tick: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let Some(layout) = &directory.copies else { return Ok(()) };
    let (mut first_free, mut cleared) = (None, false);
    walk::copies_pages(store, directory, list, |block, page| {
        tick()?;
        let mut gone = vec![0u32; layout.blocks()];
        let mut free = false;
        for (index, gone) in gone.iter_mut().enumerate() {
            let view = layout.block(page, index);
            for slot in walk::bits(view.live()) {
                let reference = view.reference(slot);
                let (at, bit) = directory.codes.slot_of(reference)?;
                let own = found.get(layout.own_list(view, slot) as usize);
                if own.and_then(|own| own.pages.get(&reference.block)).is_some_and(|p| p[at] >> bit & 1 == 1)
                {
                    *gone |= 1 << slot;
                }
            }
            free |= view.live() & !*gone != u32::MAX;
        }
        if free {
            first_free.get_or_insert(block);
        }
        if gone.iter().all(|&g| g == 0) {
            return Ok(());
        }
        cleared = true;
        clear_page(store, layout, (block, PageKind::Copies, list), &gone)
    })?;
    let Some(block) = first_free.filter(|_| cleared) else { return Ok(()) };
    let (state_block, index) = directory.state_position(list);
    store.change(|change| {
        let handle = change.open(state_block)?;
        let mut state = lists::read(change.page(handle), index);
        state.copies_insert = block;
        lists::write(change.page_mut(handle), index, &state);
        Ok(())
    })
}

fn clear_page<S: Store>(
    store: &S,
    layout: &codes::Layout,
    (block, kind, list): (u32, PageKind, u32),
    gone: &[u32],
) -> Result<()> {
    store.change(|change| {
        let handle = change.open(block)?;
        expect_owned(change.page(handle), block, kind, list)?;
        let page = change.page_mut(handle);
        for (index, gone) in gone.iter().enumerate().filter(|(_, g)| **g != 0) {
            let mut block = layout.block_mut(page, index);
            let live = block.as_ref().live();
            block.set_live(live & !gone);
        }
        Ok(())
    })
}
