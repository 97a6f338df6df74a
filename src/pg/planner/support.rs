//! Planner support for the distance functions (`nodes/supportnodes.h`): what a call costs, and that a call by
//! name is its operator.
//!
//! Without the cost, the planner assumes that a distance costs as much as an integer comparison. Then sorting
//! a table's vectors, which are read from TOAST, looks cheaper than an index scan. Without the operator,
//! `ORDER BY l2_distance(embedding, $1)` could not use an index, because indexes order by operators only.

use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{Internal, PgList, pg_sys};

use crate::pg::datum::indexed::Indexed;

/// Number of dimensions assumed if the type has no modifier.
const USUAL_DIMS: usize = 384;
/// Dimensions compared in the time of an operator call.
const DIMS_PER_OPERATOR: f64 = 32.0;
/// Values larger than this are stored out of line (`TOAST_TUPLE_TARGET`).
const INLINE_BYTES: usize = 2000;
/// The price of fetching such a value, in operator calls. Measured: 2 µs, in which a scan of a table in
/// memory reads two pages.
const FETCH: f64 = 400.0;

/// The price of the distance to a stored value with `dims` dimensions and `bytes` bytes.
pub fn distance_cost(dims: usize, bytes: usize) -> f64 {
    let fetch = if bytes > INLINE_BYTES { FETCH } else { 0.0 };
    // SAFETY: reading a setting.
    unsafe { pg_sys::cpu_operator_cost * (1.0 + dims as f64 / DIMS_PER_OPERATOR + fetch) }
}

/// Answers the planner's questions about a distance of `vector`s.
#[pg_extern(sql = false)]
fn vector_distance_support(request: Internal) -> Internal {
    answer(request, Indexed::Vector)
}

/// Answers the planner's questions about a distance of `halfvec`s.
#[pg_extern(sql = false)]
fn halfvec_distance_support(request: Internal) -> Internal {
    answer(request, Indexed::Half)
}

/// Answers the planner's questions about a distance of `bit`s.
#[pg_extern(sql = false)]
fn bit_distance_support(request: Internal) -> Internal {
    answer(request, Indexed::Bits)
}

/// Answers the planner's questions about a distance of `sparsevec`s.
#[pg_extern(sql = false)]
fn sparsevec_distance_support(request: Internal) -> Internal {
    answer(request, Indexed::Sparse)
}

fn answer(request: Internal, kind: Indexed) -> Internal {
    let unanswered = Internal::from(Some(pg_sys::Datum::null()));
    let Some(datum) = request.unwrap() else { return unanswered };
    let node = datum.cast_mut_ptr::<pg_sys::Node>();
    // SAFETY: the planner passes a request node, whose tag tells its type, and reads its answer from it.
    unsafe {
        match node.as_ref().map(|node| node.type_) {
            Some(pg_sys::NodeTag::T_SupportRequestCost) => {
                let request = node.cast::<pg_sys::SupportRequestCost>();
                let dims = dimensions((*request).node).unwrap_or(USUAL_DIMS);
                (*request).startup = 0.0;
                (*request).per_tuple = distance_cost(kind.numbers(dims), kind.size(dims));
                Internal::from(Some(datum))
            }
            Some(pg_sys::NodeTag::T_SupportRequestSimplify) => {
                let call = (*node.cast::<pg_sys::SupportRequestSimplify>()).fcall;
                let operator = as_operator(call).unwrap_or(std::ptr::null_mut());
                Internal::from(Some(pg_sys::Datum::from(operator)))
            }
            _ => unanswered,
        }
    }
}

/// The dimensions of a call's arguments, if the type modifier of one of them has them.
unsafe fn dimensions(call: *mut pg_sys::Node) -> Option<usize> {
    // SAFETY: null or an expression, whose tag tells its type.
    unsafe {
        let arguments = match call.as_ref()?.type_ {
            pg_sys::NodeTag::T_OpExpr => (*call.cast::<pg_sys::OpExpr>()).args,
            pg_sys::NodeTag::T_FuncExpr => (*call.cast::<pg_sys::FuncExpr>()).args,
            _ => return None,
        };
        let arguments = PgList::<pg_sys::Node>::from_pg(arguments);
        let typmods = arguments.iter_ptr().map(|argument| pg_sys::exprTypmod(argument));
        typmods.filter_map(|dims| usize::try_from(dims).ok()).find(|&dims| dims > 0)
    }
}

/// A call of a distance function, rewritten as a use of the operator that has this function.
unsafe fn as_operator(call: *mut pg_sys::FuncExpr) -> Option<*mut pg_sys::Expr> {
    // SAFETY: the planner passes the call; what the catalog caches return is copied before their release.
    unsafe {
        let function = (*call).funcid;
        let name = pg_sys::get_func_name(function);
        if name.is_null() {
            return None;
        }
        let operator = match CStr::from_ptr(name).to_bytes() {
            b"l2_distance" => c"<->",
            b"cosine_distance" => c"<=>",
            b"vector_negative_inner_product"
            | b"halfvec_negative_inner_product"
            | b"sparsevec_negative_inner_product" => c"<#>",
            b"hamming_distance" => c"<~>",
            b"jaccard_distance" => c"<%>",
            b"l1_distance" => c"<+>",
            _ => return None,
        };
        let arguments = PgList::<pg_sys::Node>::from_pg((*call).args);
        let (left, right) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
        // The operator must be in the function's schema, and have this function.
        let operator = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::OPERNAMENSP as i32,
            pg_sys::Anum_pg_operator_oid as i16,
            pg_sys::Datum::from(operator.as_ptr()),
            pg_sys::exprType(left).into(),
            pg_sys::exprType(right).into(),
            pg_sys::get_func_namespace(function).into(),
        );
        if operator == pg_sys::InvalidOid || pg_sys::get_opcode(operator) != function {
            return None;
        }
        let none = pg_sys::InvalidOid;
        let (result, set) = ((*call).funcresulttype, (*call).funcretset);
        let clause = pg_sys::make_opclause(operator, result, set, left.cast(), right.cast(), none, none);
        (*clause.cast::<pg_sys::OpExpr>()).opfuncid = function;
        Some(clause)
    }
}
