//! `amcostestimate`: what an ordered scan is expected to cost.
//!
//! The start-up cost is the cost until the rows of the LIMIT have been found, because the first row is
//! returned when all of them are certain; but a range search returns rows as it finds them. The total cost is
//! that of a scan to the end.

use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::assumed;
use super::filter_clauses::{Planned, left_to_filter};
use super::min_max;
use super::monotone::Varying;
use super::query_page::{self, Page};
use super::range_mark::is_range;
use super::rights::may_tell;
use super::support::distance_cost;
use super::threshold::{self, Limits, limits};
use crate::ivf::cost::{CODES_PER_OPERATOR, Shown, Work, estimate, lists_read};
use crate::ivf::directory::Directory;
use crate::ivf::search::{Probes, Settings};
use crate::ivf::within;
use crate::pg::am::directory_cache::directory;
use crate::pg::am::filter_columns::Test;
use crate::pg::am::opclass;
use crate::pg::compat::estimate_array_length;
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::{OrRaise, in_index};
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::settings::resolve::{self, ScanRequest};
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::value::Metric;

/// Assumed share of rows within a distance threshold if nothing is known about it. The planner assumes a
/// third, but a threshold that lets a third of the rows pass is hardly useful.
const WITHIN: f64 = 0.01;

struct Prices {
    random_page: f64,
    sequential_page: f64,
    operator: f64,
    /// Price of the work before the first page is read.
    start: f64,
    /// Price of an exact distance, including the fetch of the vector from the table; zero if the index knows
    /// the distance.
    distance: f64,
}

impl Prices {
    unsafe fn of(info: &pg_sys::IndexOptInfo, index: &Index) -> Self {
        let (directory, (mut random_page, mut sequential_page)) = (&index.directory, (0.0, 0.0));
        // SAFETY: settings, and the prices of a tablespace that the planner knows.
        unsafe {
            let (random, sequential) = (&raw mut random_page, &raw mut sequential_page);
            pg_sys::get_tablespace_page_costs(info.reltablespace, random, sequential);
            Self {
                random_page,
                sequential_page,
                operator: pg_sys::cpu_operator_cost,
                start: pg_sys::cpu_operator_cost * (START + START_LIST * f64::from(directory.lists())),
                distance: match directory.codec.is_exact() {
                    true => 0.0,
                    false => {
                        let (kind, dims) = (index.indexed, directory.sketch().dims);
                        distance_cost(kind.numbers(dims), kind.size(dims))
                    }
                },
            }
        }
    }
}

type Estimate = unsafe extern "C-unwind" fn(
    *mut pg_sys::PlannerInfo,
    *mut pg_sys::IndexPath,
    f64,
    *mut pg_sys::Cost,
    *mut pg_sys::Cost,
    *mut pg_sys::Selectivity,
    *mut f64,
    *mut f64,
);

/// The address of `amcostestimate`, by which our indexes are recognised in the planner's structures.
pub static ESTIMATE: Estimate = amcostestimate;

/// Whether an index is of this access method.
///
/// # Safety
/// The planner's structure.
pub unsafe fn is_ours(index: *mut pg_sys::IndexOptInfo) -> bool {
    // SAFETY: the planner's structure, which has the access method's functions.
    let estimate = unsafe { (*index).amcostestimate };
    estimate.is_some_and(|f| std::ptr::fn_addr_eq(f, ESTIMATE))
}

