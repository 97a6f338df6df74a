//! One-bit codes of a leading space.

use crate::random::Random;
use crate::world::{DEFAULT, Table, World, options};
use vector_search::ivf::build::Options;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::search::Settings;
use vector_search::value::Metric;

const DIMS: usize = 256;

/// Rows near a space of a few dimensions, with `noise` in all others.
struct Flat {
    axes: Vec<Vec<f32>>,
    noise: f32,
    random: Random,
}

impl Flat {
    fn new(inside: usize, noise: f32) -> Self {
        let mut random = Random(3);
        let axes = (0..inside).map(|_| (0..DIMS).map(|_| random.normal()).collect()).collect();
        Self { axes, noise, random }
    }

    fn draw(&mut self) -> Vec<f32> {
        let mut row: Vec<f32> = (0..DIMS).map(|_| self.noise * self.random.normal()).collect();
        for axis in &self.axes {
            let along = self.random.normal();
            row.iter_mut().zip(axis).for_each(|(x, a)| *x += along * a);
        }
        row
    }

    fn table(&mut self, rows: u64) -> Table {
        (0..rows).map(|n| (n, self.draw())).collect()
    }
}

fn code_dims(world: &World) -> u32 {
    Directory::load(&world.store).unwrap().meta.leading.dims
}

#[test]
fn users_name_the_dimensions_of_a_leading_space() {
    let with = |lists, bits, code_dims| Options { lists, bits, code_dims, ..options(DIMS, Metric::L2) };
    let rows = Flat::new(40, 1.0).table(6000);
    assert_eq!(code_dims_of(&rows, &with(30, 4, 0)), 0);
    // In steps of 64; as many as the vectors have are all.
    assert_eq!(code_dims_of(&rows, &with(30, 4, 65)), 128);
    assert_eq!(code_dims_of(&rows, &with(30, 8, 64)), 64);
    assert_eq!(code_dims_of(&rows, &with(30, 4, 256)), 0);
    // Not with a single list, nor with one bit, nor with few rows, nor with equal ones.
    assert_eq!(code_dims_of(&rows, &with(1, 4, 128)), 0);
    assert_eq!(code_dims_of(&rows, &with(30, 1, 128)), 0);
    assert_eq!(code_dims_of(&Flat::new(40, 1.0).table(300), &with(10, 4, 128)), 0);
    let equal = (0..6000).map(|n| (n, rows[&(n % 5)].clone())).collect();
    assert_eq!(code_dims_of(&equal, &with(30, 4, 64)), 0);
    // Rows whose squares overflow.
    let huge = rows.iter().map(|(n, row)| (*n, row.iter().map(|x| 1e30 * x).collect())).collect();
    assert_eq!(code_dims_of(&huge, &with(30, 4, 64)), 0);
    let large = rows.iter().map(|(n, row)| (*n, row.iter().map(|x| 1e15 * x).collect())).collect();
    assert_eq!(code_dims_of(&large, &with(30, 4, 64)), 64);
}

fn code_dims_of(rows: &Table, options: &Options) -> u32 {
    code_dims(&World::build(rows.clone(), options))
}

#[test]
fn recall_holds_and_exact_scans_are_exact() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1] {
        for bits in [4, 8] {
            let mut rows = Flat::new(40, 0.7);
            let options = Options { lists: 40, bits, code_dims: 128, ..options(DIMS, metric) };
            let world = World::build(rows.table(8000), &options);
            assert!(code_dims(&world) > 0, "{metric:?}");
            (8000..8500).for_each(|n| world.insert(n, rows.draw()));
            world.delete(|n| n % 5 == 0);
            for renewed in [false, true] {
                let what = format!("{metric:?}, {bits} bits, renewed: {renewed}");
                if renewed {
                    crate::renew::renewed(&world, &world.store, &options, true).unwrap();
                    assert!(code_dims(&world) > 0, "{what}");
                }
                world.check();
                let queries: Vec<_> = (0..40).map(|_| rows.draw()).collect();
                let recall = |target| recall(&world, &queries, target);
                assert_eq!(recall(1.0), 1.0, "{what}");
                assert!(recall(0.95) > 0.9, "{what}: {}", recall(0.95));
            }
        }
    }
}

/// The share of the ten nearest rows that is found. What is found is in the right order.
fn recall(world: &World, queries: &[Vec<f32>], target: f32) -> f64 {
    let settings = Settings { recall_target: target, ..DEFAULT };
    let found = |query: &Vec<f32>| {
        let rows = world.search(query, settings, 10);
        assert!(rows.is_sorted_by(|a, b| a.1 <= b.1));
        let farthest = world.truth(query, 10, None)[9].1;
        rows.iter().filter(|row| row.1 <= farthest).count()
    };
    queries.iter().map(found).sum::<usize>() as f64 / (10 * queries.len()) as f64
}
