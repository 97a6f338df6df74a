//! A query of a batch: what is asked, and which rows are found.

use super::super::candidates::Mark;
use super::super::output::Ready;
use super::super::settings::{Order, Settings};
use super::super::stages::LEAST_WINDOW;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::top_k::TopK;
use crate::memory::out_of_memory;
use crate::page::Tid;

/// A row found, with its exact value. Rows are ordered as a scan returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub ready: Ready,
    /// Address of the version that the snapshot sees.
    pub version: Tid,
}

/// A row of the table that is a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Itself {
    /// Its address in the index.
    pub row: Tid,
    /// Address of the version that the snapshot sees.
    pub version: Tid,
}

/// A query; its memory is used again.
#[derive(Default)]
pub(super) struct Query {
    /// The caller's number.
    pub number: u64,
    /// The vector as it was given.
    pub vector: Vec<f32>,
    /// The row that it is. This row does not count.
    pub itself: Option<Itself>,
}

/// Candidates of a query that are expected to be left when its lists have been read, as a multiple of its
/// window.
const LEFT: usize = 4;

/// A row that a query needs.
#[derive(Clone, Copy)]
pub(super) struct Need {
    /// Its address in the index.
    pub row: Tid,
    /// The query's place in the batch.
    pub query: u32,
    /// The value, if the index knows it.
    pub known: Option<f64>,
}

/// What is known of the rows that a query looks for.
pub(super) struct Finding {
    /// Candidates whose values are not known, from `next` on, the least lower bounds first.
    marks: Vec<Mark>,
    next: usize,
    /// Every row of the lists read up to this mark was a candidate.
    mark: Mark,
    /// Lists that were read.
    read: u32,
    /// Whether rows are missing that only an ordinary scan finds.
    pub incomplete: bool,
    pub found: TopK<Found>,
}

impl Default for Finding {
    fn default() -> Self {
        let mark = Mark::whole(f32::NEG_INFINITY);
        Self { marks: Vec::new(), next: 0, mark, read: 0, incomplete: false, found: TopK::new(1) }
    }
}

impl Finding {
    /// Bytes of a query that waits for its rows, and of these.
    pub fn bytes(directory: &Directory, settings: &Settings, wanted: usize) -> usize {
        /// Bytes of an entry in the table of the queries' rows, twice because the table grows by doubling.
        const ENTRY: usize = 32;
        let own = size_of::<Query>() + size_of::<Self>() + ENTRY + directory.dims() * size_of::<f32>();
        // What is found, and twice, with room to grow, which rows have to be fetched for it.
        let of_row = size_of::<Found>() + 3 * size_of::<Need>();
        own + Self::left(settings) * size_of::<Mark>() + wanted.saturating_mul(of_row)
    }

    /// Candidates that are expected to be left.
    pub fn left(settings: &Settings) -> usize {
        usize::try_from(window(settings)).unwrap_or(usize::MAX).saturating_mul(LEFT)
    }

    /// Forgets all.
    pub fn restart(&mut self, wanted: usize) {
        self.start(Vec::new(), Mark::whole(f32::NEG_INFINITY), 0);
        self.incomplete = false;
        self.found.restart(wanted);
    }

    /// Takes the candidates that `read` lists have up to a mark.
    pub fn start(&mut self, marks: Vec<Mark>, mark: Mark, read: u32) {
        (self.marks, self.next, self.mark, self.read) = (marks, 0, mark, read);
    }

    /// Candidates that it keeps.
    pub fn candidates(&self) -> usize {
        self.marks.len()
    }

    /// The candidates whose values are needed next, passed to `needed`: none once the nearest rows are known.
    pub fn next_rows(
        &mut self,
        directory: &Directory,
        wanted: usize,
        mut needed: impl FnMut(Mark) -> Result<()>,
    ) -> Result<()> {
        if self.incomplete {
            return Ok(());
        }
        let farthest = self.farthest();
        if farthest.is_some_and(|row| row.key.0.is_nan()) {
            // A row at no distance is beyond all others, and no bound tells it: a scan will look further.
            self.incomplete = true;
            return Ok(());
        }
        let dealt = self.marks.get(self.next).map_or(self.mark, |next| self.mark.min(*next));
        if farthest.is_some_and(|row| dealt.is_past(row.key.0, row.tid, directory.is_exact())) {
            return Ok(());
        }
        let mut missing = wanted - self.found.len();
        while let Some(&next) = self.marks.get(self.next) {
            let useful = farthest.is_some_and(|row| f64::from(next.lower.0) <= row.key.0);
            if missing == 0 && !useful {
                break;
            }
            self.next += 1;
            needed(next)?;
            missing = missing.saturating_sub(1);
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

    fn farthest(&self) -> Option<Ready> {
        self.found.greatest().filter(|_| self.found.is_full()).map(|found| found.ready)
    }

    /// Whether the nearest rows are not all known although all candidates have their values: rows are dead,
    /// or bounds were wrong, and a scan would continue with another round.
    pub fn lacks(&self, directory: &Directory, settings: &Settings) -> bool {
        let exhausted =
            self.mark.is_end() && (self.read >= directory.lists() || settings.order == Order::Off);
        let is_past = |row: Ready| self.mark.is_past(row.key.0, row.tid, directory.is_exact());
        !exhausted && !self.farthest().is_some_and(is_past)
    }
}

/// Rows that a query looks for.
pub(super) fn window(settings: &Settings) -> u64 {
    settings.limit.unwrap_or(1).max(LEAST_WINDOW)
}
