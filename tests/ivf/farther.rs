//! Queries that are farther from the rows than rows are from each other.

use vector_search::ivf::build::Options;
use vector_search::ivf::search::{Search, Settings};
use vector_search::page::meta::{Farther, META_BLOCK, Onward};
use vector_search::page::{Meta, Root, Store};
use vector_search::value::Metric;

use crate::random::Random;
use crate::world::*;

type Vectors = Vec<Vec<f32>>;

/// An index, queries like its rows, and others.
struct Case {
    name: String,
    world: World,
    ordinary: Vectors,
    far: Vectors,
}

const ORDINARY: usize = 1000;
const QUERIES: usize = 300;
const TARGETS: [f32; 5] = [0.8, 0.9, 0.95, 0.98, 0.99];

/// A random point, uniform in the bounding box of the rows.
fn from_box(rows: &Table, random: &mut Random) -> Vec<f32> {
    let dims = rows[&0].len();
    let range = |d: usize| {
        let values = rows.values().map(|row| row[d]);
        (values.clone().fold(f32::INFINITY, f32::min), values.fold(f32::NEG_INFINITY, f32::max))
    };
    (0..dims).map(range).map(|(low, high)| low + (high - low) * random.unit()).collect()
}

fn uniform(dims: usize, random: &mut Random) -> Vec<f32> {
    (0..dims).map(|_| random.unit()).collect()
}

/// Each row is the product of two uniform vectors; queries are uniform.
fn products() -> Case {
    let mut random = Random(1);
    let product = |random: &mut Random| -> Vec<f32> {
        uniform(3, random).iter().zip(uniform(3, random)).map(|(a, b)| a * b).collect()
    };
    let rows: Table = (0..10_000).map(|n| (n, product(&mut random))).collect();
    let ordinary = (0..ORDINARY).map(|_| product(&mut random)).collect();
    let far = (0..QUERIES).map(|_| uniform(3, &mut random)).collect();
    Case { name: "products".into(), world: World::build(rows, &options(3, Metric::L2)), ordinary, far }
}

/// Rows are in clusters; queries are uniform in their bounding box.
fn clusters(dims: usize, metric: Metric) -> Case {
    let mut mixture = Mixture::new(dims, 60, 0.3, dims as u64);
    let rows = table(&mut mixture, 15_000);
    let ordinary = (0..ORDINARY).map(|_| mixture.draw()).collect();
    let mut random = Random(9);
    let far = (0..QUERIES).map(|_| from_box(&rows, &mut random)).collect();
    let name = format!("{dims} dimensions, {metric:?}");
    Case { name, world: World::build(rows, &options(dims, metric)), ordinary, far }
}

/// Rows are in a narrow part of the space, queries in random directions, like vectors of another model.
fn directions(metric: Metric) -> Case {
    let dims = 96;
    let mut mixture = Mixture::new(dims, 300, 0.5, 4);
    let mut draw = || -> Vec<f32> {
        let row: Vec<f32> =
            mixture.draw().iter().enumerate().map(|(d, x)| x / (1.0 + d as f32 / 8.0) + 0.1).collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        // For inner product, the longest rows would otherwise be neighbours of all queries.
        row.iter().map(|x| x / if metric == Metric::InnerProduct { length } else { 1.0 }).collect()
    };
    let rows: Table = (0..12_000).map(|n| (n, draw())).collect();
    let ordinary = (0..ORDINARY).map(|_| draw()).collect();
    let mut random = Random(3);
    let far = (0..QUERIES).map(|_| (0..dims).map(|_| 0.4 * random.normal()).collect()).collect();
    let name = format!("directions, {metric:?}");
    Case { name, world: World::build(rows, &options(dims, metric)), ordinary, far }
}

/// Queries, each with the distance of its tenth neighbour.
type Asked<'a> = Vec<(&'a [f32], f64)>;

