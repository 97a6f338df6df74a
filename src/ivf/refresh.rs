//! VACUUM's own calibration: an index whose rows have moved between its lists, or have become many more or fewer, needs
//! another number of lists for the same recall.

use super::build::Progress;
use super::calibrate::{LEAST_QUERIES, QUERIES, Queries, calibrate};
use super::directory::Directory;
use super::sample;
use crate::error::Result;
use crate::memory;
use crate::page::lists::{self, KEPT, ListState};
use crate::page::meta::META_BLOCK;
use crate::page::{Meta, PageKind, Store};

/// Share of the rows that changed since, beyond which an index is calibrated anew.
const CHANGED: f64 = 0.2;

/// Calibrates an index that has changed enough since it was calibrated last. Its rows are the queries, made again from
/// their codes: the table is not read. Not where codes have one bit for each dimension, which say too little; nor where
/// users have calibrated with queries of their own, or where it is not `wanted`. To be called when a vacuum has counted the
/// rows. Whether it did.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn refresh<S: Store>(store: &S, wanted: bool, seed: u64, progress: &dyn Progress) -> Result<bool> {
    let directory = Directory::load(store)?;
    let codec = &directory.codec;
    if directory.lists() == 1 || (codec.bits() == 1 && !codec.is_exact()) {
        return Ok(false);
    }
    let states = sample::counted(store, &directory)?;
    if states.iter().any(|s| s.calibrated == 0) {
        // An older version has built it: from here on it is known.
        store_calibration(store, &directory, &directory.meta, false)?;
        return Ok(false);
    }
    if !wanted || !has_changed(&states) {
        return Ok(false);
    }
    let rows = memory::collected(states.iter().map(|s| s.rows))?;
    let points = sample::points(store, &directory, &rows, (*QUERIES.end(), seed), &|| progress.tick())?;
    if points.len() / directory.padded() < LEAST_QUERIES {
        return Ok(false);
    }
    let meta = calibrate(store, directory.meta.clone(), &points, Queries::Rows, progress)?;
    store_calibration(store, &directory, &meta, false)?;
    Ok(true)
}

/// Whether the lists have changed by more than [`CHANGED`] of what they held. Rows that came where others went leave
/// the lists as they were, and what was measured of them.
fn has_changed(states: &[ListState]) -> bool {
    if states.iter().any(|s| s.calibrated == KEPT) {
        return false;
    }
    let before: u64 = states.iter().map(|s| u64::from(s.calibrated - 1)).sum();
    let changed: u64 = states.iter().map(|s| u64::from((s.calibrated - 1).abs_diff(s.rows))).sum();
    changed as f64 > CHANGED * before as f64
}

/// Writes what a calibration has found, and what it was made for; `keep` if no other is to take its place by itself.
///
/// # Errors
/// Damage, and the store's errors.
pub fn store_calibration<S: Store>(store: &S, directory: &Directory, meta: &Meta, keep: bool) -> Result<()> {
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        meta.write(change.page_mut(handle));
        Ok(())
    })?;
    let lists = directory.lists();
    for first in (0..lists).step_by(lists::LISTS_PER_PAGE as usize) {
        let (block, _) = directory.state_position(first);
        store.change(|change| {
            let handle = change.open(block)?;
            change.page(handle).expect_kind(block, PageKind::Lists)?;
            for index in 0..(lists - first).min(lists::LISTS_PER_PAGE) as usize {
                let mut state = lists::read(change.page(handle), index);
                state.calibrated = if keep { KEPT } else { state.rows.saturating_add(1).min(KEPT - 1) };
                lists::write(change.page_mut(handle), index, &state);
            }
            Ok(())
        })?;
    }
    Ok(())
}
