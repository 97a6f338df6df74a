//! What scans of some queries would find, list after list in routing order.

use std::collections::BinaryHeap;

use super::batch::{TOGETHER, WIDTH, of_query};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::{self, Candidate, Found, NEAREST, Router, Scanner, Sink};
use crate::memory::{self, Grow, out_of_memory};
use crate::page::Store;
use crate::page::meta::TARGETS;
use crate::quant::QueryCode;
use crate::value::TotalF32;

/// Lists of which the score is kept; no query is taken to read more.
const MOST: usize = 4096;

/// Lists that each query reads before, in routing order: few rows of the others are looked at closely.
const FIRST: u32 = 64;

/// One query.
pub(super) struct Walk {
    /// Relates values to scores.
    pub found: Found,
    /// Decides between two whole numbers of lists.
    pub dither: f64,
    /// For each target, lists that the query takes in any case beside those that others do.
    pub further: [f64; TARGETS.len()],
    /// The scores of the best lists, ascending.
    scores: Vec<f32>,
    /// Where the tenth nearest row of the lists read changes: how many they are, and its value.
    steps: Vec<(u32, f32)>,
    /// The place of the list of each of the nearest rows in routing order, ascending.
    places: Vec<u32>,
}

impl Walk {
    fn new(directory: &Directory, seen: &mut Seen, itself: usize) -> Result<Self> {
        seen.check()?;
        let mut scores = memory::with_capacity(seen.order.len().min(MOST))?;
        scores.extend(seen.order.iter().take(MOST).map(|&list| seen.router.score(directory, list)));
        let rows = &mut seen.near.rows;
        rows.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let rows = rows.get_mut(itself..).unwrap_or_default();
        let mut places: Vec<u32> = rows.iter().take(NEAREST).map(|row| row.0).collect();
        places.sort_unstable();
        rows.sort_unstable_by_key(|row| row.0);
        let (mut nearest, mut steps) = (BinaryHeap::new(), Vec::new());
        for &(place, value) in &*rows {
            nearest.push(TotalF32(value));
            if nearest.len() > NEAREST {
                nearest.pop();
            }
            let tenth = nearest.peek().map_or(f32::INFINITY, |tenth| tenth.0);
            match steps.last_mut() {
                _ if nearest.len() < NEAREST => {}
                Some((read, value)) if *read == place + 1 => *value = tenth,
                Some((_, value)) if *value == tenth => {}
                _ => steps.try_push((place + 1, tenth))?,
            }
        }
        let targets = TARGETS.map(|target| search::further(directory, target, &seen.router));
        let (found, dither) = (seen.router.found(directory), search::dither(&seen.point));
        Ok(Self { found, dither, further: targets, scores, steps, places })
    }

    /// Value of the tenth nearest row of so many lists.
    pub fn tenth(&self, read: u32) -> f32 {
        let at = self.steps.partition_point(|step| step.0 <= read);
        at.checked_sub(1).and_then(|at| self.steps.get(at)).map_or(f32::INFINITY, |step| step.1)
    }

    /// The share of the nearest rows that so many lists hold.
    pub fn recall(&self, read: u32) -> f64 {
        self.places.partition_point(|place| *place < read) as f64 / self.places.len().max(1) as f64
    }

    /// The excess of the lists of the nearest rows.
    pub fn excesses(&self) -> impl Iterator<Item = f32> {
        let value = self.steps.last().map_or(f32::INFINITY, |step| step.1);
        let score = |place: &u32| self.scores.get(*place as usize).copied();
        self.places.iter().map(move |place| {
            let excess = score(place).map_or(f32::MAX, |score| self.found.excess(value, score));
            if excess.is_nan() { f32::MAX } else { excess.max(-f32::MAX) }
        })
    }

    /// Lists that are read where `first` are in any case, and more by the rule.
    pub fn read(&self, first: u32, beyond: f32, excess: f32) -> u32 {
        let mut read = first;
        loop {
            let tenth = self.tenth(read);
            if self.found.distance(tenth) <= beyond {
                return read;
            }
            let limit = self.found.limit(tenth, excess);
            let worth = self.scores.partition_point(|score| *score <= limit) as u32;
            let next = self.steps.partition_point(|step| step.0 <= read);
            let until = self.steps.get(next).map_or(u32::MAX, |step| step.0);
            if worth <= read {
                return read;
            }
            read = worth.min(until);
        }
    }
}

