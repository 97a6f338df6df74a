//! Indexes over bit strings, by Hamming and Jaccard distance: the values are exact, so that every order is
//! that of a sort, ties by address included.

use vector_search::error::Kind;
use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate::{Queries, recalibrate};
use vector_search::ivf::directory::Directory;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::search::{Order, Rows, Search, Settings};
use vector_search::ivf::{check, info};
use vector_search::page::{Columns, Key, Store, Tid};
use vector_search::value::Metric;

use crate::random::Random;
use crate::world::*;

/// Bit strings around some patterns.
struct Patterns {
    mixture: Mixture,
}

impl Patterns {
    fn new(dims: usize, patterns: usize, spread: f32, seed: u64) -> Self {
        Self { mixture: Mixture::new(dims, patterns, spread, seed) }
    }

    fn draw(&mut self) -> Vec<f32> {
        self.mixture.draw().iter().map(|x| f32::from(u8::from(*x > 0.0))).collect()
    }

    fn table(&mut self, rows: u64) -> Table {
        (0..rows).map(|n| (n, self.draw())).collect()
    }
}

const METRICS: [Metric; 2] = [Metric::Hamming, Metric::Jaccard];

fn of_bits(dims: usize) -> Options {
    by(Metric::Hamming, dims)
}

fn by(metric: Metric, dims: usize) -> Options {
    options(dims, metric)
}

#[test]
fn every_length_works() {
    METRICS.into_iter().for_each(every_length_works_by);
}

fn every_length_works_by(metric: Metric) {
    for dims in [1, 2, 3, 7, 8, 9, 31, 63, 64, 65, 100, 768, 1000, 4096, 16_001, 40_000, 64_000] {
        let mut patterns = Patterns::new(dims, 3, 0.7, dims as u64);
        let rows = if dims > 2000 { 40 } else { 400 };
        let world = World::build(patterns.table(rows), &Options { lists: 3, ..by(metric, dims) });
        world.check();
        for n in 0..60 {
            world.insert(1000 + n, patterns.draw());
        }
        world.delete(|n| n % 5 == 0);
        for n in 0..30 {
            world.insert(2000 + n, patterns.draw());
        }
        world.check();
        for query in [patterns.draw(), vec![0.0; dims], vec![1.0; dims]] {
            let truth = world.truth(&query, usize::MAX, None);
            let what = format!("{metric:?} {dims} bits");
            assert_same(&world.search(&query, EXACT, usize::MAX), &truth, &what);
            let ten = Settings { limit: Some(10), ..EXACT };
            assert_same(&world.search(&query, ten, 10), &truth[..10], &what);
        }
    }
}

#[test]
fn a_random_history_keeps_index_and_table_equal() {
    METRICS.into_iter().for_each(a_random_history_keeps_index_and_table_equal_by);
}

fn a_random_history_keeps_index_and_table_equal_by(metric: Metric) {
    let mut patterns = Patterns::new(45, 10, 0.8, 3);
    let mut random = Random(7);
    let world = World::build(patterns.table(400), &Options { lists: 7, ..by(metric, 45) });
    let mut next = 400;
    for step in 0..12 {
        for _ in 0..90 {
            world.insert(next, patterns.draw());
            next += 1;
        }
        if step % 3 == 2 {
            let third = random.below(3) as u64;
            let before = world.store.nblocks().unwrap();
            assert!(world.delete(|n| n % 3 == third).removed > 0);
            assert_eq!(world.store.nblocks().unwrap(), before, "vacuum adds no page");
        }
        world.check();
        let query = patterns.draw();
        let truth = world.truth(&query, 50, None);
        assert_same(&world.search(&query, EXACT, 50), &truth, &format!("{metric:?} step {step}"));
    }
}

