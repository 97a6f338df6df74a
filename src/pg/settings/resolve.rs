//! Decides what holds for one scan, from the session's settings, the index's options and pgvector's settings.

use super::guc::{DEFAULT_RECALL_TARGET, ITERATIVE_SCAN, IterativeScan, PROBES, RECALL_TARGET};
use super::pgvector;
use super::reloptions::IndexOptions;
use crate::ivf::search::{Order, Probes, Settings};

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
    /// Whether all rows up to the ceiling are wanted in any order; `exact` goes with it.
    pub any_order: bool,
    /// Whether only the order within a page counts.
    pub paged: bool,
    /// Whether a node above relies on the order (incremental sort, WITH TIES), whatever the settings say.
    pub ordered: bool,
}

impl Default for ScanRequest {
    fn default() -> Self {
        Self {
            limit: None,
            passing: 1.0,
            ceiling: f64::INFINITY,
            everything: false,
            exact: false,
            any_order: false,
            paged: false,
            ordered: false,
        }
    }
}

/// The settings for a scan of an index with these options. A setting that the session has changed from its
/// default takes precedence over the index's option. `lists` is the number of lists of the index. If all rows
/// are wanted, a strict scan excludes no row by bounds, because a row found late could not be returned in
/// order.
pub fn settings(options: &IndexOptions, lists: u32, request: ScanRequest) -> Settings {
    let ScanRequest { limit, passing, ceiling, everything, exact, any_order, paged, ordered } = request;
    // SAFETY: reading a setting (kB), on the only thread.
    let memory = unsafe { pgrx::pg_sys::work_mem }.max(0) as usize * 1024;
    let session_probes = u32::try_from(PROBES.get()).ok().filter(|probes| *probes > 0);
    let session_target = Some(RECALL_TARGET.get()).filter(|target| *target != DEFAULT_RECALL_TARGET);
    let asked = pgvector::effort(options.foreign, lists);
    let target = session_target.or(options.recall_target).unwrap_or(DEFAULT_RECALL_TARGET);
    // A target that the session sets has priority over the index's number of probes.
    let option = options.probes.filter(|_| session_target.is_none());
    let follow_target = Probes::ForRecall { least: asked.least_probes };
    let order = match ITERATIVE_SCAN.get() {
        IterativeScan::StrictOrder => Order::Strict,
        IterativeScan::RelaxedOrder if !ordered => Order::Relaxed,
        IterativeScan::RelaxedOrder => Order::Strict,
        IterativeScan::Off => Order::Off,
    };
    let settings = Settings {
        probes: session_probes.or(option).map_or(follow_target, Probes::Lists),
        recall_target: target.max(asked.recall_target) as f32,
        order,
        limit,
        ceiling,
        passing,
        memory,
        in_order: !any_order,
        paged,
    };
    if exact || everything && order == Order::Strict {
        let probes = Probes::ForRecall { least: 0 };
        return Settings { probes, recall_target: 1.0, order: Order::Strict, ..settings };
    }
    settings
}
