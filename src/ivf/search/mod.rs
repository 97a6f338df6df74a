//! Searching: rows come out one by one in the exact order of the operator's value.
//!
//! A scan works in *rounds*. A round reads the best lists, keeps the rows that may be among the nearest
//! `window` ones by their bounds, and fetches exact values from the heap, best bound first. Rows whose exact
//! value is within the round's reach (the window's threshold) are certain and leave in order. When the
//! consumer wants more, the next round widens the window and the number of lists; what has left already is
//! recognised by its value, so memory does not grow with the rows returned.

mod effort;
mod everything;
mod exact;
pub mod filter;
mod passing;
mod pool;
mod route;
mod scan;

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::rc::Rc;

pub use self::effort::{lists, width};
use self::everything::Everything;
use self::filter::Filter;
use self::passing::Passing;
pub use self::pool::Nearest;
use self::pool::{Pool, Ready};
pub use self::route::Router;
pub use self::scan::{Candidate, Scanner, Sink, Stats};
use super::code::to_point;
use super::directory::Directory;
use crate::error::{Error, Result};
use crate::page::summary::{self, SUMMARY_SIZE};
use crate::page::{NO_BLOCK, PageKind, Store, Summary, Tid};
use crate::quant::QueryCode;
use crate::value::{Metric, TotalF64};

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
    /// Rows that the consumer will take, if it is known.
    pub limit: Option<u64>,
    /// Values above this are not wanted.
    pub ceiling: f64,
    /// Share of the rows that [`Rows::distance`] is expected to let pass; 1 without a filter.
    pub passing: f32,
}

/// The heap as the scan sees it.
pub trait Rows {
    /// These rows will be asked for next, in this order and most likely all of them; with the values where the index has
    /// them.
    ///
    /// # Errors
    /// As for [`Rows::distance`].
    fn look_ahead(&mut self, _rows: &[(Tid, Option<f64>)]) -> Result<()> {
        Ok(())
    }

    /// The operator's value for a row, or `None` if the scan may not return it. `known` is the value where the index
    /// has it.
    ///
    /// # Errors
    /// Whatever the evaluation raises.
    fn distance(&mut self, tid: Tid, known: Option<f64>) -> Result<Option<f64>>;
}

/// Whether a row can be there.
fn is_address(tid: Tid) -> bool {
    tid.offset != 0 && tid.block != NO_BLOCK
}

/// The value of a row, if its address can be one: the server must not be asked for others, for to it the block that
/// none is means a new one.
fn value_of(rows: &mut dyn Rows, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
    if !is_address(tid) {
        let what = format!("({},{}) is no address of a row", tid.block, tid.offset);
        return Err(Error::corrupted(0, what));
    }
    rows.distance(tid, known)
}

/// The value of a row, where the codes are the rows.
fn known_value(directory: &Directory, candidate: Candidate) -> Option<f64> {
    directory.codec.is_exact().then_some(f64::from(candidate.lower))
}

/// Rows in a first window when the consumer's wish is unknown.
const FIRST_WINDOW: u64 = 40;
/// Rows of a first window for each that the filter is expected to let pass.
const SPARE: f64 = 1.5;
/// How much wider a round's window is at least than the one before: rounds that read everything are few.
const WIDER: u64 = 16;
/// No window is smaller: the calibration is for ten rows.
const LEAST_WINDOW: u64 = 10;

/// Rows named to the heap before they are fetched, at most.
const MOST_AHEAD: u64 = 64;

