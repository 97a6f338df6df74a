//! Codes pages: blocks of 32 one-bit codes, with all that the first stage of a scan needs.
//!
//! A block is `live: u32, owned: u32, add: [f16; 32], rescale: [f16; 32], refs: [6 bytes; 32], columns,
//! codes`, where `columns` are the filter columns (`columns.rs`) and `codes` are `padded / 4` groups of 16
//! bytes (`quant::pack`). Small blocks share a page; a block larger than a page has its first groups on its
//! own page, after the block numbers of the further pages with the other groups. A slot is *live* if its row
//! is in the index. It is *owned* once it has an extended record, which it keeps for ever: a dead slot is
//! reused together with its record.
//!
//! One block of a page may have *plain* codes: those of one row after the other, in the same place. The
//! page's number says which block it is. Only blocks that share a page may be plain, and only inserts make
//! them so (`ivf/plain.rs`).
//!
//! Bit strings are not interleaved and need no factors. A block of them is `live, owned, columns, refs,
//! codes`, with the codes one after the other. The last block of a page has as many slots as the page has
//! room for.

use std::ops::Range;

use super::columns::{Columns, Key};
use super::page::{CONTENT_SIZE, NO_BLOCK, Page};
use super::tid::{RecordRef, TID_SIZE};
use crate::error::{Error, Kind, Result};
use crate::kernel::{self, BLOCK_ROWS};

/// Bytes of a code group: four dimensions of 32 vectors.
pub const GROUP_SIZE: usize = 16;
/// Further pages that one block may take (16,000 dimensions need seven).
pub const MAX_MORE: usize = 8;

/// The number (`Page::count`) of a page that has left the chain of its list, and takes no rows.
pub const OUT_OF_CHAIN: u32 = 1;
/// The number of a page whose first block has plain codes; those of the other blocks follow. 0: no block has.
const FIRST_PLAIN: u32 = 2;

const LIVE: usize = 0;
const OWNED: usize = 4;
const ADD: usize = 8;
const RESCALE: usize = 72;
const REFS: usize = 136;
const HEAD_SIZE: usize = REFS + BLOCK_ROWS * TID_SIZE;
/// Where blocks of strings of bits have their columns.
const BITS_HEAD: usize = 8;
const GROUPS_MORE: usize = CONTENT_SIZE / GROUP_SIZE;

/// How the codes of a block are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// In groups, all on the page of the block. The page may have further blocks. One of the blocks may be
    /// plain if `plain`.
    Whole { plain: bool },
    /// In `groups` groups. The first `first` groups are on the block's page, which has no other block. The
    /// others are on `further` more pages.
    Split { groups: usize, first: usize, further: usize },
    /// Bit strings of `bytes` bytes each, one after the other. The last block of a page has `last_slots`
    /// slots.
    Strings { bytes: usize, last_slots: usize },
}

/// How blocks of a given width lie on pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    form: Form,
    refs_at: usize,
    columns: Columns,
    columns_at: usize,
    codes_at: usize,
    /// Size in bytes of a block with all its slots.
    block_size: usize,
    blocks: usize,
}

impl Layout {
    /// The layout for codes of `padded` dimensions (a multiple of 4) with filter columns.
    ///
    /// # Errors
    /// More columns than fit a page.
    pub fn new(padded: usize, columns: Columns) -> Result<Self> {
        let groups = padded / 4;
        let codes_at = HEAD_SIZE + columns.size();
        let block_size = codes_at + groups * GROUP_SIZE;
        if block_size > CONTENT_SIZE {
            return Self::split(groups, columns);
        }
        let (refs_at, columns_at, blocks) = (REFS, HEAD_SIZE, CONTENT_SIZE / block_size);
        let form = Form::Whole { plain: false };
        Ok(Self { form, refs_at, columns, columns_at, codes_at, block_size, blocks })
    }

    /// The layout of an index in which blocks may have plain codes, if they are not larger than a page.
    pub fn with_plain(self) -> Self {
        match self.form {
            Form::Whole { .. } => Self { form: Form::Whole { plain: true }, ..self },
            Form::Split { .. } | Form::Strings { .. } => self,
        }
    }

