//! A directory for an index that does not exist: the planner may be asked what a query would cost with it.

use super::build::model::wanted_lists;
use super::directory::Directory;
use crate::error::Result;
use crate::page::meta::{LEVELS, TARGETS};
use crate::page::{Columns, Meta};
use crate::value::Metric;

/// Lists for ten rows and each of [`TARGETS`] that a typical index needs: one over 116,659 embeddings of
/// texts in 768 dimensions.
const MEASURED: [f32; TARGETS.len()] =
    [7.0, 9.0, 15.0, 19.0, 25.0, 30.0, 36.0, 42.0, 55.0, 66.0, 84.0, 110.0];
/// The number of its lists.
const OF_LISTS: f32 = 469.0;
/// How the number of lists grows with the nearest rows that are wanted, from one of [`LEVELS`] to the next.
const GROWTH: f32 = 1.8;

/// The directory that a build over so many rows would make. It has no lists to route to, only their number
/// and how many of them a scan reads.
///
/// # Errors
/// Dimensions or columns that an index cannot have.
pub fn directory(bits: bool, dims: u32, columns: Columns, rows: f64) -> Result<Directory> {
    const BITS: u8 = 4;
    let metric = if bits { Metric::Hamming } else { Metric::L2 };
    let lists = wanted_lists(0, rows.max(0.0) as u64) as u32;
    let share = (lists as f32 / OF_LISTS).sqrt();
    let mut factor = share;
    let mut meta = Meta::unbuilt(metric, if bits { 1 } else { BITS }, dims, 0, columns);
    meta.lists = lists;
    meta.built_rows = rows.max(0.0) as u64;
    for level in 0..LEVELS.len() {
        meta.efforts[level] = MEASURED.map(|lists| (lists * factor).clamp(1.0, meta.lists as f32));
        factor *= GROWTH;
    }
    meta.probes = meta.efforts[0].map(|lists| lists.ceil() as u32);
    Directory::new(meta, (Vec::new(), None), std::iter::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivf::cost::estimate;
    use crate::ivf::search::Probes;

    #[test]
    fn a_scan_of_an_index_that_does_not_exist_has_an_estimate() {
        let mut before = 0.0;
        for rows in [0.0, 1e3, 1e5, 1e6, 1e8] {
            for (bits, dims) in [(false, 768), (true, 64)] {
                let directory = directory(bits, dims, Columns::new(&[8]).unwrap(), rows).unwrap();
                let effort = |target| (Probes::ForRecall { least: 0 }, target);
                let some = estimate(&directory, rows, effort(0.95), 10.0, (1.0, None));
                let more = estimate(&directory, rows, effort(0.99), 10.0, (1.0, None));
                let filtered = estimate(&directory, rows, effort(0.95), 10.0, (0.1, None));
                let all = estimate(&directory, rows, effort(1.0), rows, (1.0, None));
                assert!(some.lists >= 1.0 && some.lists <= more.lists && some.lists <= filtered.lists);
                assert!(more.lists <= all.lists && all.lists == f64::from(directory.lists()));
                assert!(rows < 1e5 || some.lists < all.lists / 4.0, "{rows}: {some:?} of {all:?}");
                if !bits {
                    assert!(some.codes >= before, "{rows}");
                    before = some.codes;
                }
            }
        }
    }
}
