//! Indexes over arrays of vectors: sketches find the rows, late interaction orders them.

use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate;
use vector_search::ivf::directory::{Directory, read_root};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::{Reason, is_due, renew};
use vector_search::ivf::search::{Order, Settings};
use vector_search::ivf::sketch::Sketch;
use vector_search::ivf::vacuum;
use vector_search::page::Tid;
use vector_search::value::tokens::TokensBuf;
use vector_search::value::{Metric, TotalF64};

use crate::originals::{self, Reading, World, options_of};
use crate::random::Random;
use crate::renew::Ended;
use crate::world::{DEFAULT, EXACT, MemorySpool, pool};

const DIMS: usize = 32;

type Table = originals::Table<TokensBuf>;

/// Texts of topics: the tokens of a text are words of its topic, and words that all topics have, each moved
/// a little by its text.
struct Texts {
    words: Vec<Vec<f32>>,
    topics: usize,
    random: Random,
}

impl Texts {
    fn new(topics: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut word = || (0..DIMS).map(|_| random.normal()).collect();
        let words = (0..topics * 20 + 40).map(|_| word()).collect();
        Self { words, topics, random }
    }

    fn draw(&mut self) -> TokensBuf {
        let count = 4 + self.random.below(20);
        self.draw_of(count)
    }

    /// A text of so many tokens.
    fn draw_of(&mut self, count: usize) -> TokensBuf {
        let Self { words, topics, random } = self;
        let topic = random.below(*topics);
        let mut tokens = TokensBuf::default();
        let of_text: Vec<f32> = (0..DIMS).map(|_| 0.4 * random.normal()).collect();
        for _ in 0..count {
            let common = random.unit() < 0.3;
            let at = if common { *topics * 20 + random.below(40) } else { topic * 20 + random.below(20) };
            let mut vector: Vec<f32> = words[at].clone();
            vector.iter_mut().zip(&of_text).for_each(|(x, y)| *x += y + 0.3 * random.normal());
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|x| *x /= length);
            tokens.push(&vector).unwrap();
        }
        tokens
    }

    fn table(&mut self, rows: u64) -> Table {
        (0..rows).map(|n| (n, self.draw())).collect()
    }
}

fn sketch() -> Sketch {
    Sketch::of_tokens(DIMS, 99).unwrap()
}

fn indexed(table: Table, lists: u32) -> World<TokensBuf> {
    World::build(table, sketch(), Metric::InnerProduct, lists)
}

#[test]
fn recall_keeps_to_its_target() {
    let mut texts = Texts::new(40, 1);
    let world = indexed(texts.table(6000), 60);
    let queries: Vec<TokensBuf> = (0..60).map(|_| texts.draw()).collect();
    // Words in random directions: the hardest for sketches.
    for (target, most) in [(0.9, 550.0), (0.95, 950.0), (0.99, 2300.0)] {
        let (recall, fetched) = world.recall(&queries, target);
        assert!(recall >= f64::from(target) - 0.025, "{target}: {recall}");
        assert!(fetched < most, "{target}: {fetched} rows");
    }
    world.check();
}

/// Sketches of arrays of one vector are exact, so that only codes are in error.
#[test]
fn sets_of_one_vector_keep_to_the_target() {
    let mut texts = Texts::new(40, 9);
    let world = indexed((0..6000).map(|n| (n, texts.draw_of(1))).collect(), 60);
    let queries: Vec<TokensBuf> = (0..60).map(|n| texts.draw_of(if n % 2 == 0 { 1 } else { 12 })).collect();
    for target in [0.9, 0.95, 0.99] {
        let (recall, fetched) = world.recall(&queries, target);
        assert!(fetched < 40.0, "{target}: {fetched} rows");
        assert!(recall >= f64::from(target) - 0.025, "{target}: {recall}");
    }
}

/// A set with more numbers than a build keeps does not leave the index without a measured error, nor do rows
/// that are all long.
#[test]
fn long_sets_are_measured() {
    let mut texts = Texts::new(10, 8);
    let mut long = |vectors: usize| {
        let mut tokens = TokensBuf::default();
        while tokens.view().vectors().len() < vectors {
            texts.draw().view().vectors().for_each(|vector| tokens.push(vector).unwrap());
        }
        tokens
    };
    let table: Table = (0..120).map(|n| (n, long(if n == 0 { 140_000 } else { 1_200 }))).collect();
    let world = indexed(table, 1);
    let directory = Directory::load(&world.store).unwrap();
    assert!(!directory.is_unmeasured(), "{:?}", directory.meta.deviation);
}

#[test]
fn exact_scans_are_exact() {
    let mut texts = Texts::new(10, 2);
    let world = indexed(texts.table(1500), 12);
    for _ in 0..5 {
        world.compare_exact(&texts.draw());
    }
}

