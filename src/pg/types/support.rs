//! Planner support for the distance functions (`nodes/supportnodes.h`): what a call costs.
//!
//! Without it a distance costs the planner as much as an integer comparison, and sorting a table's vectors, each of
//! which is put together from TOAST, looks cheaper than an index scan.

use pgrx::prelude::*;
use pgrx::{Internal, PgList, pg_sys};

/// Dimensions assumed where the type does not say.
const USUAL_DIMS: i32 = 384;
/// Dimensions compared in the time of an operator call.
const DIMS_PER_OPERATOR: f64 = 32.0;
/// Values larger than this are stored out of line (`TOAST_TUPLE_TARGET`).
const INLINE_BYTES: i32 = 2000;
/// Fetching such a value, in operator calls: 2 us measured, in which a scan of a table in memory reads two pages.
const FETCH: f64 = 400.0;

/// The price of the distance to a stored vector of so many dimensions.
pub fn distance_cost(dims: i32) -> f64 {
    let fetch = if 4 * dims + 8 > INLINE_BYTES { FETCH } else { 0.0 };
    // SAFETY: reading a setting.
    unsafe { pg_sys::cpu_operator_cost * (1.0 + f64::from(dims) / DIMS_PER_OPERATOR + fetch) }
}

/// Answers the planner's question for the cost of a call; no answer to any other.
#[pg_extern(sql = false)]
fn vector_distance_support(request: Internal) -> Internal {
    let unanswered = Internal::from(Some(pg_sys::Datum::null()));
    let Some(datum) = request.unwrap() else { return unanswered };
    let node = datum.cast_mut_ptr::<pg_sys::SupportRequestCost>();
    // SAFETY: the planner passes a request node, whose tag tells its type, and reads its answer from it.
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_SupportRequestCost {
            return unanswered;
        }
        (*node).startup = 0.0;
        (*node).per_tuple = distance_cost(dimensions((*node).node).unwrap_or(USUAL_DIMS));
        Internal::from(Some(datum))
    }
}

/// The dimensions of a call's arguments, if the type of one says them.
unsafe fn dimensions(call: *mut pg_sys::Node) -> Option<i32> {
    // SAFETY: null or an expression, whose tag tells its type.
    unsafe {
        let arguments = match call.as_ref()?.type_ {
            pg_sys::NodeTag::T_OpExpr => (*call.cast::<pg_sys::OpExpr>()).args,
            pg_sys::NodeTag::T_FuncExpr => (*call.cast::<pg_sys::FuncExpr>()).args,
            _ => return None,
        };
        let arguments = PgList::<pg_sys::Node>::from_pg(arguments);
        arguments.iter_ptr().map(|argument| pg_sys::exprTypmod(argument)).find(|&dims| dims > 0)
    }
}
