//! All pairs of rows within a distance: those of a comparison of every row with every other.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use vector_search::error::Result;
use vector_search::ivf::build::Options;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::search::batch::pairs::{Pair, Pairs};
use vector_search::ivf::search::batch::{Surroundings, Table as BatchTable, rows_of_list};
use vector_search::page::Tid;
use vector_search::value::Metric;

use crate::neighbours::{Fetched, METRICS, world};
use crate::renew::renewed;
use crate::world::*;

fn pairs(world: &World, below: f64, memory: usize) -> (Vec<Pair>, u64) {
    let mut pairs = Pairs::new(world.directories(), below, memory);
    let mut table = Fetched { world, rows: 0 };
    let (mut out, pool) = (Vec::new(), pool());
    let mut found = |pair| -> Result<()> {
        out.push(pair);
        Ok(())
    };
    let (current, next) = world.directories();
    for (set, directory) in std::iter::once(&current).chain(&next).enumerate() {
        for list in 0..directory.lists() {
            let mut rows = Vec::new();
            rows_of_list(&world.store, directory, list, &mut rows).unwrap();
            for row in rows {
                let mut vector = Vec::new();
                let version = table.measured(row, &mut |values| {
                    vector.extend_from_slice(values);
                    Ok(())
                });
                let Some(version) = version.unwrap() else { continue };
                pairs.push((set, list), (row, version), &vector).unwrap();
                if pairs.is_full() {
                    let mut around =
                        Surroundings { store: &world.store, table: &mut table, progress: &Silent };
                    pairs.run(set, &mut around, &pool, &mut found).unwrap();
                }
            }
        }
        let mut around = Surroundings { store: &world.store, table: &mut table, progress: &Silent };
        pairs.run(set, &mut around, &pool, &mut found).unwrap();
    }
    out.sort_by_key(|pair| (pair.row, pair.other));
    (out, pairs.stats().codes)
}

fn truth(world: &World, below: f64) -> Vec<Pair> {
    let table = world.table.borrow();
    let rows: Vec<(Tid, &Vec<f32>)> = table.iter().map(|(n, vector)| (tid(*n), vector)).collect();
    let mut out = Vec::new();
    for (at, (row, vector)) in rows.iter().enumerate() {
        for (other, of_other) in &rows[at + 1..] {
            let value = distance(world.metric, vector, of_other);
            if value < below {
                out.push(Pair { row: *row, other: *other, value });
            }
        }
    }
    out
}

/// A distance below which there are about so many pairs of rows.
fn radius(world: &World, pairs: usize) -> f64 {
    let mut values: Vec<f64> = truth(world, f64::INFINITY).iter().map(|pair| pair.value).collect();
    values.sort_by(f64::total_cmp);
    values[pairs.min(values.len() - 1)]
}

#[test]
fn the_pairs_are_those_of_a_nested_loop() {
    for metric in METRICS {
        for (bits, lists) in [(1, 8), (4, 1), (4, 8), (8, 30)] {
            let (world, mut draw) = world(metric, 700, Options { lists, bits, ..options(48, metric) });
            world.delete(|n| n % 7 == 0);
            for n in 1000..1100 {
                world.insert(n, draw());
            }
            // Rows that are dead, but still in the index; and rows that equal others.
            world.table.borrow_mut().retain(|n, _| n % 5 != 0);
            for n in 1201..1220 {
                let same = world.table.borrow().values().next().unwrap().clone();
                world.insert(n, same);
            }
            for wanted in [0, 300, 20_000] {
                let below = radius(&world, wanted);
                for memory in [0, 16 << 20] {
                    let found = pairs(&world, below, memory).0;
                    assert_eq!(
                        found,
                        truth(&world, below),
                        "{metric:?}, {bits} bits, {lists} lists, {wanted}"
                    );
                }
            }
            assert!(pairs(&world, f64::NEG_INFINITY, 1 << 20).0.is_empty());
        }
    }
}

#[test]
fn each_pair_is_compared_once_and_most_pages_are_read_for_many_rows() {
    let (world, _) = world(Metric::L2, 5000, Options { lists: 1, ..options(32, Metric::L2) });
    let below = radius(&world, 100);
    let (found, codes) = pairs(&world, below, 16 << 20);
    assert_eq!(found, truth(&world, below));
    // A list is compared with itself as a whole.
    assert_eq!(codes, 5000 * 5000);
    let (world, _) =
        super::neighbours::world(Metric::L2, 5000, Options { lists: 50, ..options(32, Metric::L2) });
    let codes = pairs(&world, below, 16 << 20).1;
    assert!(codes < 5000 * 5000 * 11 / 20, "{codes}");
}

#[test]
fn rows_that_codes_cannot_compare_are_measured() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for lists in [1, 4] {
            let (world, mut draw) = world(metric, 60, Options { lists, ..options(16, metric) });
            for n in 100..104 {
                world.insert(n, draw().iter().map(|x| x * 3e37).collect());
                world.insert(n + 10, draw().iter().map(|x| x * 1e-30).collect());
            }
            for below in [radius(&world, 50), f64::INFINITY] {
                assert_eq!(
                    pairs(&world, below, 1 << 20).0,
                    truth(&world, below),
                    "{metric:?} {lists} {below}"
                );
            }
        }
    }
}

#[test]
fn while_lists_are_replaced_pairs_of_both_sets_are_found() {
    let options = || Options { lists: 3, ..options(24, Metric::L2) };
    let (built, mut draw) = world(Metric::L2, 300, options());
    let mut with_both = 0;
    for stop in 0.. {
        let store = built.store.snapshot();
        let table = Rc::new(RefCell::new(built.table.borrow().clone()));
        let world = World { table, store, metric: Metric::L2 };
        world.store.stop_after(Some(stop));
        let whole = renewed(&world, &world.store, &options(), true).is_ok();
        world.store.stop_after(None);
        (1000..1040).for_each(|n| world.insert(n, draw()));
        with_both += usize::from(world.directories().1.is_some());
        let below = radius(&world, 2000);
        for memory in [0, 1 << 20] {
            let found = pairs(&world, below, memory).0;
            assert_eq!(found, truth(&world, below), "stopped after {stop} changes");
            let once: BTreeSet<_> = found.iter().map(|pair| (pair.row, pair.other)).collect();
            assert_eq!(once.len(), found.len());
        }
        if whole {
            break;
        }
    }
    assert!(with_both > 3, "{with_both} times two sets");
}