/// Estimates a scan.
#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn amcostestimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
    startup_cost: *mut pg_sys::Cost,
    total_cost: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    index_pages: *mut f64,
) {
    // SAFETY: the planner passes live structures and places for the five results.
    unsafe {
        let info = &*(*path).indexinfo;
        *selectivity = 1.0;
        // Rows come in the order of distance, which is not correlated with their order in the table.
        *correlation = 0.0;
        *index_pages = f64::from(info.pages);
        let orders: Vec<_> = PgList::from_pg((*path).indexorderbys).iter_ptr().collect();
        let searches = if is_range(&orders) { orders.len() } else { 0 };
        if orders.len() != searches.max(1) || wants_null_vector(path) {
            // The index cannot answer a query without an order or with two, or for rows that it does not
            // contain. An infinite cost is not enough: PostgreSQL 18 counts disabled nodes first, and a
            // disabled sequential scan would lose against it.
            #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
            {
                (*path).path.disabled_nodes = 2;
            }
            (*startup_cost, *total_cost) = (f64::INFINITY, f64::INFINITY);
            return;
        }
        if searches == 0 {
            query_page::costed(root);
        }
        let (index, tested) = (Index::open(root, info), left_to_filter(root, path));
        let Index { directory, settings, indexed } = &index;
        let Expected { with_vector, rows, passing, within, share } =
            Expected::of(root, path, (&orders, &tested), &index);
        *selectivity = with_vector * passing * within;
        let near = (rows * passing * within).clamp(1.0, rows);
        let wanted = (Page::of(root).rows() / share).clamp(1.0, near);
        // A scan knows that there are fewer rows than the limit only when it has read everything. The same
        // holds for `min` of a distance.
        let whole = min_max::mark(root) || (wanted >= near && within < 1.0);
        let everything = (Probes::Lists(directory.lists()), 1.0);
        let (effort, wanted) = match (searches, whole) {
            (0, true) => (everything, wanted),
            (0, false) => ((settings.probes, settings.recall_target), wanted),
            _ => ((Probes::Lists(1), 1.0), until_first(directory, rows * passing / near)),
        };
        let excludes = directory.summaries_position(0).is_some() && passing < 1.0;
        let of_list = rows / f64::from(directory.lists());
        let read = excludes.then(|| share_of_lists_read(root, path, &tested, of_list));
        let first = estimate(directory, rows, effort, wanted, (passing, read));
        let all =
            estimate(directory, rows, everything, if within < 1.0 { near } else { rows }, (passing, read));
        // For each row that the scan returns, the planner adds the cost of fetching it and of the distance in
        // the plan's target list. The scan has already done both: the page is cached, and the distance is in
        // the memo (`distance_memo.rs`). So these costs are subtracted.
        let leaving = |of: f64| if *indexed == Indexed::Vector { of * share } else { 0.0 };
        let (prices, heap) = (Prices::of(info, &index), ((*info.rel).pages.into(), (*info.rel).tuples));
        *startup_cost = price(&first, &prices, heap, leaving(wanted));
        // With a threshold, a row takes as long as two rows of a sequential scan: its page is a random one.
        let paid = if within < 1.0 { 0.0 } else { leaving(rows) };
        let rest = price(&all, &prices, heap, paid).max(*startup_cost);
        let lists = estimate(directory, rows, everything, 1.0, (passing, read));
        let again = searches.saturating_sub(1) as f64 * price(&lists, &prices, heap, 0.0);
        *total_cost = rest + again - overpaid(root, path, loop_count, *selectivity, &prices);
        *index_pages = all.pages.max(1.0);
    }
}

/// The number of rows that a range search looks at before it returns one; one of so many is in the range. It
/// returns rows as it finds them: by sketches it measures row after row, by codes it begins with the nearest.
fn until_first(directory: &Directory, one_of: f64) -> f64 {
    if directory.sketch().is_lossy() { one_of } else { 1.0 }
}

/// The metric of an index; of one that does not exist, the one with the most exceptions.
///
/// # Safety
/// The planner's structure of an index of ours.
pub unsafe fn metric_of(info: *mut pg_sys::IndexOptInfo) -> Metric {
    // SAFETY: as the caller says.
    unsafe { indexed_by(info) }.map_or(Metric::Cosine, |(_, metric)| metric)
}

/// What an index is over, and its metric; `None` for a hypothetical one.
///
/// # Safety
/// As for [`metric_of`].
pub unsafe fn indexed_by(info: *mut pg_sys::IndexOptInfo) -> Option<(Indexed, Metric)> {
    // SAFETY: the planner has locked the index, unless there is none.
    unsafe {
        if (*info).hypothetical {
            return None;
        }
        let relation = pg_sys::index_open((*info).indexoid, pg_sys::NoLock as pg_sys::LOCKMODE);
        let indexed = opclass::indexed(relation).or_raise();
        pg_sys::index_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        Some(indexed)
    }
}

