//! Distance thresholds. A scan in the order of `embedding <-> $1` with a filter `embedding <-> $1 < r` may
//! end at `r`. A filter `1 - (embedding <=> $1) > r` ends a scan, too.
//!
//! `r` is evaluated when the scan starts, where the executor would evaluate it for the first row. The index
//! must raise no error that a sequential scan does not raise. So arithmetic is done here (`ivf::threshold`),
//! and an expression that may raise an error is not used as a threshold. A subquery is used: the server
//! evaluates subqueries in index conditions at the start, too.

use pgrx::{FromDatum, PgList, pg_sys};

use super::monotone::{self, Varying, is_fixed, step};
use crate::ivf::threshold::{Arithmetic, Bound, Fixed};

/// `<` and `<=` of float8 and float4, the first operand float8 or not, and their commutators
/// (pg_operator.dat).
const LESS: [u32; 6] = [672, 673, 1122, 1124, 1132, 1134];
const GREATER: [u32; 6] = [674, 675, 1123, 1125, 1133, 1135];

/// The cast of numeric to float8: it fails only where the number is too large or small for one.
const FROM_NUMERIC: u32 = 1746;

/// A threshold of the planner's: its leaves are expressions.
pub type Threshold = Bound<*mut pg_sys::Node>;

/// A threshold whose expressions are compiled for evaluation.
pub type CompiledBound = Bound<*mut pg_sys::ExprState>;

/// A threshold of the distance from a value that may be the query or not. It becomes known when the scan
/// starts: apps without named parameters send the same vector twice.
pub struct Supposed<L> {
    /// The value is the query if these are equal: expressions that raise no error, as pairs of one type.
    pub if_equal: Vec<(L, L)>,
    /// The threshold then.
    pub bound: Bound<L>,
}

/// The bound that a clause puts on `order`, the expression that a scan is ordered by. The clause must compare
/// the distance, or an expression that grows or falls with it, with a value that is the same for all rows.
/// `None` for other clauses.
///
/// # Safety
/// Both are expressions of one scan, of the planner's or of the plan.
pub unsafe fn bound(
    clause: *mut pg_sys::Node,
    order: *mut pg_sys::Node,
    varying: Varying,
) -> Option<Threshold> {
    // SAFETY: as the caller says.
    unsafe { Some(solved(clause, varying, |side| is_same(side, order).then_some(()))?.1) }
}

/// The bound that a clause puts on `order` if the order's query is the value from which the clause measures.
/// `None` also if it is known whether it is.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn supposed(
    clause: *mut pg_sys::Node,
    order: *mut pg_sys::Node,
    varying: Varying,
) -> Option<Supposed<*mut pg_sys::Node>> {
    // SAFETY: as the caller says.
    unsafe {
        let (column, query, first) = measured(order, varying)?;
        let (if_equal, bound) = solved(clause, varying, |side| {
            let (other, value, other_first) = measured(side, varying)?;
            let operator = (*operation(order)?).opno;
            let alike = (*operation(side)?).opno == operator
                && (first == other_first || commutes(operator))
                && pg_sys::equal(column.cast(), other.cast());
            let mut pairs = Vec::new();
            (alike && differences(value, query, &mut pairs) && !pairs.is_empty()).then_some(pairs)
        })?;
        Some(Supposed { if_equal, bound })
    }
}

/// Collects the parts in which two expressions differ. Returns whether the expressions have the same value if
/// the two of each pair have.
unsafe fn differences(
    a: *mut pg_sys::Node,
    b: *mut pg_sys::Node,
    pairs: &mut Vec<(*mut pg_sys::Node, *mut pg_sys::Node)>,
) -> bool {
    // SAFETY: a node's tag tells its type.
    unsafe {
        if pg_sys::equal(a.cast(), b.cast()) {
            return true;
        }
        if a.is_null() || b.is_null() || pg_sys::exprType(a) != pg_sys::exprType(b) {
            return false;
        }
        let tag = (*a).type_;
        let constants = tag == pg_sys::NodeTag::T_Const && (*b).type_ == tag;
        if is_harmless(a) && is_harmless(b) && !constants {
            pairs.push((a, b));
            return true;
        }
        // A cast of each, as in `$1::text::vector(3)`.
        if (*b).type_ != tag || pg_sys::contain_mutable_functions(a) || pg_sys::contain_mutable_functions(b) {
            return false;
        }
        match tag {
            pg_sys::NodeTag::T_CoerceViaIO => {
                let (a, b) = (a.cast::<pg_sys::CoerceViaIO>(), b.cast::<pg_sys::CoerceViaIO>());
                differences((*a).arg.cast(), (*b).arg.cast(), pairs)
            }
            pg_sys::NodeTag::T_FuncExpr => {
                let (a, b) = (&*a.cast::<pg_sys::FuncExpr>(), &*b.cast::<pg_sys::FuncExpr>());
                let (x, y) =
                    (PgList::<pg_sys::Node>::from_pg(a.args), PgList::<pg_sys::Node>::from_pg(b.args));
                (a.funcid, a.inputcollid, a.funcvariadic) == (b.funcid, b.inputcollid, b.funcvariadic)
                    && x.len() == y.len()
                    && x.iter_ptr().zip(y.iter_ptr()).all(|(a, b)| differences(a, b, pairs))
            }
            _ => false,
        }
    }
}

