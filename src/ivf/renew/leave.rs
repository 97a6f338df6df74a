//! Pages leave the chains of their lists.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{self, guard_circle};
use crate::ivf::progress::Progress;
use crate::memory::Grow;
use crate::page::codes::{OUT_OF_CHAIN, slots};
use crate::page::{Change, NO_BLOCK, PageKind, Store, lists};

/// Takes the last page of a list's chain out of it if it has no rows; inserts that come to it begin again. It
/// stays as it is, for scans that began with it.
///
/// # Errors
/// Damage, or the store's errors.
pub fn take_out_if_empty(
    change: &mut dyn Change,
    directory: &Directory,
    list: u32,
    (before, tail): (u32, u32),
) -> Result<()> {
    let owner = directory.owner(list);
    let before_handle = change.open(before)?;
    change.page(before_handle).expect_owned(before, PageKind::Codes, owner)?;
    if change.page(before_handle).next() != tail {
        return Ok(());
    }
    let handle = change.open(tail)?;
    let page = change.page(handle);
    page.expect_owned(tail, PageKind::Codes, owner)?;
    let empty = directory.codes.blocks_on(page).all(|block| block.owned() == 0);
    if empty && page.next() == NO_BLOCK {
        change.page_mut(before_handle).set_next(NO_BLOCK);
        change.page_mut(handle).set_count(OUT_OF_CHAIN);
    }
    Ok(())
}

/// Takes out of the chains of all lists what a renewal or a move has left there that was interrupted after
/// its flip: a last codes page without rows, and old extended pages. These have records, but no slot refers
/// to them.
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
    let after = chain[at..].iter().find(|page| !is_old(page)).map_or(NO_BLOCK, |page| page.0);
    store.change(|change| {
        let handle = change.open(chain[at - 1].0)?;
        change.page_mut(handle).set_next(after);
        Ok(())
    })
}
