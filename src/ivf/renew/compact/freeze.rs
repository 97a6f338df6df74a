//! From one moment on, lists take new rows only on further pages.

use crate::error::{Error, Result};
use crate::ivf::build::write::{Pages, new_codes};
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{ListChain, guard_circle, state};
use crate::ivf::renew::space::{Space, change_with_root};
use crate::memory::{self, Grow};
use crate::page::lists;
use crate::page::{MAX_CHANGE_PAGES, NO_BLOCK, PageKind, Store};

/// A list that takes new rows on pages of their own.
pub struct Further {
    pub list: u32,
    /// Its codes page for them.
    pub tail: u32,
    /// Its extended page for them; [`NO_BLOCK`] in an index without.
    pub extended: u32,
}

/// Appends the further pages of a list to its chains, as an insert does that finds the list full. Pages
/// without rows that are there, as of a move that was interrupted, serve as well. New ones are before page
/// `limit` if there are free ones.
///
/// # Errors
/// Damage, or the store's errors.
pub fn prepare<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    (space, limit): (&mut Space<'_, S>, u32),
) -> Result<Further> {
    let mut take = |count| match space.take_before(count, limit) {
        Some(first) => Ok(first),
        None => space.take(count),
    };
    let tail = prepare_tail(store, directory, list, &mut take)?;
    let mut extended = NO_BLOCK;
    if directory.extended.is_some() {
        while extended == NO_BLOCK {
            extended = prepare_extended(store, directory, list, &mut take)?.unwrap_or(NO_BLOCK);
        }
    }
    Ok(Further { list, tail, extended })
}

fn prepare_tail<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    take: &mut dyn FnMut(u32) -> Result<u32>,
) -> Result<u32> {
    let (owner, head) = (directory.owner(list), directory.head(list).0);
    let (mut last, mut steps) = (state(store, directory, list)?.insert, 0);
    let is_empty = loop {
        guard_circle(store, last, &mut steps)?;
        let page = store.read(last)?;
        page.expect_owned(last, PageKind::Codes, owner)?;
        if page.next() == NO_BLOCK {
            break last != head && directory.codes.is_unused(&page);
        }
        last = page.next();
    };
    if is_empty {
        return Ok(last);
    }
    let tail = take(1 + directory.codes.more() as u32)?;
    let mut pages = Pages::reserved(store, tail);
    new_codes(directory, list as usize, tail).into_iter().try_for_each(|page| pages.push(page).map(drop))?;
    pages.flush()?;
    while last != tail {
        guard_circle(store, last, &mut steps)?;
        last = store.change(|change| {
            let handle = change.open(last)?;
            change.page(handle).expect_owned(last, PageKind::Codes, owner)?;
            let next = change.page(handle).next();
            if next == NO_BLOCK {
                change.page_mut(handle).set_next(tail);
            }
            Ok(if next == NO_BLOCK { tail } else { next })
        })?;
    }
    Ok(tail)
}

/// Makes a page without records the one that takes new records. All others are in one chain behind it, also
/// those of rows that the list took over. `None` if an insert came in between.
fn prepare_extended<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    take: &mut dyn FnMut(u32) -> Result<u32>,
) -> Result<Option<u32>> {
    let (blkno, index) = directory.state_position(list);
    let owner = directory.owner(list);
    let newest = state(store, directory, list)?.extended;
    let (mut oldest, mut is_empty) = (NO_BLOCK, false);
    let mut chain = ListChain::extended(directory, list, newest);
    while let Some((blkno, page)) = chain.next(store)? {
        is_empty |= blkno == newest && page.count() == 0;
        oldest = blkno;
    }
    let further = if is_empty { newest } else { take(1)? };
    store.change(|change| {
        let handle = change.open(blkno)?;
        let mut state = lists::read(change.page(handle), index);
        if state.extended != newest {
            return Ok(None);
        }
        let taken = directory.head(list).0 == state.moved;
        let moved = if taken { state.moved_extended } else { NO_BLOCK };
        if oldest != NO_BLOCK && moved != NO_BLOCK {
            let oldest = change.open(oldest)?;
            change.page_mut(oldest).set_next(moved);
        }
        if further != newest {
            let handle = change.open(further)?;
            change.page_mut(handle).init(PageKind::Extended, owner);
            change.page_mut(handle).set_next(if newest == NO_BLOCK { moved } else { newest });
        }
        (state.extended, state.moved_extended) = (further, NO_BLOCK);
        lists::write(change.page_mut(handle), index, &state);
        Ok(Some(further))
    })
}

/// Has inserts begin with the further pages. Those under way begin again, because the generation changes.
///
/// # Errors
/// Damage, or the store's errors.
pub fn freeze<S: Store>(store: &S, directory: &Directory, all: &[Further]) -> Result<()> {
    let mut all = memory::collected(all.iter())?;
    all.sort_unstable_by_key(|further| further.list);
    let page_of = |further: &Further| directory.state_position(further.list).0;
    let pages: Vec<&[&Further]> = all.chunk_by(|a, b| page_of(a) == page_of(b)).collect();
    // Each change makes others read the directory again.
    for some in pages.chunks(MAX_CHANGE_PAGES - 1) {
        change_with_root(store, |change, root| {
            root.current.generation = root.next_generation();
            for on_page in some {
                let blkno = page_of(on_page[0]);
                let handle = change.open(blkno)?;
                change.page(handle).expect_kind(blkno, PageKind::Lists)?;
                for further in *on_page {
                    let index = directory.state_position(further.list).1;
                    let mut state = lists::read(change.page(handle), index);
                    state.insert = further.tail;
                    lists::write(change.page_mut(handle), index, &state);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The extended pages of a list that take records of rows on its further pages.
///
/// # Errors
/// Damage, or the store's errors.
pub fn further_extended<S: Store>(store: &S, directory: &Directory, further: &Further) -> Result<Vec<u32>> {
    let mut pages = Vec::new();
    if directory.extended.is_none() {
        return Ok(pages);
    }
    let newest = state(store, directory, further.list)?.extended;
    let mut chain = ListChain::extended(directory, further.list, newest);
    while let Some((blkno, _)) = chain.next(store)? {
        pages.try_push(blkno)?;
        if blkno == further.extended {
            return Ok(pages);
        }
    }
    Err(Error::corrupted(further.extended, "the extended page of new rows has left its list"))
}
