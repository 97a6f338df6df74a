//! One query of a batch: which lists it reads, its candidates, and the rows found so far.

use super::super::candidates::{CANDIDATE_SIZE, Candidates, Mark, Want};
use super::super::list_scan::{Candidate, Scanner};
use super::super::output::Ready;
use super::super::query::CodedQuery;
use super::super::route::Router;
use super::super::settings::{Order, Settings};
use super::super::stages::{self, Effort, Stage};
use super::super::{effort, onward::Onward};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::top_k::TopK;
use crate::memory::{Grow, out_of_memory};
use crate::page::{Store, Tid};
use crate::quant::{ListTerms, Width};

/// Number of lists that each query reads first, its best ones. They hold most of its neighbours, and so give
/// a threshold that excludes nearly all rows of the other lists.
const FIRST: u32 = 4;
/// If a query reads on, by how much: a share of the lists read. So it reads on a few times only.
const STEP: u32 = 8;

/// A row found, with its exact value. Rows are ordered as a scan returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub ready: Ready,
    /// Address of the version that the snapshot sees.
    pub version: Tid,
}

/// A query; its memory is used again.
pub(super) struct Query {
    /// The caller's number.
    pub number: u64,
    /// The vector as it was given.
    pub vector: Vec<f32>,
    /// The row that does not count: the query itself.
    pub itself: Option<Tid>,
    coded: CodedQuery,
    router: Router,
    candidates: Candidates,
    width: Width,
    window: u64,
    /// Lists that were read, and that are to be read.
    read: u32,
    until: u32,
    mark: Mark,
    /// Whether rows are missing that only an ordinary scan finds.
    pub incomplete: bool,
    pub found: TopK<Found>,
}

impl Query {
    pub fn new(directory: &Directory) -> Self {
        Self {
            number: 0,
            vector: Vec::new(),
            itself: None,
            coded: CodedQuery::new(directory),
            router: Router::default(),
            candidates: Candidates::default(),
            width: Width::of(0.0),
            window: 0,
            read: 0,
            until: 0,
            mark: Mark::whole(f32::NEG_INFINITY),
            incomplete: false,
            found: TopK::new(1),
        }
    }

    /// Bytes of a query with room for so many candidates.
    pub fn bytes(directory: &Directory, room: usize) -> usize {
        /// Bytes for each coordinate: the vector, its form in the index, codes and tables.
        const COORDINATE: usize = 36;
        /// Bytes for each list: its score, its key, a product.
        const LIST: usize = 24;
        /// A query's candidates are few of those for which it has room.
        const SHARE: usize = 4;
        let candidates = room / SHARE * CANDIDATE_SIZE;
        size_of::<Self>() + directory.padded() * COORDINATE + directory.lists() as usize * LIST + candidates
    }

    /// Takes a query. Returns false if it has no neighbours: a zero vector under cosine.
    pub fn set(&mut self, directory: &Directory, vector: &[f32]) -> Result<bool> {
        self.vector.clear();
        self.vector.try_extend(vector)?;
        Ok(self.coded.transform(directory, vector))
    }

    /// Plans which lists are read for the settings' limit, as the first round of a scan does. `wanted` is the
    /// number of rows; `room` that of candidates.
    pub fn plan(
        &mut self,
        directory: &Directory,
        settings: &Settings,
        (wanted, room): (usize, usize),
    ) -> Result<()> {
        self.found.restart(wanted);
        self.incomplete = self.coded.may_overflow(directory, &self.vector);
        (self.read, self.until) = (0, 0);
        if self.incomplete {
            return Ok(());
        }
        self.coded.encode(directory);
        self.coded.route(directory, &mut self.router, (settings, false))?;
        self.router.restart(directory)?;
        let stage = Stage::first(settings.limit.unwrap_or(1), self.effort(directory, settings));
        self.window = stage.window;
        self.until = stage.probes;
        self.width = effort::width(directory, settings.recall_target, stage.probes, false);
        self.candidates.start(Want {
            window: stage.window,
            ceiling: f32::INFINITY,
            late: f64::NEG_INFINITY,
            keeps_late: false,
            beyond: f32::NEG_INFINITY,
            room,
        });
        self.candidates.start_list(None);
        if self.coded.onward.is_some() {
            self.candidates.note_nearest()?;
        }
        Ok(())
    }

    fn effort<'a>(&self, directory: &'a Directory, settings: &'a Settings) -> Effort<'a> {
        Effort {
            directory,
            settings,
            dither: self.coded.dither,
            further: self.coded.further(),
            least: self.coded.onward.as_ref().map(Onward::first),
        }
    }

