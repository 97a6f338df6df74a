//! Summaries of the keys of a list's rows, one for each filter column. A scan does not read lists in which,
//! by their summaries, no row can pass.
//!
//! A summary covers every row that is in its list. An insert widens it before it writes its row. A vacuum
//! that has removed rows computes it again from the rows that are left. On disk, in 96 bytes: the least and
//! the largest key, the union of the keys' bits, whether there are rows without a key, the list's watch (of
//! the first column only), 512 marks. The summaries of a list are consecutive and on one page.

use super::columns::Key;
use super::page::CONTENT_SIZE;

/// Bytes of a summary.
pub const SUMMARY_SIZE: usize = 96;
const WORDS: usize = 8;
/// Marks for keys.
pub const MARKS: u32 = 64 * WORDS as u32;
/// An insert widens the range beyond its key by 1/8 of the range.
const ROOM: u64 = 8;
/// If more marks than this are set, an insert sets all of them, because so full a filter excludes few keys.
const MOST_MARKS: u32 = 256;

/// The summary of one list and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    least: u64,
    largest: u64,
    union: u64,
    nulls: bool,
    /// A Bloom filter: the hash of a key selects a bit, and if that bit is not set, the list does not have
    /// the key. It has one hash, because with more hashes a few hundred different keys would set all bits.
    marks: [u64; WORDS],
}

/// The summary of a list without rows.
impl Default for Summary {
    fn default() -> Self {
        Self { least: u64::MAX, largest: 0, union: 0, nulls: false, marks: [0; WORDS] }
    }
}

/// The word and the bit of a key's mark. They are the highest nine bits of the key's product with the golden
/// ratio, which distributes consecutive keys evenly (Knuth, volume 3, section 6.4).
fn mark(key: u64) -> (usize, u64) {
    let number = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55;
    ((number >> 6) as usize, 1 << (number & 63))
}

impl Summary {
    /// Adds the key of a row.
    pub fn add(&mut self, key: Key) {
        let Some(key) = key else {
            self.nulls = true;
            return;
        };
        self.least = self.least.min(key);
        self.largest = self.largest.max(key);
        self.union |= key;
        let (word, bit) = mark(key);
        self.marks[word] |= bit;
    }

    /// Covers what another covers.
    pub fn join(&mut self, other: &Self) {
        self.least = self.least.min(other.least);
        self.largest = self.largest.max(other.largest);
        self.union |= other.union;
        self.nulls |= other.nulls;
        self.marks.iter_mut().zip(other.marks).for_each(|(marks, others)| *marks |= others);
    }

    /// Takes in the key of a row that is inserted, with room for more of its kind: otherwise keys that only
    /// grow (dates, numbers in sequence) would change a summary with each row.
    pub fn widen(&mut self, key: Key) {
        if self.covers(key) {
            return;
        }
        if let (Some(key), true) = (key, self.has_keys()) {
            let room = (self.largest - self.least) / ROOM;
            if key > self.largest {
                self.largest = key.saturating_add(room);
            } else if key < self.least {
                self.least = key.saturating_sub(room);
            }
            if self.marks.iter().map(|word| word.count_ones()).sum::<u32>() > MOST_MARKS {
                self.marks = [u64::MAX; WORDS];
            }
        }
        self.add(key);
    }

    /// Whether the summary allows a row with this key.
    pub fn covers(&self, key: Key) -> bool {
        key.map_or(self.nulls, |key| self.may_have(key) && self.union & key == key)
    }

    /// Whether there may be a row with this key.
    pub fn may_have(&self, key: u64) -> bool {
        let (word, bit) = mark(key);
        self.may_have_within(key, key) && self.marks[word] & bit != 0
    }

    /// Whether there may be a row with a key from `low` to `high`.
    pub fn may_have_within(&self, low: u64, high: u64) -> bool {
        self.least.max(low) <= self.largest.min(high)
    }

    /// Whether there may be a row with a key.
    pub fn has_keys(&self) -> bool {
        self.least <= self.largest
    }

    /// The key, if there is only one.
    pub fn only_key(&self) -> Option<u64> {
        (self.least == self.largest).then_some(self.least)
    }

    /// Whether there may be a row without a key.
    pub fn has_nulls(&self) -> bool {
        self.nulls
    }

    /// All bits of all keys.
    pub fn union(&self) -> u64 {
        self.union
    }

    /// Reads [`SUMMARY_SIZE`] bytes, without the watch.
    pub fn read(bytes: &[u8]) -> Self {
        let words = bytes.as_chunks::<8>().0;
        let word = |i: usize| words.get(i).map_or(0, |w| u64::from_le_bytes(*w));
        Self {
            least: word(0),
            largest: word(1),
            union: word(2),
            nulls: word(3) as u32 != 0,
            marks: std::array::from_fn(|i| word(4 + i)),
        }
    }

