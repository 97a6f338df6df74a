//! Pages of a query, `LIMIT n OFFSET m`, are slices of one sequence.

use std::collections::HashSet;

use vector_search::ivf::build::Options;
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::search::{Order, Probes, Search, Settings};
use vector_search::page::{Columns, Tid};
use vector_search::value::Metric;

use crate::farther::many_clusters;
use crate::random::Random;
use crate::world::*;

type Found = Vec<(Tid, f64)>;
/// Conditions on filter columns, and a filter that the index does not know.
type Filters<'a> = (&'a Filter, Option<fn(u64) -> bool>);

/// The page after `offset` rows, read by a separate scan.
fn page(world: &World, query: &[f32], settings: Settings, filters: Filters<'_>, offset: usize) -> Found {
    let mut search = Search::new(world.directory(), settings);
    search.start_filtered(settings, Some(query), filters.0.clone());
    let mut heap = world.heap(query);
    heap.filter = filters.1;
    let size = settings.limit.unwrap() as usize;
    std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).skip(offset).take(size).collect()
}

/// The rows of one scan, none of them twice. Checks that pages read by separate scans are slices of this
/// sequence, for all of the first pages and some later ones.
fn sequence(world: &World, query: &[f32], settings: Settings, filters: Filters<'_>, rows: usize) -> Found {
    let size = settings.limit.unwrap() as usize;
    let mut search = Search::new(world.directory(), settings);
    search.start_filtered(settings, Some(query), filters.0.clone());
    let mut heap = world.heap(query);
    heap.filter = filters.1;
    let all: Found =
        std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(rows).collect();
    let different: HashSet<Tid> = all.iter().map(|r| r.0).collect();
    assert_eq!(different.len(), all.len(), "no row comes twice");
    let mut offset = 0;
    while offset < all.len() {
        let shown = page(world, query, settings, filters, offset);
        assert_eq!(shown, all[offset..(offset + size).min(all.len())], "page of {size} at {offset}");
        offset += size * (1 + offset / (8 * size));
    }
    all
}

/// Whether a row passes both.
fn passes(n: u64, (columns, filter): Filters<'_>) -> bool {
    let key = keys(n)[0];
    let within = columns.is_empty() || key.is_some_and(|key| key <= 60);
    within && filter.is_none_or(|filter| filter(n))
}

#[test]
fn pages_are_slices_of_one_sequence() {
    let mut mixture = Mixture::new(32, 60, 0.8, 41);
    let columns = Columns::new(&[4, 8]).unwrap();
    let rows = table(&mut mixture, 12_000);
    let options = Options { columns, ..options(32, Metric::Cosine) };
    let world = World::build(rows, &options);
    assert!(world.directory().lists() > 20);
    let within =
        Filter { clauses: vec![Clause::One(Condition { column: 0, accept: Accept::Within(0, 60) })] };
    let (none, odd): (_, fn(u64) -> bool) = (Filter::default(), |n| n % 9 == 1);
    // The third is far from the rows.
    let far = (0..32).map(|i| [2.0, -1.0, 0.5][i % 3]).collect();
    for query in [mixture.draw(), mixture.draw(), far] {
        for order in [Order::Strict, Order::Relaxed, Order::Off] {
            let (three, least) = (Probes::Lists(3), Probes::ForRecall { least: 5 });
            let sizes = [(1, BY_RECALL), (7, BY_RECALL), (10, three), (10, least), (100, BY_RECALL)];
            for (size, probes) in sizes {
                for filters in [(&none, None), (&none, Some(odd)), (&within, None), (&within, Some(odd))] {
                    let settings = Settings { limit: Some(size), order, probes, ..DEFAULT };
                    let found = sequence(&world, &query, settings, filters, 400);
                    if order != Order::Relaxed {
                        let in_order = |page: &[(Tid, f64)]| page.windows(2).all(|w| w[0].1 <= w[1].1);
                        assert!(found.chunks(size as usize).all(in_order), "rows are in order");
                    }
                    // The scan returns 400 rows, or all rows that pass the filters if there are fewer.
                    let all = (0..12_000).filter(|n| passes(*n, filters)).count().min(400);
                    let many = order == Order::Off || found.len() == all;
                    assert!(many, "{order:?} {size}: {} rows of {all}", found.len());
                }
            }
        }
        let ceiling = world.truth(&query, 200, None)[199].1;
        let found = sequence(&world, &query, Settings { ceiling, ..DEFAULT }, (&none, None), 400);
        assert!((198..=200).contains(&found.len()), "{} rows", found.len());
        let little = Settings { memory: 0, ..DEFAULT };
        sequence(&world, &query, little, (&none, None), 3000);
    }
}

