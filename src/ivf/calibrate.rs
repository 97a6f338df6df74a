//! Measuring, on the index as written, how many lists a recall target needs (reference algorithms section 6).
//!
//! Sampled rows serve as queries (themselves excluded). For each, a scan of all lists by the stored codes
//! gives its nearest rows; the rank of their lists in routing order is what a scan would have had to
//! reach. The share of ranks below P is the recall of P probes. Each of [`LEVELS`] has its own table: the hundred
//! nearest rows take 1.4 to 1.7 times as many lists as the ten nearest, more so at low targets.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::build::Progress;
use super::code::to_point;
use super::directory::Directory;
use super::refresh::store_calibration;
use super::search::{Candidate, Router, Scanner, Sink};
use crate::error::{Error, Kind, Result};
use crate::memory::{self, Grow};
use crate::page::meta::{LEVELS, TARGETS};
use crate::page::{Meta, Store};
use crate::quant::{QueryCode, Width};
use crate::value::TotalF32;

/// Fewer queries say too little: every list is probed then.
pub const LEAST_QUERIES: usize = 50;
/// Queries of a build where its sample has as many: recall then keeps within a hundredth of what was asked for.
pub const QUERIES: std::ops::RangeInclusive<usize> = 500..=1200;
/// Queries that look for as many neighbours as each of [`LEVELS`], at least: the share of a hundred neighbours is less a
/// matter of chance than that of ten, and takes longer to find.
const QUERIES_OF_LEVEL: [usize; LEVELS.len()] = [usize::MAX, 400, 100];
/// Queries that read the lists together.
const TOGETHER: usize = 16;
/// So many queries read all lists, and show how many lists are worth reading.
const THOROUGH: usize = 6 * TOGETHER;
/// The others leave out those beyond so many times what has this share of the neighbours.
const NEARLY_ALL: f32 = 0.999;
const MARGIN: f32 = 1.25;
/// Bytes that a query keeps of each list: its parts and products, its place in the order, its score, and whether it is left.
const LIST_BYTES: usize = 32;
/// And of each coordinate: the point, its codes and tables.
const COORDINATE_BYTES: usize = 16;
/// Lists that each reads before, the best first.
const FIRST: u32 = 16;
/// Candidates for the weight of a list's radius in its routing score.
const WEIGHTS: [f32; 5] = [0.0, 0.3, 0.6, 0.9, 1.2];
/// Width of the bounds while calibrating, in standard deviations.
const WIDTH: Width = Width { deviations: 2.0, sound: false };
/// Share of the allowed loss that is kept for what the ranks do not show: rows lost by bounds, queries that
/// are unlike stored rows, and the chance of the sample.
const RESERVE: f32 = 0.1;
const MOST_RESERVE: f32 = 0.005;

/// Where the queries of a calibration come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// Rows of the index, each of which finds itself first.
    Rows,
    /// Vectors as the users ask them.
    Asked,
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
    let mut points = memory::with_capacity(vectors.len() / dims * padded)?;
    for vector in vectors.chunks_exact(dims) {
        let at = points.len();
        points.try_resize(at + padded, 0.0)?;
        let point = &mut points[at..];
        if !to_point(&directory, vector, &mut unit, point) || point.iter().any(|x| !x.is_finite()) {
            points.truncate(at);
        }
    }
    let count = points.len() / padded;
    if directory.lists() > 1 && count < LEAST_QUERIES {
        let message = format!("{LEAST_QUERIES} vectors are needed to calibrate an index, not {count}");
        return Err(Error::new(Kind::InvalidParameter, message));
    }
    let meta = calibrate(store, directory.meta.clone(), &points, queries, progress)?;
    store_calibration(store, &directory, &meta, queries == Queries::Asked)?;
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
    let mut directory = Directory::with_meta(store, meta)?;
    let (padded, all) = (directory.padded(), directory.lists());
    let count = points.len() / padded;
    if all == 1 || count < LEAST_QUERIES {
        return Ok(directory.meta);
    }
    progress.total(count as u64);
    // The tables, and what the queries of a batch keep of every list and coordinate.
    let of_query = LIST_BYTES * all as usize + COORDINATE_BYTES * padded;
    let tables = WEIGHTS.len() * LEVELS.len() * 4 * all as usize;
    memory::room(tables.saturating_add(TOGETHER * of_query))?;
    let mut tables = Tables::new(&directory);
    let itself = usize::from(queries == Queries::Rows);
    let mut scanner = Scanner::default();
    let mut batch: Vec<Query> = Vec::new();
    let (mut begun, mut worth) = (0, [all; LEVELS.len()]);
    for points in points.chunks(TOGETHER * padded) {
        if begun == THOROUGH {
            let best = tables.best();
            directory.meta.radius_weight = WEIGHTS[best];
            worth = tables.worth_reading(best);
        }
        let mut reader = Reader { store, directory: &directory, scanner: &mut scanner };
        let points = points.chunks_exact(padded);
        batch.resize_with(points.len(), || Query::new(&directory));
        for (query, point) in batch.iter_mut().zip(points) {
            let level = level_of(begun, count);
            query.start(&mut reader, point, LEVELS[level] as usize + itself, worth[level])?;
            begun += 1;
        }
        // A list's pages come from memory once for all queries.
        for list in 0..all {
            for query in &mut batch {
                query.rest(&mut reader, list)?;
            }
            progress.tick()?;
        }
        for query in &mut batch {
            query.count(itself, &mut tables);
        }
        progress.done(begun as u64);
    }
    store.settle();
    let best = tables.best();
    let mut meta = directory.meta.clone();
    meta.radius_weight = WEIGHTS[best];
    meta.efforts = tables.efforts(best);
    meta.probes = meta.efforts[0].map(|lists| lists.ceil() as u32);
    Ok(meta)
}

