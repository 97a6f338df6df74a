//! Differences between the majors, except for what a single struct field needs.

use pgrx::pg_sys;

/// Where a long maintenance command waits its cost-based delay and reacts to cancel.
pub fn vacuum_delay_point() {
    // SAFETY: no buffer lock is held by the callers.
    unsafe {
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
    }
}

/// Calls `walker` on each child of a plan state node; ends when it returns true.
///
/// # Safety
/// `state` is a live node of a started plan.
pub unsafe fn planstate_children(
    state: *mut pg_sys::PlanState,
    walker: unsafe extern "C-unwind" fn(*mut pg_sys::PlanState, *mut std::ffi::c_void) -> bool,
    context: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the caller vouches for the node.
    unsafe {
        #[cfg(feature = "pg15")]
        return planstate_tree_walker(state, walker, context);
        #[cfg(not(feature = "pg15"))]
        pg_sys::planstate_tree_walker_impl(state, Some(walker), context)
    }
}

#[cfg(feature = "pg15")]
unsafe extern "C-unwind" {
    // Not among pgrx' bindings of this major (nodeFuncs.h).
    fn planstate_tree_walker(
        state: *mut pg_sys::PlanState,
        walker: unsafe extern "C-unwind" fn(*mut pg_sys::PlanState, *mut std::ffi::c_void) -> bool,
        context: *mut std::ffi::c_void,
    ) -> bool;
}

/// The type modifier of a column.
///
/// # Safety
/// The descriptor has that many attributes.
pub unsafe fn typmod(descriptor: pg_sys::TupleDesc, attribute: usize) -> i32 {
    // SAFETY: the caller vouches for the descriptor.
    unsafe {
        #[cfg(feature = "pg18")]
        return (*pg_sys::TupleDescAttr(descriptor, attribute as i32)).atttypmod;
        #[cfg(not(feature = "pg18"))]
        (*(*descriptor).attrs.as_ptr().add(attribute)).atttypmod
    }
}

/// Counts an index scan in the statistics views.
///
/// # Safety
/// `scan` is a live scan of an open index.
pub unsafe fn count_index_scan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the caller vouches for the scan.
    unsafe {
        pgrx::PgRelation::from_pg((*scan).indexRelation).count_index_scan();
        #[cfg(feature = "pg18")]
        if !(*scan).instrument.is_null() {
            (*(*scan).instrument).nsearches += 1;
        }
    }
}