#[test]
fn pages_of_bit_strings_are_slices_of_one_sequence() {
    let mut random = Random(42);
    let rows: Table = (0..6000).map(|n| (n, (0..16).map(|_| (random.next() & 1) as f32).collect())).collect();
    let world = World::build(rows, &Options { lists: 30, bits: 1, ..options(16, Metric::Hamming) });
    for target in [0.8, 0.95, 1.0] {
        let query: Vec<f32> = (0..16).map(|_| (random.next() & 1) as f32).collect();
        for order in [Order::Strict, Order::Relaxed] {
            let settings = Settings { recall_target: target, order, ..DEFAULT };
            let found = sequence(&world, &query, settings, (&Filter::default(), None), 1000);
            assert_eq!(found.len(), 1000);
            if target == 1.0 {
                assert_same(&found, &world.truth(&query, 1000, None), "all lists");
            }
        }
    }
}

/// The recall of the first pages together, for several targets and page sizes.
#[test]
fn the_first_pages_together_keep_the_recall() {
    let mut mixture = Mixture::new(24, 30, 3.0, 2);
    let world = World::build(table(&mut mixture, 20_000), &options(24, Metric::L2));
    let queries: Vec<_> = (0..40).map(|_| mixture.draw()).collect();
    let truths: Vec<_> = queries.iter().map(|query| world.truth(query, 1000, None)).collect();
    for target in [0.8, 0.95, 0.99] {
        for size in [1, 10, 100] {
            let settings = Settings { recall_target: target, limit: Some(size), ..DEFAULT };
            let found: Vec<_> = queries.iter().map(|query| world.search(query, settings, 1000)).collect();
            let recall = |rows: usize| {
                let hits = |(found, truth): (&Found, &Found)| {
                    let farthest = truth[rows - 1].1;
                    found[..rows].iter().filter(|r| r.1 <= farthest).count()
                };
                found.iter().zip(&truths).map(hits).sum::<usize>() as f64 / (rows * queries.len()) as f64
            };
            let mut shown = Vec::new();
            let mut rows = size as usize;
            while rows <= 1000 {
                shown.push((rows, (recall(rows) * 1e3).round() / 1e3));
                rows *= 2;
            }
            // The first page is the same as without an offset.
            for (rows, recall) in shown.into_iter().filter(|(rows, _)| *rows >= 10) {
                assert!(
                    recall >= f64::from(target) - 0.02,
                    "{target} of pages of {size}: {recall} of {rows} rows"
                );
            }
        }
    }
}

/// A filter that the index does not know may leave out a query's whole neighbourhood.
#[test]
fn pages_keep_the_recall_where_a_filter_goes_with_the_vectors() {
    let mut random = Random(5);
    let mut centre = || -> Vec<f32> { (0..16).map(|_| random.normal() * 1.5).collect() };
    let centres: Vec<_> = (0..50).map(|_| centre()).collect();
    let mut near = |n: u64| -> Vec<f32> {
        centres[(n % 50) as usize].iter().map(|x| x + 0.7 * random.normal()).collect()
    };
    let rows: Table = (0..15_000).map(|n| (n, near(n))).collect();
    let queries: Vec<_> = (0..20).map(|i| near(i * 7)).collect();
    for (bits, lists, least) in [(4, 0, 0.9), (1, 200, 0.8)] {
        let world = World::build(rows.clone(), &Options { bits, lists, ..options(16, Metric::L2) });
        let passes: fn(u64) -> bool = |n| matches!(n % 50, 1 | 20 | 30 | 41 | 7);
        for size in [10, 50] {
            let settings = Settings { limit: Some(size), passing: 0.1, ..DEFAULT };
            let mut hits = [0.0f64; 5];
            let rows = [1, 2, 5, 8, 30].map(|pages| pages * size as usize);
            for query in &queries {
                let found = sequence(&world, query, settings, (&Filter::default(), Some(passes)), 1500);
                assert_eq!(found.len(), 1500, "all rows come");
                let truth = world.truth(query, 1500, Some(passes));
                for (hits, rows) in hits.iter_mut().zip(rows) {
                    let farthest = truth[rows - 1].1;
                    let right = found[..rows].iter().filter(|row| row.1 <= farthest).count();
                    *hits += right as f64 / (rows * queries.len()) as f64;
                }
            }
            assert!(hits.iter().all(|hits| *hits >= least), "{bits} bits, pages of {size}: {hits:.3?}");
        }
    }
}

