//! The decoded directories that a backend keeps between scans, inserts and plans.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::mru::Mru;
use crate::pg::error::in_index;
use crate::pg::storage::buffer_store::{IndexStore, Logging};

/// A decoded directory that this backend keeps.
struct Kept {
    index: pg_sys::Oid,
    directory: Rc<Directory>,
}

/// Bytes of directories that a backend keeps. The directory in use is kept even if it is larger.
const KEPT_BYTES: usize = 64 << 20;

thread_local! {
    /// As many as [`KEPT_BYTES`] allow.
    static DIRECTORIES: RefCell<Mru<Kept>> = const { RefCell::new(Mru::new(usize::MAX)) };
}

/// The directory of an index; the one from an earlier call, if the meta page has not changed since.
pub fn directory(store: &IndexStore) -> Result<Rc<Directory>> {
    // SAFETY: the relation is open.
    let index = unsafe { (*store.relation()).rd_id };
    let kept = DIRECTORIES.with_borrow_mut(|cache| {
        let kept = cache.find(|kept| kept.index == index);
        kept.map(|kept| Rc::clone(&kept.directory))
    });
    if let Some(directory) = kept
        && directory.is_current(store)?
    {
        return Ok(directory);
    }
    let directory = Rc::new(Directory::load(store)?);
    DIRECTORIES.with_borrow_mut(|cache| {
        let new = || Kept { index, directory: Rc::clone(&directory) };
        cache.find_or_insert(|kept| kept.index == index, new).directory = Rc::clone(&directory);
        let mut bytes = 0;
        cache.retain(|kept| {
            bytes += kept.directory.memory();
            bytes <= KEPT_BYTES || kept.index == index
        });
    });
    Ok(directory)
}

/// Dimensions of the rows in an index. (ALTER TABLE may have removed the column's type modifier since.)
pub fn dimensions(index: pg_sys::Relation) -> Result<usize> {
    let store = IndexStore::new(index, Logging::EachChange);
    Ok(directory(&store).map_err(|e| in_index(index, e))?.dims())
}
