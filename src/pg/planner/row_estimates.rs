//! Row estimates of distance thresholds. The planner assumes that a third of the rows pass a comparison about
//! which it knows nothing, and chooses joins and sorts for that many rows. If an index has a better estimate,
//! the table's paths get it.

use pgrx::{PgList, pg_sys};

use super::cost::{is_ours, share_within};
use super::monotone::Varying;
use super::threshold::limits;

/// Corrects the row estimates of a table and of its paths, if one path is ordered by a distance for which the
/// query has a threshold.
///
/// # Safety
/// The planner's structures, from its hook for the paths of a table.
pub unsafe fn correct(root: *mut pg_sys::PlannerInfo, table: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        let paths = PgList::<pg_sys::Path>::from_pg((*table).pathlist);
        let known = paths.iter_ptr().filter_map(|path| ordered(path)).find_map(|(index, orders)| {
            let limits = limits((*table).baserestrictinfo, &orders, Varying::All);
            let (share, by_planner) = share_within(root, index, &orders, &limits)?;
            Some((limits, share, by_planner))
        });
        let Some((limits, share, by_planner)) = known else { return };
        // The planner caches a clause's selectivity in these fields.
        for (limits, share) in limits.iter().zip([share].into_iter().chain(std::iter::repeat(1.0))) {
            (*limits.clause.cast::<pg_sys::RestrictInfo>()).norm_selec = share;
        }
        let corrected = |rows: f64| pg_sys::clamp_row_est(rows * share / by_planner);
        (*table).rows = corrected((*table).rows);
        let partial = PgList::<pg_sys::Path>::from_pg((*table).partial_pathlist);
        let mut parameters: Vec<*mut pg_sys::ParamPathInfo> = Vec::new();
        for path in paths.iter_ptr().chain(partial.iter_ptr()) {
            (*path).rows = corrected((*path).rows);
            let of = (*path).param_info;
            if !of.is_null() && !parameters.contains(&of) {
                (*of).ppi_rows = corrected((*of).ppi_rows);
                parameters.push(of);
            }
        }
    }
}

/// The index of a path and the distances that it is ordered by, if the index is ours.
unsafe fn ordered(path: *mut pg_sys::Path) -> Option<(*mut pg_sys::IndexOptInfo, Vec<*mut pg_sys::Node>)> {
    // SAFETY: the planner's structure; a node's tag tells its type.
    unsafe {
        let scan = (*path).type_ == pg_sys::NodeTag::T_IndexPath;
        let scan = scan.then(|| &*path.cast::<pg_sys::IndexPath>())?;
        let ours = is_ours(scan.indexinfo);
        let orders: Vec<_> = PgList::from_pg(scan.indexorderbys).iter_ptr().collect();
        (ours && !orders.is_empty()).then_some((scan.indexinfo, orders))
    }
}
