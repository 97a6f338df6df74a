//! Plain codes: how inserts write the codes of a block that is not full.
//!
//! In a group, each row has four bits. So a row that is written into a packed block changes every group, and
//! the log gets some bytes for each of them: ten times the size of the code. An insert therefore writes the
//! code of a row as it is, beside those of the other rows of its block. The insert that takes the last slot
//! packs the block, in the same change. A scan packs a plain block in memory (`BlockRef::groups`).

use crate::kernel::{self, BLOCK_ROWS};
use crate::page::Page;
use crate::page::codes::{BlockRef, Layout};
use crate::quant::pack;

/// A packed block becomes plain if it has at least so many slots that no row has had. To make it plain and
/// then packed again writes it twice; each row that is written into a packed block takes about a third of it.
const LEAST_FREE: u32 = 8;

/// Writes the code of a row into a slot that is not live, before the slot is marked. The layout allows plain
/// codes.
pub fn put(layout: &Layout, page: &mut Page, (index, slot): (usize, usize), signs: &[u8]) {
    let block = layout.block(page, index);
    let (owned, mut plain) = (block.owned(), block.is_plain());
    let is_last = owned | 1 << slot == u32::MAX;
    if layout.plain(page).is_none() && owned.count_zeros() >= LEAST_FREE {
        if owned != 0 {
            unpack_block(layout.block_mut(page, index).codes());
        }
        layout.set_plain(page, Some(index));
        plain = true;
    }
    let mut block = layout.block_mut(page, index);
    let codes = block.codes();
    if !plain {
        return pack::write_signs(codes, 0, slot, signs);
    }
    codes[slot * signs.len()..][..signs.len()].copy_from_slice(signs);
    if is_last {
        pack_block(codes);
        layout.set_plain(page, None);
    }
}

/// Packs the plain block of a page, if it has one.
pub fn pack(layout: &Layout, page: &mut Page) {
    let marked = layout.plain(page).filter(|index| *index < layout.blocks());
    let Some(index) = marked.filter(|index| layout.block(page, *index).is_plain()) else { return };
    pack_block(layout.block_mut(page, index).codes());
    layout.set_plain(page, None);
}

/// Reads the code of a slot, as far as it is on the block's page.
pub fn read(block: BlockRef<'_>, slot: usize, signs: &mut [u8]) {
    match block.plain_code(slot) {
        Some(code) => signs.copy_from_slice(code),
        None => pack::read_signs(block.codes(), 0, slot, signs),
    }
}

/// Packs plain codes.
fn pack_block(codes: &mut [u8]) {
    let rows = codes.to_vec();
    kernel::pack_rows(&rows, codes);
}

/// Makes packed codes plain.
fn unpack_block(codes: &mut [u8]) {
    let groups = codes.to_vec();
    for (slot, signs) in codes.chunks_exact_mut(groups.len() / BLOCK_ROWS).enumerate() {
        pack::read_signs(&groups, 0, slot, signs);
    }
}
