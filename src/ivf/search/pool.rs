//! The candidates of a round, and the threshold below which a row must come to be one.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::scan::{Candidate, Sink};
use crate::page::Tid;
use crate::value::{TotalF32, TotalF64};

/// A row with its exact value.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The value in the units of the bounds.
    pub key: f64,
    /// The operator's value.
    pub value: f64,
    /// The row.
    pub tid: Tid,
}

// The nearest row is the greatest: `BinaryHeap` gives the greatest first. NaN is farther than infinity, as
// PostgreSQL sorts it; equal values come in heap order, so that results do not depend on the lists.
impl Ord for Ready {
    fn cmp(&self, other: &Self) -> Ordering {
        TotalF64(other.value).cmp(&TotalF64(self.value)).then(other.tid.cmp(&self.tid))
    }
}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ready {}

#[derive(Clone, Copy, PartialEq)]
struct ByLower(Candidate);

impl Eq for ByLower {}

impl Ord for ByLower {
    fn cmp(&self, other: &Self) -> Ordering {
        // Exact values are equal now and then: then rows come in heap order.
        TotalF32(other.0.lower).cmp(&TotalF32(self.0.lower)).then(other.0.tid.cmp(&self.0.tid))
    }
}

impl PartialOrd for ByLower {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Gathers the rows of a round that may be among its `window` nearest.
#[derive(Default)]
pub struct Pool {
    window: usize,
    /// Keys above this are not wanted, however few rows there are.
    ceiling: f32,
    /// The smallest upper bounds; the greatest of them is the threshold once there are `window`.
    uppers: BinaryHeap<TotalF32>,
    gathered: Vec<Candidate>,
    queue: BinaryHeap<ByLower>,
    /// The first of the queue, taken out of it.
    line: VecDeque<Candidate>,
}

impl Pool {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.uppers.clear();
        self.gathered.clear();
        self.queue.clear();
        self.line.clear();
    }

    /// Begins a round for the `window` nearest rows with keys up to `ceiling`.
    pub fn start(&mut self, window: usize, ceiling: f32) {
        self.clear();
        self.window = window.max(1);
        self.ceiling = ceiling;
    }

    /// The key that the window's farthest row has at most, if the window is full.
    fn farthest(&self) -> f32 {
        if self.uppers.len() < self.window {
            return f32::INFINITY;
        }
        self.uppers.peek().map_or(f32::INFINITY, |u| u.0)
    }

    /// Whether there are as many rows as the window wants.
    pub fn is_full(&self) -> bool {
        self.uppers.len() >= self.window
    }

    /// Ends the gathering. Every row of the lists read whose key is at most the returned reach is a
    /// candidate (as far as bounds hold); infinite when the lists have no other rows.
    pub fn finish(&mut self) -> f64 {
        // Beyond the ceiling nothing is wanted: then the lists have no other rows.
        let farthest = self.farthest();
        let reach = if farthest > self.ceiling { f32::INFINITY } else { farthest };
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        queue.clear();
        queue.extend(self.gathered.drain(..).filter(|c| c.lower <= reach).map(ByLower));
        self.queue = BinaryHeap::from(queue);
        f64::from(reach)
    }

    /// The first candidates, up to so many, in the order in which they will be popped.
    pub fn line_up(&mut self, most: usize) -> impl Iterator<Item = Candidate> {
        while self.line.len() < most
            && let Some(next) = self.queue.pop()
        {
            self.line.push_back(next.0);
        }
        self.line.iter().copied()
    }

    /// The least lower bound of the candidates left.
    pub fn next_lower(&self) -> Option<f32> {
        self.line.front().or(self.queue.peek().map(|c| &c.0)).map(|c| c.lower)
    }

    /// The candidate with the least lower bound.
    pub fn pop(&mut self) -> Option<Candidate> {
        self.line.pop_front().or_else(|| self.queue.pop().map(|c| c.0))
    }
}

impl Sink for Pool {
    fn threshold(&self) -> f32 {
        self.farthest().min(self.ceiling)
    }

    fn push(&mut self, _list: u32, candidate: Candidate) {
        if self.uppers.len() < self.window {
            self.uppers.push(TotalF32(candidate.upper));
        } else if let Some(mut greatest) = self.uppers.peek_mut()
            && candidate.upper < greatest.0
        {
            *greatest = TotalF32(candidate.upper);
        }
        self.gathered.push(candidate);
    }
}

/// The keys of the `wanted` nearest rows so far.
#[derive(Default)]
pub struct Nearest {
    wanted: usize,
    keys: BinaryHeap<TotalF64>,
}

impl Nearest {
    /// Begins anew.
    pub fn start(&mut self, wanted: usize) {
        self.wanted = wanted;
        self.keys.clear();
    }

    /// A further row.
    pub fn push(&mut self, key: f64) {
        if self.keys.len() < self.wanted {
            self.keys.push(TotalF64(key));
        } else if let Some(mut greatest) = self.keys.peek_mut()
            && TotalF64(key) < *greatest
        {
            *greatest = TotalF64(key);
        }
    }

    /// How many rows there are, as many as wanted at most.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The greatest key of the rows wanted.
    pub fn farthest(&self) -> Option<f64> {
        self.keys.peek().map(|k| k.0)
    }

    /// Whether there are as many rows as wanted with keys up to `complete`.
    pub fn complete(&self, complete: f64) -> bool {
        self.keys.len() >= self.wanted && self.keys.peek().is_none_or(|k| *k <= TotalF64(complete))
    }
}
