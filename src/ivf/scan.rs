//! A scan of an index: a search of the lists in use, and while these are being replaced another of the next
//! ones, whose rows come merged.

use std::rc::Rc;

use super::directory::Directory;
use super::search::filter::Filter;
use super::search::{MayBeNear, Rows, Search, Settings, Stats};
use super::sketch::Sketched;
use crate::error::Result;
use crate::page::{Store, Tid};
use crate::value::TotalF64;

/// The directories of an index: of the lists in use, and of those that are to take their place.
pub type Directories = (Rc<Directory>, Option<Rc<Directory>>);

/// A scan; [`Scan::start_filtered`] begins it again in the same memory.
pub struct Scan {
    current: Search,
    next: Option<Search>,
    /// The next row of each, where there are two.
    waiting: [Waiting; 2],
}

#[derive(Clone, Copy, Default)]
enum Waiting {
    /// Not asked for yet.
    #[default]
    Unknown,
    Row(Tid, f64),
    /// There are no more.
    None,
}

impl Scan {
    /// A scan of an index.
    pub fn new((current, next): Directories, settings: Settings) -> Self {
        let next = next.map(|next| Search::new(next, settings));
        Self { current: Search::new(current, settings), next, waiting: Default::default() }
    }

    /// Begins a scan, as [`Search::start_filtered`].
    pub fn start_filtered<'a>(
        &mut self,
        settings: Settings,
        query: Option<impl Into<Sketched<'a>>>,
        filter: Filter,
    ) {
        let query = query.map(Into::into);
        self.waiting = Default::default();
        // The last pages of one set of lists are not those of both.
        let two = self.next.is_some();
        let memory = if two { settings.memory / 2 } else { settings.memory };
        let settings = Settings { paged: settings.paged && !two, memory, ..settings };
        if let Some(next) = &mut self.next {
            next.start_filtered(settings, query, filter.clone());
        }
        self.current.start_filtered(settings, query, filter);
    }

    /// Begins a range search whose rows are known, as [`Search::start_known`]. Only for a scan of one set of
    /// lists.
    ///
    /// # Errors
    /// Out of memory.
    pub fn start_known(&mut self, settings: Settings, rows: &[MayBeNear]) -> Result<()> {
        self.waiting = Default::default();
        self.current.start_known(settings, rows)
    }

    /// Whether this scan was made for these directories.
    pub fn reads(&self, (current, next): &Directories) -> bool {
        let same = match (&self.next, next) {
            (Some(search), Some(next)) => search.reads(next),
            (None, None) => true,
            _ => false,
        };
        same && self.current.reads(current)
    }

    /// The next row and its value (NaN where the order is none). Where no order is wanted, the rows of the
    /// lists in use come before those of the next.
    ///
    /// # Errors
    /// Damage, out of memory, and the store's and the heap's errors.
    pub fn next<S: Store>(&mut self, store: &S, rows: &mut dyn Rows) -> Result<Option<(Tid, f64)>> {
        let Some(next) = &mut self.next else { return self.current.next(store, rows) };
        if !self.current.is_in_order() {
            return match self.current.next(store, rows)? {
                None => next.next(store, rows),
                row => Ok(row),
            };
        }
        for (search, waiting) in [&mut self.current, next].into_iter().zip(&mut self.waiting) {
            if matches!(waiting, Waiting::Unknown) {
                let row = search.next(store, rows)?;
                *waiting = row.map_or(Waiting::None, |(tid, value)| Waiting::Row(tid, value));
            }
        }
        let key = |waiting: &Waiting| match waiting {
            Waiting::Row(tid, value) => Some((TotalF64(*value), *tid)),
            _ => None,
        };
        let first = match (key(&self.waiting[0]), key(&self.waiting[1])) {
            (None, _) => 1,
            (Some(_), None) => 0,
            (Some(a), Some(b)) => usize::from(b < a),
        };
        match std::mem::take(&mut self.waiting[first]) {
            Waiting::Row(tid, value) => Ok(Some((tid, value))),
            ended => {
                self.waiting[first] = ended;
                Ok(None)
            }
        }
    }

    /// Counters since the scan was made.
    pub fn stats(&self) -> Stats {
        let stats = self.current.stats();
        self.next.as_ref().map_or(stats, |next| stats + next.stats())
    }

    /// Lists of the index.
    pub fn lists(&self) -> u32 {
        self.current.lists() + self.next.as_ref().map_or(0, Search::lists)
    }

    /// Whether the scan at hand came to its end by the threshold on values, if it has one.
    pub fn threshold_reached(&self) -> Option<bool> {
        let next = self.next.as_ref().and_then(Search::threshold_reached);
        self.current.threshold_reached().map(|reached| reached && next.unwrap_or(true))
    }
}