    /// The lists that are read next, passed to `read`: the best ones, then the others that are planned, then
    /// those that a scan reads for what it has found.
    pub fn next_lists(
        &mut self,
        directory: &Directory,
        settings: &Settings,
        mut read: impl FnMut(u32, ListTerms) -> Result<()>,
    ) -> Result<()> {
        if self.incomplete {
            return Ok(());
        }
        if self.read >= self.until {
            self.until = self.further(directory, settings);
        }
        let until = if self.read == 0 { self.until.min(FIRST) } else { self.until };
        while self.read < until {
            let Some(list) = self.router.next_list() else { break };
            read(list, self.router.terms(directory, list, &self.coded.point))?;
            self.read += 1;
        }
        Ok(())
    }

    /// Up to how many lists are read when those planned have been; see `rounds.rs`.
    fn further(&mut self, directory: &Directory, settings: &Settings) -> u32 {
        let more = self.read + self.read / STEP + 1;
        let Some(next) = self.router.peek() else { return self.read };
        if let Some(onward) = self.coded.onward {
            if onward.goes_on(directory, &self.router, self.candidates.tenth(), self.read, next) {
                return more;
            }
            self.coded.end_onward(self.read);
            if self.window > stages::LEAST_WINDOW {
                let effort = self.effort(directory, settings);
                let first = effort.first(self.window as f64, 1.0);
                if first > self.read {
                    return first;
                }
            }
        }
        let fills = settings.order != Order::Off && !self.candidates.has(self.window);
        if fills { more } else { self.read }
    }

    /// Prefetches what comparing the rows of a list needs.
    pub fn prefetch(&self) {
        self.coded.code.prefetch();
    }

    /// Compares the rows of a list.
    pub fn read_list<S: Store>(
        &mut self,
        (store, directory): (&S, &Directory),
        scanner: &mut Scanner,
        (list, terms): (u32, ListTerms),
    ) -> Result<()> {
        let terms = || terms;
        let reading = (list, &terms as &dyn Fn() -> _, self.width);
        scanner.list(store, directory, &self.coded.code, reading, &mut self.candidates)?;
        self.candidates.check()
    }

    /// Ends reading: the candidates are known.
    pub fn finish(&mut self) {
        (self.mark, _) = self.candidates.finish();
    }

    /// The candidates whose values are needed next, passed to `needed`: none once the nearest rows are known.
    pub fn next_rows(
        &mut self,
        directory: &Directory,
        wanted: usize,
        mut needed: impl FnMut(Candidate) -> Result<()>,
    ) -> Result<()> {
        if self.incomplete {
            return Ok(());
        }
        let farthest = self.found.greatest().filter(|_| self.found.is_full()).map(|found| found.ready);
        if farthest.is_some_and(|row| row.key.0.is_nan()) {
            // A row at no distance is beyond all others, and no bound tells it: a scan will look further.
            self.incomplete = true;
            return Ok(());
        }
        let dealt = self.candidates.next_mark().map_or(self.mark, |next| next.min(self.mark));
        if farthest.is_some_and(|row| dealt.is_past(row.key.0, row.tid, directory.is_exact())) {
            return Ok(());
        }
        let mut missing = wanted - self.found.len();
        while let Some(next) = self.candidates.next_mark() {
            let useful = farthest.is_some_and(|row| f64::from(next.lower.0) <= row.key.0);
            if missing == 0 && !useful {
                break;
            }
            let Some(candidate) = self.candidates.pop() else { break };
            if Some(candidate.tid) != self.itself {
                needed(candidate)?;
                missing = missing.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Takes a row with its value.
    pub fn take(&mut self, row: Found) -> Result<()> {
        const FIRST_ROOM: usize = 16;
        if let Some(more) = self.found.lacks_room(FIRST_ROOM) {
            return Err(out_of_memory(more * size_of::<Found>()));
        }
        self.found.push(row);
        Ok(())
    }

    /// Whether the nearest rows are not all known although all candidates have their values: rows are dead,
    /// or bounds were wrong, and a scan would continue with another round.
    pub fn lacks(&self, directory: &Directory, settings: &Settings) -> bool {
        let exhausted =
            self.mark.is_end() && (self.read >= directory.lists() || settings.order == Order::Off);
        let farthest = self.found.greatest().filter(|_| self.found.is_full()).map(|found| found.ready);
        let is_past = |row: Ready| self.mark.is_past(row.key.0, row.tid, directory.is_exact());
        !exhausted && !farthest.is_some_and(is_past)
    }
}
