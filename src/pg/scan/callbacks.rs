//! `ambeginscan`, `amrescan`, `amgettuple`, `amendscan`: an ordered scan by `ivf::search`.
//!
//! The access method itself reads the heap, under the scan's snapshot, to compute exact values. So the rows
//! that it returns are in final order. The executor rechecks only conditions on filter columns with lossy
//! keys.

use std::collections::{HashSet, VecDeque};

use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

use super::ahead::{self, Asked};
use super::distance_memo;
use super::plan_limit::{self, PlanRequest, plan_request};
use super::stats::{self, Last};
use super::table_rows::{Measured, TableRows};
use crate::error::{Error, Kind, Result};
use crate::ivf::scan::{self, Directories};
use crate::ivf::search::Stats;
use crate::ivf::search::filter::Filter;
use crate::memory::{fallibly, out_of_memory};
use crate::page::Tid;
use crate::pg::am::directory_cache::directories;
use crate::pg::am::filter_columns::FilterColumns;
use crate::pg::am::opclass;
use crate::pg::compat::count_index_scan;
use crate::pg::datum::indexed::{Indexed, OwnedQuery};
use crate::pg::error::{OrRaise, in_index};
use crate::pg::planner::threshold::result;
use crate::pg::settings::reloptions::{IndexOptions, method_name};
use crate::pg::settings::resolve::{self, ScanRequest};
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::pg::storage::tid::item_pointer;
use crate::value::Metric;

/// A scan. Its memory is freed with the memory context in which it was begun, or at `amendscan`.
struct Scan {
    /// The context the scan was begun in: lives until its end.
    context: pg_sys::MemoryContext,
    store: IndexStore,
    /// What the index is over, and its metric.
    indexed: (Indexed, Metric),
    /// The query of the current rescan; `None` for SQL NULL.
    query: Option<OwnedQuery>,
    /// Memory for its coordinates.
    coordinates: Vec<f32>,
    /// The queries of further searches, whose rows are returned as well (`planner/range.rs`).
    further: VecDeque<Option<OwnedQuery>>,
    /// The number of searches that have ended.
    ended: usize,
    /// The rows returned by a scan with further searches.
    returned: HashSet<Tid>,
    search: Option<scan::Scan>,
    table_rows: Option<TableRows>,
    /// The filter columns, once a scan has conditions on them.
    columns: Option<FilterColumns>,
    /// Whether rows may pass the filter keys although they do not fulfil the conditions.
    recheck: bool,
    started: bool,
    /// Whether no row can fulfil a condition.
    empty: bool,
    /// The user as whom the scan runs.
    user: pg_sys::Oid,
}

/// Begins a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    index: pg_sys::Relation,
    keys: std::ffi::c_int,
    orderbys: std::ffi::c_int,
) -> pg_sys::IndexScanDesc {
    let indexed = opclass::indexed(index).or_raise();
    // SAFETY: Postgres passes an open index; the state is dropped with the current context at the latest.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(index, keys, orderbys);
        let context = pg_sys::CurrentMemoryContext;
        let state = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Scan {
            context,
            store: IndexStore::new(index, Logging::EachChange),
            indexed,
            query: None,
            coordinates: Vec::new(),
            further: VecDeque::new(),
            ended: 0,
            returned: HashSet::new(),
            search: None,
            table_rows: None,
            columns: None,
            recheck: false,
            started: false,
            empty: false,
            user: pg_sys::InvalidOid,
        });
        (*scan).opaque = state.cast();
        scan
    }
}

