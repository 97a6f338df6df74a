//! The dimensions of an index: those of the column's type, of option `dimensions`, or of the rows.
//!
//! A column without declared dimensions (`vector`) may have rows of any. An index on it takes the dimensions
//! of the first row, and keeps them as its option: so it can be built again when the table has no rows
//! (TRUNCATE, a restored dump).

use pgrx::pg_sys;

use super::opclass;
use super::table_source::TableSource;
use crate::error::{Error, Kind, Result};
use crate::ivf::sketch::Sketch;
use crate::pg::datum::indexed::Indexed;
use crate::pg::settings::reloptions::{IndexOptions, method_name};
use crate::pg::storage::tid::tid;
use crate::value::{sparse, tokens};

/// The dimensions with which an index is to be built.
///
/// # Errors
/// No or too many dimensions; an option that contradicts the type.
pub fn of_build(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> Result<usize> {
    let dims = match (opclass::declared_dimensions(index)?, IndexOptions::of(index).dimensions) {
        (Some(declared), Some(option)) if declared != option => {
            let message =
                format!("option \"dimensions\" is {option}, but the column's type has {declared} dimensions");
            return Err(Error::new(Kind::InvalidParameter, message).with_hint(
                "The option is for columns without declared dimensions. Leave it out, or remove it with \
                     ALTER INDEX ... RESET (dimensions).",
            ));
        }
        (declared, option) => declared.or(option),
    };
    let first = || TableSource::new(heap, index, info, Sketch::none(0), 0).first_dimensions();
    let number = dims.or_else(first).ok_or_else(unknown)?;
    check_number(index, number)?;
    if dims.is_none() {
        keep(index, number)?;
    }
    Ok(number)
}

fn unknown() -> Error {
    Error::new(Kind::InvalidParameter, "column does not have dimensions").with_hint(
        "The table has no row from which the index could take them. Give the column a type with dimensions, \
         such as vector(384), or create the index WITH (dimensions = 384).",
    )
}

fn check_number(index: pg_sys::Relation, dims: usize) -> Result<()> {
    if dims == 0 {
        // An empty string of bits.
        return Err(unknown());
    }
    let most = match opclass::indexed(index)? {
        (Indexed::Sparse, _) => sparse::MAX_DIMS,
        (Indexed::Vectors | Indexed::Halves, _) => tokens::MAX_INDEXED_DIMS,
        (_, metric) => metric.most_dims(),
    };
    if dims <= most {
        return Ok(());
    }
    let method = method_name(index);
    let message = format!("column cannot have more than {most} dimensions for {method} index");
    Err(Error::new(Kind::LimitExceeded, message))
}

/// Makes the dimensions an option of the index.
fn keep(index: pg_sys::Relation, dims: usize) -> Result<()> {
    const NATTS: usize = pg_sys::Natts_pg_class as usize;
    const AT: usize = pg_sys::Anum_pg_class_reloptions as usize - 1;
    let none = pg_sys::Datum::null();
    let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
    // SAFETY: a build may change the index's row in pg_class, of which a copy is changed. All pointers are to
    // memory of the current context.
    unsafe {
        let class = pg_sys::table_open(pg_sys::RelationRelationId, pg_sys::RowExclusiveLock as i32);
        // A row of pg_class is also changed in place, under this lock (README.tuplock). The lock of the table
        // keeps others from this row, but the server wants both.
        let lock = pg_sys::ExclusiveLock as i32;
        let found = pg_sys::SearchSysCacheCopy(cache, (*index).rd_id.into(), none, none, none);
        if found.is_null() {
            return Err(Error::new(Kind::Internal, "the index is not in pg_class"));
        }
        let mut place = (*found).t_self;
        pg_sys::LockTuple(class, &raw mut place, lock);
        // As it is under the lock.
        let row = pg_sys::SearchSysCacheCopy(cache, (*index).rd_id.into(), none, none, none);
        if row.is_null() || tid(&(*row).t_self) != tid(&place) {
            return Err(Error::new(Kind::Internal, "the index's row in pg_class has moved"));
        }
        let mut is_null = false;
        let old =
            pg_sys::SysCacheGetAttr(cache, row, pg_sys::Anum_pg_class_reloptions as i16, &raw mut is_null);
        let name = pg_sys::pstrdup(c"dimensions".as_ptr());
        let option = pg_sys::makeDefElem(name, pg_sys::makeInteger(dims as i32).cast(), -1);
        let options = pg_sys::lappend(std::ptr::null_mut(), option.cast());
        let old = if is_null { none } else { old };
        let no_names = std::ptr::null_mut();
        let new = pg_sys::transformRelOptions(old, options, std::ptr::null(), no_names, false, false);
        let (mut values, nulls, mut replaced) = ([none; NATTS], [false; NATTS], [false; NATTS]);
        (values[AT], replaced[AT]) = (new, true);
        let descriptor = (*class).rd_att;
        let changed = pg_sys::heap_modify_tuple(
            row,
            descriptor,
            values.as_ptr().cast_mut(),
            nulls.as_ptr().cast_mut(),
            replaced.as_ptr().cast_mut(),
        );
        pg_sys::CatalogTupleUpdate(class, &raw mut (*changed).t_self, changed);
        pg_sys::UnlockTuple(class, &raw mut place, lock);
        pg_sys::table_close(class, pg_sys::RowExclusiveLock as i32);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}
