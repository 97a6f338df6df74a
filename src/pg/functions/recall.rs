//! `ivf_recall`: the results of index scans compared with those of an exact pass over the table.

use std::time::Instant;

use pgrx::prelude::pg_extern;
use pgrx::{JsonB, pg_sys};
use serde::Serialize;

use super::access::{Opened, READING, Right, with_index};
use super::check::expect_built_before;
use super::{between, json};
use crate::error::{Error, Kind, Result};
use crate::ivf::code::is_indexed;
use crate::ivf::scan::Scan;
use crate::ivf::search::filter::Filter;
use crate::ivf::sketch::{Sketch, Sketched};
use crate::ivf::top_k::TopK;
use crate::page::{Key, Tid};
use crate::pg::am::build::random_seed;
use crate::pg::am::directory_cache::{directories, sketch};
use crate::pg::am::opclass;
use crate::pg::am::table_source::{TableSource, each_original, each_row};
use crate::pg::datum::indexed::OwnedQuery;
use crate::pg::error::{OrRaise, in_index, interrupts, raise};
use crate::pg::scan::table_rows::{Measured, TableRows};
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::settings::resolve::{self, ScanRequest};
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::value::{Metric, Original, TotalF64};

const MOST_QUERIES: i32 = 10_000;
const MOST_NEIGHBOURS: i32 = 1000;
/// Recall below this is counted as poor.
const POOR: f64 = 0.8;

/// A row that is used as a query.
struct Query {
    row: Tid,
    vector: OwnedQuery,
    /// The values of its nearest other rows.
    nearest: TopK<TotalF64>,
}

/// The answer of `ivf_recall`. Lists, codes and rows are means per query.
#[derive(Default, Serialize)]
struct Report {
    queries: usize,
    k: i32,
    recall: Option<f64>,
    worst: Option<f64>,
    poor_queries: usize,
    lists: f64,
    codes: f64,
    heap_rows: f64,
    median_ms: f64,
}

/// Takes `sample_size` rows of the table as queries, searches each in the index with the settings of the
/// session and the index, and compares the `k` nearest other rows with those of an exact pass over the table.
#[pg_extern(sql = false)]
fn ivf_recall(index: pg_sys::Oid, sample_size: i32, k: i32) -> JsonB {
    between("sample_size", sample_size, MOST_QUERIES);
    between("k", k, MOST_NEIGHBOURS);
    json(&with_index(index, READING, Right::Read, |opened| measure(opened, sample_size as usize, k)))
}

fn measure(opened: &Opened, sample_size: usize, k: i32) -> Report {
    let index = opened.index.as_ptr();
    let sketch = sketch(index).or_raise();
    let (indexed, metric) = opclass::indexed(index).or_raise();
    fits(sample_size, sketch.size, k as usize);
    // SAFETY: the relations stay open to the end; the snapshot is the statement's.
    unsafe {
        let snapshot = pg_sys::GetActiveSnapshot();
        expect_built_before(index, snapshot);
        let mut queries = sample(opened, sketch.clone(), metric, (sample_size, k as usize));
        if indexed.is_sketched() {
            exact_of_originals(opened, metric, snapshot, &mut queries);
        } else {
            exact(opened, (sketch, metric), snapshot, &mut queries);
        }
        let mut table_rows =
            TableRows::open(opened.table.as_ptr(), index, snapshot, (indexed, metric)).or_raise();
        let report =
            approximate(index, &mut table_rows, &queries, k).map_err(|e| in_index(index, e)).or_raise();
        table_rows.close();
        report
    }
}

/// Raises an error if the queries do not fit `maintenance_work_mem`.
fn fits(queries: usize, dims: usize, k: usize) {
    // SAFETY: reading a setting (kB).
    let limit = unsafe { pg_sys::maintenance_work_mem } as usize;
    let needed = queries.saturating_mul(4 * dims + 8 * k) / 1024;
    if needed > limit {
        let message =
            format!("{queries} queries need {needed} kB, more than maintenance_work_mem ({limit} kB)");
        let hint = "Ask for a smaller sample, or raise maintenance_work_mem.";
        raise(Error::new(Kind::LimitExceeded, message).with_hint(hint));
    }
}

/// Rows from all over the table.
unsafe fn sample(opened: &Opened, sketch: Sketch, metric: Metric, (count, k): (usize, usize)) -> Vec<Query> {
    let mut queries = Vec::new();
    let seed = random_seed().or_raise();
    // SAFETY: both relations are open.
    let mut rows =
        unsafe { TableSource::of_index(opened.table.as_ptr(), opened.index.as_ptr(), sketch, seed) };
    rows.scattered(count, &mut |row, vector| {
        if is_indexed(metric, vector) {
            let vector = OwnedQuery::Vector(vector.to_vec());
            queries.push(Query { row, vector, nearest: TopK::new(k) });
        }
    });
    queries
}

