//! The filter above a scan, as far as the index can test it (`planner/filter_clauses.rs`).

use std::rc::Rc;

use pgrx::{PgList, PgMemoryContexts, pg_sys};

use crate::ivf::search::filter::Clause;
use crate::pg::am::filter_columns::{Tested, is_lossy};
use crate::pg::compat::key_columns;
use crate::pg::planner::filter_clauses::{IndexColumns, Planned, clause, is_secured};
use crate::pg::planner::monotone::Varying;

/// Clauses whose values are ready to be evaluated.
pub type Compiled = Rc<[Clause<Tested<*mut pg_sys::ExprState>>]>;

/// A filter column in the expressions of a plan: a column of the table, or an expression.
enum Column {
    Attribute(pg_sys::AttrNumber),
    Expression(*mut pg_sys::Node),
}

/// The filter columns of an index in a running plan.
struct OfPlan {
    index: pg_sys::Relation,
    table: pg_sys::Index,
    columns: Vec<Column>,
}

impl OfPlan {
    unsafe fn of(scan: *mut pg_sys::IndexScanState) -> Self {
        // SAFETY: a live node of a started plan. An open index has a pg_index row with as many numbers as it
        // has columns, and an expression for each zero among them, which this copies.
        unsafe {
            let index = (*scan).iss_RelationDesc;
            let table = (*(*scan).ss.ps.plan.cast::<pg_sys::Scan>()).scanrelid;
            let numbers = &(*(*index).rd_index).indkey;
            let numbers = numbers.values.as_slice(numbers.dim1.max(0) as usize);
            let expressions = pg_sys::RelationGetIndexExpressions(index);
            pg_sys::ChangeVarNodes(expressions.cast(), 1, table as i32, 0);
            let mut expressions = PgList::<pg_sys::Node>::from_pg(expressions).iter_ptr().collect::<Vec<_>>();
            expressions.reverse();
            let column = |number: &pg_sys::AttrNumber| match number {
                0 => expressions.pop().map(|expression| Column::Expression(unrelabelled(expression))),
                &number => Some(Column::Attribute(number)),
            };
            let mut columns: Vec<_> = numbers.iter().take(key_columns(index)).filter_map(column).collect();
            columns.drain(..columns.len().min(1));
            Self { index, table, columns }
        }
    }
}

/// An expression without changes of its type that leave the value as it is.
unsafe fn unrelabelled(mut expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: an expression; a node's tag tells its type.
    unsafe {
        while (*expression).type_ == pg_sys::NodeTag::T_RelabelType {
            expression = (*expression.cast::<pg_sys::RelabelType>()).arg.cast();
        }
    }
    expression
}

impl IndexColumns for OfPlan {
    fn column(&self, expression: *mut pg_sys::Node) -> Option<usize> {
        // SAFETY: an expression of the plan; a node's tag tells its type.
        unsafe {
            let expression = unrelabelled(expression);
            let attribute = match (*expression).type_ {
                pg_sys::NodeTag::T_Var => {
                    let variable = &*expression.cast::<pg_sys::Var>();
                    let own = variable.varno as pg_sys::Index == self.table && variable.varlevelsup == 0;
                    own.then_some(variable.varattno)
                }
                _ => None,
            };
            self.columns.iter().position(|column| match column {
                Column::Attribute(number) => attribute == Some(*number),
                Column::Expression(other) => pg_sys::equal(other.cast(), expression.cast()),
            })
        }
    }

    fn family(&self, column: usize) -> (pg_sys::Oid, pg_sys::Oid) {
        // SAFETY: an open index has a family and a collation for each column.
        unsafe {
            (*(*self.index).rd_opfamily.add(column + 1), *(*self.index).rd_indcollation.add(column + 1))
        }
    }

    fn is_lossy(&self, column: usize) -> bool {
        // SAFETY: as above, and a type.
        unsafe {
            let family = *(*self.index).rd_opfamily.add(column + 1);
            is_lossy(family, *(*self.index).rd_opcintype.add(column + 1))
        }
    }

    fn varying(&self) -> Varying {
        Varying::All
    }
}

/// The clauses of a scan's filter that its index tests.
///
/// # Safety
/// A live node of a started plan, whose index is ours.
pub unsafe fn compiled(scan: *mut pg_sys::IndexScanState) -> Compiled {
    // SAFETY: as the caller says; what is made for the node lives as long as its query.
    unsafe {
        let state = &raw mut (*scan).ss.ps;
        let filter = (*(*state).plan).qual;
        if filter.is_null() || key_columns((*scan).iss_RelationDesc) < 2 {
            return Rc::new([]);
        }
        let mut memory = PgMemoryContexts::For((*(*state).state).es_query_cxt);
        memory.switch_to(|_| {
            let columns = OfPlan::of(scan);
            let ready = |node| pg_sys::ExecInitExpr(node, state);
            let compile = |planned: Planned| {
                planned.narrowed(&mut |tested| Some(Clause::One(tested.map(|node| ready(node.cast())))))
            };
            // Where rows are hidden, only leakproof conditions are tested.
            let secured = is_secured((*state).state);
            PgList::<pg_sys::Node>::from_pg(filter)
                .iter_ptr()
                .filter(|node| !secured || !pg_sys::contain_leaked_vars(*node))
                .filter_map(|node| compile(clause(node, &columns)?))
                .collect()
        })
    }
}
