//! The scans of indexes that the planner would offer in some order.

use pgrx::{PgList, pg_sys};

/// The scans of an index (of all indexes if `None`) that the planner would offer a query with this order
/// (without an order if null). They are not added to the table's paths.
///
/// # Safety
/// The planner's structures, when it has the paths of the table.
pub unsafe fn index_paths(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: Option<*mut pg_sys::IndexOptInfo>,
    order: *mut pg_sys::List,
) -> Vec<*mut pg_sys::IndexPath> {
    // SAFETY: the caller vouches for the structures. The lists of paths and indexes, and the order, are
    // replaced while the planner makes the paths, and put back afterwards. An error ends planning. A path's
    // tag tells its type.
    unsafe {
        let lists = ((*table).pathlist, (*table).partial_pathlist, (*table).indexlist);
        let asked = std::mem::replace(&mut (*root).query_pathkeys, order);
        (*table).pathlist = std::ptr::null_mut();
        (*table).partial_pathlist = std::ptr::null_mut();
        if let Some(index) = index {
            let mut only = PgList::<pg_sys::IndexOptInfo>::new();
            only.push(index);
            (*table).indexlist = only.into_pg();
        }
        pg_sys::create_index_paths(root, table);
        let paths = PgList::<pg_sys::Path>::from_pg((*table).pathlist);
        let is_scan = |path: &*mut pg_sys::Path| (**path).type_ == pg_sys::NodeTag::T_IndexPath;
        let scans = paths.iter_ptr().filter(is_scan).map(<*mut pg_sys::Path>::cast).collect();
        (*root).query_pathkeys = asked;
        ((*table).pathlist, (*table).partial_pathlist, (*table).indexlist) = lists;
        scans
    }
}
