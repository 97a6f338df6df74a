//! Searching: a scan returns rows one by one in the exact order of the operator's value.
//!
//! A scan works in *rounds* (`rounds.rs`). A round reads the best lists, keeps the rows that may be among the
//! nearest `window` ones by their bounds (`candidates.rs`), and fetches exact values from the heap, best
//! bound first. Rows whose exact value is within the round's reach (the window's threshold) are certain and
//! are returned in order (`output.rs`). If the consumer wants more rows, the next round continues where this
//! one ended, with a wider window and more lists. The *stages* (`stages.rs`) say how many rows a round looks
//! for. [`Settings::memory`], or what the limit needs, bounds the memory.

mod barren;
pub mod batch;
mod candidates;
mod effort;
pub mod filter;
mod full_scan;
mod key;
mod list_scan;
mod list_scan_bits;
mod list_scan_widened;
mod offset;
mod onward;
mod output;
mod query;
mod range_scan;
mod ranking;
mod rounds;
mod route;
mod rows;
mod scores;
mod selectivity;
mod settings;
mod stages;

use std::rc::Rc;

pub use self::candidates::NEAREST;
use self::candidates::{CANDIDATE_SIZE, Candidates, Mark};
pub use self::effort::{dither, further, lists, most, whole, width};
use self::filter::Filter;
use self::full_scan::{FullScan, Which};
use self::key::{ceiling_key, key_of, known_value};
pub use self::list_scan::{Candidate, Scanner, Sink, Stats};
use self::offset::Offset;
use self::output::{Output, Ready};
use self::query::CodedQuery;
use self::range_scan::RangeScan;
use self::rounds::{Filtered, Floors, Round};
pub use self::route::{Found, Router};
pub use self::rows::{MayBeNear, Rows};
use self::rows::{is_address, value_of};
pub use self::settings::{Order, Probes, Settings};
use self::stages::Stage;
use super::directory::Directory;
use super::sketch::Sketched;
use crate::error::Result;
use crate::memory::Grow;
use crate::page::{Store, Tid};
use crate::value::TotalF64;

/// The least memory of a scan, which is the least `work_mem` that PostgreSQL allows.
const LEAST_MEMORY: usize = 64 << 10;

/// Numbers of candidates and rows that fit into the memory of a scan.
#[derive(Clone, Copy)]
struct Room {
    candidates: usize,
    rows: usize,
}

impl Room {
    /// One half is for candidates, the other for rows. A row takes twice its size, because certain rows are
    /// copied to a second list.
    fn of(memory: usize) -> Self {
        let half = memory.max(LEAST_MEMORY) / 2;
        Self { candidates: half / CANDIDATE_SIZE, rows: half / (2 * size_of::<Ready>()) }
    }
}

/// The most rows that are prefetched together from the heap. With more rows, the first would be evicted from
/// the processor's caches before they are read.
const MOST_PREFETCHED: u64 = 64;
/// Beyond the rows that are wanted, usually one for so many of them is fetched.
const ROWS_PER_SPARE: usize = 4;

/// How rows are found.
enum Mode {
    /// By their codes, in order.
    Codes,
    /// By their codes, all within the ceiling, in any order.
    Range,
    /// All rows are read.
    FullScan(FullScan),
    /// No row can pass.
    Nothing,
}

/// A scan; [`Search::start`] begins it again in the same memory.
pub struct Search {
    directory: Rc<Directory>,
    settings: Settings,
    room: Room,
    mode: Mode,
    query: CodedQuery,
    /// The settings' ceiling in the units of the bounds.
    ceiling: f32,
    /// What the query's values are greater by than estimates.
    offset: Offset,
    router: Router,
    /// The lists that the current round reads in any case, best first.
    planned: Vec<u32>,
    scanner: Scanner,
    /// For each list, whether it is barren; `None` before the summaries are read.
    barren: Option<Vec<bool>>,
    candidates: Candidates,
    output: Output,
    round: Round,
    floors: Floors,
    /// How many rows passed the filter columns in the lists of the current round.
    filtered: Option<Filtered>,
    /// The current stage; `None` if it is not known how many rows are wanted.
    stage: Option<Stage>,
    range: RangeScan,
    returned: u64,
    /// Number of rows fetched by this scan, and number of these that passed the filter.
    seen: (u64, u64),
    /// Whether there are no further rows.
    ended: bool,
    /// Rows fetched since the search was created, and the largest number of rows that a scan has kept.
    rows_asked: u64,
    kept: u64,
}

