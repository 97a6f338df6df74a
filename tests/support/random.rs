//! Seeded random numbers for the tests of the index and of servers.

use vector_search::random::SplitMix64;

/// SplitMix64, as tests draw from it; the field is the state.
pub struct Random(pub u64);

#[allow(dead_code, reason = "each of the test programs uses some")]
impl Random {
    /// Next 64 random bits.
    pub fn next(&mut self) -> u64 {
        let mut random = SplitMix64(self.0);
        let next = random.bits();
        self.0 = random.0;
        next
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number between 0 and 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// A number between -1 and 1.
    pub fn signed_unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// About normal.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}
