//! `ambeginscan`, `amrescan`, `amgettuple`, `amendscan`: an ordered scan by `ivf::search`.
//!
//! The heap is read inside the access method, under the scan's snapshot, for exact values; what leaves the
//! scan is in final order. Only conditions on filter columns whose keys are lossy are rechecked above.

use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

use super::columns::FilterColumns;
use super::limit::wish;
use super::rows::{Heap, Measured};
use super::{directory, opclass};
use crate::error::{Error, Kind, Result};
use crate::ivf::search::Search;
use crate::ivf::search::filter::Filter;
use crate::pg::buffer::{IndexStore, Logging};
use crate::pg::compat::count_index_scan;
use crate::pg::error::{OrRaise, in_index};
use crate::pg::options::{IndexOptions, method_name};
use crate::pg::pointer::item_pointer;
use crate::pg::stats::{self, Last};
use crate::pg::varlena::Indexed;
use crate::pg::{guc, known};
use crate::value::Metric;

/// A scan. Its heap memory is freed with the memory context it was begun in, or at `amendscan`.
struct Scan {
    /// The context the scan was begun in: lives until its end.
    context: pg_sys::MemoryContext,
    store: IndexStore,
    /// What the index is over, and its metric.
    indexed: (Indexed, Metric),
    /// The query of the rescan at hand; `None` for SQL NULL.
    query: Option<Vec<f32>>,
    search: Option<Search>,
    heap: Option<Heap>,
    /// The filter columns, once a scan has conditions on them.
    columns: Option<FilterColumns>,
    /// Whether the conditions on filter columns may let pass what they should not.
    recheck: bool,
    started: bool,
    /// Whom it runs as.
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
            search: None,
            heap: None,
            columns: None,
            recheck: false,
            started: false,
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
        if let Some(heap) = &mut state.heap {
            heap.reset();
        }
        if nkeys > 0 && !keys.is_null() {
            (*scan).keyData.copy_from(keys, nkeys as usize);
        }
        if norderbys > 0 && !orderbys.is_null() {
            (*scan).orderByData.copy_from(orderbys, norderbys as usize);
        }
        if (*scan).numberOfOrderBys != 1 {
            return;
        }
        let key = &*(*scan).orderByData;
        if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
            state.query = None;
        } else {
            let query = state.query.get_or_insert_with(Vec::new);
            let take = |vector: &[f32]| {
                query.clear();
                query.extend_from_slice(vector);
            };
            state.indexed.0.coordinates(key.sk_argument, &mut Vec::new(), take);
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
        if !state.started {
            start(scan, state).map_err(|e| in_index(index, e)).or_raise();
        }
        let (Some(search), Some(heap)) = (&mut state.search, &mut state.heap) else { return false };
        let mut rows = Measured { heap, query: state.query.as_deref() };
        let next = search.next(&state.store, &mut rows).map_err(|e| in_index(index, e)).or_raise();
        stats::set(Last { user: state.user, stats: search.stats() });
        let Some((tid, _)) = next else { return false };
        (*scan).xs_heaptid = item_pointer(tid);
        (*scan).xs_recheck = state.recheck;
        (*scan).xs_recheckorderby = false;
        true
    }
}

/// Ends a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: Postgres passes a scan of ours; the state itself goes with its memory context.
    unsafe {
        let state = &mut *(*scan).opaque.cast::<Scan>();
        state.search = None;
        state.query = None;
        state.columns = None;
        known::end(scan.cast());
        if let Some(heap) = state.heap.take() {
            heap.close();
        }
    }
}

/// What needs the snapshot and the table, which Postgres sets after `ambeginscan`.
unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut Scan) -> Result<()> {
    // SAFETY: the caller passes a live scan.
    unsafe {
        if (*scan).numberOfOrderBys != 1 {
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
        let directory = directory(&state.store)?;
        if let Some(query) = &state.query
            && query.len() != directory.dims()
        {
            return Err(state.indexed.0.different(directory.dims(), query.len()));
        }
        let mut filter = Filter::default();
        state.recheck = false;
        if (*scan).numberOfKeys > 0 {
            let keys = std::slice::from_raw_parts((*scan).keyData, (*scan).numberOfKeys as usize);
            let columns = match &state.columns {
                Some(columns) => columns,
                None => {
                    let of = |_: &mut _| FilterColumns::of((*scan).indexRelation);
                    state.columns.insert(PgMemoryContexts::For(state.context).switch_to(of)?)
                }
            };
            (filter, state.recheck) = columns.filter(keys)?;
        }
        let wish = wish(scan, state.recheck);
        if state.heap.is_none() {
            let indexed = state.indexed;
            let (table, index) = ((*scan).heapRelation, (*scan).indexRelation);
            let open = |_: &mut _| Heap::open(table, index, snapshot, indexed);
            state.heap = Some(PgMemoryContexts::For(state.context).switch_to(open)?);
        }
        if let Some(heap) = &mut state.heap {
            heap.begin(snapshot, wish);
            if let (Indexed::Vector, metric, Some(query)) = (state.indexed.0, state.indexed.1, &state.query) {
                heap.note_for(scan.cast());
                known::begin(scan.cast(), metric, query);
            }
        }
        let options = IndexOptions::of((*scan).indexRelation);
        let settings = guc::settings(&options, directory.lists(), wish.wanted);
        let search = match state.search.take() {
            Some(search) if search.reads(&directory) => search,
            _ => Search::new(directory, settings),
        };
        state.search.insert(search).start_filtered(settings, state.query.as_deref(), filter);
        state.user = pg_sys::GetUserId();
        state.started = true;
        Ok(())
    }
}