/// Facts about an index.
struct Index {
    directory: Rc<Directory>,
    settings: Settings,
    indexed: Indexed,
}

impl Index {
    unsafe fn open(root: *mut pg_sys::PlannerInfo, info: &pg_sys::IndexOptInfo) -> Self {
        // SAFETY: the planner has locked the index, unless there is none.
        unsafe {
            if info.hypothetical {
                let (directory, indexed) = assumed::index(root, info).or_raise();
                let (options, request) = (IndexOptions::default(), ScanRequest::default());
                let settings = resolve::settings(&options, directory.lists(), request);
                return Self { directory: Rc::new(directory), settings, indexed };
            }
            let relation = pg_sys::index_open(info.indexoid, pg_sys::NoLock as pg_sys::LOCKMODE);
            let store = IndexStore::new(relation, Logging::EachChange);
            let directory = directory(&store).map_err(|e| in_index(relation, e)).or_raise();
            let settings =
                resolve::settings(&IndexOptions::of(relation), directory.lists(), ScanRequest::default());
            let (indexed, _) = opclass::indexed(relation).or_raise();
            pg_sys::index_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            Self { directory, settings, indexed }
        }
    }
}

/// Expected numbers of rows in an index, for a query.
struct Expected {
    /// The share of the table's rows that have a vector.
    with_vector: f64,
    /// The number of these rows.
    rows: f64,
    /// The share of these rows that pass the conditions on filter columns.
    passing: f64,
    /// The share of these rows within distance thresholds.
    within: f64,
    /// The share of the returned rows that pass the filter above, thresholds excepted.
    share: f64,
}

impl Expected {
    unsafe fn of(
        root: *mut pg_sys::PlannerInfo,
        path: *mut pg_sys::IndexPath,
        (orders, tested): (&[*mut pg_sys::Node], &[Left]),
        index: &Index,
    ) -> Self {
        // SAFETY: the caller passes the planner's structures.
        unsafe {
            let info = &*(*path).indexinfo;
            // Rows without a vector are not in the index, so a condition that excludes them excludes nothing.
            let with_vector = share_passing(root, path, &[], |column| column == 0);
            let rows = (info.tuples * with_vector).max(1.0);
            let passing = share_passing(root, path, tested, |column| column > 0).clamp(1.0 / rows, 1.0);
            let table = &*info.rel;
            let varying = Varying::Table(root, table.relid);
            let mut limits = limits(table.baserestrictinfo, orders, varying);
            let mut filtered = table.rows;
            if let (true, Some(repeated)) = (is_range(orders), (*path).path.param_info.as_ref()) {
                limits.extend(threshold::limits(repeated.ppi_clauses, orders, varying));
                filtered = repeated.ppi_rows;
            }
            let by_planner = by_planner(root, table.relid as i32, &limits);
            let known = may_tell(root, info) && !info.hypothetical;
            let within = match known.then(|| shares(root, orders, &limits, index)).flatten() {
                Some(share) => share,
                _ if limits.is_empty() => 1.0,
                _ => WITHIN,
            };
            // The number of returned rows that pass the filter is the planner's estimate for the table. All
            // of them pass the thresholds.
            let share = (filtered / (rows * passing * by_planner)).clamp(1.0 / rows, 1.0);
            Self { with_vector, rows, passing, within, share }
        }
    }
}

/// The share of rows within distance thresholds, as estimated from the index and as estimated by the planner.
/// `None` if there is no threshold, or if the index cannot estimate it.
///
/// # Safety
/// The planner's structures; the limits are clauses of the table about `orders`, which the index has.
pub unsafe fn share_within(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexOptInfo,
    orders: &[*mut pg_sys::Node],
    limits: &[Limits<*mut pg_sys::Node>],
) -> Option<(f64, f64)> {
    // SAFETY: the caller vouches for the structures; the planner has locked the index.
    unsafe {
        if !may_tell(root, &*index) || (*index).hypothetical {
            return None;
        }
        let known = |order| threshold::expected(root, limits, order).is_some();
        if !(0..orders.len()).all(known) {
            return None;
        }
        let share = shares(root, orders, limits, &Index::open(root, &*index))?;
        let relid = (*(*index).rel).relid as i32;
        Some((share.max(1.0 / (*index).tuples.max(1.0)), by_planner(root, relid, limits)))
    }
}