/// Whether two values of a type are the same, byte for byte. A value in another form, such as a compressed
/// one, counts as another value.
///
/// # Safety
/// Neither is NULL, and both are of that type.
unsafe fn is_same_value(a: pg_sys::Datum, b: pg_sys::Datum, of: pg_sys::Oid) -> bool {
    let (mut length, mut by_value) = (0, false);
    // SAFETY: the type exists; a value that is passed by reference is as long as its type or its header says.
    unsafe {
        pg_sys::get_typlenbyval(of, &raw mut length, &raw mut by_value);
        let bytes = |datum: pg_sys::Datum| {
            let start = datum.cast_mut_ptr::<u8>();
            let size = if length == -1 { pgrx::varsize_any(start.cast()) } else { length as usize };
            std::slice::from_raw_parts(start, size)
        };
        if by_value { a.value() == b.value() } else { length != -2 && bytes(a) == bytes(b) }
    }
}

/// The operands of a distance: the one that varies, the one that is the same for all rows, and whether the
/// former is the first.
unsafe fn measured(
    distance: *mut pg_sys::Node,
    varying: Varying,
) -> Option<(*mut pg_sys::Node, *mut pg_sys::Node, bool)> {
    // SAFETY: as for `bound`.
    unsafe {
        let (left, right) = arguments(operation(distance)?)?;
        match (is_fixed(left, varying), is_fixed(right, varying)) {
            (false, true) => Some((left, right, true)),
            (true, false) => Some((right, left, false)),
            _ => None,
        }
    }
}

/// The bound that a clause puts on the expression in it for which `distance` is not `None`, and what that is.
unsafe fn solved<T>(
    clause: *mut pg_sys::Node,
    varying: Varying,
    distance: impl Fn(*mut pg_sys::Node) -> Option<T>,
) -> Option<(T, Threshold)> {
    // SAFETY: as for `bound`.
    unsafe {
        let Comparison { mut side, bound, above, .. } = comparison(clause, varying)?;
        let mut undo = Vec::new();
        loop {
            if let Some(found) = distance(side) {
                return Some((found, Bound::new(fixed(bound)?, above, undo)?));
            }
            let step = step(side, varying)?;
            undo.push(step.undo()?);
            side = step.varies;
        }
    }
}

/// A comparison of a value that varies with one that is the same for all rows.
pub struct Comparison {
    /// The side that varies.
    pub side: *mut pg_sys::Node,
    /// The other side.
    pub bound: *mut pg_sys::Node,
    /// Whether the varying side is bounded from above.
    pub above: bool,
    /// Whether equal sides fail.
    pub strict: bool,
}

/// Whether an operator is one of those comparisons.
pub fn is_comparison(operator: pg_sys::Oid) -> bool {
    let operator = operator.to_u32();
    LESS.contains(&operator) || GREATER.contains(&operator)
}

/// A clause as a comparison of floats.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn comparison(clause: *mut pg_sys::Node, varying: Varying) -> Option<Comparison> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        let clause = operation(clause)?;
        let (left, right) = arguments(clause)?;
        let operator = (*clause).opno.to_u32();
        let position = |of: [u32; 6]| of.iter().position(|o| *o == operator);
        let (less, greater, position) = match (position(LESS), position(GREATER)) {
            (Some(position), _) => (left, right, position),
            (_, Some(position)) => (right, left, position),
            _ => return None,
        };
        let strict = position % 2 == 0;
        match (is_fixed(greater, varying), is_fixed(less, varying)) {
            (true, _) => Some(Comparison { side: less, bound: greater, above: true, strict }),
            (_, true) => Some(Comparison { side: greater, bound: less, above: false, strict }),
            _ => None,
        }
    }
}

