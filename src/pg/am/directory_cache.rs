//! The decoded directories that a backend keeps between scans, inserts and plans.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::pg::error::in_index;
use crate::pg::storage::buffer_store::{IndexStore, Logging};

/// A decoded directory that this backend keeps.
struct Kept {
    index: pg_sys::Oid,
    directory: Rc<Directory>,
    /// When it was used last, by the count of lookups.
    used: u64,
}

/// Bytes of directories that a backend keeps. The directory in use is kept even if it is larger.
const KEPT_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Cache {
    kept: Vec<Kept>,
    lookups: u64,
}

thread_local! {
    static DIRECTORIES: RefCell<Cache> = RefCell::default();
}

/// The directory of an index; the one from an earlier call, if the meta page has not changed since.
pub fn directory(store: &IndexStore) -> Result<Rc<Directory>> {
    // SAFETY: the relation is open.
    let index = unsafe { (*store.relation()).rd_id };
    let kept = DIRECTORIES.with_borrow_mut(|cache| {
        cache.lookups += 1;
        let now = cache.lookups;
        cache.kept.iter_mut().find(|k| k.index == index).map(|k| {
            k.used = now;
            Rc::clone(&k.directory)
        })
    });
    if let Some(directory) = kept
        && directory.is_current(store)?
    {
        return Ok(directory);
    }
    let directory = Rc::new(Directory::load(store)?);
    DIRECTORIES.with_borrow_mut(|cache| {
        cache.kept.retain(|k| k.index != index);
        cache.kept.push(Kept { index, directory: Rc::clone(&directory), used: cache.lookups });
        cache.kept.sort_by_key(|k| std::cmp::Reverse(k.used));
        let mut bytes = 0;
        cache.kept.retain(|k| {
            bytes += k.directory.memory();
            bytes <= KEPT_BYTES || k.index == index
        });
    });
    Ok(directory)
}

/// Dimensions of the rows in an index. (ALTER TABLE may have removed the column's type modifier since.)
pub fn dimensions(index: pg_sys::Relation) -> Result<usize> {
    let store = IndexStore::new(index, Logging::EachChange);
    Ok(directory(&store).map_err(|e| in_index(index, e))?.dims())
}
