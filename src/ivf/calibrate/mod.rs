//! Calibration: measures, on the finished index, how many lists a recall target needs.
//!
//! Sampled rows serve as queries (themselves excluded). For each query, a scan of all lists by the stored
//! codes gives its nearest rows. The rank of a row's list in routing order is the number of lists that a scan
//! must read to find the row. The share of ranks below P is the recall of P probes. Each of [`MEASURED`] has
//! its own table, because the hundred nearest rows need 1.4 to 1.7 times as many lists as the ten nearest;
//! the factor is largest at low targets.

mod asking;
mod batch;
mod displaced;
mod farther;
mod onward;
pub mod reconstruct;
pub mod vacuum;
mod walk;

pub use self::asking::Asking;
pub use self::batch::{LEAST_QUERIES, QUERIES};
use self::batch::{Query, Reader, TOGETHER, of_query};
use crate::error::{Error, Kind, Result};
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::Scanner;
use crate::memory::{self, Grow};
use crate::page::lists::{self, KEPT};
use crate::page::meta::{MEASURED, META_BLOCK, TARGETS};
use crate::page::{Meta, PageKind, Root, Store};

/// How many queries at least look for the neighbours of each of [`MEASURED`]. More neighbours need fewer
/// queries, because their average is less random, and a query takes longer.
const QUERIES_OF_LEVEL: [usize; MEASURED.len()] = [usize::MAX, 400, 100, 100, 100];
/// This number of queries reads all lists, to find how many lists are worth reading. It is a multiple of a
/// batch, and large enough that the share [`NEARLY_ALL`] of their neighbours is not random. The other queries
/// take most of the time.
const THOROUGH: usize = 6 * TOGETHER;
/// The other queries read [`MARGIN`] times as many lists as hold this share of the neighbours. The neighbours
/// in the remaining lists are a tenth of the loss that the target .99 allows.
const NEARLY_ALL: f32 = 0.999;
const MARGIN: f32 = 1.25;
/// Candidates for the weight of a list's radius in its routing score. Near the best weight the number of
/// lists hardly changes, so steps of .3 are small enough.
const WEIGHTS: [f32; 5] = [0.0, 0.3, 0.6, 0.9, 1.2];
/// Share of the allowed loss that is reserved for what the ranks do not show: rows missed because of wrong
/// bounds, queries unlike stored rows, and the randomness of the sample.
const RESERVE: f32 = 0.1;
const MOST_RESERVE: f32 = 0.005;
/// The same for arrays of vectors. Rows with better values than their estimates are often together in lists
/// that seem worse than they are, and a scan loses rows among its candidates, too. To read lists costs less
/// than to fetch rows. (With .45 recall was .915 for a target of .95.)
const RESERVE_OF_TOKENS: f32 = 0.8;

/// Where the queries of a calibration come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// Rows of the index. Each finds itself as its nearest neighbour, which is not counted.
    Rows,
    /// Vectors as the users ask them.
    Asked,
}

/// Calibrates a finished index again and stores the result. Scans that begin later use it. `vectors` are the
/// queries as the table stores them, one after the other. If records have elements, rows of the index are
/// taken instead if there are enough, because sketches say less.
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
    let (mut asking, mut unit) = (Asking::default(), Vec::new());
    if directory.codec.has_elements() {
        let states = reconstruct::counted(store, &directory)?;
        let rows = memory::collected(states.iter().map(|state| state.rows))?;
        let (want, seed) = (*QUERIES.end(), directory.meta.instance);
        asking = reconstruct::rows(store, &directory, &rows, (want, seed), &|| progress.tick())?;
    }
    let vectors = if asking.points.len() / directory.padded() < LEAST_QUERIES {
        // The last build or vacuum has counted too few.
        asking = Asking::default();
        vectors
    } else {
        &[]
    };
    for vector in vectors.chunks_exact(directory.dims()) {
        asking.push(&directory, vector.into(), &mut unit)?;
    }
    let count = asking.points.len() / directory.padded();
    if directory.lists() > 1 && count < LEAST_QUERIES {
        let message =
            format!("at least {LEAST_QUERIES} vectors are needed to calibrate an index, not {count}");
        return Err(Error::new(Kind::InvalidParameter, message));
    }
    let meta = calibrate(store, directory.meta.clone(), &asking, queries, progress)?;
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
    asking: &Asking,
    queries: Queries,
    progress: &dyn Progress,
) -> Result<Meta> {
    let mut directory = Directory::with_meta(store, meta)?;
    let (padded, all) = (directory.padded(), directory.lists());
    let distinct = if queries == Queries::Rows { asking.distinct(padded)? } else { None };
    let asking = distinct.as_ref().unwrap_or(asking);
    let points = &asking.points[..];
    let count = points.len() / padded;
    if all == 1 || count < LEAST_QUERIES {
        return Ok(directory.meta);
    }
    progress.total(count as u64);
    // Checks that there is memory for the queries of a batch, because they allocate it in small pieces.
    memory::room(TOGETHER * of_query(&directory))?;
    let mut tables = Tables::new(&directory)?;
    let itself = usize::from(queries == Queries::Rows);
    let mut scanner = Scanner::default();
    let mut batch: Vec<Query> = Vec::new();
    let mut trails = Vec::new();
    let (mut begun, mut worth) = (0, [all; MEASURED.len()]);
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
            let neighbours = MEASURED[level] as usize + itself;
            let record = asking.record(reader.directory, begun);
            query.start(&mut reader, (point, record), neighbours, worth[level])?;
            begun += 1;
        }
        // The pages of a list are read from memory once for all queries.
        for list in 0..all {
            for query in &mut batch {
                query.rest(&mut reader, list)?;
            }
            progress.tick()?;
        }
        for (i, query) in (begun - batch.len()..).zip(&mut batch) {
            if i.is_multiple_of(count.div_ceil(onward::ORDINARY)) {
                trails.try_push((i, query.nearest.trail()?))?;
            }
            query.count(itself, &mut tables);
        }
        progress.done(begun as u64);
    }
    store.end_prefetch();
    let best = tables.best();
    directory.meta.radius_weight = WEIGHTS[best];
    directory.meta.set_measured(tables.efforts(best));
    let (farther, mut displaced) = farther::measure(store, &directory, points, progress)?;
    store.end_prefetch();
    directory.meta.farther = farther;
    let own = onward::Own { points, trails: &mut trails, itself };
    let onward = onward::measure(&directory, own, &mut displaced)?;
    Ok(Meta { onward, ..directory.meta })
}

