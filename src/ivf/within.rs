//! Estimates how many rows are within a distance, from the centroids and radii in the directory.
//!
//! It assumes that a list's rows are at the list's radius around its centroid, spread over as many directions
//! as the centroids are. This tells whether a hundredth or half of the rows are within a threshold, which is
//! what the planner needs to know. If the query is not known, it is assumed to be like a row.

use super::code::to_point;
use super::directory::Directory;
use super::spread::{Profile, Spread};
use crate::kernel;
use crate::quant::Bytes;
use crate::value::Metric;

/// At most this many bytes of centroids are compared with a query, which takes 50 µs. In a larger index every
/// n-th list is used.
const MOST_BYTES: usize = 1 << 20;
/// If the query is not known, the rows of `QUERIES` lists stand for it, and are compared with `LISTS` lists.
/// This is done once for a directory. The estimate is right within a factor of three at best.
const QUERIES: usize = 8;
const LISTS: usize = 256;
/// With fewer pairs of lists than this, the number of directions over which rows are spread cannot be
/// computed; then the second constant is used. Embeddings have more directions: shares of .0005 are estimated
/// 27 to 90 times too large (10,000 rows of three models of 256 to 768 dimensions), and 120 to 230 times with
/// 16 directions. With 64 it is 2 to 17 times, but rows in clusters have fewer.
const LEAST_PAIRS: f64 = 30.0;
const USUAL_DIRECTIONS: f32 = 32.0;

/// The expected share of the rows whose distance from `query` is at most `value`, in the operator's units.
pub fn share(directory: &Directory, query: Option<&[f32]>, value: f64) -> f64 {
    let Some(key) = key(directory, value) else { return 0.0 };
    if key == f64::INFINITY {
        return 1.0;
    }
    let profile = directory.profile(profile);
    let mut share = 0.0;
    match query.and_then(|query| transformed(directory, query)) {
        Some(query) => query.spreads(directory, profile.directions, |spread, weight| {
            share += weight * spread.below(directory.metric(), key);
        }),
        None => {
            for (spread, weight) in &profile.spreads {
                share += f64::from(*weight) * spread.below(directory.metric(), key);
            }
        }
    }
    share.clamp(0.0, 1.0)
}

/// A value in the units of the lists' distances: squared, scaled. `None` below all distances.
fn key(directory: &Directory, value: f64) -> Option<f64> {
    let scale = f64::from(directory.meta.scale);
    match directory.metric() {
        Metric::InnerProduct => Some(value * scale * scale),
        _ if value < 0.0 => None,
        Metric::L2 => Some(value * scale * value * scale),
        Metric::L1 => Some(directory.meta.deviation.key(value * scale, directory.dims())),
        Metric::Cosine => Some(2.0 * value * scale * scale),
        Metric::Hamming => Some(value),
        Metric::Jaccard => Some(if value < 1.0 { value } else { f64::INFINITY }),
    }
}

/// Numbers of a query that are needed besides its products with the centroids.
#[derive(Clone, Copy, Default)]
struct QueryNorms {
    /// Its squared norm relative to the origin, and relative to zero.
    norm: f32,
    full: f32,
    /// The part of all inner products that is due to the origin.
    origin: f32,
}

impl QueryNorms {
    fn spread(self, directory: &Directory, list: u32, dot: f32, directions: f32) -> Spread {
        let radius = directory.radius(list) * directory.radius(list);
        match directory.metric() {
            Metric::Jaccard => self.spread_of_jaccard(directory, list, dot, directions),
            Metric::InnerProduct => Spread {
                mean: -(dot + directory.origin_product(list) + self.origin),
                variance: self.full * radius / directions,
            },
            _ => {
                let gap = (self.norm + directory.norm(list) - 2.0 * dot).max(0.0);
                Spread { mean: gap + radius, variance: radius * (4.0 * gap + 2.0 * radius) / directions }
            }
        }
    }
}

impl QueryNorms {
    /// The spread of Jaccard distances. If h bits differ of s that are set in the two strings together, the
    /// distance is 2 h / (s + h).
    fn spread_of_jaccard(self, directory: &Directory, list: u32, dot: f32, directions: f32) -> Spread {
        let radius = directory.radius(list) * directory.radius(list);
        let gap = (self.norm + directory.norm(list) - 2.0 * dot).max(0.0);
        let (differ, variance) = (gap + radius, radius * (4.0 * gap + 2.0 * radius) / directions);
        let set = (self.norm + directory.origin_product(list)).max(1.0);
        let slope = 2.0 * set / ((set + differ) * (set + differ));
        Spread { mean: 2.0 * differ / (set + differ), variance: variance * slope * slope }
    }
}

/// A query in the index's coordinates.
struct Query {
    bytes: Bytes,
    known: QueryNorms,
}

