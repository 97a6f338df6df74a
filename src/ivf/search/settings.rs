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

/// What the consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Lists to probe at first; 0 to follow the recall target.
    pub probes: u32,
    /// Lists to probe at least where the recall target says how many.
    pub least_probes: u32,
    /// Share of the true nearest rows to find.
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
