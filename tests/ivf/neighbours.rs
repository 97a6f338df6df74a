//! Many queries at once: each finds what a scan finds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rayon::ThreadPool;
use vector_search::error::{Kind, Result};
use vector_search::ivf::build::Options;
use vector_search::ivf::progress::{Progress, Silent};
use vector_search::ivf::search::batch::{
    Batch, Itself, Neighbour, Surroundings, Table as BatchTable, WithVector, rows_of_list, tour,
};
use vector_search::ivf::search::{Order, Probes, Rows, Settings, Stats};
use vector_search::page::{Change, PageKind, Store, Tid};
use vector_search::value::{Metric, TotalF64};

use crate::renew::renewed;
use crate::world::*;

pub const MEMORY: usize = 16 << 20;

/// The table of a world; counts the rows fetched.
pub struct Fetched<'a> {
    pub world: &'a World,
    pub rows: u64,
}

impl BatchTable for Fetched<'_> {
    fn measured(&mut self, row: Tid, with: &mut WithVector<'_>) -> Result<Option<Tid>> {
        self.rows += 1;
        let n = u64::from(row.blkno) * 100 + u64::from(row.offset) - 1;
        let table = self.world.table.borrow();
        let Some(vector) = table.get(&n) else { return Ok(None) };
        with(vector)?;
        Ok(Some(row))
    }

    fn version(&mut self, row: Tid) -> Result<Option<Tid>> {
        self.measured(row, &mut |_| Ok(()))
    }

    fn rows<'a>(&'a mut self, query: &'a [f32]) -> Box<dyn Rows + 'a> {
        Box::new(self.world.heap(query))
    }
}

/// A query, and the row that does not count.
pub type Asked = (Vec<f32>, Option<Tid>);

/// The neighbours of each query, by batches in so much memory; on threads the same.
pub fn neighbours(world: &World, asked: &[Asked], settings: Settings, memory: usize) -> Vec<Vec<(Tid, f64)>> {
    let (found, stats, _) = run(world, asked, (settings, memory), None);
    let (on_threads, of_threads, _) = run(world, asked, (settings, memory), Some(&pool()));
    assert!(same(&found, &on_threads), "on threads");
    // The lists of a query come in another order, and so other records are compared.
    assert_eq!((stats.lists, stats.codes), (of_threads.lists, of_threads.codes), "work on threads");
    found
}

/// Whether the neighbours are the same; NaN equals NaN.
fn same(some: &[Vec<(Tid, f64)>], others: &[Vec<(Tid, f64)>]) -> bool {
    let bits = |of: &[Vec<(Tid, f64)>]| -> Vec<Vec<(Tid, u64)>> {
        of.iter().map(|rows| rows.iter().map(|row| (row.0, row.1.to_bits())).collect()).collect()
    };
    bits(some) == bits(others)
}

fn run(
    world: &World,
    asked: &[Asked],
    (settings, memory): (Settings, usize),
    pool: Option<&ThreadPool>,
) -> (Vec<Vec<(Tid, f64)>>, Stats, u64) {
    let but_itself = asked.iter().any(|(_, itself)| itself.is_some());
    let mut batch = Batch::new(world.directories(), settings, memory, but_itself);
    let mut table = Fetched { world, rows: 0 };
    let mut around = Surroundings { store: &world.store, table: &mut table, progress: &Silent };
    let mut out = vec![Vec::new(); asked.len()];
    let mut found = |number: u64, rows: &[Neighbour]| {
        out[number as usize] = rows.iter().map(|found| (found.row, found.value)).collect();
        Ok(())
    };
    for (number, (query, itself)) in asked.iter().enumerate() {
        let itself = itself.map(|row| Itself { row, version: row });
        batch.push(number as u64, query, itself).unwrap();
        if batch.is_full() {
            batch.run(&mut around, pool, &mut found).unwrap();
        }
    }
    batch.run(&mut around, pool, &mut found).unwrap();
    let stats = batch.stats();
    (out, stats, table.rows)
}

