//! Range search: all rows within the ceiling, as they are found.
//!
//! The lists are read in batches, nearest first, and the rows of a batch are returned, in the table's order,
//! before the next batch is read. The first batch is one list, and each further one has twice as many. So the
//! first row comes soon, for `EXISTS` or a LIMIT without an order, and the pages of many lists are requested
//! together where all rows are wanted. No page stays pinned while the consumer has a row.
//!
//! If the rows that may be in the range are known before (`batch/ahead.rs`), no list is read.

use std::rc::Rc;

use super::key::known_value;
use super::list_scan::{Candidate, Sink};
use super::rows::{MayBeNear, Rows, is_address};
use super::{MOST_PREFETCHED, Mode, Search, Settings, barren, effort};
use crate::error::{Error, Result};
use crate::ivf::directory::Directory;
use crate::memory::Grow;
use crate::page::{Store, Tid};

/// Where a range search is.
#[derive(Default)]
pub(super) struct RangeScan {
    /// Number of lists that the next batch may have; zero before the first.
    size: usize,
    /// The lists that were read last.
    batch: Vec<u32>,
    /// Their candidates that were not fetched yet, the first one last.
    found: Vec<MayBeNear>,
    /// Whether these are all.
    complete: bool,
    /// The last of them, if there was no room for others behind it.
    cut: Option<Tid>,
    /// Number of rows that are announced together next, and of announced rows that were not fetched yet.
    /// Each is fetched when it is announced, so the first ones are few.
    announcing: usize,
    announced: usize,
    /// The largest number of candidates kept at a time.
    pub most: usize,
}

impl RangeScan {
    /// Forgets a search, and keeps the memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.found.clear();
        (self.size, self.cut, self.announcing, self.announced) = (0, None, 0, 0);
        self.complete = false;
    }

    /// Whether all rows that may be in the range are known, so that no list is read.
    pub fn is_known(&self) -> bool {
        self.complete
    }

    /// Takes all rows that may be in the range, in the table's order.
    fn take_known(&mut self, rows: &[MayBeNear]) -> Result<()> {
        self.found.try_extend(rows)?;
        self.found.reverse();
        (self.complete, self.size, self.announcing) = (true, 1, 1);
        Ok(())
    }
}

impl Search {
    /// Begins a range search whose rows are known: all those that may be within the ceiling, in the table's
    /// order.
    ///
    /// # Errors
    /// Out of memory.
    pub fn start_known(&mut self, settings: Settings, rows: &[MayBeNear]) -> Result<()> {
        self.restart(settings);
        self.mode = Mode::Range;
        self.range.take_known(rows)
    }

    /// The next row within the ceiling, and its value.
    pub(super) fn next_in_range<S: Store>(
        &mut self,
        store: &S,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        if self.range.size == 0 {
            (self.range.size, self.range.announcing) = (1, 1);
            self.scanner.stats.rounds += 1;
            self.barren = Some(barren::lists(store, &self.directory, &self.scanner.filter)?);
            self.router.restart(&self.directory)?;
        }
        loop {
            self.announce(rows)?;
            if let Some((row, known)) = self.range.found.pop() {
                if let Some(row) = self.fetch(rows, row, known)? {
                    return Ok(Some((row.tid, row.value.0)));
                }
                continue;
            }
            if self.range.complete {
                return Ok(None);
            }
            let behind = self.range.cut.take();
            if behind.is_none() && !self.next_batch()? {
                return Ok(None);
            }
            self.read_batch(store, behind)?;
        }
    }

    /// Chooses the next lists. Returns false if there are no more.
    fn next_batch(&mut self) -> Result<bool> {
        self.range.batch.clear();
        while self.range.batch.len() < self.range.size
            && let Some(list) = self.router.next_list()
        {
            if self.is_barren(list) {
                self.scanner.stats.skipped += 1;
            } else {
                self.range.batch.try_push(list)?;
            }
        }
        self.range.size = self.range.size.saturating_mul(2);
        Ok(!self.range.batch.is_empty())
    }

    /// Finds the candidates of a batch that come behind a row in the table, as many as there is room for.
    fn read_batch<S: Store>(&mut self, store: &S, behind: Option<Tid>) -> Result<()> {
        let directory = Rc::clone(&self.directory);
        let width = effort::width(&directory, self.settings.recall_target, directory.lists(), true);
        let (batch, found) = (std::mem::take(&mut self.range.batch), std::mem::take(&mut self.range.found));
        let (ceiling, room) = (self.ceiling, self.room.candidates);
        let mut first =
            FirstRows { directory: &directory, ceiling, behind, before: None, room, found, failed: None };
        batch.iter().for_each(|list| self.prefetch_list(store, *list));
        for (i, &list) in batch.iter().enumerate() {
            self.scanner.after = batch.get(i + 1).map(|next| directory.head(*next).0);
            let terms = || self.router.terms(&directory, list, &self.query.point);
            let list = (list, &terms as &dyn Fn() -> _, width);
            self.scanner.list(store, &directory, &self.query.code, list, &mut first)?;
        }
        store.end_prefetch();
        let FirstRows { before, mut found, failed, .. } = first;
        failed.map_or(Ok(()), Err)?;
        found.sort_unstable_by_key(|(row, _)| std::cmp::Reverse(*row));
        let range = &mut self.range;
        range.most = range.most.max(found.len());
        range.cut = before.and(found.first().map(|(last, _)| *last));
        (range.batch, range.found) = (batch, found);
        Ok(())
    }

    /// Announces the rows that will be fetched next, if all that were announced have been fetched.
    fn announce(&mut self, rows: &mut dyn Rows) -> Result<()> {
        let range = &mut self.range;
        if range.announced > 0 {
            range.announced -= 1;
            return Ok(());
        }
        let some = range.announcing.min(range.found.len());
        if some == 0 {
            return Ok(());
        }
        range.announced = some - 1;
        range.announcing = (2 * range.announcing).min(MOST_PREFETCHED as usize);
        if some == 1 {
            return Ok(());
        }
        let ahead = range.found.iter().rev().take(some).copied();
        let ahead: Vec<_> = ahead.filter(|(row, _)| is_address(*row)).collect();
        rows.prefetch(&ahead, &[])
    }
}

/// Takes the candidates that come first in the table.
struct FirstRows<'a> {
    directory: &'a Directory,
    ceiling: f32,
    /// Only rows behind this one.
    behind: Option<Tid>,
    /// Only rows up to this one, because there is no room for others.
    before: Option<Tid>,
    room: usize,
    found: Vec<MayBeNear>,
    failed: Option<Error>,
}

impl Sink for FirstRows<'_> {
    fn threshold(&self) -> f32 {
        self.ceiling
    }

    fn push(&mut self, _: u32, candidate: Candidate) {
        let tid = candidate.tid;
        if self.behind.is_some_and(|behind| tid <= behind) || self.before.is_some_and(|before| tid > before) {
            return;
        }
        let known = known_value(self.directory, candidate.lower);
        if let Err(error) = self.found.try_push((tid, known)) {
            self.failed = Some(error);
        }
        if self.found.len() >= self.room.max(2) {
            let last = self.found.len() / 2 - 1;
            self.found.select_nth_unstable_by_key(last, |(row, _)| *row);
            self.found.truncate(last + 1);
            self.before = Some(self.found[last].0);
        }
    }
}
