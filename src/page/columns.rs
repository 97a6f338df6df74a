//! Filter columns: what a block of codes stores of the index columns after the vector.
//!
//! A row has a *key* in each column, or none where the value is NULL. Keys are unsigned integers whose order
//! is that of the values (or hashes, where only equality counts). A block keeps them column by column, so
//! that one comparison tests 32 rows: a mask of the slots without a key, then 32 keys of 4 or 8 bytes,
//! little-endian.

use crate::error::{Error, Kind, Result};
use crate::kernel::BLOCK_ROWS;

/// The largest number of columns besides the vector (`INDEX_MAX_KEYS` minus 1).
pub const MAX_COLUMNS: usize = 31;

/// The value of a filter column as the index keeps it; `None` is NULL.
pub type Key = Option<u64>;

/// The filter columns of an index: bytes of a key in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    widths: [u8; MAX_COLUMNS],
    count: u8,
}

impl Columns {
    /// Columns whose keys have these numbers of bytes.
    ///
    /// # Errors
    /// More columns than [`MAX_COLUMNS`], or a width that is neither 4 nor 8.
    pub fn new(widths: &[u8]) -> Result<Self> {
        if widths.len() > MAX_COLUMNS || widths.iter().any(|w| !matches!(w, 4 | 8)) {
            return Err(Error::new(Kind::Internal, "filter columns are not valid"));
        }
        let mut columns = Self { count: widths.len() as u8, ..Self::default() };
        columns.widths[..widths.len()].copy_from_slice(widths);
        Ok(columns)
    }

    /// Bytes of a key in each column.
    pub fn widths(&self) -> &[u8] {
        &self.widths[..usize::from(self.count)]
    }

    /// Whether there are no filter columns.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the columns take in a block.
    pub fn size(&self) -> usize {
        self.offset(self.widths().len())
    }

    fn offset(&self, column: usize) -> usize {
        self.widths[..column].iter().map(|w| 4 + BLOCK_ROWS * usize::from(*w)).sum()
    }

    /// The mask of slots without a key, and the keys, of one column in the bytes of a block.
    pub fn column<'a>(&self, bytes: &'a [u8], column: usize) -> (u32, &'a [u8]) {
        let bytes = &bytes[self.offset(column)..];
        let (nulls, keys) = bytes.split_at(4);
        let nulls = u32::from_le_bytes([nulls[0], nulls[1], nulls[2], nulls[3]]);
        (nulls, &keys[..BLOCK_ROWS * usize::from(self.widths[column])])
    }

    /// Writes the keys of the row in `slot` into the bytes of a block.
    pub fn put(&self, bytes: &mut [u8], slot: usize, keys: &[Key]) {
        assert_eq!(keys.len(), self.widths().len());
        for (column, key) in keys.iter().enumerate() {
            let width = usize::from(self.widths[column]);
            let nulls = self.column(bytes, column).0 & !(1 << slot) | u32::from(key.is_none()) << slot;
            let at = self.offset(column);
            bytes[at..at + 4].copy_from_slice(&nulls.to_le_bytes());
            let key = key.unwrap_or(0).to_le_bytes();
            bytes[at + 4 + slot * width..][..width].copy_from_slice(&key[..width]);
        }
    }

    /// Bytes of a row's keys in a coded row of a build.
    pub fn row_size(&self) -> usize {
        if self.is_empty() { 0 } else { 4 + 8 * self.widths().len() }
    }

    /// Writes a row's keys into [`Columns::row_size`] bytes.
    pub fn write_row(&self, keys: &[Key], out: &mut [u8]) {
        if self.is_empty() {
            return;
        }
        let (nulls, values) = out.split_at_mut(4);
        let mask = keys.iter().enumerate().fold(0u32, |m, (i, k)| m | u32::from(k.is_none()) << i);
        nulls.copy_from_slice(&mask.to_le_bytes());
        for (to, key) in values.as_chunks_mut::<8>().0.iter_mut().zip(keys) {
            *to = key.unwrap_or(0).to_le_bytes();
        }
    }

    /// Reads what [`Columns::write_row`] wrote.
    pub fn read_row(&self, bytes: &[u8], keys: &mut Vec<Key>) {
        keys.clear();
        if self.is_empty() {
            return;
        }
        let nulls = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let values = bytes[4..].as_chunks::<8>().0.iter().enumerate();
        keys.extend(values.map(|(i, v)| (nulls >> i & 1 == 0).then(|| u64::from_le_bytes(*v))));
    }
}