/// What a clause says about some orders: for each, bounds of which one holds. It says nothing about an
/// order without bounds.
pub struct Limits<L> {
    /// The clause, or the planner's node around it.
    pub clause: *mut pg_sys::Node,
    /// For each order, the bounds.
    pub bounds: Vec<Vec<Bound<L>>>,
}

/// The clauses of a list that bound `orders`, the expressions that a scan is ordered by. If there are
/// several, the rows are those of a search for each, and one clause is an `OR` of bounds of all of them.
///
/// # Safety
/// As for [`bound`]; the clauses are expressions or the planner's nodes around them.
pub unsafe fn limits(
    clauses: *mut pg_sys::List,
    orders: &[*mut pg_sys::Node],
    varying: Varying,
) -> Vec<Limits<*mut pg_sys::Node>> {
    let mut several = orders.len() > 1;
    let mut found = Vec::new();
    // SAFETY: a node's tag tells its type.
    unsafe {
        for clause in PgList::<pg_sys::Node>::from_pg(clauses).iter_ptr() {
            let expression = match (*clause).type_ {
                pg_sys::NodeTag::T_RestrictInfo => (*clause.cast::<pg_sys::RestrictInfo>()).clause.cast(),
                _ => clause,
            };
            let is_or = is_bool(expression, pg_sys::BoolExprType::OR_EXPR);
            if is_or && let Some(bounds) = alternatives(expression, orders, varying) {
                // The searches must find the rows of one clause. Another one may need rows of other searches.
                if orders.len() == 1 || std::mem::take(&mut several) {
                    found.push(Limits { clause, bounds });
                }
            } else if !is_or {
                let of = |order: &*mut _| bound(expression, *order, varying).into_iter().collect();
                let bounds: Vec<Vec<_>> = orders.iter().map(of).collect();
                if bounds.iter().any(|bounds| !bounds.is_empty()) {
                    found.push(Limits { clause, bounds });
                }
            }
        }
    }
    found
}

/// For each order, its bounds among the parts of an `OR`. `None` if a part bounds none of the orders, or an
/// order is not bounded.
unsafe fn alternatives(
    clause: *mut pg_sys::Node,
    orders: &[*mut pg_sys::Node],
    varying: Varying,
) -> Option<Vec<Vec<Threshold>>> {
    let mut bounds: Vec<Vec<Threshold>> = orders.iter().map(|_| Vec::new()).collect();
    // SAFETY: the caller passes an `OR`.
    unsafe {
        for part in parts(clause) {
            let conditions = conditions(part);
            let (order, bound) = conditions.into_iter().find_map(|condition| {
                let of = |order: &*mut _| bound(condition, *order, varying);
                orders.iter().enumerate().find_map(|(i, order)| Some((i, of(order)?)))
            })?;
            bounds[order].push(bound);
        }
    }
    bounds.iter().all(|bounds| !bounds.is_empty()).then_some(bounds)
}

/// Whether an expression is an `AND` or an `OR`.
unsafe fn is_bool(node: *mut pg_sys::Node, of: pg_sys::BoolExprType::Type) -> bool {
    // SAFETY: a node's tag tells its type.
    unsafe { (*node).type_ == pg_sys::NodeTag::T_BoolExpr && (*node.cast::<pg_sys::BoolExpr>()).boolop == of }
}

/// The parts of an `OR`; of another expression, itself.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn parts(node: *mut pg_sys::Node) -> Vec<*mut pg_sys::Node> {
    // SAFETY: the caller passes an expression.
    unsafe { arguments_of(node, pg_sys::BoolExprType::OR_EXPR) }
}

/// The conditions of an `AND`; of another expression, itself.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn conditions(node: *mut pg_sys::Node) -> Vec<*mut pg_sys::Node> {
    // SAFETY: the caller passes an expression.
    unsafe { arguments_of(node, pg_sys::BoolExprType::AND_EXPR) }
}

unsafe fn arguments_of(node: *mut pg_sys::Node, of: pg_sys::BoolExprType::Type) -> Vec<*mut pg_sys::Node> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        match is_bool(node, of) {
            true => PgList::from_pg((*node.cast::<pg_sys::BoolExpr>()).args).iter_ptr().collect(),
            false => vec![node],
        }
    }
}

