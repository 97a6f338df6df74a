//! Packing of plain codes: a transposition of bytes.

use std::arch::x86_64::*;

use crate::kernel::avx2;
use crate::kernel::scalar::PERMUTED;
use crate::kernel::table::BLOCK_ROWS;

/// 32 columns of bytes at a time; the AVX2 row packs the others.
#[target_feature(enable = "avx2,fma,f16c,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(in crate::kernel) fn pack_rows(rows: &[u8], groups: &mut [u8]) {
    let size = rows.len() / BLOCK_ROWS;
    assert!(rows.len() == groups.len());
    let mut at = 0;
    while at + 32 <= size {
        // SAFETY: the row is one of `size` bytes, of which 32 are left from `at` on.
        let load = |row: usize| unsafe { _mm256_loadu_si256(rows.as_ptr().add(row * size + at).cast()) };
        let columns = transposed(std::array::from_fn(|i| {
            interleaved(load(PERMUTED[i]), load(PERMUTED[i] + BLOCK_ROWS / 2))
        }));
        let (first, second) = groups[32 * at..][..32 * 32].split_at_mut(32 * 16);
        let outs = first.as_chunks_mut::<32>().0.iter_mut().zip(second.as_chunks_mut::<32>().0);
        for ((first, second), column) in outs.zip(columns) {
            // SAFETY: the arrays are 32 bytes.
            unsafe {
                _mm256_storeu_si256(first.as_mut_ptr().cast(), _mm512_castsi512_si256(column));
                _mm256_storeu_si256(second.as_mut_ptr().cast(), _mm512_extracti64x4_epi64::<1>(column));
            }
        }
        at += 32;
    }
    avx2::pack::columns(rows, groups, at);
}

/// The nibbles of two rows in four lanes: the low ones of the first half, its high ones, then those of the
/// second half. Those of `first` are the low nibbles of the bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn interleaved(first: __m256i, second: __m256i) -> __m512i {
    const HALVES_TWICE: i32 = 0b01_01_00_00;
    let twice = |x: __m256i| {
        let x = _mm512_castsi256_si512(x);
        _mm512_shuffle_i64x2::<HALVES_TWICE>(x, x)
    };
    let right = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    let left = _mm512_setr_epi64(4, 4, 0, 0, 4, 4, 0, 0);
    let first = _mm512_srlv_epi64(twice(first), right);
    let second = _mm512_sllv_epi64(twice(second), left);
    // Bits that a shift carries across bytes are masked away: `first` where the mask is set, else `second`.
    const CHOOSE: i32 = 0xca;
    _mm512_ternarylogic_epi64::<CHOOSE>(_mm512_set1_epi8(15), first, second)
}

/// As the function of the AVX2 row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn transposed(mut rows: [__m512i; 16]) -> [__m512i; 16] {
    for _ in 0..4 {
        rows = std::array::from_fn(|i| match i % 2 {
            0 => _mm512_unpacklo_epi8(rows[i / 2], rows[i / 2 + 8]),
            _ => _mm512_unpackhi_epi8(rows[i / 2], rows[i / 2 + 8]),
        });
    }
    rows
}
