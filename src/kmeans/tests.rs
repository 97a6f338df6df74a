//! Tests of k-means and assignment.

use super::{Assigner, parallel, train};
use crate::error::{Error, Kind, Result};
use crate::random::SplitMix64;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::Cell;
use std::time::{Duration, Instant};

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn free(_: u64, _: u64) -> Result<()> {
    Ok(())
}

fn gauss(random: &mut SplitMix64) -> f32 {
    let sum: f64 = (0..6).map(|_| random.unit()).sum();
    ((sum - 3.0) * std::f64::consts::SQRT_2) as f32
}

/// `n` rows about `blobs` centers of spread `apart`; the centers too.
fn mixture(n: usize, dims: usize, blobs: usize, apart: f32, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut random = SplitMix64(seed);
    let centers: Vec<f32> = (0..blobs * dims).map(|_| apart * gauss(&mut random)).collect();
    let mut rows = Vec::with_capacity(n * dims);
    for _ in 0..n {
        let blob = random.below(blobs);
        rows.extend(centers[blob * dims..][..dims].iter().map(|c| c + gauss(&mut random)));
    }
    (rows, centers)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum()
}

fn brute(row: &[f32], centroids: &[f32]) -> (u32, f64) {
    let mut best = (0, f64::INFINITY);
    for (i, c) in centroids.chunks_exact(row.len()).enumerate() {
        let d = distance(row, c);
        if d < best.1 {
            best = (i as u32, d);
        }
    }
    best
}

fn inertia(rows: &[f32], dims: usize, centroids: &[f32]) -> f64 {
    rows.chunks_exact(dims).map(|row| brute(row, centroids).1).sum()
}

#[test]
fn recovers_blobs() {
    for (dims, blobs, seed) in [(8, 20, 1), (200, 12, 2), (2, 3, 3)] {
        let (rows, centers) = mixture(1500, dims, blobs, 40.0, seed);
        let means = train(&rows, dims, blobs, 12, seed, &pool(2), &free).unwrap();
        for center in centers.chunks_exact(dims) {
            let (_, near) = brute(center, &means);
            assert!(near < 0.3 * dims as f64, "{dims} dims: nearest mean of a blob at {near}");
        }
    }
}

#[test]
fn inertia_is_that_of_plain_lloyd() {
    for (dims, n, k) in [(16, 1500, 20), (208, 1100, 8)] {
        let (rows, _) = mixture(n, dims, 40, 1.0, 7);
        let mut random = SplitMix64(3);
        let mut plain = Vec::new();
        let mut seeds: Vec<usize> = (0..n).collect();
        random.choose(&mut seeds, k);
        seeds[..k].iter().for_each(|i| plain.extend_from_slice(&rows[i * dims..][..dims]));
        for _ in 0..10 {
            let mut sums = vec![0.0f64; k * dims];
            let mut counts = vec![0.0f64; k];
            for row in rows.chunks_exact(dims) {
                let list = brute(row, &plain).0 as usize;
                counts[list] += 1.0;
                sums[list * dims..][..dims].iter_mut().zip(row).for_each(|(s, x)| *s += f64::from(*x));
            }
            for (i, x) in plain.iter_mut().enumerate().filter(|(i, _)| counts[i / dims] > 0.0) {
                *x = (sums[i] / counts[i / dims]) as f32;
            }
        }
        let ours = train(&rows, dims, k, 10, 5, &pool(2), &free).unwrap();
        let (ours, plain) = (inertia(&rows, dims, &ours), inertia(&rows, dims, &plain));
        assert!(ours < 1.03 * plain, "{dims} dims: {ours} against {plain}");
    }
}

