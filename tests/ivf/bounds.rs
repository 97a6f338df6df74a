//! At target 1 the index returns the same rows as a scan of the table, for vectors of any kind.

use vector_search::ivf::build::Options;
use vector_search::ivf::search::Settings;
use vector_search::page::Tid;
use vector_search::value::{Metric, TotalF64};

use crate::hostile;
use crate::random::Random;
use crate::world::*;

const METRICS: [Metric; 4] = [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1];

/// The values, and how they first differ.
fn assert_values(found: &[(Tid, f64)], truth: &[(Tid, f64)], what: &str) {
    let pairs = found.iter().zip(truth);
    let at = pairs.enumerate().find(|(_, (f, t))| TotalF64(f.1) != TotalF64(t.1));
    assert!(at.is_none(), "{what}: row, found, truth {at:?}");
    assert_eq!(found.len(), truth.len(), "{what}: number of rows");
}

fn world(rows: &[Vec<f32>], metric: Metric, bits: u8, lists: u32, seed: u64) -> World {
    let dims = rows[0].len();
    let inserted = rows.len() / 8;
    let built: Table = (0..).zip(rows[inserted..].iter().cloned()).collect();
    let world = World::build(built, &Options { lists, bits, seed, ..options(dims, metric) });
    for (n, row) in rows[..inserted].iter().enumerate() {
        world.insert(100_000 + n as u64, row.clone());
    }
    world
}

fn exact(dims: usize, count: usize, seed: u64) {
    let mut random = Random(seed);
    let sets = hostile::sets(dims, count, &mut || random.unit());
    for hostile::Set { name, rows } in sets {
        let queries = hostile::queries(&rows, &mut || random.unit());
        for metric in METRICS {
            for bits in [1, 4, 8] {
                let world = world(&rows, metric, bits, 3, seed);
                for (i, query) in queries.iter().enumerate() {
                    if metric == Metric::Cosine && query.iter().all(|x| *x == 0.0) {
                        continue;
                    }
                    let what =
                        format!("{name}, {dims} dimensions, {metric:?}, {bits} bits, query {i}, {seed}");
                    let truth = world.truth(query, usize::MAX, None);
                    let ten = Settings { limit: Some(10), ..EXACT };
                    let found = world.search(query, ten, 10);
                    assert_values(&found, &truth[..truth.len().min(10)], &what);
                    assert_values(&world.search(query, EXACT, usize::MAX), &truth, &what);
                    let ceiling = truth.get(truth.len() / 2).map_or(0.0, |row| row.1);
                    // If codes cannot order the rows for a query, a scan computes all values, and the
                    // consumer must apply the ceiling.
                    let within = |rows: Vec<(Tid, f64)>| -> Vec<_> {
                        rows.into_iter().filter(|row| TotalF64(row.1) <= TotalF64(ceiling)).collect()
                    };
                    let below = world.search(query, Settings { ceiling, ..EXACT }, usize::MAX);
                    assert_values(&within(below), &within(truth), &format!("{what}: up to {ceiling}"));
                }
            }
        }
    }
}

#[test]
fn at_target_1_hostile_tables_are_searched_exactly() {
    for (dims, rows) in [(1, 40), (2, 40), (3, 60), (65, 60), (130, 40)] {
        exact(dims, rows, dims as u64);
    }
}

/// Runs other seeds for `VECTOR_SEARCH_FUZZ_SECONDS`; a failure names its seed.
#[test]
fn at_target_1_tables_of_any_seed_are_searched_exactly() {
    let Some(seconds) = std::env::var("VECTOR_SEARCH_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()) else {
        return exact(768, 24, 5);
    };
    let start = std::time::Instant::now();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut random = Random(clock.as_nanos() as u64);
    while start.elapsed() < std::time::Duration::from_secs(seconds) {
        let dims = [1, 2, 5, 33, 64, 65, 128, 200, 500, 768][random.below(10)];
        exact(dims, 50 + random.below(200), random.next());
    }
}

/// Most rows of a list are near its centroid, and the centroid is rounded like a query near it.
#[test]
fn near_duplicates_are_found_with_any_number_of_bits() {
    let mut random = Random(5);
    for (dims, noise) in [(64, 1e-4f32), (64, 3e-3), (768, 1e-4), (768, 1e-3), (768, 3e-3)] {
        let mut mixture = Mixture::new(dims, 10, noise, 7);
        let rows: Vec<Vec<f32>> = (0..600).map(|_| mixture.draw()).collect();
        let queries: Vec<&Vec<f32>> = (0..8).map(|_| &rows[random.below(rows.len())]).collect();
        for metric in METRICS {
            for bits in [1, 4, 8] {
                let world = world(&rows, metric, bits, 10, 42);
                let what = format!("{dims} dimensions, noise {noise}, {metric:?}, {bits} bits");
                let mut hits = 0;
                for query in &queries {
                    let truth = world.truth(query, 10, None);
                    let ten = Settings { limit: Some(10), ..EXACT };
                    assert_values(&world.search(query, ten, 10), &truth, &what);
                    let found = world.search(query, DEFAULT, 10);
                    hits += found.iter().filter(|row| row.1 <= truth[9].1).count();
                }
                // The rows of a query are in one list, so only wrong bounds can lose a row.
                assert!(hits * 100 >= queries.len() * 10 * 97, "{what}: {hits} at target .95");
            }
        }
    }
}