/// The share of rows within the limits of any of the orders; `None` if a limit is not known.
unsafe fn shares(
    root: *mut pg_sys::PlannerInfo,
    orders: &[*mut pg_sys::Node],
    limits: &[Limits<*mut pg_sys::Node>],
    index: &Index,
) -> Option<f64> {
    let share = |(i, order): (usize, &*mut pg_sys::Node)| {
        // SAFETY: the caller passes the planner's structures.
        unsafe {
            let value = threshold::expected(root, limits, i)?;
            Some(share_within_value(root, *order, value, index))
        }
    };
    if orders.is_empty() {
        return None;
    }
    let shares: Option<Vec<f64>> = orders.iter().enumerate().map(share).collect();
    shares.map(|shares| shares.into_iter().sum::<f64>().min(1.0))
}

/// The planner's estimate of the share of rows that pass thresholds.
unsafe fn by_planner(
    root: *mut pg_sys::PlannerInfo,
    relid: i32,
    limits: &[Limits<*mut pg_sys::Node>],
) -> f64 {
    let selectivity = |limits: &Limits<_>| {
        let inner = pg_sys::JoinType::JOIN_INNER;
        // SAFETY: the caller passes the planner's structures.
        unsafe { pg_sys::clause_selectivity(root, limits.clause, relid, inner, std::ptr::null_mut()) }
    };
    limits.iter().map(selectivity).product::<f64>().max(f64::MIN_POSITIVE)
}

/// The share of rows within `value` of the query's vector, if the planner knows it; else of a vector that is
/// like a row.
unsafe fn share_within_value(
    root: *mut pg_sys::PlannerInfo,
    order: *mut pg_sys::Node,
    value: f64,
    Index { directory, indexed, .. }: &Index,
) -> f64 {
    // SAFETY: the caller passes the planner's structures; the order's operands are of the indexed type.
    unsafe {
        match query(root, order) {
            Some(query) => {
                indexed.coordinates(&directory.sketch().for_queries(), query, &mut Vec::new(), |_, query| {
                    within::share(directory, Some(query.coordinates), value)
                })
            }
            None => within::share(directory, None, value),
        }
    }
}

/// The query's vector: the value with which an order compares the column, if the planner knows it.
unsafe fn query(root: *mut pg_sys::PlannerInfo, order: *mut pg_sys::Node) -> Option<pg_sys::Datum> {
    // SAFETY: the planner's structures; a node's tag tells its type.
    unsafe {
        if (*order).type_ != pg_sys::NodeTag::T_OpExpr {
            return None;
        }
        let operands = PgList::<pg_sys::Node>::from_pg((*order.cast::<pg_sys::OpExpr>()).args);
        let constant = |operand| pg_sys::estimate_expression_value(root, operand).cast::<pg_sys::Const>();
        let known = |constant: &*mut pg_sys::Const| {
            (**constant).xpr.type_ == pg_sys::NodeTag::T_Const && !(**constant).constisnull
        };
        operands.iter_ptr().map(constant).find(known).map(|constant| (*constant).constvalue)
    }
}

/// A clause of the filter that the scan tests.
type Left = (*mut pg_sys::RestrictInfo, Planned);

