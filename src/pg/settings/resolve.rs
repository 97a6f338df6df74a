//! Decides what holds for one scan, from the session's settings, the index's options and pgvector's settings.

use super::guc::{DEFAULT_RECALL_TARGET, ITERATIVE_SCAN, IterativeScan, PROBES, RECALL_TARGET};
use super::pgvector;
use super::reloptions::IndexOptions;
use crate::ivf::search::{Order, Settings};

/// What the plan wants from a scan.
#[derive(Clone, Copy)]
pub struct ScanRequest {
    /// Rows of a page, if known: the rows after those that an OFFSET skips.
    pub limit: Option<u64>,
    /// Share of the rows that are expected to pass the filter.
    pub passing: f32,
    /// Rows with larger values are not wanted.
    pub ceiling: f64,
    /// Whether the consumer reads all rows.
    pub everything: bool,
    /// Whether no row may be missing whatever the settings say.
    pub exact: bool,
    /// Whether only the order within a page counts.
    pub paged: bool,
}

impl Default for ScanRequest {
    fn default() -> Self {
        Self {
            limit: None,
            passing: 1.0,
            ceiling: f64::INFINITY,
            everything: false,
            exact: false,
            paged: false,
        }
    }
}

/// The settings for a scan of an index with these options. A setting that the session has changed from its
/// default takes precedence over the index's option. `lists` is the number of lists of the index. If all rows
/// are wanted, a strict scan excludes no row by bounds, because a row found late could not be returned in
/// order.
pub fn settings(options: &IndexOptions, lists: u32, request: ScanRequest) -> Settings {
    let ScanRequest { limit, passing, ceiling, everything, exact, paged } = request;
    // SAFETY: reading a setting (kB), on the only thread.
    let memory = unsafe { pgrx::pg_sys::work_mem }.max(0) as usize * 1024;
    let probes = match PROBES.get() {
        0 => options.probes,
        n => n,
    };
    let session = RECALL_TARGET.get();
    let target = if session == DEFAULT_RECALL_TARGET && options.recall_target > 0.0 {
        options.recall_target
    } else {
        session
    };
    let asked = pgvector::effort(options.foreign, lists);
    let target = target.max(asked.recall_target);
    let order = match ITERATIVE_SCAN.get() {
        IterativeScan::StrictOrder => Order::Strict,
        IterativeScan::RelaxedOrder => Order::Relaxed,
        IterativeScan::Off => Order::Off,
    };
    if exact || everything && order == Order::Strict {
        let order = Order::Strict;
        return Settings {
            probes: 0,
            least_probes: 0,
            recall_target: 1.0,
            order,
            limit,
            ceiling,
            passing,
            memory,
            paged,
        };
    }
    // If the session sets a recall target, the index's option `probes` does not override it.
    let probes = if PROBES.get() == 0 && session != DEFAULT_RECALL_TARGET { 0 } else { probes.max(0) };
    let least_probes = asked.least_probes;
    Settings {
        probes: probes as u32,
        least_probes,
        recall_target: target as f32,
        order,
        limit,
        ceiling,
        passing,
        memory,
        paged,
    }
}
