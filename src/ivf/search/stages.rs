//! The rows that a scan goes for, one stage after the other, so that the pages of a query fit together.
//!
//! `LIMIT n OFFSET m` reads m rows and shows the next n. Pages of one query show no row twice and hide none
//! only if all scans give one sequence, whatever the offset. So what is read depends on n alone: the first
//! stage is for n rows, as without an offset, and each further stage for twice as many rows as the one
//! before.

use super::effort;
use super::settings::{Order, Probes, Settings};
use crate::ivf::directory::Directory;

/// Rows in a first window when the consumer's wish is unknown: a few pages of ten. The planner assumes as
/// many (`pg/planner/query_page.rs`).
const FIRST_WINDOW: u64 = 40;
/// Rows of a first window for each that the filter is expected to let pass: half as many again, for the
/// planner's expectation is inexact, and a second round costs more than some candidates.
const SPARE: f64 = 1.5;
/// No window is smaller: the calibration is for ten rows.
const LEAST_WINDOW: u64 = 10;
/// No window is more than so many times the rows wanted, before the spare ones: an expectation of less than
/// one row in sixty is often far off, and the next round goes by what did pass.
const MOST_SHARES: f64 = 60.0;
/// A smaller share of the rows fetched is taken for the work of a filter, not of rows that were deleted:
/// these are seldom more than a tenth.
const FILTERED: f64 = 0.9;
/// The loss allowed to stages after the first, as a share of that which the target allows. Rows that a later
/// stage finds too late are lost beside those that it does not find. Measured so that the recall of the pages
/// together keeps to the target (`README.md` has the table).
const LATER_LOSS: f64 = 0.7;
/// Windows that a stage after the first keeps, for stages that double: all lists are read again at every
/// fourth. More would be candidates of no use to who stops before.
const AHEAD: u64 = 8;

/// Rows that are held back until so many are certain.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Rows of a page.
    page: u64,
    /// Rows given out at its end.
    pub goal: u64,
    /// Rows that its window is for.
    pub window: u64,
    /// How many such windows a round keeps, so that the next stages need no rows but those of further lists.
    pub ahead: u64,
    /// The loss allowed, as a share of that which the target allows.
    pub loss: f64,
    /// Lists that it reads at least.
    pub probes: u32,
    /// Whether it has not read them yet.
    pub is_new: bool,
}

/// What the choice of lists depends on.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// The index.
    pub directory: &'a Directory,
    /// What is asked for.
    pub settings: &'a Settings,
    /// Decides between two whole numbers of lists.
    pub dither: f64,
    /// Lists that the query takes beside those that others do.
    pub further: f64,
}

impl Effort<'_> {
    /// Lists for the nearest `rows` on average, with this share of the loss allowed.
    pub fn average(&self, rows: f64, loss: f64) -> f64 {
        let target = 1.0 - (1.0 - self.settings.recall_target) * loss as f32;
        let all = f64::from(self.directory.lists());
        (self.further + effort::lists(self.directory, target, rows)).min(all)
    }

    /// Lists for the nearest `rows` with this share of the loss allowed.
    pub fn lists(&self, rows: f64, loss: f64) -> u32 {
        effort::whole(self.average(rows, loss), self.dither)
    }

    /// Lists that are read in any case for the nearest `rows`.
    pub fn first(&self, rows: f64, loss: f64) -> u32 {
        let probes = match self.settings.probes {
            Probes::ForRecall { least } => self.lists(rows, loss).max(least),
            Probes::Lists(lists) => lists,
        };
        probes.min(self.directory.lists())
    }
}

/// The rows among which `rows` that pass are expected, with some to spare.
fn window(rows: u64, passing: f64) -> u64 {
    let window = if passing < 1.0 {
        (rows as f64 * SPARE / passing.max(1.0 / MOST_SHARES)).ceil() as u64
    } else {
        rows
    };
    window.max(LEAST_WINDOW)
}

/// The window of a scan whose consumer's wish is unknown.
pub fn unlimited(settings: &Settings) -> u64 {
    window(FIRST_WINDOW, f64::from(settings.passing))
}

impl Stage {
    /// The first stage, for a page.
    pub fn first(page: u64, effort: Effort<'_>) -> Self {
        let page = page.max(1);
        let window = window(page, f64::from(effort.settings.passing));
        Self {
            page,
            goal: page,
            window,
            ahead: 1,
            loss: 1.0,
            probes: effort.first(window as f64, 1.0),
            is_new: true,
        }
    }

    /// The stage after this one, which holds back `most` rows at most unless a page has more. Of the rows
    /// `fetched` so far these have `passed`.
    pub fn next(&self, most: u64, (fetched, passed): (u64, u64), effort: Effort<'_>) -> Self {
        // Whole pages: between two of them rows come that were found too late.
        let most = most.max(self.page) / self.page * self.page;
        let goal = self.goal.saturating_add(self.goal.min(most));
        let share = passed.max(1) as f64 / fetched.max(1) as f64;
        let window = window(goal, if share < FILTERED { share } else { 1.0 });
        let loss = if effort.settings.order == Order::Relaxed { 1.0 } else { LATER_LOSS };
        // Lists that were asked for are those of a page. Its rows would be all if the next were looked for in
        // the same lists: what lies nearer in others would come too late for the order.
        let pages = u32::try_from(goal.div_ceil(self.page)).unwrap_or(u32::MAX);
        let asked = match effort.settings.probes {
            Probes::Lists(lists) if effort.settings.order != Order::Off => lists,
            _ => 0,
        };
        let asked = asked.saturating_mul(pages).min(effort.directory.lists());
        let probes = effort.first(window as f64, loss).max(self.probes).max(asked);
        Self { page: self.page, goal, window, ahead: AHEAD, loss, probes, is_new: true }
    }
}
