//! Measuring, on the index as written, how many lists a recall target needs (reference algorithms section 6).
//!
//! Sampled rows serve as queries (themselves excluded). For each, a scan of all lists by the stored codes
//! gives its nearest rows; the rank of their lists in routing order is what a scan would have had to
//! reach. The share of ranks below P is the recall of P probes. Each of [`LEVELS`] has its own table: the hundred nearest
//! rows take 1.4 to 1.7 times as many lists as the ten nearest, more so at low targets.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::build::Progress;
use super::code::to_point;
use super::directory::Directory;
use super::search::{Candidate, Router, Scanner, Sink};
use crate::error::{Error, Kind, Result};
use crate::page::meta::{LEVELS, META_BLOCK, TARGETS};
use crate::page::{Meta, Store};
use crate::quant::QueryCode;

/// Fewer queries say too little: every list is probed then.
const LEAST_QUERIES: usize = 50;
/// As many queries as compare about this many codes, within bounds.
const CODES: u64 = 300_000_000;
const QUERIES: std::ops::RangeInclusive<u64> = 500..=2000;
/// One query in so many looks for as many neighbours as the largest level, whose share is less a matter of chance.
const EVERY: usize = 8;
/// Candidates for the weight of a list's radius in its routing score.
const WEIGHTS: [f32; 6] = [0.0, 0.15, 0.3, 0.45, 0.6, 0.9];
/// Width of the bounds while calibrating, in standard deviations.
const WIDTH: f32 = 2.0;
/// Share of the allowed loss that is kept for what the ranks do not show: rows lost by bounds, queries that
/// are unlike stored rows, and the chance of the sample.
const RESERVE: f32 = 0.12;
const MOST_RESERVE: f32 = 0.006;

/// Where the queries of a calibration come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// Rows of the index, each of which finds itself first.
    Rows,
    /// Vectors as the users ask them.
    Asked,
}

/// Queries for an index of about so many rows.
pub fn queries_for(rows: u64) -> std::ops::RangeInclusive<usize> {
    let most = (CODES / rows.max(1)).clamp(*QUERIES.start(), *QUERIES.end());
    *QUERIES.start() as usize..=most as usize
}

/// Calibrates a finished index anew and stores the result, which scans that begin later follow. `vectors`
/// are as the table has them, one after the other.
///
/// # Errors
/// Too few queries; damage, the store's errors and [`Progress::tick`]'s.
pub fn recalibrate<S: Store>(
    store: &S,
    vectors: &[f32],
    queries: Queries,
    progress: &dyn Progress,
) -> Result<Meta> {
    let directory = Directory::load(store)?;
    let (dims, padded) = (directory.dims(), directory.padded());
    let mut unit = vec![0.0; dims];
    let mut points = Vec::with_capacity(vectors.len() / dims * padded);
    for vector in vectors.chunks_exact(dims) {
        let at = points.len();
        points.resize(at + padded, 0.0);
        let point = &mut points[at..];
        if !to_point(&directory, vector, &mut unit, point) || point.iter().any(|x| !x.is_finite()) {
            points.truncate(at);
        }
    }
    let count = points.len() / padded;
    if directory.lists() > 1 && count < LEAST_QUERIES {
        let message = format!("{LEAST_QUERIES} vectors are needed to calibrate an ivf index, not {count}");
        return Err(Error::new(Kind::InvalidParameter, message));
    }
    let meta = calibrate(store, directory.meta.clone(), &points, queries, progress)?;
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        meta.write(change.page_mut(handle));
        Ok(())
    })?;
    Ok(meta)
}

/// Completes `meta` with the routing weight and the table of probes.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn calibrate<S: Store>(
    store: &S,
    meta: Meta,
    points: &[f32],
    queries: Queries,
    progress: &dyn Progress,
) -> Result<Meta> {
    let directory = Directory::with_meta(store, meta)?;
    let count = points.len() / directory.padded();
    if directory.lists() == 1 || count < LEAST_QUERIES {
        return Ok(directory.meta);
    }
    progress.total(count as u64);
    let mut tables = Tables::new(&directory);
    let mut state = Query::new(&directory);
    for (i, query) in points.chunks_exact(directory.padded()).enumerate() {
        let wanted = LEVELS[if i % EVERY == 0 { LEVELS.len() - 1 } else { 1 }];
        let lists = state.neighbours(store, &directory, query, (queries, wanted as usize))?;
        for (weight, table) in WEIGHTS.iter().zip(&mut tables.0) {
            state.ranks(&directory, &lists, *weight, table);
        }
        progress.done(i as u64 + 1);
        progress.tick()?;
    }
    let best = tables.best();
    let mut meta = directory.meta.clone();
    meta.radius_weight = WEIGHTS[best];
    meta.efforts = tables.efforts(best);
    meta.probes = meta.efforts[0].map(|lists| lists.ceil() as u32);
    Ok(meta)
}

/// For each weight and level, how many neighbours' lists had each rank.
struct Tables([[Vec<u32>; LEVELS.len()]; WEIGHTS.len()]);

impl Tables {
    fn new(directory: &Directory) -> Self {
        let ranks = || vec![0; directory.lists() as usize];
        Self(std::array::from_fn(|_| std::array::from_fn(|_| ranks())))
    }

    /// The weight with which the usual target takes the fewest lists.
    fn best(&self) -> usize {
        let lists = |w: &usize| average_lists(&self.0[*w][0], 0.95);
        (0..WEIGHTS.len()).min_by(|a, b| lists(a).total_cmp(&lists(b))).unwrap_or(0)
    }

