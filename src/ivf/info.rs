//! The result of `ivf_index_info`.

use serde::Serialize;

use super::directory::Directory;
use super::list_chain;
use crate::error::Result;
use crate::page::meta::TARGETS;
use crate::page::{Meta, PAGE_SIZE, Store};
use crate::value::Metric;

/// The state of an index.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// On-disk format.
    pub version: u16,
    /// `l2`, `cosine` or `inner_product`.
    pub metric: &'static str,
    /// Dimensions of the vectors.
    pub dimensions: u32,
    /// Bits per dimension in total.
    pub bits: u8,
    /// Number of filter columns.
    pub filter_columns: usize,
    /// Number of lists.
    pub lists: u32,
    /// Rows in the index.
    pub live_rows: u64,
    /// Freed slots that wait for reuse.
    pub dead_rows: u64,
    /// Rows when it was built.
    pub built_rows: u64,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Pages.
    pub pages: u32,
    /// Bytes per live row.
    pub bytes_per_row: f64,
    /// Bytes a backend keeps for routing.
    pub directory_bytes: u64,
    /// Rows in the smallest list.
    pub smallest_list: u64,
    /// Rows in the largest list.
    pub largest_list: u64,
    /// Rows in the largest list divided by rows in the average list.
    pub imbalance: f64,
    /// Lists probed for each recall target, as calibrated; empty when every list is probed.
    pub calibration: Vec<Calibrated>,
}

/// One line of the calibration table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calibrated {
    /// The recall asked for.
    pub recall_target: f64,
    /// Average number of lists to read for this target, for ten rows.
    pub probes: u32,
}

/// Reads the whole index and describes it.
///
/// # Errors
/// Damage, and the store's and `tick`'s errors.
pub fn info<S: Store>(store: &S, tick: &dyn Fn() -> Result<()>) -> Result<Info> {
    let directory = Directory::load(store)?;
    let meta = &directory.meta;
    let (mut live, mut dead) = (0u64, 0u64);
    let (mut smallest, mut largest) = (u64::MAX, 0);
    for list in 0..directory.lists() {
        let mut rows = 0;
        list_chain::codes_pages(store, &directory, list, |_, page| {
            for block in directory.codes.blocks_on(page) {
                rows += u64::from(block.live().count_ones());
                dead += u64::from((block.owned() & !block.live()).count_ones());
            }
            tick()
        })?;
        live += rows;
        smallest = smallest.min(rows);
        largest = largest.max(rows);
    }
    let pages = store.nblocks()?;
    let size = u64::from(pages) * PAGE_SIZE as u64;
    Ok(Info {
        version: meta.version(),
        metric: match meta.metric {
            Metric::L2 => "l2",
            Metric::Cosine => "cosine",
            Metric::InnerProduct => "inner_product",
            Metric::Hamming => "hamming",
        },
        dimensions: meta.dims,
        bits: meta.bits,
        filter_columns: meta.columns.widths().len(),
        lists: meta.lists,
        live_rows: live,
        dead_rows: dead,
        built_rows: meta.built_rows,
        size_bytes: size,
        pages,
        bytes_per_row: if live > 0 { size as f64 / live as f64 } else { 0.0 },
        directory_bytes: directory.memory() as u64,
        smallest_list: smallest,
        largest_list: largest,
        imbalance: if live > 0 { largest as f64 * f64::from(meta.lists) / live as f64 } else { 1.0 },
        calibration: calibration(meta),
    })
}

/// The calibration table as users see it; empty when every list is probed.
pub fn calibration(meta: &Meta) -> Vec<Calibrated> {
    if meta.probes.iter().all(|&p| p == 0) {
        return Vec::new();
    }
    TARGETS
        .iter()
        .zip(meta.probes)
        .map(|(&target, probes)| Calibrated {
            recall_target: f64::from((target * 1e3).round()) / 1e3,
            probes,
        })
        .collect()
}