/// Which of [`LEVELS`] the `i`-th of `count` queries is for.
fn level_of(i: usize, count: usize) -> usize {
    let due = |level: &usize| i.is_multiple_of((count / QUERIES_OF_LEVEL[*level]).max(1));
    (0..LEVELS.len()).rev().find(due).unwrap_or(0)
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
        let lists = |w: &usize| average_lists(&self.0[*w][0], with_reserve(0.95));
        (0..WEIGHTS.len()).min_by(|a, b| lists(a).total_cmp(&lists(b))).unwrap_or(0)
    }

    /// For each level, lists beyond which next to nothing is found.
    fn worth_reading(&self, weight: usize) -> [u32; LEVELS.len()] {
        self.0[weight].each_ref().map(|ranks| (MARGIN * average_lists(ranks, NEARLY_ALL)).ceil() as u32)
    }

    fn efforts(&self, weight: usize) -> [[f32; TARGETS.len()]; LEVELS.len()] {
        let mut out = [[0.0; TARGETS.len()]; LEVELS.len()];
        for (level, ranks) in self.0[weight].iter().enumerate() {
            if ranks.iter().all(|&n| n == 0) {
                break;
            }
            out[level] = TARGETS.map(|target| average_lists(ranks, with_reserve(target)));
            if level > 0 {
                // More rows never take fewer lists, whatever the sample says.
                let fewer = out[level - 1];
                out[level].iter_mut().zip(fewer).for_each(|(more, fewer)| *more = more.max(fewer));
            }
        }
        out
    }
}

/// The share of neighbours to aim at so that `target` of them are found.
fn with_reserve(target: f32) -> f32 {
    target + ((1.0 - target) * RESERVE).min(MOST_RESERVE)
}

/// Lists to read on average so that `share` of the neighbours are found: a fraction is the share of queries that read one
/// more. All lists where no neighbours were counted.
fn average_lists(ranks: &[u32], share: f32) -> f32 {
    let all: u64 = ranks.iter().map(|&n| u64::from(n)).sum();
    let wanted = f64::from(share) * all as f64;
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

/// The index, and the memory for reading it.
struct Reader<'a, S> {
    store: &'a S,
    directory: &'a Directory,
    scanner: &'a mut Scanner,
}

struct Query {
    code: QueryCode,
    router: Router,
    point: Vec<f32>,
    /// Whether each list is still to be read.
    left: Vec<bool>,
    nearest: Nearest,
    /// The scores of all lists for one weight.
    scores: Vec<f32>,
    /// The lists of the neighbours, each once, ascending, and where it comes in routing order.
    ranks: Vec<(u32, u32)>,
}

impl Query {
    fn new(directory: &Directory) -> Self {
        Self {
            code: QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]),
            router: Router::default(),
            point: Vec::new(),
            left: Vec::new(),
            nearest: Nearest { wanted: 0, rows: BinaryHeap::new() },
            scores: Vec::new(),
            ranks: Vec::new(),
        }
    }

    /// Takes a query and reads its best lists, which leaves few rows of the others to be looked at closely.
    fn start<S: Store>(
        &mut self,
        reader: &mut Reader<'_, S>,
        point: &[f32],
        neighbours: usize,
        worth: u32,
    ) -> Result<()> {
        self.code.set(&reader.directory.codec, point);
        self.router.start(reader.directory, point);
        self.point.clear();
        self.point.extend_from_slice(point);
        self.nearest.wanted = neighbours;
        self.nearest.rows.clear();
        self.left.clear();
        self.left.resize(reader.directory.lists() as usize, false);
        for rank in 0..worth {
            let Some(list) = self.router.next_list() else { break };
            if rank < FIRST {
                self.read(reader, list)?;
            } else {
                self.left[list as usize] = true;
            }
        }
        Ok(())
    }

    /// Reads a list if it is left.
    fn rest<S: Store>(&mut self, reader: &mut Reader<'_, S>, list: u32) -> Result<()> {
        if self.left[list as usize] { self.read(reader, list) } else { Ok(()) }
    }

    fn read<S: Store>(&mut self, reader: &mut Reader<'_, S>, list: u32) -> Result<()> {
        let Reader { store, directory, scanner } = reader;
        let (head, pages) = directory.head(list);
        store.prefetch(head, pages);
        let terms = || self.router.terms(directory, list, &self.point);
        scanner.list(*store, directory, &self.code, (list, &terms, WIDTH), &mut self.nearest)
    }

    /// Counts the ranks of the lists of the nearest rows, less the query itself if it is a row.
    fn count(&mut self, itself: usize, tables: &mut Tables) {
        let rows = std::mem::take(&mut self.nearest.rows).into_sorted_vec();
        let rows = rows.get(itself..).unwrap_or_default();
        self.ranks.clear();
        self.ranks.extend(rows.iter().map(|row| (row.list, 0)));
        self.ranks.sort_unstable();
        self.ranks.dedup();
        for (weight, levels) in WEIGHTS.iter().zip(&mut tables.0) {
            self.scores.clear();
            self.scores.extend(self.router.parts().iter().map(|parts| parts.score(*weight)));
            for (list, rank) in &mut self.ranks {
                let score = self.scores[*list as usize];
                *rank = self.scores.iter().map(|&s| u32::from(s < score)).sum();
            }
            for (table, level) in levels.iter_mut().zip(LEVELS) {
                let Some(rows) = rows.get(..level as usize) else { break };
                for row in rows {
                    if let Ok(at) = self.ranks.binary_search_by_key(&row.list, |&(list, _)| list) {
                        table[self.ranks[at].1 as usize] += 1;
                    }
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
        TotalF32(self.value).cmp(&TotalF32(other.value)).then(self.list.cmp(&other.list))
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
