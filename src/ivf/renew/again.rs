//! Whether new lists are due again, because rows have come while lists were replaced.

use super::due::{GROWTH, Loose, Reason, is_due, rows};
use crate::error::Result;
use crate::ivf::build::model::wanted_lists;
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::Progress;
use crate::ivf::vacuum::count;
use crate::page::Store;

/// Counts the rows after a replacement, and says why another one is due. The lists were made for the rows
/// that there were when it began, `made_for`; and `PostgreSQL` forgets the rows that come while a vacuum runs
/// (`ins_since_vacuum` in `pgstat_report_vacuum`), so that autovacuum would not come again for them.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn is_due_again<S: Store>(
    store: &S,
    lists: u32,
    made_for: u64,
    progress: &dyn Progress,
) -> Result<Option<Reason>> {
    count(store, &|| progress.tick())?;
    let directory = Directory::load(store)?;
    let rows = rows(store, &directory)?;
    match is_due(store, &read_root(store)?, lists)? {
        Some(reason @ (Reason::Grown | Reason::Uneven)) => return Ok(Some(reason)),
        Some(Reason::Sparse) | None => {}
        Some(_) => return Ok(None),
    }
    // Rows that came between the training and the copying were copied too.
    let grown = rows as f64 > GROWTH * made_for as f64;
    if grown && wanted_lists(lists, rows) > directory.lists().into() {
        return Ok(Some(Reason::Grown));
    }
    Ok(is_loose_at_rest(store, progress)?.then_some(Reason::Sparse))
}

/// Whether lists are to be moved to free pages because no rows come now: while they are counted once more.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn is_loose_at_rest<S: Store>(store: &S, progress: &dyn Progress) -> Result<bool> {
    let (root, directory) = (read_root(store)?, Directory::load(store)?);
    if root.next.is_some() || !Loose::of(store, &root, &directory)?.may_move(&root) {
        return Ok(false);
    }
    let before = rows(store, &directory)?;
    count(store, &|| progress.tick())?;
    Ok(rows(store, &directory)? == before)
}
