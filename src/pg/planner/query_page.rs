//! The page of a query: the rows of its LIMIT, whatever the OFFSET is.

use std::cell::Cell;

use pgrx::{FromDatum, PgList, pg_sys};

/// Number of rows assumed if there is no visible LIMIT (a cursor, a join above), or if it is not known.
const UNKNOWN_ROWS: f64 = 40.0;

thread_local! {
    /// The query for which a scan in the order of a distance was costed last.
    static COSTED: Cell<*mut pg_sys::PlannerInfo> = const { Cell::new(std::ptr::null_mut()) };
}

/// Records that a scan in the order of a distance could answer a query.
pub fn costed(root: *mut pg_sys::PlannerInfo) {
    COSTED.set(root);
}

/// Whether [`costed`] was last called for this query.
pub fn was_costed(root: *mut pg_sys::PlannerInfo) -> bool {
    COSTED.get() == root
}

/// The number of ordered rows that a query needs for its first page.
#[derive(Clone, Copy, PartialEq)]
pub enum Page {
    /// There is no LIMIT.
    Whole,
    /// The LIMIT counts groups and not rows, or the planner does not know the number of rows.
    Unknown,
    /// The LIMIT is a parameter of a generic plan.
    Parameter,
    /// This number of rows.
    Rows(f64),
}

impl Page {
    /// The page of a query.
    ///
    /// # Safety
    /// The planner's structure.
    pub unsafe fn of(root: *mut pg_sys::PlannerInfo) -> Self {
        // SAFETY: the planner's structures; a node's tag tells its type.
        unsafe {
            let Some((count, _)) = limit(root) else { return Self::Whole };
            let count = pg_sys::estimate_expression_value(root, count).cast::<pg_sys::Const>();
            let constant = (*count).xpr.type_ == pg_sys::NodeTag::T_Const;
            if constant && (*count).constisnull {
                Self::Whole
            } else if is_grouped((*root).parse) {
                Self::Unknown
            } else if !constant {
                if is_parameter(count.cast()) { Self::Parameter } else { Self::Unknown }
            } else {
                let count = i64::from_datum((*count).constvalue, false).unwrap_or(1);
                Self::Rows(count.max(1) as f64)
            }
        }
    }

    /// The number of rows that a scan is expected to return.
    pub fn rows(self) -> f64 {
        match self {
            Self::Whole | Self::Unknown | Self::Parameter => UNKNOWN_ROWS,
            Self::Rows(rows) => rows,
        }
    }
}

/// Whether an expression is a parameter that the client sends, or a cast of it.
unsafe fn is_parameter(node: *mut pg_sys::Node) -> bool {
    // SAFETY: null or a node, whose tag tells its type.
    unsafe {
        match node.as_ref().map(|node| node.type_) {
            Some(pg_sys::NodeTag::T_Param) => {
                (*node.cast::<pg_sys::Param>()).paramkind == pg_sys::ParamKind::PARAM_EXTERN
            }
            Some(pg_sys::NodeTag::T_FuncExpr) => {
                let arguments = PgList::<pg_sys::Node>::from_pg((*node.cast::<pg_sys::FuncExpr>()).args);
                arguments.iter_ptr().any(|argument| is_parameter(argument))
            }
            _ => false,
        }
    }
}

/// The LIMIT and OFFSET of a query, or of the outer query if that only limits it.
pub unsafe fn limit(root: *mut pg_sys::PlannerInfo) -> Option<(*mut pg_sys::Node, *mut pg_sys::Node)> {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        let query = (*root).parse;
        if !(*query).limitCount.is_null() {
            return Some(((*query).limitCount, (*query).limitOffset));
        }
        let around = (*root).parent_root.as_ref()?.parse;
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg((*around).rtable);
        let is_subquery =
            |table: *mut pg_sys::RangeTblEntry| (*table).rtekind == pg_sys::RTEKind::RTE_SUBQUERY;
        let only = (*query).limitOffset.is_null()
            && tables.len() == 1
            && tables.get_ptr(0).is_some_and(is_subquery)
            && (*(*around).jointree).quals.is_null()
            && (*around).sortClause.is_null()
            && (*around).setOperations.is_null()
            && !is_grouped(around);
        let count = Some((*around).limitCount).filter(|count| only && !count.is_null())?;
        Some((count, (*around).limitOffset))
    }
}

/// Whether a query's LIMIT counts something other than the rows of its tables.
unsafe fn is_grouped(query: *mut pg_sys::Query) -> bool {
    // SAFETY: the caller passes a query. The conditions are those of `grouping_planner` (planner.c).
    let query = unsafe { &*query };
    !query.groupClause.is_null()
        || !query.groupingSets.is_null()
        || !query.distinctClause.is_null()
        || query.hasAggs
        || query.hasWindowFuncs
        || query.hasTargetSRFs
        || !query.havingQual.is_null()
}
