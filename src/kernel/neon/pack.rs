//! Packing of plain codes: a transposition of bytes.

use std::arch::aarch64::*;

use crate::kernel::scalar::PERMUTED;
use crate::kernel::table::BLOCK_ROWS;

/// Sixteen columns of bytes at a time, and the last eight alone.
#[target_feature(enable = "neon")]
pub(in crate::kernel) fn pack_rows(rows: &[u8], groups: &mut [u8]) {
    let size = rows.len() / BLOCK_ROWS;
    assert!(rows.len() == groups.len() && rows.len().is_multiple_of(8 * BLOCK_ROWS));
    let mut at = 0;
    while at + 16 <= size {
        // SAFETY: the row is one of `size` bytes, of which sixteen are left from `at` on.
        let load = |row: usize| unsafe { vld1q_u8(rows.as_ptr().add(row * size + at)) };
        store(&mut groups[32 * at..], load);
        at += 16;
    }
    if at < size {
        // SAFETY: the row is one of `size` bytes, of which eight are left from `at` on.
        let load = |row: usize| unsafe { vld1_u8(rows.as_ptr().add(row * size + at)) };
        store(&mut groups[32 * at..], |row| vcombine_u8(load(row), vdup_n_u8(0)));
    }
}

/// Writes two groups for each column of the rows, as many as there is room for.
#[inline]
#[target_feature(enable = "neon")]
fn store(groups: &mut [u8], row: impl Fn(usize) -> uint8x16_t) {
    let pairs: [_; 16] = std::array::from_fn(|i| (row(PERMUTED[i]), row(PERMUTED[i] + BLOCK_ROWS / 2)));
    // The second row's bits take the upper nibbles, the first row's the lower ones.
    let low = transposed(pairs.map(|(first, second)| vsliq_n_u8::<4>(first, second)));
    let high = transposed(pairs.map(|(first, second)| vsriq_n_u8::<4>(second, first)));
    for (out, (low, high)) in groups.as_chunks_mut::<32>().0.iter_mut().zip(low.into_iter().zip(high)) {
        // SAFETY: the array is 32 bytes.
        unsafe {
            vst1q_u8(out.as_mut_ptr(), low);
            vst1q_u8(out.as_mut_ptr().add(16), high);
        }
    }
}

/// Transposes sixteen rows of sixteen bytes.
///
/// A byte's place is four bits of its row's number, then four of its column's. Each of the four steps moves
/// the highest of these eight bits to the end.
#[inline]
#[target_feature(enable = "neon")]
fn transposed(mut rows: [uint8x16_t; 16]) -> [uint8x16_t; 16] {
    for _ in 0..4 {
        rows = std::array::from_fn(|i| match i % 2 {
            0 => vzip1q_u8(rows[i / 2], rows[i / 2 + 8]),
            _ => vzip2q_u8(rows[i / 2], rows[i / 2 + 8]),
        });
    }
    rows
}
