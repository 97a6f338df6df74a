//! The mark by which a range search (`range.rs`) is recognised among the scans in the order of a distance.

use pgrx::pg_sys;

use super::threshold::operation;

/// The mark: a collation of the operator's result. A float has none, and nothing asks for it, but it stays
/// with the expression wherever the plan is copied or sent. A query's own order is never equal to a marked
/// one.
pub const MARK: pg_sys::Oid = pg_sys::C_COLLATION_OID;

/// Whether the orders of a scan are those of a range search.
///
/// # Safety
/// Expressions of the planner's or a plan's.
pub unsafe fn is_range(orders: &[*mut pg_sys::Node]) -> bool {
    let marked = |order: &*mut pg_sys::Node| {
        // SAFETY: the caller vouches for the expressions; `operation` looks at the tag.
        unsafe { operation(*order).is_some_and(|operation| (*operation).opcollid == MARK) }
    };
    orders.first().is_some_and(marked)
}