impl Search {
    /// A scan of an index.
    pub fn new(directory: Rc<Directory>, settings: Settings) -> Self {
        Self {
            query: CodedQuery::new(&directory),
            room: Room::of(settings.memory),
            mode: Mode::Nothing,
            ceiling: f32::INFINITY,
            offset: Offset::default(),
            router: Router::default(),
            planned: Vec::new(),
            scanner: Scanner::default(),
            barren: None,
            candidates: Candidates::default(),
            output: Output::default(),
            round: Round::none(),
            floors: Floors::default(),
            filtered: None,
            stage: None,
            range: RangeScan::default(),
            returned: 0,
            seen: (0, 0),
            ended: false,
            rows_asked: 0,
            kept: 0,
            settings,
            directory,
        }
    }

    /// Begins a scan for `query`. Without a query (SQL NULL, or a zero vector under cosine) it returns every
    /// row, in no particular order.
    pub fn start<'a>(&mut self, settings: Settings, query: Option<impl Into<Sketched<'a>>>) {
        self.start_filtered(settings, query, Filter::default());
    }

    /// As [`Search::start`], for the rows that pass conditions on the filter columns.
    pub fn start_filtered<'a>(
        &mut self,
        settings: Settings,
        query: Option<impl Into<Sketched<'a>>>,
        filter: Filter,
    ) {
        self.restart(settings);
        self.mode = if filter.is_void() { Mode::Nothing } else { self.mode_for(query.map(Into::into)) };
        self.scanner.filter = filter;
    }

    /// Forgets the scan before, except its memory and the sums of what was done.
    fn restart(&mut self, settings: Settings) {
        self.kept = self.kept_at_most();
        self.settings = settings;
        self.room = Room::of(settings.memory);
        self.ceiling = ceiling_key(&self.directory, settings.ceiling);
        self.offset = Offset::start(self.directory.sketch().is_of_tokens());
        self.barren = None;
        self.candidates.clear();
        self.output.start(settings.order, self.directory.is_exact());
        self.output.set_room(self.room.rows);
        let keeps_late = settings.paged && settings.order == Order::Strict;
        self.output.start_late(if keeps_late { self.room.rows / 4 } else { 0 });
        self.round = Round::none();
        self.floors.clear();
        self.stage = None;
        self.range.clear();
        self.returned = 0;
        self.ended = false;
        self.seen = (0, 0);
    }

    /// Chooses how rows are found for a query, and makes the query's tables if they are needed.
    fn mode_for(&mut self, query: Option<Sketched<'_>>) -> Mode {
        let directory = &self.directory;
        self.query.forget_elements();
        self.planned.clear();
        let is_coded = |query: &Sketched<'_>| self.query.transform(directory, query.coordinates);
        let Some(query) = query.filter(is_coded) else {
            return Mode::FullScan(FullScan::unordered(directory));
        };
        // What asks for no approximation gets none, and sketches cannot exclude a row for certain.
        let needs_values = directory.sketch().is_lossy() && self.settings.recall_target >= 1.0;
        let needs_values = needs_values || directory.is_unmeasured();
        let overflows = self.query.may_overflow(directory, query.coordinates);
        let is_comparable = !overflows && self.query.take_elements(directory, query);
        if needs_values || !is_comparable {
            // Every row is measured exactly, unless its elements exclude it.
            if !self.settings.in_order {
                return Mode::FullScan(FullScan::within(directory, self.settings.ceiling));
            }
            self.output.start(Order::Strict, false);
            let most = self.room.rows;
            let wanted = self.settings.limit.map(|limit| limit.saturating_add(limit / 2).saturating_add(6));
            let room = wanted.filter(|_| self.query.elements().is_some()).map_or(most, |rows| rows as usize);
            return Mode::FullScan(FullScan::ordered(self.settings.ceiling, (room, most)));
        }
        self.query.encode(directory);
        self.ceiling += directory.slack_of_ceiling(self.query.code.length());
        if self.settings.in_order { Mode::Codes } else { Mode::Range }
    }

    /// Whether rows are wanted in order.
    pub fn is_in_order(&self) -> bool {
        self.settings.in_order
    }

    /// Whether this search was made for the given directory.
    pub fn reads(&self, directory: &Rc<Directory>) -> bool {
        Rc::ptr_eq(&self.directory, directory)
    }

    /// Counters since the search was made.
    pub fn stats(&self) -> Stats {
        Stats { rows: self.rows_asked, kept: self.kept_at_most(), ..self.scanner.stats }
    }

    /// Lists of the index.
    pub fn lists(&self) -> u32 {
        self.directory.lists()
    }

    /// Whether the current scan ended because of its distance threshold; `None` if it has none.
    pub fn threshold_reached(&self) -> Option<bool> {
        (self.settings.ceiling < f64::INFINITY).then_some(self.ended)
    }

    fn kept_at_most(&self) -> u64 {
        self.kept.max((self.candidates.most() + self.output.most()).max(self.range.most) as u64)
    }

    /// The next row and its value (NaN for a scan without an order).
    ///
    /// # Errors
    /// Damage, out of memory, and the store's and the heap's errors.
    pub fn next<S: Store>(&mut self, store: &S, rows: &mut dyn Rows) -> Result<Option<(Tid, f64)>> {
        self.plan_full_scan()?;
        let next = match &mut self.mode {
            Mode::Nothing => Ok(None),
            Mode::FullScan(full_scan) => {
                let elements = self.query.elements();
                let which = Which { filter: &self.scanner.filter, elements, lists: &self.planned };
                let next = full_scan.next((store, &*self.directory), which, &mut self.output, rows);
                let done = full_scan.take_stats();
                self.rows_asked += done.rows;
                self.scanner.stats = self.scanner.stats + done;
                next
            }
            Mode::Codes => {
                self.route()?;
                self.next_by_codes(store, rows)
            }
            Mode::Range => {
                if !self.range.is_known() {
                    self.route()?;
                }
                self.next_in_range(store, rows)
            }
        }?;
        self.ended = next.is_none();
        Ok(next)
    }

    /// The order in which a scan that looks at all rows reads the lists, if near rows exclude others.
    fn plan_full_scan(&mut self) -> Result<()> {
        let is_full = matches!(self.mode, Mode::FullScan(_)) && self.settings.in_order;
        if is_full && self.query.elements().is_some() && self.planned.is_empty() {
            self.router.start(&self.directory, &self.query.point)?;
            while let Some(list) = self.router.next_list() {
                self.planned.try_push(list)?;
            }
        }
        Ok(())
    }

    fn route(&mut self) -> Result<()> {
        let (settings, is_filtered) = (&self.settings, !self.scanner.filter.is_empty());
        self.query.route(&self.directory, &mut self.router, (settings, is_filtered))
    }

    fn next_by_codes<S: Store>(&mut self, store: &S, rows: &mut dyn Rows) -> Result<Option<(Tid, f64)>> {
        loop {
            self.begin_stage();
            if self.is_served() {
                self.extend(store)?;
            }
            // As long as the offset is not known, no row is certain while others may be fetched.
            if self.offset.is_known() || !self.has_useful() {
                self.output.settle(self.dealt_with())?;
            }
            if self.may_leave()
                && let Some(row) = self.output.take()
            {
                self.returned += 1;
                return Ok(Some((row.tid, row.value.0)));
            }
            if self.fetch_next(rows)? {
                continue;
            }
            if !self.advance(store)? {
                return Ok(None);
            }
            if self.round.number == 1 && !self.round.exhausted {
                self.prefetch_rows(rows)?;
            }
        }
    }

    /// Announces the rows that will be fetched in any case, and some of those that usually follow.
    fn prefetch_rows(&mut self, rows: &mut dyn Rows) -> Result<()> {
        let wanted = |limit: u64| limit.max(self.offset.wanted().into()).min(MOST_PREFETCHED) as usize;
        let most = self.settings.limit.map_or(0, wanted);
        let directory = &self.directory;
        let ahead: Vec<_> = self
            .candidates
            .line_up(most + most.div_ceil(ROWS_PER_SPARE))
            .filter(|candidate| is_address(candidate.tid))
            .map(|candidate| (candidate.tid, known_value(directory, candidate.lower)))
            .collect();
        let (ahead, spare) = ahead.split_at(most.min(ahead.len()));
        rows.prefetch(ahead, spare)
    }

    /// The mark up to which the rows of the lists read are in the output.
    fn dealt_with(&self) -> Mark {
        self.candidates.next_mark().map_or(self.round.mark, |next| next.min(self.round.mark))
    }

    /// Whether certain rows may be returned. If the limit is known, the scan waits until there are as many as
    /// it wants. Then no later round can find a row that belongs before them.
    fn may_leave(&self) -> bool {
        self.output.is_forced()
            || self.round.exhausted
            || self.stage.is_none_or(|stage| {
                let certain = self.returned.saturating_add(self.output.certain());
                certain >= stage.goal && self.round.probes >= stage.probes
            })
    }

    /// Whether a candidate may be among the wanted rows.
    fn has_useful(&self) -> bool {
        let useful = |next: Mark| f64::from(next.lower.0) <= self.output.useful();
        self.candidates.next_mark().is_some_and(useful)
    }

    /// Fetches the next candidate. Returns false if the round has no useful candidate left.
    fn fetch_next(&mut self, rows: &mut dyn Rows) -> Result<bool> {
        if !self.has_useful() {
            return self.fetch_late(rows);
        }
        let Some(candidate) = self.candidates.pop() else { return Ok(false) };
        if f64::from(candidate.upper) < self.output.late() {
            // The row was returned already, or was found too late to be returned in order.
            self.output.note_late(candidate.tid);
            return Ok(true);
        }
        self.round.fetched += 1;
        self.seen.0 += 1;
        if let Some(row) = self.fetch(rows, candidate.tid, known_value(&self.directory, candidate.lower))? {
            self.round.passed += 1;
            self.seen.1 += 1;
            self.offset.note(row.key.0, candidate.estimate());
            self.output.set_offset(self.offset.mean());
            self.output.push(row)?;
        }
        Ok(true)
    }

    /// Fetches the late rows, once there are no other rows. Returns false if there are no late rows.
    ///
    /// Late rows are nearer than some returned rows, but those are on earlier pages. If only the order within
    /// a page counts, late rows are returned now; otherwise the last pages would not be full.
    fn fetch_late(&mut self, rows: &mut dyn Rows) -> Result<bool> {
        if !self.output.has_late() || !self.is_exhausted() || self.round.exhausted {
            return Ok(false);
        }
        self.output.unsettle()?;
        while let Some(tid) = self.output.pop_late() {
            if let Some(row) = self.fetch(rows, tid, None)? {
                self.output.push_late(row)?;
            }
        }
        Ok(true)
    }

    /// Fetches a row with its value; `None` if it does not pass.
    fn fetch(&mut self, rows: &mut dyn Rows, tid: Tid, known: Option<f64>) -> Result<Option<Ready>> {
        self.rows_asked += 1;
        // NaN comes last, as PostgreSQL sorts it, whatever its sign.
        let value = value_of(rows, tid, known)?.map(|value| if value.is_nan() { f64::NAN } else { value });
        let value = value.filter(|value| full_scan::is_within(*value, self.settings.ceiling));
        Ok(value.map(|value| Ready {
            value: TotalF64(value),
            tid,
            key: TotalF64(key_of(&self.directory, value)),
        }))
    }
}
