//! Range search: `WHERE embedding <-> $1 < r` without an order, and joins `ON a.embedding <-> b.embedding <
//! r`.
//!
//! The planner matches our indexes with orders only. So a hook offers scans with the order of a distance that
//! a condition bounds: the scan returns the rows up to the bound (`threshold.rs`), as it finds them, and the
//! condition stays in the plan's filter. If the condition compares two tables, the scan is repeated for each
//! row of the other table, as the inner side of a nested loop.
//!
//! For an `OR` of such conditions the scan has several orders. It searches for one after the other, and
//! returns no row twice.
//!
//! A user who writes a condition wants all rows that fulfil it. So such a scan is exact whatever the settings
//! say, also below a LIMIT. The executor recognises it by a mark (`range_mark.rs`).

use pgrx::{PgList, pg_sys};

use super::cost::{is_ours, metric_of, share_within};
use super::index_paths::index_paths;
use super::monotone::{Varying, is_fixed, step};
use super::range_mark::{MARK, any_order};
use super::threshold::{
    self, Comparison, arguments, bound, comparison, conditions, is_same, limits, operation, parts,
};
use crate::value::Metric;

/// A scan that is offered.
struct Range {
    clause: *mut pg_sys::RestrictInfo,
    /// The distances, with the indexed column first, marked.
    orders: Vec<*mut pg_sys::Node>,
    /// Other tables of the condition.
    outer: pg_sys::Relids,
}

/// Conditions on filter columns that an index tests, and the other tables in these conditions.
#[derive(Clone, Copy)]
struct Filtered {
    clauses: *mut pg_sys::List,
    outer: pg_sys::Relids,
}

/// Offers scans for the conditions of a table that bound a distance.
///
/// # Safety
/// The planner's structures, from its hook for the paths of a table.
pub unsafe fn offer(root: *mut pg_sys::PlannerInfo, table: *mut pg_sys::RelOptInfo) {
    // SAFETY: the caller vouches for the structures.
    unsafe {
        if !has_comparison(table) {
            return;
        }
        let mut corrected = Vec::new();
        for index in PgList::<pg_sys::IndexOptInfo>::from_pg((*table).indexlist).iter_ptr() {
            let usable = is_ours(index) && ((*index).indpred.is_null() || (*index).predOK);
            let ranges = if usable { ranges(root, table, index) } else { Vec::new() };
            if ranges.is_empty() {
                continue;
            }
            let filters = filters(root, table, index);
            for range in &ranges {
                for filter in &filters {
                    let path = path(root, table, index, range, *filter);
                    correct_join(root, table, index, (range, path), &mut corrected);
                }
            }
        }
    }
}

/// A quick test that spares most queries the others.
unsafe fn has_comparison(table: *mut pg_sys::RelOptInfo) -> bool {
    let float = |clause: *mut pg_sys::RestrictInfo| {
        let is_comparison = |node| {
            // SAFETY: a node; `operation` looks at the tag.
            let operation = unsafe { operation(node) };
            // SAFETY: as above.
            operation.is_some_and(|o| threshold::is_comparison(unsafe { (*o).opno }))
        };
        // SAFETY: the planner's nodes, whose expressions are not null.
        unsafe { conditions(parts((*clause).clause.cast())[0]).into_iter().any(is_comparison) }
    };
    // SAFETY: lists of RestrictInfo nodes.
    unsafe {
        PgList::from_pg((*table).baserestrictinfo).iter_ptr().any(float)
            || PgList::from_pg((*table).joininfo).iter_ptr().any(float)
    }
}

/// The conditions of a table, and its join conditions, that an index can answer.
unsafe fn ranges(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
) -> Vec<Range> {
    let mut found: Vec<Range> = Vec::new();
    // SAFETY: the planner's structures: lists of RestrictInfo nodes.
    unsafe {
        let own = PgList::<pg_sys::RestrictInfo>::from_pg((*table).baserestrictinfo);
        let joins = PgList::<pg_sys::RestrictInfo>::from_pg((*table).joininfo);
        let movable = joins.iter_ptr().filter(|clause| pg_sys::join_clause_is_movable_to(*clause, table));
        // As for any index condition: a policy's or a view's conditions come before those of the user, who
        // could learn from the rows that a scan removes how many hidden ones are near a point.
        let allowed =
            |clause: &*mut pg_sys::RestrictInfo| pg_sys::restriction_is_securely_promotable(*clause, table);
        for clause in own.iter_ptr().chain(movable).filter(allowed) {
            let Some(orders) = orders(root, table, index, (*clause).clause.cast()) else { continue };
            let outer = without((*clause).clause_relids, table);
            let again = |range: &Range| {
                range.orders.len() == orders.len()
                    && pg_sys::bms_equal(range.outer, outer)
                    && range.orders.iter().zip(&orders).all(|(a, b)| is_same(*a, *b))
            };
            let ordered = outer.is_null() && orders.len() == 1 && is_ordered(table, index, orders[0]);
            if !ordered && !found.iter().any(again) {
                found.push(Range { clause, orders, outer });
            }
        }
    }
    found
}