/// Rows that were found too late are returned between pages, whatever the memory of a scan is.
#[test]
fn pages_are_in_order_in_little_memory() {
    let mut mixture = Mixture::new(24, 30, 3.0, 2);
    let world = World::build(table(&mut mixture, 3000), &Options { lists: 60, ..options(24, Metric::L2) });
    let (mut short, mut all) = (0, 0);
    for memory in [0, 100 << 10, 128 << 10, 150 << 10, 4 << 20] {
        for _ in 0..30 {
            let (query, settings) = (mixture.draw(), Settings { memory, ..DEFAULT });
            let found = world.search(&query, settings, 5000);
            for (page, rows) in found.chunks(10).enumerate() {
                assert!(rows.windows(2).all(|w| w[0].1 <= w[1].1), "{memory} bytes, page {page}: {rows:?}");
            }
            assert_eq!(found.iter().map(|r| r.0).collect::<HashSet<_>>().len(), found.len());
            short += usize::from(found.len() < 3000);
            all += usize::from(found.len() == 3000 && memory == 4 << 20);
        }
    }
    // With little memory late rows are not remembered. With enough memory all rows are returned.
    assert!(short > 0 && all == 30, "{short} scans short of rows, {all} complete");
}

#[test]
fn a_row_that_is_named_twice_comes_once() {
    let mut mixture = Mixture::new(24, 30, 3.0, 2);
    let world = World::build(table(&mut mixture, 3000), &Options { lists: 60, ..options(24, Metric::L2) });
    let vector = world.table.borrow()[&7].clone();
    world.insert(7, vector.clone());
    for paged in [true, false] {
        let found = world.search(&vector, Settings { paged, ..DEFAULT }, 5000);
        assert_eq!(found.iter().filter(|row| row.0 == tid(7)).count(), 1, "paged {paged}");
    }
}

/// Between the numbers of rows for which the calibration says how many lists they take, and beyond them, a
/// cluster of rows may end.
#[test]
fn the_recall_holds_where_clusters_end() {
    for (metric, clusters) in [
        (Metric::L2, 40),
        (Metric::L2, 75),
        (Metric::Cosine, 75),
        (Metric::InnerProduct, 20),
        (Metric::L1, 40),
    ] {
        let mut mixture = Mixture::new(16, clusters, 0.33, clusters as u64);
        let rows = table(&mut mixture, 6000);
        let world = World::build(rows, &Options { lists: 60, ..options(16, metric) });
        let queries: Vec<_> = (0..50).map(|_| mixture.draw()).collect();
        let truths: Vec<_> = queries.iter().map(|query| world.truth(query, 3000, None)).collect();
        let recall = |found: &[Found], rows: usize| {
            let hits = |(found, truth): (&Found, &Found)| {
                found.iter().take(rows).filter(|r| r.1 <= truth[rows - 1].1).count()
            };
            found.iter().zip(&truths).map(hits).sum::<usize>() as f64 / (rows * queries.len()) as f64
        };
        let found = |limit: usize, rows| -> Vec<Found> {
            let settings = Settings { limit: Some(limit as u64), ..DEFAULT };
            queries.iter().map(|query| world.search(query, settings, rows)).collect()
        };
        let pages = found(10, 1000);
        let pages = [80, 160, 320, 640, 1000].map(|rows| (rows, recall(&pages, rows)));
        let limits = [150, 215, 320, 640, 1000, 1500, 2000, 3000];
        let limits = limits.map(|rows| (rows, recall(&found(rows, rows), rows)));
        println!("{metric:?}, {clusters} clusters: pages of ten {pages:.3?}, limits {limits:.3?}");
        for (rows, recall) in pages.into_iter().chain(limits) {
            assert!(recall >= 0.93, "{metric:?}, {clusters} clusters: {recall} of {rows} rows");
        }
    }
}

/// A query that reads on by what it has found reads the same lists for each of its pages.
#[test]
fn pages_of_queries_that_read_on_are_slices_of_one_sequence() {
    let (rows, _, far) = many_clusters(16, 6000, 200);
    let world = World::build(rows, &Options { lists: 40, ..options(16, Metric::L2) });
    let lists = |query: &[f32], limit| {
        let settings = Settings { limit: Some(limit), ..DEFAULT };
        let mut search = Search::new(world.directory(), settings);
        search.start(settings, Some(query));
        search.next(&world.store, &mut world.heap(query)).unwrap();
        search.stats().lists
    };
    assert!(world.directory().meta.onward.is_known());
    for (kind, queries) in &far {
        for query in &queries[..2] {
            for size in [1, 10, 30] {
                let settings = Settings { limit: Some(size), ..DEFAULT };
                let found = sequence(&world, query, settings, (&Filter::default(), None), 300);
                assert_eq!(found.len(), 300, "{kind}");
            }
        }
    }
    let ordinary: u64 = (0..20).map(|n| lists(&world.table.borrow()[&n].clone(), 10)).sum();
    let mean: u64 = far[0].1[..20].iter().map(|query| lists(query, 10)).sum();
    assert!(mean > 3 * ordinary, "{mean} lists, {ordinary} of rows");
}