/// Which of [`MEASURED`] the `i`-th of `count` queries is for.
fn level_of(i: usize, count: usize) -> usize {
    let due = |level: &usize| i.is_multiple_of((count / QUERIES_OF_LEVEL[*level]).max(1));
    (0..MEASURED.len()).rev().find(due).unwrap_or(0)
}

/// For each weight and level, how many neighbours' lists had each rank.
struct Tables {
    ranks: [[Vec<u32>; MEASURED.len()]; WEIGHTS.len()],
    of_tokens: bool,
}

impl Tables {
    fn new(directory: &Directory) -> Result<Self> {
        let mut tables = Self { ranks: Default::default(), of_tokens: directory.sketch().is_of_tokens() };
        for ranks in tables.ranks.as_flattened_mut() {
            *ranks = memory::filled(0, directory.lists() as usize)?;
        }
        Ok(tables)
    }

    /// The weight with which the usual target takes the fewest lists.
    fn best(&self) -> usize {
        let lists = |w: &usize| average_lists(&self.ranks[*w][0], self.with_reserve(0.95));
        (0..WEIGHTS.len()).min_by(|a, b| lists(a).total_cmp(&lists(b))).unwrap_or(0)
    }

    /// For each level, lists beyond which next to nothing is found.
    fn worth_reading(&self, weight: usize) -> [u32; MEASURED.len()] {
        self.ranks[weight].each_ref().map(|ranks| (MARGIN * average_lists(ranks, NEARLY_ALL)).ceil() as u32)
    }

    fn efforts(&self, weight: usize) -> [[f32; TARGETS.len()]; MEASURED.len()] {
        let mut out = [[0.0; TARGETS.len()]; MEASURED.len()];
        for (level, ranks) in self.ranks[weight].iter().enumerate() {
            if ranks.iter().all(|&n| n == 0) {
                break;
            }
            out[level] = TARGETS.map(|target| average_lists(ranks, self.with_reserve(target)));
            if level > 0 {
                // More rows never need fewer lists, even if the sample suggests it.
                let fewer = out[level - 1];
                out[level].iter_mut().zip(fewer).for_each(|(more, fewer)| *more = more.max(fewer));
            }
        }
        out
    }

    /// The share of neighbours for which the lists are counted, so that scans find `target` of them.
    fn with_reserve(&self, target: f32) -> f32 {
        let loss = 1.0 - target;
        target + if self.of_tokens { loss * RESERVE_OF_TOKENS } else { (loss * RESERVE).min(MOST_RESERVE) }
    }
}

/// Lists to read on average so that `share` of the neighbours are found. The fractional part is the share of
/// queries that read one list more. If no neighbours were counted: all lists.
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

impl Query {
    /// Counts the ranks of the lists of the nearest rows, without the query itself if it is a row.
    fn count(&mut self, itself: usize, tables: &mut Tables) {
        let rows = self.nearest.take_sorted();
        let rows = rows.get(itself..).unwrap_or_default();
        self.ranks.clear();
        self.ranks.extend(rows.iter().map(|row| (row.list, 0)));
        self.ranks.sort_unstable();
        self.ranks.dedup();
        for (weight, levels) in WEIGHTS.iter().zip(&mut tables.ranks) {
            self.scores.clear();
            self.scores.extend(self.router.scores(*weight));
            for (list, rank) in &mut self.ranks {
                let score = self.scores[*list as usize];
                *rank = self.scores.iter().map(|&s| u32::from(s < score)).sum();
            }
            for (table, level) in levels.iter_mut().zip(MEASURED) {
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

/// Writes the result of a calibration, and the numbers of rows for which it was made. With `keep`, VACUUM
/// will not replace it.
///
/// # Errors
/// Damage, and the store's errors.
pub fn store_calibration<S: Store>(store: &S, directory: &Directory, meta: &Meta, keep: bool) -> Result<()> {
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        let root = Root::read(change.page(handle))?;
        Root { current: meta.clone(), ..root }.write(change.page_mut(handle));
        Ok(())
    })?;
    let lists = directory.lists();
    for first in (0..lists).step_by(lists::LISTS_PER_PAGE as usize) {
        let (blkno, _) = directory.state_position(first);
        store.change(|change| {
            let handle = change.open(blkno)?;
            change.page(handle).expect_kind(blkno, PageKind::Lists)?;
            for index in 0..(lists - first).min(lists::LISTS_PER_PAGE) as usize {
                let mut state = lists::read(change.page(handle), index);
                state.calibrated = if keep { KEPT } else { state.rows.saturating_add(1).min(KEPT - 1) };
                lists::write(change.page_mut(handle), index, &state);
            }
            Ok(())
        })?;
    }
    Ok(())
}
