//! `aminsert`.

use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

use super::columns::FilterColumns;
use super::{directory, opclass};
use crate::ivf::insert::insert;
use crate::page::Tid;
use crate::pg::buffer::{IndexStore, Logging};
use crate::pg::error::{OrRaise, in_index};
use crate::value::limits::check_typmod;

/// The address of a heap row in our form.
pub fn tid(pointer: &pg_sys::ItemPointerData) -> Tid {
    let block = u32::from(pointer.ip_blkid.bi_hi) << 16 | u32::from(pointer.ip_blkid.bi_lo);
    Tid { block, offset: pointer.ip_posid }
}

/// The address of a heap row in PostgreSQL's form.
pub fn item_pointer(tid: Tid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData { bi_hi: (tid.block >> 16) as u16, bi_lo: tid.block as u16 },
        ip_posid: tid.offset,
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
    let store = IndexStore::new(index, Logging::EachChange);
    let named = |e| in_index(index, e);
    let directory = directory(&store).map_err(named).or_raise();
    // SAFETY: Postgres passes the row's address.
    let heap_tid = tid(unsafe { &*heap_tid });
    let mut keys = Vec::new();
    if !directory.meta.columns.is_empty() {
        // SAFETY: as above; the cache of the statement is ours, in memory that lives as long.
        unsafe {
            if (*info).ii_AmCache.is_null() {
                let columns = FilterColumns::of(index).map_err(named).or_raise();
                let mut memory = PgMemoryContexts::For((*info).ii_Context);
                (*info).ii_AmCache = memory.leak_and_drop_on_delete(columns).cast();
            }
            (*(*info).ii_AmCache.cast::<FilterColumns>()).keys(values, isnull, &mut keys);
        }
    }
    let (indexed, _) = opclass::indexed(index).or_raise();
    let add = |vector: &[f32]| {
        check_typmod(directory.dims() as i32, vector.len())?;
        insert(&store, &directory, heap_tid, vector, &keys)
    };
    // SAFETY: the value is of the column's type, which the operator class takes.
    unsafe { indexed.coordinates(*values, &mut Vec::new(), add) }.map_err(named).or_raise();
    false
}