#[test]
fn groups_of_centroids_cost_little_inertia() {
    // 900 lists are searched by groups, with 20 rows for each of 700 blobs many lists share a blob.
    for (dims, k) in [(24, 900), (200, 800)] {
        let (rows, _) = mixture(15_000, dims, 700, 0.7, 21);
        let grouped = train(&rows, dims, k, 10, 5, &pool(2), &free).unwrap();
        let mut near = vec![0; rows.len() / dims];
        Assigner::new(&grouped, dims).unwrap().assign(&rows, &mut near, &pool(2), &free).unwrap();
        let part = &rows[..1000 * dims];
        let exact = inertia(part, dims, &grouped);
        let assigned: f64 = part
            .chunks_exact(dims)
            .zip(&near)
            .map(|(row, list)| distance(row, &grouped[*list as usize * dims..][..dims]))
            .sum();
        assert!(assigned < 1.01 * exact, "{dims} dims: assigned at {assigned}, nearest at {exact}");
        // Lists of the rows' own blobs, which no centroid can beat by much.
        let few = train(&rows, dims, 700, 10, 5, &pool(2), &free).unwrap();
        let few = inertia(part, dims, &few);
        assert!(exact < few, "{dims} dims: {k} lists {exact}, 700 lists {few}");
    }
}

#[test]
fn no_list_is_much_wider_than_the_mean() {
    // Half of the rows are in three dense spots; the others are spread.
    let (dims, k, n) = (64, 100, 20_000);
    for binary in [false, true] {
        let (mut rows, _) = mixture(n, dims, 300, 3.0, 9);
        for (i, row) in rows.chunks_exact_mut(dims).enumerate().take(n / 2) {
            row.iter_mut()
                .enumerate()
                .for_each(|(d, x)| *x = 4.0 * ((i % 3 + d) % 2) as f32 + 0.1 * *x - 2.0);
        }
        if binary {
            let mut random = SplitMix64(4);
            // A bit in eight differs, so that dense rows differ.
            rows.iter_mut().for_each(|x| *x = f32::from((*x > 0.0) != (random.below(8) == 0)));
        }
        let means = train(&rows, dims, k, 10, 5, &pool(2), &free).unwrap();
        let mut near = vec![0; n];
        Assigner::new(&means, dims).unwrap().assign(&rows, &mut near, &pool(2), &free).unwrap();
        let mut sizes = vec![0; k];
        near.iter().for_each(|list| sizes[*list as usize] += 1);
        let largest = *sizes.iter().max().unwrap() as f64 * k as f64 / n as f64;
        assert!(largest < 3.0, "binary {binary}: the largest list has {largest} times the mean");
    }
}

#[test]
fn equal_rows_stay_in_one_list() {
    let rows: Vec<f32> =
        (0..4000 * 4).map(|i| if i / 4 < 3000 { 1.0 } else { (i * 7 % 1000) as f32 }).collect();
    let means = train(&rows, 4, 40, 10, 5, &pool(2), &free).unwrap();
    assert!(means.iter().all(|x| x.is_finite()));
    assert!(inertia(&rows, 4, &means) < inertia(&rows, 4, &means[..20 * 4]));
}

#[test]
fn equal_centroids_are_one_group() {
    let (rows, _) = mixture(2000, 8, 3, 1.0, 2);
    let mut centroids = vec![1.0; 1000 * 8];
    centroids[999 * 8..].copy_from_slice(&rows[..8]);
    let mut near = vec![0; 2000];
    Assigner::new(&centroids, 8).unwrap().assign(&rows, &mut near, &pool(2), &free).unwrap();
    assert_eq!(near[0], 999);
    assert!(near.iter().all(|list| *list < 1000));
    // With rows that are no numbers.
    let bad = vec![f32::NAN; 1500 * 8];
    Assigner::new(&centroids, 8).unwrap().assign(&bad, &mut near[..1500], &pool(2), &free).unwrap();
    assert!(near.iter().all(|list| *list < 1000));
}

/// Share of rows whose assignment is the true nearest centroid.
fn agreement(rows: &[f32], dims: usize, centroids: &[f32]) -> f64 {
    let mut lists = vec![0; rows.len() / dims];
    Assigner::new(centroids, dims).unwrap().assign(rows, &mut lists, &pool(2), &free).unwrap();
    let right = |(row, list): (&[f32], &u32)| brute(row, centroids).0 == *list;
    rows.chunks_exact(dims).zip(&lists).filter(|x| right((x.0, x.1))).count() as f64 / lists.len() as f64
}

