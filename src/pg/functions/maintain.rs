//! `ivf_maintain`: what VACUUM does for an index, now.

use pgrx::prelude::pg_extern;
use pgrx::{JsonB, pg_sys};

use super::access::{MAINTENANCE, Opened, Right, with_index};
use super::{expect_writable, json};
use crate::ivf::vacuum::count;
use crate::pg::am::build::Shown;
use crate::pg::am::renew::{Maintained, OnError, When, maintain};
use crate::pg::error::{OrRaise, in_index};
use crate::pg::storage::buffer_store::IndexStore;
use crate::pg::work::tick;

/// Replaces the lists of an index by ones for the rows that it has now, if that is due or `always`, and has
/// free pages used again.
#[pg_extern(sql = false)]
fn ivf_maintain(index: pg_sys::Oid, always: bool) -> JsonB {
    expect_writable(c"ivf_maintain()");
    let when = if always { When::Always } else { When::Due };
    json(&with_index(index, MAINTENANCE, Right::Own, |opened| maintained(opened, when)))
}

fn maintained(Opened { index, table }: &Opened, when: When) -> Maintained {
    let (index, table) = (index.as_ptr(), table.as_ptr());
    let done = count(&IndexStore::in_bulk(index), &tick).and_then(|_| {
        let shown = Shown::of(index, table);
        // SAFETY: the relations are open and belong together; a function runs with an active snapshot.
        unsafe { maintain(table, index, (when, OnError::Raise), &shown) }
    });
    done.map_err(|e| in_index(index, e)).or_raise()
}