fn plain(queries: impl IntoIterator<Item = Vec<f32>>) -> Vec<Asked> {
    queries.into_iter().map(|query| (query, None)).collect()
}

/// A table of these dimensions and a maker of queries, as the metric takes them.
pub fn world(metric: Metric, rows: u64, options: Options) -> (World, impl FnMut() -> Vec<f32>) {
    let mut mixture = Mixture::new(options.dims, 9, 0.6, 7 + rows);
    let mut draw = move || {
        let drawn = mixture.draw();
        match metric.is_of_bits() {
            true => drawn.iter().map(|x| f32::from(u8::from(*x > 0.0))).collect(),
            false => drawn,
        }
    };
    let table = (0..rows).map(|n| (n, draw())).collect();
    (World::build(table, &options), draw)
}

pub const METRICS: [Metric; 6] =
    [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1, Metric::Hamming, Metric::Jaccard];

fn first(limit: u64, settings: Settings) -> Settings {
    Settings { limit: Some(limit), ..settings }
}

#[test]
fn at_target_one_the_neighbours_are_those_of_a_sort() {
    for metric in METRICS {
        for bits in [1, 4, 8] {
            let (world, mut draw) = world(metric, 900, Options { lists: 8, bits, ..options(48, metric) });
            world.delete(|n| n % 7 == 0);
            for n in 1000..1100 {
                world.insert(n, draw());
            }
            // Rows that are dead, but still in the index.
            world.table.borrow_mut().retain(|n, _| n % 5 != 0);
            let asked = plain((0..90).map(|_| draw()));
            for k in [1, 7, 30] {
                let found = neighbours(&world, &asked, first(k, EXACT), MEMORY);
                for ((query, _), found) in asked.iter().zip(&found) {
                    let truth = world.truth(query, k as usize, None);
                    assert_same(found, &truth, &format!("{metric:?}, {bits} bits, {k} rows"));
                }
            }
        }
    }
}

#[test]
fn the_recall_is_that_of_scans() {
    for metric in METRICS {
        let (world, mut draw) = world(metric, 6000, Options { lists: 40, ..options(64, metric) });
        let asked = plain((0..200).map(|_| draw()));
        let settings = DEFAULT;
        let found = neighbours(&world, &asked, settings, MEMORY);
        let (mut ours, mut scans) = (0, 0);
        for ((query, _), found) in asked.iter().zip(&found) {
            let farthest = TotalF64(world.truth(query, 10, None)[9].1);
            let near = |rows: &[(Tid, f64)]| rows.iter().filter(|row| TotalF64(row.1) <= farthest).count();
            assert_eq!(found.len(), 10, "{metric:?}: the limit is filled");
            assert!(found.is_sorted_by_key(|row| TotalF64(row.1)), "{metric:?}: the order");
            ours += near(found);
            scans += near(&world.search(query, settings, 10));
        }
        assert!(ours >= scans && ours > 1850, "{metric:?}: {ours} of 2000, scans {scans}");
    }
}

#[test]
fn a_row_is_not_its_own_neighbour() {
    for metric in METRICS {
        let (world, _) = world(metric, 500, Options { lists: 5, ..options(32, metric) });
        let rows: Vec<(u64, Vec<f32>)> =
            world.table.borrow().iter().map(|(n, vector)| (*n, vector.clone())).collect();
        let asked: Vec<Asked> = rows.iter().map(|(n, vector)| (vector.clone(), Some(tid(*n)))).collect();
        let found = neighbours(&world, &asked, first(5, EXACT), MEMORY);
        for ((query, itself), found) in asked.iter().zip(&found) {
            let mut truth = world.truth(query, 500, None);
            truth.retain(|row| Some(row.0) != *itself);
            assert_same(found, &truth[..5], &format!("{metric:?}"));
        }
    }
}