    /// The layout for blocks that are larger than a page.
    fn split(groups: usize, columns: Columns) -> Result<Self> {
        let columns_at = HEAD_SIZE + 4 * MAX_MORE;
        let codes_at = columns_at + columns.size();
        let room = CONTENT_SIZE.checked_sub(codes_at).ok_or_else(too_many_columns)?;
        let first = room / GROUP_SIZE;
        let further = (groups - first).div_ceil(GROUPS_MORE);
        let form = Form::Split { groups, first, further };
        let block_size = codes_at + first * GROUP_SIZE;
        Ok(Self { form, refs_at: REFS, columns, columns_at, codes_at, block_size, blocks: 1 })
    }

    /// The layout for codes that are strings of `bytes` bytes.
    ///
    /// # Errors
    /// Not one row with its columns fits a page.
    pub fn of_bits(bytes: usize, columns: Columns) -> Result<Self> {
        let refs_at = BITS_HEAD + columns.size();
        let slot = TID_SIZE + bytes;
        let block_size = refs_at + BLOCK_ROWS * slot;
        let whole = CONTENT_SIZE / block_size;
        let left = (CONTENT_SIZE % block_size).saturating_sub(refs_at) / slot;
        let (blocks, last_slots) = match left {
            0 => (whole, BLOCK_ROWS),
            left => (whole + 1, left),
        };
        if blocks == 0 {
            return Err(too_many_columns());
        }
        let form = Form::Strings { bytes, last_slots };
        let codes_at = refs_at + BLOCK_ROWS * TID_SIZE;
        Ok(Self { form, refs_at, columns, columns_at: BITS_HEAD, codes_at, block_size, blocks })
    }

