//! Queries that are displaced from the rows, made from rows.
//!
//! Real queries are not known. Some of these lie between clusters, some beside all of them, and some near a
//! centroid but far from all rows. They show which lists such queries need (`farther.rs`, `onward.rs`).

use super::batch::{Batch, Neighbour};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::search::Router;
use crate::kernel;
use crate::memory::{self, Grow};
use crate::page::Store;
use crate::page::meta::LEVELS;
use crate::random::SplitMix64;
use crate::value::Metric;

/// Number of queries of a kind that are made for `farther.rs`. It uses the far ones only, and needs many of
/// them for the highest targets.
const FAR: usize = 80;
/// Number of queries of each kind that are read whether they are far or not, for `onward.rs`. (With 40, rules
/// were about the same.)
const ANY: usize = 10;

/// How queries are displaced from the rows.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Half way between two rows.
    Between,
    /// Half the sum of four rows: by cosine, as far from the mean as a row, in the direction of their sum.
    Beside,
    /// As far from the mean as a row, in a random direction.
    Anywhere,
    /// Half way between a row and the mean.
    Half,
    /// The mean of eight rows.
    Eight,
    /// The mean of 32 rows.
    Many,
    /// A centroid.
    Centroid,
}

pub(super) const KINDS: [Kind; 7] =
    [Kind::Between, Kind::Beside, Kind::Anywhere, Kind::Half, Kind::Eight, Kind::Many, Kind::Centroid];

impl Kind {
    /// Number of queries that are made, and of those that are read even if they are not far.
    fn count(self) -> (usize, usize) {
        match self {
            Kind::Between | Kind::Beside | Kind::Anywhere => (FAR, ANY),
            Kind::Half | Kind::Eight | Kind::Many | Kind::Centroid => (ANY, ANY),
        }
    }

    fn is_for_far(self) -> bool {
        matches!(self, Kind::Between | Kind::Beside | Kind::Anywhere)
    }
}

/// Displaced queries of one kind.
pub(super) struct Displaced {
    /// For each neighbour of the far queries: the query's distance and the excess of the neighbour's list. In
    /// ascending order of distance. Empty for kinds that are not used for them.
    pub neighbours: Vec<(f32, f32)>,
    /// The queries that are taken whether they are far or not.
    pub points: Vec<f32>,
    /// For each of these, the rows that were among the nearest when they were read.
    pub trails: Vec<Vec<Neighbour>>,
}

/// Makes queries of a kind from the points, and reads all lists for them. Queries that are farther from the
/// rows than `beyond` are far.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub(super) fn read<S: Store>(
    store: &S,
    directory: &Directory,
    points: &[f32],
    (kind, beyond): (Kind, f32),
    progress: &dyn Progress,
) -> Result<Displaced> {
    let padded = directory.padded();
    let (queries, taken) = queries(directory, points, kind, beyond)?;
    let (mut neighbours, mut trails) = (Vec::new(), Vec::new());
    let mut batch = Batch::new(store, directory)?;
    batch.read(&queries, LEVELS[0] as usize, progress, &mut |query| {
        if trails.len() < taken {
            trails.try_push(query.nearest.trail()?)?;
        }
        let (distance, excess) = (query.router.distance(directory), query.router.excesses(directory));
        if kind.is_for_far() && distance > beyond {
            for row in query.nearest.drain() {
                neighbours.try_push((distance, excess(row.list)))?;
            }
        }
        Ok(())
    })?;
    neighbours.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut points = queries;
    points.truncate(taken * padded);
    Ok(Displaced { neighbours, points, trails })
}

/// Makes queries of a kind: some that are taken in any case, of which it returns the number, and behind them
/// others that are far.
fn queries(directory: &Directory, points: &[f32], kind: Kind, beyond: f32) -> Result<(Vec<f32>, usize)> {
    let padded = directory.padded();
    let (count, any) = kind.count();
    let mut random = SplitMix64(directory.meta.seed ^ kind as u64);
    let mut query = memory::filled(0.0, padded)?;
    let mut queries: Vec<f32> = memory::with_capacity(count * padded)?;
    let mut router = Router::default();
    let mut taken = 0;
    for i in 0..count {
        displace(directory, points, kind, &mut query, &mut random)?;
        if query.iter().any(|x| !x.is_finite()) {
            continue;
        }
        router.set(directory, &query)?;
        if i < any || router.distance(directory) > beyond {
            queries.try_extend(&query)?;
            taken += usize::from(i < any);
        }
    }
    Ok((queries, taken))
}

fn displace(
    directory: &Directory,
    points: &[f32],
    kind: Kind,
    query: &mut [f32],
    random: &mut SplitMix64,
) -> Result<()> {
    let padded = directory.padded();
    let mut row = || &points[random.below(points.len() / padded) * padded..][..padded];
    match kind {
        Kind::Between => half_of(query, [row(), row()]),
        Kind::Beside => half_of(query, [row(), row(), row(), row()]),
        Kind::Half => half_of(query, [row()]),
        Kind::Eight => mean_of::<8>(query, row),
        Kind::Many => mean_of::<32>(query, row),
        Kind::Anywhere => {
            let row = row();
            let length = kernel::inner_product(row, row).sqrt();
            let mut noise = memory::filled(0.0, directory.dims())?;
            noise.fill_with(|| normal(random));
            directory.transform(&noise, query);
            if matches!(directory.metric(), Metric::L2 | Metric::L1) {
                add(query, &directory.origin, 1.0);
                stretch(query, length);
            }
        }
        Kind::Centroid => {
            let (codes, scale) = directory.centroid(random.below(directory.lists() as usize) as u32);
            query.iter_mut().zip(codes).for_each(|(q, code)| *q = scale * f32::from(*code));
        }
    }
    if directory.metric() == Metric::Cosine {
        // Scaled to length one, as all vectors are before the origin is subtracted.
        add(query, &directory.origin, 1.0);
        stretch(query, 1.0);
        add(query, &directory.origin, -1.0);
    }
    Ok(())
}

/// Half the sum of the rows. For two rows this is the point half way between them. For four independent rows
/// it is about as long as each of them.
fn half_of<const N: usize>(query: &mut [f32], rows: [&[f32]; N]) {
    query.fill(0.0);
    rows.iter().for_each(|row| add(query, row, 0.5));
}

fn mean_of<'a, const N: usize>(query: &mut [f32], mut row: impl FnMut() -> &'a [f32]) {
    half_of(query, std::array::from_fn::<_, N, _>(|_| row()));
    query.iter_mut().for_each(|x| *x *= 2.0 / N as f32);
}

fn add(query: &mut [f32], vector: &[f32], times: f32) {
    query.iter_mut().zip(vector).for_each(|(q, x)| *q += times * x);
}

fn stretch(query: &mut [f32], length: f32) {
    let factor = length / kernel::inner_product(query, query).sqrt();
    query.iter_mut().for_each(|q| *q *= factor);
}

/// About normal.
fn normal(random: &mut SplitMix64) -> f32 {
    ((0..12).map(|_| random.unit()).sum::<f64>() - 6.0) as f32
}
