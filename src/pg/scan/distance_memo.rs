//! The distances that the scans at hand have measured, for who asks for them again.
//!
//! The executor evaluates the ORDER BY expression of every row that a scan returns, for the plan's target
//! list has it, if only to drop it. The operator would read a vector that is out of line a second time, which
//! is a tenth of a warm query. So the scan notes the distances of the rows that it has fetched, and the
//! operator looks here first.
//!
//! A value is recognised by the pointer that its row has to it. While the scan lives, its snapshot keeps what
//! it has seen from being removed, and so the number of a value out of line from being given to another; the
//! notes are gone when the scan ends or begins anew.

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::mru::Mru;
use crate::pg::datum::dense::Vector;
use crate::pg::datum::short_header::AlignedCopy;
use crate::pg::storage::toast::{ToastPointer, toast_pointer};
use crate::value::Metric;

/// Distances kept of each scan, the last ones: while a limit is being filled, all rows are fetched before the
/// first leaves.
const MOST: usize = 256;
/// Scans that keep notes at once, the last ones: those of a partitioned table give their rows in turn.
const MOST_SCANS: usize = 16;
/// The notes of one scan.
struct Memo {
    /// Whose they are; null if nobody's.
    scan: *const u8,
    metric: Metric,
    /// The elements of the query.
    query: Vec<u8>,
    pointers: Vec<(ToastPointer, f64)>,
    /// The place of the next one.
    next: usize,
}

impl Memo {
    /// Whether its values are in the table that a pointer leads to, which it ends with.
    fn has_table(&self, pointer: &ToastPointer) -> bool {
        const TABLE: usize = size_of::<ToastPointer>() - size_of::<pg_sys::Oid>();
        self.pointers.first().is_some_and(|(p, _)| p[TABLE..] == pointer[TABLE..])
    }
}

thread_local! {
    /// In the order in which their scans began.
    static MEMOS: RefCell<Mru<Memo>> = const { RefCell::new(Mru::new(MOST_SCANS)) };
}

/// Begins the notes of a scan, which is known by an address of its own, for a query.
pub fn begin(scan: *const u8, metric: Metric, query: &[f32]) {
    MEMOS.with_borrow_mut(|all| {
        // The scan's own, or one whose scan has ended.
        let old = if all.iter().any(|memo| memo.scan == scan) { scan } else { std::ptr::null() };
        let new = || Memo { scan, metric, query: Vec::new(), pointers: Vec::new(), next: 0 };
        let memo = all.find_or_insert(|memo| memo.scan == old, new);
        (memo.scan, memo.metric, memo.next) = (scan, metric, 0);
        memo.query.clear();
        memo.query.extend_from_slice(bytes(query));
        memo.pointers.clear();
    });
}

/// Ends the notes of a scan, if they are still kept.
pub fn end(scan: *const u8) {
    MEMOS.with_borrow_mut(|all| {
        if let Some(memo) = all.iter_mut().find(|memo| memo.scan == scan) {
            memo.scan = std::ptr::null();
            memo.pointers.clear();
        }
    });
}

/// Notes the distance of the vector that a row points to.
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

/// The distance of two values of type `vector`, the arguments of an operator, if a scan has noted it.
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