#[test]
fn assigns_like_brute_force() {
    // Direct, full-dimension and reduced plans; with a large common offset too.
    for (n, dims, k, offset, decay) in [
        (50, 5, 9, 0.0, 0.0),
        (1501, 40, 100, 0.0, 0.0),
        (1000, 40, 150, 1000.0, 0.0),
        (700, 256, 200, 0.0, 0.0),
        (1000, 256, 200, 10.0, 0.02f32),
    ] {
        let (mut rows, mut centers) = mixture(n, dims, k, 0.5, 11);
        for vector in rows.chunks_exact_mut(dims).chain(centers.chunks_exact_mut(dims)) {
            for (d, x) in vector.iter_mut().enumerate() {
                *x = *x * (-decay * d as f32).exp() + offset;
            }
        }
        let share = agreement(&rows, dims, &centers);
        assert!(share >= 0.995, "{n} × {dims}, {k} lists: {share}");
    }
}

#[test]
fn edge_cases() {
    let pool = pool(1);
    // No usable rows.
    assert_eq!(train(&[], 3, 2, 5, 0, &pool, &free).unwrap(), [0.0; 6]);
    let bad = [f32::NAN, 1.0, f32::INFINITY, 2.0, 1e19, 3.0];
    assert_eq!(train(&bad, 2, 2, 5, 0, &pool, &free).unwrap(), [0.0; 4]);
    // Fewer rows than lists.
    let few = [1.0, 2.0, 3.0, 4.0, f32::NAN, 0.0];
    assert_eq!(train(&few, 2, 3, 5, 0, &pool, &free).unwrap(), [1.0, 2.0, 3.0, 4.0, 1.0, 2.0]);
    // Equal rows; fewer distinct rows than lists.
    assert_eq!(train(&[0.1; 400], 4, 7, 5, 0, &pool, &free).unwrap(), [0.1; 28]);
    let two: Vec<f32> = (0..90).map(|i| (i % 2) as f32).collect();
    let means = train(&two, 1, 8, 5, 0, &pool, &free).unwrap();
    assert!(means.len() == 8 && means.contains(&0.0) && means.contains(&1.0));
    // No rounds, no lists.
    assert_eq!(train(&two, 1, 3, 0, 9, &pool, &free).unwrap().len(), 3);
    assert!(train(&two, 1, 0, 5, 0, &pool, &free).unwrap().is_empty());
    // Many dimensions, huge and tiny values, bad rows in between.
    for size in [1e18f32, 1e-18, 1.0] {
        let (mut rows, _) = mixture(60, 16_000, 3, 0.1, 4);
        rows.iter_mut().for_each(|x| *x = (*x * 0.2 * size).clamp(-size, size));
        rows[5] = f32::NAN;
        rows[40_000] = f32::NEG_INFINITY;
        let means = train(&rows, 16_000, 4, 3, 1, &pool, &free).unwrap();
        assert!(means.len() == 64_000 && means.iter().all(|x| x.is_finite()));
        let mut lists = vec![9; 60];
        Assigner::new(&means, 16_000).unwrap().assign(&rows, &mut lists, &pool, &free).unwrap();
        assert!(lists.iter().all(|list| *list < 4));
    }
}

#[test]
fn bad_rows_do_not_disturb_others() {
    let (mut rows, centers) = mixture(1200, 40, 100, 5.0, 2);
    let mut want = vec![0; 1200];
    let assigner = Assigner::new(&centers, 40).unwrap();
    assigner.assign(&rows, &mut want, &pool(1), &free).unwrap();
    for (i, x) in [(3, f32::NAN), (400, f32::INFINITY), (801, -f32::MAX)] {
        rows[i * 40 + 7] = x;
        want[i] = u32::MAX;
    }
    let mut lists = vec![0; 1200];
    assigner.assign(&rows, &mut lists, &pool(2), &free).unwrap();
    assert!(lists.iter().zip(&want).all(|(a, b)| *b == u32::MAX && *a < 100 || a == b));
}

