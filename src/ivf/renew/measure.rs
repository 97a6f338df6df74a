//! The calibration of lists that replace others.

use crate::error::Result;
use crate::ivf::build::{Source, model::spread};
use crate::ivf::calibrate::{self, Asking, QUERIES, Queries, reconstruct};
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory;
use crate::page::lists::KEPT;
use crate::page::meta::{MEASURED, TARGETS};
use crate::page::{Meta, Store};

/// Queries are spread over so many times as many rows of the sample, which adjacent rows of a page would not
/// stand for.
const SPREAD: usize = 8;

/// Rows of the table as queries, for a directory.
///
/// # Errors
/// The source's errors, and out of memory.
pub fn rows(directory: &Directory, source: &mut dyn Source) -> Result<Asking> {
    let (mut asking, mut unit) = (Asking::default(), Vec::new());
    let count = *QUERIES.end();
    let sampled = source.rows_hint().clamp(count as u64, (SPREAD * count) as u64) as usize;
    let positions = memory::collected(spread(sampled, count))?;
    source.sample_queries(&positions, &mut |row| asking.push(directory, row, &mut unit))?;
    Ok(asking)
}

/// Measures how many of the new lists a recall target needs, by queries in their coordinates.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn calibrate<S: Store>(
    store: &S,
    mut meta: Meta,
    asking: &Asking,
    progress: &dyn Progress,
) -> Result<Meta> {
    meta.set_measured(Default::default());
    calibrate::calibrate(store, meta, asking, Queries::Rows, progress)
}

/// What users have told an index by queries of their own (`ivf_recalibrate`), which lists that replace its
/// lists must not forget: how many times as many lists these queries need as rows do.
pub struct Asked([[f32; TARGETS.len()]; MEASURED.len()]);

impl Asked {
    /// What the users of an index have told it, if they have.
    ///
    /// # Errors
    /// Damage, the errors of the store and the source, and [`Progress::tick`]'s.
    pub fn of<S: Store>(
        store: &S,
        directory: &Directory,
        source: &mut dyn Source,
        progress: &dyn Progress,
    ) -> Result<Option<Self>> {
        if !reconstruct::counted(store, directory)?.iter().any(|state| state.calibrated == KEPT) {
            return Ok(None);
        }
        let asked = directory.meta.tables();
        let asking = rows(directory, source)?;
        let rows = calibrate(store, directory.meta.clone(), &asking, progress)?.tables();
        let times = |asked: f32, rows: f32| if asked > 0.0 && rows > 0.0 { asked / rows } else { 1.0 };
        Ok(Some(Self(std::array::from_fn(|level| {
            std::array::from_fn(|target| times(asked[level][target], rows[level][target]))
        }))))
    }

    /// Changes a calibration by rows into one for such queries.
    pub fn apply(&self, meta: &mut Meta) {
        let (mut tables, all) = (meta.tables(), meta.lists as f32);
        for (lists, times) in tables.as_flattened_mut().iter_mut().zip(self.0.as_flattened()) {
            *lists = (*lists * times).min(all);
        }
        meta.set_measured(tables);
    }
}