/// A scan; [`Search::start`] begins it anew in the same memory.
pub struct Search {
    directory: Rc<Directory>,
    settings: Settings,
    query: QueryCode,
    rotated: Vec<f32>,
    unit: Vec<f32>,
    router: Router,
    /// The lists that the round at hand reads in any case, best first.
    planned: Vec<u32>,
    scanner: Scanner,
    /// The lists of which no row passes the filter, once that is known.
    barren: Option<Vec<bool>>,
    pool: Pool,
    ready: BinaryHeap<Ready>,
    everything: Option<Everything>,
    rows_asked: u64,
    /// The settings' ceiling in the units of the bounds.
    ceiling: f32,
    /// Decides between two whole numbers of lists.
    dither: f64,
    round: Round,
    returned: u64,
    last: Option<f64>,
    /// The keys of the nearest rows while the limit is being filled.
    nearest: Nearest,
    /// Whether as many rows as wanted are certain.
    filled: bool,
    /// Rows fetched while the limit is being filled.
    fetched: HashSet<Tid>,
    /// Rows given out, when order is relaxed.
    given: HashSet<Tid>,
    /// Rows given out at exactly `last`.
    ties: HashSet<Tid>,
}

/// The rows a first round is for: those that the limit takes before the filter, with some to spare.
fn first_window(settings: &Settings) -> u64 {
    let limit = settings.limit.unwrap_or(FIRST_WINDOW);
    let window = if settings.passing < 1.0 {
        // An expectation may be far off: no more than sixty times the limit.
        let share = f64::from(settings.passing).max(1.0 / 60.0);
        (limit as f64 * SPARE / share).ceil() as u64
    } else {
        limit
    };
    window.max(LEAST_WINDOW)
}

/// Of each list, whether its summaries exclude that one of its rows passes; nothing where there is no filter, or no summary.
/// Read once for a scan: what other transactions insert later its snapshot does not see.
fn barren_lists<S: Store>(store: &S, directory: &Directory, filter: &Filter) -> Result<Vec<bool>> {
    let (lists, columns) = (directory.lists(), directory.meta.columns.widths().len());
    let mut barren = Vec::new();
    if filter.is_empty() || directory.summaries_position(0).is_none() {
        return Ok(barren);
    }
    store.prefetch(directory.meta.summaries_first, summary::pages(lists, columns));
    while barren.len() < lists as usize
        && let Some((block, _)) = directory.summaries_position(barren.len() as u32)
    {
        let page = store.read(block)?;
        page.expect_kind(block, PageKind::Summaries)?;
        let left = lists as usize - barren.len();
        for of_list in page.content().chunks_exact(SUMMARY_SIZE * columns).take(left) {
            let summary = |column| Summary::read(&of_list[column * SUMMARY_SIZE..]);
            barren.push(!filter.may_pass(summary));
        }
    }
    store.settle();
    Ok(barren)
}

#[derive(Clone, Copy)]
struct Round {
    number: u32,
    window: u64,
    probes: u32,
    /// Keys up to here are complete.
    reach: f64,
    fetched: u64,
    passed: u64,
    done: bool,
}

impl Search {
    /// A scan of an index.
    pub fn new(directory: Rc<Directory>, settings: Settings) -> Self {
        let padded = directory.padded();
        Self {
            query: QueryCode::new(&directory.codec, &vec![0.0; padded]),
            rotated: vec![0.0; padded],
            unit: vec![0.0; directory.dims()],
            router: Router::default(),
            planned: Vec::new(),
            scanner: Scanner::default(),
            barren: None,
            pool: Pool::default(),
            ready: BinaryHeap::new(),
            everything: None,
            rows_asked: 0,
            ceiling: f32::INFINITY,
            dither: 0.0,
            round: Round { number: 0, window: 0, probes: 0, reach: 0.0, fetched: 0, passed: 0, done: true },
            returned: 0,
            last: None,
            nearest: Nearest::default(),
            filled: false,
            fetched: HashSet::new(),
            given: HashSet::new(),
            ties: HashSet::new(),
            settings,
            directory,
        }
    }

    /// Begins a scan for `query`; without one (SQL NULL, or a zero vector under cosine) every row comes, in
    /// no particular order.
    pub fn start(&mut self, settings: Settings, query: Option<&[f32]>) {
        self.start_filtered(settings, query, Filter::default());
    }