/// Takes the query of the next scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    nkeys: std::ffi::c_int,
    orderbys: pg_sys::ScanKey,
    norderbys: std::ffi::c_int,
) {
    // SAFETY: Postgres passes a scan of ours and as many keys as it says.
    unsafe {
        let state = &mut *(*scan).opaque.cast::<Scan>();
        state.started = false;
        if let Some(table_rows) = &mut state.table_rows {
            table_rows.reset();
        }
        if nkeys > 0 && !keys.is_null() {
            (*scan).keyData.copy_from(keys, nkeys as usize);
        }
        if norderbys > 0 && !orderbys.is_null() {
            (*scan).orderByData.copy_from(orderbys, norderbys as usize);
        }
        (state.ended, state.returned) = (0, HashSet::new());
        state.further.clear();
        for order in 0..(*scan).numberOfOrderBys.max(0) as usize {
            let key = &*(*scan).orderByData.add(order);
            let null = key.sk_flags & pg_sys::SK_ISNULL as i32 != 0;
            let earlier = if order == 0 { state.query.take() } else { None };
            let query = (!null).then(|| state.indexed.0.query(key.sk_argument, earlier).or_raise());
            match order {
                0 => state.query = query,
                _ => state.further.push_back(query),
            }
        }
    }
}

/// The next row in order.
#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: Postgres passes a scan of ours that was rescanned.
    unsafe {
        let state = &mut *(*scan).opaque.cast::<Scan>();
        let index = (*scan).indexRelation;
        loop {
            if let Some(tid) = next(scan, state).map_err(|e| in_index(index, e)).or_raise() {
                if (*scan).numberOfOrderBys > 1 && !note(&mut state.returned, tid).or_raise() {
                    continue;
                }
                (*scan).xs_heaptid = item_pointer(tid);
                (*scan).xs_recheck = state.recheck;
                (*scan).xs_recheckorderby = false;
                return true;
            }
            let Some(query) = state.further.pop_front() else { return false };
            state.query = query;
            state.started = false;
            state.ended += 1;
            if let Some(table_rows) = &mut state.table_rows {
                table_rows.reset();
            }
        }
    }
}

/// The next row of the current search.
unsafe fn next(scan: pg_sys::IndexScanDesc, state: &mut Scan) -> Result<Option<Tid>> {
    // SAFETY: the caller passes a live scan.
    unsafe {
        if !state.started {
            start(scan, state)?;
        }
    }
    if state.empty {
        stats::set(Last { user: state.user, stats: Stats::default() });
        return Ok(None);
    }
    let (Some(search), Some(table_rows)) = (&mut state.search, &mut state.table_rows) else {
        return Ok(None);
    };
    let mut rows = Measured { rows: table_rows, query: state.query.as_ref().map(OwnedQuery::view) };
    let next = search
        .next(&state.store, &mut rows)
        .map_err(|e| conflict(&state.store, |now| search.reads(now), e))?;
    stats::set(Last { user: state.user, stats: search.stats() });
    Ok(next.map(|(tid, _)| tid))
}

/// Notes a row that is returned. Returns whether it is the first time.
fn note(returned: &mut HashSet<Tid>, tid: Tid) -> Result<bool> {
    let bytes = (returned.len() + 1).saturating_mul(2 * size_of::<Tid>());
    fallibly(|| returned.try_reserve(1)).map_err(|_| out_of_memory(bytes))?;
    Ok(returned.insert(tid))
}

/// On a standby pages may be used again while a scan still reads them, for nothing but the primary knows that
/// it does: they look damaged then.
pub fn conflict(store: &IndexStore, reads: impl Fn(&Directories) -> bool, error: Error) -> Error {
    // SAFETY: reads the state of the server.
    let on_standby = unsafe { pg_sys::RecoveryInProgress() };
    if on_standby && error.kind == Kind::Corrupted && directories(store).is_ok_and(|now| !reads(&now)) {
        let message = "canceling statement due to conflict with recovery";
        return Error::new(Kind::Conflict, message)
            .with_detail("The lists of an ivf index were replaced, and its pages used again.");
    }
    error
}

