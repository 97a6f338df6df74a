//! Stages: how many rows a scan looks for, step by step, so that the pages of a query fit together.
//!
//! `LIMIT n OFFSET m` skips m rows and shows the next n. The pages of a query repeat no row and omit none
//! only if all scans return the same sequence, whatever the offset is. So what a scan reads depends only on
//! n. The first stage is for n rows, as without an offset, and each further stage for twice as many rows as
//! the one before.

use super::effort;
use super::settings::{Order, Probes, Settings};
use crate::ivf::directory::Directory;

/// Rows of the first window if it is not known how many rows are wanted: a few pages of ten rows. The planner
/// assumes the same number (`pg/planner/query_page.rs`).
const FIRST_WINDOW: u64 = 40;
/// Rows of the first window of a scan for all rows within a threshold. All lists are read in each round, so
/// there should be one round.
const WITHIN_WINDOW: u64 = 10_000;
/// A first window has this many times the rows of which enough are expected to pass the filter. It is larger
/// by half because the planner's expectation is inexact, and a second round costs more than some more
/// candidates.
const SPARE: f64 = 1.5;
/// No window is smaller: the calibration is for ten rows.
pub const LEAST_WINDOW: u64 = 10;
/// A window is at most this many times the rows wanted, not counting `SPARE`. An expectation of less than one
/// row in sixty is often far too low, and the next round uses the share that has passed.
const MOST_SHARES: f64 = 60.0;
/// If a smaller share of the fetched rows has passed, a filter is assumed to be the cause and not deleted
/// rows, which are seldom more than a tenth.
const FILTERED: f64 = 0.9;
/// The loss allowed to stages after the first, as a share of the loss that the target allows. It is smaller
/// because a later stage loses rows that it finds too late, too. Measured so that the recall of the pages
/// together keeps to the target (`README.md` has the table).
const LATER_LOSS: f64 = 0.7;
/// Number of windows for which a stage after the first keeps candidates, if stages double. So all lists are
/// read again at every fourth stage. More candidates would be of no use to a consumer that stops earlier.
const AHEAD: u64 = 8;

/// A stage of a scan: its rows are returned when enough of them are certain.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Rows of a page.
    page: u64,
    /// Number of rows that the scan has returned when the stage ends.
    pub goal: u64,
    /// Rows that its window is for.
    pub window: u64,
    /// Number of windows for which a round keeps candidates, so that the next stages need only rows of
    /// additional lists.
    pub ahead: u64,
    /// The loss allowed, as a share of that which the target allows.
    pub loss: f64,
    /// Least number of lists that the stage reads.
    pub probes: u32,
    /// Whether the stage has not read its lists yet.
    pub is_new: bool,
}

/// What the choice of lists depends on.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// The index.
    pub directory: &'a Directory,
    /// What is asked for.
    pub settings: &'a Settings,
    /// The query's dither: rounds numbers of lists up or down.
    pub dither: f64,
    /// Additional lists of a far query.
    pub further: f64,
    /// Number of lists for the least window, if a scan may read on (`onward.rs`).
    pub least: Option<u32>,
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

/// The number of nearest rows among which `rows` passing rows are expected, with a reserve.
fn window(rows: u64, passing: f64) -> u64 {
    let window = if passing < 1.0 {
        (rows as f64 * SPARE / passing.max(1.0 / MOST_SHARES)).ceil() as u64
    } else {
        rows
    };
    window.max(LEAST_WINDOW)
}

/// The window of a scan for which it is not known how many rows are wanted. With a threshold, all rows up to
/// it are wanted.
pub fn unlimited(settings: &Settings) -> u64 {
    let whole = settings.recall_target >= 1.0 && settings.ceiling < f64::INFINITY;
    window(if whole { WITHIN_WINDOW } else { FIRST_WINDOW }, f64::from(settings.passing))
}

impl Stage {
    /// The first stage, for a page.
    pub fn first(page: u64, effort: Effort<'_>) -> Self {
        let page = page.max(1);
        let window = window(page, f64::from(effort.settings.passing));
        let least = effort.least.filter(|_| window <= LEAST_WINDOW);
        Self {
            page,
            goal: page,
            window,
            ahead: 1,
            loss: 1.0,
            probes: least.unwrap_or_else(|| effort.first(window as f64, 1.0)),
            is_new: true,
        }
    }

    /// The stage after this one. It adds at most `most` rows, or one page if that is more. Of the rows
    /// `fetched` so far, `passed` have passed the filter.
    pub fn next(&self, most: u64, (fetched, passed): (u64, u64), effort: Effort<'_>) -> Self {
        // Stages are whole pages, because late rows are returned between two pages.
        let most = most.max(self.page) / self.page * self.page;
        let goal = self.goal.saturating_add(self.goal.min(most));
        let share = passed.max(1) as f64 / fetched.max(1) as f64;
        let window = window(goal, if share < FILTERED { share } else { 1.0 });
        let loss = if effort.settings.order == Order::Relaxed { 1.0 } else { LATER_LOSS };
        // `ivf.probes` is the number of lists for one page. If the next page used the same lists, it would
        // find nothing new: nearer rows of other lists would be too late for the order.
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