/// A value that is the same for all rows, as arithmetic on expressions that raise no error.
unsafe fn fixed(node: *mut pg_sys::Node) -> Option<Fixed<*mut pg_sys::Node>> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        let operation = match operation(node) {
            Some(operation) => operation,
            None => return is_harmless(node).then_some(Fixed::Leaf(node)),
        };
        let operands = PgList::<pg_sys::Node>::from_pg((*operation).args);
        let operand = |i| Some(Box::new(fixed(operands.get_ptr(i)?)?));
        let arithmetic = match (*operation).opno.to_u32() {
            monotone::NEGATIVE => return Some(Fixed::Negative(operand(0)?)),
            monotone::PLUS => Arithmetic::Plus,
            monotone::MINUS => Arithmetic::Minus,
            monotone::TIMES => Arithmetic::Times,
            monotone::DIVIDED => Arithmetic::Divided,
            _ => return is_harmless(node).then_some(Fixed::Leaf(node)),
        };
        Some(Fixed::Operation(arithmetic, operand(0)?, operand(1)?))
    }
}

/// Whether an expression's functions raise no error whatever their arguments: they are leakproof.
///
/// # Safety
/// Null, or an expression.
pub unsafe fn is_harmless(node: *mut pg_sys::Node) -> bool {
    // SAFETY: null or a node, whose tag tells its type.
    unsafe {
        let Some(tag) = node.as_ref().map(|node| node.type_) else { return false };
        let all = |list| PgList::<pg_sys::Node>::from_pg(list).iter_ptr().all(|node| is_harmless(node));
        match tag {
            // A column is one of another table, and becomes a parameter.
            pg_sys::NodeTag::T_Const
            | pg_sys::NodeTag::T_Param
            | pg_sys::NodeTag::T_SubPlan
            | pg_sys::NodeTag::T_Var => true,
            pg_sys::NodeTag::T_RelabelType => is_harmless((*node.cast::<pg_sys::RelabelType>()).arg.cast()),
            pg_sys::NodeTag::T_ArrayExpr => {
                let array = &*node.cast::<pg_sys::ArrayExpr>();
                // Arrays in an array may be of different sizes.
                !array.multidims && all(array.elements)
            }
            pg_sys::NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                let harmless =
                    call.funcid.to_u32() == FROM_NUMERIC || pg_sys::get_func_leakproof(call.funcid);
                harmless && all(call.args)
            }
            pg_sys::NodeTag::T_OpExpr => {
                let call = &*node.cast::<pg_sys::OpExpr>();
                pg_sys::get_func_leakproof(pg_sys::get_opcode(call.opno)) && all(call.args)
            }
            _ => false,
        }
    }
}

/// Whether an expression that [`is_harmless`] contains no subquery: evaluating it runs nothing else.
///
/// # Safety
/// Null, or an expression.
pub unsafe fn is_without_subquery(node: *mut pg_sys::Node) -> bool {
    // SAFETY: null or a node, whose tag tells its type.
    unsafe {
        let Some(tag) = node.as_ref().map(|node| node.type_) else { return true };
        let all =
            |list| PgList::<pg_sys::Node>::from_pg(list).iter_ptr().all(|node| is_without_subquery(node));
        match tag {
            pg_sys::NodeTag::T_Const | pg_sys::NodeTag::T_Var => true,
            // Other parameters may be those of subqueries.
            pg_sys::NodeTag::T_Param => {
                (*node.cast::<pg_sys::Param>()).paramkind == pg_sys::ParamKind::PARAM_EXTERN
            }
            pg_sys::NodeTag::T_RelabelType => {
                is_without_subquery((*node.cast::<pg_sys::RelabelType>()).arg.cast())
            }
            pg_sys::NodeTag::T_ArrayExpr => all((*node.cast::<pg_sys::ArrayExpr>()).elements),
            pg_sys::NodeTag::T_FuncExpr => all((*node.cast::<pg_sys::FuncExpr>()).args),
            pg_sys::NodeTag::T_OpExpr => all((*node.cast::<pg_sys::OpExpr>()).args),
            _ => false,
        }
    }
}

/// The current limit of an order: of each clause the greatest bound, and of these the least. It is infinite
/// if no clause bounds it, and `None` if a clause compares with NULL only, so that no row passes.
///
/// # Safety
/// The expressions were initialised for the node that the context belongs to.
pub unsafe fn evaluate<'a>(
    clauses: impl Iterator<Item = &'a [CompiledBound]>,
    context: *mut pg_sys::ExprContext,
) -> Option<f64> {
    let value = |bound: &CompiledBound| {
        let mut is_null = false;
        let value = bound.value(|state| {
            // SAFETY: as the caller says.
            unsafe {
                let (datum, null) = result(*state, context)?;
                is_null |= null;
                number(datum, null, pg_sys::exprType((**state).expr.cast()))
            }
        });
        // All these operators are strict.
        (!is_null).then_some(value)
    };
    let mut limit = f64::INFINITY;
    for bounds in clauses {
        limit = limit.min(bounds.iter().filter_map(value).reduce(f64::max)?);
    }
    Some(limit)
}

