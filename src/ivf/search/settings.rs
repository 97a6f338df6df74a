//! The settings of a scan.

/// What a scan does if its first lists have too few rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Continue with further lists; leave out rows that would be out of order.
    Strict,
    /// Continue with further lists; return rows found late late.
    Relaxed,
    /// End with the lists of the first effort.
    Off,
}

/// How many lists a scan reads at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// As many lists as the recall target needs, but at least `least`.
    ForRecall {
        /// Number of lists that are always read.
        least: u32,
    },
    /// This number of lists, whatever the recall target is.
    Lists(u32),
}

/// What the consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Number of lists to probe first.
    pub probes: Probes,
    /// Share of the true nearest rows to find. It also determines the width of the bounds, whatever the
    /// number of lists is.
    pub recall_target: f32,
    /// What to do after the first effort.
    pub order: Order,
    /// Number of rows of a page, if known. The rows that a scan returns depend on this number, but not on how
    /// many pages are skipped.
    pub limit: Option<u64>,
    /// Values above this are not wanted.
    pub ceiling: f64,
    /// Expected share of rows for which [`super::Rows::distance`] returns a value; 1 without a filter.
    pub passing: f32,
    /// Bytes that a scan may keep, unless the limit needs more.
    pub memory: usize,
    /// Whether rows are wanted in order. Otherwise all rows within the ceiling are wanted, as they are found.
    pub in_order: bool,
    /// Whether only the order within pages of `limit` rows matters, counted from the first row.
    pub paged: bool,
}
