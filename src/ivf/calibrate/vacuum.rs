//! VACUUM's own calibration: an index whose rows have moved between its lists, or have become many more or
//! fewer, needs another number of lists for the same recall.

use super::reconstruct;
use super::{LEAST_QUERIES, QUERIES, Queries, calibrate, store_calibration};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory;
use crate::page::Store;
use crate::page::lists::{KEPT, ListState};

/// Share of the rows that changed since, beyond which an index is calibrated anew: as PostgreSQL's autovacuum
/// comes by default when so many are dead (`autovacuum_vacuum_scale_factor`).
const CHANGED: f64 = 0.2;

/// Calibrates an index that has changed enough since it was calibrated last. Its rows are the queries, made
/// again from their codes: the table is not read. Not where codes have one bit for each dimension, which say
/// too little; nor where users have calibrated with queries of their own, or where it is not `wanted`. To be
/// called when a vacuum has counted the rows. Whether it did.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn refresh<S: Store>(store: &S, wanted: bool, seed: u64, progress: &dyn Progress) -> Result<bool> {
    let directory = Directory::load(store)?;
    let codec = &directory.codec;
    if directory.lists() == 1 || (codec.bits() == 1 && !codec.is_exact()) {
        return Ok(false);
    }
    let states = reconstruct::counted(store, &directory)?;
    if states.iter().any(|s| s.calibrated == 0) {
        // An older version has built it: from here on it is known.
        store_calibration(store, &directory, &directory.meta, false)?;
        return Ok(false);
    }
    if !wanted || !has_changed(&states) {
        return Ok(false);
    }
    let rows = memory::collected(states.iter().map(|s| s.rows))?;
    let points = reconstruct::points(store, &directory, &rows, (*QUERIES.end(), seed), &|| progress.tick())?;
    if points.len() / directory.padded() < LEAST_QUERIES {
        return Ok(false);
    }
    let meta = calibrate(store, directory.meta.clone(), &points, Queries::Rows, progress)?;
    store_calibration(store, &directory, &meta, false)?;
    Ok(true)
}

/// Whether the lists have changed by more than [`CHANGED`] of what they held. Rows that came where others
/// went leave the lists as they were, and what was measured of them.
fn has_changed(states: &[ListState]) -> bool {
    if states.iter().any(|s| s.calibrated == KEPT) {
        return false;
    }
    let before: u64 = states.iter().map(|s| u64::from(s.calibrated - 1)).sum();
    let changed: u64 = states.iter().map(|s| u64::from((s.calibrated - 1).abs_diff(s.rows))).sum();
    changed as f64 > CHANGED * before as f64
}