    /// The filter columns.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The mask of slots without a key and the keys of a filter column of a block.
    pub fn column<'a>(&self, block: BlockRef<'a>, column: usize) -> (u32, &'a [u8]) {
        self.columns.column(&block.bytes[self.columns_at..], column)
    }

    /// The keys of the row in `slot`, one for each filter column.
    pub fn keys(&self, block: BlockRef<'_>, slot: usize, keys: &mut Vec<Key>) {
        keys.clear();
        keys.extend(self.columns.widths().iter().enumerate().map(|(column, &width)| {
            let (nulls, bytes) = self.column(block, column);
            let mut key = [0; 8];
            key[..usize::from(width)]
                .copy_from_slice(&bytes[slot * usize::from(width)..][..usize::from(width)]);
            (nulls >> slot & 1 == 0).then_some(u64::from_le_bytes(key))
        }));
    }

    /// The bytes of a block for the filter columns.
    pub fn all_keys<'a>(&self, block: BlockRef<'a>) -> &'a [u8] {
        &block.bytes[self.columns_at..][..self.columns.size()]
    }

    /// Writes the keys of the row in `slot`, one for each filter column.
    pub fn put_keys(&self, block: &mut BlockMut<'_>, slot: usize, keys: &[Key]) {
        self.columns.put(&mut block.bytes[self.columns_at..], slot, keys);
    }

    /// Blocks on a page.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Rows on a codes page.
    pub fn rows(&self) -> usize {
        (self.blocks - 1) * BLOCK_ROWS + self.slots(self.blocks - 1)
    }

    /// Slots of the block number `index` of a page.
    pub fn slots(&self, index: usize) -> usize {
        match self.form {
            Form::Strings { last_slots, .. } if index + 1 == self.blocks => last_slots,
            _ => BLOCK_ROWS,
        }
    }

    /// Where the block number `index` lies on its page, and its slots.
    fn at(&self, index: usize) -> (Range<usize>, BlockOffsets) {
        let missing = BLOCK_ROWS - self.slots(index);
        let (factors, string) = match self.form {
            Form::Whole { .. } | Form::Split { .. } => (true, 0),
            Form::Strings { bytes, .. } => (false, bytes),
        };
        let start = index * self.block_size;
        let end = start + self.block_size - missing * (TID_SIZE + string);
        let at = BlockOffsets {
            slots: u32::MAX >> missing,
            factors,
            plain: false,
            refs_at: self.refs_at,
            codes_at: self.codes_at - missing * TID_SIZE,
        };
        (start..end, at)
    }

    /// Whether a block may have plain codes.
    pub fn may_be_plain(&self) -> bool {
        self.form == Form::Whole { plain: true }
    }

    /// The block of a page that has plain codes, if there is one.
    #[inline]
    pub fn plain(&self, page: &Page) -> Option<usize> {
        let index = page.count().checked_sub(FIRST_PLAIN)?;
        self.may_be_plain().then_some(index as usize)
    }

    /// Says which block of a page has plain codes.
    pub fn set_plain(&self, page: &mut Page, index: Option<usize>) {
        assert!(self.may_be_plain(), "blocks of this layout have one form");
        page.set_count(index.map_or(0, |index| FIRST_PLAIN + index as u32));
    }

    /// Further pages of each block; zero unless a block is larger than a page.
    pub fn more(&self) -> usize {
        match self.form {
            Form::Split { further, .. } => further,
            Form::Whole { .. } | Form::Strings { .. } => 0,
        }
    }

    /// The groups `first..end` on the block's further page number `index` (from 0). The range is empty for
    /// blocks without further pages.
    pub fn more_groups(&self, index: usize) -> (usize, usize) {
        match self.form {
            Form::Split { groups, first, .. } => {
                let first = first + index * GROUPS_MORE;
                (first, groups.min(first + GROUPS_MORE))
            }
            Form::Whole { .. } | Form::Strings { .. } => (0, 0),
        }
    }

    /// The block number `index` of a page.
    pub fn block<'a>(&self, page: &'a Page, index: usize) -> BlockRef<'a> {
        self.block_of(page, index, self.plain(page))
    }

    /// The same, if it is known which block is plain.
    #[inline]
    fn block_of<'a>(&self, page: &'a Page, index: usize, plain: Option<usize>) -> BlockRef<'a> {
        let (range, at) = self.at(index);
        let block = BlockRef { bytes: &page.content()[range], at };
        // A mark of an empty or a full block is damaged.
        let plain = plain == Some(index) && !matches!(block.owned(), 0 | u32::MAX);
        BlockRef { at: BlockOffsets { plain, ..at }, ..block }
    }

    /// The blocks of a page in order.
    #[inline]
    pub fn blocks_on<'a>(&self, page: &'a Page) -> impl Iterator<Item = BlockRef<'a>> {
        let plain = self.plain(page);
        (0..self.blocks).map(move |index| self.block_of(page, index, plain))
    }

    /// Whether no slot of a page has had a row.
    pub fn is_unused(&self, page: &Page) -> bool {
        self.blocks_on(page).all(|block| block.owned() == 0)
    }

    /// The live slots of a page, each with its block.
    pub fn live_slots<'a>(&self, page: &'a Page) -> impl Iterator<Item = (BlockRef<'a>, usize)> {
        self.blocks_on(page).flat_map(|block| slots(block.live()).map(move |slot| (block, slot)))
    }

    /// The block number `index` of a page, to write.
    pub fn block_mut<'a>(&self, page: &'a mut Page, index: usize) -> BlockMut<'a> {
        let (range, at) = self.at(index);
        BlockMut { bytes: &mut page.content_mut()[range], at }
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

/// The numbers of the slots whose bits are set in the mask.
pub fn slots(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let slot = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            slot
        })
    })
}

fn too_many_columns() -> Error {
    let message = "too many filter columns: their keys do not fit on one page";
    Error::new(Kind::LimitExceeded, message).with_hint("Index fewer filter columns.")
}

/// Where things are in a block.
#[derive(Clone, Copy)]
struct BlockOffsets {
    /// The existing slots, as a mask.
    slots: u32,
    /// Whether the block has factors.
    factors: bool,
    /// Whether its codes are plain.
    plain: bool,
    refs_at: usize,
    codes_at: usize,
}

/// A block, for reading.
#[derive(Clone, Copy)]
pub struct BlockRef<'a> {
    bytes: &'a [u8],
    at: BlockOffsets,
}

impl<'a> BlockRef<'a> {
    /// Bit `i`: the row in slot `i` is in the index.
    pub fn live(&self) -> u32 {
        word(self.bytes, LIVE) & self.at.slots
    }

    /// Bit `i`: slot `i` can take a row.
    pub fn free(&self) -> u32 {
        !word(self.bytes, LIVE) & self.at.slots
    }

    /// Whether slots are marked live or owned that do not exist.
    pub fn is_overfull(&self) -> bool {
        (word(self.bytes, LIVE) | word(self.bytes, OWNED)) & !self.at.slots != 0
    }

