//! `min` and `max` of a distance, which the planner answers by `ORDER BY … LIMIT 1`.
//!
//! A user who asks for the least distance has not asked for an approximation, unlike a user who writes `ORDER
//! BY … LIMIT 1`. Such a query is recognised while it is planned. Its scan is exact, and its cost is
//! estimated accordingly. The planner's LIMIT is a constant, which stays in the plan wherever the plan is
//! copied or sent. We mark it by a type modifier, which a bigint never has.

use pgrx::{FromDatum, PgList, pg_sys};

/// The mark. It may be any number except -1, which means no type modifier.
const MARK: i32 = 0x6976_6600;

/// Marks a query's LIMIT if the planner has made the query from `min` or `max`. Returns whether it has.
///
/// # Safety
/// The planner's structure.
pub unsafe fn mark(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: the caller vouches for the structure; a node's tag tells its type.
    unsafe {
        let of_minimum = is_of_minimum(root);
        if of_minimum {
            (*(*(*root).parse).limitCount.cast::<pg_sys::Const>()).consttypmod = MARK;
        }
        of_minimum
    }
}

/// Whether a LIMIT in a plan is marked.
///
/// # Safety
/// A live node of a started plan.
pub unsafe fn is_exact(limit: *mut pg_sys::LimitState) -> bool {
    // SAFETY: the caller vouches for the node.
    unsafe {
        let plan = (*limit).ps.plan.cast::<pg_sys::Limit>();
        one((*plan).limitCount).is_some_and(|count| (*count).consttypmod == MARK)
    }
}

/// Whether a query was made by `build_minmax_path` (planagg.c). From a query with aggregates it makes one
/// that has the same tables, and the aggregated expression as its only column, with a fixed name. A user who
/// writes exactly the same query as a subquery of such a query gets an exact answer, too.
unsafe fn is_of_minimum(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        let (query, Some(outer)) = ((*root).parse, (*root).parent_root.as_ref()) else { return false };
        let columns = PgList::<pg_sys::TargetEntry>::from_pg((*query).targetList);
        let (1, Some(column)) = (columns.len(), columns.get_ptr(0)) else { return false };
        let name = (*column).resname;
        let tables = |query: *mut pg_sys::Query| PgList::<pg_sys::Node>::from_pg((*query).rtable).len();
        !name.is_null()
            && std::ffi::CStr::from_ptr(name) == c"agg_target"
            && (*outer.parse).hasAggs
            && !(*query).hasAggs
            && (*query).limitOffset.is_null()
            && one((*query).limitCount).is_some()
            // By now the query also has the partitions of its tables.
            && tables(query) >= tables(outer.parse)
    }
}

/// The constant 1 of a LIMIT.
unsafe fn one(count: *mut pg_sys::Node) -> Option<*mut pg_sys::Const> {
    // SAFETY: null or a node, whose tag tells its type.
    unsafe {
        let constant = count.cast::<pg_sys::Const>();
        let is_constant = count.as_ref()?.type_ == pg_sys::NodeTag::T_Const;
        let one = is_constant
            && (*constant).consttype == pg_sys::INT8OID
            && i64::from_datum((*constant).constvalue, (*constant).constisnull) == Some(1);
        one.then_some(constant)
    }
}
