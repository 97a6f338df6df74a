//! How many rows are within a distance: the estimate compared with a count.

use vector_search::ivf::build::Options;
use vector_search::ivf::within::share;
use vector_search::value::Metric;

use crate::world::*;

const METRICS: [Metric; 6] =
    [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1, Metric::Hamming, Metric::Jaccard];

/// For some queries and each share of the rows: the estimate for the query, and the estimate for an unknown
/// query.
fn guesses(world: &World, queries: &[Vec<f32>], share_within: f64) -> (Vec<f64>, Vec<f64>) {
    let directory = world.directory();
    let mut guessed = (Vec::new(), Vec::new());
    for query in queries {
        let table = world.table.borrow();
        let mut values: Vec<f64> = table.values().map(|v| distance(world.metric, query, v)).collect();
        values.sort_by(f64::total_cmp);
        let value = values[((values.len() - 1) as f64 * share_within) as usize];
        guessed.0.push(share(&directory, Some(query), value));
        guessed.1.push(share(&directory, None, value));
    }
    (guessed.0, guessed.1)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn guesses_are_near_the_truth() {
    // Dimensions, clusters, their spread, and the largest allowed error factor of an estimate. With many
    // dimensions nearly all distances are the same. If a list holds several clusters, its radius says little.
    let shapes =
        [(3, 1, 1.0, 8.0), (8, 30, 0.3, 3.0), (64, 40, 0.5, 3.0), (64, 1, 1.0, 8.0), (256, 200, 0.8, 30.0)];
    for (dims, clusters, spread, off) in shapes {
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1] {
            let mut mixture = Mixture::new(dims, clusters, spread, 5);
            let options = Options { lists: 50, ..options(dims, metric) };
            let world = World::build(table(&mut mixture, 4000), &options);
            let queries: Vec<_> = (0..15).map(|_| mixture.draw()).collect();
            for truth in [0.001, 0.01, 0.1, 0.5, 0.9] {
                let near = |guess: f64, off: f64| {
                    let guess = guess.max(1.0 / 4000.0);
                    let what = format!("{dims} {clusters} {metric:?}: {guess} of {truth}");
                    assert!(guess < truth * off && guess > truth / off, "{what}");
                };
                let (known, unknown) = guesses(&world, &queries, truth);
                near(median(known), off);
                near(median(unknown), 50.0);
            }
        }
    }
}

#[test]
fn bounds_beyond_all_rows_are_beyond_all_rows() {
    for metric in METRICS {
        let mut mixture = Mixture::new(16, 4, 0.4, 6);
        let bits = |v: Vec<f32>| v.iter().map(|x| f32::from(u8::from(*x > 0.0))).collect();
        let rows = table(&mut mixture, 500);
        let rows = match metric {
            Metric::Hamming | Metric::Jaccard => rows.into_iter().map(|(n, row)| (n, bits(row))).collect(),
            _ => rows,
        };
        let world = World::build(rows, &Options { lists: 5, ..options(16, metric) });
        let query = world.table.borrow()[&7].clone();
        let directory = world.directory();
        for query in [Some(&query[..]), None, Some(&[][..]), Some(&[0.0; 16][..]), Some(&[f32::MAX; 16][..])]
        {
            let share = |value| share(&directory, query, value);
            assert_eq!(share(f64::INFINITY), 1.0);
            assert_eq!(share(f64::NEG_INFINITY), 0.0);
            for value in [-1.0, 0.0, 0.1, 3.0, 1e300, -1e300] {
                assert!((0.0..=1.0).contains(&share(value)), "{value} {}", share(value));
            }
            assert!(share(0.1) <= share(3.0));
        }
    }
}
