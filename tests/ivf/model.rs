//! Results against brute force, through builds, inserts, deletes and vacuums.

use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate::{Queries, recalibrate};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::search::{Candidate, Order, Probes, Router, Scanner, Search, Settings, Sink};
use vector_search::page::meta::META_BLOCK;
use vector_search::page::{Meta, Root, Store};
use vector_search::quant::{QueryCode, Width};
use vector_search::value::Metric;

use crate::random::Random;
use crate::world::*;

const METRICS: [Metric; 4] = [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1];

#[test]
fn an_exhaustive_scan_is_a_sequential_scan() {
    for metric in METRICS {
        let mut mixture = Mixture::new(48, 30, 0.4, 1);
        let world = World::build(table(&mut mixture, 3000), &small_lists(metric));
        world.check();
        for _ in 0..5 {
            let query = mixture.draw();
            let rows = world.search(&query, EXACT, usize::MAX);
            assert_same(&rows, &world.truth(&query, usize::MAX, None), &format!("{metric:?}"));
        }
    }
}

/// An index of 48 dimensions with 24 lists.
fn small_lists(metric: Metric) -> Options {
    Options { lists: 24, ..options(48, metric) }
}

fn recall(world: &World, queries: &[Vec<f32>], settings: Settings) -> f64 {
    let mut found = 0;
    for query in queries {
        let truth = world.truth(query, 10, None);
        let rows = world.search(query, settings, 10);
        assert_eq!(rows.len(), truth.len());
        assert!(rows.windows(2).all(|w| w[0].1 <= w[1].1), "rows are in order");
        let farthest = truth.last().unwrap().1;
        found += rows.iter().filter(|r| r.1 <= farthest).count();
    }
    found as f64 / (10 * queries.len()) as f64
}

#[test]
fn the_recall_target_holds_by_default() {
    for metric in METRICS {
        let mut mixture = Mixture::new(64, 200, 0.9, 2);
        let world = World::build(table(&mut mixture, 12_000), &options(64, metric));
        assert!(world.directory().lists() > 20);
        let queries: Vec<_> = (0..300).map(|_| mixture.draw()).collect();
        let r = recall(&world, &queries, DEFAULT);
        assert!(r >= 0.94, "{metric:?}: recall {r}");
        let r = recall(&world, &queries, Settings { recall_target: 0.99, ..DEFAULT });
        assert!(r >= 0.98, "{metric:?}: recall {r} of .99");
    }
}

#[test]
fn the_recall_target_holds_beside_rows_that_are_equal() {
    for (equal, metric) in [(6_000, Metric::L2), (8_000, Metric::Cosine), (9_600, Metric::L2)] {
        let mut mixture = Mixture::new(64, 1, 1.0, 2);
        let mut rows = table(&mut mixture, 12_000);
        let same = mixture.draw();
        rows.range_mut(..equal).for_each(|(_, row)| row.clone_from(&same));
        let world = World::build(rows, &options(64, metric));
        let queries: Vec<_> = (0..300).map(|_| mixture.draw()).collect();
        let r = recall(&world, &queries, DEFAULT);
        assert!(r >= 0.94, "{equal} equal rows, {metric:?}: recall {r}");
    }
}

#[test]
fn an_index_of_an_earlier_version_holds_the_target_too() {
    let mut mixture = Mixture::new(64, 200, 0.9, 2);
    let world = World::build(table(&mut mixture, 12_000), &options(64, Metric::L2));
    let meta = world.directory().meta.clone();
    assert!(meta.efforts.as_flattened().iter().all(|&lists| lists > 0.0), "{meta:?}");
    // Version 0.1.0 measured whole lists for ten rows.
    let old = Meta { may_be_plain: false, efforts: Default::default(), ..meta };
    let written = world.store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        Root::of(old).write(change.page_mut(handle));
        Ok(())
    });
    written.unwrap();
    let queries: Vec<_> = (0..300).map(|_| mixture.draw()).collect();
    let r = recall(&world, &queries, DEFAULT);
    assert!(r >= 0.94, "recall {r}");
}

#[test]
fn a_random_history_keeps_index_and_table_equal() {
    for (metric, bits) in [(Metric::L2, 4), (Metric::Cosine, 1), (Metric::InnerProduct, 8), (Metric::L1, 4)] {
        let mut mixture = Mixture::new(20, 10, 0.5, 3);
        let mut random = Random(7);
        let options = vector_search::ivf::build::Options { lists: 7, bits, ..options(20, metric) };
        let world = World::build(table(&mut mixture, 400), &options);
        let mut next = 400;
        for step in 0..12 {
            for _ in 0..60 {
                let vector = if random.below(20) == 0 { vec![0.0; 20] } else { mixture.draw() };
                world.insert(next, vector);
                next += 1;
            }
            if step % 3 == 2 {
                let third = random.below(3) as u64;
                let before = world.store_blocks();
                let gone = world.delete(|n| n % 3 == third);
                assert!(gone.removed > 0);
                assert_eq!(world.store_blocks(), before, "vacuum adds no page");
            }
            world.check();
            let query = mixture.draw();
            let what = format!("{metric:?} {bits} bits, step {step}");
            assert_same(&world.search(&query, EXACT, 50), &world.truth(&query, 50, None), &what);
        }
    }
}

