//! The few smallest keys of many.

/// The largest number of keys that are kept.
pub(super) const MOST: usize = 16;

/// The lists of the `count` smallest keys so far, best first.
#[derive(Clone, Copy)]
pub(super) struct Best {
    lists: [u32; MOST],
    keys: [f32; MOST],
    last: usize,
}

impl Best {
    /// Keeps up to `count` keys, at least one and at most [`MOST`].
    pub(super) fn new(count: usize) -> Self {
        Self { lists: [0; MOST], keys: [f32::INFINITY; MOST], last: count.clamp(1, MOST) - 1 }
    }

    /// Considers a list. Of equal keys, the first stays. NaN and infinity are not kept.
    pub(super) fn push(&mut self, list: u32, key: f32) {
        if key < self.keys[self.last] {
            let mut at = self.last;
            while at > 0 && key < self.keys[at - 1] {
                (self.keys[at], self.lists[at]) = (self.keys[at - 1], self.lists[at - 1]);
                at -= 1;
            }
            (self.keys[at], self.lists[at]) = (key, list);
        }
    }

    /// The lists that are kept.
    pub(super) fn lists(&self) -> impl Iterator<Item = u32> {
        let kept = self.keys.iter().take(self.last + 1).take_while(|key| **key < f32::INFINITY);
        self.lists.into_iter().zip(kept).map(|(list, _)| list)
    }
}