/// Ends a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: Postgres passes a scan of ours; the state itself goes with its memory context.
    unsafe {
        let state = &mut *(*scan).opaque.cast::<Scan>();
        state.search = None;
        state.query = None;
        state.coordinates = Vec::new();
        state.further = VecDeque::new();
        state.returned = HashSet::new();
        state.columns = None;
        distance_memo::end(scan.cast());
        if let Some(table_rows) = state.table_rows.take() {
            table_rows.close();
        }
    }
}

/// The counters of a scan, summed over its rescans.
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
pub struct Done {
    pub stats: crate::ivf::search::Stats,
    /// Lists of the index.
    pub lists: u32,
    /// Whether the last rescan ended at its distance threshold; `None` if it had none.
    pub threshold: Option<bool>,
}

/// What a scan has done, if it was started.
///
/// # Safety
/// A scan of ours that has not ended.
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
pub unsafe fn done(scan: pg_sys::IndexScanDesc) -> Option<Done> {
    // SAFETY: the caller passes a scan of ours.
    let search = unsafe { (*(*scan).opaque.cast::<Scan>()).search.as_ref()? };
    Some(Done { stats: search.stats(), lists: search.lists(), threshold: search.threshold_reached() })
}

/// The part of the start that needs the snapshot and the table, which Postgres sets after `ambeginscan`.
unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut Scan) -> Result<()> {
    // SAFETY: the caller passes a live scan.
    unsafe {
        if (*scan).numberOfOrderBys < 1 {
            let method = method_name((*scan).indexRelation);
            return Err(Error::new(Kind::Internal, format!("cannot scan {method} index without order")));
        }
        let snapshot = (*scan).xs_snapshot;
        let kind = (*snapshot).snapshot_type;
        if kind != pg_sys::SnapshotType::SNAPSHOT_MVCC && kind != pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC
        {
            let method = method_name((*scan).indexRelation);
            let message = format!("non-MVCC snapshots are not supported with {method}");
            return Err(Error::new(Kind::Internal, message));
        }
        count_index_scan(scan);
        state.store.seen_by(snapshot);
        let directories = directories(&state.store)?;
        let directory = &directories.0;
        let filter = filter(scan, state)?;
        let request = plan_request(scan, state.ended, state.recheck);
        let sketch = directory.sketch().for_queries();
        accept_query(state, sketch.dims, request)?;
        if state.table_rows.is_none() {
            let indexed = state.indexed;
            let (table, index) = ((*scan).heapRelation, (*scan).indexRelation);
            let open = |_: &mut _| TableRows::open(table, index, snapshot, indexed);
            state.table_rows = Some(PgMemoryContexts::For(state.context).switch_to(open)?);
        }
        if let Some(table_rows) = &mut state.table_rows {
            table_rows.begin(snapshot, request);
            if let (Indexed::Vector, metric, Some(OwnedQuery::Vector(query))) =
                (state.indexed.0, state.indexed.1, &state.query)
            {
                table_rows.note_for(scan.cast());
                distance_memo::begin(scan.cast(), metric, query);
            }
        }
        let options = IndexOptions::of((*scan).indexRelation);
        let settings = resolve::settings(&options, directory.lists(), request.scan);
        let search = match state.search.take() {
            Some(search) if search.reads(&directories) => search,
            _ => scan::Scan::new(directories.clone(), settings),
        };
        let query = match &state.query {
            Some(query) => Some(query.view().coordinates(&sketch, &mut state.coordinates)?),
            None => None,
        };
        let search = state.search.insert(search);
        let asked = match &state.query {
            Some(OwnedQuery::Vector(query)) if is_single(scan, request.scan) && filter.is_empty() => {
                let index = (*(*scan).indexRelation).rd_id;
                Some(Asked { index, snapshot, directories: &directories, query, ceiling: settings.ceiling })
            }
            _ => None,
        };
        let served = match asked {
            Some(asked) => ahead::serve(asked, |rows| search.start_known(settings, rows))?,
            None => false,
        };
        if !served {
            search.start_filtered(settings, query, filter);
        }
        state.user = pg_sys::GetUserId();
        state.started = true;
        Ok(())
    }
}