/// Tables without `table`.
unsafe fn without(tables: pg_sys::Relids, table: *mut pg_sys::RelOptInfo) -> pg_sys::Relids {
    // SAFETY: sets of the planner's.
    unsafe {
        let others = pg_sys::bms_difference(tables, (*table).relids);
        if pg_sys::bms_num_members(others) == 0 { std::ptr::null_mut() } else { others }
    }
}

/// The marked distances that a clause bounds: one, or some of which a row is within the bound of one.
unsafe fn orders(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
    clause: *mut pg_sys::Node,
) -> Option<Vec<*mut pg_sys::Node>> {
    let mut found: Vec<*mut pg_sys::Node> = Vec::new();
    // SAFETY: the planner's structures.
    unsafe {
        for part in parts(clause) {
            let mut conditions = conditions(part).into_iter();
            let order = conditions.find_map(|condition| order(root, table, index, condition))?;
            if !found.iter().any(|other| is_same(*other, order)) {
                found.push(order);
            }
        }
    }
    Some(found)
}

/// The marked distance that a condition bounds, if the index has its order and all rows that may fulfil it.
unsafe fn order(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
    clause: *mut pg_sys::Node,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: the planner's structures; a copy is changed, not the query's expression.
    unsafe {
        let varying = Varying::Table(root, (*table).relid);
        let compared = comparison(clause, varying)?;
        let mut distance = compared.side;
        while let Some(step) = step(distance, varying) {
            distance = step.varies;
        }
        let operation = operation(distance)?;
        let (left, right) = arguments(operation)?;
        let is_column = |node| pg_sys::match_index_to_operand(node, 0, index);
        let (other, commuted) = match (is_column(left), is_column(right)) {
            (true, _) => (right, false),
            (_, true) => (left, true),
            _ => return None,
        };
        let operator = (*operation).opno;
        let operator = if commuted { pg_sys::get_commutator(operator) } else { operator };
        let of_index = operator != pg_sys::InvalidOid
            && pg_sys::get_op_opfamily_sortfamily(operator, *(*index).opfamily) != pg_sys::InvalidOid;
        if !of_index || !is_fixed(other, varying) {
            return None;
        }
        bound(clause, distance, varying)?;
        if metric_of(index) == Metric::Cosine && may_pass_nan(&compared) {
            return None;
        }
        let copy = pg_sys::copyObjectImpl(distance.cast()).cast::<pg_sys::OpExpr>();
        if commuted {
            pg_sys::CommuteOpExpr(copy);
        }
        (*copy).opcollid = MARK;
        Some(copy.cast())
    }
}

/// Whether a comparison may pass rows whose distance is NaN. PostgreSQL treats NaN as the greatest number.
/// Zero vectors have such a cosine distance, and are not in the index.
unsafe fn may_pass_nan(compared: &Comparison) -> bool {
    // SAFETY: a node's tag tells its type.
    unsafe {
        let constant = compared.bound.cast::<pg_sys::Const>();
        let known = (*compared.bound).type_ == pg_sys::NodeTag::T_Const
            && !threshold::number((*constant).constvalue, (*constant).constisnull, (*constant).consttype)
                .is_some_and(f64::is_nan);
        !(compared.above && (compared.strict || known))
    }
}

/// Whether the table has a scan of the index in this order already, because the query asks for the order.
unsafe fn is_ordered(
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
    order: *mut pg_sys::Node,
) -> bool {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        PgList::<pg_sys::Path>::from_pg((*table).pathlist).iter_ptr().any(|path| {
            let scan = path.cast::<pg_sys::IndexPath>();
            (*path).type_ == pg_sys::NodeTag::T_IndexPath
                && (*path).param_info.is_null()
                && (*scan).indexinfo == index
                && PgList::<pg_sys::Node>::from_pg((*scan).indexorderbys)
                    .get_ptr(0)
                    .is_some_and(|other| is_same(other, order))
        })
    }
}

/// The conditions on filter columns with which an index may be scanned. The planner finds them when it makes
/// the paths of this index without an order, although such a scan is impossible.
unsafe fn filters(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
) -> Vec<Filtered> {
    let none = Filtered { clauses: std::ptr::null_mut(), outer: std::ptr::null_mut() };
    // SAFETY: the planner's structures.
    unsafe {
        let mut found = Vec::new();
        if (*index).nkeycolumns > 1 {
            for scan in index_paths(root, table, Some(index), std::ptr::null_mut()) {
                if (*scan).indexorderbys.is_null() {
                    let parameters = (*scan).path.param_info.as_ref();
                    let outer = parameters.map_or(std::ptr::null_mut(), |p| p.ppi_req_outer);
                    found.push(Filtered { clauses: (*scan).indexclauses, outer });
                }
            }
        }
        if !found.iter().any(|filter| filter.outer.is_null()) {
            found.push(none);
        }
        found
    }
}

