//! The result of `ivf_index_info`.

use serde::Serialize;

use super::directory::{Directory, read_root};
use super::list_chain;
use super::renew::{Reason, is_due};
use crate::error::Result;
use crate::memory;
use crate::page::meta::TARGETS;
use crate::page::{Meta, PAGE_SIZE, Store};
use crate::value::Metric;

/// The state of an index.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// On-disk format.
    pub version: u16,
    /// The metric, as in `inner_product`.
    pub metric: &'static str,
    /// Dimensions of the vectors.
    pub dimensions: usize,
    /// Coordinates of a row's sketch, in an index that has sketches of the values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketches>,
    /// Bits per dimension in total.
    pub bits: u8,
    /// Dimensions that the first stage of a scan compares.
    pub code_dimensions: u32,
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
    /// Lists that have more than twice the rows of the average list.
    pub large_lists: u32,
    /// Lists that have less than half the rows of the average list.
    pub small_lists: u32,
    /// What maintenance would do, and has done.
    pub maintenance: Maintenance,
    /// Lists probed for each recall target, as calibrated; empty when every list is probed.
    pub calibration: Vec<Calibrated>,
}

/// The sketches of an index.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sketches {
    /// Coordinates.
    pub coordinates: usize,
    /// Standard deviation by which distances of near rows differ from those of their sketches: relative, or
    /// for a query of length one by inner product. `null` if it was not measured.
    pub error: Option<f64>,
    /// Elements of a sparse vector that a record has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<u32>,
}

/// The state of the replacement of lists (`ivf/renew`).
#[derive(Clone, Debug, Serialize)]
pub struct Maintenance {
    /// Why the lists are to be replaced, by the rows that the last vacuum counted; `null` if they are not.
    pub due: Option<Reason>,
    /// Whether they are being replaced, or that was interrupted.
    pub running: bool,
    /// Rows that were inserted into the new lists since it began.
    pub rows_in_new_lists: u64,
    /// When lists were last replaced, in seconds since 1970; `null` if these are the lists of the build.
    pub last: Option<u64>,
    /// Pages that were free when a vacuum last looked.
    pub free_pages: u32,
    /// Whether pages of earlier lists wait until nobody reads them.
    pub pages_waiting: bool,
}

/// One line of the calibration table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calibrated {
    /// The recall asked for.
    pub recall_target: f64,
    /// Average number of lists to read for this target, for ten rows.
    pub probes: u32,
}

/// Reads the whole index and describes it. `wanted_lists` is their number if users have named it, else 0.
///
/// # Errors
/// Damage, and the store's and `tick`'s errors.
pub fn info<S: Store>(store: &S, wanted_lists: u32, tick: &dyn Fn() -> Result<()>) -> Result<Info> {
    let root = read_root(store)?;
    let due = is_due(store, &root, wanted_lists)?;
    let (directory, next) = Directory::load_all(store)?;
    let meta = &directory.meta;
    let mut dead = 0;
    let rows = rows_of_lists(store, &directory, &mut dead, tick)?;
    let new = match &next {
        Some(next) => rows_of_lists(store, next, &mut dead, tick)?.iter().sum(),
        None => 0,
    };
    let old: u64 = rows.iter().sum();
    let (smallest, largest) =
        (rows.iter().copied().min().unwrap_or(0), rows.iter().copied().max().unwrap_or(0));
    let times = |rows: u64| rows as f64 * f64::from(meta.lists) / old as f64;
    let live = old + new;
    let pages = store.nblocks()?;
    let size = u64::from(pages) * PAGE_SIZE as u64;
    Ok(Info {
        version: root.version(),
        metric: match meta.metric {
            Metric::L2 => "l2",
            Metric::Cosine => "cosine",
            Metric::InnerProduct if directory.sketch().is_of_tokens() => "maxsim",
            Metric::InnerProduct => "inner_product",
            Metric::Hamming => "hamming",
            Metric::Jaccard => "jaccard",
            Metric::L1 => "l1",
        },
        dimensions: directory.sketch().dims,
        sketch: directory.sketch().is_lossy().then(|| Sketches {
            coordinates: directory.dims(),
            error: (meta.deviation.mean > 0.0)
                .then(|| (f64::from(meta.deviation.spread) * 1e4).round() / 1e4),
            elements: Some(meta.sketch.elements).filter(|elements| *elements > 0),
        }),
        bits: meta.bits,
        code_dimensions: match meta.leading.dims {
            0 => meta.dims,
            dims => dims,
        },
        filter_columns: meta.columns.widths().len(),
        lists: meta.lists,
        live_rows: live,
        dead_rows: dead,
        built_rows: meta.built_rows,
        size_bytes: size,
        pages,
        bytes_per_row: if live > 0 { size as f64 / live as f64 } else { 0.0 },
        directory_bytes: directory.memory() as u64,
        large_lists: rows.iter().filter(|rows| times(**rows) > 2.0).count() as u32,
        small_lists: rows.iter().filter(|rows| times(**rows) < 0.5).count() as u32,
        maintenance: Maintenance {
            due,
            running: root.next.is_some(),
            rows_in_new_lists: new,
            last: Some(root.replaced).filter(|&at| at > 0),
            free_pages: root.free,
            pages_waiting: root.retired > 0,
        },
        smallest_list: smallest,
        largest_list: largest,
        imbalance: if old > 0 { times(largest) } else { 1.0 },
        calibration: calibration(meta),
    })
}

/// The rows of each list. Adds the freed slots to `dead`.
fn rows_of_lists<S: Store>(
    store: &S,
    directory: &Directory,
    dead: &mut u64,
    tick: &dyn Fn() -> Result<()>,
) -> Result<Vec<u64>> {
    let mut lists = memory::with_capacity(directory.lists() as usize)?;
    for list in 0..directory.lists() {
        let mut rows = 0;
        list_chain::codes_pages(store, directory, list, |_, page| {
            for block in directory.codes.blocks_on(page) {
                rows += u64::from(block.live().count_ones());
                *dead += u64::from((block.owned() & !block.live()).count_ones());
            }
            tick()
        })?;
        lists.push(rows);
    }
    Ok(lists)
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
