//! Finds the `k` smallest of many values, for example the nearest rows.

use std::collections::BinaryHeap;

use crate::memory::fallibly;

/// The `k` smallest values so far.
#[derive(Default)]
pub struct TopK<T> {
    k: usize,
    /// The greatest value is on top, because it is the next to be removed.
    heap: BinaryHeap<T>,
}

impl<T: Ord> TopK<T> {
    /// An empty heap for `k` values; 0 counts as 1.
    pub fn new(k: usize) -> Self {
        Self { k: k.max(1), heap: BinaryHeap::new() }
    }

    /// Removes all values and starts again with `k`, in the same memory.
    pub fn restart(&mut self, k: usize) {
        self.k = k.max(1);
        self.heap.clear();
    }

    /// Adds a value. If there are `k` already, it replaces the greatest one, or is dropped if it is not less.
    #[inline]
    pub fn push(&mut self, value: T) {
        if self.heap.len() < self.k {
            self.heap.push(value);
        } else if let Some(mut greatest) = self.heap.peek_mut()
            && value < *greatest
        {
            *greatest = value;
        }
    }

    /// The number of values, at most `k`.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether there are `k` values. Then only a value less than the greatest is added.
    pub fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    /// The greatest value.
    pub fn greatest(&self) -> Option<&T> {
        self.heap.peek()
    }

    /// If there is no room for one more value, reserves room for as many as there are now, at least `first`.
    /// Returns `None` on success, otherwise the number of values for which memory could not be had.
    pub fn lacks_room(&mut self, first: usize) -> Option<usize> {
        if self.heap.len() < self.heap.capacity() || self.is_full() {
            return None;
        }
        let more = self.heap.len().clamp(first, self.k.max(first));
        fallibly(|| self.heap.try_reserve_exact(more)).is_err().then_some(more)
    }

    /// Removes all values and returns them in no particular order.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.heap.drain()
    }

    /// Removes all values and returns them in ascending order.
    pub fn take_sorted(&mut self) -> Vec<T> {
        std::mem::take(&mut self.heap).into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_are_kept() {
        let mut top = TopK::new(3);
        for (i, value) in [5, 9, 1, 7, 1, 3].into_iter().enumerate() {
            assert_eq!(top.is_full(), i > 2);
            assert_eq!(top.lacks_room(8), None);
            top.push(value);
        }
        assert_eq!((top.len(), top.greatest()), (3, Some(&3)));
        assert_eq!(top.take_sorted(), [1, 1, 3]);
        assert!(top.is_empty() && !top.is_full());
        top.restart(1);
        [4, 2, 8].into_iter().for_each(|value| top.push(value));
        assert_eq!(top.drain().collect::<Vec<_>>(), [2]);
    }
}
