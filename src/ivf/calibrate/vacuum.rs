//! VACUUM's own calibration. If rows of an index have moved between its lists, or if it has many more or
//! fewer rows than before, the same recall needs another number of lists.

use super::reconstruct;
use super::{LEAST_QUERIES, QUERIES, Queries, calibrate, store_calibration};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory;
use crate::page::Store;
use crate::page::lists::{KEPT, ListState};

/// An index is calibrated again if more than this share of its rows has changed since its last calibration.
/// Autovacuum runs by default when the same share of the rows is dead (`autovacuum_vacuum_scale_factor`).
const CHANGED: f64 = 0.2;

/// Calibrates an index if it has changed enough since its last calibration; returns whether it did. Call it
/// after a vacuum has counted the rows. The queries are rows, reconstructed from their codes, so the table is
/// not read. It does not calibrate if it is not `wanted`, if codes have one bit per dimension (too coarse to
/// reconstruct rows), if the index is over arrays of vectors (as queries they have other coordinates), or if
/// users have calibrated with their own queries.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn refresh<S: Store>(store: &S, wanted: bool, seed: u64, progress: &dyn Progress) -> Result<bool> {
    let directory = Directory::load(store)?;
    let codec = &directory.codec;
    let is_coarse = codec.bits() == 1 && !codec.is_exact();
    if directory.lists() == 1 || is_coarse || directory.sketch().is_of_tokens() {
        return Ok(false);
    }
    let states = reconstruct::counted(store, &directory)?;
    if states.iter().any(|s| s.calibrated == 0) {
        // An older version has built the index and has not stored the numbers. From now on they are stored.
        store_calibration(store, &directory, &directory.meta, false)?;
        return Ok(false);
    }
    if !wanted || !has_changed(&states) {
        return Ok(false);
    }
    let rows = memory::collected(states.iter().map(|s| s.rows))?;
    let asking = reconstruct::rows(store, &directory, &rows, (*QUERIES.end(), seed), &|| progress.tick())?;
    if asking.points.len() / directory.padded() < LEAST_QUERIES {
        return Ok(false);
    }
    let meta = calibrate(store, directory.meta.clone(), &asking, Queries::Rows, progress)?;
    store_calibration(store, &directory, &meta, false)?;
    Ok(true)
}

/// Whether the numbers of rows of the lists have changed by more than the share [`CHANGED`]. A list in which
/// as many rows were inserted as deleted has not changed, and its calibration is still right.
fn has_changed(states: &[ListState]) -> bool {
    if states.iter().any(|s| s.calibrated == KEPT) {
        return false;
    }
    let before: u64 = states.iter().map(|s| u64::from(s.calibrated - 1)).sum();
    let changed: u64 = states.iter().map(|s| u64::from((s.calibrated - 1).abs_diff(s.rows))).sum();
    changed as f64 > CHANGED * before as f64
}