impl Supposed<*mut pg_sys::ExprState> {
    /// Whether the threshold holds now.
    ///
    /// # Safety
    /// As for [`evaluate`].
    pub unsafe fn holds(&self, context: *mut pg_sys::ExprContext) -> bool {
        self.if_equal.iter().all(|(a, b)| {
            // SAFETY: as the caller says; both expressions have the type of the first one.
            unsafe {
                match (result(*a, context), result(*b, context)) {
                    (Some((x, false)), Some((y, false))) => {
                        is_same_value(x, y, pg_sys::exprType((**a).expr.cast()))
                    }
                    _ => false,
                }
            }
        })
    }
}

/// The value of an expression, and whether it is NULL.
///
/// # Safety
/// As for [`evaluate`].
pub unsafe fn result(
    state: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
) -> Option<(pg_sys::Datum, bool)> {
    let mut null = false;
    // SAFETY: as ExecEvalExpr does (executor.h).
    unsafe {
        let evaluate = (*state).evalfunc?;
        let datum = pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(state, context, &raw mut null));
        Some((datum, null))
    }
}

/// A value of one of the types that the operators compare; `None` for NULL.
///
/// # Safety
/// The datum is of that type.
pub unsafe fn number(datum: pg_sys::Datum, null: bool, of: pg_sys::Oid) -> Option<f64> {
    // SAFETY: the caller says what the datum is of; both types are passed by value.
    unsafe {
        match of {
            pg_sys::FLOAT8OID => f64::from_datum(datum, null),
            pg_sys::FLOAT4OID => f32::from_datum(datum, null).map(f64::from),
            _ => None,
        }
    }
}

/// The limit of an order as far as the planner knows it; `None` if it knows none.
///
/// # Safety
/// The planner's structures.
pub unsafe fn expected(
    root: *mut pg_sys::PlannerInfo,
    limits: &[Limits<*mut pg_sys::Node>],
    order: usize,
) -> Option<f64> {
    let value = |bound: &Threshold| {
        bound.value(|leaf| {
            // SAFETY: the caller vouches for the planner's structures; a node's tag tells its type.
            unsafe {
                let constant = pg_sys::estimate_expression_value(root, *leaf).cast::<pg_sys::Const>();
                if (*constant).xpr.type_ != pg_sys::NodeTag::T_Const {
                    return None;
                }
                number((*constant).constvalue, (*constant).constisnull, (*constant).consttype)
            }
        })
    };
    let bounds = limits.iter().filter_map(|limits| limits.bounds.get(order));
    let greatest = bounds.filter_map(|bounds| bounds.iter().map(value).reduce(f64::max));
    greatest.filter(|value| value.is_finite()).reduce(f64::min)
}

/// Null or a node, as an operation.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn operation(node: *mut pg_sys::Node) -> Option<*mut pg_sys::OpExpr> {
    // SAFETY: null or a node, whose tag tells its type.
    unsafe { (node.as_ref()?.type_ == pg_sys::NodeTag::T_OpExpr).then_some(node.cast()) }
}

/// The two arguments of an operation.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn arguments(operation: *mut pg_sys::OpExpr) -> Option<(*mut pg_sys::Node, *mut pg_sys::Node)> {
    // SAFETY: the caller passes an operation.
    let arguments = unsafe { PgList::<pg_sys::Node>::from_pg((*operation).args) };
    Some((arguments.get_ptr(0)?, arguments.get_ptr(1)?))
}

/// Whether two expressions are one operation of the same arguments. They may be in either order if the
/// operation commutes, as distances do. MaxSim does not.
///
/// # Safety
/// As for [`bound`].
pub unsafe fn is_same(a: *mut pg_sys::Node, b: *mut pg_sys::Node) -> bool {
    let equal = |a: *mut pg_sys::Node, b: *mut pg_sys::Node| {
        // SAFETY: both are expressions.
        unsafe { pg_sys::equal(a.cast(), b.cast()) }
    };
    // SAFETY: the caller passes expressions.
    unsafe {
        let (Some(x), Some(y)) = (operation(a), operation(b)) else { return false };
        let (Some((a, b)), Some((c, d))) = (arguments(x), arguments(y)) else { return false };
        (*x).opno == (*y).opno
            && (equal(a, c) && equal(b, d) || equal(a, d) && equal(b, c) && commutes((*x).opno))
    }
}

/// Whether the operands of an operator may be exchanged.
unsafe fn commutes(operator: pg_sys::Oid) -> bool {
    // SAFETY: looks the operator up.
    unsafe { pg_sys::get_commutator(operator) == operator }
}
