//! The mark by which a range search (`range.rs`) is recognised among the scans in the order of a distance.

use pgrx::{PgList, pg_sys};

use super::threshold::operation;
use crate::pg::compat;

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

/// The type modifier of a constant that no query has: a float has no modifier.
const NO_MODIFIER: i32 = 0x6976_6601;

/// The order of a range search's path: that of a constant, which rows in any order have. The server wants a
/// pathkey for each distance of the path (`create_indexscan_plan`, createplan.c). It must be one by which the
/// rows of any table can be sorted: the planner tries to merge the parts of a table in each order that the
/// paths of one of them have, and sorts the others (`generate_orderedappend_paths`, allpaths.c).
///
/// # Safety
/// The planner's, which has merged its equivalence classes.
pub unsafe fn any_order(root: *mut pg_sys::PlannerInfo) -> Option<*mut pg_sys::PathKey> {
    // SAFETY: the caller vouches for the planner's structures; the pathkey and its class are the planner's.
    unsafe {
        let zero = pg_sys::makeConst(
            pg_sys::FLOAT8OID,
            NO_MODIFIER,
            pg_sys::InvalidOid,
            size_of::<f64>() as i32,
            pg_sys::Datum::from(0.0_f64.to_bits()),
            false,
            true,
        );
        let keys = compat::expression_pathkeys(root, zero.cast(), std::ptr::null_mut());
        let key = PgList::<pg_sys::PathKey>::from_pg(keys).get_ptr(0)?;
        // The planner never sorts by what it knows to be a constant, and so does not find it.
        let class = (*key).pk_eclass;
        (*class).ec_has_const = false;
        for member in PgList::<pg_sys::EquivalenceMember>::from_pg((*class).ec_members).iter_ptr() {
            (*member).em_is_const = false;
        }
        Some(key)
    }
}
