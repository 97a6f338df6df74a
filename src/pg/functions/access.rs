//! Checks who may call a function about an index, and opens the index for it.

use std::ffi::{CStr, CString};

use pgrx::{PgRelation, pg_sys};

use crate::error::{Error, Kind};
use crate::pg::compat::owns_relation;
use crate::pg::error::raise;
use crate::pg::owner::as_owner;
use crate::pg::relation::{may_read_column, may_read_table, relation_name};

/// The lock of functions that read.
pub const READING: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// The lock of maintenance: it excludes VACUUM and other maintenance, but neither readers nor writers.
pub const MAINTENANCE: pg_sys::LOCKMODE = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;

/// What a caller must be allowed to do.
#[derive(Clone, Copy)]
pub enum Right {
    /// To execute the function, which the server has checked.
    Execute,
    /// To know the number of rows: the owner, members of `pg_stat_scan_tables`, and users who may read the
    /// rows.
    Count,
    /// To read all rows of the index's columns.
    Read,
    /// To maintain the table.
    Own,
}

/// An ivf index and its table. They are open and locked until this is dropped, or until the end of the
/// transaction.
pub struct Opened {
    /// The index.
    pub index: PgRelation,
    /// Its table.
    pub table: PgRelation,
}

/// Opens a valid ivf index and its table for a caller with this right, and runs `work` as the table's owner.
///
/// The right is checked before the function waits for a lock, because a user without the right must not make
/// others wait. It is checked again when the table is locked. The table's lock comes first, as in every
/// command that locks both.
pub fn with_index<R>(
    index: pg_sys::Oid,
    lock: pg_sys::LOCKMODE,
    right: Right,
    work: impl FnOnce(&Opened) -> R,
) -> R {
    let table = table_of(index);
    // SAFETY: lookups in the catalog; opening raises for a missing relation. The table stays locked while the
    // work runs.
    unsafe {
        right.check(table, index);
        let table = PgRelation::with_lock(table, lock);
        right.check(table.oid(), index);
        let pointer = table.as_ptr();
        as_owner(pointer, || {
            let opened = Opened { index: PgRelation::with_lock(index, lock), table };
            check(&opened);
            work(&opened)
        })
    }
}

/// The table of an index. It is not locked yet, so it may be dropped at any time.
fn table_of(index: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: lookups in the catalog; the name is copied.
    unsafe {
        let name = pg_sys::get_rel_name(index);
        if name.is_null() {
            let message = format!("relation with OID {} does not exist", index.to_u32());
            raise(Error::new(Kind::NoObject, message));
        }
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        match pg_sys::get_rel_relkind(index) as u8 {
            pg_sys::RELKIND_INDEX => pg_sys::IndexGetRelation(index, false),
            pg_sys::RELKIND_PARTITIONED_INDEX => {
                let message = format!("\"{name}\" is a partitioned index, which holds no rows itself");
                raise(Error::new(Kind::WrongObject, message).with_hint("Name the index of a partition."))
            }
            _ => raise(not_ours(&name)),
        }
    }
}

fn not_ours(name: &str) -> Error {
    Error::new(Kind::WrongObject, format!("\"{name}\" is not an ivf index"))
}

/// Raises an error if an open index cannot be read here and now.
fn check(Opened { index, table }: &Opened) {
    let name = relation_name(index.as_ptr());
    // SAFETY: the relations are open: an index has its pg_index row, and its table is looked up in the
    // catalog.
    let (same, ours, class, valid) = unsafe {
        let same = pg_sys::IndexGetRelation(index.oid(), true) == table.oid();
        let valid = (*index.rd_index).indisvalid;
        (same, crate::pg::scan::callbacks::is_ivf(index.as_ptr()), &*index.rd_rel, valid)
    };
    // SAFETY: reading the state of the server.
    let in_recovery = || unsafe { pg_sys::RecoveryInProgress() };
    let persistence = class.relpersistence as u8;
    if !same {
        let message = format!("could not open parent table of index \"{name}\"");
        raise(Error::new(Kind::NoObject, message));
    }
    if !ours {
        raise(not_ours(&name));
    }
    if persistence == pg_sys::RELPERSISTENCE_TEMP && !index.rd_islocaltemp {
        let message = "cannot access temporary tables of other sessions";
        raise(Error::new(Kind::NotSupported, message));
    }
    if persistence == pg_sys::RELPERSISTENCE_UNLOGGED && in_recovery() {
        let message = "cannot access temporary or unlogged relations during recovery";
        raise(Error::new(Kind::NotSupported, message));
    }
    if !valid {
        let hint = "Drop it, or rebuild it with REINDEX.";
        raise(Error::new(Kind::NotReady, format!("index \"{name}\" is not valid")).with_hint(hint));
    }
}

