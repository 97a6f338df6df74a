//! Where a row is in the heap, and where an extended record is in the index: six bytes each.

/// Bytes of a stored [`Tid`] or [`RecordRef`].
pub const TID_SIZE: usize = 6;

/// A heap address (`ItemPointerData`): block and one-based line pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid {
    /// Heap block.
    pub blkno: u32,
    /// Line pointer number, from 1; 0 is never a row.
    pub offset: u16,
}

impl Tid {
    /// The six stored bytes.
    pub fn to_bytes(self) -> [u8; TID_SIZE] {
        let b = self.blkno.to_le_bytes();
        let o = self.offset.to_le_bytes();
        [b[0], b[1], b[2], b[3], o[0], o[1]]
    }

    /// Reads six stored bytes.
    pub fn from_bytes(b: &[u8; TID_SIZE]) -> Self {
        Self { blkno: u32::from_le_bytes([b[0], b[1], b[2], b[3]]), offset: u16::from_le_bytes([b[4], b[5]]) }
    }

    /// A number that has the order of the heap.
    pub fn as_u64(self) -> u64 {
        u64::from(self.blkno) << 16 | u64::from(self.offset)
    }

    /// The address of such a number.
    pub fn from_u64(number: u64) -> Self {
        Self { blkno: (number >> 16) as u32, offset: number as u16 }
    }
}

/// What a slot of a code block refers to: the extended record (block, index) or, in an index without records,
/// the heap row (block, offset).
pub type RecordRef = Tid;
