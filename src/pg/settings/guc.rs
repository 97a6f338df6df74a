//! Settings: `ivf.probes`, `ivf.recall_target`, `ivf.iterative_scan`, `ivf.join_batches`.

use crate::ivf::build;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// Upper bound of `ivf.probes` and of the option `lists`.
pub const MAX_LISTS: i32 = build::MAX_LISTS as i32;

/// `ivf.probes`
pub static PROBES: GucSetting<i32> = GucSetting::<i32>::new(0);
/// `ivf.recall_target`
pub static RECALL_TARGET: GucSetting<f64> = GucSetting::<f64>::new(DEFAULT_RECALL_TARGET);
/// `ivf.iterative_scan`
pub static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::StrictOrder);

/// `ivf.join_batches`
pub static JOIN_BATCHES: GucSetting<bool> = GucSetting::<bool>::new(true);

/// The default of `ivf.recall_target`.
pub const DEFAULT_RECALL_TARGET: f64 = 0.95;

/// Values of `ivf.iterative_scan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum IterativeScan {
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
        c"Number of lists that an ivf index scan reads at first.",
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
        c"What an ivf index scan does if its first lists have too few rows.",
        c"strict_order continues in exact order, relaxed_order also returns rows found late, off stops.",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"ivf.join_batches",
        c"Whether a join by distance may search for several rows of its outer table together.",
        c"The result does not depend on it.",
        &JOIN_BATCHES,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: a constant string; called during library load, as guc.h asks.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"ivf".as_ptr()) };
}