/// The share of the rows that pass the conditions on those columns of the index for which `of` is true
/// (column 0 is the vector), and those of the filter that are `tested`.
unsafe fn share_passing(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    tested: &[Left],
    of: impl Fn(i16) -> bool,
) -> f64 {
    // SAFETY: the planner's structures, as `genericcostestimate` uses them (selfuncs.c).
    unsafe {
        let info = (*path).indexinfo;
        let mut clauses = PgList::<pg_sys::IndexClause>::new();
        for clause in PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses).iter_ptr() {
            if of((*clause).indexcol) {
                clauses.push(clause);
            }
        }
        if clauses.is_empty() && tested.is_empty() {
            return 1.0;
        }
        let mut quals = pg_sys::get_quals_from_indexclauses(clauses.into_pg());
        for (clause, _) in tested {
            quals = pg_sys::lappend(quals, clause.cast());
        }
        let inner = pg_sys::JoinType::JOIN_INNER;
        let relation = (*(*info).rel).relid as i32;
        pg_sys::clauselist_selectivity(root, quals, relation, inner, std::ptr::null_mut())
    }
}

/// The share of the lists that the conditions on filter columns do not exclude; a list has `rows` rows. It
/// assumes that rows pass independently of their lists. Each condition is considered alone, and the one that
/// excludes most lists counts.
unsafe fn share_of_lists_read(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    tested: &[Left],
    rows: f64,
) -> f64 {
    // SAFETY: the planner's structures: the clauses are a list of IndexClause nodes, each of RestrictInfo
    // nodes whose clause has an operator of the column's family, or is a test for NULL
    // (match_clause_to_indexcol, indxpath.c).
    unsafe {
        let info = &*(*path).indexinfo;
        let relation = (*info.rel).relid as i32;
        let share = |clause: *mut pg_sys::RestrictInfo| {
            let inner = pg_sys::JoinType::JOIN_INNER;
            pg_sys::clause_selectivity(root, clause.cast(), relation, inner, std::ptr::null_mut())
        };
        let mut least: f64 = 1.0;
        let clauses = PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses);
        for clause in clauses.iter_ptr().filter(|clause| (**clause).indexcol > 0) {
            let family = *info.opfamily.add((*clause).indexcol as usize);
            for condition in PgList::<pg_sys::RestrictInfo>::from_pg((*clause).indexquals).iter_ptr() {
                let node = (*condition).clause.cast::<pg_sys::Node>();
                let strategy = |operator| pg_sys::get_op_opfamily_strategy(operator, family) as u32;
                let shown = match (*node).type_ {
                    pg_sys::NodeTag::T_OpExpr => shown(strategy((*node.cast::<pg_sys::OpExpr>()).opno), 1.0),
                    pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                        let any = &*node.cast::<pg_sys::ScalarArrayOpExpr>();
                        let array = PgList::<pg_sys::Node>::from_pg(any.args).get_ptr(1);
                        let keys = array.map_or(1.0, |array| estimate_array_length(root, array));
                        shown(strategy(any.opno), keys)
                    }
                    pg_sys::NodeTag::T_NullTest => Some(Shown::Surely),
                    _ => None,
                };
                let Some(shown) = shown else { continue };
                least = least.min(lists_read(shown, share(condition), rows));
            }
        }
        for (clause, planned) in tested {
            least = least.min(lists_read(planned_shows(root, planned), share(*clause), rows));
        }
        least
    }
}

/// What summaries show about a condition with an operator of this strategy, if it compares with one of `keys`
/// keys.
fn shown(strategy: u32, keys: f64) -> Option<Shown> {
    match strategy {
        pg_sys::BTEqualStrategyNumber => Some(Shown::ByMarks(keys)),
        pg_sys::BTLessStrategyNumber..=pg_sys::BTGreaterStrategyNumber => Some(Shown::Surely),
        // For labels, the union of all bits excludes few lists.
        _ => None,
    }
}

/// What summaries show about a clause: the keys with which its conditions compare may share bits.
unsafe fn planned_shows(root: *mut pg_sys::PlannerInfo, clause: &Planned) -> Shown {
    let keys = |test: &Test<*mut pg_sys::Node>| match test {
        Test::Compared(compared) => {
            let equal = u32::from(compared.strategy) == pg_sys::BTEqualStrategyNumber;
            f64::from(u8::from(equal && !compared.negated))
        }
        // SAFETY: the caller passes the planner's structures.
        Test::Listed { compared, .. } => unsafe { estimate_array_length(root, compared.value) },
        Test::Is(_) | Test::Null | Test::NotNull => 0.0,
    };
    let keys: f64 = clause.conditions().iter().map(|tested| keys(&tested.test)).sum();
    if keys > 0.0 { Shown::ByMarks(keys) } else { Shown::Surely }
}

