//! Range search: all rows within the ceiling, as they are found.
//!
//! The lists are read one after the other, nearest first, and the rows of a list are fetched in the table's
//! order before the next list is read. So the first row comes soon, for `EXISTS` or a LIMIT without an order,
//! and the candidates of one list are all that is kept.

use std::collections::VecDeque;
use std::rc::Rc;

use super::key::known_value;
use super::list_scan::{Candidate, Sink};
use super::rows::{Rows, is_address};
use super::{Search, barren, effort};
use crate::error::{Error, Result};
use crate::memory::Grow;
use crate::page::{Store, Tid};

/// Number of lists whose pages are requested before they are read.
const AHEAD: usize = 8;

/// Where a range search is.
#[derive(Default)]
pub(super) struct RangeScan {
    has_begun: bool,
    /// The next lists, whose pages have been requested.
    planned: VecDeque<u32>,
    /// The list that was read last.
    list: Option<u32>,
    /// Its candidates that were not fetched yet, the first one last.
    found: Vec<Candidate>,
    /// The last of them, if there was no room for others behind it.
    cut: Option<Tid>,
    /// The largest number of candidates kept at a time.
    pub most: usize,
}

impl RangeScan {
    /// Forgets a search, and keeps the memory.
    pub fn clear(&mut self) {
        self.has_begun = false;
        self.planned.clear();
        self.list = None;
        self.found.clear();
        self.cut = None;
    }
}

impl Search {
    /// The next row within the ceiling, and its value.
    pub(super) fn next_in_range<S: Store>(
        &mut self,
        store: &S,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Tid, f64)>> {
        if !self.range.has_begun {
            self.range.has_begun = true;
            self.scanner.stats.rounds += 1;
            self.barren = Some(barren::lists(store, &self.directory, &self.scanner.filter)?);
            self.router.restart(&self.directory)?;
        }
        loop {
            while let Some(candidate) = self.range.found.pop() {
                let known = known_value(&self.directory, candidate);
                if let Some(row) = self.fetch(rows, candidate.tid, known)? {
                    return Ok(Some((row.tid, row.value.0)));
                }
            }
            let (list, behind) = match (self.range.list, self.range.cut.take()) {
                (Some(list), behind @ Some(_)) => (list, behind),
                _ => match self.next_in_turn(store) {
                    Some(list) => (list, None),
                    None => return Ok(None),
                },
            };
            self.range.list = Some(list);
            self.find_in(store, list, behind)?;
            self.announce(rows)?;
        }
    }

    /// The next list that may have rows, and requests those that follow.
    fn next_in_turn<S: Store>(&mut self, store: &S) -> Option<u32> {
        while self.range.planned.len() <= AHEAD
            && let Some(list) = self.router.next_list()
        {
            if self.is_barren(list) {
                self.scanner.stats.skipped += 1;
            } else {
                self.prefetch_list(store, list);
                self.range.planned.push_back(list);
            }
        }
        let next = self.range.planned.pop_front();
        if next.is_none() {
            store.end_prefetch();
        }
        next
    }

    /// Finds the candidates of a list that come behind a row in the table, as many as there is room for.
    fn find_in<S: Store>(&mut self, store: &S, list: u32, behind: Option<Tid>) -> Result<()> {
        let directory = Rc::clone(&self.directory);
        let following = self.range.planned.front();
        self.scanner.after = following.map(|next| directory.head(*next).0);
        let terms = || self.router.terms(&directory, list, &self.query.point);
        let width = effort::width(&directory, self.settings.recall_target, directory.lists(), true);
        let room = self.room.candidates;
        let found = std::mem::take(&mut self.range.found);
        let mut first = FirstRows { ceiling: self.ceiling, behind, before: None, room, found, failed: None };
        let of = (list, &terms as &dyn Fn() -> _, width);
        self.scanner.list(store, &directory, &self.query.code, of, &mut first)?;
        let FirstRows { before, mut found, failed, .. } = first;
        failed.map_or(Ok(()), Err)?;
        self.range.most = self.range.most.max(found.len());
        found.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.tid));
        self.range.cut = before.and(found.first().map(|last| last.tid));
        self.range.found = found;
        Ok(())
    }

    /// Announces the rows that will be fetched.
    fn announce(&mut self, rows: &mut dyn Rows) -> Result<()> {
        let directory = &self.directory;
        let next = self.range.found.iter().rev().take(super::MOST_PREFETCHED as usize);
        let ahead: Vec<_> = next
            .filter(|candidate| is_address(candidate.tid))
            .map(|candidate| (candidate.tid, known_value(directory, *candidate)))
            .collect();
        if ahead.len() > 1 { rows.prefetch(&ahead) } else { Ok(()) }
    }
}

/// Takes the candidates of a list that come first in the table.
struct FirstRows {
    ceiling: f32,
    /// Only rows behind this one.
    behind: Option<Tid>,
    /// Only rows up to this one, because there is no room for others.
    before: Option<Tid>,
    room: usize,
    found: Vec<Candidate>,
    failed: Option<Error>,
}

impl Sink for FirstRows {
    fn threshold(&self) -> f32 {
        self.ceiling
    }

    fn push(&mut self, _: u32, candidate: Candidate) {
        let tid = candidate.tid;
        if self.behind.is_some_and(|behind| tid <= behind) || self.before.is_some_and(|before| tid > before) {
            return;
        }
        if let Err(error) = self.found.try_push(candidate) {
            self.failed = Some(error);
        }
        if self.found.len() >= self.room.max(2) {
            let last = self.found.len() / 2 - 1;
            self.found.select_nth_unstable_by_key(last, |candidate| candidate.tid);
            self.found.truncate(last + 1);
            self.before = Some(self.found[last].tid);
        }
    }
}
