//! What a scan is asked for.

/// What happens when a scan's first effort does not yield enough rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on through further lists; rows that would be out of order are left out.
    Strict,
    /// Go on through further lists; rows found late come late.
    Relaxed,
    /// End with the lists of the first effort.
    Off,
}

/// How many lists a scan reads at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// As many as the recall target takes, but at least so many.
    ForRecall {
        /// Lists that are read in any case.
        least: u32,
    },
    /// So many, whatever the recall target is.
    Lists(u32),
}

/// What the consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Lists to probe at first.
    pub probes: Probes,
    /// Share of the true nearest rows to find. Also says how wide the bounds are, whatever the lists.
    pub recall_target: f32,
    /// What to do after the first effort.
    pub order: Order,
    /// Rows that the consumer takes at a time, if it is known: what the scan gives depends on this, but not
    /// on how many of them it skips before.
    pub limit: Option<u64>,
    /// Values above this are not wanted.
    pub ceiling: f64,
    /// Share of the rows that [`super::Rows::distance`] is expected to let pass; 1 without a filter.
    pub passing: f32,
    /// Bytes that a scan may keep, unless the limit needs more.
    pub memory: usize,
    /// Whether only the order within so many rows as the limit has counts, from the first on.
    pub paged: bool,
}