#[test]
fn space_of_dead_rows_is_reused() {
    let mut patterns = Patterns::new(768, 4, 0.7, 4);
    let world = World::build(patterns.table(2000), &of_bits(768));
    let nblocks = world.store.nblocks().unwrap();
    for round in 1..6u64 {
        world.delete(|n| n % 2 == round % 2);
        let missing = 2000 - world.table.borrow().len() as u64;
        for i in 0..missing {
            world.insert(10_000 * round + 2 * i + (round + 1) % 2, patterns.draw());
        }
        world.check();
        assert_eq!(world.store.nblocks().unwrap(), nblocks, "round {round}");
    }
}

#[test]
fn filters_are_conditions_of_a_sequential_scan() {
    METRICS.into_iter().for_each(filters_are_conditions_of_a_sequential_scan_by);
}

fn filters_are_conditions_of_a_sequential_scan_by(metric: Metric) {
    for (dims, rows) in [(24, 12_000), (700, 300), (9000, 60)] {
        let mut patterns = Patterns::new(dims, 20, 0.8, 1);
        let columns = Columns::new(&[4, 8]).unwrap();
        let world = World::build(patterns.table(rows), &Options { columns, ..by(metric, dims) });
        world.delete(|n| n % 5 == 2);
        for n in rows..rows + rows / 4 {
            world.insert(n, patterns.draw());
        }
        world.check();
        let query = patterns.draw();
        let all = world.truth(&query, usize::MAX, None);
        for (low, high) in [(0, 255), (0, 127), (40, 45), (7, 7), (256, 300)] {
            let condition = Condition { column: 0, accept: Accept::Within(low, high) };
            let filter = Filter { clauses: vec![Clause::One(condition)] };
            let mut search = Search::new(world.directory(), EXACT);
            search.start_filtered(EXACT, Some(&query), filter);
            let mut heap = world.heap(&query);
            let found: Vec<_> =
                std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).collect();
            let number = |t: vector_search::page::Tid| u64::from(t.blkno) * 100 + u64::from(t.offset) - 1;
            let fits = |n: u64| keys(n)[0].is_some_and(|key| low <= key && key <= high);
            let truth: Vec<_> = all.iter().filter(|(t, _)| fits(number(*t))).copied().collect();
            assert_same(&found, &truth, &format!("{dims} bits, keys from {low} to {high}"));
            let stats = search.stats();
            // A row that does not pass is never compared; one that passes is compared in a few rounds at
            // most.
            assert!(stats.codes <= 4 * truth.len() as u64, "{stats:?}");
        }
    }
}

#[test]
fn the_heap_is_asked_for_the_rows_returned_only() {
    METRICS.into_iter().for_each(the_heap_is_asked_for_the_rows_returned_only_by);
}

fn the_heap_is_asked_for_the_rows_returned_only_by(metric: Metric) {
    let mut patterns = Patterns::new(256, 200, 0.9, 16);
    let world = World::build(patterns.table(12_000), &by(metric, 256));
    assert!(world.directory().lists() > 20);
    for _ in 0..20 {
        let query = patterns.draw();
        let mut search = Search::new(world.directory(), DEFAULT);
        search.start(DEFAULT, Some(&query));
        let mut heap = world.heap(&query);
        let rows = std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(10).count();
        assert_eq!((rows, heap.fetched, search.stats().extended), (10, 10, 0));
    }
}

fn recall(world: &World, queries: &[Vec<f32>], target: f32) -> f64 {
    let mut found = 0;
    for query in queries {
        let farthest = world.truth(query, 10, None)[9].1;
        let rows = world.search(query, Settings { recall_target: target, ..DEFAULT }, 10);
        assert!(rows.len() == 10 && rows.windows(2).all(|w| w[0].1 <= w[1].1));
        found += rows.iter().filter(|r| r.1 <= farthest).count();
    }
    found as f64 / (10 * queries.len()) as f64
}

#[test]
fn the_recall_target_holds_by_default_and_after_recalibration() {
    METRICS.into_iter().for_each(the_recall_target_holds_by_default_and_after_recalibration_by);
}

