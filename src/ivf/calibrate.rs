//! Measuring, on the index as written, how many lists a recall target needs (reference algorithms section 6).
//!
//! Sampled rows serve as queries (themselves excluded). For each, a scan of all lists by the stored codes
//! gives its ten nearest rows; the rank of their lists in routing order is what a scan would have had to
//! reach. The share of ranks below P is the recall of P probes.

use std::collections::HashMap;

use super::build::Progress;
use super::code::to_point;
use super::copies;
use super::directory::Directory;
use super::search::{Candidate, Router, Scanner, Sink};
use crate::cluster::Second;
use crate::error::{Error, Kind, Result};
use crate::page::meta::{META_BLOCK, TARGETS};
use crate::page::{Meta, Store, Tid};
use crate::quant::QueryCode;

/// Neighbours whose lists count.
const NEIGHBOURS: usize = 10;
/// Fewer queries say too little: every list is probed then.
const LEAST_QUERIES: usize = 50;
/// As many queries as compare about this many codes, within bounds.
const CODES: u64 = 200_000_000;
const QUERIES: std::ops::RangeInclusive<u64> = 300..=1000;
/// Candidates for the weight of a list's radius in its routing score.
const WEIGHTS: [f32; 8] = [0.0, 0.15, 0.3, 0.45, 0.6, 0.9, 1.2, 1.5];
/// Width of the bounds while calibrating, in standard deviations.
const WIDTH: f32 = 2.0;
/// Share of the allowed loss that is kept for what the ranks do not show: rows lost by bounds, queries that
/// are unlike stored rows, and the chance of the sample.
const RESERVE: f32 = 0.2;
const MOST_RESERVE: f32 = 0.01;

/// A list costs about as much as comparing so many codes, before any of its own.
const LIST: f64 = 300.0;
/// And all of a query that is not reading lists.
const QUERY: f64 = 15_000.0;
/// The share of a query's time that copies of all rows must save to be worth their space.
const PRICE: f64 = 0.3;

/// Copies that rows may be given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The share of the rows that have copies.
    pub share: f32,
    /// The limit of the loss that makes it so; see [`Meta::copy_limit`].
    pub limit: f32,
}

/// The copies that rows have or may be given.
pub struct Copies<'a> {
    /// What can be chosen; the first is what the others must be better than.
    pub choices: &'a [Choice],
    /// Gives the row and the second list of every copy there is with any of the choices.
    pub each: &'a mut Each<'a>,
}

/// See [`Copies`].
pub type Each<'a> = dyn FnMut(&mut dyn FnMut(Tid, Second)) -> Result<()> + 'a;

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
    // Those that the index has are within every limit.
    let mut each = |f: &mut dyn FnMut(Tid, Second)| {
        copies::rows(store, &directory, &mut |tid, list| f(tid, Second { list, loss: 0.0 }))
    };
    let choices = [Choice { share: 0.0, limit: directory.meta.copy_limit }];
    let copies = Copies { choices: &choices, each: &mut each };
    let meta = calibrate(store, directory.meta.clone(), (&points, queries), copies, progress)?;
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        meta.write(change.page_mut(handle));
        Ok(())
    })?;
    Ok(meta)
}