    /// As [`Search::start`], for the rows that pass conditions on the filter columns.
    pub fn start_filtered(&mut self, settings: Settings, query: Option<&[f32]>, filter: Filter) {
        self.settings = settings;
        self.ceiling = self.key_of_ceiling(settings.ceiling);
        self.scanner.filter = filter;
        self.barren = None;
        self.ready.clear();
        self.pool.clear();
        self.nearest.start(usize::try_from(settings.limit.unwrap_or(0)).unwrap_or(usize::MAX));
        self.filled = false;
        self.fetched.clear();
        self.given.clear();
        self.ties.clear();
        self.returned = 0;
        self.last = None;
        self.round = Round {
            number: 0,
            window: first_window(&settings),
            probes: 0,
            reach: f64::NEG_INFINITY,
            fetched: 0,
            passed: 0,
            done: true,
        };
        self.everything = None;
        let mut point = |q: &[f32]| to_point(&self.directory, q, &mut self.unit, &mut self.rotated);
        if !query.is_some_and(&mut point) {
            self.everything = Some(Everything::unordered());
            return;
        }
        let norm = crate::kernel::inner_product(&self.rotated, &self.rotated);
        if norm.is_finite() {
            self.query.set(&self.directory.codec, &self.rotated);
            self.dither = effort::dither(&self.rotated);
        } else {
            // Codes say nothing about such a query: every row is measured exactly.
            self.everything = Some(Everything::ordered());
        }
    }

    /// Whether this search was made for the given directory.
    pub fn reads(&self, directory: &Rc<Directory>) -> bool {
        Rc::ptr_eq(&self.directory, directory)
    }

    /// Counters since the search was made.
    pub fn stats(&self) -> Stats {
        Stats { rows: self.rows_asked, ..self.scanner.stats }
    }

    /// The next row and its value (NaN where the order is none).
    ///
    /// # Errors
    /// Damage, and the store's and the heap's errors.
    pub fn next<S: Store>(&mut self, store: &S, rows: &mut dyn Rows) -> Result<Option<(Tid, f64)>> {
        if self.scanner.filter.is_void() {
            return Ok(None);
        }
        if let Some(everything) = &mut self.everything {
            return everything.next(store, &self.directory, &self.scanner.filter, rows);
        }
        loop {
            if let Some(row) = self.take(rows)? {
                return Ok(Some(row));
            }
            if !self.advance(store)? {
                return Ok(None);
            }
            if self.round.number == 1 {
                self.look_ahead(rows)?;
            }
        }
    }

    /// Names the rows that will be fetched in any case.
    fn look_ahead(&mut self, rows: &mut dyn Rows) -> Result<()> {
        let most = self.settings.limit.map_or(0, |limit| limit.min(MOST_AHEAD) as usize);
        let directory = &self.directory;
        let ahead: Vec<_> = self
            .pool
            .line_up(most)
            .filter(|candidate| is_address(candidate.tid))
            .map(|candidate| (candidate.tid, known_value(directory, candidate)))
            .collect();
        rows.look_ahead(&ahead)
    }

    /// Whether rows are held back until the consumer's limit can be filled: then no later round can find a
    /// row that should have come before them.
    fn filling(&self) -> bool {
        self.settings.limit.is_some_and(|limit| self.returned < limit)
    }

    /// The next row of the round at hand, if it has one that is certain.
    fn take(&mut self, rows: &mut dyn Rows) -> Result<Option<(Tid, f64)>> {
        loop {
            let next = self.pool.next_lower().map_or(f64::INFINITY, f64::from);
            let complete = next.min(self.round.reach);
            let ready = if self.filling() && !self.filled {
                self.filled = self.nearest.complete(complete);
                self.filled
            } else {
                self.ready.peek().is_some_and(|r| r.key <= complete)
            };
            if ready || self.round.done {
                let Some(row) = self.ready.pop() else { return Ok(None) };
                if self.accept(&row) {
                    return Ok(Some((row.tid, row.value)));
                }
                continue;
            }
            if next > self.round.reach {
                return Ok(None);
            }
            match self.pool.pop() {
                Some(candidate) => self.fetch(candidate, rows)?,
                None => return Ok(None),
            }
        }
    }

