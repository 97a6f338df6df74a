//! Conditions on filter columns that the planner leaves to the filter above a scan: `OR`, `NOT`, `<>`, and on
//! some majors `IN` and boolean columns. The scan tests them on keys as far as keys tell, and the filter
//! decides. So a scan leaves out a row only if the filter surely drops it.
//!
//! `NOT` is moved down to the conditions. A row passes a filter only if it is true, not if it is NULL. So for
//! each condition the rows matter for which it is true, or below a `NOT` false; NULLs are neither.
//!
//! Values are evaluated when the scan starts, as thresholds are (`threshold.rs`), so they must not raise
//! errors.

use pgrx::{PgList, pg_sys};

use super::monotone::{Varying, is_fixed};
use super::threshold::{is_harmless, is_without_subquery};
use crate::ivf::search::filter::Clause;
use crate::pg::am::filter_columns::{Compared, Test, Tested, is_lossy};
use crate::value::key::Comparison;

/// A clause whose values are expressions.
pub type Planned = Clause<Tested<*mut pg_sys::Node>>;

/// With more conditions, testing them would take longer than comparing codes.
const MOST: usize = 64;
/// Deeper expressions are left to the filter.
const DEEPEST: usize = 32;

/// The filter columns of an index, as they appear in expressions.
pub trait IndexColumns {
    /// The number of the filter column that an expression is, from 0.
    fn column(&self, expression: *mut pg_sys::Node) -> Option<usize>;
    /// Its operator family, and its collation.
    fn family(&self, column: usize) -> (pg_sys::Oid, pg_sys::Oid);
    /// Whether different values may have the same key.
    fn is_lossy(&self, column: usize) -> bool;
    /// What varies while a scan returns its rows.
    fn varying(&self) -> Varying;
}

/// What an expression says about filter columns, `None` if nothing.
///
/// # Safety
/// An expression of the planner's or of a plan, and the columns of an index of its table.
pub unsafe fn clause(expression: *mut pg_sys::Node, columns: &impl IndexColumns) -> Option<Planned> {
    // SAFETY: as the caller says.
    let clause = unsafe { part(expression, columns, false, DEEPEST)? };
    (clause.conditions().len() <= MOST).then_some(clause)
}

/// The rows for which an expression is true; if `negated`, for which it is false.
unsafe fn part(
    node: *mut pg_sys::Node,
    columns: &impl IndexColumns,
    negated: bool,
    depth: usize,
) -> Option<Planned> {
    let one = |column, test| Some(Clause::One(Tested { column, test }));
    // SAFETY: a node's tag tells its type.
    unsafe {
        if let Some(column) = columns.column(node) {
            return one(column, Test::Is(!negated));
        }
        match (*node).type_ {
            pg_sys::NodeTag::T_BoolExpr => {
                let expression = &*node.cast::<pg_sys::BoolExpr>();
                let depth = depth.checked_sub(1)?;
                let negated = negated != (expression.boolop == pg_sys::BoolExprType::NOT_EXPR);
                let all = PgList::<pg_sys::Node>::from_pg(expression.args);
                let mut parts = all.iter_ptr().map(|node| part(node, columns, negated, depth));
                match expression.boolop {
                    pg_sys::BoolExprType::NOT_EXPR => parts.next()?,
                    of if (of == pg_sys::BoolExprType::AND_EXPR) != negated => Clause::all(parts),
                    _ => Clause::any(parts),
                }
            }
            pg_sys::NodeTag::T_NullTest => {
                let test = &*node.cast::<pg_sys::NullTest>();
                let column = columns.column(test.arg.cast()).filter(|_| !test.argisrow)?;
                let null = (test.nulltesttype == pg_sys::NullTestType::IS_NULL) != negated;
                one(column, if null { Test::Null } else { Test::NotNull })
            }
            pg_sys::NodeTag::T_BooleanTest => boolean_test(&*node.cast(), columns, negated),
            pg_sys::NodeTag::T_OpExpr => {
                let call = &*node.cast::<pg_sys::OpExpr>();
                let always = depth == DEEPEST;
                let (column, compared) =
                    compared(columns, (call.opno, call.inputcollid), call.args, (negated, always))?;
                one(column, Test::Compared(compared))
            }
            pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                let call = &*node.cast::<pg_sys::ScalarArrayOpExpr>();
                // `x = ANY (column)` is about the elements of the column.
                columns.column(PgList::<pg_sys::Node>::from_pg(call.args).get_ptr(0)?)?;
                let always = depth == DEEPEST;
                let (column, compared) =
                    compared(columns, (call.opno, call.inputcollid), call.args, (negated, always))?;
                // `x <> ANY (a)` excludes few rows.
                if compared.negated && call.useOr != negated {
                    return None;
                }
                // `NOT (x = ANY (a))` is `x <> ALL (a)`.
                one(column, Test::Listed { compared, all: call.useOr == negated })
            }
            _ => None,
        }
    }
}

