//! The nearest of many centroids: the centroids are clustered into groups, and a row is compared with the
//! centroids of its nearest groups only.

use super::best::Best;
use super::gemm::{CHUNK_ROWS, PackedPanels, Rows, Work};
use super::members::{Members, half_norms, means};
use crate::error::Result;
use crate::memory;

/// With at least this many centroids, groups save more time than they take.
pub(super) const MIN_GROUPED: usize = 768;
/// Groups whose centroids are compared with a row.
const PROBED: usize = 10;
/// Rows that one task takes at a time: so many that several of them share a group.
pub(super) const GROUPED_ROWS: usize = 1024;

/// Centroids in groups.
pub(super) struct Groups {
    /// The groups' own centroids.
    centres: PackedPanels,
    offsets: Vec<f32>,
    parts: Vec<Part>,
}

/// The centroids of a group.
struct Part {
    lists: Vec<u32>,
    centroids: PackedPanels,
    offsets: Vec<f32>,
}

/// A thread's memory for [`Groups::visit`].
#[derive(Default)]
pub(super) struct Scratch {
    pack: Vec<[f32; 4]>,
    scores: Vec<f32>,
    /// Group and row of every comparison; and the same in the order of groups, as numbers of rows.
    pairs: Vec<(u32, u32)>,
    sorted: Vec<u32>,
    index: Vec<usize>,
}

/// Scores of a group's centroids for a row: `offset − score` orders them like the distance.
pub(super) struct Scores<'a> {
    pub(super) lists: &'a [u32],
    pub(super) offsets: &'a [f32],
    pub(super) scores: &'a [f32],
}

impl Scores<'_> {
    /// The lists with their keys: half the squared distance, less half the squared length of the row.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u32, f32)> {
        let keys = self.offsets.iter().zip(self.scores).map(|(offset, score)| offset - score);
        self.lists.iter().copied().zip(keys)
    }
}

impl Groups {
    /// How many groups there should be. With half as many, training took three times as long on real text:
    /// the groups that are nearest to a row are the large ones.
    pub(super) fn number(centroids: usize) -> usize {
        2 * (centroids as f64).sqrt() as usize
    }

    /// The groups of `rows`, which are centroids: each group has its members. Empty groups are left out.
    ///
    /// # Errors
    /// Out of memory, and those of the caller's step.
    pub(super) fn new(rows: &Rows, members: &Members, wanted: usize, work: &Work) -> Result<Self> {
        let dims = rows.dims;
        let mut centres = memory::filled(0.0, wanted * dims)?;
        means(rows, members, &mut centres, work)?;
        let mut parts = memory::with_capacity(wanted)?;
        let mut kept = 0;
        for group in 0..wanted {
            let lists = members.of(group);
            if lists.is_empty() {
                continue;
            }
            centres.copy_within(group * dims..(group + 1) * dims, kept * dims);
            kept += 1;
            let mut points = memory::filled(0.0, lists.len() * dims)?;
            for (list, out) in lists.iter().zip(points.chunks_exact_mut(dims)) {
                rows.copy(*list, out);
            }
            parts.push(Part {
                lists: memory::collected(lists.iter().map(|list| *list as u32))?,
                centroids: PackedPanels::new(&points, dims)?,
                offsets: half_norms(&points, dims)?,
            });
        }
        centres.truncate(kept * dims);
        Ok(Self { offsets: half_norms(&centres, dims)?, centres: PackedPanels::new(&centres, dims)?, parts })
    }

    /// The groups' own centroids.
    pub(super) fn centres(&self) -> &PackedPanels {
        &self.centres
    }

    /// About the multiply-adds that a row takes.
    pub(super) fn cost(&self) -> usize {
        let lists: usize = self.parts.iter().map(|part| part.lists.len()).sum();
        self.centres.depth() * (self.parts.len() + PROBED * lists / self.parts.len().max(1))
    }

    /// A thread's memory for up to [`GROUPED_ROWS`] rows.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn scratch(&self) -> Result<Scratch> {
        let widest =
            self.parts.iter().map(|part| part.centroids.stride()).fold(self.centres.stride(), usize::max);
        Ok(Scratch {
            pack: self.centres.scratch()?,
            scores: memory::filled(0.0, CHUNK_ROWS * widest)?,
            pairs: memory::with_capacity(GROUPED_ROWS * PROBED)?,
            sorted: memory::with_capacity(GROUPED_ROWS * PROBED)?,
            index: memory::with_capacity(GROUPED_ROWS * PROBED)?,
        })
    }

    /// Compares the `count` rows from `first` on with the centroids of their nearest groups. Calls `found`
    /// with the number of the row (0 is the first) and the scores of a group.
    pub(super) fn visit(
        &self,
        rows: &Rows,
        (first, count): (usize, usize),
        scratch: &mut Scratch,
        mut found: impl FnMut(usize, Scores),
    ) {
        self.choose(rows, (first, count), scratch);
        let Scratch { pack, scores, sorted, index, pairs } = scratch;
        index.clear();
        index.extend(sorted.iter().map(|row| {
            let at = first + *row as usize;
            rows.index.map_or(at, |index| index[at])
        }));
        let chosen = Rows { index: Some(index), ..*rows };
        let mut begin = 0;
        for run in pairs.chunk_by(|a, b| a.0 == b.0) {
            let part = &self.parts[run[0].0 as usize];
            let (stride, lists) = (part.centroids.stride(), part.lists.len());
            for at in (begin..begin + run.len()).step_by(CHUNK_ROWS) {
                let number = CHUNK_ROWS.min(begin + run.len() - at);
                let scores = &mut scores[..number * stride];
                part.centroids.product(&chosen, at, scores, pack);
                for (row, scores) in sorted[at..].iter().zip(scores.chunks_exact(stride)) {
                    let scores = &scores[..lists];
                    found(*row as usize, Scores { lists: &part.lists, offsets: &part.offsets, scores });
                }
            }
            begin += run.len();
        }
    }

    /// Makes the pairs of group and row, in the order of groups.
    fn choose(&self, rows: &Rows, (first, count): (usize, usize), scratch: &mut Scratch) {
        let Scratch { pack, scores, sorted, pairs, .. } = scratch;
        let stride = self.centres.stride();
        let probed = PROBED.min(self.parts.len());
        pairs.clear();
        for at in (0..count).step_by(CHUNK_ROWS) {
            let scores = &mut scores[..CHUNK_ROWS.min(count - at) * stride];
            self.centres.product(rows, first + at, scores, pack);
            for (row, scores) in (at as u32..).zip(scores.chunks_exact(stride)) {
                let mut best = Best::new(probed);
                for (group, (offset, score)) in (0..).zip(self.offsets.iter().zip(scores)) {
                    best.push(group, offset - score);
                }
                pairs.extend(best.lists().map(|group| (group, row)));
            }
        }
        pairs.sort_unstable();
        sorted.clear();
        sorted.extend(pairs.iter().map(|pair| pair.1));
    }
}
