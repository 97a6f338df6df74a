//! Searching: rows come out one by one in the exact order of the operator's value.
//!
//! A scan works in *rounds*. A round reads the best lists, keeps the rows that may be among the nearest
//! `window` ones by their bounds, and fetches exact values from the heap, best bound first. Rows whose exact
//! value is within the round's reach (the window's threshold) are certain and leave in order. When the
//! consumer wants more, the next round widens the window and the number of lists; what has left already is
//! recognised by its value, so memory does not grow with the rows returned.

mod effort;
mod everything;
mod pool;
mod route;
mod scan;

use std::collections::{BinaryHeap, HashSet};
use std::rc::Rc;

pub use self::effort::{CALIBRATED_ROWS, probes, width};
use self::everything::Everything;
use self::pool::{Pool, Ready};
pub use self::route::Router;
pub use self::scan::{Candidate, Scanner, Sink, Stats};
use super::code::normalize;
use super::directory::Directory;
use crate::error::Result;
use crate::page::{Store, Tid};
use crate::quant::QueryCode;
use crate::value::Metric;

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
    /// Share of the true nearest rows to find.
    pub recall_target: f32,
    /// What to do after the first effort.
    pub order: Order,
    /// Rows that the consumer will take, if it is known.
    pub limit: Option<u64>,
}

/// The heap as the scan sees it.
pub trait Rows {
    /// The operator's value for a row, or `None` if the scan may not return it.
    ///
    /// # Errors
    /// Whatever the evaluation raises.
    fn distance(&mut self, tid: Tid) -> Result<Option<f64>>;
}

/// Rows in a first window when the consumer's wish is unknown.
const FIRST_WINDOW: u64 = 40;
/// No window is smaller: the calibration is for ten rows.
const LEAST_WINDOW: u64 = 10;

