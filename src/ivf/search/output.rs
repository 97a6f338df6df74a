//! Rows with exact values: those that are certain to be next, and those that are not certain yet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::candidates::Mark;
use super::settings::Order;
use crate::error::Result;
use crate::memory::{fallibly, out_of_memory};
use crate::page::Tid;
use crate::value::TotalF64;

/// A row with its exact value, ordered by nearness. NaN is farther than infinity, as in PostgreSQL. Equal
/// values are ordered by heap address, so that results do not depend on the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready {
    /// The operator's value.
    pub value: TotalF64,
    /// The row.
    pub tid: Tid,
    /// The value in the units of the bounds.
    pub key: TotalF64,
}

/// The output: rows that have been fetched and not yet returned.
///
/// Unless the order is relaxed, rows are returned in the order of value and address. So a row that is not
/// after the last returned row was returned already or is too late, and returned rows need not be remembered.
/// If there is no room, the farthest rows are dropped. Then only the remaining rows can be returned before
/// the lists are read again. In relaxed order each row is found only once, so none may be dropped: the
/// nearest rows are returned before they are certain.
#[derive(Default)]
pub struct Output {
    relaxed: bool,
    /// Whether the bounds of rows are their keys.
    exact: bool,
    room: usize,
    found: BinaryHeap<Reverse<Ready>>,
    certain: VecDeque<Ready>,
    /// Number of certain rows that are returned even if the limit cannot be filled yet.
    forced: usize,
    last: Option<Ready>,
    /// The nearest row that was dropped.
    dropped: Option<Ready>,
    late: Late,
    most: usize,
    /// Is subtracted from keys that are compared with bounds; see `offset.rs`.
    offset: f64,
}

impl Output {
    /// Begins a scan.
    pub fn start(&mut self, order: Order, exact: bool) {
        self.relaxed = order == Order::Relaxed;
        self.exact = exact;
        self.room = 0;
        self.last = None;
        self.most = 0;
        self.offset = 0.0;
        self.restart();
    }

    /// Forgets rows that have not been returned.
    pub fn restart(&mut self) {
        self.found.clear();
        self.certain.clear();
        self.forced = 0;
        self.dropped = None;
    }

    /// Sets the number of rows for which there is room.
    pub fn set_room(&mut self, rows: usize) {
        self.room = rows.max(4);
    }

    /// Sets what keys are greater by than estimates.
    pub fn set_offset(&mut self, offset: f64) {
        self.offset = offset;
    }

    /// Rows with smaller keys are too late. If the operator's value has overflowed, bounds of rows that have
    /// the same value are smaller.
    pub fn late(&self) -> f64 {
        match self.last {
            Some(last) if !self.relaxed && last.key.0.is_finite() => last.key.0 - self.offset,
            _ => f64::NEG_INFINITY,
        }
    }

    /// Rows with greater keys cannot be returned before the lists are read again.
    pub fn useful(&self) -> f64 {
        let dropped = self.dropped.map_or(f64::INFINITY, |dropped| dropped.key.0 - self.offset);
        if dropped.is_nan() { f64::INFINITY } else { dropped }
    }

    /// Rows with greater values are not kept, as far as that is known.
    pub fn farthest(&self) -> f64 {
        self.dropped.map_or(f64::INFINITY, |dropped| dropped.value.0)
    }

    /// Whether a row is to be kept.
    fn is_wanted(&self, row: &Ready) -> bool {
        let after_last = self.relaxed || self.last.is_none_or(|last| *row > last);
        after_last && self.dropped.is_none_or(|dropped| *row < dropped)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, row: Ready) -> Result<()> {
        if !self.is_wanted(&row) {
            self.note_row(&row);
            return Ok(());
        }
        if self.found.len() + self.certain.len() >= self.room {
            self.make_room()?;
            if !self.is_wanted(&row) {
                return Ok(());
            }
        }
        self.keep(row)
    }