/// Whether a scan is a range search from one vector.
unsafe fn is_single(scan: pg_sys::IndexScanDesc, request: ScanRequest) -> bool {
    // SAFETY: the caller passes a live scan.
    request.any_order && unsafe { (*scan).numberOfOrderBys == 1 }
}

/// The conditions that the index tests: those of the scan, and those of the filter above it.
unsafe fn filter(scan: pg_sys::IndexScanDesc, state: &mut Scan) -> Result<Filter> {
    state.recheck = false;
    // SAFETY: the caller passes a live scan, which has as many keys as it says.
    unsafe {
        let clauses = plan_limit::clauses(scan);
        if (*scan).numberOfKeys == 0 && clauses.is_none() {
            return Ok(Filter::default());
        }
        let columns = filter_columns(scan, &mut state.columns, state.context)?;
        let mut filter = Filter::default();
        if (*scan).numberOfKeys > 0 {
            let keys = std::slice::from_raw_parts((*scan).keyData, (*scan).numberOfKeys as usize);
            (filter, state.recheck) = columns.filter(keys)?;
        }
        if let Some((clauses, context)) = clauses {
            let value = |state| result(state, context).and_then(|(value, null)| (!null).then_some(value));
            filter.clauses.extend(columns.clauses(&clauses, value)?);
        }
        Ok(filter)
    }
}

/// The filter columns of a scan's index, opened when they are first needed.
unsafe fn filter_columns(
    scan: pg_sys::IndexScanDesc,
    columns: &mut Option<FilterColumns>,
    context: pg_sys::MemoryContext,
) -> Result<&FilterColumns> {
    match columns {
        Some(columns) => Ok(columns),
        none => {
            // SAFETY: the context lives as long as the scan, whose index is open.
            let of = |_: &mut _| FilterColumns::of(unsafe { (*scan).indexRelation });
            // SAFETY: as above.
            Ok(none.insert(unsafe { PgMemoryContexts::For(context).switch_to(of)? }))
        }
    }
}

/// Checks the query of a search.
fn accept_query(
    state: &mut Scan,
    dims: usize,
    PlanRequest { scan: ScanRequest { any_order: is_range, .. }, is_empty, .. }: PlanRequest,
) -> Result<()> {
    // No distance from NULL is known, and none from a zero vector under cosine: no condition passes.
    let measures = |query: &OwnedQuery| query.view().is_indexed(state.indexed.1);
    state.empty = is_empty || is_range && !state.query.as_ref().is_some_and(measures);
    let other = state.query.as_ref().and_then(|query| query.view().dims()).filter(|other| *other != dims);
    match other {
        Some(other) if !is_range => Err(state.indexed.0.different(dims, other)),
        Some(_) => {
            // The condition is an error, but only for rows for which it is evaluated: the plan's filter does
            // that.
            (state.query, state.empty) = (None, false);
            Ok(())
        }
        None => Ok(()),
    }
}

/// `amgettuple` (access/amapi.h).
pub type GetTuple = unsafe extern "C-unwind" fn(pg_sys::IndexScanDesc, pg_sys::ScanDirection::Type) -> bool;

/// The address of our `amgettuple`, by which our indexes are recognised.
pub static GETTUPLE: GetTuple = amgettuple;

/// Whether an open index is of this access method.
///
/// # Safety
/// The relation is an open index.
pub unsafe fn is_ivf(index: pg_sys::Relation) -> bool {
    // SAFETY: an open index has its access method's table.
    let routine = unsafe { (*index).rd_indam };
    // SAFETY: as above, or null where the access method is gone.
    !routine.is_null() && unsafe { (*routine).amgettuple }.is_some_and(|f| std::ptr::fn_addr_eq(f, GETTUPLE))
}
