//! `ivf_check`: verifies an index, and compares it with its table.

use pgrx::prelude::*;
use pgrx::{JsonB, pg_sys};

use super::access::{Opened, READING, Right, with_index};
use super::heap_all_indexed::AllRows;
use super::json;
use crate::error::{Error, Kind};
use crate::ivf::check::{self, Report};
use crate::pg::error::{OrRaise, in_index, raise};
use crate::pg::relation::relation_name;
use crate::pg::storage::buffer_store::IndexStore;
use crate::pg::work::tick;

/// Verifies every page of an index; with `heap_all_indexed` also that each row of the table that the
/// statement's snapshot sees is in the index, with its keys in the filter columns, and that no row is in it
/// twice.
#[pg_extern(sql = false)]
fn ivf_check(index: pg_sys::Oid, heap_all_indexed: bool) -> JsonB {
    json(&with_index(index, READING, Right::Execute, |opened| verify(opened, heap_all_indexed)))
}

fn verify(opened: &Opened, heap_all_indexed: bool) -> Report {
    let named = |e| in_index(opened.index.as_ptr(), e);
    // The snapshot is taken first. So the rows that it sees are in the index before the index is read below.
    // SAFETY: a registered snapshot is valid until it is unregistered.
    let snapshot =
        heap_all_indexed.then(|| unsafe { pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot()) });
    if let Some(snapshot) = snapshot {
        // SAFETY: the index is open and the snapshot registered.
        unsafe { expect_built_before(opened.index.as_ptr(), snapshot) };
    }
    let store = IndexStore::in_bulk(opened.index.as_ptr());
    let Some(snapshot) = snapshot else {
        return check::check(&store, &mut |_| Ok(()), &tick).map_err(named).or_raise();
    };
    // SAFETY: the index is open and the snapshot registered.
    unsafe {
        let mut all = AllRows::of(opened);
        let report = check::check(&store, &mut |row| all.count(row), &tick).map_err(named).or_raise();
        all.compare(&store, snapshot).map_err(named).or_raise();
        pg_sys::UnregisterSnapshot(snapshot);
        report
    }
}

/// Raises an error if the transaction's snapshot may see row versions that are not in the index: the build
/// left them out because newer versions have replaced them in a HOT chain (`indcheckxmin`; see amcheck's
/// `bt_check_every_level` and README.HOT).
///
/// # Safety
/// The index is open, the snapshot valid.
pub(super) unsafe fn expect_built_before(index: pg_sys::Relation, snapshot: pg_sys::Snapshot) {
    // SAFETY: an open index has its pg_index row; its header is that of a table's row.
    let unsuited = unsafe {
        let header = (*(*index).rd_indextuple).t_data;
        let frozen = pg_sys::HEAP_XMIN_FROZEN as u16;
        let made = match (*header).t_infomask & frozen {
            bits if bits == frozen => pg_sys::FrozenTransactionId,
            _ => (*header).t_choice.t_heap.t_xmin,
        };
        // In READ COMMITTED each statement has its own snapshot, which is newer than the index that it
        // opened.
        pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32
            && (*(*index).rd_index).indcheckxmin
            && !pg_sys::TransactionIdPrecedes(made, (*snapshot).xmin)
    };
    if unsuited {
        let name = relation_name(index);
        let message = format!("index \"{name}\" is newer than this transaction's snapshot");
        let hint = "Call the function in a new transaction.";
        raise(Error::new(Kind::NotReady, message).with_hint(hint));
    }
}