fn the_recall_target_holds_by_default_and_after_recalibration_by(metric: Metric) {
    let mut patterns = Patterns::new(192, 200, 1.0, 2);
    let world = World::build(patterns.table(12_000), &by(metric, 192));
    let built = world.directory().meta.clone();
    assert!(built.lists > 20 && built.probes[0] > 0 && built.probes[5] < built.lists, "{built:?}");
    let queries: Vec<_> = (0..300).map(|_| patterns.draw()).collect();
    for target in [0.9, 0.95, 0.99] {
        let recall = recall(&world, &queries, target);
        assert!(recall >= f64::from(target) - 0.015, "{metric:?}: recall {recall} of {target}");
    }
    let rows: Vec<f32> = world.table.borrow().values().take(400).flatten().copied().collect();
    let meta = recalibrate(&world.store, &rows, Queries::Rows, &Silent).unwrap();
    assert!(meta.probes[5].abs_diff(built.probes[5]) <= built.probes[5] / 2 + 2, "{:?}", meta.probes);
    world.check();
}

#[test]
fn a_scan_goes_on_and_a_filter_above_is_filled() {
    METRICS.into_iter().for_each(a_scan_goes_on_and_a_filter_above_is_filled_by);
}

fn a_scan_goes_on_and_a_filter_above_is_filled_by(metric: Metric) {
    let mut patterns = Patterns::new(96, 40, 0.8, 6);
    let world = World::build(patterns.table(11_000), &by(metric, 96));
    let query = patterns.draw();
    for order in [Order::Strict, Order::Relaxed] {
        let settings = Settings { limit: None, order, ..DEFAULT };
        let rows = world.search(&query, settings, usize::MAX);
        let mut tids: Vec<_> = rows.iter().map(|r| r.0).collect();
        tids.sort_unstable();
        tids.dedup();
        assert_eq!(tids.len(), rows.len(), "no row twice");
        match order {
            Order::Relaxed => assert_eq!(rows.len(), 11_000),
            _ => assert!(rows.is_sorted_by(|a, b| a.1 <= b.1) && rows.len() > 10_500, "{}", rows.len()),
        }
    }
    let mut search = Search::new(world.directory(), DEFAULT);
    search.start(DEFAULT, Some(&query));
    let mut heap = world.heap(&query);
    heap.filter = Some(|n| n % 1000 == 3);
    let rows: Vec<_> =
        std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(10).collect();
    assert!(rows.len() == 10 && rows.is_sorted_by(|a, b| a.1 <= b.1));
}

#[test]
fn a_ceiling_ends_the_search() {
    METRICS.into_iter().for_each(a_ceiling_ends_the_search_by);
}

fn a_ceiling_ends_the_search_by(metric: Metric) {
    let mut patterns = Patterns::new(64, 20, 0.8, 7);
    let world = World::build(patterns.table(11_000), &by(metric, 64));
    let query = patterns.draw();
    let all = world.truth(&query, usize::MAX, None);
    for ceiling in [-1.0, 0.0, 3.0, 3.5, 20.0, 64.0, all[0].1, all[70].1, all[5000].1] {
        let settings = Settings { ceiling, ..EXACT };
        let truth: Vec<_> = all.iter().filter(|r| r.1 <= ceiling).copied().collect();
        let mut search = Search::new(world.directory(), settings);
        search.start(settings, Some(&query));
        let mut heap = world.heap(&query);
        let found: Vec<_> = std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).collect();
        assert_same(&found, &truth, &format!("{metric:?} up to {ceiling}"));
    }
}

#[test]
fn an_index_takes_little_more_than_its_bits() {
    let mut patterns = Patterns::new(768, 10, 0.7, 17);
    let world = World::build(patterns.table(8000), &of_bits(768));
    world.delete(|n| n % 10 == 0);
    let info = info::info(&world.store, 0, &|| Ok(())).unwrap();
    assert_eq!((info.version, info.metric, info.bits), (5, "hamming", 1));
    assert_eq!((info.live_rows, info.dead_rows, info.lists), (7200, 800, 1));
    assert!(info.size_bytes < 8000 * 108, "{} bytes", info.size_bytes);
}

