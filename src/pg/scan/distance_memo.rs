//! The distances that the scans at hand have measured, for who asks for them again.
//!
//! The executor evaluates the ORDER BY expression of every row that a scan returns, for the plan's target list has
//! it, if only to drop it. The operator would read a vector that is out of line a second time, which is a tenth of a
//! warm query. So the scan notes the distances of the rows that it has fetched, and the operator looks here first.
//!
//! A value is recognised by the pointer that its row has to it. While the scan lives, its snapshot keeps what it has
//! seen from being removed, and so the number of a value out of line from being given to another; the notes are gone
//! when the scan ends or begins anew.

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::pg::datum::dense::Vector;
use crate::pg::datum::short_header::Aligned;
use crate::pg::storage::toast::{Pointer, pointer};
use crate::value::Metric;

/// Distances kept of each scan, the last ones: while a limit is being filled, all rows are fetched before the first leaves.
const MOST: usize = 256;
/// Scans that keep notes at once, the last ones: those of a partitioned table give their rows in turn.
const MOST_SCANS: usize = 16;
/// The notes of one scan.
struct Known {
    /// Whose they are; null if nobody's.
    scan: *const u8,
    metric: Metric,
    /// The elements of the query.
    query: Vec<u8>,
    pointers: Vec<(Pointer, f64)>,
    /// The place of the next one.
    next: usize,
}

impl Known {
    /// Whether its values are in the table that a pointer leads to, which it ends with.
    fn has_table(&self, pointer: &Pointer) -> bool {
        const TABLE: usize = size_of::<Pointer>() - size_of::<pg_sys::Oid>();
        self.pointers.first().is_some_and(|(p, _)| p[TABLE..] == pointer[TABLE..])
    }
}

thread_local! {
    /// The scan that began last comes first.
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// Begins the notes of a scan, which is known by an address of its own, for a query.
pub fn begin(scan: *const u8, metric: Metric, query: &[f32]) {
    KNOWN.with_borrow_mut(|all| {
        let own = all.iter().position(|known| known.scan == scan);
        let place = own.or_else(|| all.iter().position(|known| known.scan.is_null()));
        if let Some(at) = place {
            all[..=at].rotate_right(1);
        } else {
            all.truncate(MOST_SCANS - 1);
            all.insert(0, Known { scan, metric, query: Vec::new(), pointers: Vec::new(), next: 0 });
        }
        let known = &mut all[0];
        (known.scan, known.metric, known.next) = (scan, metric, 0);
        known.query.clear();
        known.query.extend_from_slice(bytes(query));
        known.pointers.clear();
    });
}

/// Ends the notes of a scan, if they are still kept.
pub fn end(scan: *const u8) {
    KNOWN.with_borrow_mut(|all| {
        if let Some(known) = all.iter_mut().find(|known| known.scan == scan) {
            known.scan = std::ptr::null();
            known.pointers.clear();
        }
    });
}

/// Notes the distance of the vector that a row points to.
pub fn note(scan: *const u8, pointer: &Pointer, distance: f64) {
    KNOWN.with_borrow_mut(|all| {
        let Some(known) = all.iter_mut().find(|known| known.scan == scan) else { return };
        match known.pointers.get_mut(known.next) {
            Some(place) => *place = (*pointer, distance),
            None => known.pointers.push((*pointer, distance)),
        }
        known.next = (known.next + 1) % MOST;
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
    unsafe { pointer(row.value).and_then(|pointer| looked_up(&pointer, query.value, metric)) }
}

#[inline(never)]
unsafe fn looked_up(pointer: &Pointer, query: pg_sys::Datum, metric: Metric) -> Option<f64> {
    KNOWN.with_borrow(|all| {
        // SAFETY: the caller vouches for the query.
        let same =
            |known: &Known| unsafe { bytes(&Vector::from_raw_in(&mut Aligned::new(), query)) == known.query };
        let mut notes = all.iter().filter(|known| known.metric == metric && known.has_table(pointer));
        notes.find_map(|known| {
            let (_, distance) = known.pointers.iter().find(|(p, _)| p == pointer)?;
            same(known).then_some(*distance)
        })
    })
}

/// Floats as bytes, to be compared.
fn bytes(elements: &[f32]) -> &[u8] {
    // SAFETY: the elements are as many bytes.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}
