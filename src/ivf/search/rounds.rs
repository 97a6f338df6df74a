//! A round: which lists are read, for how many rows, and which of their rows are done already.

use std::rc::Rc;

use super::candidates::{Mark, Want};
use super::onward::Onward;
use super::selectivity::Selectivity;
use super::stages::{self, Effort};
use super::{Order, Probes, Search, Stats, barren, effort};
use crate::error::Result;
use crate::page::Store;
use crate::quant::Width;

/// A round's window is at least this many times as wide as the one before. Each round reads its lists again,
/// so there should be few rounds.
const WIDER: u64 = 16;
/// The same in an index over sketches, whose threshold is sometimes a little too low for the values of the
/// rows that are wanted.
const WIDER_OF_SKETCHES: u64 = 2;
/// A window is at most this many times as wide as that, because the share that passed is inexact if few rows
/// were fetched.
const WIDEST: u64 = 16;

/// The current round.
#[derive(Clone, Copy)]
pub(super) struct Round {
    pub number: u32,
    /// Number of nearest rows that the round looks for.
    pub window: u64,
    /// Number of windows for which candidates are kept.
    pub ahead: u64,
    /// Stages with goals up to this need no other rows of these lists than the candidates.
    pub serves: u64,
    /// Lists that were read.
    pub probes: u32,
    pub width: Width,
    /// Rows of these lists up to this mark are candidates or done.
    pub mark: Mark,
    /// Whether candidates were dropped for lack of room.
    pub cut: bool,
    pub fetched: u64,
    pub passed: u64,
    /// Whether all rows of the lists are in the output.
    pub exhausted: bool,
}

impl Round {
    pub fn none() -> Self {
        Self {
            number: 0,
            window: 0,
            ahead: 1,
            serves: 0,
            probes: 0,
            width: Width::of(0.0),
            mark: Mark::whole(f32::NEG_INFINITY),
            cut: false,
            fetched: 0,
            passed: 0,
            exhausted: false,
        }
    }
}

/// The marks up to which rows are done: the first mark is for the first lists in routing order, the second
/// for the lists that follow, and so on. A row's bounds are the same in all rounds of one width, so no later
/// round compares it again.
#[derive(Default)]
pub(super) struct Floors(Vec<(u32, Mark)>);

impl Floors {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn of(&self, position: u32) -> Option<Mark> {
        self.0.iter().find(|(lists, _)| position < *lists).map(|(_, mark)| *mark)
    }

    fn highest(&self) -> f32 {
        self.0.first().map_or(f32::NEG_INFINITY, |(_, mark)| mark.lower.0)
    }

    /// Records that the first `lists` lists are done up to `mark`.
    fn raise(&mut self, lists: u32, mark: Mark) {
        self.0.retain(|(_, floor)| *floor > mark);
        self.0.push((lists, mark));
    }
}

/// What a filtered round has found out so far.
pub(super) struct Filtered {
    selectivity: Selectivity,
    before: Stats,
}