#[test]
fn threads_do_not_change_the_result() {
    let (rows, _) = mixture(1300, 200, 30, 1.0, 21);
    let one = train(&rows, 200, 25, 6, 77, &pool(1), &free).unwrap();
    let two = train(&rows, 200, 25, 6, 77, &pool(2), &free).unwrap();
    assert!(one.iter().zip(&two).all(|(a, b)| a.to_bits() == b.to_bits()));
    let other = train(&rows, 200, 25, 6, 78, &pool(2), &free).unwrap();
    assert!(one != other);
}

#[test]
fn step_is_called_and_cancels() {
    let (rows, _) = mixture(3000, 64, 30, 1.0, 5);
    let (calls, longest, last) = (Cell::new(0), Cell::new(Duration::ZERO), Cell::new(Instant::now()));
    let thread = std::thread::current().id();
    let watch = |done: u64, total: u64| {
        assert!(done <= total && std::thread::current().id() == thread);
        calls.set(calls.get() + 1);
        longest.set(longest.get().max(last.replace(Instant::now()).elapsed()));
        Ok(())
    };
    let means = train(&rows, 64, 40, 5, 1, &pool(2), &watch).unwrap();
    let mut lists = vec![0; 3000];
    Assigner::new(&means, 64).unwrap().assign(&rows, &mut lists, &pool(2), &watch).unwrap();
    assert!(calls.get() > 20 && longest.get() < Duration::from_secs(2), "{calls:?} {longest:?}");
    // An error at any call ends the work there.
    for at in [0, 1, 5, calls.get() / 2] {
        let calls = Cell::new(0);
        let stop = |_, _| {
            calls.set(calls.get() + 1);
            if calls.get() > at { Err(Error::new(Kind::Internal, "stop")) } else { Ok(()) }
        };
        let error = train(&rows, 64, 40, 5, 1, &pool(2), &stop).unwrap_err();
        assert!(error.message == "stop" && calls.get() == at + 1);
    }
    let stop = |_, _| Err(Error::new(Kind::Internal, "stop"));
    assert!(Assigner::new(&means, 64).unwrap().assign(&rows, &mut lists, &pool(2), &stop).is_err());
}

/// Times on real data: `KMEANS_NPY` names an int8 matrix of 768 columns in .npy form (128-byte header).
#[test]
#[ignore = "needs a data file and a release build"]
fn times() {
    const DIMS: usize = 768;
    let bytes = std::fs::read(std::env::var("KMEANS_NPY").unwrap()).unwrap();
    let rows: Vec<f32> = bytes[128..]
        .chunks_exact(DIMS)
        .flat_map(|row| {
            let norm = row.iter().map(|x| f32::from(*x as i8).powi(2)).sum::<f32>().sqrt();
            row.iter().map(move |x| f32::from(*x as i8) * std::f32::consts::SQRT_2 / norm)
        })
        .collect();
    let n = rows.len() / DIMS;
    let k: usize = std::env::var("KMEANS_K").map_or(470, |k| k.parse().unwrap());
    let sample: Vec<f32> =
        super::train::span(n, n.min(64 * k)).flat_map(|i| &rows[i * DIMS..][..DIMS]).copied().collect();
    let (last, longest) = (Cell::new(Instant::now()), Cell::new(Duration::ZERO));
    let step = |_, _| {
        longest.set(longest.get().max(last.replace(Instant::now()).elapsed()));
        Ok(())
    };
    let pool = pool(2);
    let start = Instant::now();
    last.set(start);
    let means = train(&sample, DIMS, k, 10, 1, &pool, &step).unwrap();
    let trained = start.elapsed();
    let mut lists = vec![0; n];
    let start = Instant::now();
    Assigner::new(&means, DIMS).unwrap().assign(&rows, &mut lists, &pool, &step).unwrap();
    let assigned = start.elapsed();
    let share = agreement(&rows[..4000 * DIMS], DIMS, &means);
    let mean = inertia(&rows[..4000 * DIMS], DIMS, &means) / 4000.0;
    println!("train {trained:?}, assign {assigned:?}, longest wait {longest:?}");
    println!("agreement {share}, mean squared distance {mean}");
}

