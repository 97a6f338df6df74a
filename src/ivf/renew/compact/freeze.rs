//! From one moment on, lists take new rows only on further pages.

use super::plan::Move;
use crate::error::{Error, Result};
use crate::ivf::build::write::{Pages, new_codes};
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::guard_circle;
use crate::page::lists::{self, ListState};
use crate::page::meta::META_BLOCK;
use crate::page::{NO_BLOCK, PageKind, Root, Store};

/// Appends the further pages of a list to its chains, as an insert does that finds the list full.
///
/// # Errors
/// Damage, or the store's errors.
pub fn prepare<S: Store>(store: &S, directory: &Directory, place: &Move) -> Result<()> {
    let mut pages = Pages::reserved(store, place.tail);
    new_codes(directory, place.list as usize, place.tail)
        .into_iter()
        .try_for_each(|p| pages.push(p).map(drop))?;
    pages.flush()?;
    let owner = directory.owner(place.list);
    let (mut last, mut steps) = (state(store, directory, place.list)?.insert, 0);
    while last != place.tail {
        guard_circle(store, last, &mut steps)?;
        last = store.change(|change| {
            let handle = change.open(last)?;
            change.page(handle).expect_owned(last, PageKind::Codes, owner)?;
            let next = change.page(handle).next();
            if next == NO_BLOCK {
                change.page_mut(handle).set_next(place.tail);
            }
            Ok(if next == NO_BLOCK { place.tail } else { next })
        })?;
    }
    if directory.extended.is_some() {
        while !prepare_extended(store, directory, place)? {}
    }
    Ok(())
}

fn state<S: Store>(store: &S, directory: &Directory, list: u32) -> Result<ListState> {
    let (blkno, index) = directory.state_position(list);
    let page = store.read(blkno)?;
    page.expect_kind(blkno, PageKind::Lists)?;
    Ok(lists::read(&page, index))
}

/// Makes the further extended page the one that takes new records. All others are in one chain behind it,
/// also those of rows that the list took over. False if an insert came in between.
fn prepare_extended<S: Store>(store: &S, directory: &Directory, place: &Move) -> Result<bool> {
    let (blkno, index) = directory.state_position(place.list);
    let owner = directory.owner(place.list);
    let (mut oldest, mut steps) = (state(store, directory, place.list)?.extended, 0);
    while oldest != NO_BLOCK {
        guard_circle(store, oldest, &mut steps)?;
        let page = store.read(oldest)?;
        page.expect_owned(oldest, PageKind::Extended, owner)?;
        if page.next() == NO_BLOCK {
            break;
        }
        oldest = page.next();
    }
    store.change(|change| {
        let handle = change.open(blkno)?;
        let mut state = lists::read(change.page(handle), index);
        if (state.extended == NO_BLOCK) != (oldest == NO_BLOCK) {
            return Ok(false);
        }
        let taken = directory.head(place.list).0 == state.moved;
        let moved = if taken { state.moved_extended } else { NO_BLOCK };
        if oldest != NO_BLOCK && moved != NO_BLOCK {
            let oldest = change.open(oldest)?;
            change.page_mut(oldest).set_next(moved);
        }
        let before = if state.extended == NO_BLOCK { moved } else { state.extended };
        let further = change.open(place.extended)?;
        change.page_mut(further).init(PageKind::Extended, owner);
        change.page_mut(further).set_next(before);
        (state.extended, state.moved_extended) = (place.extended, NO_BLOCK);
        lists::write(change.page_mut(handle), index, &state);
        Ok(true)
    })
}

/// Has inserts begin with the further pages. Those under way begin again, because the generation changes.
///
/// # Errors
/// Damage, or the store's errors.
pub fn freeze<S: Store>(store: &S, directory: &Directory, moves: &[Move]) -> Result<()> {
    let page_of = |place: &Move| directory.state_position(place.list).0;
    let mut moves: Vec<&Move> = moves.iter().collect();
    moves.sort_unstable_by_key(|place| place.list);
    for on_page in moves.chunk_by(|a, b| page_of(a) == page_of(b)) {
        let blkno = page_of(on_page[0]);
        store.change(|change| {
            let meta = change.open(META_BLOCK)?;
            let mut root = Root::read(change.page(meta))?;
            root.current.generation = root.next_generation();
            let handle = change.open(blkno)?;
            change.page(handle).expect_kind(blkno, PageKind::Lists)?;
            for place in on_page {
                let index = directory.state_position(place.list).1;
                let mut state = lists::read(change.page(handle), index);
                state.insert = place.tail;
                lists::write(change.page_mut(handle), index, &state);
            }
            root.write(change.page_mut(meta));
            Ok(())
        })?;
    }
    Ok(())
}

/// The extended pages of a list that take records of rows on its further pages.
///
/// # Errors
/// Damage, or the store's errors.
pub fn further_extended<S: Store>(store: &S, directory: &Directory, place: &Move) -> Result<Vec<u32>> {
    let mut pages = Vec::new();
    if directory.extended.is_none() {
        return Ok(pages);
    }
    let (mut blkno, mut steps) = (state(store, directory, place.list)?.extended, 0);
    loop {
        if blkno == NO_BLOCK {
            let what = "the extended page of new rows has left its list";
            return Err(Error::corrupted(place.extended, what));
        }
        pages.push(blkno);
        if blkno == place.extended {
            return Ok(pages);
        }
        guard_circle(store, blkno, &mut steps)?;
        let page = store.read(blkno)?;
        page.expect_owned(blkno, PageKind::Extended, directory.owner(place.list))?;
        blkno = page.next();
    }
}