    /// Adds a late row, when no list will be read any more.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push_late(&mut self, row: Ready) -> Result<()> {
        self.last = None;
        self.keep(row)
    }

    fn keep(&mut self, row: Ready) -> Result<()> {
        if self.found.len() == self.found.capacity() {
            let more = self.found.len().max(64).min(self.room);
            reserved(fallibly(|| self.found.try_reserve_exact(more)), more)?;
        }
        self.found.push(Reverse(row));
        self.most = self.most.max(self.found.len() + self.certain.len());
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        if self.relaxed {
            for _ in 0..self.found.len().div_ceil(2) {
                self.settle_next()?;
            }
            self.forced = self.certain.len();
            return Ok(());
        }
        let keep = (self.room - self.room / 4).saturating_sub(self.certain.len());
        let mut found = std::mem::take(&mut self.found).into_vec();
        if keep < found.len() {
            let (_, dropped, _) = found.select_nth_unstable_by_key(keep, |row| row.0);
            self.dropped = Some(dropped.0);
            found.truncate(keep);
        }
        self.found = BinaryHeap::from(found);
        Ok(())
    }

    /// Makes the nearest row certain. It is returned after the certain rows; in strict order it is inserted
    /// before those that are farther, because a bound may have been wrong.
    fn settle_next(&mut self) -> Result<()> {
        reserved(fallibly(|| self.certain.try_reserve(1)), 1)?;
        let Some(Reverse(row)) = self.found.pop() else { return Ok(()) };
        if !self.relaxed && self.certain.back().is_some_and(|last| row < *last) {
            let at = self.certain.partition_point(|certain| *certain < row);
            self.certain.insert(at, row);
        } else {
            self.certain.push_back(row);
        }
        Ok(())
    }

    /// Makes rows certain before which only rows up to `mark` can come.
    ///
    /// # Errors
    /// Out of memory.
    pub fn settle(&mut self, mark: Mark) -> Result<()> {
        let (exact, offset) = (self.exact, self.offset);
        let is_past = |row: &Ready| mark.is_past(row.key.0 - offset, row.tid, exact);
        while self.found.peek().is_some_and(|Reverse(row)| is_past(row)) {
            self.settle_next()?;
        }
        Ok(())
    }

    /// Makes every row certain.
    ///
    /// # Errors
    /// Out of memory.
    pub fn settle_all(&mut self) -> Result<()> {
        let found = std::mem::take(&mut self.found).into_vec();
        reserved(fallibly(|| self.certain.try_reserve(found.len())), found.len())?;
        self.certain.extend(found.into_iter().map(|Reverse(row)| row));
        if !self.relaxed || self.forced == 0 {
            self.certain.make_contiguous().sort_unstable();
        }
        Ok(())
    }

    /// Makes all rows uncertain again, because further lists are read.
    ///
    /// # Errors
    /// Out of memory.
    pub fn unsettle(&mut self) -> Result<()> {
        reserved(fallibly(|| self.found.try_reserve(self.certain.len())), self.certain.len())?;
        self.found.extend(self.certain.drain(..).map(Reverse));
        self.forced = 0;
        Ok(())
    }

    /// How many rows are certain.
    pub fn certain(&self) -> u64 {
        self.certain.len() as u64
    }

    /// Whether rows must be returned for lack of room.
    pub fn is_forced(&self) -> bool {
        self.forced > 0
    }

    /// Sets the number of late rows for which there is room, and forgets the known ones.
    pub fn start_late(&mut self, room: usize) {
        self.late.start(room);
    }

    /// Remembers a row that was not fetched because it is too late.
    pub fn note_late(&mut self, tid: Tid) {
        self.late.push(tid);
    }

    /// Whether late rows are remembered.
    pub fn keeps_late(&self) -> bool {
        self.late.tids.len() < self.late.room
    }

    /// Whether there is a late row. Never while rows have been dropped, because these are found again.
    pub fn has_late(&self) -> bool {
        self.dropped.is_none() && !self.late.tids.is_empty()
    }

    /// One of those rows.
    pub fn pop_late(&mut self) -> Option<Tid> {
        self.late.tids.pop()
    }

    /// Whether only dropped rows are left.
    pub fn is_spent(&self) -> bool {
        self.dropped.is_some() && self.found.is_empty()
    }

    /// Largest number of rows kept at the same time.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The next row that is certain.
    pub fn take(&mut self) -> Option<Ready> {
        loop {
            let row = self.certain.pop_front()?;
            self.forced = self.forced.saturating_sub(1);
            // A damaged index may name a row twice.
            if self.is_wanted(&row) {
                self.last = Some(row);
                return Some(row);
            }
            self.note_row(&row);
        }
    }

    /// Remembers a late row, unless it is the last returned row again.
    fn note_row(&mut self, row: &Ready) {
        if self.last != Some(*row) {
            self.late.push(row.tid);
        }
    }
}

/// Late rows: found too late for the order. They are kept as long as it is known that none of them was
/// returned.
#[derive(Default)]
struct Late {
    tids: Vec<Tid>,
    room: usize,
}

impl Late {
    fn start(&mut self, room: usize) {
        self.tids.clear();
        self.room = room;
    }

    /// Adds a row. If there is no room, all are forgotten, and none is kept any more.
    fn push(&mut self, tid: Tid) {
        if self.tids.len() >= self.room || fallibly(|| self.tids.try_reserve(1)).is_err() {
            return self.start(0);
        }
        self.tids.push(tid);
    }
}

fn reserved(result: std::result::Result<(), impl Sized>, rows: usize) -> Result<()> {
    result.map_err(|_| out_of_memory(rows.saturating_mul(size_of::<Ready>())))
}
