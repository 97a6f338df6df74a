//! Random blocks and rows of a table.

use crate::memory;
use crate::page::Tid;
use crate::pg::error::OrRaise;
use crate::random::SplitMix64;

/// Random blocks in random order: all of them, or 2²⁰ of a larger table (k-means never needs more).
pub fn shuffled(nblocks: u32, seed: u64) -> Vec<u32> {
    const MOST: u32 = 1 << 20;
    let mut random = SplitMix64(seed);
    let kept = nblocks.min(MOST);
    let stride = f64::from(nblocks) / f64::from(kept.max(1));
    let mut order = memory::collected((0..kept as usize).map(|i| (i as f64 * stride) as u32)).or_raise();
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i + 1));
    }
    order
}

/// A uniform sample of the rows that it is offered (Vitter's algorithm R).
pub struct Reservoir {
    /// Rows that are kept at most.
    pub size: usize,
    /// Those kept.
    pub kept: Vec<(Tid, Vec<f32>)>,
    offered: usize,
    random: SplitMix64,
}

impl Reservoir {
    /// Has been offered nothing.
    pub fn new(size: usize, seed: u64) -> Self {
        Self { size, kept: Vec::new(), offered: 0, random: SplitMix64(seed) }
    }

    /// Offers a row.
    pub fn offer(&mut self, tid: Tid, vector: &[f32]) {
        self.offered += 1;
        if self.kept.len() < self.size {
            self.kept.push((tid, vector.to_vec()));
            return;
        }
        let at = self.random.below(self.offered);
        if at < self.size {
            self.kept[at].0 = tid;
            self.kept[at].1.copy_from_slice(vector);
        }
    }
}