#[test]
fn rows_that_are_queries_are_not_fetched() {
    for metric in METRICS {
        let (world, _) = world(metric, 2500, Options { lists: 16, ..options(32, metric) });
        for step in [1, 2] {
            let rows: Vec<(u64, Vec<f32>)> = {
                let table = world.table.borrow();
                table.iter().step_by(step).map(|(n, vector)| (*n, vector.clone())).collect()
            };
            let asked: Vec<Asked> = rows.into_iter().map(|(n, vector)| (vector, Some(tid(n)))).collect();
            let together = run(&world, &asked, (first(5, DEFAULT), 1 << 30), None);
            // Others are fetched for the nearest candidates, and some again for the next. The few queries of
            // which a bound was wrong are answered by scans.
            let others = 2500 - asked.len() as u64;
            assert!(together.2 < 2 * others + 250, "{metric:?}: {} rows of {others} others", together.2);
            assert!(
                same(&together.0, &neighbours(&world, &asked, first(5, DEFAULT), 200 << 10)),
                "{metric:?}"
            );
        }
    }
}

#[test]
fn neighbours_are_named_by_their_versions() {
    let (world, _) = world(Metric::L2, 300, Options { lists: 3, ..options(16, Metric::L2) });
    let version = |row: Tid| Tid { blkno: row.blkno + 1000, ..row };
    let mut batch = Batch::new(world.directories(), first(4, EXACT), MEMORY, true);
    let rows = world.table.borrow().clone();
    for (&n, vector) in &rows {
        let itself = Itself { row: tid(n), version: version(tid(n)) };
        batch.push(n, vector, Some(itself)).unwrap();
    }
    let mut table = Fetched { world: &world, rows: 0 };
    let mut around = Surroundings { store: &world.store, table: &mut table, progress: &Silent };
    let mut found = |n: u64, neighbours: &[Neighbour]| {
        let mut truth = world.truth(&rows[&n], 5, None);
        truth.retain(|row| row.0 != tid(n));
        truth.iter_mut().for_each(|row| row.0 = version(row.0));
        let neighbours: Vec<_> = neighbours.iter().map(|found| (found.row, found.value)).collect();
        assert_same(&neighbours, &truth, &format!("row {n}"));
        Ok(())
    };
    batch.run(&mut around, Some(&pool()), &mut found).unwrap();
    assert_eq!(table.rows, 0, "all rows are queries");
}

#[test]
fn errors_on_threads_come_back() {
    let (world, mut draw) = world(Metric::L2, 3000, Options { lists: 10, ..options(24, Metric::L2) });
    let asked = plain((0..300).map(|_| draw()));
    let extended = |blkno: &u32| world.store.read(*blkno).unwrap().kind() == Some(PageKind::Extended);
    let damaged: Vec<u32> = (0..world.store.nblocks().unwrap()).filter(extended).collect();
    for blkno in damaged {
        let emptied = |change: &mut dyn Change| {
            let page = change.open(blkno)?;
            change.page_mut(page).set_count(0);
            Ok(())
        };
        world.store.change(emptied).unwrap();
    }
    for pool in [None, Some(&pool())] {
        let mut batch = Batch::new(world.directories(), DEFAULT, MEMORY, false);
        for (query, _) in &asked {
            batch.push(0, query, None).unwrap();
        }
        let mut table = Fetched { world: &world, rows: 0 };
        let mut around = Surroundings { store: &world.store, table: &mut table, progress: &Silent };
        let failed = batch.run(&mut around, pool, &mut |_, _| Ok(())).unwrap_err();
        assert_eq!(failed.kind, Kind::Corrupted);
    }
}

#[test]
fn a_tour_has_each_list_once_and_near_ones_together() {
    let (world, _) = world(Metric::L2, 4000, Options { lists: 40, ..options(8, Metric::L2) });
    let directory = world.directory();
    let order = tour(&directory, &Silent).unwrap();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..directory.lists()).collect::<Vec<_>>());
    let length = |order: &[u32]| -> f64 {
        let centroid = |list: u32| -> Vec<f32> {
            let (codes, scale) = directory.centroid(list);
            codes.iter().map(|code| f32::from(*code) * scale).collect()
        };
        order.windows(2).map(|two| distance(Metric::L2, &centroid(two[0]), &centroid(two[1]))).sum()
    };
    assert!(length(&order) < 0.8 * length(&sorted), "{} {}", length(&order), length(&sorted));
}

