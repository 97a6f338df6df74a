//! Settings: `ivf.probes`, `ivf.recall_target`, `ivf.iterative_scan`.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use super::foreign;
use super::options::IndexOptions;
use crate::ivf::search::{Order, Settings};

/// Upper bound of `ivf.probes` and of the option `lists`.
pub const MAX_LISTS: i32 = 65_536;

static PROBES: GucSetting<i32> = GucSetting::<i32>::new(0);
static RECALL_TARGET: GucSetting<f64> = GucSetting::<f64>::new(DEFAULT_RECALL_TARGET);
static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::StrictOrder);

const DEFAULT_RECALL_TARGET: f64 = 0.95;

/// Values of `ivf.iterative_scan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum IterativeScan {
    #[name = c"strict_order"]
    StrictOrder,
    #[name = c"relaxed_order"]
    RelaxedOrder,
    #[name = c"off"]
    Off,
}

/// Defines the settings; called once per process.
pub fn define() {
    GucRegistry::define_int_guc(
        c"ivf.probes",
        c"Number of lists an ivf index scan reads at first.",
        c"0 chooses the number that ivf.recall_target needs.",
        &PROBES,
        0,
        MAX_LISTS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"ivf.recall_target",
        c"Share of the true nearest rows that an ivf index scan should find.",
        c"1 searches everything and returns exactly what a sequential scan returns.",
        &RECALL_TARGET,
        0.5,
        1.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"ivf.iterative_scan",
        c"How an ivf index scan goes on when its first lists do not yield enough rows.",
        c"strict_order keeps the exact order, relaxed_order returns rows found late too, off stops.",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: a constant string; called during library load, as guc.h asks.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"ivf".as_ptr()) };
}

/// What is wanted of a scan.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Rows of a page, if known: those that are taken after what an OFFSET skips.
    pub limit: Option<u64>,
    /// Share of the rows that are expected to pass the filter.
    pub passing: f32,
    /// Values above this are not wanted.
    pub ceiling: f64,
    /// Whether the consumer will not stop before the last row.
    pub everything: bool,
    /// Whether no row may be missing whatever the settings say.
    pub exact: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { limit: None, passing: 1.0, ceiling: f64::INFINITY, everything: false, exact: false }
    }
}

/// What holds for a scan of an index with these options. A setting of the session wins over the index's
/// option where the session changed it from its default.
/// `lists` is how many the index has. Where everything is wanted, a strict scan leaves out no row, because one found
/// late could not be given out in order.
pub fn settings(options: &IndexOptions, lists: u32, wanted: Wanted) -> Settings {
    let Wanted { limit, passing, ceiling, everything, exact } = wanted;
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
    let asked = foreign::effort(options.foreign, lists);
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
        };
    }
    // A target that the session asks for is not undone by the index's number of probes.
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
    }
}
