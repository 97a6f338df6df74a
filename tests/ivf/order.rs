//! Values are ordered like `float8` on every processor: −0 equals 0, and NaN of either sign is last.

use std::collections::BTreeMap;

use vector_search::error::Result;
use vector_search::ivf::build::Options;
use vector_search::ivf::search::{Order, Rows, Search, Settings};
use vector_search::page::Tid;
use vector_search::value::{Metric, TotalF64};

use crate::world::*;

/// A heap in which the operator's value of each row is given.
struct Values(BTreeMap<Tid, f64>);

impl Rows for Values {
    fn distance(&mut self, tid: Tid, _known: Option<f64>) -> Result<Option<f64>> {
        Ok(self.0.get(&tid).copied())
    }
}

const VALUES: [f64; 9] =
    [f64::NAN, 0.0, f64::INFINITY, -0.0, -f64::NAN, f64::NEG_INFINITY, 1e-300, -1e-300, f64::MAX];

/// A world with rows so far from all lists that they have no bounds, and their values. The rows with which it
/// was built are invisible.
fn world(metric: Metric) -> (World, BTreeMap<Tid, f64>) {
    let rows: Table = (1000..1040).map(|n| (n, vec![0.1, 0.2, n as f32 / 1e4])).collect();
    let world = World::build(rows, &Options { lists: 2, ..options(3, metric) });
    (0..90).for_each(|n| world.insert(n, vec![1e9, 1.0, 0.5]));
    let values = (0..90).map(|n| (tid(n), VALUES[(n * 7 % 9) as usize])).collect();
    (world, values)
}

fn sorted(values: &BTreeMap<Tid, f64>) -> Vec<(Tid, f64)> {
    let mut rows: Vec<_> = values.iter().map(|(tid, value)| (*tid, *value)).collect();
    rows.sort_by_key(|row| (TotalF64(row.1), row.0));
    rows
}

fn found(world: &World, values: &BTreeMap<Tid, f64>, settings: Settings, query: &[f32]) -> Vec<(Tid, f64)> {
    let mut search = Search::new(world.directory(), settings);
    search.start(settings, Some(query));
    let mut heap = Values(values.clone());
    std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).collect()
}

fn assert_rows(found: &[(Tid, f64)], truth: &[(Tid, f64)], what: &str) {
    let of = |rows: &[(Tid, f64)]| rows.iter().map(|r| (r.0, TotalF64(r.1))).collect::<Vec<_>>();
    assert_eq!(of(found), of(truth), "{what}");
}

#[test]
fn nan_infinities_and_zeros_from_the_heap_order_as_float8_does() {
    // The square of the second query overflows f32, so every row's value is computed exactly.
    for query in [vec![0.5f32, 0.25, 1.0], vec![f32::MAX, 1.0, 1.0]] {
        for metric in [Metric::L2, Metric::InnerProduct] {
            let (world, values) = world(metric);
            let truth = sorted(&values);
            for order in [Order::Strict, Order::Relaxed, Order::Off] {
                for limit in [None, Some(5), Some(35), Some(85), Some(90)] {
                    let what = format!("{metric:?}, {order:?}, limit {limit:?}, {query:?}");
                    let settings = Settings { order, limit, ..EXACT };
                    let rows = found(&world, &values, settings, &query);
                    let wanted = limit.map_or(truth.len(), |limit| limit as usize);
                    assert_rows(&rows[..wanted], &truth[..wanted], &what);
                    assert_eq!(rows.len(), truth.len(), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_ceiling_of_either_zero_lets_both_pass() {
    for ceiling in [0.0, -0.0, 1e-300, f64::INFINITY] {
        let (world, values) = world(Metric::InnerProduct);
        let below = |value: f64| value.is_nan() || value <= ceiling;
        let truth: Vec<_> = sorted(&values).into_iter().filter(|row| below(row.1)).collect();
        let query = [0.5, 0.25, 1.0];
        let rows = found(&world, &values, Settings { ceiling, ..EXACT }, &query);
        assert_rows(&rows, &truth, &format!("up to {ceiling}"));
    }
}

#[test]
fn equal_zeros_of_hamming_and_inner_products_come_by_address() {
    // Inner products of orthogonal vectors are −0 or 0, depending on the signs of the terms.
    let rows: Table = (0..200).map(|n| (n, vec![0.0, if n % 2 == 0 { 1.0 } else { -1.0 }])).collect();
    let world = World::build(rows, &Options { lists: 3, ..options(2, Metric::InnerProduct) });
    for query in [[1.0, 0.0], [-1.0, -0.0]] {
        let found = world.search(&query, EXACT, usize::MAX);
        assert_rows(&found, &world.truth(&query, usize::MAX, None), "zeros");
        let ten = Settings { limit: Some(10), ..EXACT };
        assert_rows(&world.search(&query, ten, 10), &world.truth(&query, 10, None), "ten zeros");
    }
}

/// Inner products that overflow in the operator's single precision are infinite, and bounds do not take this
/// into account.
#[test]
fn inner_products_that_overflow_lose_no_row() {
    for bits in [1, 4, 8] {
        for lists in [1, 12] {
            let mut mixture = Mixture::new(8, 4, 0.3, 11);
            let row =
                |n: u64, v: Vec<f32>| (n, v.iter().map(|x| 1e11 * (x.abs() + n as f32 / 1e3)).collect());
            let rows: Table = (0..600).map(|n| row(n, mixture.draw())).collect();
            let options = Options { bits, lists, ..options(8, Metric::InnerProduct) };
            let world = World::build(rows, &options);
            // One row is much longer than those that the index was built of.
            world.insert(700, vec![3e17; 8]);
            for long in [8e26, 1e26, 3e20] {
                let query = vec![long; 8];
                for settings in [EXACT, Settings { limit: Some(601), ..DEFAULT }] {
                    let what = format!("{bits} bits, {lists} lists, query of {long}");
                    assert_same(&world.search(&query, settings, 601), &world.truth(&query, 601, None), &what);
                }
            }
        }
    }
}

/// The factors of 4-bit codes are finite for longer rows than those of one-bit codes. Up to the latter length
/// the scan assumes finite values.
#[test]
fn a_row_longer_than_all_others_whose_product_overflows_is_found() {
    for bits in [1, 4, 8] {
        let mut mixture = Mixture::new(64, 5, 1.0, 2);
        let mut row = || mixture.draw().iter().map(|x| x * 2f32.powi(50)).collect();
        let options = Options { bits, lists: 10, ..options(64, Metric::InnerProduct) };
        let world = World::build((0..2000).map(|n| (n, row())).collect(), &options);
        let longest = world.directory().codec.longest() / f64::from(world.directory().meta.scale);
        let length = 0.48 * f64::from(f32::MAX) / longest;
        for (n, times) in [4.5f64, 5.0, 5.5, 5.8].into_iter().enumerate() {
            // One product is positive, 63 are negative: the partial sums are infinite.
            let positive = 3.55e38 / (times * longest * length);
            let others = ((1.0 - positive) / 63.0).sqrt();
            let vector = |length: f64, sign: f64| -> Vec<f32> {
                let at = |i: usize| length * if i == 0 { positive.sqrt() } else { sign * others };
                (0..64).map(|i| at(i) as f32).collect()
            };
            let query = vector(length, -1.0);
            world.insert(5000 + n as u64, vector(times * longest, 1.0));
            let what = format!("{bits} bits, {times} times the longest");
            assert_same(&world.search(&query, EXACT, 10), &world.truth(&query, 10, None), &what);
        }
    }
}
