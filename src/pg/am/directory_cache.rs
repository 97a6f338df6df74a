//! The decoded directories that a backend keeps between scans, inserts and plans.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::error::Result;
use crate::ivf::directory::{Declared, Directory, read_root};
use crate::ivf::scan::Directories;
use crate::ivf::sketch::{Sketch, Values};
use crate::mru::Mru;
use crate::pg::am::opclass;
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::in_index;
use crate::pg::storage::buffer_store::{IndexStore, Logging};

/// The decoded directories of an index that this backend keeps.
struct Kept {
    index: pg_sys::Oid,
    directories: Directories,
}

/// Bytes of directories that a backend keeps. The directory in use is kept even if it is larger.
const KEPT_BYTES: usize = 64 << 20;

thread_local! {
    /// The number of entries is limited only by [`KEPT_BYTES`].
    static DIRECTORIES: RefCell<Mru<Kept>> = const { RefCell::new(Mru::new(usize::MAX)) };
}

/// The directory of the lists that an index uses.
pub fn directory(store: &IndexStore) -> Result<Rc<Directory>> {
    Ok(directories(store)?.0)
}

/// The directory of the lists that take new rows.
pub fn writable_directory(store: &IndexStore) -> Result<Rc<Directory>> {
    let (current, next) = directories(store)?;
    Ok(next.unwrap_or(current))
}

/// The directories of an index; those from an earlier call, if the meta page has not changed since.
pub fn directories(store: &IndexStore) -> Result<Directories> {
    // SAFETY: the relation is open.
    let index = unsafe { (*store.relation()).rd_id };
    let kept = DIRECTORIES.with_borrow_mut(|cache| {
        let kept = cache.find(|kept| kept.index == index);
        kept.map(|kept| kept.directories.clone())
    });
    if let Some(directories) = kept
        && are_current(store, &directories)?
    {
        return Ok(directories);
    }
    let (current, next) = Directory::load_all(store)?;
    let declared = declared(store.relation())?;
    current.expect(&declared)?;
    next.iter().try_for_each(|next| next.expect(&declared))?;
    let directories = (Rc::new(current), next.map(Rc::new));
    DIRECTORIES.with_borrow_mut(|cache| {
        let new = || Kept { index, directories: directories.clone() };
        cache.find_or_insert(|kept| kept.index == index, new).directories = directories.clone();
        let mut bytes = 0;
        cache.retain(|kept| {
            let (current, next) = &kept.directories;
            bytes += current.memory() + next.as_ref().map_or(0, |next| next.memory());
            bytes <= KEPT_BYTES || kept.index == index
        });
    });
    Ok(directories)
}

/// What the catalog says of an open index.
fn declared(index: pg_sys::Relation) -> Result<Declared> {
    let (indexed, metric) = opclass::indexed(index)?;
    let values = match indexed {
        Indexed::Vector | Indexed::Half | Indexed::Bits => Values::Coordinates,
        Indexed::Sparse => Values::Sparse,
        Indexed::Vectors | Indexed::Halves => Values::Tokens,
    };
    // SAFETY: an open index has its row of pg_index.
    let columns = unsafe { (*(*index).rd_index).indnkeyatts };
    Ok(Declared { metric, values, columns: usize::try_from(columns - 1).unwrap_or(0) })
}

/// Whether the meta page describes these lists.
fn are_current(store: &IndexStore, (current, next): &Directories) -> Result<bool> {
    let root = read_root(store)?;
    Ok(root.current == current.meta && root.next.as_ref() == next.as_ref().map(|next| &next.meta))
}

/// Dimensions of the rows in an index, and how they become coordinates. (ALTER TABLE may have removed the
/// column's type modifier since.)
pub fn sketch(index: pg_sys::Relation) -> Result<Sketch> {
    let store = IndexStore::new(index, Logging::EachChange);
    Ok(directory(&store).map_err(|e| in_index(index, e))?.sketch().clone())
}
