//! The order of the lists by their scores, found as far as it is asked for.
//!
//! A scan reads a few lists of many, so the lists are not sorted. They are in groups of [`GROUP`], and a heap
//! has the next list of each group. So the heap is a sixteenth as long, and a list that is given costs a look
//! at the others of its group.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::error::Result;
use crate::memory::Grow;

/// Lists in a group.
const GROUP: usize = 16;
/// The key of no list, greater than that of any.
const NONE: i32 = i32::MAX;

/// The lists in the order of their scores; of equal ones the list with the lower number is first.
#[derive(Default)]
pub(super) struct Ranking {
    /// The [`key`] of each list, by groups; the last group is filled with [`NONE`].
    keys: Vec<[i32; GROUP]>,
    /// For each group that has further lists: the key of the next one, and the number from which on it is to
    /// be looked for.
    heads: BinaryHeap<Reverse<(i32, u32)>>,
}

impl Ranking {
    /// Takes the scores of all lists. NaN is last.
    ///
    /// # Errors
    /// Out of memory.
    pub fn start(&mut self, scores: impl ExactSizeIterator<Item = f32>) -> Result<()> {
        let lists = scores.len();
        self.keys.clear();
        self.keys.try_resize(lists.div_ceil(GROUP), [NONE; GROUP])?;
        for (own, score) in self.keys.as_flattened_mut().iter_mut().zip(scores) {
            *own = key(score);
        }
        let mut heads = std::mem::take(&mut self.heads).into_vec();
        heads.clear();
        heads.grow(self.keys.len())?;
        let numbers = (0..).step_by(GROUP);
        heads.extend(self.keys.iter().zip(numbers).map(|(group, first)| Reverse((least(*group), first))));
        self.heads = BinaryHeap::from(heads);
        Ok(())
    }

    /// The best list that has not been returned yet.
    pub fn next(&mut self) -> Option<u32> {
        let list = self.peek()?;
        let mut head = self.heads.peek_mut()?;
        let Reverse((given, _)) = *head;
        let group = &self.keys[list as usize / GROUP];
        let at = list as usize % GROUP;
        if group[at + 1..].contains(&given) {
            *head = Reverse((given, list + 1));
            return Some(list);
        }
        match least(group.map(|key| if key > given { key } else { NONE })) {
            NONE => drop(PeekMut::pop(head)),
            next => *head = Reverse((next, list - at as u32)),
        }
        Some(list)
    }

    /// The list that `next` will return.
    pub fn peek(&self) -> Option<u32> {
        let Reverse((key, from)) = *self.heads.peek()?;
        let numbers = from as usize..;
        let keys = &self.keys.as_flattened()[numbers.clone()];
        keys.iter().zip(numbers).find(|(other, _)| **other == key).map(|(_, list)| list as u32)
    }
}

/// An integer with the order of the scores.
fn key(score: f32) -> i32 {
    if score.is_nan() {
        return NONE - 1;
    }
    // −0 as 0. The bits of a negative number are ordered the other way round.
    let bits = (score + 0.0).to_bits().cast_signed();
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

/// The least key, in halves, so that the compiler compares several together.
fn least(keys: [i32; GROUP]) -> i32 {
    let eight: [i32; 8] = std::array::from_fn(|i| keys[i].min(keys[i + 8]));
    let four: [i32; 4] = std::array::from_fn(|i| eight[i].min(eight[i + 4]));
    four[0].min(four[2]).min(four[1].min(four[3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;
    use crate::value::TotalF32;

    #[test]
    fn lists_come_as_if_sorted() {
        let mut random = SplitMix64(5);
        let mut ranking = Ranking::default();
        for lists in [0, 1, 15, 16, 17, 100, 1000] {
            let mut scores: Vec<f32> = (0..lists).map(|_| random.signed_unit()).collect();
            for _ in 0..lists / 4 {
                // Equal scores, zeros of both signs, infinities and NaN.
                let (from, to) = (random.below(lists), random.below(lists));
                let odd = [scores[from], 0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
                scores[to] = odd[random.below(odd.len())];
            }
            let mut sorted: Vec<u32> = (0..lists as u32).collect();
            let place = |list: &u32| scores[*list as usize] + 0.0;
            sorted.sort_by_key(|list| TotalF32(place(list)));
            // A second time from the beginning, after some have been given.
            for taken in [lists / 3, lists] {
                ranking.start(scores.iter().copied()).expect("there is memory");
                for list in &sorted[..taken] {
                    assert_eq!(ranking.peek(), Some(*list));
                    assert_eq!(ranking.next(), Some(*list));
                }
            }
            assert_eq!((ranking.peek(), ranking.next()), (None, None));
        }
    }
}