impl Right {
    /// Raises an error if the current user does not have this right.
    ///
    /// # Safety
    /// Only catalog lookups, by OIDs of relations that exist or existed.
    unsafe fn check(self, table: pg_sys::Oid, index: pg_sys::Oid) {
        // SAFETY: aclcheck_error raises; it takes a name.
        unsafe {
            match self {
                Self::Execute => {}
                Self::Own if owns_relation(table) => {}
                Self::Own => {
                    let denied = pg_sys::AclResult::ACLCHECK_NOT_OWNER;
                    let kind = pg_sys::ObjectType::OBJECT_INDEX;
                    pg_sys::aclcheck_error(denied, kind, pg_sys::get_rel_name(index));
                }
                Self::Count if owns_relation(table) || watches_tables() => {}
                Self::Count | Self::Read => {
                    expect_readable(table, index);
                    expect_all_rows(table);
                }
            }
        }
    }
}

/// Whether the current user may monitor every table, as for pgstattuple's functions.
unsafe fn watches_tables() -> bool {
    // SAFETY: catalog lookups.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::ROLE_PG_STAT_SCAN_TABLES.into()) }
}

/// Raises an error if the current user may read neither the table nor all columns of the index.
unsafe fn expect_readable(table: pg_sys::Oid, index: pg_sys::Oid) {
    // SAFETY: catalog lookups by number; aclcheck_error raises; it takes a name.
    unsafe {
        if !may_read_table(table, pg_sys::GetUserId()) && !may_read_columns(table, index) {
            let denied = pg_sys::AclResult::ACLCHECK_NO_PRIV;
            pg_sys::aclcheck_error(denied, pg_sys::ObjectType::OBJECT_TABLE, pg_sys::get_rel_name(table));
        }
    }
}

/// Whether the current user may read all columns of an index, and the index has only plain columns and all
/// rows of the table.
unsafe fn may_read_columns(table: pg_sys::Oid, index: pg_sys::Oid) -> bool {
    // SAFETY: the entry is a pg_index row, which has as many numbers of columns as it says; it is released
    // after its last use.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::INDEXRELID as i32;
        let entry = pg_sys::SearchSysCache1(cache, index.into());
        if entry.is_null() {
            return false;
        }
        let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_index>(entry);
        let columns = row.indkey.values.as_slice(row.indnatts.max(0) as usize);
        let predicate = pg_sys::Anum_pg_index_indpred as i32;
        let user = pg_sys::GetUserId();
        let may = pg_sys::heap_attisnull(entry, predicate, std::ptr::null_mut())
            && columns.iter().all(|&column| {
                // The columns that an expression reads are not determined.
                column != 0 && may_read_column(table, column, user)
            });
        pg_sys::ReleaseSysCache(entry);
        may
    }
}

/// Raises if row-level security hides rows of the table from the current user.
unsafe fn expect_all_rows(table: pg_sys::Oid) {
    // SAFETY: catalog lookups; told not to, this raises nothing where policies apply. The name is copied.
    unsafe {
        let enabled = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;
        if pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true) != enabled {
            return;
        }
        let name = pg_sys::get_rel_name(table);
        let name = if name.is_null() { CString::default() } else { CStr::from_ptr(name).to_owned() };
        let name = name.to_string_lossy();
        let message = format!("row-level security hides rows of table \"{name}\" from this role");
        let hint = "Use a role that the policies do not apply to.";
        raise(Error::new(Kind::NotSupported, message).with_hint(hint));
    }
}