fn transformed(directory: &Directory, query: &[f32]) -> Option<Query> {
    let mut point = vec![0.0; directory.padded()];
    if query.len() != directory.dims() || !to_point(directory, query, &mut vec![0.0; query.len()], &mut point)
    {
        return None;
    }
    let (norm, g) = (kernel::inner_product(&point, &point), &directory.origin);
    let (product, origin) = (kernel::inner_product(&point, g), kernel::inner_product(g, g));
    let known = QueryNorms { norm, full: norm + 2.0 * product + origin, origin: product + origin };
    norm.is_finite().then(|| Query { bytes: Bytes::new(&point), known })
}

impl Query {
    /// The lists' spreads and their shares of the rows.
    fn spreads(&self, directory: &Directory, directions: f32, mut each: impl FnMut(Spread, f64)) {
        let lists = sample(directory, MOST_BYTES / directory.padded().max(1));
        let all: f64 = lists.clone().map(|list| rows(directory, list)).sum();
        for list in lists {
            let (codes, scale) = directory.centroid(list);
            let dot = kernel::dot_i8(&self.bytes.codes, codes) as f32 * scale * self.bytes.scale;
            each(self.known.spread(directory, list, dot, directions), rows(directory, list) / all);
        }
    }
}

/// At most `most` lists, evenly spread over all.
fn sample(directory: &Directory, most: usize) -> impl Iterator<Item = u32> + Clone {
    let all = directory.lists();
    (0..all).step_by((all as usize).div_ceil(most.max(1)).max(1))
}

/// A list's number of rows at the build.
fn rows(directory: &Directory, list: u32) -> f64 {
    f64::from(directory.built_rows(list)) + 1.0
}

/// Statistics of a directory, for queries that are like its rows.
fn profile(directory: &Directory) -> Profile {
    let lists: Vec<u32> = sample(directory, LISTS).collect();
    let queries: Vec<u32> = lists.iter().copied().step_by(lists.len().div_ceil(QUERIES).max(1)).collect();
    let products: Vec<(u32, u32, f32)> = queries
        .iter()
        .flat_map(|query| lists.iter().map(|list| (*query, *list, product(directory, *query, *list))))
        .collect();
    let directions = directions(directory, &products);
    let mut spreads = Vec::with_capacity(products.len());
    for of_query in products.chunk_by(|a, b| a.0 == b.0) {
        let query = of_query[0].0;
        let known = like_a_row(directory, query);
        // In a sample of lists, the query's own list has more weight than its share of the rows.
        let others: f64 = lists.iter().filter(|l| **l != query).map(|l| rows(directory, *l)).sum();
        let own = if others > 0.0 { 1.0 / f64::from(directory.lists()) } else { 1.0 };
        for &(_, list, dot) in of_query {
            let weight = if list == query { own } else { (1.0 - own) * rows(directory, list) / others };
            let spread = known.spread(directory, list, dot, directions);
            spreads.push((spread, (weight / queries.len() as f64) as f32));
        }
    }
    Profile { directions, spreads }
}

/// The numbers of a query that is like the rows of a list.
fn like_a_row(directory: &Directory, list: u32) -> QueryNorms {
    let radius = directory.radius(list) * directory.radius(list);
    let g = kernel::inner_product(&directory.origin, &directory.origin);
    let (norm, product) = (directory.norm(list) + radius, directory.origin_product(list));
    QueryNorms { norm, full: norm + 2.0 * product + g, origin: product + g }
}

fn product(directory: &Directory, a: u32, b: u32) -> f32 {
    let ((a, x), (b, y)) = (directory.centroid(a), directory.centroid(b));
    kernel::dot_i8(a, b) as f32 * x * y
}

/// Over how many directions rows are spread: the larger of two estimates. (1) If the centroids are points
/// with n independent coordinates, their squared distances have the variance 2 mean² / n. (2) If rows fill n
/// directions evenly, the share lists^(-2 / n) of their variance is within the lists.
fn directions(directory: &Directory, products: &[(u32, u32, f32)]) -> f32 {
    let most = (directory.dims() as f32).max(1.0);
    let gap = |&(a, b, dot): &(u32, u32, f32)| f64::from(directory.norm(a) + directory.norm(b) - 2.0 * dot);
    let gaps = || products.iter().filter(|(a, b, _)| a != b).map(gap);
    let n = gaps().count() as f64;
    if n < LEAST_PAIRS {
        return USUAL_DIRECTIONS.min(most);
    }
    let mean = gaps().sum::<f64>() / n;
    let variance = gaps().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / n;
    let radii =
        || products.iter().filter(|(a, b, _)| a != b).map(|(_, b, _)| f64::from(directory.radius(*b)));
    let within = radii().map(|radius| radius * radius).sum::<f64>() / n;
    let of_centroids = 2.0 * mean * mean / variance;
    let of_lists = 2.0 * f64::from(directory.lists()).ln() / ((mean / 2.0 + within) / within).ln();
    // If all rows are equal, one estimate is NaN; `max` then returns the other.
    of_centroids.max(of_lists).max(1.0).min(f64::from(most)) as f32
}