#[test]
fn batches_of_any_size_find_the_same() {
    let (world, mut draw) = world(Metric::L2, 3000, Options { lists: 20, ..options(40, Metric::L2) });
    let asked = plain((0..150).map(|_| draw()));
    let all = neighbours(&world, &asked, DEFAULT, MEMORY);
    for memory in [0, 64 << 10, 300 << 10] {
        assert_eq!(neighbours(&world, &asked, DEFAULT, memory), all, "{memory} bytes");
    }
    let mut one = Batch::new(world.directories(), DEFAULT, 0, false);
    assert_eq!((one.together(), one.is_full()), (1, false));
    one.push(0, &asked[0].0, None).unwrap();
    assert!(one.is_full());
}

#[test]
fn rows_and_pages_are_read_once_for_all_queries() {
    let (world, mut draw) = world(Metric::Cosine, 3000, Options { lists: 20, ..options(40, Metric::Cosine) });
    let query = draw();
    let alone = run(&world, &plain([query.clone()]), (DEFAULT, MEMORY), None);
    let many = run(&world, &plain(vec![query; 50]), (DEFAULT, MEMORY), None);
    assert_eq!(alone.2, many.2, "rows fetched");
    assert_eq!(50 * alone.1.codes, many.1.codes, "each query compares its codes");
    assert!(many.0.iter().all(|found| *found == alone.0[0]));
}

#[test]
fn what_codes_cannot_order_is_found_too() {
    // More rows than there are, one list, a zero query, squares that overflow, values that are not numbers.
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for lists in [1, 4] {
            let (world, mut draw) = world(metric, 60, Options { lists, ..options(16, metric) });
            let huge: Vec<f32> = draw().iter().map(|x| x * 3e37).collect();
            let asked = plain([draw(), huge, vec![0.0; 16], draw()]);
            for (k, settings) in [(5, DEFAULT), (500, DEFAULT), (500, EXACT)] {
                let found = neighbours(&world, &asked, first(k, settings), MEMORY);
                for ((query, _), found) in asked.iter().zip(&found) {
                    let zero = metric == Metric::Cosine && query.iter().all(|x| *x == 0.0);
                    let truth = world.truth(query, if zero { 0 } else { k as usize }, None);
                    let same = |a: &(Tid, f64), b: &(Tid, f64)| TotalF64(a.1) == TotalF64(b.1);
                    assert_eq!(found.len(), truth.len(), "{metric:?} {lists} {k}");
                    assert!(found.iter().zip(&truth).all(|(a, b)| same(a, b)), "{metric:?} {lists} {k}");
                }
            }
        }
    }
}

#[test]
fn rows_at_no_distance_come_after_all_others() {
    for bits in [1, 4, 8] {
        for (lists, rows) in [(1, 6), (1, 60), (5, 60)] {
            let options = Options { lists, bits, ..options(16, Metric::Cosine) };
            let (world, mut draw) = world(Metric::Cosine, rows, options);
            // Squares of these are zero in single precision, and so are their products with the queries.
            let mut tiny = vec![0.0; 16];
            tiny[0] = 1e-30;
            (1000..1008).for_each(|n| world.insert(n, tiny.clone()));
            let mut ask = || std::iter::once(0.0).chain(draw().into_iter().skip(1)).collect();
            let asked = plain((0..10).map(|_| ask()));
            for k in [3, 20, 64, 500] {
                let settings = if lists == 1 { DEFAULT } else { EXACT };
                let found = neighbours(&world, &asked, first(k, settings), MEMORY);
                for ((query, _), found) in asked.iter().zip(&found) {
                    let truth = world.truth(query, k as usize, None);
                    let same = |a: &(Tid, f64), b: &(Tid, f64)| TotalF64(a.1) == TotalF64(b.1);
                    let nan = truth.iter().filter(|row| row.1.is_nan()).count();
                    assert_eq!(nan, k.saturating_sub(rows).min(8) as usize);
                    assert_eq!(found.len(), truth.len(), "{bits} {rows} {lists} {k}");
                    assert!(found.iter().zip(&truth).all(|(a, b)| same(a, b)), "{bits} {rows} {lists} {k}");
                }
            }
        }
    }
}