#[test]
fn a_scan_to_the_end_returns_each_row_once() {
    let mut texts = Texts::new(10, 3);
    let world = indexed(texts.table(2000), 16);
    for order in [Order::Strict, Order::Relaxed] {
        for memory in [64 << 10, 4 << 20] {
            let settings = Settings { limit: None, order, memory, ..DEFAULT };
            let (rows, _) = world.search(&texts.draw(), settings, 9999);
            let mut rows: Vec<Tid> = rows.iter().map(|row| row.0).collect();
            let found = rows.len();
            rows.sort_unstable();
            rows.dedup();
            // A strict scan leaves out rows that it finds too late.
            let least = if order == Order::Strict { 1980 } else { 2000 };
            assert!(rows.len() == found && found >= least, "{order:?}: {found} rows");
        }
    }
    let all = Settings { limit: Some(2000), ..DEFAULT };
    assert_eq!(world.search(&texts.draw(), all, 9999).0.len(), 2000);
}

#[test]
fn rows_come_and_go() {
    let mut texts = Texts::new(20, 4);
    let world = indexed(texts.table(3000), 20);
    world.delete(|n| n.is_multiple_of(3));
    (3000..5000).for_each(|n| world.insert(n, texts.draw()));
    world.check();
    let queries: Vec<TokensBuf> = (0..30).map(|_| texts.draw()).collect();
    assert!(world.recall(&queries, 0.95).0 > 0.9);
    // Codes of rows say nothing of what the rows are as queries.
    assert!(!calibrate::vacuum::refresh(&world.store, true, 1, &Silent).unwrap());
    let table = world.table.borrow().clone();
    let options = Options { lists: 40, seed: 43, ..options_of(&world.sketch, Metric::InnerProduct) };
    let (source, spool) = (&mut Reading(&table, world.sketch.clone()), &mut MemorySpool::default());
    renew(&world.store, &options, source, spool, (&pool(), &Ended(true)), &Silent).unwrap();
    world.check();
    let directory = Directory::load(&world.store).unwrap();
    assert_eq!((directory.meta.sketch, directory.lists()), (world.sketch.of(), 40));
    assert!(world.recall(&queries, 0.95).0 > 0.9, "after renewal");
}

#[test]
fn an_index_of_an_empty_table_serves_what_is_inserted() {
    let mut texts = Texts::new(5, 5);
    let world = indexed(Table::new(), 0);
    (0..400).for_each(|n| world.insert(n, texts.draw()));
    let queries: Vec<TokensBuf> = (0..20).map(|_| texts.draw()).collect();
    assert!(world.recall(&queries, 0.95).0 > 0.95);
}

/// Until its rows are measured, an index computes the values of all. A renewal measures them long before it
/// makes a second list.
#[test]
fn an_index_of_an_empty_table_is_soon_measured() {
    let mut texts = Texts::new(5, 6);
    let world = indexed(Table::new(), 0);
    let due = || {
        vacuum::bulk_delete(&world.store, &mut |_| false, &|| Ok(())).unwrap();
        is_due(&world.store, &read_root(&world.store).unwrap(), 0).unwrap()
    };
    (0..400).for_each(|n| world.insert(n, texts.draw()));
    assert_eq!(due(), None);
    (400..600).for_each(|n| world.insert(n, texts.draw()));
    assert_eq!(due(), Some(Reason::Unmeasured));
    let table = world.table.borrow().clone();
    let options = options_of(&world.sketch, Metric::InnerProduct);
    let (source, spool) = (&mut Reading(&table, world.sketch.clone()), &mut MemorySpool::default());
    renew(&world.store, &options, source, spool, (&pool(), &Ended(true)), &Silent).unwrap();
    world.check();
    assert_eq!(due(), None);
    let directory = Directory::load(&world.store).unwrap();
    assert!(directory.is_measured() && directory.lists() == 1, "{:?}", directory.meta);
    let (recall, fetched) = world.recall(&(0..20).map(|_| texts.draw()).collect::<Vec<_>>(), 0.95);
    assert!(recall > 0.9 && fetched < 400.0, "{recall}, {fetched} rows");
}

/// Sets of all kinds: empty, of one vector, of equal vectors, of a zero vector, huge and tiny ones.
fn extremes() -> Vec<TokensBuf> {
    let of = |components: &[f32]| {
        let mut tokens = TokensBuf::default();
        components.iter().for_each(|x| tokens.push(&[*x; DIMS]).unwrap());
        tokens
    };
    let numbers: [&[f32]; 8] =
        [&[], &[1.0], &[0.5; 300], &[0.0], &[3e38, -3e38], &[1e30, 1.0], &[1e-45], &[-1.0, 1e-30]];
    numbers.map(of).to_vec()
}

#[test]
fn extremes_are_found() {
    let mut texts = Texts::new(5, 7);
    let mut table = texts.table(300);
    table.extend((300..).zip(extremes()));
    let world = indexed(table, 6);
    world.check();
    for query in extremes() {
        let truth = world.truth(&query, 5);
        let total = |rows: &[(Tid, f64)]| -> Vec<_> { rows.iter().map(|r| (r.0, TotalF64(r.1))).collect() };
        let (rows, _) = world.search(&query, Settings { limit: Some(5), ..EXACT }, 5);
        assert_eq!(total(&rows), total(&truth));
        let (rows, _) = world.search(&query, Settings { limit: Some(5), ..DEFAULT }, 5);
        assert_eq!(rows.len(), 5);
    }
    // Every value that a set without vectors has is infinite, so it comes last.
    let all = world.search(&texts.draw(), Settings { limit: Some(308), ..EXACT }, 308).0;
    assert_eq!((all.len(), all[307].1), (308, f64::INFINITY));
}
