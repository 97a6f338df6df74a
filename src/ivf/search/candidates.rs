//! The candidates of a round, and the threshold: a row with a bound below it becomes a candidate.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::list_scan::{Candidate, Sink};
use crate::error::Result;
use crate::ivf::top_k::TopK;
use crate::memory::{self, fallibly, out_of_memory};
use crate::page::Tid;
use crate::value::TotalF32;

/// How far a scan has come: rows whose place, the pair of lower bound and address, is up to the mark are
/// done. The address is part of it because rows with equal bounds may not fit into memory, and no two rows
/// have the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The lower bound.
    pub lower: TotalF32,
    /// The address.
    pub tid: Tid,
}

impl Mark {
    /// All rows with bounds up to `lower`.
    pub const fn whole(lower: f32) -> Self {
        Self { lower: TotalF32(lower), tid: Tid { blkno: u32::MAX, offset: u16::MAX } }
    }

    /// Whether all rows are done.
    pub fn is_end(self) -> bool {
        self >= Self::whole(f32::INFINITY)
    }

    /// Whether all rows that come before a row with this key are done. If the keys are the bounds (`exact`),
    /// rows with equal keys come in the order of their addresses.
    pub fn is_past(self, key: f64, tid: Tid, exact: bool) -> bool {
        let lower = f64::from(self.lower.0);
        key < lower
            || (key == lower && (if exact { self.tid >= tid } else { self >= Self::whole(self.lower.0) }))
    }
}

impl Candidate {
    /// The estimated value. A row without bounds comes last.
    pub fn estimate(&self) -> f32 {
        match (self.lower, self.upper) {
            (f32::NEG_INFINITY, _) => f32::INFINITY,
            // With one bit there is only a lower bound.
            (lower, f32::INFINITY) => lower,
            (lower, upper) => (lower + upper) / 2.0,
        }
    }

    /// The candidate's position in the order in which candidates are fetched.
    fn mark(&self) -> Mark {
        Mark { lower: TotalF32(self.lower), tid: self.tid }
    }

    /// The candidate's place: it becomes a candidate only if the threshold is above both of its lower bounds.
    fn place(&self) -> Mark {
        Mark { lower: TotalF32(self.place), tid: self.tid }
    }
}

#[derive(Clone, Copy, PartialEq)]
struct ByLower(Candidate);

impl Eq for ByLower {}

impl Ord for ByLower {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.mark().cmp(&self.0.mark())
    }
}

impl PartialOrd for ByLower {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Bytes of a candidate and of its upper bound.
pub const CANDIDATE_SIZE: usize = size_of::<ByLower>() + size_of::<i32>();
/// The distance of the nearest row but so many tells whether a query is far from all rows.
pub const NEAREST: usize = 10;
/// Number of candidates for which memory is allocated first.
const FIRST_ROOM: usize = 64;

/// What a round wants from [`Candidates`].
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Number of nearest rows wanted; with so many the threshold falls.
    pub window: u64,
    /// Rows with larger keys are not wanted, even if there are few rows.
    pub ceiling: f32,
    /// Rows whose upper bounds are below this come too late for the order, and do not count for the window,
    pub late: f64,
    /// and become candidates only if this is true.
    pub keeps_late: bool,
    /// Rows whose upper bounds are up to this are done and do not count for the window.
    pub beyond: f32,
    /// Candidates that may be kept.
    pub room: usize,
}

/// Collects the rows of a round that may be among its `window` nearest, as many as fit the memory.
#[derive(Default)]
pub struct Candidates {
    window: usize,
    ceiling: f32,
    late: f64,
    keeps_late: bool,
    beyond: f32,
    room: usize,
    /// Rows of the current list up to this mark are done.
    floor: Option<Mark>,
    /// If candidates were dropped for lack of memory: the place of the last one kept.
    cut: Option<Mark>,
    /// Upper limit of the threshold, from `ceiling` and `cut`.
    most: f32,
    /// The smallest upper bounds, as ordered integers; the greatest of them is the threshold once there are
    /// as many as the window has.
    uppers: TopK<i32>,
    /// The greatest of `uppers`, if there are `window` of them.
    farthest: f32,
    /// If asked for: the estimates of the [`NEAREST`] nearest rows.
    nearest: TopK<TotalF32>,
    /// The greatest of `nearest` once they are complete; -infinity if not asked for.
    tenth: f32,
    gathered: Vec<ByLower>,
    /// Up to this many candidates memory need not be checked.
    free_up_to: usize,
    queue: BinaryHeap<ByLower>,
    /// The first candidates of the queue, removed from it.
    line: VecDeque<Candidate>,
    /// Number of bytes whose allocation failed.
    missing: Option<usize>,
    /// Candidates kept at once, at most.
    kept: usize,
}

