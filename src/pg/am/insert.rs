//! `aminsert`.

use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

use super::directory_cache::writable_directory;
use super::filter_columns::FilterColumns;
use super::opclass;
use crate::error::Result;
use crate::ivf::code::RowCode;
use crate::ivf::directory::Directory;
use crate::ivf::insert::{Inserted, insert};
use crate::ivf::sketch::Sketched;
use crate::page::Key;
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::{OrRaise, in_index};
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::pg::storage::tid::tid;

/// What the inserts of one statement into one index share. It stays valid, because the statement holds a lock
/// on the index that excludes all that would change it.
struct Statement {
    store: IndexStore,
    directory: Rc<Directory>,
    indexed: Indexed,
    columns: FilterColumns,
    code: RowCode,
    coordinates: Vec<f32>,
    keys: Vec<Key>,
}

impl Statement {
    fn begin(index: pg_sys::Relation) -> Result<Self> {
        let store = IndexStore::new(index, Logging::EachChange);
        let directory = writable_directory(&store)?;
        Ok(Self {
            indexed: opclass::indexed(index)?.0,
            columns: FilterColumns::of(index)?,
            code: RowCode::new(&directory)?,
            coordinates: Vec::new(),
            keys: Vec::new(),
            store,
            directory,
        })
    }
}

/// Adds a row to the index. NULL and, under cosine, zero vectors are not indexed.
#[pg_guard]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    _heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: Postgres passes one value and one flag per index column.
    if unsafe { *isnull } {
        return false;
    }
    let named = |e| in_index(index, e);
    // SAFETY: Postgres passes the row's address and the statement's information about the index, with a cache
    // that is ours, in memory that lives as long.
    let (heap_tid, statement) = unsafe {
        if (*info).ii_AmCache.is_null() {
            let mut memory = PgMemoryContexts::For((*info).ii_Context);
            let statement = memory.switch_to(|_| Statement::begin(index)).map_err(named).or_raise();
            (*info).ii_AmCache = memory.leak_and_drop_on_delete(statement).cast();
        }
        (tid(&*heap_tid), &mut *(*info).ii_AmCache.cast::<Statement>())
    };
    debug_assert_eq!(statement.store.relation(), index, "a statement keeps its indexes open");
    let Statement { store, directory, indexed, columns, code, coordinates, keys } = statement;
    // SAFETY: one value and one flag per column.
    unsafe { columns.keys(values, isnull, keys) };
    let sketch = directory.sketch().clone();
    let of_values = sketch.dims;
    let add = |dims: usize, value: Sketched<'_>| {
        opclass::check_dimensions(*indexed, of_values, dims)?;
        // The lists may have been replaced since the statement's last row.
        while insert(store, directory, code, heap_tid, value, keys)? == Inserted::Stale {
            *directory = writable_directory(store)?;
            *code = RowCode::new(directory)?;
        }
        Ok(())
    };
    // SAFETY: the value is of the column's type, which the operator class takes.
    unsafe { indexed.coordinates(&sketch, *values, coordinates, add) }.map_err(named).or_raise();
    false
}
