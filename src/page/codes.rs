//! Codes pages: blocks of 32 one-bit codes, with what the first stage of a scan needs beside them.
//!
//! A block is `live: u32, owned: u32, add: [f16; 32], rescale: [f16; 32], refs: [6 bytes; 32], columns, codes`,
//! where `columns` are the filter columns (`columns.rs`) and `codes` are `padded / 4` groups of 16 bytes (`quant::pack`). Small blocks share a page; a block larger
//! than a page keeps its first groups on its own page, after the numbers of the pages with the others.
//! A slot is *live* when its row is in the index, *owned* once it has been given an extended record, which
//! it keeps for ever: a dead slot is reused together with its record.

use std::ops::Range;

use super::columns::{Columns, Key};
use super::page::{CONTENT_SIZE, HEADER_SIZE, NO_BLOCK, Page};
use super::tid::{RecordRef, TID_SIZE};
use crate::error::{Error, Kind, Result};

/// Codes in a block.
pub const BLOCK: usize = 32;
/// Bytes of a code group: four dimensions of 32 vectors.
pub const GROUP_SIZE: usize = 16;
/// Further pages that one block may take (16,000 dimensions need seven).
pub const MAX_MORE: usize = 8;

const LIVE: usize = 0;
const OWNED: usize = 4;
const ADD: usize = 8;
const RESCALE: usize = 72;
const REFS: usize = 136;
const HEAD_SIZE: usize = REFS + BLOCK * TID_SIZE;
const GROUPS_MORE: usize = CONTENT_SIZE / GROUP_SIZE;

/// How blocks of a given width lie on pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    groups: usize,
    first_groups: usize,
    columns: Columns,
    columns_at: usize,
    codes_at: usize,
    block_size: usize,
    blocks: usize,
    more: usize,
}

impl Layout {
    /// The layout for codes of `padded` dimensions (a multiple of 4) with filter columns.
    ///
    /// # Errors
    /// More columns than fit a page.
    pub fn new(padded: usize, columns: Columns) -> Result<Self> {
        let groups = padded / 4;
        let size = HEAD_SIZE + columns.size() + groups * GROUP_SIZE;
        if size <= CONTENT_SIZE {
            return Ok(Self {
                groups,
                first_groups: groups,
                columns,
                columns_at: HEAD_SIZE,
                codes_at: HEAD_SIZE + columns.size(),
                block_size: size,
                blocks: CONTENT_SIZE / size,
                more: 0,
            });
        }
        let columns_at = HEAD_SIZE + 4 * MAX_MORE;
        let codes_at = columns_at + columns.size();
        if codes_at > CONTENT_SIZE {
            let message = "the columns of the ivf index are too many to lie on one page";
            return Err(Error::new(Kind::LimitExceeded, message).with_hint("Index fewer columns."));
        }
        let first_groups = (CONTENT_SIZE - codes_at) / GROUP_SIZE;
        Ok(Self {
            groups,
            first_groups,
            columns,
            columns_at,
            codes_at,
            block_size: codes_at + first_groups * GROUP_SIZE,
            blocks: 1,
            more: (groups - first_groups).div_ceil(GROUPS_MORE),
        })
    }

    /// The filter columns.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The mask of slots without a key and the keys of a filter column of a block.
    pub fn column<'a>(&self, block: BlockRef<'a>, column: usize) -> (u32, &'a [u8]) {
        self.columns.column(&block.bytes[self.columns_at..self.codes_at], column)
    }

    /// For pages of copies, whose last column is the list that the row itself is in.
    pub fn own_list(&self, block: BlockRef<'_>, slot: usize) -> u32 {
        let (_, keys) = self.column(block, self.columns.widths().len() - 1);
        word(keys, 4 * slot)
    }

    /// The reference of a copy to the row in `slot` of block `index` of codes page `block`.
    pub fn slot_reference(block: u32, index: usize, slot: usize) -> RecordRef {
        RecordRef { block, offset: (index * BLOCK + slot) as u16 }
    }

    /// Block and slot on its page of the row that a copy refers to.
    pub fn slot_of(&self, reference: RecordRef) -> Result<(usize, usize)> {
        let at = usize::from(reference.offset);
        if at >= self.rows() {
            return Err(Error::corrupted(reference.block, "a copy refers to a slot that does not exist"));
        }
        Ok((at / BLOCK, at % BLOCK))
    }

    /// The bytes of its page that block number `index` takes.
    pub fn range(&self, index: usize) -> Range<usize> {
        let start = HEADER_SIZE + index * self.block_size;
        start..start + self.block_size
    }

    /// Writes the keys of the row in `slot`, one for each filter column.
    pub fn put_keys(&self, block: &mut BlockMut<'_>, slot: usize, keys: &[Key]) {
        self.columns.put(&mut block.bytes[self.columns_at..self.codes_at], slot, keys);
    }

    /// Blocks on a page.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Rows on a codes page.
    pub fn rows(&self) -> usize {
        self.blocks * BLOCK
    }

    /// Further pages of each block; zero unless a block is larger than a page.
    pub fn more(&self) -> usize {
        self.more
    }

    /// The groups `first..end` on the further page number `index` (from 0).
    pub fn more_groups(&self, index: usize) -> (usize, usize) {
        let first = self.first_groups + index * GROUPS_MORE;
        (first, self.groups.min(first + GROUPS_MORE))
    }

    /// The groups on the codes page itself.
    pub fn first_groups(&self) -> usize {
        self.first_groups
    }

    /// The block number `index` of a page.
    pub fn block<'a>(&self, page: &'a Page, index: usize) -> BlockRef<'a> {
        let bytes = &page.content()[index * self.block_size..][..self.block_size];
        BlockRef { bytes, codes_at: self.codes_at }
    }

    /// The block number `index` of a page, to write.
    pub fn block_mut<'a>(&self, page: &'a mut Page, index: usize) -> BlockMut<'a> {
        let bytes = &mut page.content_mut()[index * self.block_size..][..self.block_size];
        BlockMut { bytes, codes_at: self.codes_at }
    }

    /// The groups of a further page that holds `first..end`.
    pub fn more_codes<'a>(&self, page: &'a Page, index: usize) -> &'a [u8] {
        let (first, end) = self.more_groups(index);
        &page.content()[..(end - first) * GROUP_SIZE]
    }

    /// The groups of a further page, to write.
    pub fn more_codes_mut<'a>(&self, page: &'a mut Page, index: usize) -> &'a mut [u8] {
        let (first, end) = self.more_groups(index);
        &mut page.content_mut()[..(end - first) * GROUP_SIZE]
    }
}