/// Rows of zeros and ones around `groups` patterns, and the pattern of each row.
fn binary_rows(random: &mut SplitMix64, dims: usize, groups: usize, n: usize) -> (Vec<f32>, Vec<usize>) {
    let patterns: Vec<f32> = (0..groups * dims).map(|_| random.below(2) as f32).collect();
    let mut rows = Vec::new();
    let mut of = Vec::new();
    for i in 0..n {
        let group = i % groups;
        of.push(group);
        let flip = |x: &f32| if random.below(8) == 0 { 1.0 - x } else { *x };
        rows.extend(patterns[group * dims..][..dims].iter().map(flip).collect::<Vec<_>>());
    }
    (rows, of)
}

#[test]
fn bits_are_assigned_as_by_distances() {
    let mut random = SplitMix64(5);
    for dims in [1, 5, 64, 130, 768] {
        let (rows, _) = binary_rows(&mut random, dims, 20, 301);
        let centroids: Vec<f32> = (0..40 * dims).map(|_| random.unit() as f32).collect();
        let mut lists = vec![0; 301];
        let assigner = Assigner::new(&centroids, dims).unwrap();
        // Enough rows that tables are used for any number of dimensions; less work is done directly.
        let many = rows.repeat(400usize.div_ceil(dims));
        let mut all = vec![0; many.len() / dims];
        assigner.assign(&many, &mut all, &pool(2), &free).unwrap();
        lists.copy_from_slice(&all[..301]);
        for (row, list) in rows.chunks_exact(dims).zip(lists) {
            let to = |list: usize| distance(row, &centroids[list * dims..][..dims]);
            let least = (0..40).map(to).fold(f64::INFINITY, f64::min);
            let slack = 0.02 * (dims as f64).sqrt() + 0.02;
            assert!(to(list as usize) <= least + slack, "{dims}: {} for {least}", to(list as usize));
        }
    }
}

#[test]
fn groups_of_bits_are_found() {
    let mut random = SplitMix64(6);
    let (rows, of) = binary_rows(&mut random, 200, 30, 3000);
    let centroids = train(&rows, 200, 30, 10, 7, &pool(2), &free).unwrap();
    let mut lists = vec![0; 3000];
    Assigner::new(&centroids, 200).unwrap().assign(&rows, &mut lists, &pool(2), &free).unwrap();
    // A list is of one pattern, and nearly every pattern has a list.
    let mut pattern = [None; 30];
    let mut strangers = 0;
    for (list, group) in lists.iter().zip(&of) {
        strangers += usize::from(*pattern[*list as usize].get_or_insert(*group) != *group);
    }
    assert!(strangers <= 200, "{strangers} rows in lists of other patterns");
    assert_eq!(train(&rows, 200, 30, 10, 7, &pool(2), &free).unwrap(), centroids, "the same again");
    assert!(centroids.iter().all(|x| (0.0..=1.0).contains(x)));
}

#[test]
fn a_task_runs_beside_its_caller() {
    let (pool, looks) = (pool(1), Cell::new(0));
    let (go, may_go) = std::sync::mpsc::channel();
    let task = parallel::start(&pool, move |wanted| {
        may_go.recv().unwrap();
        wanted.check().map(|()| 7)
    });
    // The task waits for its caller, whose callback runs while it waits for the task.
    let result = task.wait(&|| {
        looks.set(looks.get() + 1);
        let _ = go.send(());
        Ok(())
    });
    assert_eq!((result.unwrap(), looks.get() > 0), (7, true));
}

#[test]
fn a_task_learns_that_its_caller_has_failed() {
    let pool = pool(1);
    let (stopped, has_stopped) = std::sync::mpsc::channel();
    let task = parallel::start(&pool, move |wanted| {
        while wanted.check().is_ok() {
            std::thread::yield_now();
        }
        stopped.send(()).unwrap();
        Ok(())
    });
    assert!(task.wait(&|| Err(Error::new(Kind::Internal, "cancelled"))).is_err());
    has_stopped.recv().unwrap();
}

#[test]
fn a_panic_of_a_task_is_its_callers() {
    let pool = pool(1);
    let task = parallel::start(&pool, |_| -> Result<()> { panic!("in the pool") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.wait(&|| Ok(()))));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"in the pool"));
}