fn asked<'a>(world: &World, queries: &'a [Vec<f32>]) -> Asked<'a> {
    queries.iter().map(|query| (&query[..], world.truth(query, 10, None)[9].1)).collect()
}

/// Recall of the ten nearest rows, and codes and lists read for a query.
fn measure(world: &World, queries: &Asked<'_>, settings: Settings) -> (f64, f64, f64) {
    let mut search = Search::new(world.directory(), settings);
    let mut found = 0;
    for (query, farthest) in queries {
        search.start(settings, Some(*query));
        let mut heap = world.heap(query);
        let rows = std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(10);
        found += rows.filter(|row| row.1 <= *farthest).count();
    }
    let (queries, stats) = (queries.len() as f64, search.stats());
    (found as f64 / (10.0 * queries), stats.codes as f64 / queries, stats.lists as f64 / queries)
}

/// Makes the index one of an earlier version, without numbers for far queries.
fn forget(world: &World) {
    let old =
        Meta { farther: Farther::default(), onward: Onward::default(), ..world.directory().meta.clone() };
    let written = world.store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        Root::of(old).write(change.page_mut(handle));
        Ok(())
    });
    written.unwrap();
}

/// Queries far from the rows reach the target, and others read hardly more than without the numbers for far
/// queries.
fn hold(case: &Case) {
    let Case { name, world, ordinary, far } = case;
    let (ordinary, far) = (&asked(world, ordinary), &asked(world, far));
    assert!(world.directory().meta.farther.is_known(), "{name}");
    let settings = TARGETS.map(|recall_target| Settings { recall_target, ..DEFAULT });
    let with = settings.map(|settings| (measure(world, ordinary, settings), measure(world, far, settings)));
    forget(world);
    for (settings, (new, new_far)) in settings.into_iter().zip(with) {
        let (target, old) = (settings.recall_target, measure(world, ordinary, settings));
        println!(
            "{name} {target}: ordinary {old:.3?} -> {new:.3?} ({:.3}), far {new_far:.3?}",
            new.1 / old.1
        );
        assert!(new_far.0 >= f64::from(target) - 0.02, "{name}: recall {} of {target}", new_far.0);
        assert!(new.1 <= 1.03 * old.1, "{name}: {} codes of ordinary queries, {} before", new.1, old.1);
        assert!(new.0 >= old.0, "{name}: recall {} of ordinary queries, {} before", new.0, old.0);
    }
}

/// In an index with many lists, far queries read at most sixteen times the usual number, or 256.
#[test]
fn far_queries_read_a_bounded_number_of_lists() {
    let case = directions(Metric::L2);
    let rows = case.world.table.borrow().clone();
    let world = World::build(rows, &Options { lists: 2000, ..options(96, Metric::L2) });
    let settings = Settings { recall_target: 0.95, ..DEFAULT };
    let usual = measure(&world, &asked(&world, &case.ordinary), settings).2;
    let lists = asked(&world, &case.far).into_iter().map(|query| measure(&world, &vec![query], settings).2);
    let most = lists.fold(0.0, f64::max);
    println!("usually {usual}, at most {most}");
    assert!(16.0 * usual < 256.0 && most == 256.0, "{most} lists");
}