impl World {
    fn store_blocks(&self) -> u32 {
        use vector_search::page::Store;
        self.store.nblocks().unwrap()
    }
}

#[test]
fn space_of_dead_rows_is_reused() {
    let mut mixture = Mixture::new(32, 4, 0.5, 4);
    let world = World::build(table(&mut mixture, 2000), &options(32, Metric::L2));
    let blocks = world.store_blocks();
    for round in 1..6u64 {
        world.delete(|n| n % 2 == round % 2);
        let missing = 2000 - world.table.borrow().len() as u64;
        for i in 0..missing {
            // Numbers of the parity that the next round deletes.
            world.insert(10_000 * round + 2 * i + (round + 1) % 2, mixture.draw());
        }
        world.check();
        assert_eq!(world.store_blocks(), blocks, "round {round}");
    }
}

#[test]
fn a_filtered_scan_finds_all_that_exist_in_order() {
    let mut mixture = Mixture::new(32, 40, 0.5, 5);
    let world = World::build(table(&mut mixture, 11_000), &options(32, Metric::Cosine));
    // 1,100, 11 and 3 rows pass.
    type Filter = fn(u64) -> bool;
    let filters: [(Filter, usize); 3] =
        [(|n| n % 10 == 3, 10), (|n| n % 1000 == 3, 10), (|n| n % 4000 == 3, 3)];
    for (filter, exist) in filters {
        for _ in 0..5 {
            let query = mixture.draw();
            let mut search = Search::new(world.directory(), DEFAULT);
            search.start(DEFAULT, Some(&query));
            let mut heap = world.heap(&query);
            heap.filter = Some(filter);
            let rows: Vec<_> =
                std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(10).collect();
            assert_eq!(rows.len(), exist);
            assert!(rows.windows(2).all(|w| w[0].1 <= w[1].1), "rows are in order");
            if exist < 10 {
                assert_eq!(rows, world.truth(&query, 10, Some(filter)));
            }
        }
    }
}

#[test]
fn a_scan_goes_on_for_as_long_as_it_is_asked() {
    let mut mixture = Mixture::new(32, 40, 0.5, 6);
    let world = World::build(table(&mut mixture, 11_000), &options(32, Metric::L2));
    let query = mixture.draw();
    for order in [Order::Strict, Order::Relaxed] {
        let settings = Settings { limit: None, order, ..DEFAULT };
        let rows = world.search(&query, settings, usize::MAX);
        let mut tids: Vec<_> = rows.iter().map(|r| r.0).collect();
        tids.sort_unstable();
        tids.dedup();
        assert_eq!(tids.len(), rows.len(), "no row twice");
        match order {
            Order::Relaxed => assert_eq!(rows.len(), 11_000),
            _ => {
                assert!(rows.windows(2).all(|w| w[0].1 <= w[1].1));
                assert!(rows.len() > 10_800, "{} rows", rows.len());
            }
        }
    }
    let settings = Settings { limit: None, order: Order::Off, probes: Probes::Lists(1), ..DEFAULT };
    let rows = world.search(&query, settings, usize::MAX);
    assert!(rows.len() < 2000 && rows.windows(2).all(|w| w[0].1 <= w[1].1));
}

#[test]
fn a_ceiling_ends_the_search() {
    let mut mixture = Mixture::new(32, 40, 0.5, 7);
    let rows = table(&mut mixture, 11_000);
    let query = mixture.draw();
    for metric in METRICS {
        let world = World::build(rows.clone(), &options(32, metric));
        let all = world.truth(&query, usize::MAX, None);
        for (number, settings) in [(0, EXACT), (3, EXACT), (40, EXACT), (2000, EXACT), (3, DEFAULT)] {
            let ceiling = match number {
                0 => all[0].1 - 0.1 * all[0].1.abs(),
                n => all[n - 1].1,
            };
            let settings = Settings { ceiling, recall_target: 1.0, ..settings };
            let mut search = Search::new(world.directory(), settings);
            search.start(settings, Some(&query));
            let mut heap = world.heap(&query);
            let found: Vec<_> =
                std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).collect();
            assert_same(&found, &all[..number], &format!("{metric:?} {number}"));
            // Rows beyond the threshold are hardly ever fetched, unless bounds are those that always hold.
            assert!(
                metric == Metric::L1 || heap.fetched as usize <= 3 * number + 300,
                "{metric:?} {number}: {} rows fetched",
                heap.fetched
            );
        }
    }
    let world = World::build(rows, &options(32, Metric::L2));
    let settings = Settings { ceiling: -1.0, ..EXACT };
    assert_eq!(world.search(&query, settings, usize::MAX), [], "no distance is negative");
}

