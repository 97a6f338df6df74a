//! `ivf_index_info`, `ivf_last_scan`.

use pgrx::prelude::*;
use pgrx::{JsonB, pg_sys};

use super::access::{READING, Right, with_index};
use super::json;
use crate::ivf::info;
use crate::pg::error::{OrRaise, in_index};
use crate::pg::scan::stats;
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::storage::buffer_store::IndexStore;
use crate::pg::work::tick;

/// Describes an index; reads all of its list pages.
#[pg_extern(sql = false)]
fn ivf_index_info(index: pg_sys::Oid) -> JsonB {
    let info = with_index(index, READING, Right::Count, |opened| {
        let index = opened.index.as_ptr();
        let lists = IndexOptions::of(index).lists.max(0) as u32;
        info::info(&IndexStore::in_bulk(index), lists, &tick).map_err(|e| in_index(index, e)).or_raise()
    });
    json(&info)
}

/// The counters of the last ivf scan of this session, if it ran as the current user or as a role whose rights
/// the current user has.
#[pg_extern(sql = false)]
fn ivf_last_scan() -> JsonB {
    let last = stats::get().filter(|last| {
        // SAFETY: catalog lookups.
        unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), last.user) }
    });
    let stats = last.map(|last| last.stats).unwrap_or_default();
    JsonB(serde_json::json!({
        "lists": stats.lists,
        "skipped": stats.skipped,
        "codes": stats.codes,
        "excluded": stats.excluded,
        "refined": stats.extended,
        "heap_rows": stats.rows,
    }))
}
