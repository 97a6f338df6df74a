//! Packing of plain codes: a transposition of bytes.

use std::arch::x86_64::*;

use crate::kernel::scalar::PERMUTED;
use crate::kernel::table::BLOCK_ROWS;

#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernel) fn pack_rows(rows: &[u8], groups: &mut [u8]) {
    columns(rows, groups, 0);
}

/// Packs the columns of bytes from `from` on, a multiple of eight: sixteen at a time, and the last eight
/// alone.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernel) fn columns(rows: &[u8], groups: &mut [u8], from: usize) {
    let size = rows.len() / BLOCK_ROWS;
    assert!(rows.len() == groups.len() && rows.len().is_multiple_of(8 * BLOCK_ROWS) && from <= size);
    let mut at = from;
    while at + 16 <= size {
        // SAFETY: the row is one of `size` bytes, of which sixteen are left from `at` on.
        let load = |row: usize| unsafe { _mm_loadu_si128(rows.as_ptr().add(row * size + at).cast()) };
        store(&mut groups[32 * at..], load);
        at += 16;
    }
    if at < size {
        // SAFETY: the row is one of `size` bytes, of which eight are left from `at` on.
        let load = |row: usize| unsafe { _mm_loadl_epi64(rows.as_ptr().add(row * size + at).cast()) };
        store(&mut groups[32 * at..], load);
    }
}

/// Writes two groups for each column of the rows, as many as there is room for.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(groups: &mut [u8], row: impl Fn(usize) -> __m128i) {
    let pair = |i: usize| interleaved(row(PERMUTED[i]), row(PERMUTED[i] + BLOCK_ROWS / 2));
    let columns = transposed(std::array::from_fn(pair));
    for (out, column) in groups.as_chunks_mut::<32>().0.iter_mut().zip(columns) {
        // SAFETY: the array is 32 bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), column) };
    }
}

/// The low nibbles of two rows in the lower lane, the high ones in the upper lane; those of `first` are the
/// low nibbles of the bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn interleaved(first: __m128i, second: __m128i) -> __m256i {
    let (right, left) = (_mm256_setr_epi64x(0, 0, 4, 4), _mm256_setr_epi64x(4, 4, 0, 0));
    let low = _mm256_set1_epi8(15);
    // Bits that a shift carries across bytes are masked away.
    let first = _mm256_and_si256(_mm256_srlv_epi64(_mm256_broadcastsi128_si256(first), right), low);
    let second = _mm256_andnot_si256(low, _mm256_sllv_epi64(_mm256_broadcastsi128_si256(second), left));
    _mm256_or_si256(first, second)
}

/// Transposes the sixteen rows of sixteen bytes in each lane.
///
/// A byte's place is four bits of its row's number, then four of its column's. Each of the four steps moves
/// the highest of these eight bits to the end.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn transposed(mut rows: [__m256i; 16]) -> [__m256i; 16] {
    for _ in 0..4 {
        rows = std::array::from_fn(|i| match i % 2 {
            0 => _mm256_unpacklo_epi8(rows[i / 2], rows[i / 2 + 8]),
            _ => _mm256_unpackhi_epi8(rows[i / 2], rows[i / 2 + 8]),
        });
    }
    rows
}