impl Candidates {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.restart_uppers();
        let mut gathered = match self.gathered.capacity() {
            0 => std::mem::take(&mut self.queue).into_vec(),
            _ => std::mem::take(&mut self.gathered),
        };
        gathered.clear();
        self.gathered = gathered;
        self.queue.clear();
        self.line.clear();
    }

    /// Begins a round.
    pub fn start(&mut self, want: Want) {
        self.clear();
        self.room = want.room.max(4);
        self.window = usize::try_from(want.window).unwrap_or(usize::MAX).clamp(1, self.room);
        self.restart_uppers();
        self.ceiling = want.ceiling;
        self.late = want.late;
        self.keeps_late = want.keeps_late;
        self.beyond = want.beyond;
        self.floor = None;
        self.tenth = f32::NEG_INFINITY;
        self.cut = None;
        self.most = want.ceiling;
        self.free_up_to = self.gathered.capacity().min(self.room);
        self.missing = None;
    }

    /// Continues with further lists, whose rows up to `mark` are added to the candidates.
    pub fn extend(&mut self, mark: Mark, want: Want) {
        self.gathered.clear();
        self.room = want.room.saturating_sub(self.queue.len() + self.line.len()).max(4);
        self.late = want.late;
        self.keeps_late = want.keeps_late;
        // Then no row counts for a window.
        self.beyond = f32::INFINITY;
        self.restart_uppers();
        self.floor = None;
        self.cut = Some(mark);
        self.most = self.ceiling.min(mark.lower.0.next_up());
        self.free_up_to = self.gathered.capacity().min(self.room);
    }

    /// Ends an extension. The rows of the further lists are candidates up to the returned mark.
    ///
    /// # Errors
    /// Out of memory.
    pub fn finish_extension(&mut self, mark: Mark) -> Result<Mark> {
        let mark = self.cut.unwrap_or(mark);
        let more = self.gathered.len();
        let bytes = (self.queue.len() + more).saturating_mul(size_of::<ByLower>());
        fallibly(|| self.queue.try_reserve_exact(more)).map_err(|_| out_of_memory(bytes))?;
        self.queue.extend(self.gathered.drain(..).filter(|c| c.0.place() <= mark));
        self.gathered = Vec::new();
        self.kept = self.kept.max(self.queue.len() + self.line.len() + more);
        Ok(mark)
    }

    /// From here on notes the estimates of the nearest rows.
    ///
    /// # Errors
    /// Out of memory.
    pub fn note_nearest(&mut self) -> Result<()> {
        self.nearest.restart(NEAREST);
        self.tenth = f32::INFINITY;
        let missing = self.nearest.lacks_room(NEAREST);
        missing.map_or(Ok(()), |rows| Err(out_of_memory(rows * size_of::<TotalF32>())))
    }

    /// The estimate of the tenth nearest row, infinite before there are ten; -infinity if none are noted.
    pub fn tenth(&self) -> f32 {
        self.tenth
    }

    fn note(&mut self, estimate: f32) {
        self.nearest.push(TotalF32(estimate));
        let greatest = self.nearest.greatest().filter(|_| self.nearest.is_full());
        self.tenth = greatest.map_or(f32::INFINITY, |greatest| greatest.0);
    }

    /// Begins a list, whose rows up to `floor` are done.
    pub fn start_list(&mut self, floor: Option<Mark>) {
        self.floor = floor;
    }

    fn restart_uppers(&mut self) {
        self.uppers.restart(self.window);
        self.farthest = f32::INFINITY;
    }

    /// Whether there are `rows` candidates, or as many as the window needs if that is less.
    pub fn has(&self, rows: u64) -> bool {
        self.uppers.is_full() || self.uppers.len() as u64 >= rows
    }

    /// Candidates kept at once, at most.
    pub fn most(&self) -> usize {
        self.kept
    }

    /// Whether all candidates could be kept, so far.
    ///
    /// # Errors
    /// Out of memory.
    pub fn check(&self) -> Result<()> {
        self.missing.map_or(Ok(()), |bytes| Err(out_of_memory(bytes)))
    }

    /// Ends the collection. Every row of these lists up to the returned mark is a candidate (as far as bounds
    /// hold) or was done before. The mark is the end if the lists have no other rows. Also returns whether
    /// candidates were dropped, so that the window is not filled.
    pub fn finish(&mut self) -> (Mark, bool) {
        // Rows beyond the ceiling are not wanted, so if it was the limit, the lists have no other rows.
        let reach = match self.farthest {
            farthest if farthest > self.ceiling || farthest == f32::INFINITY => f32::INFINITY,
            // Rows at the threshold were no candidates.
            farthest => farthest.next_down(),
        };
        let reach = Mark::whole(reach);
        let cut = self.cut.filter(|cut| *cut < reach);
        let mark = cut.unwrap_or(reach);
        let mut gathered = std::mem::take(&mut self.gathered);
        self.kept = self.kept.max(gathered.len());
        gathered.retain(|c| c.0.place() <= mark);
        self.queue = BinaryHeap::from(gathered);
        (mark, cut.is_some())
    }

    /// The first candidates, at most `most`, in the order in which `pop` returns them.
    pub fn line_up(&mut self, most: usize) -> impl Iterator<Item = Candidate> {
        while self.line.len() < most
            && let Some(next) = self.queue.pop()
        {
            self.line.push_back(next.0);
        }
        self.line.iter().copied()
    }

    /// The position of the next candidate in the order of fetching.
    pub fn next_mark(&self) -> Option<Mark> {
        self.line.front().or(self.queue.peek().map(|c| &c.0)).map(Candidate::mark)
    }

    /// The candidate with the least lower bound.
    pub fn pop(&mut self) -> Option<Candidate> {
        self.line.pop_front().or_else(|| self.queue.pop().map(|c| c.0))
    }

    /// Removes all candidates. Returns their positions in the order in which `pop` returns them.
    ///
    /// # Errors
    /// Out of memory.
    pub fn take_marks(&mut self) -> Result<Vec<Mark>> {
        let mut marks = memory::with_capacity(self.line.len() + self.queue.len())?;
        marks.extend(self.line.drain(..).map(|candidate| candidate.mark()));
        marks.extend(self.queue.drain().map(|candidate| candidate.0.mark()));
        marks.sort_unstable();
        Ok(marks)
    }

    fn is_wanted(&self, candidate: &Candidate) -> bool {
        (self.keeps_late || f64::from(candidate.upper) >= self.late)
            && self.floor.is_none_or(|floor| candidate.place() > floor)
            && self.cut.is_none_or(|cut| candidate.place() < cut)
    }

    fn count(&mut self, upper: f32) {
        if upper <= self.beyond || f64::from(upper) < self.late {
            return;
        }
        if self.uppers.is_full() && upper >= self.farthest {
            return;
        }
        if let Some(more) = self.uppers.lacks_room(FIRST_ROOM) {
            self.missing = Some(more * size_of::<i32>());
            return;
        }
        self.uppers.push(TotalF32(upper).to_ordered());
        if self.uppers.is_full() {
            self.farthest = self.uppers.greatest().map_or(f32::INFINITY, |u| TotalF32::from_ordered(*u).0);
        }
    }

    /// Makes room for a candidate: more memory, or fewer candidates.
    #[cold]
    fn make_room(&mut self) {
        if self.gathered.len() < self.room {
            let more = self.gathered.len().max(FIRST_ROOM).min(self.room - self.gathered.len());
            if fallibly(|| self.gathered.try_reserve_exact(more)).is_err() {
                self.missing = Some((self.gathered.len() + more) * size_of::<ByLower>());
                return;
            }
        } else {
            self.kept = self.kept.max(self.gathered.len());
            let reach = self.farthest.min(self.ceiling);
            self.gathered.retain(|c| c.0.place <= reach);
            if self.gathered.len() > self.room - self.room / 4 {
                let last = self.room / 2 - 1;
                let (_, kept, _) = self.gathered.select_nth_unstable_by_key(last, |c| c.0.place());
                let cut = kept.0.place();
                self.gathered.truncate(last + 1);
                self.cut = Some(cut);
                // Rows of the same bound may come before the cut.
                self.most = self.ceiling.min(cut.lower.0.next_up());
            }
        }
        self.free_up_to = self.gathered.capacity().min(self.room);
    }
}

impl Sink for Candidates {
    fn threshold(&self) -> f32 {
        self.farthest.min(self.most)
    }

    fn push(&mut self, _list: u32, candidate: Candidate) {
        if !self.is_wanted(&candidate) {
            return;
        }
        self.count(candidate.upper);
        let estimate = candidate.estimate();
        if estimate < self.tenth {
            self.note(estimate);
        }
        if self.gathered.len() >= self.free_up_to {
            self.make_room();
            if self.missing.is_some() || !self.is_wanted(&candidate) {
                return;
            }
        }
        self.gathered.push(ByLower(candidate));
    }
}