/// Rows in many more clusters than there are lists: between the clusters of a list is its centroid.
pub fn many_clusters(
    dims: usize,
    rows: u64,
    clusters: usize,
) -> (Table, Vectors, [(&'static str, Vectors); 4]) {
    let mut random = Random(7 + dims as u64);
    let mut normal = |sd: f32| -> Vec<f32> { (0..dims).map(|_| sd * random.normal()).collect() };
    let centres: Vectors = (0..clusters).map(|_| normal(3.0)).collect();
    let mut random = Random(11);
    let mut draw = || -> Vec<f32> {
        let centre = &centres[random.below(clusters)];
        centre.iter().map(|x| x + random.normal()).collect()
    };
    let rows: Table = (0..rows).map(|n| (n, draw())).collect();
    let ordinary = (0..ORDINARY).map(|_| draw()).collect();
    let mut random = Random(13);
    let mut queries =
        |of: &dyn Fn(&mut Random) -> Vec<f32>| -> Vectors { (0..60).map(|_| of(&mut random)).collect() };
    let row = |random: &mut Random| rows[&(random.below(rows.len()) as u64)].clone();
    let mean = |(a, b): (f32, f32)| (a + b) / 2.0;
    let far = [
        ("at the mean", queries(&|random| (0..dims).map(|_| 0.5 * random.normal()).collect())),
        ("as clusters lie", queries(&|random| (0..dims).map(|_| 3.0 * random.normal()).collect())),
        ("half way", queries(&|random| row(random).into_iter().zip(row(random)).map(mean).collect())),
        ("from the box", queries(&|random| (0..dims).map(|_| 15.0 * random.unit() - 7.5).collect())),
    ];
    (rows, ordinary, far)
}

/// Such a query is near a centroid and far from all rows. Ordinary queries find about the same and read
/// hardly more.
#[test]
fn queries_between_the_clusters_of_a_list() {
    for dims in [16, 32] {
        let (rows, ordinary, far) = many_clusters(dims, 12_000, 400);
        let world = World::build(rows, &options(dims, Metric::L2));
        let ordinary = asked(&world, &ordinary);
        let far = far.each_ref().map(|(kind, queries)| (*kind, asked(&world, queries)));
        let settings = [0.95, 0.99].map(|recall_target| Settings { recall_target, ..DEFAULT });
        let all = |settings| {
            (
                measure(&world, &ordinary, settings),
                far.each_ref().map(|(_, far)| measure(&world, far, settings)),
            )
        };
        let with = settings.map(|settings| (settings, all(settings)));
        forget(&world);
        for (settings, (new, found)) in with {
            let (target, (old, before)) = (settings.recall_target, all(settings));
            println!("{dims} dimensions, {target}: ordinary {old:.3?} -> {new:.3?} ({:.3})", new.1 / old.1);
            for (((kind, _), before), found) in far.iter().zip(before).zip(found) {
                println!("    {kind}: {before:.3?} -> {found:.3?}");
                assert!(found.0 >= f64::from(target) - 0.02, "{kind}: recall {} of {target}", found.0);
                assert!(before.0 < f64::from(target) - 0.1, "{kind}: recall {} without", before.0);
            }
            assert!(new.1 <= 1.03 * old.1, "{} codes of ordinary queries, {} before", new.1, old.1);
            // The share is chosen with one standard error, of 400 queries.
            assert!(new.0 >= old.0 - 0.002, "recall {} of ordinary queries, {} before", new.0, old.0);
        }
    }
}

#[test]
fn uniform_queries_over_products() {
    hold(&products());
}

#[test]
fn uniform_queries_over_clusters() {
    for dims in [3, 8, 32] {
        hold(&clusters(dims, Metric::L2));
    }
}

#[test]
fn uniform_queries_over_clusters_by_cosine() {
    hold(&clusters(32, Metric::Cosine));
}

#[test]
fn random_directions() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1] {
        hold(&directions(metric));
    }
}

#[test]
fn rows_of_few_values_and_strings_of_bits() {
    let mut random = Random(6);
    let equal = (0..2000).map(|n| (n, vec![(n % 4) as f32; 8])).collect();
    let bits = (0..2000).map(|n| (n, (0..64).map(|_| (random.next() & 1) as f32).collect())).collect();
    for (rows, dims, metric) in [(equal, 8, Metric::L2), (bits, 64, Metric::Hamming)] {
        let world = World::build(rows, &Options { lists: 8, ..options(dims, metric) });
        assert!(metric == Metric::L2 || !world.directory().meta.farther.is_known(), "strings of bits");
        let far = vec![1.0; dims];
        assert_same(&world.search(&far, EXACT, 100), &world.truth(&far, 100, None), "far");
    }
}