    fn fetch(&mut self, candidate: Candidate, rows: &mut dyn Rows) -> Result<()> {
        let tid = candidate.tid;
        if self.fetched.contains(&tid) || self.given.contains(&tid) {
            return Ok(());
        }
        if self.settings.order != Order::Relaxed
            && self.last.is_some_and(|last| f64::from(candidate.upper) < self.key(last))
        {
            // Given out already, or found too late to be given out in order.
            return Ok(());
        }
        self.rows_asked += 1;
        self.round.fetched += 1;
        let known = known_value(&self.directory, candidate);
        let value = value_of(rows, tid, known)?;
        if self.filling() {
            self.fetched.insert(tid);
        }
        // NaN comes last, as PostgreSQL sorts it, whatever its sign.
        let value = value.map(|value| if value.is_nan() { f64::NAN } else { value });
        if let Some(value) = value.filter(|value| value.is_nan() || *value <= self.settings.ceiling) {
            self.round.passed += 1;
            let key = self.key(value);
            self.nearest.push(key);
            self.ready.push(Ready { key, value, tid });
        }
        Ok(())
    }

    /// Whether the nearest ready row is to be given out: not if it has been, or would be out of order.
    fn accept(&mut self, row: &Ready) -> bool {
        if self.settings.order == Order::Relaxed {
            if !self.given.insert(row.tid) {
                return false;
            }
        } else {
            match self.last.map_or(Ordering::Greater, |last| TotalF64(row.value).cmp(&TotalF64(last))) {
                Ordering::Less => return false,
                Ordering::Equal if self.ties.contains(&row.tid) => return false,
                Ordering::Equal => {}
                Ordering::Greater => self.ties.clear(),
            }
            self.ties.insert(row.tid);
        }
        self.last = Some(row.value);
        self.returned += 1;
        if self.settings.limit == Some(self.returned) {
            // From here on the scan goes on as one without a limit.
            self.fetched = HashSet::new();
            self.nearest.start(0);
        }
        true
    }

    /// The operator's value in the units of the bounds.
    fn key(&self, value: f64) -> f64 {
        let scale = f64::from(self.directory.meta.scale);
        match self.directory.metric() {
            Metric::L2 => (value * scale) * (value * scale),
            Metric::Cosine => 2.0 * value * scale * scale,
            Metric::InnerProduct => value * scale * scale,
            Metric::Hamming => value,
        }
    }

    /// The ceiling in the units of the bounds, rounded up by more than the sums of floats differ.
    fn key_of_ceiling(&self, value: f64) -> f32 {
        let key = match self.directory.metric() {
            // No distance is negative.
            Metric::L2 if value < 0.0 => -1.0,
            _ => self.key(value),
        };
        (key + key.abs() * 1e-5) as f32 + f32::MIN_POSITIVE
    }