/// Completes `meta` with the routing weight, the table of probes and the limit of copies, for the choice that saves
/// most time.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn calibrate<S: Store>(
    store: &S,
    meta: Meta,
    (points, queries): (&[f32], Queries),
    copies: Copies<'_>,
    progress: &dyn Progress,
) -> Result<Meta> {
    let directory = Directory::with_meta(store, meta)?;
    let count = points.len() / directory.padded();
    let mut meta = directory.meta.clone();
    let Some(&none) = copies.choices.first() else { return Ok(meta) };
    meta.copy_limit = none.limit;
    if directory.lists() == 1 || count < LEAST_QUERIES {
        return Ok(meta);
    }
    progress.total(count as u64);
    let mut state = Query::new(&directory);
    let mut nearest = Vec::with_capacity(count);
    for (i, query) in points.chunks_exact(directory.padded()).enumerate() {
        nearest.push(state.neighbours(store, &directory, query, queries)?);
        progress.done(i as u64 + 1);
        progress.tick()?;
    }
    let mut seconds: HashMap<Tid, Second> =
        nearest.iter().flatten().map(|&(_, tid)| (tid, Second::default())).collect();
    (copies.each)(&mut |tid, second| {
        if let Some(known) = seconds.get_mut(&tid) {
            *known = second;
        }
    })?;
    // For each choice and weight, the rank of every neighbour's list.
    let mut ranks = vec![<[Vec<u32>; WEIGHTS.len()]>::default(); copies.choices.len()];
    for (query, rows) in points.chunks_exact(directory.padded()).zip(&nearest) {
        state.router.prepare(&directory, query);
        for (w, weight) in WEIGHTS.iter().enumerate() {
            let order = state.scores(&directory, *weight);
            let rank = |list: u32| order.iter().filter(|&&s| s < order[list as usize]).count() as u32;
            for &(list, tid) in rows {
                let second = seconds.get(&tid).copied().unwrap_or_default();
                let own = rank(list);
                let other = if second.loss.is_finite() { rank(second.list) } else { own };
                for (choice, ranks) in copies.choices.iter().zip(&mut ranks) {
                    ranks[w].push(if second.loss <= choice.limit { own.min(other) } else { own });
                }
            }
        }
        progress.tick()?;
    }
    let probes_at = |ranks: &[u32], target: f32| {
        let share = target + ((1.0 - target) * RESERVE).min(MOST_RESERVE);
        let at = ((share * ranks.len() as f32).ceil() as usize).clamp(1, ranks.len().max(1));
        ranks.get(at - 1).map_or(directory.lists(), |r| r + 1)
    };
    let rows = directory.meta.built_rows as f64 / f64::from(directory.lists());
    let (mut least, mut without) = (f64::INFINITY, None);
    for (choice, ranks) in copies.choices.iter().zip(&mut ranks) {
        ranks.iter_mut().for_each(|ranks| ranks.sort_unstable());
        let weight = (0..WEIGHTS.len()).min_by_key(|&w| probes_at(&ranks[w], 0.95)).unwrap_or(0);
        let share = f64::from(choice.share);
        let list = LIST + rows * (1.0 + share);
        let time = |target| QUERY + f64::from(probes_at(&ranks[weight], target)) * list;
        let times = [0.95, 0.99].map(time);
        let first = *without.get_or_insert(times);
        let cost = (times[0] / first[0] + times[1] / first[1]) / 2.0 + PRICE * share;
        if cost < least {
            least = cost;
            meta.copy_limit = choice.limit;
            meta.radius_weight = WEIGHTS[weight];
            meta.probes = TARGETS.map(|target| probes_at(&ranks[weight], target));
        }
    }
    Ok(meta)
}

struct Query {
    code: QueryCode,
    router: Router,
    scanner: Scanner,
    scores: Vec<f32>,
}

impl Query {
    fn new(directory: &Directory) -> Self {
        Self {
            code: QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]),
            router: Router::default(),
            scanner: Scanner::default(),
            scores: Vec::new(),
        }
    }

    /// The nearest rows with their lists, without the query itself if it is a row.
    fn neighbours<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &[f32],
        queries: Queries,
    ) -> Result<Vec<(u32, Tid)>> {
        let itself = usize::from(queries == Queries::Rows);
        let wanted = NEIGHBOURS + itself;
        self.code.set(&directory.codec, query);
        self.router.start(directory, query);
        let mut nearest = Nearest { wanted, rows: Vec::with_capacity(wanted + 1) };
        while let Some(list) = self.router.next_list() {
            let terms = self.router.terms(directory, list, query);
            self.scanner.list(store, directory, &self.code, (list, terms, WIDTH), &mut nearest)?;
        }
        Ok(nearest.rows.iter().skip(itself).map(|r| (r.1, r.2)).collect())
    }

    /// The routing score of every list.
    fn scores(&mut self, directory: &Directory, weight: f32) -> &[f32] {
        self.scores.clear();
        self.scores.extend((0..directory.lists()).map(|l| self.router.score(directory, l, weight)));
        &self.scores
    }
}

/// The nearest rows by their upper bounds (whose widths hardly differ), ascending, with their lists.
struct Nearest {
    wanted: usize,
    rows: Vec<(f32, u32, Tid)>,
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
            self.rows.insert(at, (candidate.upper, list, candidate.tid));
            self.rows.truncate(self.wanted);
        }
    }
}
