//! A query of a batch while its lists are read: which lists these are, and its candidates.

use std::ops::Range;

use super::super::candidates::{CANDIDATE_SIZE, Candidates, Want};
use super::super::list_scan::{Candidate, Scanner, Sink};
use super::super::query::CodedQuery;
use super::super::route::Router;
use super::super::settings::{Order, Settings};
use super::super::stages::{self, Effort, Stage};
use super::super::{effort, onward::Onward};
use super::query::{Finding, Query, window};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::memory::Grow;
use crate::page::{Store, Tid};
use crate::quant::Width;

/// Number of lists that each query reads first, its best ones. They hold most of its neighbours, and so give
/// a threshold that excludes nearly all rows of the other lists.
const FIRST: u32 = 4;
/// If a query reads on, by how much: a share of the lists read. So it reads on a few times only.
const STEP: u32 = 8;
/// Candidates for which a query has room, as a multiple of its window. If there are more, a scan answers it.
const ROOM: usize = 64;

/// A query in the forms that reading lists needs; the memory is used again for the next query.
pub(super) struct Reader {
    coded: CodedQuery,
    router: Router,
    candidates: Candidates,
    width: Width,
    window: u64,
    /// The row that does not count.
    itself: Option<Tid>,
    /// Whether codes can order the rows for the query.
    is_ordered: bool,
    /// Lists that were read, and that are to be read.
    read: u32,
    until: u32,
    /// The lists that are read next.
    pub next: Vec<u32>,
}

impl Reader {
    pub fn new(directory: &Directory) -> Self {
        Self {
            coded: CodedQuery::new(directory),
            router: Router::default(),
            candidates: Candidates::default(),
            width: Width::of(0.0),
            window: 0,
            itself: None,
            is_ordered: false,
            read: 0,
            until: 0,
            next: Vec::new(),
        }
    }

    /// Bytes that reading the lists of a query takes.
    pub fn bytes(directory: &Directory, settings: &Settings) -> usize {
        /// Bytes for each coordinate: its form in the index, codes and tables.
        const COORDINATE: usize = 32;
        /// Bytes for each list: what routing takes, and its place among the lists to be read.
        const LIST: usize = 32;
        /// A query's candidates are few of those for which it has room.
        const SHARE: usize = 4;
        let candidates = room(settings) / SHARE * CANDIDATE_SIZE;
        size_of::<Self>() + directory.padded() * COORDINATE + directory.lists() as usize * LIST + candidates
    }

    /// Takes a query. The lists are to be scored then.
    pub fn set(&mut self, directory: &Directory, query: &Query) -> Result<()> {
        self.itself = query.itself.map(|itself| itself.row);
        let has_direction = self.coded.transform(directory, &query.vector);
        self.is_ordered = has_direction && !self.coded.may_overflow(directory, &query.vector);
        if self.is_ordered {
            self.coded.encode(directory);
            self.router.begin(directory, &self.coded.point)?;
        }
        Ok(())
    }

    /// Compares the query with the centroids of some lists.
    pub fn score(&mut self, directory: &Directory, lists: Range<usize>) {
        if self.is_ordered {
            self.router.compare(directory, lists);
        }
    }

    /// Plans which lists are read for the settings' limit, as the first round of a scan does. All lists have
    /// been scored.
    pub fn plan(&mut self, directory: &Directory, settings: &Settings) -> Result<()> {
        if !self.is_ordered {
            return Ok(());
        }
        self.router.end(directory);
        self.coded.take_scores(directory, &self.router, (settings, false));
        self.router.restart(directory)?;
        let stage = Stage::first(settings.limit.unwrap_or(1), self.effort(directory, settings));
        self.window = stage.window;
        (self.read, self.until) = (0, stage.probes);
        self.width = effort::width(directory, settings.recall_target, stage.probes, false);
        self.candidates.start(Want {
            window: stage.window,
            ceiling: f32::INFINITY,
            late: f64::NEG_INFINITY,
            keeps_late: false,
            beyond: f32::NEG_INFINITY,
            room: room(settings),
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

    /// Finds the lists that are read next: the best ones, then the others that are planned, then those that a
    /// scan reads for what it has found.
    pub fn find_next(&mut self, directory: &Directory, settings: &Settings) -> Result<()> {
        self.next.clear();
        if !self.is_ordered {
            return Ok(());
        }
        if self.read >= self.until {
            self.until = self.further(directory, settings);
        }
        let until = if self.read == 0 { self.until.min(FIRST) } else { self.until };
        while self.read < until {
            let Some(list) = self.router.next_list() else { break };
            self.next.try_push(list)?;
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
                return onward.limit(more);
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
        list: u32,
    ) -> Result<()> {
        let Self { coded, router, .. } = self;
        let terms = || router.terms(directory, list, &coded.point);
        let reading = (list, &terms as &dyn Fn() -> _, self.width);
        let mut others = Others { candidates: &mut self.candidates, itself: self.itself };
        scanner.list(store, directory, &coded.code, reading, &mut others)?;
        self.candidates.check()
    }

    /// Ends reading: passes on the candidates.
    pub fn finish(&mut self, finding: &mut Finding) -> Result<()> {
        if !self.is_ordered {
            finding.incomplete = true;
            return Ok(());
        }
        let (mark, _) = self.candidates.finish();
        finding.start(self.candidates.take_marks()?, mark, self.read);
        Ok(())
    }
}

/// Takes candidates other than the query's own row.
struct Others<'a> {
    candidates: &'a mut Candidates,
    itself: Option<Tid>,
}

impl Sink for Others<'_> {
    fn threshold(&self) -> f32 {
        self.candidates.threshold()
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        if self.itself != Some(candidate.tid) {
            self.candidates.push(list, candidate);
        }
    }
}

/// Candidates for which a query has room.
fn room(settings: &Settings) -> usize {
    usize::try_from(window(settings)).unwrap_or(usize::MAX).saturating_mul(ROOM)
}