    fn efforts(&self, weight: usize) -> [[f32; TARGETS.len()]; LEVELS.len()] {
        let mut out = [[0.0; TARGETS.len()]; LEVELS.len()];
        for (level, ranks) in self.0[weight].iter().enumerate() {
            if ranks.iter().all(|&n| n == 0) {
                break;
            }
            out[level] = TARGETS.map(|target| average_lists(ranks, target));
            if level > 0 {
                // More rows never take fewer lists, whatever the sample says.
                let fewer = out[level - 1];
                out[level].iter_mut().zip(fewer).for_each(|(more, fewer)| *more = more.max(fewer));
            }
        }
        out
    }
}

/// Lists to read on average so that the share of neighbours found is `target`, and a reserve: a fraction is the share of
/// queries that read one more.
fn average_lists(ranks: &[u32], target: f32) -> f32 {
    let all: u64 = ranks.iter().map(|&n| u64::from(n)).sum();
    let share = f64::from(target) + f64::from(((1.0 - target) * RESERVE).min(MOST_RESERVE));
    let wanted = share * all as f64;
    let mut found = 0.0;
    for (rank, &n) in ranks.iter().enumerate() {
        let n = f64::from(n);
        if n > 0.0 && found + n >= wanted {
            return (rank as f64 + (wanted - found) / n).max(1.0) as f32;
        }
        found += n;
    }
    ranks.len() as f32
}

struct Query {
    code: QueryCode,
    router: Router,
    scanner: Scanner,
    scores: Vec<f32>,
    /// Scores of the neighbours' lists, ascending.
    wanted: Vec<f32>,
    /// How many lists come before each of them.
    before: Vec<u32>,
}

impl Query {
    fn new(directory: &Directory) -> Self {
        Self {
            code: QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]),
            router: Router::default(),
            scanner: Scanner::default(),
            scores: Vec::new(),
            wanted: Vec::new(),
            before: Vec::new(),
        }
    }

    /// The lists of the `wanted` nearest rows, nearest first, without the query itself if it is a row.
    fn neighbours<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &[f32],
        (queries, wanted): (Queries, usize),
    ) -> Result<Vec<u32>> {
        let itself = usize::from(queries == Queries::Rows);
        let wanted = wanted + itself;
        self.code.set(&directory.codec, query);
        self.router.start(directory, query);
        let mut nearest = Nearest { wanted, rows: BinaryHeap::with_capacity(wanted + 1) };
        while let Some(list) = self.router.next_list() {
            let terms = self.router.terms(directory, list, query);
            self.scanner.list(store, directory, &self.code, (list, terms, WIDTH), &mut nearest)?;
        }
        Ok(nearest.rows.into_sorted_vec().iter().skip(itself).map(|row| row.list).collect())
    }

    /// Counts the ranks of the neighbours' lists in routing order.
    fn ranks(
        &mut self,
        directory: &Directory,
        lists: &[u32],
        weight: f32,
        tables: &mut [Vec<u32>; LEVELS.len()],
    ) {
        self.scores.clear();
        self.scores.extend((0..directory.lists()).map(|l| self.router.score(directory, l, weight)));
        self.wanted.clear();
        self.wanted.extend(lists.iter().map(|&list| self.scores[list as usize]));
        self.wanted.sort_unstable_by(f32::total_cmp);
        self.wanted.dedup();
        self.before.clear();
        self.before.resize(self.wanted.len() + 1, 0);
        for score in &self.scores {
            self.before[self.wanted.partition_point(|wanted| wanted <= score)] += 1;
        }
        // What lies below the first wanted score comes before all of them, and so on.
        let mut sum = 0;
        for count in &mut self.before {
            sum += *count;
            *count = sum;
        }
        for (table, level) in tables.iter_mut().zip(LEVELS) {
            if lists.len() < level as usize {
                break;
            }
            for &list in &lists[..level as usize] {
                let score = self.scores[list as usize];
                let at = self.wanted.partition_point(|wanted| *wanted < score);
                if let Some(n) = self.before.get(at).and_then(|&rank| table.get_mut(rank as usize)) {
                    *n += 1;
                }
            }
        }
    }
}

/// A row by its estimated value, with its list. Bounds of far lists are wider: ordered by upper bounds, neighbours seemed to
/// lie in nearer lists than they do.
#[derive(Clone, Copy)]
struct Near {
    value: f32,
    list: u32,
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.total_cmp(&other.value).then(self.list.cmp(&other.list))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

/// The nearest rows by their estimates.
struct Nearest {
    wanted: usize,
    rows: BinaryHeap<Near>,
}

impl Sink for Nearest {
    fn threshold(&self) -> f32 {
        if self.rows.len() < self.wanted {
            return f32::INFINITY;
        }
        self.rows.peek().map_or(f32::INFINITY, |r| r.value)
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        // One bit gives a lower bound only; of what has no bounds nothing is known, and it comes last.
        let value = match (candidate.lower, candidate.upper) {
            (f32::NEG_INFINITY, _) => f32::INFINITY,
            (lower, f32::INFINITY) => lower,
            (lower, upper) => (lower + upper) / 2.0,
        };
        let row = Near { value, list };
        if self.rows.len() < self.wanted {
            self.rows.push(row);
        } else if let Some(mut farthest) = self.rows.peek_mut()
            && row < *farthest
        {
            *farthest = row;
        }
    }
}