/// `IS TRUE` and the like of a boolean column; they are never NULL.
unsafe fn boolean_test(
    test: &pg_sys::BooleanTest,
    columns: &impl IndexColumns,
    negated: bool,
) -> Option<Planned> {
    use pg_sys::BoolTestType::{IS_FALSE, IS_NOT_FALSE, IS_NOT_TRUE, IS_TRUE, IS_UNKNOWN};
    let column = columns.column(test.arg.cast())?;
    let one = |test| Some(Clause::One(Tested { column, test }));
    let (kind, other) =
        (test.booltesttype, |value| Clause::any([one(Test::Is(value)), one(Test::Null)].into_iter()));
    match (kind, negated) {
        (IS_TRUE, false) | (pg_sys::BoolTestType::IS_NOT_TRUE, true) => one(Test::Is(true)),
        (IS_FALSE, false) | (IS_NOT_FALSE, true) => one(Test::Is(false)),
        (IS_NOT_TRUE, false) | (IS_TRUE, true) => other(false),
        (IS_NOT_FALSE, false) | (IS_FALSE, true) => other(true),
        (kind, negated) => one(if (kind == IS_UNKNOWN) != negated { Test::Null } else { Test::NotNull }),
    }
}

/// The comparison of a filter column with a value that is the same for all rows. If the filter does not
/// `always` evaluate the comparison, the value must not be a subquery, which may raise an error.
unsafe fn compared(
    columns: &impl IndexColumns,
    (operator, collation): (pg_sys::Oid, pg_sys::Oid),
    arguments: *mut pg_sys::List,
    (negated, always): (bool, bool),
) -> Option<(usize, Compared<*mut pg_sys::Node>)> {
    // SAFETY: lookups in the catalog; the arguments are expressions.
    unsafe {
        let arguments = PgList::<pg_sys::Node>::from_pg(arguments);
        let (left, right) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
        let (column, value, operator) = match (columns.column(left), columns.column(right)) {
            (Some(column), _) => (column, right, operator),
            (_, Some(column)) => (column, left, pg_sys::get_commutator(operator)),
            _ => return None,
        };
        let (family, of_column) = columns.family(column);
        let same_collation = of_column == pg_sys::InvalidOid || of_column == collation;
        // `<>` is in no family, but it is the negator of `=`.
        let (operator, negated) = match pg_sys::get_op_opfamily_strategy(operator, family) {
            0 => (pg_sys::get_negator(operator), !negated),
            _ => (operator, negated),
        };
        let usable = operator != pg_sys::InvalidOid
            && pg_sys::get_op_opfamily_strategy(operator, family) != 0
            && pg_sys::op_strict(operator);
        if !usable || !same_collation || !is_fixed(value, columns.varying()) || !is_harmless(value) {
            return None;
        }
        if !always && !is_without_subquery(value) {
            return None;
        }
        let (mut strategy, mut left, mut right) = (0, pg_sys::InvalidOid, pg_sys::InvalidOid);
        let to = (&raw mut strategy, &raw mut left, &raw mut right);
        pg_sys::get_op_opfamily_properties(operator, family, false, to.0, to.1, to.2);
        let strategy = u16::try_from(strategy).ok()?;
        let opposite = Comparison::from_strategy(strategy).and_then(Comparison::opposite);
        let (strategy, negated) = match opposite {
            Some(opposite) if negated => (opposite as u16, false),
            _ => (strategy, negated),
        };
        // Of values that share a key some may be equal, others not.
        if negated && columns.is_lossy(column) {
            return None;
        }
        Some((column, Compared { strategy, of: right, negated, value }))
    }
}