#[test]
fn probes_and_orders_hold_as_for_scans() {
    let (world, mut draw) = world(Metric::L2, 4000, Options { lists: 40, ..options(24, Metric::L2) });
    let asked = plain((0..40).map(|_| draw()));
    for order in [Order::Strict, Order::Relaxed, Order::Off] {
        for lists in [1, 3, 40] {
            let settings = Settings { probes: Probes::Lists(lists), order, ..first(20, DEFAULT) };
            let found = neighbours(&world, &asked, settings, MEMORY);
            for ((query, _), found) in asked.iter().zip(&found) {
                let mut scan = world.search(query, settings, 20);
                scan.sort_by_key(|row| (TotalF64(row.1), row.0));
                assert_same(found, &scan, &format!("{order:?}, {lists} lists"));
            }
        }
    }
}

#[test]
fn a_batch_can_be_cancelled_at_every_step() {
    /// Fails at the n-th call.
    struct Cancelled(Cell<u32>);
    impl Progress for Cancelled {
        fn tick(&self) -> Result<()> {
            let left = self.0.get();
            self.0.set(left.saturating_sub(1));
            match left {
                0 => Err(vector_search::error::Error::new(vector_search::error::Kind::Internal, "canceled")),
                _ => Ok(()),
            }
        }
    }
    let (world, mut draw) = world(Metric::L2, 1000, Options { lists: 10, ..options(24, Metric::L2) });
    let query = draw();
    let mut batch = Batch::new(world.directories(), DEFAULT, MEMORY, false);
    let mut cancelled = 0;
    for calls in 0.. {
        let progress = Cancelled(Cell::new(calls));
        let mut table = Fetched { world: &world, rows: 0 };
        let mut around = Surroundings { store: &world.store, table: &mut table, progress: &progress };
        batch.push(0, &query, None).unwrap();
        let mut found = 0;
        let ended = batch.run(&mut around, None, &mut |_, rows| {
            found = rows.len();
            Ok(())
        });
        if ended.is_ok() {
            assert_eq!(found, 10, "after errors the batch works");
            break;
        }
        cancelled += 1;
    }
    assert!(cancelled > 10, "{cancelled} steps");
}

#[test]
fn while_lists_are_replaced_rows_of_both_sets_are_found() {
    let options = || Options { lists: 3, ..options(24, Metric::L2) };
    let (built, mut draw) = world(Metric::L2, 400, options());
    let mut with_both = 0;
    for stop in 0.. {
        let store = built.store.snapshot();
        let table = Rc::new(RefCell::new(built.table.borrow().clone()));
        let world = World { table, store, metric: Metric::L2 };
        world.store.stop_after(Some(stop));
        let whole = renewed(&world, &world.store, &options(), true).is_ok();
        world.store.stop_after(None);
        for n in 1000..1040 {
            world.insert(n, draw());
        }
        let (current, next) = world.directories();
        with_both += usize::from(next.is_some());
        let mut rows = Vec::new();
        for directory in std::iter::once(&current).chain(&next) {
            for list in 0..directory.lists() {
                rows_of_list(&world.store, directory, list, &mut rows).unwrap();
            }
        }
        rows.sort_unstable();
        let all: Vec<Tid> = world.table.borrow().keys().map(|n| tid(*n)).collect();
        assert_eq!(rows, all, "stopped after {stop} changes");
        let asked = plain((0..5).map(|_| draw()));
        let found = neighbours(&world, &asked, first(12, EXACT), MEMORY);
        for ((query, _), found) in asked.iter().zip(&found) {
            assert_same(found, &world.truth(query, 12, None), &format!("stopped after {stop} changes"));
        }
        if whole {
            break;
        }
    }
    assert!(with_both > 3, "{with_both} times two sets");
}
