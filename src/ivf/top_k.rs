//! The `k` smallest of many values: the nearest rows, by one key or another.

use std::collections::BinaryHeap;

/// The `k` smallest values so far.
#[derive(Default)]
pub struct TopK<T> {
    k: usize,
    /// The greatest comes first: it is the one to go.
    heap: BinaryHeap<T>,
}

impl<T: Ord> TopK<T> {
    /// Without values, for `k`. At least one is wanted.
    pub fn new(k: usize) -> Self {
        Self { k: k.max(1), heap: BinaryHeap::new() }
    }

    /// Begins anew, for `k`, in the memory at hand.
    pub fn restart(&mut self, k: usize) {
        self.k = k.max(1);
        self.heap.clear();
    }

    /// A further value.
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

    /// How many there are, `k` at most.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether there are `k`: then a further one must be less than the greatest.
    pub fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    /// The greatest of them.
    pub fn greatest(&self) -> Option<&T> {
        self.heap.peek()
    }

    /// Memory for one more; `None` if there is some, else the values that memory was not had for.
    pub fn lacks_room(&mut self, first: usize) -> Option<usize> {
        if self.heap.len() < self.heap.capacity() || self.is_full() {
            return None;
        }
        let more = self.heap.len().clamp(first, self.k.max(first));
        self.heap.try_reserve_exact(more).is_err().then_some(more)
    }

    /// All of them, in no order, which are forgotten.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.heap.drain()
    }

    /// All of them in order, which are forgotten.
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
