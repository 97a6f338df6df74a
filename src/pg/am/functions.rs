//! SQL functions about indexes: `ivf_check`, `ivf_index_info`, `ivf_last_scan`.

use std::collections::HashSet;
use std::ffi::c_void;

use pgrx::prelude::*;
use pgrx::{JsonB, PgRelation, pg_sys};

use super::insert::tid;
use super::opclass;
use crate::error::{Error, Kind, Result};
use crate::ivf::code::normalize;
use crate::ivf::{check, info};
use crate::page::Tid;
use crate::pg::buffer::{IndexStore, Logging};
use crate::pg::error::{OrRaise, in_index, raise};
use crate::pg::varlena::Vector;
use crate::pg::{relation_name, stats};
use crate::value::Metric;

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// An ivf index, open under a share lock until dropped (or the transaction's end).
fn open(index: pg_sys::Oid) -> PgRelation {
    // SAFETY: opens by OID with a lock; a missing relation raises.
    let relation = unsafe { PgRelation::with_lock(index, LOCK) };
    let name = relation_name(relation.as_ptr());
    // SAFETY: the relation is open; an index has its access method's table.
    let ours = unsafe {
        (*relation.rd_rel).relkind == pg_sys::RELKIND_INDEX as i8 && super::is_ivf(relation.as_ptr())
    };
    if !ours {
        raise(Error::new(Kind::InvalidParameter, format!("\"{name}\" is not an ivf index")));
    }
    // SAFETY: an index has its pg_index row.
    if unsafe { !(*relation.rd_index).indisvalid } {
        let hint = "Drop it, or rebuild it with REINDEX.";
        raise(Error::new(Kind::InvalidParameter, format!("index \"{name}\" is not valid")).with_hint(hint));
    }
    relation
}

fn tick() -> Result<()> {
    pgrx::check_for_interrupts!();
    Ok(())
}

fn json(value: &impl serde::Serialize) -> JsonB {
    match serde_json::to_value(value) {
        Ok(value) => JsonB(value),
        Err(e) => raise(Error::new(Kind::Internal, format!("could not make JSON: {e}"))),
    }
}

/// Describes an index; reads all of its list pages.
#[pg_extern(sql = false)]
fn ivf_index_info(index: pg_sys::Oid) -> JsonB {
    let relation = open(index);
    let store = IndexStore::new(relation.as_ptr(), Logging::EachChange);
    let info = info::info(&store, &tick).map_err(|e| in_index(relation.as_ptr(), e)).or_raise();
    json(&info)
}

/// What the last ivf scan of this session did.
#[pg_extern(sql = false)]
fn ivf_last_scan() -> JsonB {
    let stats = stats::get();
    JsonB(serde_json::json!({
        "lists": stats.lists, "codes": stats.codes, "refined": stats.extended, "heap_rows": stats.rows,
    }))
}

/// Verifies every page of an index; with `heap_all_indexed` also that each row of the table that the
/// statement's snapshot sees is in the index, and that no row is in it twice.
#[pg_extern(sql = false)]
fn ivf_check(index: pg_sys::Oid, heap_all_indexed: bool) -> JsonB {
    let relation = open(index);
    let named = |e| in_index(relation.as_ptr(), e);
    // The snapshot comes first: what it sees was indexed before the index is read below.
    // SAFETY: a registered snapshot is valid until it is unregistered.
    let snapshot =
        heap_all_indexed.then(|| unsafe { pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot()) });
    let store = IndexStore::new(relation.as_ptr(), Logging::EachChange);
    let mut rows: HashSet<Tid> = HashSet::new();
    let mut visit = |row: Tid| {
        if heap_all_indexed && !rows.insert(row) {
            let what = format!("the heap row ({},{}) is in the index twice", row.block, row.offset);
            return Err(Error::corrupted(0, what));
        }
        Ok(())
    };
    let report = check::check(&store, &mut visit, &tick).map_err(named).or_raise();
    if let Some(snapshot) = snapshot {
        // SAFETY: the index is open and the snapshot registered.
        unsafe {
            compare(&relation, snapshot, &rows);
            pg_sys::UnregisterSnapshot(snapshot);
        }
    }
    json(&report)
}

struct Comparison<'a> {
    rows: &'a HashSet<Tid>,
    cosine: bool,
    unit: Vec<f32>,
    missing: Option<Tid>,
}

/// Raises if a row that `snapshot` sees is not among `rows` (compare amcheck's `bt_check_every_level`).
unsafe fn compare(index: &PgRelation, snapshot: pg_sys::Snapshot, rows: &HashSet<Tid>) {
    #[pg_guard]
    unsafe extern "C-unwind" fn look(
        _index: pg_sys::Relation,
        row: pg_sys::ItemPointer,
        values: *mut pg_sys::Datum,
        isnull: *mut bool,
        _alive: bool,
        state: *mut c_void,
    ) {
        // SAFETY: the state is the comparison below; values and flags are those of the row.
        unsafe {
            let comparison = &mut *state.cast::<Comparison>();
            let row = tid(&*row);
            if *isnull || comparison.rows.contains(&row) {
                return;
            }
            let vector = Vector::from_raw(*values);
            comparison.unit.resize(vector.len(), 0.0);
            if !comparison.cosine || normalize(&vector, &mut comparison.unit) {
                comparison.missing.get_or_insert(row);
            }
        }
    }
    let cosine = opclass::metric(index.as_ptr()).or_raise() == Metric::Cosine;
    let mut comparison = Comparison { rows, cosine, unit: Vec::new(), missing: None };
    // SAFETY: both relations are open; the scan ends with the build scan (heapam_handler.c).
    unsafe {
        let table = pg_sys::table_open((*index.rd_index).indrelid, LOCK);
        let info = pg_sys::BuildIndexInfo(index.as_ptr());
        // As amcheck does: rows as the snapshot sees them, whatever else goes on.
        (*info).ii_Concurrent = true;
        (*info).ii_Unique = false;
        let scan = pg_sys::table_beginscan_strat(table, snapshot, 0, std::ptr::null_mut(), true, false);
        let state = (&raw mut comparison).cast();
        pg_sys::table_index_build_scan(table, index.as_ptr(), info, false, false, Some(look), state, scan);
        pg_sys::table_close(table, LOCK);
    }
    if let Some(row) = comparison.missing {
        let what = format!("the heap row ({},{}) is not in the index", row.block, row.offset);
        raise(in_index(index.as_ptr(), Error::corrupted(0, what)));
    }
}
