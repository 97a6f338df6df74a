//! The memory of a scan is bounded, and it returns the same rows as a scan that keeps everything.

use vector_search::ivf::build::Options;
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::search::{Order, Probes, Search, Settings, Stats};
use vector_search::page::{Columns, Tid};
use vector_search::value::Metric;

use crate::random::Random;
use crate::world::*;

/// The least memory that a search takes: about 1,600 candidates and 680 rows.
const LITTLE: Settings = Settings { memory: 0, ..EXACT };
/// Candidates and rows that fit into it.
const KEPT: u64 = 2400;

type Found = Vec<(Tid, f64)>;
type Opaque = Option<fn(u64) -> bool>;

fn run(world: &World, query: &[f32], settings: Settings, opaque: Opaque, filter: &Filter) -> (Found, Stats) {
    let mut search = Search::new(world.directory(), settings);
    search.start_filtered(settings, Some(query), filter.clone());
    let mut heap = world.heap(query);
    heap.filter = opaque;
    let found = std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).collect();
    (found, search.stats())
}

/// Checks that a scan returns all rows, each once, and in order if the order is strict.
fn all_come(world: &World, query: &[f32], settings: Settings, opaque: Opaque, what: &str) -> Stats {
    let (mut found, stats) = run(world, query, settings, opaque, &Filter::default());
    if settings.order == Order::Relaxed {
        found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    }
    assert_same(&found, &world.truth(query, usize::MAX, opaque), what);
    stats
}

fn worlds(metric: Metric, bits: u8, lists: u32) -> (World, Vec<Vec<f32>>) {
    let mut mixture = Mixture::new(12, 30, 0.6, 31);
    let rows = table(&mut mixture, 12_000);
    let options = Options { bits, lists, ..options(12, metric) };
    let queries = (0..2).map(|_| mixture.draw()).collect();
    (World::build(rows, &options), queries)
}

#[test]
fn unlimited_scans_give_every_row_once_in_little_memory() {
    for (metric, bits, lists) in [
        (Metric::L2, 4, 12),
        (Metric::L2, 1, 12),
        (Metric::InnerProduct, 4, 1),
        (Metric::Cosine, 8, 40),
        (Metric::Cosine, 1, 1),
        (Metric::L1, 4, 12),
        (Metric::L1, 1, 1),
    ] {
        let (world, queries) = worlds(metric, bits, lists);
        for query in &queries {
            for order in [Order::Strict, Order::Relaxed] {
                for limit in [None, Some(1), Some(300), Some(5000)] {
                    let settings = Settings { order, limit, ..LITTLE };
                    let what = format!("{metric:?} {bits} bits, {order:?}, {limit:?}");
                    let stats = all_come(&world, query, settings, None, &what);
                    let most = KEPT + 4 * limit.unwrap_or(0);
                    assert!(stats.kept <= most, "{what}: {} kept", stats.kept);
                    assert!(stats.kept > 500, "{what}: memory is used: {}", stats.kept);
                }
            }
        }
    }
}

#[test]
fn opaque_filters_keep_little() {
    let filters: [fn(u64) -> bool; 4] = [|_| false, |n| n == 7777, |n| n % 1000 == 3, |n| n % 2 == 0];
    for bits in [1, 4] {
        let (world, queries) = worlds(Metric::L2, bits, 20);
        for filter in filters {
            for (order, limit) in
                [(Order::Strict, None), (Order::Strict, Some(10)), (Order::Relaxed, Some(10))]
            {
                let settings = Settings { order, limit, ..LITTLE };
                let what = format!("{bits} bits, {order:?}, {limit:?}");
                let mut search = Search::new(world.directory(), settings);
                for query in &queries {
                    let stats = all_come(&world, query, settings, Some(filter), &what);
                    assert!(stats.kept <= KEPT, "{what}: {} kept", stats.kept);
                    // A relaxed scan fetches every row once. A strict scan also fetches every row once,
                    // unless it had to drop rows.
                    let few =
                        order == Order::Relaxed || world.truth(query, usize::MAX, Some(filter)).len() < 100;
                    assert!(!few || stats.rows == 12_000, "{what}: {} rows fetched", stats.rows);
                }
                // The first ten are the ten nearest.
                search.start(settings, Some(&queries[0]));
                let mut heap = world.heap(&queries[0]);
                heap.filter = Some(filter);
                let found: Found =
                    std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(10).collect();
                if limit.is_some() {
                    assert_same(&found, &world.truth(&queries[0], 10, Some(filter)), &what);
                }
            }
        }
    }
}

