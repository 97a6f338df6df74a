//! Indexes over sparse vectors: sketches find the rows, the table gives the values.

use std::collections::BTreeMap;

use vector_search::ivf::build::Options;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::renew;
use vector_search::ivf::search::{Order, Settings};
use vector_search::ivf::sketch::{SIZE, Sketch};
use vector_search::page::Tid;
use vector_search::value::sparse::SparseBuf;
use vector_search::value::{Metric, TotalF64};

use crate::originals::{self, Reading, World, options_of};
use crate::random::Random;
use crate::renew::Ended;
use crate::world::{DEFAULT, EXACT, MemorySpool, pool};

type Table = originals::Table<SparseBuf>;

const METRICS: [Metric; 4] = [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1];

/// Weighted terms of texts: a text has terms of its topic, and terms that all topics have.
struct Texts {
    dims: usize,
    topics: Vec<Vec<(i32, f32)>>,
    random: Random,
}

impl Texts {
    fn new(dims: usize, topics: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let weight = |random: &mut Random| 1.0 + 4.0 * random.unit();
        let mut topic = || (0..120).map(|_| (random.below(dims) as i32, weight(&mut random))).collect();
        let topics = (0..topics).map(|_| topic()).collect();
        Self { dims, topics, random }
    }

    fn draw(&mut self) -> SparseBuf {
        let Self { dims, topics, random } = self;
        let topic = &topics[random.below(topics.len())];
        let mut terms = BTreeMap::new();
        for _ in 0..60 {
            let (index, weight) = topic[random.below(topic.len())];
            terms.insert(index, weight * random.unit());
        }
        for _ in 0..20 {
            terms.insert(random.below(*dims) as i32, random.unit());
        }
        SparseBuf {
            dims: *dims,
            indices: terms.keys().copied().collect(),
            values: terms.values().map(|x| x + 0.01).collect(),
        }
    }

    /// The terms of two texts.
    fn two(&mut self) -> SparseBuf {
        let texts = [self.draw(), self.draw()];
        let all = texts.iter().flat_map(|text| text.indices.iter().copied().zip(text.values.iter().copied()));
        let terms: BTreeMap<i32, f32> = all.collect();
        let (indices, values) = terms.into_iter().unzip();
        SparseBuf { dims: self.dims, indices, values }
    }

    fn table(&mut self, rows: u64) -> Table {
        (0..rows).map(|n| (n, self.draw())).collect()
    }
}

fn indexed(table: Table, dims: usize, metric: Metric, lists: u32) -> World<SparseBuf> {
    World::build(table, Sketch::of_sparse(dims, 99), metric, lists)
}

/// On average: tables differ by .025.
#[test]
fn recall_keeps_to_its_target() {
    const TABLES: u64 = 4;
    for metric in METRICS {
        let limits = [(0.9, 80.0), (0.95, 100.0), (0.99, 140.0)];
        let mut sums = [(0.0, 0.0); 3];
        for seed in 1..=TABLES {
            let mut texts = Texts::new(30_000, 40, seed);
            let world = indexed(texts.table(6000), 30_000, metric, 60);
            let queries: Vec<SparseBuf> = (0..60).map(|_| texts.draw()).collect();
            for ((target, _), (found, fetched)) in limits.iter().zip(&mut sums) {
                let (recall, rows) = world.recall(&queries, *target);
                *found += recall / TABLES as f64;
                *fetched += rows / TABLES as f64;
            }
            world.check();
        }
        for ((target, most), (recall, fetched)) in limits.into_iter().zip(sums) {
            assert!(recall >= f64::from(target) - 0.025, "{metric:?} {target}: {recall}");
            assert!(fetched < most, "{metric:?} {target}: {fetched} rows");
        }
    }
}

