//! What was searched for ahead of a scan (`join_batch.rs`), for the scan to find.
//!
//! A node registers here while its plan runs. A range search of the same index under the same snapshot takes
//! the rows that were found for its query, if they hold for its ceiling. Otherwise it searches by itself.

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::error::Result;
use crate::ivf::scan::Directories;
use crate::ivf::search::MayBeNear;
use crate::ivf::search::batch::ahead::Ahead;

/// A node that searches ahead.
struct Source {
    /// Its address.
    node: *const u8,
    index: pg_sys::Oid,
    snapshot: pg_sys::Snapshot,
    /// The ceiling of the last scan.
    asked: Option<f64>,
    found: Option<Searched>,
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

/// A node begins to search ahead.
pub fn register(node: *const u8, index: pg_sys::Oid, snapshot: pg_sys::Snapshot) {
    SOURCES.with_borrow_mut(|all| all.push(Source { node, index, snapshot, asked: None, found: None }));
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
        for source in all {
            if source.index != asked.index || source.snapshot != asked.snapshot {
                continue;
            }
            source.asked = Some(asked.ceiling);
            if let Some(Searched { ahead, ceiling, number }) = &source.found
                && asked.ceiling <= *ceiling
                && ahead.reads(asked.directories)
                && let Some((query, rows)) = ahead.found(*number)
                && is_same(query, asked.query)
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