#[test]
fn a_filter_that_no_row_passes_ends_by_default_too() {
    let (world, queries) = worlds(Metric::L2, 4, 40);
    for order in [Order::Strict, Order::Relaxed, Order::Off] {
        for (probes, limit) in [(BY_RECALL, Some(10)), (Probes::Lists(3), Some(10)), (BY_RECALL, None)] {
            let settings = Settings { memory: 0, order, probes, limit, ..DEFAULT };
            let (found, stats) = run(&world, &queries[0], settings, Some(|_| false), &Filter::default());
            assert_eq!(found, []);
            assert!(stats.kept <= KEPT, "{} kept", stats.kept);
            assert!(stats.rows <= 12_000 + 200, "{order:?}: {} rows fetched", stats.rows);
            assert_eq!(order != Order::Off, stats.rows >= 12_000, "{order:?}: {} rows fetched", stats.rows);
        }
    }
}

#[test]
fn equal_rows_come_each_once() {
    let mut mixture = Mixture::new(16, 3, 0.3, 32);
    let mut rows = table(&mut mixture, 1000);
    let (same, other) = (mixture.draw(), mixture.draw());
    (1000..7000).for_each(|n| drop(rows.insert(n, same.clone())));
    for (metric, bits, lists) in
        [(Metric::L2, 4, 3), (Metric::Cosine, 1, 5), (Metric::InnerProduct, 8, 1), (Metric::L1, 4, 3)]
    {
        let world = World::build(rows.clone(), &Options { lists, bits, ..options(16, metric) });
        for query in [&same, &other] {
            for order in [Order::Strict, Order::Relaxed] {
                for limit in [None, Some(10), Some(5000)] {
                    let what = format!("{metric:?} {bits} bits, {order:?}, {limit:?}");
                    let stats = all_come(&world, query, Settings { order, limit, ..LITTLE }, None, &what);
                    assert!(stats.kept <= KEPT.max(4 * limit.unwrap_or(0)), "{what}: {} kept", stats.kept);
                }
            }
        }
    }
}

#[test]
fn bit_strings_of_few_distances_come_each_once() {
    let mut random = Random(33);
    let rows: Table = (0..8000).map(|n| (n, (0..8).map(|_| (random.next() & 1) as f32).collect())).collect();
    for lists in [1, 7] {
        let world = World::build(rows.clone(), &Options { lists, bits: 1, ..options(8, Metric::Hamming) });
        let query = vec![1.0; 8];
        for order in [Order::Strict, Order::Relaxed] {
            for limit in [None, Some(10), Some(4000)] {
                let what = format!("{lists} lists, {order:?}, {limit:?}");
                let stats = all_come(&world, &query, Settings { order, limit, ..LITTLE }, None, &what);
                assert!(stats.kept <= KEPT.max(4 * limit.unwrap_or(0)), "{what}: {} kept", stats.kept);
                assert_eq!(stats.rows, 8000, "{what}: each row is fetched once");
            }
        }
    }
}

