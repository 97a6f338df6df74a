//! Range searches of several queries together: each finds the rows that it finds alone.

use vector_search::ivf::build::Options;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::Settings;
use vector_search::ivf::search::batch::ahead::Ahead;
use vector_search::ivf::search::filter::Filter;
use vector_search::page::Tid;
use vector_search::value::{Metric, TotalF64};

use crate::neighbours::{METRICS, world};
use crate::renew::renewed;
use crate::world::*;

const MEMORY: usize = 16 << 20;

fn in_range(ceiling: f64) -> Settings {
    Settings { ceiling, in_order: false, ..EXACT }
}

/// The rows that a scan returns, in order of value.
fn rows(scan: &mut Scan, world: &World, query: &[f32]) -> Vec<(Tid, f64)> {
    let mut heap = world.heap(query);
    let mut found: Vec<_> = std::iter::from_fn(|| scan.next(&world.store, &mut heap).unwrap()).collect();
    found.sort_by_key(|(row, value)| (TotalF64(*value), *row));
    found
}

/// Compares searches ahead with single ones; returns the numbers of rows and of queries searched for ahead.
fn compare(world: &World, queries: &[Vec<f32>], ceiling: f64, memory: usize) -> (usize, usize) {
    let directories = world.directories();
    let mut ahead = Ahead::new(&directories, memory).expect("codes that exclude rows");
    assert!(ahead.reads(&directories) && ahead.capacity() > 0);
    let mut scan = Scan::new(directories, in_range(ceiling));
    let (mut count, mut known) = (0, 0);
    for queries in queries.chunks(ahead.capacity().min(60)) {
        ahead.clear();
        queries.iter().for_each(|query| ahead.push(Some(query)).unwrap());
        ahead.push(None).unwrap();
        let threads = pool();
        let pool = (queries.len() % 2 == 0).then_some(&threads);
        assert!(ahead.run(ceiling, &world.store, &Silent, pool).unwrap(), "room for all rows");
        assert!(ahead.found(queries.len()).is_none() && ahead.found(queries.len() + 1).is_none());
        for (number, query) in queries.iter().enumerate() {
            scan.start_filtered(in_range(ceiling), Some(query.as_slice()), Filter::default());
            let alone = rows(&mut scan, world, query);
            count += alone.len();
            let Some((vector, near)) = ahead.found(number) else { continue };
            known += 1;
            assert_eq!(vector, query);
            assert!(near.is_sorted_by_key(|(row, _)| *row));
            let lists = scan.stats().lists;
            scan.start_known(in_range(ceiling), near).unwrap();
            assert_same(&rows(&mut scan, world, query), &alone, &format!("query {number} up to {ceiling}"));
            assert_eq!(scan.stats().lists, lists, "no list is read");
        }
    }
    (count, known)
}

/// Values below which there are few and many rows.
fn ceilings(world: &World, query: &[f32]) -> [f64; 3] {
    let truth = world.truth(query, usize::MAX, None);
    [0, 8, 60].map(|at: usize| truth[at.min(truth.len() - 1)].1)
}

#[test]
fn searches_ahead_find_the_rows_of_single_ones() {
    for metric in METRICS {
        for (bits, lists) in [(1, 8), (4, 1), (4, 9), (8, 30)] {
            let options = || Options { lists, bits, ..options(48, metric) };
            let (world, mut draw) = world(metric, 800, options());
            world.delete(|n| n % 7 == 0);
            let mut queries: Vec<Vec<f32>> = (0..20).map(|_| draw()).collect();
            queries.extend(world.table.borrow().values().take(21).cloned());
            let (mut count, mut known) = (0, 0);
            for ceiling in ceilings(&world, &queries[30]) {
                let found = compare(&world, &queries, ceiling, MEMORY);
                (count, known) = (count + found.0, known + found.1);
            }
            assert!(count > 60 && known > 100, "{metric:?}, {bits} bits: {count} rows, {known} ahead");
            renewed(&world, &world.store, &options(), true).unwrap();
            let ceiling = ceilings(&world, &queries[30])[1];
            compare(&world, &queries, ceiling, MEMORY);
        }
    }
}

#[test]
fn queries_without_neighbours_and_of_other_dimensions_are_left_to_their_scans() {
    let (world, mut draw) = world(Metric::Cosine, 300, Options { lists: 4, ..options(24, Metric::Cosine) });
    let mut ahead = Ahead::new(&world.directories(), MEMORY).unwrap();
    let query = draw();
    let all = [Some(&query[..]), Some(&[0.0; 24][..]), None, Some(&query[..20]), Some(&query[..])];
    all.iter().for_each(|query| ahead.push(*query).unwrap());
    assert!(ahead.run(2.0, &world.store, &Silent, None).unwrap());
    let found: Vec<_> = (0..5).map(|number| ahead.found(number).map(|(_, near)| near.len())).collect();
    assert_eq!(found, [Some(300), None, None, None, Some(300)]);
}

#[test]
fn rows_that_codes_cannot_compare_are_found() {
    let (world, mut draw) = world(Metric::L2, 300, Options { lists: 4, ..options(24, Metric::L2) });
    let huge: Vec<f32> = draw().iter().map(|x| x * 1e25).collect();
    let queries = [draw(), huge.clone(), draw()];
    let farthest = world.truth(&huge, usize::MAX, None).last().unwrap().1;
    let (count, known) = compare(&world, &queries, farthest, MEMORY);
    assert_eq!((count, known), (900, 3));
}

#[test]
fn more_rows_than_memory_are_left_to_the_scans() {
    let (world, mut draw) = world(Metric::L2, 900, Options { lists: 4, ..options(24, Metric::L2) });
    let mut ahead = Ahead::new(&world.directories(), 64 << 10).unwrap();
    (0..4).for_each(|_| ahead.push(Some(&draw())).unwrap());
    assert!(!ahead.run(f64::MAX, &world.store, &Silent, None).unwrap());
    assert!(ahead.found(0).is_none());
    ahead.clear();
    (0..4).for_each(|_| ahead.push(Some(&draw())).unwrap());
    assert!(ahead.run(-1.0, &world.store, &Silent, None).unwrap());
    assert!(ahead.found(0).is_some_and(|(_, near)| near.is_empty()));
}

#[test]
fn while_lists_are_replaced_nothing_is_searched_for_ahead() {
    let options = || Options { lists: 3, ..options(24, Metric::L2) };
    let (world, _) = world(Metric::L2, 300, options());
    let before = Ahead::new(&world.directories(), MEMORY).unwrap();
    let mut stop = 0;
    while world.directories().1.is_none() {
        stop += 1;
        world.store.stop_after(Some(stop));
        assert!(renewed(&world, &world.store, &options(), true).is_err(), "stopped after {stop} changes");
        world.store.stop_after(None);
    }
    assert!(Ahead::new(&world.directories(), MEMORY).is_none());
    assert!(!before.reads(&world.directories()));
}
