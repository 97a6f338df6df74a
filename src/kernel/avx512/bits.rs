//! Bit strings: bits are counted with AVX512_VPOPCNTDQ.

use crate::kernel::scalar;
use crate::kernel::table::BLOCK_ROWS;
use std::arch::x86_64::*;

#[target_feature(enable = "avx512vl,avx512vpopcntdq,popcnt")]
pub(in crate::kernel) fn hamming(a: &[u8], b: &[u8]) -> u64 {
    scalar::hamming(a, b)
}

/// Counts the bits of what `combine` makes of two strings, in four partial sums.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")]
fn combined(a: &[u8], b: &[u8], combine: impl Fn(__m256i, __m256i) -> __m256i) -> __m256i {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    let ones = |s, a: &[u8], b: &[u8]| {
        _mm256_add_epi64(s, _mm256_popcnt_epi64(combine(load_few_bytes(a), load_few_bytes(b))))
    };
    let whole = a.iter().zip(b).fold(_mm256_setzero_si256(), |s, (a, b)| ones(s, a, b));
    if a_tail.is_empty() { whole } else { ones(whole, a_tail, b_tail) }
}

/// Up to 32 bytes, then zeros.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load_few_bytes(s: &[u8]) -> __m256i {
    let lanes = (u64::MAX >> 32 >> (32 - s.len().min(32))) as u32;
    // SAFETY: the mask ends with the slice, and a lane outside the mask is not read.
    unsafe { _mm256_maskz_loadu_epi8(lanes, s.as_ptr().cast()) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")]
pub(in crate::kernel) fn hamming_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    combined_rows(query, rows, counts, |a, b| _mm256_xor_si256(a, b));
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")]
pub(in crate::kernel) fn common_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    combined_rows(query, rows, counts, |a, b| _mm256_and_si256(a, b));
}

/// Counts the bits of what `combine` makes of the query and each row.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")]
fn combined_rows(
    query: &[u8],
    rows: &[u8],
    counts: &mut [u32; BLOCK_ROWS],
    combine: impl Fn(__m256i, __m256i) -> __m256i,
) {
    match query.len() {
        // Kept in a register.
        0..=32 => {
            let query_bytes = load_few_bytes(query);
            count_rows(query.len(), rows, counts, |row| {
                _mm256_popcnt_epi64(combine(query_bytes, load_few_bytes(row)))
            });
        }
        _ => count_rows(query.len(), rows, counts, |row| combined(query, row, &combine)),
    }
}

/// Adds the four partial sums of `ones` for each row, for four rows at a time.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")]
fn count_rows(size: usize, rows: &[u8], counts: &mut [u32; BLOCK_ROWS], ones: impl Fn(&[u8]) -> __m256i) {
    let whole = rows.len() / (4 * size);
    for (rows, counts) in rows.chunks_exact(4 * size).zip(counts.as_chunks_mut::<4>().0) {
        let (low, high) = rows.split_at(2 * size);
        let ((a, b), (c, d)) = (low.split_at(size), high.split_at(size));
        let (a, b, c, d) = (ones(a), ones(b), ones(c), ones(d));
        let ab = _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let cd = _mm256_add_epi64(_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
        let all = _mm256_add_epi64(
            _mm256_permute2x128_si256::<0x20>(ab, cd),
            _mm256_permute2x128_si256::<0x31>(ab, cd),
        );
        // SAFETY: the array is 16 bytes.
        unsafe { _mm_storeu_si128(counts.as_mut_ptr().cast(), _mm256_cvtepi64_epi32(all)) };
    }
    for (row, count) in rows.chunks_exact(size).zip(counts).skip(4 * whole) {
        let s = ones(row);
        let s = _mm_add_epi64(_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s));
        *count = _mm_cvtsi128_si64(_mm_add_epi64(s, _mm_unpackhi_epi64(s, s))) as u32;
    }
}

#[target_feature(enable = "avx512vl,avx512vpopcntdq,popcnt")]
pub(in crate::kernel) fn common_bits(a: &[u8], b: &[u8]) -> (u64, u64) {
    scalar::common_bits(a, b)
}
