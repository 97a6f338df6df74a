//! Pages leave the chains of their lists.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{self, ListChain};
use crate::ivf::progress::Progress;
use crate::memory::Grow;
use crate::page::codes::OUT_OF_CHAIN;
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
    if directory.codes.is_unused(page) && page.next() == NO_BLOCK {
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
    let newest = list_chain::state(store, directory, list)?.extended;
    let (mut chain, mut walk) = (Vec::new(), ListChain::extended(directory, list, newest));
    while let Some((page, records)) = walk.next(store)?.map(|(blkno, page)| (blkno, page.count())) {
        chain.try_push((page, records))?;
    }
    // Read later than the chain: a record that was there has its slot.
    let (mut referred, mut last, mut is_empty) = (Vec::new(), (NO_BLOCK, NO_BLOCK), false);
    list_chain::codes_pages(store, directory, list, |blkno, page| {
        progress.tick()?;
        last = (last.1, blkno);
        is_empty = directory.codes.is_unused(page);
        list_chain::record_pages(directory, page).try_for_each(|record| referred.try_push(record))
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