#[test]
fn duplicates_come_each_once() {
    let mut mixture = Mixture::new(16, 3, 0.3, 8);
    let mut rows = table(&mut mixture, 300);
    let same = mixture.draw();
    (300..900).for_each(|n| drop(rows.insert(n, same.clone())));
    for metric in METRICS {
        let world = World::build(rows.clone(), &options(16, metric));
        for settings in [EXACT, Settings { limit: Some(700), ..EXACT }] {
            let found = world.search(&same, settings, usize::MAX);
            assert_same(&found, &world.truth(&same, usize::MAX, None), &format!("{metric:?}"));
        }
    }
}

/// Every candidate of an unlimited scan.
struct All(Vec<(u32, Candidate)>);

impl Sink for All {
    fn threshold(&self) -> f32 {
        f32::INFINITY
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        self.0.push((list, candidate));
    }
}

#[test]
fn bounds_enclose_the_exact_values() {
    for metric in METRICS {
        let mut mixture = Mixture::new(48, 30, 0.4, 1);
        let world = World::build(table(&mut mixture, 3000), &small_lists(metric));
        let directory = world.directory();
        let scale = f64::from(directory.meta.scale);
        for _ in 0..10 {
            let query = mixture.draw();
            let mut unit = query.clone();
            if metric == Metric::Cosine {
                let norm = vector_search::kernel::norm_squared(&query).sqrt() as f32;
                unit.iter_mut().for_each(|x| *x /= norm);
            }
            let mut point = vec![0.0; directory.padded()];
            directory.transform(&unit, &mut point);
            let code = QueryCode::new(&directory.codec, &point);
            let (mut router, mut scanner) = (Router::default(), Scanner::default());
            router.start(&directory, &point).unwrap();
            let mut all = All(Vec::new());
            while let Some(list) = router.next_list() {
                let terms = router.terms(&directory, list, &point);
                scanner
                    .list(&world.store, &directory, &code, (list, &|| terms, Width::of(6.0)), &mut all)
                    .unwrap();
            }
            assert_eq!(all.0.len(), 3000);
            let table = world.table.borrow();
            for (list, c) in all.0 {
                let n = u64::from(c.tid.blkno) * 100 + u64::from(c.tid.offset) - 1;
                let value = distance(metric, &query, &table[&n]);
                let key = scale
                    * scale
                    * match metric {
                        Metric::L2 => value * value,
                        Metric::Cosine => 2.0 * value,
                        Metric::L1 => value * value / f64::from(directory.meta.deviation.mean).powi(2),
                        _ => value,
                    };
                let (lower, upper) = (f64::from(c.lower), f64::from(c.upper));
                assert!(lower <= key && key <= upper, "{metric:?}, list {list}: {lower} {key} {upper}");
            }
        }
    }
}

#[test]
fn recalibration_follows_the_queries() {
    let mut mixture = Mixture::new(64, 200, 0.9, 12);
    let world = World::build(table(&mut mixture, 12_000), &options(64, Metric::L2));
    let built = world.directory().meta.clone();
    // Queries between the clusters: their neighbours lie in many lists.
    let between = |mixture: &mut Mixture| -> Vec<f32> {
        let (a, b) = (mixture.draw(), mixture.draw());
        a.iter().zip(&b).map(|(x, y)| (x + y) / 2.0).collect()
    };
    let asked: Vec<f32> = (0..300).flat_map(|_| between(&mut mixture)).collect();
    let queries: Vec<_> = (0..60).map(|_| between(&mut mixture)).collect();
    let before = recall(&world, &queries, DEFAULT);
    let meta = recalibrate(&world.store, &asked, Queries::Asked, &Silent).unwrap();
    assert_eq!(world.directory().meta, meta, "the result is stored");
    assert!(meta.probes[5] > built.probes[5], "{:?} to {:?}", built.probes, meta.probes);
    let after = recall(&world, &queries, DEFAULT);
    assert!(after >= 0.94 && after > before, "recall {before} to {after}");
    world.check();

    let rows: Vec<f32> = world.table.borrow().values().take(400).flatten().copied().collect();
    let meta = recalibrate(&world.store, &rows, Queries::Rows, &Silent).unwrap();
    assert!(meta.probes[5].abs_diff(built.probes[5]) <= built.probes[5] / 2 + 2, "{:?}", meta.probes);
    let few = recalibrate(&world.store, &rows[..64 * 49], Queries::Rows, &Silent);
    assert!(few.unwrap_err().message.contains("50 vectors are needed"));
    assert_eq!(world.directory().meta, meta, "a failure changes nothing");
}