/// One pass over the table: the nearest rows of all queries.
unsafe fn exact(
    opened: &Opened,
    (sketch, metric): (Sketch, Metric),
    snapshot: pg_sys::Snapshot,
    queries: &mut [Query],
) {
    let mut visit = |row: Tid, value: Sketched<'_>, _: &[Key]| {
        let vector = value.coordinates;
        pgrx::check_for_interrupts!();
        if is_indexed(metric, vector) {
            for query in queries.iter_mut().filter(|q| q.row != row) {
                if let OwnedQuery::Vector(of_query) = &query.vector {
                    query.nearest.push(TotalF64(metric.distance(vector, of_query)?));
                }
            }
        }
        Ok(())
    };
    // SAFETY: both relations are open, the snapshot is active.
    unsafe { each_row(opened.table.as_ptr(), opened.index.as_ptr(), sketch, snapshot, None, &mut visit) };
}

/// The same for values of which the index has sketches: a first pass takes the queries from the table.
unsafe fn exact_of_originals(
    opened: &Opened,
    metric: Metric,
    snapshot: pg_sys::Snapshot,
    queries: &mut Vec<Query>,
) {
    let (table, index) = (opened.table.as_ptr(), opened.index.as_ptr());
    let mut take = |row: Tid, value: Original<'_>| {
        for query in queries.iter_mut().filter(|query| query.row == row) {
            query.vector = OwnedQuery::Original(value.to_buf()?);
        }
        Ok(())
    };
    // SAFETY: both relations are open, the snapshot is active.
    unsafe { each_original(table, index, snapshot, &mut take) };
    // The snapshot does not see the others.
    queries.retain(|query| matches!(query.vector, OwnedQuery::Original(_)));
    let mut visit = |row: Tid, value: Original<'_>| {
        pgrx::check_for_interrupts!();
        if value.is_indexed(metric) {
            for query in queries.iter_mut().filter(|query| query.row != row) {
                if let OwnedQuery::Original(of_query) = &query.vector {
                    let distance = value.distance(metric, of_query.view(), interrupts)?;
                    query.nearest.push(TotalF64(distance));
                }
            }
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { each_original(table, index, snapshot, &mut visit) };
}

/// The same searches, with the index.
fn approximate(
    index: pg_sys::Relation,
    table_rows: &mut TableRows,
    queries: &[Query],
    k: i32,
) -> Result<Report> {
    let store = IndexStore::new(index, Logging::EachChange);
    let directories = directories(&store)?;
    let settings = resolve::settings(
        &IndexOptions::of(index),
        directories.0.lists(),
        // One row more, because the row itself is usually found, too.
        ScanRequest { limit: Some(k as u64 + 1), ..ScanRequest::default() },
    );
    let (sketch, mut coordinates) = (directories.0.sketch().for_queries(), Vec::new());
    let mut search = Scan::new(directories, settings);
    let mut times = Vec::new();
    let mut recalls = Vec::new();
    for query in queries {
        let start = Instant::now();
        table_rows.reset();
        let mut rows = Measured { rows: table_rows, query: Some(query.vector.view()) };
        let of_query = query.vector.view().coordinates(&sketch, &mut coordinates)?;
        search.start_filtered(settings, Some(of_query), Filter::default());
        let (mut hits, mut others) = (0, 0);
        while others < k {
            let Some((row, value)) = search.next(&store, &mut rows)? else { break };
            if row != query.row {
                others += 1;
                hits += usize::from(
                    query.nearest.greatest().is_some_and(|farthest| TotalF64(value) <= *farthest),
                );
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if !query.nearest.is_empty() {
            recalls.push(hits as f64 / query.nearest.len() as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    recalls.sort_by(f64::total_cmp);
    let round = |x: f64| (x * 1e4).round() / 1e4;
    let (stats, count) = (search.stats(), queries.len().max(1) as f64);
    let mean = recalls.iter().sum::<f64>() / recalls.len().max(1) as f64;
    Ok(Report {
        queries: recalls.len(),
        k,
        recall: (!recalls.is_empty()).then(|| round(mean)),
        worst: recalls.first().copied().map(round),
        poor_queries: recalls.iter().filter(|&&r| r < POOR).count(),
        lists: round(stats.lists as f64 / count),
        codes: round(stats.codes as f64 / count),
        heap_rows: round(stats.rows as f64 / count),
        median_ms: times.get(times.len() / 2).copied().map_or(0.0, round),
    })
}
