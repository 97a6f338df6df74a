//! Which list every row belongs to, the rows of every list, and their means.

use super::gemm::{Rows, Work};
use crate::error::Result;
use crate::memory;

/// The assignment of a row: its nearest and second-nearest list, and the squared distances to their
/// centroids.
#[derive(Clone, Copy)]
pub(super) struct Assignment {
    pub(super) list: u32,
    pub(super) next: u32,
    pub(super) moved: bool,
    pub(super) best: f32,
    pub(super) second: f32,
}

/// The rows of every list, in order.
pub(super) struct Members {
    order: Vec<usize>,
    starts: Vec<usize>,
}

impl Members {
    /// Sorts the rows by list (stable counting sort).
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn new(near: &[Assignment], k: usize) -> Result<Self> {
        let mut starts = memory::filled(0, k + 1)?;
        near.iter().for_each(|x| starts[x.list as usize + 1] += 1);
        for i in 0..k {
            starts[i + 1] += starts[i];
        }
        let mut next = memory::collected(starts.iter().copied())?;
        let mut order = memory::filled(0, near.len())?;
        for (i, x) in near.iter().enumerate() {
            let slot = &mut next[x.list as usize];
            order[*slot] = i;
            *slot += 1;
        }
        Ok(Self { order, starts })
    }

    /// The rows of list `list`.
    pub(super) fn of(&self, list: usize) -> &[usize] {
        &self.order[self.starts[list]..self.starts[list + 1]]
    }
}

/// Half the squared length of every vector: `‖c‖²/2 − x·c` orders centroids like the distance from x.
///
/// # Errors
/// Out of memory.
pub(super) fn half_norms(vectors: &[f32], dims: usize) -> Result<Vec<f32>> {
    let half = |c: &[f32]| (c.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / 2.0) as f32;
    memory::collected(vectors.chunks_exact(dims).map(half))
}

/// Replaces the centroid of every list that has rows by their mean, summed in f64 in row order.
pub(super) fn means(rows: &Rows, members: &Members, centroids: &mut [f32], work: &Work) -> Result<()> {
    let dims = rows.dims;
    let cost = rows.len() * dims / (centroids.len() / dims).max(1);
    let scratch = || memory::filled(0.0f64, dims);
    work.run(centroids, dims, cost, scratch, |sums, list, centroid| {
        let members = members.of(list);
        if members.is_empty() {
            return;
        }
        sums.fill(0.0);
        for i in members {
            sums.iter_mut().zip(rows.row(*i)).for_each(|(s, x)| *s += f64::from(x));
        }
        let count = members.len() as f64;
        centroid.iter_mut().zip(sums).for_each(|(c, s)| *c = (*s / count) as f32);
    })
}