    /// Writes [`SUMMARY_SIZE`] bytes, except the watch.
    pub fn write(&self, out: &mut [u8]) {
        let watch = u64::from(watch(out)) << 32;
        let head = [self.least, self.largest, self.union, u64::from(self.nulls) | watch];
        for (to, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(head.iter().chain(&self.marks)) {
            *to = word.to_le_bytes();
        }
    }
}

/// Position of the watch, a `u32`, in the first summary of a list.
const WATCH: std::ops::Range<usize> = 28..32;

/// The watch of a list; `bytes` begins with the list's first summary. It is 0, or, while a vacuum rebuilds
/// the summaries, 1 plus the number of rows that were written to the list since.
pub fn watch(bytes: &[u8]) -> u32 {
    bytes.get(WATCH).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// Sets the watch of a list.
pub fn set_watch(bytes: &mut [u8], watch: u32) {
    bytes[WATCH].copy_from_slice(&watch.to_le_bytes());
}

/// Number of lists whose summaries fit a page, for a number of columns (31 at most).
fn lists_per_page(columns: usize) -> usize {
    CONTENT_SIZE / (SUMMARY_SIZE * columns.max(1))
}

/// Number of pages for the summaries of `lists` lists.
pub fn pages(lists: u32, columns: usize) -> u32 {
    lists.div_ceil(lists_per_page(columns) as u32)
}

/// The page (relative to the first) of a list's summaries, and where on it they begin.
pub fn position(list: u32, columns: usize) -> (u32, usize) {
    let (list, per_page) = (list as usize, lists_per_page(columns));
    ((list / per_page) as u32, list % per_page * SUMMARY_SIZE * columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_covered_and_little_else() {
        let mut summary = Summary::default();
        assert!(
            !summary.has_keys() && !summary.has_nulls() && !summary.covers(None) && !summary.covers(Some(0))
        );
        assert!(!summary.may_have_within(0, u64::MAX));
        let keys: Vec<u64> = (0..100).map(|i| 1000 + 2 * i).collect();
        for &key in &keys {
            assert!(!summary.covers(Some(key)), "greater than all before");
            summary.add(Some(key));
            assert!(summary.covers(Some(key)));
        }
        assert!(!summary.covers(None));
        summary.add(None);
        assert!(summary.covers(None));
        assert!(keys.iter().all(|&key| summary.covers(Some(key))));
        assert!(summary.may_have_within(0, 1000) && summary.may_have_within(1198, u64::MAX));
        assert!(!summary.may_have_within(0, 999) && !summary.may_have_within(1199, u64::MAX));
        assert!(!summary.may_have_within(1100, 1050), "nothing is between");
        let wrong = (0..99).filter(|i| summary.may_have(1001 + 2 * i)).count();
        assert!(wrong < 40, "{wrong} of 99 that were never added");
        let mut bytes = [0; SUMMARY_SIZE];
        set_watch(&mut bytes, 0x0102_0304);
        summary.write(&mut bytes);
        assert_eq!(Summary::read(&bytes), summary);
        assert_eq!(watch(&bytes), 0x0102_0304);
        let mut without_nulls = bytes;
        Summary::default().write(&mut without_nulls);
        assert_eq!((Summary::read(&without_nulls), watch(&without_nulls)), (Summary::default(), 0x0102_0304));
        let mut extremes = Summary::default();
        [0, u64::MAX].iter().for_each(|&key| extremes.add(Some(key)));
        assert!(extremes.covers(Some(0)) && extremes.covers(Some(u64::MAX)));
    }

    #[test]
    fn growing_keys_change_a_summary_now_and_then() {
        let mut summary = Summary::default();
        (0..250).for_each(|key| summary.add(Some(key)));
        let mut changes = 0;
        for key in (250..100_000).chain([u64::MAX, 0]) {
            let before = summary;
            summary.widen(Some(key));
            assert!(summary.covers(Some(key)));
            changes += u32::from(summary != before);
        }
        assert!(changes < 150, "{changes}");
        assert!(!summary.covers(None));
        summary.widen(None);
        assert!(summary.covers(None) && summary.covers(Some(5)));
        let mut empty = Summary::default();
        empty.widen(Some(7));
        assert!(empty.may_have_within(7, 7) && !empty.may_have_within(8, u64::MAX));
        assert_eq!(
            (empty.only_key(), summary.only_key(), Summary::default().only_key()),
            (Some(7), None, None)
        );
    }

    #[test]
    fn summaries_never_lie_across_pages() {
        for columns in 1..=31 {
            let per_page = lists_per_page(columns) as u32;
            assert!(per_page > 0);
            for list in [0, per_page - 1, per_page, 2 * per_page + 1] {
                let (page, at) = position(list, columns);
                assert_eq!(page, list / per_page);
                assert!(at + SUMMARY_SIZE * columns <= CONTENT_SIZE);
                assert!(page < pages(list + 1, columns));
            }
        }
    }
}