    /// Runs the next round. False if the scan is at its end.
    fn advance<S: Store>(&mut self, store: &S) -> Result<bool> {
        let exhausted = self.round.reach == f64::INFINITY
            && (self.round.probes >= self.directory.lists() || self.settings.order == Order::Off);
        if exhausted {
            if self.round.done {
                return Ok(false);
            }
            // Everything is fetched: what is ready is all there is.
            self.round.done = true;
            return Ok(!self.ready.is_empty());
        }
        if !self.filling() {
            self.ready.clear();
        }
        self.widen();
        let round = &mut self.round;
        round.done = false;
        let window = usize::try_from(round.window).unwrap_or(usize::MAX);
        self.pool.start(window, self.ceiling);
        let width = effort::width(&self.directory, self.settings.recall_target, round.probes);
        self.router.start(&self.directory, &self.rotated);
        let mut probed = 0;
        let target = self.settings.recall_target;
        let filtered = !self.scanner.filter.is_empty() && self.settings.probes == 0;
        let (mut passing, mut before) = (Passing::default(), self.scanner.stats);
        let directory = Rc::clone(&self.directory);
        let all = directory.lists();
        if self.barren.is_none() {
            self.barren = Some(barren_lists(store, &directory, &self.scanner.filter)?);
        }
        let barren = self.barren.as_deref().unwrap_or_default();
        let is_barren = |list: u32| barren.get(list as usize).copied().unwrap_or_default();
        let lists = |rows, loss: f64| effort::lists(&directory, 1.0 - (1.0 - target) * loss as f32, rows);
        let announce = |list| {
            if !is_barren(list) {
                let (head, pages) = directory.head(list);
                store.prefetch(head, pages);
            }
            list
        };
        self.planned.clear();
        let best = std::iter::from_fn(|| self.router.next_list()).take(round.probes as usize);
        self.planned.extend(best.map(announce));
        let mut planned = self.planned.iter().copied();
        // Lists that hold fewer rows than the window say nothing about the rows beyond: then more are read,
        // or far rows would leave before nearer ones of the next list.
        while probed < round.probes || (self.settings.order != Order::Off && !self.pool.is_full()) {
            let Some(list) = planned.next().or_else(|| self.router.next_list().map(announce)) else { break };
            if is_barren(list) {
                self.scanner.stats.skipped += 1;
            } else {
                let after = planned.clone().chain(self.router.peek()).find(|&list| !is_barren(list));
                self.scanner.after = after.map(|next| directory.head(next).0);
                let terms = || self.router.terms(&self.directory, list, &self.rotated);
                self.scanner.list(
                    store,
                    &self.directory,
                    &self.query,
                    (list, &terms, width),
                    &mut self.pool,
                )?;
            }
            probed += 1;
            if filtered {
                if is_barren(list) {
                    passing.skip();
                } else {
                    passing.add(before, self.scanner.stats);
                }
                if probed >= round.probes && !passing.is_enough(round.window, (self.dither, all), &lists) {
                    round.probes = probed + 1;
                }
                before = self.scanner.stats;
            }
        }
        store.settle();
        round.probes = probed;
        round.reach = self.pool.finish();
        Ok(true)
    }

    /// The next round's window and lists.
    fn widen(&mut self) {
        let round = &mut self.round;
        let lists = self.directory.lists();
        if round.number > 0 {
            let wanted = self.settings.limit.map_or(0, |l| l.saturating_sub(self.returned));
            // Rows the limit takes at the share of rows that passed so far, and half as many again.
            let needed = wanted.saturating_mul(3 * round.fetched.max(1)) / (2 * round.passed.max(1));
            let least = round.window.saturating_mul(WIDER);
            round.window = needed.clamp(least, least.saturating_mul(16));
        }
        round.number += 1;
        round.fetched = 0;
        round.passed = 0;
        let target = self.settings.recall_target;
        let dither = self.dither;
        let whole = |rows| effort::whole(effort::lists(&self.directory, target, rows), dither);
        let wanted = self.settings.limit.filter(|&limit| self.returned < limit);
        round.probes = if self.settings.order == Order::Off || round.number == 1 {
            match self.settings.probes {
                0 => {
                    let rows = self.settings.limit.map_or(0.0, |_| round.window as f64);
                    whole(rows).max(self.settings.least_probes)
                }
                n => n,
            }
            .min(lists)
        } else if wanted.is_none() {
            // Who reads on and on wants all there is: from here on no row is lost.
            lists
        } else {
            // The lists read hold no more: twice as many.
            let further = round.probes.saturating_mul(if round.reach == f64::INFINITY { 2 } else { 1 });
            let automatic = match self.settings.probes {
                0 => whole(round.window as f64),
                _ => 0,
            };
            automatic.max(further).min(lists)
        };
    }
}
