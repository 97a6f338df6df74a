//! Memo of the distances computed by running scans, keyed by TOAST pointer.
//!
//! The executor evaluates the ORDER BY expression for every row that a scan returns, because the plan's
//! target list contains it, even if the query drops it. The operator would read an out-of-line vector a
//! second time, which takes a tenth of a warm query. So the scan stores the distances of the rows that it has
//! fetched, and the operator looks here first.
//!
//! A value is recognised by the TOAST pointer in its row. While the scan is open, its snapshot prevents the
//! removal of rows that it has seen, so the number of such a value cannot be reused. The memo of a scan is
//! dropped when the scan ends or is restarted.

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::mru::Mru;
use crate::pg::datum::dense::Vector;
use crate::pg::datum::short_header::AlignedCopy;
use crate::pg::storage::toast::{ToastPointer, toast_pointer};
use crate::value::Metric;

/// Number of distances kept for each scan, the last ones. To fill a limit, a scan fetches all rows before it
/// returns the first.
const MOST: usize = 256;
/// Number of scans that have a memo at the same time, the last ones. The scans of a partitioned table return
/// their rows in turn.
const MOST_SCANS: usize = 16;
/// The memo of one scan.
struct Memo {
    /// The scan; null if the memo is unused.
    scan: *const u8,
    metric: Metric,
    /// The elements of the query.
    query: Vec<u8>,
    pointers: Vec<(ToastPointer, f64)>,
    /// Index at which the next distance is stored.
    next: usize,
}

impl Memo {
    /// Whether the memo's values are in the TOAST table of a pointer. A pointer ends with the table's OID.
    fn has_table(&self, pointer: &ToastPointer) -> bool {
        const TABLE: usize = size_of::<ToastPointer>() - size_of::<pg_sys::Oid>();
        self.pointers.first().is_some_and(|(p, _)| p[TABLE..] == pointer[TABLE..])
    }
}

thread_local! {
    /// Memos in the order in which their scans began.
    static MEMOS: RefCell<Mru<Memo>> = const { RefCell::new(Mru::new(MOST_SCANS)) };
}

/// Begins the memo of a scan for a query. `scan` is an address that identifies the scan.
pub fn begin(scan: *const u8, metric: Metric, query: &[f32]) {
    MEMOS.with_borrow_mut(|all| {
        // The memo of this scan, or one whose scan has ended.
        let old = if all.iter().any(|memo| memo.scan == scan) { scan } else { std::ptr::null() };
        let new = || Memo { scan, metric, query: Vec::new(), pointers: Vec::new(), next: 0 };
        let memo = all.find_or_insert(|memo| memo.scan == old, new);
        (memo.scan, memo.metric, memo.next) = (scan, metric, 0);
        memo.query.clear();
        memo.query.extend_from_slice(bytes(query));
        memo.pointers.clear();
    });
}

/// Drops the memo of a scan, if there is one.
pub fn end(scan: *const u8) {
    MEMOS.with_borrow_mut(|all| {
        if let Some(memo) = all.iter_mut().find(|memo| memo.scan == scan) {
            memo.scan = std::ptr::null();
            memo.pointers.clear();
        }
    });
}

/// Stores the distance of the vector to which a row's TOAST pointer refers.
pub fn note(scan: *const u8, pointer: &ToastPointer, distance: f64) {
    MEMOS.with_borrow_mut(|all| {
        let Some(memo) = all.iter_mut().find(|memo| memo.scan == scan) else { return };
        match memo.pointers.get_mut(memo.next) {
            Some(place) => *place = (*pointer, distance),
            None => memo.pointers.push((*pointer, distance)),
        }
        memo.next = (memo.next + 1) % MOST;
    });
}

/// The distance of two values of type `vector`, the arguments of an operator, if a scan has stored it.
///
/// # Safety
/// The arguments are of that type.
#[inline]
pub unsafe fn distance(arguments: &[pg_sys::NullableDatum], metric: Metric) -> Option<f64> {
    let [row, query] = arguments else { return None };
    // SAFETY: the caller vouches for the arguments.
    unsafe { toast_pointer(row.value).and_then(|pointer| looked_up(&pointer, query.value, metric)) }
}

#[inline(never)]
unsafe fn looked_up(pointer: &ToastPointer, query: pg_sys::Datum, metric: Metric) -> Option<f64> {
    MEMOS.with_borrow(|all| {
        // SAFETY: the caller vouches for the query.
        let same = |memo: &Memo| unsafe {
            bytes(&Vector::from_raw_in(&mut AlignedCopy::new(), query)) == memo.query
        };
        let mut notes = all.iter().filter(|memo| memo.metric == metric && memo.has_table(pointer));
        notes.find_map(|memo| {
            let (_, distance) = memo.pointers.iter().find(|(p, _)| p == pointer)?;
            same(memo).then_some(*distance)
        })
    })
}

/// Floats as bytes, to be compared.
fn bytes(elements: &[f32]) -> &[u8] {
    // SAFETY: the elements are as many bytes.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}