    /// Bit `i`: slot `i` has a reference.
    pub fn owned(&self) -> u32 {
        word(self.bytes, OWNED) & self.at.slots
    }

    /// The 32 additive factors, f16 little-endian.
    pub fn add(&self) -> &'a [u8; 64] {
        array(&self.bytes[ADD..])
    }

    /// The 32 multiplicative factors, f16 little-endian.
    pub fn rescale(&self) -> &'a [u8; 64] {
        array(&self.bytes[RESCALE..])
    }

    /// What the block begins with, up to the references.
    pub fn factors(&self) -> &'a [u8] {
        &self.bytes[..self.at.refs_at]
    }

    /// The references of all slots.
    pub fn references(&self) -> &'a [u8] {
        &self.bytes[self.at.refs_at..][..BLOCK_ROWS * TID_SIZE]
    }

    /// The reference of a slot.
    pub fn reference(&self, slot: usize) -> RecordRef {
        RecordRef::from_bytes(array(&self.bytes[self.at.refs_at + slot * TID_SIZE..]))
    }

    /// The code groups on this page. `memory` is for those of plain codes.
    #[inline]
    pub fn groups<'m>(&self, memory: &'m mut Vec<u8>) -> &'m [u8]
    where
        'a: 'm,
    {
        if self.at.plain { packed(self.codes(), memory) } else { self.codes() }
    }

    /// Whether the codes are plain.
    pub fn is_plain(&self) -> bool {
        self.at.plain
    }

    /// The code of a slot, if codes are plain.
    pub fn plain_code(&self, slot: usize) -> Option<&'a [u8]> {
        let size = self.codes().len() / BLOCK_ROWS;
        self.at.plain.then(|| &self.codes()[slot * size..][..size])
    }

    /// All strings of bits; the codes as they are stored.
    pub fn codes(&self) -> &'a [u8] {
        &self.bytes[self.at.codes_at..]
    }

    /// The further page number `index`.
    pub fn more(&self, index: usize) -> u32 {
        word(self.bytes, HEAD_SIZE + 4 * index)
    }
}

/// Packs plain codes.
#[inline(never)]
fn packed<'m>(plain: &[u8], memory: &'m mut Vec<u8>) -> &'m [u8] {
    memory.resize(plain.len(), 0);
    kernel::pack_rows(plain, memory);
    memory
}

/// A block, for writing.
pub struct BlockMut<'a> {
    bytes: &'a mut [u8],
    at: BlockOffsets,
}

impl BlockMut<'_> {
    /// The same block, for reading.
    pub fn as_ref(&self) -> BlockRef<'_> {
        BlockRef { bytes: self.bytes, at: self.at }
    }

    /// Sets the live mask.
    pub fn set_live(&mut self, mask: u32) {
        self.bytes[LIVE..LIVE + 4].copy_from_slice(&mask.to_le_bytes());
    }

    /// Sets the reference of a slot that has one.
    pub fn set_reference(&mut self, slot: usize, reference: RecordRef) {
        let at = self.at.refs_at + slot * TID_SIZE;
        self.bytes[at..at + TID_SIZE].copy_from_slice(&reference.to_bytes());
    }

    /// Writes a slot's factors (f16 bits; not for bit strings) and reference, and marks it owned and live.
    pub fn put(&mut self, slot: usize, add: u16, rescale: u16, reference: RecordRef) {
        if self.at.factors {
            self.bytes[ADD + 2 * slot..][..2].copy_from_slice(&add.to_le_bytes());
            self.bytes[RESCALE + 2 * slot..][..2].copy_from_slice(&rescale.to_le_bytes());
        }
        self.set_reference(slot, reference);
        let owned = self.as_ref().owned() | 1 << slot;
        self.bytes[OWNED..OWNED + 4].copy_from_slice(&owned.to_le_bytes());
        self.set_live(self.as_ref().live() | 1 << slot);
    }

    /// All strings of bits; the codes as they are stored.
    pub fn codes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.at.codes_at..]
    }

    /// Writes the block numbers of the further pages; unused ones are [`NO_BLOCK`].
    pub fn set_more(&mut self, pages: &[u32]) {
        for i in 0..MAX_MORE {
            let blkno = pages.get(i).copied().unwrap_or(NO_BLOCK);
            self.bytes[HEAD_SIZE + 4 * i..][..4].copy_from_slice(&blkno.to_le_bytes());
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