#[test]
fn rows_and_queries_without_bounds_come_in_order() {
    let mut mixture = Mixture::new(12, 4, 0.3, 34);
    let mut rows = table(&mut mixture, 6000);
    for (n, row) in &mut rows {
        if n % 3 != 0 {
            row.iter_mut().for_each(|x| *x = (*x / 8.0).clamp(-1.0, 1.0) * 3e38);
        }
    }
    for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
        let world = World::build(rows.clone(), &Options { lists: 4, ..options(12, metric) });
        for query in [vec![0.5; 12], vec![3e38; 12]] {
            for limit in [None, Some(10)] {
                let (found, stats) =
                    run(&world, &query, Settings { limit, ..LITTLE }, None, &Filter::default());
                let order = |v: f64| (v.is_nan(), if v.is_nan() { 0.0 } else { v });
                assert!(found.windows(2).all(|w| order(w[0].1) <= order(w[1].1)), "{metric:?}");
                let mut tids: Vec<_> = found.iter().map(|r| r.0).collect();
                tids.sort_unstable();
                assert_eq!(tids, (0..6000).map(tid).collect::<Vec<_>>(), "{metric:?}");
                assert!(stats.kept <= KEPT, "{metric:?}: {} kept", stats.kept);
            }
        }
    }
}

#[test]
fn filter_columns_and_ceilings_keep_little() {
    let mut mixture = Mixture::new(12, 30, 0.6, 35);
    let columns = Columns::new(&[4, 8]).unwrap();
    let world =
        World::build(table(&mut mixture, 12_000), &Options { lists: 12, columns, ..options(12, Metric::L2) });
    let query = mixture.draw();
    let filter =
        Filter { clauses: vec![Clause::One(Condition { column: 0, accept: Accept::Within(0, 99) })] };
    let passes: fn(u64) -> bool = |n| keys(n)[0].is_some_and(|key| key <= 99);
    let truth = world.truth(&query, usize::MAX, Some(passes));
    assert!(truth.len() > 3500);
    for limit in [None, Some(10)] {
        for order in [Order::Strict, Order::Relaxed] {
            let settings = Settings { limit, order, ..LITTLE };
            let (mut found, stats) = run(&world, &query, settings, None, &filter);
            found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            assert_same(&found, &truth, &format!("{limit:?} {order:?}"));
            assert!(stats.kept <= KEPT, "{} kept", stats.kept);
        }
        let all = world.truth(&query, usize::MAX, None);
        let settings = Settings { limit, ceiling: all[4999].1, ..LITTLE };
        let (found, stats) = run(&world, &query, settings, None, &Filter::default());
        assert_same(&found, &all[..5000], &format!("ceiling, {limit:?}"));
        assert!(stats.kept <= KEPT, "{} kept", stats.kept);
    }
}

/// Small worlds of all kinds, with little and with much memory.
#[test]
fn random_worlds_equal_a_sequential_scan() {
    let mut random = Random(36);
    for round in 0..24u64 {
        let metric = [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1][random.below(4)];
        let (dims, clusters) = (1 + random.below(30), 1 + random.below(20));
        let spread = [0.0, 1e-4, 0.3, 3.0][random.below(4)];
        let mut mixture = Mixture::new(dims, clusters, spread, round);
        let bits = [1, 4, 8][random.below(3)];
        let rows = 1000 + random.below(3000) as u64;
        let options = Options { lists: 1 + random.below(20) as u32, bits, ..options(dims, metric) };
        let world = World::build(table(&mut mixture, rows), &options);
        let query = mixture.draw();
        let settings = Settings {
            limit: [None, Some(1), Some(7), Some(100), Some(2500)][random.below(5)],
            order: [Order::Strict, Order::Relaxed][random.below(2)],
            memory: [0, 200_000, 4 << 20][random.below(3)],
            passing: [1.0, 0.1, 0.001][random.below(3)],
            ..EXACT
        };
        let filters: [Opaque; 4] = [None, None, Some(|n| n % 5 == 0), Some(|n| n % 500 == 0)];
        let what = format!("world {round}: {metric:?} {dims} {clusters} {spread} {bits} {settings:?}");
        all_come(&world, &query, settings, filters[random.below(4)], &what);
    }
}

#[test]
fn rescans_take_no_more() {
    let (world, queries) = worlds(Metric::L2, 4, 12);
    let mut search = Search::new(world.directory(), LITTLE);
    for _ in 0..5 {
        for query in &queries {
            search.start(LITTLE, Some(query));
            let mut heap = world.heap(query);
            while search.next(&world.store, &mut heap).unwrap().is_some() {}
        }
    }
    assert!(search.stats().kept <= KEPT, "{} kept", search.stats().kept);
}
