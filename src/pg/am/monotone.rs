//! Expressions of float8 that grow or fall with a distance: its negative, and its sums, differences, products and quotients
//! with what is the same for all rows.

use pgrx::{FromDatum, PgList, pg_sys};

/// Operators of float8 (pg_operator.dat).
const NEGATIVE: u32 = 585;
const PLUS: u32 = 591;
const MINUS: u32 = 592;
const DIVIDED: u32 = 593;
const TIMES: u32 = 594;

/// Constants so large or small are not computed with: rounding would no longer be negligible.
const MODERATE: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// An operation, all of whose operands but one are fixed.
pub struct Step {
    /// The operand that is not.
    pub varies: *mut pg_sys::Node,
    /// Whether the result falls as that one grows.
    pub falls: bool,
    operator: u32,
    /// The other one; null of a negative.
    fixed: *mut pg_sys::Node,
    fixed_first: bool,
}

/// The outermost operation of an expression, if it is such a one.
///
/// # Safety
/// An expression of the planner's or of a plan.
pub unsafe fn step(expression: *mut pg_sys::Node) -> Option<Step> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        if (*expression).type_ != pg_sys::NodeTag::T_OpExpr {
            return None;
        }
        let operation = expression.cast::<pg_sys::OpExpr>();
        let arguments = PgList::<pg_sys::Node>::from_pg((*operation).args);
        let left = arguments.get_ptr(0)?;
        let operator = (*operation).opno.to_u32();
        if operator == NEGATIVE {
            let fixed = std::ptr::null_mut();
            return Some(Step { varies: left, falls: true, operator, fixed, fixed_first: false });
        }
        if ![PLUS, MINUS, TIMES, DIVIDED].contains(&operator) {
            return None;
        }
        let right = arguments.get_ptr(1)?;
        let (varies, fixed, fixed_first) = match (is_fixed(left), is_fixed(right)) {
            (true, false) if operator != DIVIDED => (right, left, true),
            (false, true) => (left, right, false),
            _ => return None,
        };
        let falls = match operator {
            PLUS => false,
            MINUS => fixed_first,
            _ => constant(fixed).filter(|factor| factor.is_finite() && *factor != 0.0)? < 0.0,
        };
        Some(Step { varies, falls, operator, fixed, fixed_first })
    }
}

/// Whether an expression is the same for all rows of a scan.
///
/// # Safety
/// As for [`step`].
pub unsafe fn is_fixed(expression: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller passes an expression.
    unsafe { !pg_sys::contain_var_clause(expression) && !pg_sys::contain_volatile_functions(expression) }
}

/// The value of a constant that is not NULL.
unsafe fn constant(node: *mut pg_sys::Node) -> Option<f64> {
    // SAFETY: a node's tag tells its type.
    unsafe {
        let constant = node.cast::<pg_sys::Const>();
        if (*node).type_ != pg_sys::NodeTag::T_Const || (*constant).consttype != pg_sys::FLOAT8OID {
            return None;
        }
        f64::from_datum((*constant).constvalue, (*constant).constisnull)
    }
}

impl Step {
    /// The expression of what the operand is where the result is `result`, but for rounding.
    ///
    /// # Safety
    /// As for [`step`]; new nodes are in the current memory context.
    pub unsafe fn undone(&self, result: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
        // SAFETY: the operands are of this step.
        unsafe {
            if self.operator == NEGATIVE {
                return Some(operation(NEGATIVE, result, std::ptr::null_mut()));
            }
            constant(self.fixed).filter(|c| *c == 0.0 || MODERATE.contains(&c.abs()))?;
            Some(match self.operator {
                PLUS => operation(MINUS, result, self.fixed),
                MINUS if self.fixed_first => operation(MINUS, self.fixed, result),
                MINUS => operation(PLUS, result, self.fixed),
                TIMES => operation(DIVIDED, result, self.fixed),
                _ => operation(TIMES, result, self.fixed),
            })
        }
    }
}

unsafe fn operation(operator: u32, left: *mut pg_sys::Node, right: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: the operator takes and returns float8.
    unsafe {
        let none = pg_sys::InvalidOid;
        let (left, right) = (left.cast(), right.cast());
        let made = pg_sys::make_opclause(operator.into(), pg_sys::FLOAT8OID, false, left, right, none, none);
        pg_sys::set_opfuncid(made.cast());
        made.cast()
    }
}
