//! What was searched for ahead of a scan (`join_batch.rs`), for the scan to find.
//!
//! A node registers here while its plan runs. A range search of the same index under the same snapshot takes
//! the rows that were found for its query, if they hold for its ceiling. Otherwise it searches by itself.
//!
//! A node that an error has ended may stay registered for a while, because its memory may live longer. Its
//! snapshot does not. So snapshots are compared by what they see, and entries are removed at the end of their
//! transaction or subtransaction.

use std::cell::RefCell;
use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::prelude::pg_guard;

use crate::error::Result;
use crate::ivf::scan::Directories;
use crate::ivf::search::MayBeNear;
use crate::ivf::search::batch::ahead::Ahead;
use crate::memory::Grow;

/// A node that searches ahead.
struct Source {
    /// Its address.
    node: *const u8,
    /// The depth of subtransactions at which it began.
    level: i32,
    index: pg_sys::Oid,
    snapshot: Seen,
    /// The ceiling of the last scan for an outer row.
    asked: Option<f64>,
    found: Option<Searched>,
    /// The query of the outer row at hand, if it was not searched for.
    row: Vec<f32>,
}

/// What two snapshots of a backend have in common if they see the same rows. Each transaction that ends, and
/// each command of this one, changes one of these numbers.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    address: pg_sys::Snapshot,
    bounds: (u32, u32),
    running: (u32, i32),
    command: pg_sys::CommandId,
    ended: u64,
}

impl Seen {
    /// # Safety
    /// A snapshot in use.
    unsafe fn of(address: pg_sys::Snapshot) -> Self {
        // SAFETY: as the caller says.
        let snapshot = unsafe { &*address };
        Self {
            address,
            bounds: (snapshot.xmin.into_inner(), snapshot.xmax.into_inner()),
            running: (snapshot.xcnt, snapshot.subxcnt),
            command: snapshot.curcid,
            ended: snapshot.snapXactCompletionCount,
        }
    }
}

/// What was searched for.
pub struct Searched {
    /// The queries and their rows.
    pub ahead: Ahead,
    /// Values up to this were searched for.
    pub ceiling: f64,
    /// The query of the outer row at hand.
    pub number: usize,
}

thread_local! {
    static SOURCES: RefCell<Vec<Source>> = const { RefCell::new(Vec::new()) };
}

/// Installs what removes entries of transactions that have ended; called once per process.
pub fn install() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction), std::ptr::null_mut());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction(event: pg_sys::XactEvent::Type, _context: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if [XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE].contains(&event) {
        SOURCES.with_borrow_mut(Vec::clear);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _number: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _context: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        // SAFETY: reads the state of the transaction: the depth of the one that ends.
        let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        SOURCES.with_borrow_mut(|all| all.retain(|source| source.level < level));
    }
}

/// A node begins to search ahead.
///
/// # Safety
/// A snapshot in use.
pub unsafe fn register(node: *const u8, index: pg_sys::Oid, snapshot: pg_sys::Snapshot) {
    // SAFETY: as the caller says; the other reads the state of the transaction.
    let (snapshot, level) = unsafe { (Seen::of(snapshot), pg_sys::GetCurrentTransactionNestLevel()) };
    let source = Source { node, level, index, snapshot, asked: None, found: None, row: Vec::new() };
    SOURCES.with_borrow_mut(|all| all.push(source));
}

/// Notes the query of an outer row that was not searched for; `None` if there is none.
///
/// # Errors
/// Out of memory.
pub fn note_row(node: *const u8, query: Option<&[f32]>) -> Result<()> {
    SOURCES.with_borrow_mut(|all| {
        let Some(source) = all.iter_mut().find(|source| source.node == node) else { return Ok(()) };
        source.row.clear();
        source.row.try_extend(query.unwrap_or_default())
    })
}

/// A node has ended.
pub fn unregister(node: *const u8) {
    SOURCES.with_borrow_mut(|all| all.retain(|source| source.node != node));
}

/// Calls `with` with the node's ceiling, as far as it is known, and what it has searched for.
pub fn change<R>(node: *const u8, with: impl FnOnce(Option<f64>, &mut Option<Searched>) -> R) -> Option<R> {
    SOURCES.with_borrow_mut(|all| {
        let source = all.iter_mut().find(|source| source.node == node)?;
        Some(with(source.asked, &mut source.found))
    })
}

/// A range search: what it asks for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The index.
    pub index: pg_sys::Oid,
    /// The scan's snapshot.
    pub snapshot: pg_sys::Snapshot,
    /// Its directories.
    pub directories: &'a Directories,
    /// The vector from which it measures.
    pub query: &'a [f32],
    /// The largest value.
    pub ceiling: f64,
}

/// Calls `start` with the rows that were found for a search, in the table's order. Returns false if there are
/// none.
///
/// # Errors
/// Those of `start`.
pub fn serve(asked: Asked<'_>, start: impl FnOnce(&[MayBeNear]) -> Result<()>) -> Result<bool> {
    SOURCES.with_borrow_mut(|all| {
        // SAFETY: the scan's snapshot, which is in use.
        let snapshot = unsafe { Seen::of(asked.snapshot) };
        for source in all.iter_mut().filter(|of| of.index == asked.index && of.snapshot == snapshot) {
            let found = source.found.as_ref();
            let at_hand = found.and_then(|Searched { ahead, number, .. }| ahead.found(*number));
            let query = at_hand.map_or(&*source.row, |(query, _)| query);
            // Another scan of the same index asks something else.
            if !is_same(query, asked.query) {
                continue;
            }
            source.asked = Some(asked.ceiling);
            if let (Some(found), Some((_, rows))) = (found, at_hand)
                && asked.ceiling <= found.ceiling
                && found.ahead.reads(asked.directories)
            {
                return start(rows).map(|()| true);
            }
        }
        Ok(false)
    })
}

/// Whether two vectors are equal bit for bit.
fn is_same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
