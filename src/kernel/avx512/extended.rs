//! Products with the codes of extended records, whose bits lie in planes.

use std::arch::x86_64::*;

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(in crate::kernel) fn dot_extended3(codes: &[u8], query: &[i8]) -> i32 {
    let (code_pairs, code) = codes.as_chunks::<24>().0.as_chunks::<2>();
    let (query_pairs, query) = query.as_chunks::<64>().0.as_chunks::<2>();
    let [mut s0, mut s1] = [_mm512_setzero_si512(); 2];
    for ([c0, c1], [q0, q1]) in code_pairs.iter().zip(query_pairs) {
        s0 = _mm512_dpbusd_epi32(s0, low_three(c0), load_signed(q0));
        s1 = _mm512_dpbusd_epi32(s1, low_three(c1), load_signed(q1));
    }
    for (code, query) in code.iter().zip(query) {
        s0 = _mm512_dpbusd_epi32(s0, low_three(code), load_signed(query));
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(in crate::kernel) fn dot_extended4(low: &[u8], signs: &[u8], query: &[i8]) -> i32 {
    let eight = _mm512_set1_epi8(8);
    let step = |sum: __m512i, code: &[u8; 24], signs: &[u8; 8], query: &[i8; 64]| {
        let low = low_three(code);
        let code = _mm512_mask_add_epi8(low, u64::from_le_bytes(*signs), low, eight);
        _mm512_dpbusd_epi32(sum, code, load_signed(query))
    };
    let (code_pairs, code) = low.as_chunks::<24>().0.as_chunks::<2>();
    let (sign_pairs, sign) = signs.as_chunks::<8>().0.as_chunks::<2>();
    let (query_pairs, query) = query.as_chunks::<64>().0.as_chunks::<2>();
    let [mut s0, mut s1] = [_mm512_setzero_si512(); 2];
    for (([c0, c1], [b0, b1]), [q0, q1]) in code_pairs.iter().zip(sign_pairs).zip(query_pairs) {
        s0 = step(s0, c0, b0, q0);
        s1 = step(s1, c1, b1, q1);
    }
    for ((code, signs), query) in code.iter().zip(sign).zip(query) {
        s0 = step(s0, code, signs, query);
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1))
}

/// The low three bits of 64 codes, a byte each; see [`super::dot_extended3`].
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn low_three(code: &[u8; 24]) -> __m512i {
    let shifts = _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6);
    // SAFETY: 16 of the 24 bytes.
    let planes = unsafe { _mm_loadu_si128(code.as_ptr().cast()) };
    let high = u64::from_le_bytes(std::array::from_fn(|i| code[16 + i]));
    // Bits that a shift carries across bytes are masked away.
    let low =
        _mm512_and_si512(_mm512_srlv_epi64(_mm512_broadcast_i32x4(planes), shifts), _mm512_set1_epi8(3));
    _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(4))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load_signed(bytes: &[i8; 64]) -> __m512i {
    // SAFETY: the array is 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
