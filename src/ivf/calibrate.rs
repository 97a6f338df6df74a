//! Measuring, on the index as written, how many lists a recall target needs (reference algorithms section 6).
//!
//! Sampled rows serve as queries (themselves excluded). For each, a scan of all lists by the stored codes
//! gives its ten nearest rows; the rank of their lists in routing order is what a scan would have had to
//! reach. The share of ranks below P is the recall of P probes.

use super::build::Progress;
use super::code::to_point;
use super::directory::Directory;
use super::refresh::store_calibration;
use super::search::{Candidate, Router, Scanner, Sink};
use crate::error::{Error, Kind, Result};
use crate::page::meta::TARGETS;
use crate::page::{Meta, Store};
use crate::quant::QueryCode;

/// Neighbours whose lists count.
const NEIGHBOURS: usize = 10;
/// Fewer queries say too little: every list is probed then.
const LEAST_QUERIES: usize = 50;
/// As many queries as compare about this many codes, within bounds.
const CODES: u64 = 200_000_000;
const QUERIES: std::ops::RangeInclusive<u64> = 300..=1000;
/// Queries that read the lists together.
const TOGETHER: usize = 16;
/// Lists that each reads before, the best first.
const FIRST: usize = 16;
/// Candidates for the weight of a list's radius in its routing score.
const WEIGHTS: [f32; 6] = [0.0, 0.15, 0.3, 0.45, 0.6, 0.9];
/// Width of the bounds while calibrating, in standard deviations.
const WIDTH: f32 = 2.0;
/// Share of the allowed loss that is kept for what the ranks do not show: rows lost by bounds, queries that
/// are unlike stored rows, and the chance of the sample.
const RESERVE: f32 = 0.2;
const MOST_RESERVE: f32 = 0.01;

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
    let directory = Directory::with_meta(store, meta)?;
    let count = points.len() / directory.padded();
    if directory.lists() == 1 || count < LEAST_QUERIES {
        return Ok(directory.meta);
    }
    progress.total(count as u64);
    let mut ranks: [Vec<u32>; WEIGHTS.len()] = Default::default();
    let itself = usize::from(queries == Queries::Rows);
    let mut scanner = Scanner::default();
    let mut batch: Vec<Query> = Vec::new();
    for (i, points) in points.chunks(TOGETHER * directory.padded()).enumerate() {
        let points = points.chunks_exact(directory.padded());
        batch.resize_with(points.len(), || Query::new(&directory, NEIGHBOURS + itself));
        for (query, point) in batch.iter_mut().zip(points) {
            query.start(store, &directory, point, &mut scanner)?;
        }
        // A list's pages come from memory once for all queries.
        for list in 0..directory.lists() {
            for query in &mut batch {
                query.rest(store, &directory, list, &mut scanner)?;
            }
            progress.tick()?;
        }
        for query in &mut batch {
            for (weight, ranks) in WEIGHTS.iter().zip(&mut ranks) {
                query.ranks(&directory, itself, *weight, ranks);
            }
        }
        progress.done((i * TOGETHER + batch.len()) as u64);
    }
    for ranks in &mut ranks {
        ranks.sort_unstable();
    }
    let probes_at = |ranks: &[u32], target: f32| {
        let share = target + ((1.0 - target) * RESERVE).min(MOST_RESERVE);
        let at = ((share * ranks.len() as f32).ceil() as usize).clamp(1, ranks.len().max(1));
        ranks.get(at - 1).map_or(directory.lists(), |r| r + 1)
    };
    let best = (0..WEIGHTS.len()).min_by_key(|&w| probes_at(&ranks[w], 0.95)).unwrap_or(0);
    let mut meta = directory.meta.clone();
    meta.radius_weight = WEIGHTS[best];
    meta.probes = TARGETS.map(|target| probes_at(&ranks[best], target));
    Ok(meta)
}

struct Query {
    code: QueryCode,
    router: Router,
    point: Vec<f32>,
    /// The lists it has read before the others, ascending.
    first: Vec<u32>,
    nearest: Nearest,
    scores: Vec<f32>,
}

impl Query {
    fn new(directory: &Directory, wanted: usize) -> Self {
        Self {
            code: QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]),
            router: Router::default(),
            point: Vec::new(),
            first: Vec::new(),
            nearest: Nearest { wanted, rows: Vec::with_capacity(wanted + 1) },
            scores: Vec::new(),
        }
    }

    /// Takes a query and reads its best lists, which leaves few rows of the others to be looked at closely.
    fn start<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        point: &[f32],
        scanner: &mut Scanner,
    ) -> Result<()> {
        self.code.set(&directory.codec, point);
        self.router.start(directory, point);
        self.point.clear();
        self.point.extend_from_slice(point);
        self.nearest.rows.clear();
        self.first.clear();
        for _ in 0..FIRST {
            let Some(list) = self.router.next_list() else { break };
            self.read(store, directory, list, scanner)?;
            self.first.push(list);
        }
        self.first.sort_unstable();
        Ok(())
    }

    /// Reads a list, unless it has been.
    fn rest<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        list: u32,
        scanner: &mut Scanner,
    ) -> Result<()> {
        match self.first.binary_search(&list) {
            Ok(_) => Ok(()),
            Err(_) => self.read(store, directory, list, scanner),
        }
    }

    fn read<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        list: u32,
        scanner: &mut Scanner,
    ) -> Result<()> {
        let terms = self.router.terms(directory, list, &self.point);
        scanner.list(store, directory, &self.code, (list, terms, WIDTH), &mut self.nearest)
    }

    /// The ranks of the lists of the nearest rows, less the query itself if it is a row.
    fn ranks(&mut self, directory: &Directory, itself: usize, weight: f32, out: &mut Vec<u32>) {
        self.scores.clear();
        self.scores.extend((0..directory.lists()).map(|l| self.router.score(directory, l, weight)));
        for &(_, list) in self.nearest.rows.iter().skip(itself) {
            let score = self.scores[list as usize];
            out.push(self.scores.iter().filter(|&&s| s < score).count() as u32);
        }
    }
}

/// The nearest rows by their upper bounds (whose widths hardly differ), ascending, with their lists.
struct Nearest {
    wanted: usize,
    rows: Vec<(f32, u32)>,
}

impl Sink for Nearest {
    fn threshold(&self) -> f32 {
        if self.rows.len() < self.wanted {
            return f32::INFINITY;
        }
        self.rows.last().map_or(f32::INFINITY, |r| r.0)
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        let at = self.rows.partition_point(|r| r.0 <= candidate.upper);
        if at < self.wanted {
            self.rows.insert(at, (candidate.upper, list));
            self.rows.truncate(self.wanted);
        }
    }
}
