//! Expressions of float8 that grow or fall with a distance: its negative, and its sums, differences, products
//! and quotients with values that are the same for all rows.

use pgrx::{FromDatum, PgList, pg_sys};

use crate::ivf::threshold::Undo;

/// Operators of float8 (pg_operator.dat).
pub const NEGATIVE: u32 = 585;
/// `+`
pub const PLUS: u32 = 591;
/// `-`
pub const MINUS: u32 = 592;
/// `/`
pub const DIVIDED: u32 = 593;
/// `*`
pub const TIMES: u32 = 594;

/// An operation whose operands, except one, are the same for all rows.
pub struct Step {
    /// The operand that varies.
    pub varies: *mut pg_sys::Node,
    /// Whether the result falls as the varying operand grows.
    pub falls: bool,
    operator: u32,
    /// The fixed operand; null for a negation.
    fixed: *mut pg_sys::Node,
    fixed_first: bool,
}

/// Which columns vary while a scan returns its rows.
#[derive(Clone, Copy)]
pub enum Varying {
    /// All columns.
    All,
    /// Those of one table of a query that is being planned. Columns of other tables are the same for all rows
    /// of a scan that is repeated for each row of these tables.
    Table(*mut pg_sys::PlannerInfo, pg_sys::Index),
}

/// The outermost operation of an expression, if it is one of these.
///
/// # Safety
/// An expression of the planner's or of a plan.
pub unsafe fn step(expression: *mut pg_sys::Node, varying: Varying) -> Option<Step> {
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
        let (varies, fixed, fixed_first) = match (is_fixed(left, varying), is_fixed(right, varying)) {
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
pub unsafe fn is_fixed(expression: *mut pg_sys::Node, varying: Varying) -> bool {
    // SAFETY: the caller passes an expression, and the planner's structure with it.
    unsafe {
        let varies = match varying {
            Varying::All => pg_sys::contain_var_clause(expression),
            Varying::Table(root, relid) => {
                pg_sys::bms_is_member(relid as i32, pg_sys::pull_varnos(root, expression))
            }
        };
        !varies && !pg_sys::contain_volatile_functions(expression)
    }
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
    /// How a bound of the result becomes a bound of the operand. `None` if the fixed operand is not a
    /// constant.
    ///
    /// # Safety
    /// As for [`step`].
    pub unsafe fn undo(&self) -> Option<Undo> {
        if self.operator == NEGATIVE {
            return Some(Undo::Negative);
        }
        // SAFETY: the operand is of this step.
        let c = unsafe { constant(self.fixed) }.filter(|c| c.is_finite())?;
        Some(match self.operator {
            PLUS => Undo::Plus(c),
            MINUS if self.fixed_first => Undo::From(c),
            MINUS => Undo::Minus(c),
            TIMES => Undo::Times(c),
            _ => Undo::Divided(c),
        })
    }
}