/// By L1 the quotient of a value and the distance of sketches depends on the number of elements.
#[test]
fn rows_of_all_lengths_keep_to_the_target() {
    const DIMS: usize = 30_000;
    for metric in METRICS {
        for (rows, lists) in [(300, 1), (4000, 20)] {
            let mut random = Random(8);
            let mut draw = || {
                let count = random.below(300);
                let terms: BTreeMap<i32, f32> = (0..count)
                    .map(|_| ((random.below(DIMS) / 40) as i32, random.below(7) as f32 - 3.0))
                    .filter(|(_, value)| *value != 0.0)
                    .collect();
                let (indices, values) = terms.into_iter().unzip();
                SparseBuf { dims: DIMS, indices, values }
            };
            let table: Table = (0..rows).map(|n| (n, draw())).collect();
            let world = indexed(table, DIMS, metric, lists);
            let queries: Vec<SparseBuf> = (0..40).map(|_| draw()).filter(|q| !q.values.is_empty()).collect();
            let (recall, _) = world.recall(&queries, 0.95);
            assert!(recall > 0.9, "{metric:?} {rows} rows: {recall}");
            let (mut found, mut least) = (0, 25);
            for query in &queries {
                let truth = world.truth(query, 25);
                let settings = Settings { ceiling: truth[24].1, recall_target: 0.95, ..DEFAULT };
                let rows = world.search(query, settings, 25).0.len();
                (found, least) = (found + rows, least.min(rows));
            }
            let share = found as f64 / (25 * queries.len()) as f64;
            assert!(share > 0.9, "{metric:?} {rows} rows: {share} of those within a threshold");
            // One query found a single row where bounds were by the mean quotient.
            assert!(least >= 15, "{metric:?} {rows} rows: {least} of 25 within a threshold");
        }
    }
}

#[test]
fn exact_scans_are_exact() {
    for metric in METRICS {
        for (dims, is_signed) in [(1_000_000, false), (1_000_000, true), (50_000, true)] {
            let mut texts = Texts::new(dims, 10, 2);
            let mut table = texts.table(1500);
            if is_signed {
                let values = table.values_mut().flat_map(|row| &mut row.values);
                values.step_by(3).for_each(|value| *value = -*value);
            }
            let world = indexed(table, dims, metric, 12);
            for _ in 0..5 {
                world.compare_exact(&texts.draw());
            }
            // Rows whose elements exclude them are not fetched. Negative elements do not exclude rows where
            // indices share keys.
            let settings = Settings { limit: Some(10), ..EXACT };
            let (_, fetched) = world.search(&texts.draw(), settings, 10);
            let all = is_signed && dims > 1 << 16;
            assert!(if all { fetched == 1500 } else { fetched < 300 }, "{metric:?} {dims}: {fetched} rows");
        }
    }
}

#[test]
fn a_scan_to_the_end_returns_each_row_once() {
    for metric in METRICS {
        let mut texts = Texts::new(50_000, 10, 3);
        let world = indexed(texts.table(2000), 50_000, metric, 16);
        for order in [Order::Strict, Order::Relaxed] {
            for memory in [64 << 10, 4 << 20] {
                let settings = Settings { limit: None, order, memory, ..DEFAULT };
                let mut rows: Vec<Tid> =
                    world.search(&texts.draw(), settings, 9999).0.iter().map(|row| row.0).collect();
                rows.sort_unstable();
                rows.dedup();
                // A strict scan leaves out rows that it finds too late.
                let least = if order == Order::Strict { 1990 } else { 2000 };
                assert!(rows.len() >= least, "{metric:?} {order:?}: {} rows", rows.len());
            }
        }
        let all = Settings { limit: Some(2000), ..DEFAULT };
        assert_eq!(world.search(&texts.draw(), all, 9999).0.len(), 2000);
    }
}

#[test]
fn rows_come_and_go() {
    for metric in METRICS {
        let mut texts = Texts::new(40_000, 20, 4);
        let world = indexed(texts.table(3000), 40_000, metric, 20);
        let sketch = Directory::load(&world.store).unwrap().meta.sketch;
        world.delete(|n| n.is_multiple_of(3));
        (3000..4500).for_each(|n| world.insert(n, texts.draw()));
        world.check();
        let queries: Vec<SparseBuf> = (0..30).map(|_| texts.draw()).collect();
        assert!(world.recall(&queries, 0.95).0 > 0.9, "{metric:?}");
        // Twice the terms: the records of the new lists have room for more.
        (4500..5000).for_each(|n| world.insert(n, texts.two()));
        let table = world.table.borrow().clone();
        let options = options_of(&world.sketch, metric);
        let options = Options { lists: 40, seed: 43, ..options };
        let source = &mut Reading(&table, world.sketch.clone());
        let transactions = Ended(true);
        let spool = &mut MemorySpool::default();
        renew(&world.store, &options, source, spool, (&pool(), &transactions), &Silent).unwrap();
        world.check();
        let directory = Directory::load(&world.store).unwrap();
        assert_eq!((directory.meta.sketch.seed, directory.lists()), (sketch.seed, 40));
        assert!(directory.meta.sketch.elements > sketch.elements, "{:?}", directory.meta.sketch);
        assert!(world.recall(&queries, 0.95).0 > 0.9, "{metric:?} after renewal");
    }
}