/// The filter columns of an index of the planner's.
struct OfPlanner(*mut pg_sys::PlannerInfo, *mut pg_sys::IndexOptInfo);

impl IndexColumns for OfPlanner {
    fn column(&self, expression: *mut pg_sys::Node) -> Option<usize> {
        // SAFETY: the planner's structure and an expression of its table.
        let is = |column| unsafe { pg_sys::match_index_to_operand(expression, column, self.1) };
        // SAFETY: as above.
        let columns = unsafe { (*self.1).nkeycolumns };
        (1..columns).find(|&column| is(column)).map(|column| column as usize - 1)
    }

    fn family(&self, column: usize) -> (pg_sys::Oid, pg_sys::Oid) {
        // SAFETY: the index has this column.
        unsafe { (*(*self.1).opfamily.add(column + 1), *(*self.1).indexcollations.add(column + 1)) }
    }

    fn is_lossy(&self, column: usize) -> bool {
        // SAFETY: the index has this column.
        unsafe { is_lossy(*(*self.1).opfamily.add(column + 1), *(*self.1).opcintype.add(column + 1)) }
    }

    fn varying(&self) -> Varying {
        // SAFETY: the planner's structure.
        Varying::Table(self.0, unsafe { (*(*self.1).rel).relid })
    }
}

/// The clauses of a path's table that the path's scan tests although they are not among its index conditions.
///
/// # Safety
/// The planner's structures; the path is of an index of ours.
pub unsafe fn left_to_filter(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
) -> Vec<(*mut pg_sys::RestrictInfo, Planned)> {
    // SAFETY: the planner's structures: lists of RestrictInfo and IndexClause nodes.
    unsafe {
        let index = (*path).indexinfo;
        if (*index).nkeycolumns < 2 {
            return Vec::new();
        }
        let (table, columns) = ((*index).rel, OfPlanner(root, index));
        let own = PgList::<pg_sys::RestrictInfo>::from_pg((*table).baserestrictinfo);
        let repeated = (*path).path.param_info.as_ref().map_or(std::ptr::null_mut(), |p| p.ppi_clauses);
        let repeated = PgList::<pg_sys::RestrictInfo>::from_pg(repeated);
        let tested = PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses);
        own.iter_ptr()
            .chain(repeated.iter_ptr())
            .filter(|&clause| {
                !(*clause).pseudoconstant
                    && tested.iter_ptr().all(|other| (*other).rinfo != clause)
                    && pg_sys::restriction_is_securely_promotable(clause, table)
            })
            .filter_map(|found| Some((found, clause((*found).clause.cast(), &columns)?)))
            .collect()
    }
}

/// Marks a plan if row-level security or a security barrier hides rows of a table. Who sees how many rows a
/// scan leaves out must not learn of hidden rows. But a plan no longer tells which of a scan's conditions
/// hide rows. The mark is that the plan is for one role only, which is so already if policies apply.
///
/// # Safety
/// The planner's structures, from its hook for the paths of a table.
pub unsafe fn mark_secured(root: *mut pg_sys::PlannerInfo, table: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's structures: lists of RestrictInfo nodes.
    unsafe {
        let own = PgList::<pg_sys::RestrictInfo>::from_pg((*table).baserestrictinfo);
        let joins = PgList::<pg_sys::RestrictInfo>::from_pg((*table).joininfo);
        let waits = |clause| !pg_sys::restriction_is_securely_promotable(clause, table);
        if own.iter_ptr().chain(joins.iter_ptr()).any(waits) {
            (*(*root).glob).dependsOnRole = true;
        }
    }
}

/// Whether a running plan is marked. Parallel workers do not get the mark.
///
/// # Safety
/// A started query.
pub unsafe fn is_secured(executor: *mut pg_sys::EState) -> bool {
    // SAFETY: a started query has its plan.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 || (*(*executor).es_plannedstmt).dependsOnRole }
}
