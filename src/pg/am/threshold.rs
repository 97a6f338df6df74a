//! Distance thresholds: a filter `embedding <-> $1 < r` above a scan in the order of `embedding <-> $1` says where
//! the scan may end, and so does `1 - (embedding <=> $1) > r`.

use pgrx::{FromDatum, PgList, pg_sys};

use super::monotone::{is_fixed, step};

/// `<` and `<=` of float8, and their commutators `>` and `>=` (pg_operator.dat).
const LESS: [u32; 2] = [672, 673];
const GREATER: [u32; 2] = [674, 675];

/// Share by which a bound is widened, for what rounding may have made of it; the filter itself is evaluated in any case.
const SLACK: f64 = 1e-9;

/// The bound `r` in a clause `d < r`, `d <= r`, `r > d` or `r >= d`, where `d` is `order`, the one expression that a
/// scan is ordered by, or what `r` must be in such a clause if the clause compares what grows or falls with `d`. `None` for
/// other clauses, or if the bound depends on the row.
///
/// # Safety
/// Both are expressions of one scan, of the planner's or of the plan.
pub unsafe fn bound(clause: *mut pg_sys::Node, order: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        let clause = operation(clause)?;
        let (left, right) = arguments(clause)?;
        let operator = (*clause).opno.to_u32();
        let (less, greater) = match operator {
            _ if LESS.contains(&operator) => (left, right),
            _ if GREATER.contains(&operator) => (right, left),
            _ => return None,
        };
        // Which side has the distance; is it bounded from above?
        let (mut side, mut bound, mut above) = match (is_fixed(greater), is_fixed(less)) {
            (true, _) => (less, greater, true),
            (_, true) => (greater, less, false),
            _ => return None,
        };
        while !is_same(side, order) {
            let step = step(side)?;
            bound = step.undone(bound)?;
            side = step.varies;
            above ^= step.falls;
        }
        above.then_some(bound)
    }
}

/// The bound of the first clause of a list that has one.
///
/// # Safety
/// As for [`bound`]; the clauses are expressions or the planner's nodes around them.
pub unsafe fn first_bound(clauses: *mut pg_sys::List, order: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        PgList::<pg_sys::Node>::from_pg(clauses).iter_ptr().find_map(|clause| match (*clause).type_ {
            pg_sys::NodeTag::T_RestrictInfo => {
                bound((*clause.cast::<pg_sys::RestrictInfo>()).clause.cast(), order)
            }
            _ => bound(clause, order),
        })
    }
}

/// The value of a bound, evaluated; infinite if it is NULL, which no row passes, or NaN, which all do.
///
/// # Safety
/// The expression was initialised for the node that the context belongs to.
pub unsafe fn evaluate(bound: *mut pg_sys::ExprState, context: *mut pg_sys::ExprContext) -> f64 {
    // SAFETY: as ExecEvalExpr does (executor.h); the bound is a float8.
    unsafe {
        let Some(evaluate) = (*bound).evalfunc else { return f64::INFINITY };
        let mut null = false;
        let datum = pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(bound, context, &raw mut null));
        let value = f64::from_datum(datum, null).filter(|value| !value.is_nan()).unwrap_or(f64::INFINITY);
        if value.is_finite() { value + (value.abs() + 1.0) * SLACK } else { value }
    }
}

unsafe fn operation(node: *mut pg_sys::Node) -> Option<*mut pg_sys::OpExpr> {
    // SAFETY: null or a node, whose tag tells its type.
    unsafe { (node.as_ref()?.type_ == pg_sys::NodeTag::T_OpExpr).then_some(node.cast()) }
}

unsafe fn arguments(operation: *mut pg_sys::OpExpr) -> Option<(*mut pg_sys::Node, *mut pg_sys::Node)> {
    // SAFETY: the caller passes an operation.
    let arguments = unsafe { PgList::<pg_sys::Node>::from_pg((*operation).args) };
    Some((arguments.get_ptr(0)?, arguments.get_ptr(1)?))
}

/// Whether two expressions are one operation of the same arguments, in either order: distances commute.
unsafe fn is_same(a: *mut pg_sys::Node, b: *mut pg_sys::Node) -> bool {
    let equal = |a: *mut pg_sys::Node, b: *mut pg_sys::Node| {
        // SAFETY: both are expressions.
        unsafe { pg_sys::equal(a.cast(), b.cast()) }
    };
    // SAFETY: the caller passes expressions.
    unsafe {
        let (Some(x), Some(y)) = (operation(a), operation(b)) else { return false };
        let (Some((a, b)), Some((c, d))) = (arguments(x), arguments(y)) else { return false };
        (*x).opno == (*y).opno && (equal(a, c) && equal(b, d) || equal(a, d) && equal(b, c))
    }
}
