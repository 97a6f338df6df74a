//! Further pages without rows, and the old extended pages, leave their lists.

use super::relocate::Moved;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::renew::leave::take_out_if_empty;
use crate::page::{NO_BLOCK, PageKind, Store, lists};

/// Has a list begin with its copied pages. A crash may leave this undone, until
/// [`finish`](crate::ivf::renew::leave::finish).
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
