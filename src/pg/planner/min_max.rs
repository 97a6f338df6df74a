//! `min` and `max` of a distance, which the planner answers by `ORDER BY … LIMIT 1`.
//!
//! Who asks for the least distance has not asked for an approximation, as who writes `ORDER BY … LIMIT 1`
//! has. Such a plan is recognised while it is made, searched at full effort, and priced so. What the planner
//! has made its own LIMIT of is a constant, which stays in the plan wherever it is copied or sent: it gets a
//! type modifier, which no bigint has.

use pgrx::{FromDatum, PgList, pg_sys};

/// The mark: any number but -1, which says that there is none, would do.
const MARK: i32 = 0x6976_6600;

/// Marks a query's LIMIT if the planner has made the query of `min` or `max`; whether it has.
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

/// Whether a query is what `build_minmax_path` makes (planagg.c): of a query of aggregates one that has the
/// same tables, and what is aggregated as its only column, under that function's name for it. A user who
/// writes exactly that beside the aggregate gets an exact answer, too.
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
            // It has got the partitions of its tables meanwhile.
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