/// Whether a condition asks for rows whose vector is NULL, which are not in the index.
unsafe fn wants_null_vector(path: *mut pg_sys::IndexPath) -> bool {
    // SAFETY: the clauses are a list of IndexClause nodes of this path.
    unsafe {
        PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses).iter_ptr().any(|clause| {
            let test = (*(*clause).rinfo).clause.cast::<pg_sys::NullTest>();
            (*clause).indexcol == 0
                && (*test.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_NullTest
                && (*test).nulltesttype == pg_sys::NullTestType::IS_NULL
        })
    }
}

/// The price of a page of a list, relative to a page of a table. Every query reads lists, so that they are in
/// memory when rows of the table may not be. Measured against a B-tree with a sort, in memory: these take
/// about 1 µs for a unit of cost, and a page of codes in which few rows pass takes 0.2 µs.
const LIST_PAGE: f64 = 0.25;

/// In operator calls: the time to compute a query's lookup tables (about 5 µs), and the time to score a list
/// and read its summary (about .03 µs).
const START: f64 = 2000.0;
const START_LIST: f64 = 12.0;

/// The cost of reading `pages` of a table's `all_pages` as a bitmap scan reads them.
fn by_bitmap(pages: f64, all_pages: f64, prices: &Prices) -> f64 {
    let steps = (prices.random_page - prices.sequential_page).max(0.0);
    pages * (prices.random_page - steps * (pages / all_pages.max(1.0)).min(1.0).sqrt())
}

/// The amount by which the planner's cost for the pages of the returned rows is too high (`cost_index`,
/// costsize.c). The planner assumes that each page is read alone, but the scan has read them in the order of
/// the table. A total cost that is reduced by this amount may be below the start-up cost. After the planner's
/// addition it is not.
unsafe fn overpaid(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
    selectivity: f64,
    prices: &Prices,
) -> f64 {
    // SAFETY: the planner's structures, as `cost_index` uses them.
    unsafe {
        let (info, table) = (&*(*path).indexinfo, &*(*(*path).indexinfo).rel);
        let (rows, loops) = (pg_sys::clamp_row_est(selectivity * table.tuples), loop_count.max(1.0));
        let pages = pg_sys::index_pages_fetched(rows * loops, table.pages, info.pages.into(), root) / loops;
        let too_much = pages * prices.random_page - by_bitmap(pages, table.pages.into(), prices);
        // The larger the share of the table, the more rounds the scan takes, each in an order of its own.
        let share = (rows / table.tuples.max(1.0)).min(1.0);
        too_much * (1.0 - share * share)
    }
}

/// The cost of work: consecutive pages of lists, random records and rows, distances. `paid` rows are not
/// counted, because the planner adds their cost elsewhere.
fn price(work: &Work, prices: &Prices, (heap_pages, heap_rows): (f64, f64), paid: f64) -> f64 {
    // The first page of each list is a random page; the others are consecutive.
    let steps = work.lists * (prices.random_page - prices.sequential_page).max(0.0);
    let lists = LIST_PAGE * (work.pages * prices.sequential_page + steps / 2.0);
    // Records of survivors belong to the lists just read, and are mostly on pages in memory. Each costs as
    // much as a tuple.
    let records = work.extended * prices.operator * 4.0;
    let codes = work.codes * prices.operator / CODES_PER_OPERATOR;
    // Rows whose exact distance is computed. They are on at most as many pages as the table has. The more
    // rows there are, the less each costs, as for a bitmap scan (cost_bitmap_heap_scan, costsize.c).
    let rows = (work.rows - paid).max(0.0);
    let random = by_bitmap(rows.min(heap_pages.max(1.0)), heap_pages, prices);
    let all = heap_pages * prices.sequential_page * (rows / heap_rows.max(1.0)).max(1.0);
    let heap = if rows >= heap_rows { all.max(random) } else { random };
    prices.start + lists + records + codes + heap + rows * prices.distance
}