/// Offers a scan.
unsafe fn path(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
    range: &Range,
    filter: Filtered,
) -> *mut pg_sys::IndexPath {
    // SAFETY: the planner's structures, in the context in which it allocates them.
    unsafe {
        let outer = pg_sys::bms_union(pg_sys::bms_union(range.outer, filter.outer), (*table).lateral_relids);
        let outer = without(outer, table);
        let (mut orders, mut keys) = (PgList::<pg_sys::Node>::new(), PgList::<pg_sys::PathKey>::new());
        let mut columns = std::ptr::null_mut();
        for order in &range.orders {
            orders.push(*order);
            columns = pg_sys::lappend_int(columns, 0);
            any_order(root).into_iter().for_each(|key| keys.push(key));
        }
        let path = pg_sys::create_index_path(
            root,
            index,
            filter.clauses,
            orders.into_pg(),
            columns,
            keys.into_pg(),
            pg_sys::ScanDirection::ForwardScanDirection,
            false,
            outer,
            loops(root, outer),
            false,
        );
        pg_sys::add_path(table, path.cast());
        path
    }
}

/// How often a scan is repeated: for each row of the smallest of the other tables, as `get_loop_count`
/// assumes (indxpath.c).
unsafe fn loops(root: *mut pg_sys::PlannerInfo, outer: pg_sys::Relids) -> f64 {
    // SAFETY: the planner's structures.
    unsafe {
        let rows = tables(root, outer, (*root).simple_rel_array).map(|other| (*other).rows);
        rows.filter(|rows| *rows > 0.0).reduce(f64::min).unwrap_or(1.0).max(1.0)
    }
}

/// The entries of one of the planner's arrays for the tables of a set. Outer joins have numbers, too, but no
/// entry.
///
/// # Safety
/// The planner's structures: an array with an entry or null for each table.
pub unsafe fn tables<T>(
    root: *mut pg_sys::PlannerInfo,
    set: pg_sys::Relids,
    array: *mut *mut T,
) -> impl Iterator<Item = *mut T> {
    let mut number = -1;
    let numbers = std::iter::from_fn(move || {
        // SAFETY: a set of the planner's.
        number = unsafe { pg_sys::bms_next_member(set, number) };
        (number >= 0).then_some(number)
    });
    // SAFETY: as the caller says; the array has so many entries.
    let entry = move |number| unsafe {
        (number < (*root).simple_rel_array_size).then(|| *array.add(number as usize))
    };
    numbers.filter_map(entry).filter(|entry| !entry.is_null())
}

/// Whether a query only asks if rows of `table` exist for those of `outer` (a semijoin or an antijoin).
unsafe fn is_asked_for(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    outer: pg_sys::Relids,
) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        PgList::<pg_sys::SpecialJoinInfo>::from_pg((*root).join_info_list).iter_ptr().any(|join| {
            [pg_sys::JoinType::JOIN_SEMI, pg_sys::JoinType::JOIN_ANTI].contains(&(*join).jointype)
                && pg_sys::bms_is_subset((*table).relids, (*join).syn_righthand)
                && pg_sys::bms_overlap(outer, (*join).syn_lefthand)
        })
    }
}

/// Corrects the row estimate of a scan that is repeated. The planner assumes that a third of all pairs pass
/// the join condition (`row_estimates.rs`).
unsafe fn correct_join(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
    (range, path): (&Range, *mut pg_sys::IndexPath),
    corrected: &mut Vec<*mut pg_sys::ParamPathInfo>,
) {
    // SAFETY: the planner's structures; paths of the same tables have the same parameters.
    unsafe {
        let parameters = (*path).path.param_info;
        if range.outer.is_null() || parameters.is_null() || corrected.contains(&parameters) {
            return;
        }
        corrected.push(parameters);
        let varying = Varying::Table(root, (*table).relid);
        let limits = limits((*parameters).ppi_clauses, &range.orders, varying);
        let Some((share, by_planner)) = share_within(root, index, &range.orders, &limits) else { return };
        // The planner caches a clause's selectivity in these fields.
        (*range.clause).norm_selec = share;
        (*range.clause).outer_selec = if is_asked_for(root, table, range.outer) {
            // Of EXISTS and NOT EXISTS: the share of the outer rows for which there is at least one row.
            (share * (*table).tuples).min(1.0)
        } else {
            share
        };
        (*parameters).ppi_rows = pg_sys::clamp_row_est((*parameters).ppi_rows * share / by_planner);
        let all = PgList::<pg_sys::Path>::from_pg((*table).pathlist);
        for other in all.iter_ptr().filter(|other| (**other).param_info == parameters) {
            (*other).rows = (*parameters).ppi_rows;
        }
    }
}
