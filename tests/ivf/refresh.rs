//! VACUUM calibrates an index again if many of its rows have changed, using only its codes.

use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate::reconstruct;
use vector_search::ivf::calibrate::vacuum::refresh;
use vector_search::ivf::calibrate::{Queries, recalibrate};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::vacuum::count;
use vector_search::kernel;
use vector_search::value::Metric;

use crate::world::*;

/// A vacuum: it counts the rows, then calibrates the index again if needed.
fn vacuumed(world: &World) -> bool {
    vacuumed_where(world, true)
}

/// A vacuum of an index with the option `recalibrate = wanted`.
fn vacuumed_where(world: &World, wanted: bool) -> bool {
    count(&world.store, &|| Ok(())).unwrap();
    let refreshed = refresh(&world.store, wanted, 7, &Silent).unwrap();
    world.check();
    refreshed
}

fn recall(world: &World, queries: &[Vec<f32>]) -> f64 {
    let hits: usize = queries
        .iter()
        .map(|query| {
            let truth = world.truth(query, 10, None);
            world.search(query, DEFAULT, 10).iter().filter(|row| truth.contains(row)).count()
        })
        .sum();
    hits as f64 / (10 * queries.len()) as f64
}

#[test]
fn lists_that_have_changed_are_measured_anew() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1] {
        let mut old = Mixture::new(32, 60, 0.6, 1);
        let world = World::build(table(&mut old, 6000), &Options { lists: 60, ..options(32, metric) });
        assert!(!vacuumed(&world), "nothing has changed");
        (6000..7000).for_each(|n| world.insert(n, old.draw()));
        assert!(!vacuumed(&world), "a sixth has come");
        // Other rows, which are distributed over the lists in another way.
        let mut new = Mixture::new(32, 5, 2.5, 2);
        (7000..13_000).for_each(|n| world.insert(n, new.draw()));
        let before = world.directory().meta.clone();
        assert!(!vacuumed_where(&world, false), "it is not wanted");
        assert_eq!(world.directory().meta, before);
        assert!(vacuumed(&world));
        assert_ne!(world.directory().meta, before, "more lists are needed now");
        assert!(!vacuumed(&world), "it is new");
        let queries: Vec<Vec<f32>> =
            (0..100).map(|i| if i % 2 == 0 { old.draw() } else { new.draw() }).collect();
        let recall = recall(&world, &queries);
        assert!(recall > 0.93, "{metric:?}: {recall}");
        // As many rows were deleted as inserted, but in other lists.
        let mut elsewhere = Mixture::new(32, 2, 0.3, 3);
        world.delete(|n| n < 5000);
        (20_000..25_000).for_each(|n| world.insert(n, elsewhere.draw()));
        assert!(vacuumed(&world));
        // If rows are replaced by rows of the same kind, the calibration stays.
        world.delete(|n| (20_000..24_000).contains(&n));
        (30_000..34_000).for_each(|n| world.insert(n, elsewhere.draw()));
        assert!(!vacuumed(&world));
    }
}

#[test]
fn what_was_asked_for_is_kept() {
    let mut mixture = Mixture::new(16, 30, 0.5, 3);
    let world = World::build(table(&mut mixture, 2000), &Options { lists: 30, ..options(16, Metric::L2) });
    let asked: Vec<f32> = (0..200).flat_map(|_| mixture.draw()).collect();
    let meta = recalibrate(&world.store, &asked, Queries::Asked, &Silent).unwrap();
    (2000..6000).for_each(|n| world.insert(n, mixture.draw()));
    assert!(!vacuumed(&world), "users have calibrated with queries of their own");
    assert_eq!(world.directory().meta.probes, meta.probes);
    let rows: Vec<f32> = world.table.borrow().values().take(300).flatten().copied().collect();
    recalibrate(&world.store, &rows, Queries::Rows, &Silent).unwrap();
    (6000..8000).for_each(|n| world.insert(n, mixture.draw()));
    assert!(vacuumed(&world), "and have taken that back");
}

#[test]
fn one_bit_says_too_little_and_bit_strings_say_all() {
    let mut mixture = Mixture::new(64, 30, 0.5, 4);
    let one =
        World::build(table(&mut mixture, 2000), &Options { bits: 1, lists: 30, ..options(64, Metric::L2) });
    (2000..4000).for_each(|n| one.insert(n, mixture.draw()));
    assert!(!vacuumed(&one));
    let mut bits = || mixture.draw().iter().map(|x| f32::from(u8::from(*x > 0.0))).collect::<Vec<f32>>();
    let rows = (0..2000).map(|n| (n, bits())).collect();
    let strings = World::build(rows, &Options { lists: 30, ..options(64, Metric::Hamming) });
    (2000..4000).for_each(|n| strings.insert(n, bits()));
    assert!(vacuumed(&strings));
}

#[test]
fn rows_are_made_again_from_their_codes() {
    // The second is of blocks that are larger than a page.
    for (dims, rows, metric) in [(96, 2000, Metric::Cosine), (2300, 150, Metric::L2)] {
        for bits in [4, 8] {
            let mut mixture = Mixture::new(dims, 20, 0.5, 5);
            let world =
                World::build(table(&mut mixture, rows), &Options { bits, lists: 8, ..options(dims, metric) });
            let directory = world.directory();
            let counts: Vec<u32> =
                reconstruct::counted(&world.store, &directory).unwrap().iter().map(|s| s.rows).collect();
            assert_eq!(counts.iter().sum::<u32>() as u64, rows);
            let points =
                reconstruct::rows(&world.store, &directory, &counts, (100, 1), &|| Ok(())).unwrap().points;
            let padded = directory.padded();
            assert!((80..=100).contains(&(points.len() / padded)), "{} points", points.len() / padded);
            let transformed: Vec<Vec<f32>> = world
                .table
                .borrow()
                .values()
                .map(|vector| {
                    let mut point = vec![0.0; padded];
                    let length = kernel::inner_product(vector, vector).sqrt();
                    let unit: Vec<f32> = vector.iter().map(|x| x / length).collect();
                    directory.transform(if metric == Metric::Cosine { &unit } else { vector }, &mut point);
                    point
                })
                .collect();
            for point in points.chunks_exact(padded) {
                let near = |row: &Vec<f32>| kernel::l2_squared(row, point);
                let mut distances: Vec<f32> = transformed.iter().map(near).collect();
                distances.sort_by(f32::total_cmp);
                assert!(
                    distances[0] < 0.1 * distances[1],
                    "{bits} bits: {} and {}",
                    distances[0],
                    distances[1]
                );
            }
        }
    }
}