/// A block, for reading.
#[derive(Clone, Copy)]
pub struct BlockRef<'a> {
    bytes: &'a [u8],
    codes_at: usize,
}

impl<'a> BlockRef<'a> {
    /// Bit `i`: the row in slot `i` is in the index.
    pub fn live(&self) -> u32 {
        word(self.bytes, LIVE)
    }

    /// Bit `i`: slot `i` has a reference.
    pub fn owned(&self) -> u32 {
        word(self.bytes, OWNED)
    }

    /// The 32 additive factors, f16 little-endian.
    pub fn add(&self) -> &'a [u8; 64] {
        array(&self.bytes[ADD..])
    }

    /// The 32 multiplicative factors, f16 little-endian.
    pub fn rescale(&self) -> &'a [u8; 64] {
        array(&self.bytes[RESCALE..])
    }

    /// The reference of a slot.
    pub fn reference(&self, slot: usize) -> RecordRef {
        RecordRef::from_bytes(array(&self.bytes[REFS + slot * TID_SIZE..]))
    }

    /// The code groups on this page.
    pub fn codes(&self) -> &'a [u8] {
        &self.bytes[self.codes_at..]
    }

    /// The further page number `index`.
    pub fn more(&self, index: usize) -> u32 {
        word(self.bytes, HEAD_SIZE + 4 * index)
    }
}

/// A block, for writing.
pub struct BlockMut<'a> {
    bytes: &'a mut [u8],
    codes_at: usize,
}

impl BlockMut<'_> {
    /// The same block, for reading.
    pub fn as_ref(&self) -> BlockRef<'_> {
        BlockRef { bytes: self.bytes, codes_at: self.codes_at }
    }

    /// Sets the live mask.
    pub fn set_live(&mut self, mask: u32) {
        self.bytes[LIVE..LIVE + 4].copy_from_slice(&mask.to_le_bytes());
    }

    /// Gives a slot its factors (f16 bits) and reference and marks it owned and live.
    pub fn put(&mut self, slot: usize, add: u16, rescale: u16, reference: RecordRef) {
        self.bytes[ADD + 2 * slot..][..2].copy_from_slice(&add.to_le_bytes());
        self.bytes[RESCALE + 2 * slot..][..2].copy_from_slice(&rescale.to_le_bytes());
        self.bytes[REFS + slot * TID_SIZE..][..TID_SIZE].copy_from_slice(&reference.to_bytes());
        let owned = self.as_ref().owned() | 1 << slot;
        self.bytes[OWNED..OWNED + 4].copy_from_slice(&owned.to_le_bytes());
        self.set_live(self.as_ref().live() | 1 << slot);
    }

    /// The code groups on this page.
    pub fn codes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.codes_at..]
    }

    /// Notes the further pages; the unused numbers are [`NO_BLOCK`].
    pub fn set_more(&mut self, blocks: &[u32]) {
        for i in 0..MAX_MORE {
            let block = blocks.get(i).copied().unwrap_or(NO_BLOCK);
            self.bytes[HEAD_SIZE + 4 * i..][..4].copy_from_slice(&block.to_le_bytes());
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*array(&bytes[at..]))
}

fn array<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    match bytes.first_chunk() {
        Some(a) => a,
        None => unreachable!("offsets lie inside the block"),
    }
}