#[test]
fn an_index_of_an_empty_table_serves_what_is_inserted() {
    for metric in METRICS {
        let mut texts = Texts::new(40_000, 5, 5);
        let world = indexed(Table::new(), 40_000, metric, 0);
        (0..400).for_each(|n| world.insert(n, texts.draw()));
        let queries: Vec<SparseBuf> = (0..20).map(|_| texts.draw()).collect();
        assert!(world.recall(&queries, 0.95).0 > 0.95, "{metric:?}");
    }
}

#[test]
fn few_dimensions_lose_nothing() {
    for metric in METRICS {
        let mut texts = Texts::new(SIZE, 5, 6);
        let world = indexed(texts.table(1000), SIZE, metric, 8);
        assert!(!Directory::load(&world.store).unwrap().sketch().is_lossy());
        let query = texts.draw();
        assert_eq!(world.search(&query, EXACT, 1000).0, world.truth(&query, 1000));
    }
}

/// Vectors of all kinds: empty, of one element, negative, huge, tiny, the longest, and of elements that meet
/// in one coordinate of the sketch.
fn extremes(dims: usize, sketch: &Sketch) -> Vec<SparseBuf> {
    let of = |terms: &[(i32, f32)]| SparseBuf {
        dims,
        indices: terms.iter().map(|term| term.0).collect(),
        values: terms.iter().map(|term| term.1).collect(),
    };
    let mut out = vec![of(&[]), of(&[(0, 1.0)]), of(&[(dims as i32 - 1, -2.5)]), of(&[(5, f32::MAX)])];
    out.push(of(&[(5, 3e38), (6, 3e38), (7, -3e38)]));
    out.push(of(&[(5, 1e-45), (6, 1e-45)]));
    let many: Vec<(i32, f32)> = (0..16_000).map(|i| (i * 3, 0.5 - (i % 7) as f32)).collect();
    out.push(of(&many));
    let coordinate = |i: i32| {
        let mut sketched = vec![0.0; sketch.size];
        sketch.write(of(&[(i, 1.0)]).view(), &mut sketched).unwrap();
        let at = sketched.iter().position(|x| *x != 0.0).unwrap();
        (at, sketched[at])
    };
    let (at, sign) = coordinate(0);
    let same = (1..dims as i32).find(|i| coordinate(*i) == (at, -sign)).unwrap();
    out.push(of(&[(0, 1.0), (same, 1.0)]));
    out
}

#[test]
fn extremes_are_found() {
    for metric in METRICS {
        let mut texts = Texts::new(60_000, 5, 7);
        let sketch = Sketch::of_sparse(60_000, 99);
        let mut table = texts.table(300);
        for (n, row) in (300..).zip(extremes(60_000, &sketch)) {
            table.insert(n, row);
        }
        let world = indexed(table, 60_000, metric, 6);
        world.check();
        for query in extremes(60_000, &sketch) {
            // Values of one kind in the table and here: an empty query has no cosine.
            if metric == Metric::Cosine && query.values.is_empty() {
                continue;
            }
            let truth = world.truth(&query, 5);
            let (rows, _) = world.search(&query, Settings { limit: Some(5), ..EXACT }, 5);
            let total =
                |rows: &[(Tid, f64)]| -> Vec<_> { rows.iter().map(|r| (r.0, TotalF64(r.1))).collect() };
            assert_eq!(total(&rows), total(&truth), "{metric:?}");
            let (rows, _) = world.search(&query, Settings { limit: Some(5), ..DEFAULT }, 5);
            assert_eq!(rows[0].1.to_bits(), truth[0].1.to_bits(), "{metric:?} {:?}", query.values.first());
        }
    }
}
