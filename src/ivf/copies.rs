//! Copies: the one-bit codes of some rows, kept in a second list as well, relative to its centroid.
//!
//! A copy refers to its row's slot in the list that the row is in, and says which list that is: a scan passes over it
//! when it reads that list too, so that no row is found twice. It has no record of its own. A live copy's slot is live:
//! inserts write the row first, and vacuum clears the copy first.

use super::code::RowCode;
use super::directory::Directory;
use super::insert::expect_owned;
use super::walk::{self, Addresses, guard_circle};
use crate::error::{Error, Kind, Result};
use crate::page::{Key, NO_BLOCK, PageKind, RecordRef, Store, Tid, codes, lists};
use crate::quant::pack;

/// Calls `f` with the list, the second list and the reference of every live copy in `list`.
pub fn each<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    f: &mut dyn FnMut(u32, RecordRef) -> Result<()>,
) -> Result<()> {
    let Some(layout) = &directory.copies else { return Ok(()) };
    walk::copies_pages(store, directory, list, |_, page| {
        for index in 0..layout.blocks() {
            let view = layout.block(page, index);
            for slot in walk::bits(view.live()) {
                f(layout.own_list(view, slot), view.reference(slot))?;
            }
        }
        Ok(())
    })
}

/// What a copy refers to: its row's reference, and whether the row is live.
pub fn slot<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    reference: RecordRef,
) -> Result<(RecordRef, bool)> {
    if list >= directory.lists() {
        return Err(Error::corrupted(reference.block, "a copy is of a list that does not exist"));
    }
    let (index, slot) = directory.codes.slot_of(reference)?;
    let page = store.read(reference.block)?;
    expect_owned(&page, reference.block, PageKind::Codes, list)?;
    let view = directory.codes.block(&page, index);
    if view.owned() >> slot & 1 == 0 {
        return Err(Error::corrupted(reference.block, "a copy refers to a slot that no row ever had"));
    }
    Ok((view.reference(slot), view.live() >> slot & 1 == 1))
}

/// Calls `f` with the row and the second list of every copy.
pub fn rows<S: Store>(store: &S, directory: &Directory, f: &mut dyn FnMut(Tid, u32)) -> Result<()> {
    let mut addresses = Addresses::new(store, directory);
    for list in 0..directory.lists() {
        each(store, directory, list, &mut |own, reference| {
            let (row, live) = slot(store, directory, own, reference)?;
            if live {
                f(addresses.get(own, row)?, list);
            }
            Ok(())
        })?;
        addresses.forget();
    }
    Ok(())
}

/// Writes the copy of the row that `code` has just coded and that lies at `reference`, if it is to have one.
pub fn insert<S: Store>(
    store: &S,
    directory: &Directory,
    code: &mut RowCode,
    keys: &[Key],
    reference: RecordRef,
) -> Result<()> {
    let Some(layout) = &directory.copies else { return Ok(()) };
    let (own, second) = (code.list, code.second);
    if second.loss > directory.meta.copy_limit {
        return Ok(());
    }
    code.encode_copy(directory, second.list);
    let mut keys = keys.to_vec();
    keys.push(Some(u64::from(own)));
    let (state_block, state_index) = directory.state_position(second.list);
    let begin = {
        let page = store.read(state_block)?;
        page.expect_kind(state_block, PageKind::Lists)?;
        lists::read(&page, state_index).copies_insert
    };
    let mut block = begin;
    let mut steps = 0;
    while let Some(next) = put(store, layout, code, &keys, reference, block)? {
        guard_circle(store, block, &mut steps)?;
        block = next;
    }
    if block != begin {
        store.change(|change| {
            let handle = change.open(state_block)?;
            let mut state = lists::read(change.page(handle), state_index);
            state.copies_insert = block;
            lists::write(change.page_mut(handle), state_index, &state);
            Ok(())
        })?;
    }
    Ok(())
}

/// Writes a copy to the page `block`, or says which page comes next: a new one if need be.
fn put<S: Store>(
    store: &S,
    layout: &codes::Layout,
    code: &RowCode,
    keys: &[Key],
    reference: RecordRef,
    block: u32,
) -> Result<Option<u32>> {
    store.change(|change| {
        let handle = change.open(block)?;
        let page = change.page(handle);
        expect_owned(page, block, PageKind::Copies, code.list)?;
        let free = (0..layout.blocks()).find_map(|b| {
            let free = !layout.block(page, b).live();
            (free != 0).then(|| (b, free.trailing_zeros() as usize))
        });
        let Some((index, slot)) = free else {
            let next = page.next();
            if next != NO_BLOCK {
                return Ok(Some(next));
            }
            let (new, new_handle) = change.extend()?;
            if new == NO_BLOCK {
                return Err(Error::new(Kind::LimitExceeded, "the ivf index is full"));
            }
            change.page_mut(new_handle).init(PageKind::Copies, code.list);
            change.page_mut(handle).set_next(new);
            return Ok(Some(new));
        };
        let mut view = layout.block_mut(change.page_mut(handle), index);
        pack::write_signs(view.codes(), 0, slot, &code.signs);
        view.put(slot, code.factors.add.to_bits(), code.factors.rescale.to_bits(), reference);
        layout.put_keys(&mut view, slot, keys);
        Ok(None)
    })
}
