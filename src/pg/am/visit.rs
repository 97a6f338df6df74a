//! What the callbacks of heap scans do with a row of the table.

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::filter_columns::FilterColumns;
use super::leaving::Leaving;
use super::opclass::check_dimensions;
use crate::error::{Error, Kind, Result};
use crate::ivf::build::RowSink;
use crate::ivf::sketch::{Sketch, Sketched};
use crate::page::{Key, Tid};
use crate::pg::allocator;
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::{OrRaise, raise};
use crate::pg::storage::tid::tid;
use crate::value::Original;

/// What the callback of a heap scan does with a row.
pub(super) struct Visit<'a> {
    pub indexed: Indexed,
    pub sketch: &'a Sketch,
    pub buffer: Vec<f32>,
    pub columns: Option<&'a FilterColumns>,
    pub keys: Vec<Key>,
    pub leaving: Option<&'a mut Leaving>,
    /// Whether rows of other dimensions are left out, because the scan of all rows will name the first.
    pub is_sample: bool,
    /// Tells whether the next row is taken; without it all are.
    pub takes_next: Option<&'a mut dyn FnMut() -> bool>,
    /// Set when a deleted row of other dimensions is left out, which older snapshots may still see.
    pub left_out: bool,
    pub sink: &'a mut RowSink<'a>,
}

impl<'a> Visit<'a> {
    /// Without `columns` the rows have no keys.
    pub fn new(
        (indexed, sketch): (Indexed, &'a Sketch),
        columns: Option<&'a FilterColumns>,
        sink: &'a mut RowSink<'a>,
    ) -> Self {
        Self {
            indexed,
            sketch,
            buffer: Vec::new(),
            columns,
            keys: Vec::new(),
            leaving: None,
            is_sample: false,
            takes_next: None,
            left_out: false,
            sink,
        }
    }
}

/// The callback of heap scans: passes the row to the sink. It raises errors itself, through the server's
/// scan.
#[pg_guard]
pub(super) unsafe extern "C-unwind" fn visit(
    _index: pg_sys::Relation,
    row: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    alive: bool,
    state: *mut c_void,
) {
    // SAFETY: the state is the `Visit` of the call below; values and flags are those of the row.
    unsafe {
        if *isnull {
            return;
        }
        allocator::check();
        let visit = &mut *state.cast::<Visit>();
        if visit.takes_next.as_mut().is_some_and(|takes_next| !takes_next()) {
            return;
        }
        let value = match &mut visit.leaving {
            Some(leaving) if !alive => leaving.value(*values),
            _ => Some(*values),
        };
        let Some(value) = value else { return };
        if let Some(columns) = visit.columns {
            columns.keys(values, isnull, &mut visit.keys);
        }
        let Visit { indexed, sketch, keys, is_sample, leaving, left_out, sink, .. } = visit;
        // Rows of other dimensions are in no index: while one is renewed, they are being inserted.
        let may_differ = *is_sample || leaving.is_some();
        let take = |dims: usize, value: Sketched<'_>| {
            if may_differ && dims != sketch.dims {
                return Ok(());
            }
            if !alive && dims != sketch.dims {
                *left_out = true;
                return Ok(());
            }
            let row = tid(&*row);
            check_dimensions(*indexed, sketch.dims, dims).map_err(|error| named(error, row))?;
            sink(row, value, keys)
        };
        match indexed.try_coordinates(sketch, value, &mut visit.buffer, take) {
            Ok(done) => done.or_raise(),
            // An array that is not indexed, such as one of other dimensions.
            Err(error) if (may_differ || !alive) && is_of_value(&error) => visit.left_out |= !may_differ,
            Err(error) => raise(named(error, tid(&*row))),
        }
    }
}

/// Whether an error is due to a value, which cannot be indexed.
pub(super) fn is_of_value(error: &Error) -> bool {
    matches!(error.kind, Kind::Data | Kind::NullNotAllowed)
}

/// Takes the address and the value of a row.
pub type ValueSink<'a> = dyn FnMut(Tid, Original<'_>) -> Result<()> + 'a;

/// The callback of heap scans that pass values, of which sketches are made, as the table has them.
#[pg_guard]
pub(super) unsafe extern "C-unwind" fn visit_original(
    _index: pg_sys::Relation,
    row: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    alive: bool,
    state: *mut c_void,
) {
    // SAFETY: the state is that of the calls below; the value is of the indexed type.
    unsafe {
        // The value of a deleted row may be gone.
        if *isnull || !alive {
            return;
        }
        allocator::check();
        let (indexed, sink) = &mut *state.cast::<(Indexed, &mut ValueSink<'_>)>();
        indexed.original(*values, |value| sink(tid(&*row), value)).or_raise();
    }
}

/// Adds where a row is that does not fit.
pub(super) fn named(error: Error, row: Tid) -> Error {
    error.with_detail(format!("The first such row is at ({},{}) of the table.", row.blkno, row.offset))
}