impl Search {
    fn effort(&self) -> Effort<'_> {
        Effort {
            directory: &self.directory,
            settings: &self.settings,
            dither: self.query.dither,
            further: self.query.further(),
            least: self.query.onward.as_ref().map(Onward::first),
        }
    }

    /// Begins the next stage, once all rows of the current one have been returned.
    pub(super) fn begin_stage(&mut self) {
        let Some(page) = self.settings.limit else { return };
        let stage = match &self.stage {
            None => stages::Stage::first(page, self.effort()),
            Some(stage) if stage.goal <= self.returned => {
                stage.next(self.room.rows as u64 / 2, self.seen, self.effort())
            }
            Some(_) => return,
        };
        if stage.probes > self.round.probes {
            self.round.exhausted = false;
        }
        self.stage = Some(stage);
        self.give_room();
    }

    /// Gives the output room for all rows that the stage wants, if that is more than usual.
    fn give_room(&mut self) {
        let wanted = self.wanted();
        self.output.set_room(self.room.rows.max(wanted.saturating_mul(2)));
    }

    /// Rows of the stage that are still to come.
    fn wanted(&self) -> usize {
        let wanted = self.stage.map_or(0, |stage| stage.goal.saturating_sub(self.returned));
        usize::try_from(wanted).unwrap_or(usize::MAX)
    }

    /// Whether the lists that may be read have no other rows.
    pub(super) fn is_exhausted(&self) -> bool {
        let round = &self.round;
        let all_read = match self.settings.order {
            Order::Off => self.stage.is_none_or(|stage| round.probes >= stage.probes),
            Order::Strict | Order::Relaxed => round.probes >= self.directory.lists(),
        };
        round.number > 0 && round.mark.is_end() && all_read
    }

    /// Runs the next round. Returns false if the scan has ended.
    pub(super) fn advance<S: Store>(&mut self, store: &S) -> Result<bool> {
        if self.output.is_spent() {
            // Rows were dropped, so all lists are read again, for rows after the last returned one.
            self.output.restart();
            self.output.start_late(0);
            self.floors.clear();
            self.round.exhausted = false;
            self.give_room();
            if self.stage.is_some_and(|stage| stage.is_new) {
                self.plan_round();
            }
        } else if !self.is_exhausted() {
            if self.round.number > 0 {
                self.floors.raise(self.round.probes, self.round.mark);
                self.output.unsettle()?;
            }
            self.plan_round();
        } else if self.round.exhausted {
            return Ok(false);
        } else {
            self.round.exhausted = true;
            self.output.settle_all()?;
            return Ok(true);
        }
        self.round.number += 1;
        self.round.fetched = 0;
        self.round.passed = 0;
        self.read_lists(store)?;
        Ok(true)
    }

    /// The next round's window, lists and width.
    fn plan_round(&mut self) {
        match &mut self.stage {
            Some(stage) if stage.is_new => {
                stage.is_new = false;
                self.round.window = stage.window;
                let ahead = stage.ahead.min((self.room.candidates as u64 / 2 / stage.window).max(1));
                self.round.serves = stage.goal.saturating_mul(ahead);
                self.round.ahead = ahead;
                self.round.probes = self.round.probes.max(stage.probes);
            }
            None if self.round.number == 0 => {
                self.round.window = stages::unlimited(&self.settings);
                self.round.probes = self.effort().first(0.0, 1.0);
            }
            // Candidates were dropped: reads the same lists again, for the rows behind the mark.
            _ if self.round.cut => {}
            _ => self.widen(),
        }
        let without_end = self.stage.is_none() && self.settings.order == Order::Strict;
        let (target, probes) = (self.settings.recall_target, self.round.probes);
        let width = effort::width(&self.directory, target, probes, without_end && self.round.number > 0);
        if self.round.number == 0 {
            self.round.width = width;
        } else if without_end && width != self.round.width {
            // From now on bounds exclude no row wrongly. Bounds with the new width are different, so marks
            // and rows found so far are dropped.
            self.round.width = width;
            self.floors.clear();
            self.output.restart();
            self.output.start_late(0);
        }
    }

    /// Plans a wider window and more lists, for rows that the current round did not find.
    fn widen(&mut self) {
        let round = &self.round;
        // The number of rows to fetch for the rows wanted, by the share that has passed so far, plus a half.
        let needed =
            (self.wanted() as u64).saturating_mul(3 * round.fetched.max(1)) / (2 * round.passed.max(1));
        let wider = if self.directory.sketch().is_lossy() { WIDER_OF_SKETCHES } else { WIDER };
        let least = round.window.saturating_mul(wider);
        let window = needed.clamp(least, least.saturating_mul(WIDEST));
        let lists = self.directory.lists();
        let probes = if self.settings.order == Order::Off {
            round.probes
        } else if self.stage.is_none() {
            // A consumer that reads so many rows probably wants all: from now on the scan reads all lists.
            lists
        } else {
            // If the lists read have no more rows, twice as many are read.
            let further = round.probes.saturating_mul(if round.mark.is_end() { 2 } else { 1 });
            let automatic = match self.settings.probes {
                Probes::ForRecall { .. } => self.effort().lists(window as f64, 1.0),
                Probes::Lists(_) => 0,
            };
            automatic.max(further).min(lists)
        };
        self.round.window = window;
        self.round.ahead = 1;
        self.round.serves = 0;
        self.round.probes = probes;
    }

    fn want(&self) -> Want {
        Want {
            window: self.round.window.saturating_mul(self.round.ahead),
            ceiling: self.ceiling,
            late: self.output.late(),
            keeps_late: self.output.keeps_late(),
            beyond: self.floors.highest(),
            room: self.room.candidates.max(self.wanted().saturating_mul(2)),
        }
    }

    fn read_lists<S: Store>(&mut self, store: &S) -> Result<()> {
        if self.barren.is_none() {
            self.barren = Some(barren::lists(store, &self.directory, &self.scanner.filter)?);
        }
        self.candidates.start(self.want());
        if self.query.onward.is_some() {
            self.candidates.note_nearest()?;
        }
        self.router.restart(&self.directory)?;
        let follows_recall = matches!(self.settings.probes, Probes::ForRecall { .. });
        let is_filtered = !self.scanner.filter.is_empty() && follows_recall;
        self.filtered =
            is_filtered.then(|| Filtered { selectivity: Selectivity::default(), before: self.scanner.stats });
        self.read_from(store, 0)?;
        (self.round.mark, self.round.cut) = self.candidates.finish();
        Ok(())
    }

    /// Whether the current stage needs no rows of the lists read except candidates and fetched rows.
    pub(super) fn is_served(&self) -> bool {
        let round = &self.round;
        let served = |goal| goal <= round.serves || (round.mark.is_end() && !round.cut);
        round.number > 0 && self.stage.is_some_and(|stage| stage.is_new && served(stage.goal))
    }

    /// Reads the additional lists of the current stage.
    pub(super) fn extend<S: Store>(&mut self, store: &S) -> Result<()> {
        let Some(stage) = &mut self.stage else { return Ok(()) };
        stage.is_new = false;
        self.round.window = stage.window;
        let (from, mark) = (self.round.probes, self.round.mark);
        let probes = stage.probes.max(from);
        if probes == from && self.filtered.is_none() {
            return Ok(());
        }
        self.output.unsettle()?;
        self.candidates.extend(mark, self.want());
        self.round.probes = probes;
        self.read_from(store, from)?;
        let reached = self.candidates.finish_extension(mark)?;
        if reached < mark {
            self.floors.raise(from, mark);
            self.round.cut = true;
            self.round.mark = reached;
        }
        Ok(())
    }

    /// Reads lists from a position of the routing order on.
    fn read_from<S: Store>(&mut self, store: &S, from: u32) -> Result<()> {
        self.scanner.stats.rounds += 1;
        self.planned.clear();
        for _ in from..self.round.probes {
            let Some(list) = self.router.next_list() else { break };
            self.prefetch_list(store, list);
            self.planned.push(list);
        }
        let mut read = from;
        // If the lists have fewer rows than the window, the scan reads more lists. Otherwise it would return
        // far rows before nearer rows of the next list.
        let fills = from == 0 && self.settings.order != Order::Off;
        let mut enough = from > 0 && self.is_enough();
        loop {
            let at = (read - from) as usize;
            let goes_on = self.query.onward.is_some() && {
                let next = self.planned.get(at).copied().or_else(|| self.router.peek());
                self.goes_on(read, next)
            };
            let fills = fills && !self.candidates.has(self.round.window);
            if read >= self.round.probes && enough && !fills && !goes_on {
                break;
            }
            let Some(list) = self.list_at(store, at) else { break };
            self.candidates.start_list(self.floors.of(read));
            if self.is_barren(list) {
                self.scanner.stats.skipped += 1;
            } else {
                self.read_list(store, list, at)?;
            }
            read += 1;
            self.count(list);
            enough = read < self.round.probes || self.is_enough();
        }
        store.end_prefetch();
        self.round.probes = read;
        Ok(())
    }

    /// Whether `next` is read for what the `read` lists before it have. Once it is not, the number of lists
    /// of the query is known.
    fn goes_on(&mut self, read: u32, next: Option<u32>) -> bool {
        let Some(onward) = self.query.onward else { return false };
        // Rows beyond the ceiling are not wanted.
        let tenth = self.candidates.tenth().min(self.ceiling);
        if next.is_some_and(|next| onward.goes_on(&self.directory, &self.router, tenth, read, next)) {
            return true;
        }
        self.query.end_onward(read);
        let Round { window, probes, .. } = self.round;
        if self.stage.is_some() && window > stages::LEAST_WINDOW {
            self.round.probes = probes.max(self.effort().first(window as f64, 1.0));
        }
        read < self.round.probes
    }

    pub(super) fn is_barren(&self, list: u32) -> bool {
        self.barren.as_ref().and_then(|barren| barren.get(list as usize)).copied().unwrap_or_default()
    }

    pub(super) fn prefetch_list<S: Store>(&self, store: &S, list: u32) {
        if !self.is_barren(list) {
            let (head, pages) = self.directory.head(list);
            store.prefetch_pages(head, pages);
        }
    }

    /// The list at a position among those planned, or the next one.
    fn list_at<S: Store>(&mut self, store: &S, position: usize) -> Option<u32> {
        if let Some(list) = self.planned.get(position) {
            return Some(*list);
        }
        let list = self.router.next_list()?;
        self.prefetch_list(store, list);
        Some(list)
    }

    fn read_list<S: Store>(&mut self, store: &S, list: u32, position: usize) -> Result<()> {
        let directory = Rc::clone(&self.directory);
        let planned = self.planned.get(position + 1..).unwrap_or_default();
        let after = planned.iter().copied().chain(self.router.peek()).find(|&list| !self.is_barren(list));
        self.scanner.after = after.map(|next| directory.head(next).0);
        let terms = || self.router.terms(&directory, list, &self.query.point);
        let list = (list, &terms as &dyn Fn() -> _, self.round.width);
        self.scanner.list(store, &directory, &self.query.code, list, &mut self.candidates)?;
        self.candidates.check()
    }

    /// Counts a list that was read or skipped, to estimate the share of rows that pass.
    fn count(&mut self, list: u32) {
        let is_barren = self.is_barren(list);
        let Some(filtered) = &mut self.filtered else { return };
        if is_barren {
            filtered.selectivity.skip();
        } else {
            filtered.selectivity.add(filtered.before, self.scanner.stats);
        }
        filtered.before = self.scanner.stats;
    }

    /// Whether enough lists have been read for the window, given the share of rows that pass the filter
    /// columns.
    fn is_enough(&self) -> bool {
        let Some(filtered) = &self.filtered else { return true };
        let (effort, allowed) = (self.effort(), self.stage.map_or(1.0, |s| s.loss));
        let needed = |rows, loss: f64| effort.average(rows, allowed * loss);
        let all = self.directory.lists();
        filtered.selectivity.is_enough(self.round.window, (self.query.dither, all), &needed)
    }
}