#[test]
fn bits_beyond_the_length_are_noticed() {
    let mut patterns = Patterns::new(13, 3, 0.7, 21);
    let world = World::build(patterns.table(40), &of_bits(13));
    world.check();
    let store = world.store.snapshot();
    // The second byte of the first string of the first block.
    let at = 24 + 8 + 32 * 6 + 1;
    store.damage(world.directory().head(0).0, |page| page.bytes_mut()[at] |= 1);
    let error = check::check(&store, &mut |_| Ok(()), &|| Ok(())).unwrap_err();
    assert!(error.message.contains("beyond its length"), "{error}");
}

/// Rows whose values are the ones that the index computes.
struct Known;

impl Rows for Known {
    fn distance(&mut self, _: Tid, known: Option<f64>) -> vector_search::error::Result<Option<f64>> {
        Ok(Some(known.unwrap_or(0.0)))
    }
}

#[test]
fn damage_is_noticed() {
    let mut patterns = Patterns::new(768, 5, 0.7, 18);
    let world = World::build(patterns.table(700), &Options { lists: 4, ..of_bits(768) });
    let query = patterns.draw();
    let head = world.directory().head(0).0;
    let store = world.store.snapshot();
    // The last block of a page has fewer than 32 slots.
    let last = world.directory().codes.blocks() - 1;
    assert!(world.directory().codes.slots(last) < 32);
    let at = 24 + last * (8 + 32 * (6 + 96));
    store.damage(head, |page| page.bytes_mut()[at + 3] |= 0x80);
    let error = check::check(&store, &mut |_| Ok(()), &|| Ok(())).unwrap_err();
    assert!(error.kind == Kind::Corrupted && error.message.contains("do not exist"), "{error}");
    let mut search = Search::new(Directory::load(&store).unwrap().into(), EXACT);
    search.start(EXACT, Some(&query));
    let mut heap = world.heap(&query);
    let found: Vec<_> = std::iter::from_fn(|| search.next(&store, &mut heap).unwrap()).collect();
    assert_same(&found, &world.truth(&query, usize::MAX, None), "slots that do not exist are not read");

    let mut codes = Vec::new();
    let mut visit = |t, _: &[Key], code: Option<&[u8]>| {
        codes.push((t, code.unwrap().to_vec()));
        Ok(())
    };
    check::contents(&world.store, &mut visit, &|| Ok(())).unwrap();
    codes.sort();
    let table = world.table.borrow();
    let bits = |v: &Vec<f32>| v.chunks(8).map(|c| c.iter().fold(0, |b, x| b << 1 | *x as u8)).collect();
    assert_eq!(codes, table.iter().map(|(n, v)| (tid(*n), bits(v))).collect::<Vec<(_, Vec<u8>)>>());

    let mut random = Random(19);
    let nblocks = world.store.nblocks().unwrap();
    for round in 0..300 {
        let store = world.store.snapshot();
        let (at, byte) = (random.below(8192), random.next() as u8);
        store.damage(random.below(nblocks as usize) as u32, |page| match round % 3 {
            0 => page.bytes_mut()[at] = byte,
            1 => page.bytes_mut()[8176 + at % 16] = byte,
            _ => page.bytes_mut()[24 + at % 400] = byte,
        });
        let kind = |e: &vector_search::error::Error| matches!(e.kind, Kind::Corrupted | Kind::NotSupported);
        if let Err(error) = check::check(&store, &mut |_| Ok(()), &|| Ok(())) {
            assert!(kind(&error), "{error}");
        }
        let Ok(directory) = Directory::load(&store) else { continue };
        if directory.dims() != 768 {
            continue;
        }
        let mut search = Search::new(directory.into(), DEFAULT);
        search.start(DEFAULT, Some(&query));
        for _ in 0..30 {
            match search.next(&store, &mut Known) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert!(kind(&error), "{error}");
                    break;
                }
            }
        }
    }
}