/// A query of a batch.
struct Seen {
    code: QueryCode,
    router: Router,
    point: Vec<f32>,
    /// The lists that are read, in routing order.
    order: Vec<u32>,
    /// And of each list where it comes.
    place: Vec<u32>,
    near: Near,
}

impl Seen {
    fn new(directory: &Directory) -> Self {
        Self {
            code: QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]),
            router: Router::default(),
            point: Vec::new(),
            order: Vec::new(),
            place: Vec::new(),
            near: Near::default(),
        }
    }

    fn start(&mut self, directory: &Directory, point: &[f32], wanted: usize, worth: u32) -> Result<()> {
        self.code.set(&directory.codec, point);
        self.router.start(directory, point)?;
        self.point.clear();
        self.point.try_extend(point)?;
        self.order.clear();
        self.place.clear();
        self.place.try_resize(directory.lists() as usize, u32::MAX)?;
        for place in 0..worth {
            let Some(list) = self.router.next_list() else { break };
            self.place[list as usize] = place;
            self.order.try_push(list)?;
        }
        self.near.start(wanted);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.near.missing.map_or(Ok(()), |bytes| Err(out_of_memory(bytes)))
    }
}

/// The rows that were among the nearest ones when their list was read, with its place.
#[derive(Default)]
struct Near {
    wanted: usize,
    place: u32,
    nearest: BinaryHeap<TotalF32>,
    /// Whether lists no longer come in routing order.
    is_fixed: bool,
    threshold: f32,
    rows: Vec<(u32, f32)>,
    missing: Option<usize>,
}

impl Near {
    fn start(&mut self, wanted: usize) {
        self.wanted = wanted;
        self.nearest.clear();
        self.is_fixed = false;
        self.threshold = f32::INFINITY;
        self.rows.clear();
        self.missing = None;
    }
}

impl Sink for Near {
    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn push(&mut self, _list: u32, candidate: Candidate) {
        let value = candidate.estimate();
        if value >= self.threshold || self.missing.is_some() {
            return;
        }
        if self.rows.try_push((self.place, value)).is_err() {
            self.missing = Some(2 * self.rows.len() * size_of::<(u32, f32)>());
            return;
        }
        if self.is_fixed && self.nearest.len() >= self.wanted {
            return;
        }
        self.nearest.push(TotalF32(value));
        if self.nearest.len() > self.wanted {
            self.nearest.pop();
        }
        if self.nearest.len() == self.wanted {
            self.threshold = self.nearest.peek().map_or(f32::INFINITY, |tenth| tenth.0);
        }
    }
}

/// Walks of queries that read the best `worth` lists. `itself` is 1 where each finds itself first.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub(super) fn walks<S: Store>(
    store: &S,
    directory: &Directory,
    points: &[f32],
    (itself, worth): (usize, u32),
    progress: &dyn Progress,
) -> Result<Vec<Walk>> {
    let padded = directory.padded();
    memory::room(TOGETHER * of_query(directory))?;
    let mut walks = memory::with_capacity(points.len() / padded)?;
    let mut scanner = Scanner::default();
    let mut batch: Vec<Seen> = Vec::new();
    for points in points.chunks(TOGETHER * padded) {
        let points = points.chunks_exact(padded);
        batch.resize_with(points.len(), || Seen::new(directory));
        let mut read = |seen: &mut Seen, list: u32| {
            let (head, pages) = directory.head(list);
            store.prefetch_pages(head, pages);
            let Seen { code, router, point, near, place, .. } = seen;
            near.place = place[list as usize];
            let terms = || router.terms(directory, list, point);
            scanner.list(store, directory, code, (list, &terms, WIDTH), near)
        };
        for (seen, point) in batch.iter_mut().zip(points) {
            seen.start(directory, point, NEAREST + itself, worth)?;
            for place in 0..seen.order.len().min(FIRST as usize) {
                read(seen, seen.order[place])?;
            }
            seen.near.is_fixed = true;
        }
        // A list's pages come from memory once for all queries.
        for list in 0..directory.lists() {
            for seen in &mut batch {
                if (FIRST..u32::MAX).contains(&seen.place[list as usize]) {
                    read(seen, list)?;
                }
            }
            progress.tick()?;
        }
        for seen in &mut batch {
            walks.try_push(Walk::new(directory, seen, itself)?)?;
        }
    }
    Ok(walks)
}
