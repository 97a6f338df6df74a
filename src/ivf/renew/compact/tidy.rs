//! Further pages that got no rows leave their lists, and the old extended pages do.
//!
//! If that was interrupted, old extended pages are still in the chains of their lists. The next maintenance
//! finds them: they have records, but no slot refers to them.

use super::relocate::Moved;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{self, guard_circle};
use crate::ivf::progress::Progress;
use crate::ivf::renew::copy::take_out_if_empty;
use crate::memory::Grow;
use crate::page::codes::slots;
use crate::page::{NO_BLOCK, PageKind, Store, lists};

/// Has a list begin with its copied pages. A crash may leave this undone: see [`finish`].
///
/// # Errors
/// Damage, or the store's errors.
pub fn tidy<S: Store>(store: &S, directory: &Directory, moved: &Moved) -> Result<()> {
    let (blkno, index) = directory.state_position(moved.list);
    let (tail, extended) = (moved.tail, moved.further);
    store.change(|change| {
        let handle = change.open(blkno)?;
        change.page(handle).expect_kind(blkno, PageKind::Lists)?;
        let mut state = lists::read(change.page(handle), index);
        (state.head, state.insert) = (moved.head, moved.insert);
        take_out_if_empty(change, directory, moved.list, (moved.last, tail))?;
        if let Some(layout) = directory.extended {
            let further = change.open(extended)?;
            let page = change.page(further);
            page.expect_owned(extended, PageKind::Extended, directory.owner(moved.list))?;
            if page.count() == 0 && state.extended == extended {
                // An insert that knows the page finds it full, and asks which page comes next.
                change.page_mut(further).set_count(layout.per_page() as u32);
                (state.extended, state.moved_extended) = (state.moved_extended, NO_BLOCK);
            }
            change.page_mut(further).set_next(NO_BLOCK);
        }
        lists::write(change.page_mut(handle), index, &state);
        Ok(())
    })
}

/// Takes old extended pages, and a last codes page without rows, out of the chains of all lists, where a move
/// was interrupted before it did. Inserts that know these pages begin again.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub fn finish<S: Store>(store: &S, progress: &dyn Progress) -> Result<()> {
    let directory = Directory::load(store)?;
    (0..directory.lists()).try_for_each(|list| cut(store, &directory, list, progress))
}

fn cut<S: Store>(store: &S, directory: &Directory, list: u32, progress: &dyn Progress) -> Result<()> {
    let (blkno, index) = directory.state_position(list);
    let (mut chain, mut next) = (Vec::new(), lists::read(&*store.read(blkno)?, index).extended);
    let mut steps = 0;
    while next != NO_BLOCK {
        guard_circle(store, next, &mut steps)?;
        let page = store.read(next)?;
        page.expect_owned(next, PageKind::Extended, directory.owner(list))?;
        chain.try_push((next, page.count()))?;
        next = page.next();
    }
    // Read later than the chain: a record that was there has its slot.
    let (mut referred, mut last, mut is_empty) = (Vec::new(), (NO_BLOCK, NO_BLOCK), false);
    list_chain::codes_pages(store, directory, list, |blkno, page| {
        progress.tick()?;
        last = (last.1, blkno);
        is_empty = true;
        for block in directory.codes.blocks_on(page) {
            for slot in slots(block.owned()) {
                is_empty = false;
                let record = block.reference(slot).blkno;
                if !chain.is_empty() && referred.last() != Some(&record) {
                    referred.try_push(record)?;
                }
            }
        }
        Ok(())
    })?;
    if is_empty && last.0 != NO_BLOCK {
        store.change(|change| {
            let handle = change.open(blkno)?;
            let mut state = lists::read(change.page(handle), index);
            state.insert = last.0;
            lists::write(change.page_mut(handle), index, &state);
            take_out_if_empty(change, directory, list, last)
        })?;
    }
    referred.sort_unstable();
    let is_old = |&(page, records): &(u32, u32)| records > 0 && referred.binary_search(&page).is_err();
    let Some(at) = chain.iter().position(is_old).filter(|at| *at > 0) else { return Ok(()) };
    store.change(|change| {
        let handle = change.open(chain[at - 1].0)?;
        change.page_mut(handle).set_next(NO_BLOCK);
        Ok(())
    })
}