/// A scan; [`Search::start`] begins it anew in the same memory.
pub struct Search {
    directory: Rc<Directory>,
    settings: Settings,
    query: QueryCode,
    rotated: Vec<f32>,
    unit: Vec<f32>,
    router: Router,
    scanner: Scanner,
    pool: Pool,
    ready: BinaryHeap<Ready>,
    everything: Option<Everything>,
    rows_asked: u64,
    round: Round,
    returned: u64,
    last: Option<f64>,
    /// Rows already fetched while the limit is being filled, or (relaxed) returned.
    known: HashSet<u64>,
    /// Rows returned at exactly `last`.
    ties: Vec<Tid>,
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
            scanner: Scanner::default(),
            pool: Pool::default(),
            ready: BinaryHeap::new(),
            everything: None,
            rows_asked: 0,
            round: Round { number: 0, window: 0, probes: 0, reach: 0.0, fetched: 0, passed: 0, done: true },
            returned: 0,
            last: None,
            known: HashSet::new(),
            ties: Vec::new(),
            settings,
            directory,
        }
    }

    /// Begins a scan for `query`; without one (SQL NULL, or a zero vector under cosine) every row comes, in
    /// no particular order.
    pub fn start(&mut self, settings: Settings, query: Option<&[f32]>) {
        self.settings = settings;
        self.ready.clear();
        self.pool.clear();
        self.known.clear();
        self.ties.clear();
        self.returned = 0;
        self.last = None;
        self.round = Round {
            number: 0,
            window: settings.limit.unwrap_or(FIRST_WINDOW).max(LEAST_WINDOW),
            probes: 0,
            reach: f64::NEG_INFINITY,
            fetched: 0,
            passed: 0,
            done: true,
        };
        self.everything = None;
        let cosine = self.directory.metric() == Metric::Cosine;
        let vector = match query {
            Some(q) if cosine => normalize(q, &mut self.unit).then_some(self.unit.as_slice()),
            other => other,
        };
        let Some(vector) = vector else {
            self.everything = Some(Everything::unordered());
            return;
        };
        self.directory.transform(vector, &mut self.rotated);
        let norm = crate::kernel::inner_product(&self.rotated, &self.rotated);
        if norm.is_finite() {
            self.query.set(&self.directory.codec, &self.rotated);
        } else {
            // Codes say nothing about such a query: every row is measured exactly.
            self.everything = Some(Everything::ordered());
        }
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
        if let Some(everything) = &mut self.everything {
            return everything.next(store, &self.directory, rows);
        }
        loop {
            if let Some(row) = self.take(rows)? {
                return Ok(Some(row));
            }
            if !self.advance(store)? {
                return Ok(None);
            }
        }
    }

    /// Whether rows are held back until the consumer's limit can be filled: then no later round can find a
    /// row that should have come before them.
    fn filling(&self) -> bool {
        self.settings.limit.is_some_and(|limit| self.returned < limit)
    }

    /// The next row of the round at hand, if it has one that is certain.
    fn take(&mut self, rows: &mut dyn Rows) -> Result<Option<(Tid, f64)>> {
        let limit = if self.filling() { self.settings.limit } else { None };
        loop {
            let next = self.pool.next_lower().map_or(f64::INFINITY, f64::from);
            let complete = next.min(self.round.reach);
            match limit {
                // While filling, `ready` gathers; rows leave when as many as wanted are certain.
                Some(limit) if self.round.number > 0 => {
                    if self.certain(complete, limit - self.returned) {
                        return Ok(self.release());
                    }
                }
                _ => {
                    if self.ready.peek().is_some_and(|r| r.key <= complete) {
                        if let Some(row) = self.release() {
                            return Ok(Some(row));
                        }
                        continue;
                    }
                }
            }
            if next > self.round.reach {
                return Ok(None);
            }
            let Some(candidate) = self.pool.pop() else {
                return Ok(if self.round.done { self.release() } else { None });
            };
            self.fetch(candidate, rows)?;
        }
    }

    /// Whether the `wanted` nearest of the ready rows are within `complete`; all of them, if there is no more.
    fn certain(&self, complete: f64, wanted: u64) -> bool {
        let within = self.ready.iter().filter(|r| r.key <= complete).count() as u64;
        within >= wanted
    }

    fn fetch(&mut self, candidate: Candidate, rows: &mut dyn Rows) -> Result<()> {
        if self.filling() || self.settings.order == Order::Relaxed {
            if self.known.contains(&candidate.tid.as_u64()) {
                return Ok(());
            }
        } else if self.last.is_some_and(|last| f64::from(candidate.upper) < self.key(last)) {
            // Returned already, or found too late to be returned in order.
            return Ok(());
        }
        self.rows_asked += 1;
        self.round.fetched += 1;
        let value = rows.distance(candidate.tid)?;
        if self.filling() {
            self.known.insert(candidate.tid.as_u64());
        }
        if let Some(value) = value {
            self.round.passed += 1;
            self.ready.push(Ready { key: self.key(value), value, tid: candidate.tid });
        }
        Ok(())
    }

    /// Gives out the nearest ready row, unless it has been given out or would be out of order.
    fn release(&mut self) -> Option<(Tid, f64)> {
        loop {
            let row = self.ready.pop()?;
            match self.settings.order {
                Order::Relaxed => {
                    if !self.known.insert(row.tid.as_u64()) && !self.filling() {
                        continue;
                    }
                }
                Order::Strict | Order::Off => {
                    if let Some(last) = self.last {
                        match row.value.total_cmp(&last) {
                            std::cmp::Ordering::Less => continue,
                            std::cmp::Ordering::Equal if self.ties.contains(&row.tid) => continue,
                            std::cmp::Ordering::Equal => {}
                            std::cmp::Ordering::Greater => self.ties.clear(),
                        }
                    }
                    self.ties.push(row.tid);
                }
            }
            self.last = Some(row.value);
            self.returned += 1;
            return Some((row.tid, row.value));
        }
    }

    /// The operator's value in the units of the bounds.
    fn key(&self, value: f64) -> f64 {
        let scale = f64::from(self.directory.meta.scale);
        match self.directory.metric() {
            Metric::L2 => (value * scale) * (value * scale),
            Metric::Cosine => 2.0 * value * scale * scale,
            Metric::InnerProduct => value * scale * scale,
        }
    }

    /// Runs the next round. False if the scan is at its end.
    fn advance<S: Store>(&mut self, store: &S) -> Result<bool> {
        let lists = self.directory.lists();
        let exhausted = self.round.reach == f64::INFINITY
            && (self.round.probes >= lists || self.settings.order == Order::Off);
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
        self.pool.start(usize::try_from(round.window).unwrap_or(usize::MAX));
        let width = effort::width(&self.directory, self.settings.recall_target, round.probes);
        self.router.start(&self.directory, &self.rotated);
        for _ in 0..round.probes {
            let Some(list) = self.router.next() else { break };
            let terms = self.router.terms(&self.directory, list, &self.rotated);
            self.scanner.list(store, &self.directory, &self.query, (list, terms, width), &mut self.pool)?;
        }
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
            let least = round.window.saturating_mul(4);
            round.window = needed.clamp(least, least.saturating_mul(16));
        }
        round.number += 1;
        round.fetched = 0;
        round.passed = 0;
        let target = self.settings.recall_target;
        let automatic = effort::probes(&self.directory, target, round.window as f64);
        round.probes = if self.settings.order == Order::Off || round.number == 1 {
            match self.settings.probes {
                0 => effort::probes(&self.directory, target, self.settings.limit.unwrap_or(0) as f64),
                n => n.min(lists),
            }
        } else if self.settings.probes > 0 {
            // The lists asked for hold no more: twice as many.
            let more = if round.reach == f64::INFINITY { 2 } else { 1 };
            round.probes.saturating_mul(more).min(lists)
        } else if round.reach == f64::INFINITY {
            automatic.max(round.probes.saturating_mul(2)).min(lists)
        } else {
            automatic.max(round.probes)
        };
    }
}
