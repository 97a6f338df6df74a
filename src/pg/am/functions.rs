//! SQL functions about indexes: `ivf_check`, `ivf_index_info`, `ivf_last_scan`.

use std::collections::HashSet;

use pgrx::prelude::*;
use pgrx::{JsonB, PgRelation, pg_sys};

use super::{heap, opclass};
use crate::error::{Error, Kind, Result};
use crate::ivf::code::normalize;
use crate::ivf::{check, info};
use crate::page::Tid;
use crate::pg::buffer::{IndexStore, Logging};
use crate::pg::error::{OrRaise, in_index, raise};
use crate::pg::{relation_name, stats};
use crate::value::Metric;

pub(super) const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// An ivf index, open under a lock until dropped (or the transaction's end).
pub(super) fn open(index: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> PgRelation {
    // SAFETY: opens by OID with a lock; a missing relation raises.
    let relation = unsafe { PgRelation::with_lock(index, lock) };
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

pub(super) fn json(value: &impl serde::Serialize) -> JsonB {
    match serde_json::to_value(value) {
        Ok(value) => JsonB(value),
        Err(e) => raise(Error::new(Kind::Internal, format!("could not make JSON: {e}"))),
    }
}

/// Describes an index; reads all of its list pages.
#[pg_extern(sql = false)]
fn ivf_index_info(index: pg_sys::Oid) -> JsonB {
    let relation = open(index, LOCK);
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
    let relation = open(index, LOCK);
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

/// Raises if a row that `snapshot` sees is not among `rows`.
unsafe fn compare(index: &PgRelation, snapshot: pg_sys::Snapshot, rows: &HashSet<Tid>) {
    let cosine = opclass::metric(index.as_ptr()).or_raise() == Metric::Cosine;
    let dims = opclass::dimensions(index.as_ptr()).or_raise();
    let mut unit = vec![0.0; dims];
    let mut missing = None;
    let mut look = |row: Tid, vector: &[f32]| {
        if !rows.contains(&row) && (!cosine || normalize(vector, &mut unit)) {
            missing.get_or_insert(row);
        }
        Ok(())
    };
    // SAFETY: both relations are open; the caller registered the snapshot.
    unsafe {
        let table = pg_sys::table_open((*index.rd_index).indrelid, LOCK);
        heap::each_row(table, index.as_ptr(), dims, snapshot, &mut look);
        pg_sys::table_close(table, LOCK);
    }
    if let Some(row) = missing {
        let what = format!("the heap row ({},{}) is not in the index", row.block, row.offset);
        raise(in_index(index.as_ptr(), Error::corrupted(0, what)));
    }
}
