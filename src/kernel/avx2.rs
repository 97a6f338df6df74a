//! The AVX2 row, with FMA and F16C (Haswell and later, every Zen): 8 floats or 32 bytes at a time.

mod floats;
pub(super) mod pack;

use super::scalar;
use super::table::{BLOCK_ROWS, Factors, Kernels, TOKENS};
use floats::{load, total};
use std::arch::x86_64::*;

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx2",
    supported: || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("popcnt")
    },
    l2_squared: floats::l2_squared,
    inner_product: floats::inner_product,
    cosine_distance: floats::cosine_distance,
    l1: floats::l1,
    norm_squared: floats::norm_squared,
    norm_squared_f16: floats::norm_squared_f16,
    l2_squared_f16: floats::l2_squared_f16,
    inner_product_f16: floats::inner_product_f16,
    cosine_distance_f16: floats::cosine_distance_f16,
    l1_f16: floats::l1_f16,
    widen: floats::widen,
    narrow: floats::narrow,
    hamming,
    hamming_rows,
    common_bits,
    common_rows,
    subset_sums,
    scan_block,
    pack_rows: pack::pack_rows,
    lower_bounds,
    within_u32,
    within_u64,
    dot_extended3,
    dot_extended4,
    dot_u8_i8,
    dots_i8,
    dot_f32_i8,
    hadamard,
    max_products,
    tile,
    sign_code,
    grid_code4,
};

/// 8 signed bytes as floats.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_i8(s: &[i8; 8]) -> __m256 {
    // SAFETY: the array is 8 bytes, which is what this reads.
    let bytes = unsafe { _mm_loadl_epi64(s.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
}

/// 16 signed bytes as 16-bit integers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen_i8(s: &[i8; 16]) -> __m256i {
    // SAFETY: the array is 16 bytes.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(s.as_ptr().cast()) })
}

/// 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_bytes(s: &[i8; 32]) -> __m256i {
    // SAFETY: the array is 32 bytes.
    unsafe { _mm256_loadu_si256(s.as_ptr().cast()) }
}

/// 16 unsigned bytes as 16-bit integers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen_u8(s: &[u8; 16]) -> __m256i {
    // SAFETY: the array is 16 bytes.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(s.as_ptr().cast()) })
}

/// Folds pairs of `N` elements into four accumulators: enough to hide the latency of an addition.
/// The last pair may be shorter.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold_parts<const N: usize, A, B, S: Copy>(
    a: &[A],
    b: &[B],
    zero: S,
    step: impl Fn(S, &[A], &[B]) -> S,
) -> [S; 4] {
    let [mut s0, mut s1, mut s2, mut s3] = [zero; 4];
    let (a, a_tail) = a.as_chunks::<N>();
    let (b, b_tail) = b.as_chunks::<N>();
    let (a_quads, a) = a.as_chunks::<4>();
    let (b_quads, b) = b.as_chunks::<4>();
    for ([a0, a1, a2, a3], [b0, b1, b2, b3]) in a_quads.iter().zip(b_quads) {
        s0 = step(s0, a0, b0);
        s1 = step(s1, a1, b1);
        s2 = step(s2, a2, b2);
        s3 = step(s3, a3, b3);
    }
    for (a, b) in a.iter().zip(b) {
        s0 = step(s0, a, b);
    }
    if !a_tail.is_empty() {
        s1 = step(s1, a_tail, b_tail);
    }
    [s0, s1, s2, s3]
}

/// As above, but the last, shorter pair is filled up with zeros.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold<const N: usize, A: Copy + Default, B: Copy + Default, S: Copy>(
    a: &[A],
    b: &[B],
    zero: S,
    step: impl Fn(S, &[A; N], &[B; N]) -> S,
) -> [S; 4] {
    fold_parts::<N, A, B, S>(a, b, zero, |s, a, b| match (a.first_chunk(), b.first_chunk()) {
        (Some(a), Some(b)) => step(s, a, b),
        _ => {
            let (mut padded_a, mut padded_b) = ([A::default(); N], [B::default(); N]);
            padded_a[..a.len()].copy_from_slice(a);
            padded_b[..b.len()].copy_from_slice(b);
            step(s, &padded_a, &padded_b)
        }
    })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn total_i32([s0, s1, s2, s3]: [__m256i; 4]) -> i32 {
    let s = _mm256_add_epi32(_mm256_add_epi32(s0, s1), _mm256_add_epi32(s2, s3));
    let s = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s));
    let s = _mm_add_epi32(s, _mm_shuffle_epi32::<0b01_00_11_10>(s));
    _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32::<0b10_11_00_01>(s)))
}

#[target_feature(enable = "popcnt")]
fn hamming(a: &[u8], b: &[u8]) -> u64 {
    scalar::hamming(a, b)
}

/// Bits are counted by lookup of nibbles (Muła, Kurz, Lemire, arXiv 1611.07612), 32 bytes at a time.
#[target_feature(enable = "avx2,fma,f16c,popcnt")]
fn hamming_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    let tail = |a: &[u8], b: &[u8]| scalar::hamming(a, b);
    combined_rows(query, rows, counts, |a, b| _mm256_xor_si256(a, b), tail);
}

#[target_feature(enable = "avx2,fma,f16c,popcnt")]
fn common_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    let tail = |a: &[u8], b: &[u8]| scalar::common_bits(a, b).0;
    combined_rows(query, rows, counts, |a, b| _mm256_and_si256(a, b), tail);
}

/// Counts the bits of what `combine` makes of the query and each row. `few` counts those of less than 32
/// bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,popcnt")]
fn combined_rows(
    query: &[u8],
    rows: &[u8],
    counts: &mut [u32; BLOCK_ROWS],
    combine: impl Fn(__m256i, __m256i) -> __m256i,
    few: impl Fn(&[u8], &[u8]) -> u64,
) {
    let nibble = _mm256_set1_epi8(15);
    let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let (wide, tail) = query.as_chunks::<32>();
    for (row, count) in rows.chunks_exact(query.len()).zip(counts) {
        let (row_wide, row_tail) = row.as_chunks::<32>();
        let mut total = _mm256_setzero_si256();
        // At most 31 counts of up to eight bits fit a byte.
        for (query, row) in wide.chunks(31).zip(row_wide.chunks(31)) {
            let mut bytes = _mm256_setzero_si256();
            for (a, b) in query.iter().zip(row) {
                // SAFETY: the arrays are 32 bytes.
                let (a, b) =
                    unsafe { (_mm256_loadu_si256(a.as_ptr().cast()), _mm256_loadu_si256(b.as_ptr().cast())) };
                let bits = combine(a, b);
                let low = _mm256_and_si256(bits, nibble);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), nibble);
                bytes = _mm256_add_epi8(bytes, _mm256_shuffle_epi8(table, low));
                bytes = _mm256_add_epi8(bytes, _mm256_shuffle_epi8(table, high));
            }
            total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
        }
        let half = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
        let whole = _mm_cvtsi128_si32(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
        *count = whole.cast_unsigned() + few(tail, row_tail) as u32;
    }
}

#[target_feature(enable = "popcnt")]
fn common_bits(a: &[u8], b: &[u8]) -> (u64, u64) {
    scalar::common_bits(a, b)
}

/// Two sub-quantizers a step, each looked up within its own 128-bit lane.
///
/// A 16-bit element has the bytes of two codes. The sum of whole elements is the sum of the low bytes plus
/// 256 times the sum of the high bytes, modulo 2^16. The high bytes are also summed separately, and
/// subtracting them gives the sum of the low bytes. Each of the four sums takes one addition per step, and
/// the latency of an addition is one cycle. More sums would not fit the registers.
#[target_feature(enable = "avx2,fma,f16c")]
fn scan_block(lut: &[u8], codes: &[u8], ahead: usize, sums: &mut [u32; BLOCK_ROWS]) {
    let nibble = _mm256_set1_epi8(15);
    let step = |s: [__m256i; 4], table: __m256i, codes: __m256i| {
        let low = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble));
        let high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
        [
            _mm256_add_epi16(s[0], low),
            _mm256_add_epi16(s[1], _mm256_srli_epi16::<8>(low)),
            _mm256_add_epi16(s[2], high),
            _mm256_add_epi16(s[3], _mm256_srli_epi16::<8>(high)),
        ]
    };
    // 128 steps of two lanes of bytes: 256 * 255 fits 16 bits, even with the lanes added together.
    for (lut, codes) in lut.chunks(32 * 128).zip(codes.chunks(32 * 128)) {
        let mut s = [_mm256_setzero_si256(); 4];
        let (pairs, last) = lut.as_chunks::<32>();
        let (codes, last_codes) = codes.as_chunks::<32>();
        for (lut, codes) in pairs.iter().zip(codes) {
            _mm_prefetch::<_MM_HINT_T0>(codes.as_ptr().wrapping_add(ahead).cast());
            // SAFETY: the arrays are 32 bytes.
            let (table, codes) = unsafe {
                (_mm256_loadu_si256(lut.as_ptr().cast()), _mm256_loadu_si256(codes.as_ptr().cast()))
            };
            s = step(s, table, codes);
        }
        if let (Some(lut), Some(codes)) = (last.first_chunk::<16>(), last_codes.first_chunk::<16>()) {
            // If the number of sub-quantizers is odd, the last one uses the lower lane only; the table of the
            // other lane is zero. SAFETY: the arrays are 16 bytes.
            let (table, codes) =
                unsafe { (_mm_loadu_si128(lut.as_ptr().cast()), _mm_loadu_si128(codes.as_ptr().cast())) };
            s = step(s, _mm256_zextsi128_si256(table), _mm256_zextsi128_si256(codes));
        }
        let low_even = _mm256_sub_epi16(s[0], _mm256_slli_epi16::<8>(s[1]));
        let high_even = _mm256_sub_epi16(s[2], _mm256_slli_epi16::<8>(s[3]));
        // Eight codes each, in order.
        for (i, part) in [low_even, s[1], high_even, s[3]].into_iter().enumerate() {
            let both = _mm_add_epi16(_mm256_castsi256_si128(part), _mm256_extracti128_si256::<1>(part));
            let part = _mm256_cvtepu16_epi32(both);
            // SAFETY: `i` is below 4, and `sums` is 4 times 32 bytes.
            unsafe {
                let at = sums.as_mut_ptr().add(8 * i).cast();
                _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), part));
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn lower_bounds(sums: &[u32; BLOCK_ROWS], factors: &Factors, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    let mut mask = 0;
    for part in 0..4 {
        // SAFETY: `part` is below 4, and `sums` is 128 bytes, `add` and `rescale` 64.
        let (sum, add, rescale) = unsafe {
            (
                _mm256_loadu_si256(sums.as_ptr().add(8 * part).cast()),
                _mm_loadu_si128(factors.add.as_ptr().add(16 * part).cast()),
                _mm_loadu_si128(factors.rescale.as_ptr().add(16 * part).cast()),
            )
        };
        // The instruction converts signed integers. So the upper and the lower 16 bits are converted
        // separately, and their sum rounds once.
        let high = _mm256_cvtepi32_ps(_mm256_srli_epi32::<16>(sum));
        let low = _mm256_cvtepi32_ps(_mm256_and_si256(sum, _mm256_set1_epi32(0xffff)));
        let sum = _mm256_add_ps(_mm256_mul_ps(high, _mm256_set1_ps(65536.0)), low);
        // Fused multiply-add is not used here, so that every row of kernels rounds in the same way.
        let scaled = _mm256_mul_ps(_mm256_set1_ps(factors.scale), sum);
        let product = _mm256_add_ps(scaled, _mm256_set1_ps(factors.shift));
        let start = _mm256_add_ps(_mm256_cvtph_ps(add), _mm256_set1_ps(factors.base));
        let bound = _mm256_add_ps(start, _mm256_mul_ps(_mm256_cvtph_ps(rescale), product));
        let kept = _mm256_cmp_ps::<_CMP_NGE_UQ>(bound, _mm256_set1_ps(factors.threshold));
        mask |= (_mm256_movemask_ps(kept) as u32) << (8 * part);
        // SAFETY: `part` is below 4, and `bounds` is 128 bytes.
        unsafe { _mm256_storeu_ps(bounds.as_mut_ptr().add(8 * part), bound) };
    }
    mask
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn subset_sums(terms: &[u16], base: u16, lut: &mut [u8]) {
    // Word `i` of a register is for entry `i`. It is term `t` of the four if bit `t` of `i` is set, else
    // zero.
    let base = _mm256_set1_epi16(base.cast_signed());
    let places: [__m256i; 4] = std::array::from_fn(|t| {
        let place = |i: usize| if ((i / 2) >> t) & 1 == 1 { (2 * t + i % 2) as u8 } else { 0x80 };
        let bytes: [u8; 32] = std::array::from_fn(place);
        // SAFETY: the array is 32 bytes.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    });
    for (t, out) in terms.as_chunks::<4>().0.iter().zip(lut.as_chunks_mut::<16>().0) {
        // SAFETY: the array is 8 bytes.
        let t = _mm256_set1_epi64x(unsafe { t.as_ptr().cast::<i64>().read_unaligned() });
        let [a, b, c, d] = places.map(|place| _mm256_shuffle_epi8(t, place));
        let sums = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
        let upper = _mm256_srli_epi16::<8>(_mm256_add_epi16(sums, base));
        let (low, high) = (_mm256_castsi256_si128(upper), _mm256_extracti128_si256::<1>(upper));
        // SAFETY: the array is 16 bytes.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_packus_epi16(low, high)) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn within_u32(values: &[u8; 4 * BLOCK_ROWS], low: u32, high: u32) -> u32 {
    let (low, high) = (_mm256_set1_epi32(low.cast_signed()), _mm256_set1_epi32(high.cast_signed()));
    values.as_chunks::<32>().0.iter().enumerate().fold(0, |mask, (part, values)| {
        // SAFETY: the array is 32 bytes.
        let x = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
        let above = _mm256_cmpeq_epi32(_mm256_max_epu32(x, low), x);
        let below = _mm256_cmpeq_epi32(_mm256_min_epu32(x, high), x);
        let within = _mm256_and_si256(above, below);
        mask | (_mm256_movemask_ps(_mm256_castsi256_ps(within)).cast_unsigned()) << (8 * part)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
fn within_u64(values: &[u8; 8 * BLOCK_ROWS], low: u64, high: u64) -> u32 {
    // The instruction compares signed integers, so all numbers are shifted by half the range.
    let sign = _mm256_set1_epi64x(i64::MIN);
    let low = _mm256_xor_si256(_mm256_set1_epi64x(low.cast_signed()), sign);
    let high = _mm256_xor_si256(_mm256_set1_epi64x(high.cast_signed()), sign);
    values.as_chunks::<32>().0.iter().enumerate().fold(0, |mask, (part, values)| {
        // SAFETY: the array is 32 bytes.
        let x = _mm256_xor_si256(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }, sign);
        let outside = _mm256_or_si256(_mm256_cmpgt_epi64(low, x), _mm256_cmpgt_epi64(x, high));
        let outside = _mm256_movemask_pd(_mm256_castsi256_pd(outside)).cast_unsigned();
        mask | (!outside & 0xf) << (4 * part)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_extended3(codes: &[u8], query: &[i8]) -> i32 {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 2];
    for (code, query) in codes.as_chunks::<24>().0.iter().zip(query.as_chunks::<64>().0) {
        for ((sum, code), query) in sums.iter_mut().zip(low_three(code)).zip(query.as_chunks::<32>().0) {
            // Two products of at most 7 * 128 do not saturate 16 bits.
            let pairs = _mm256_maddubs_epi16(code, load_signed(query));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    let zero = _mm256_setzero_si256();
    total_i32([sums[0], sums[1], zero, zero])
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_extended4(low: &[u8], signs: &[u8], query: &[i8]) -> i32 {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 2];
    let codes = low.as_chunks::<24>().0.iter().zip(signs.as_chunks::<8>().0);
    for ((code, signs), query) in codes.zip(query.as_chunks::<64>().0) {
        let halves = low_three(code).into_iter().zip(signs.as_chunks::<4>().0);
        for ((sum, (low, signs)), query) in sums.iter_mut().zip(halves).zip(query.as_chunks::<32>().0) {
            let code = _mm256_or_si256(low, spread_bits(*signs, 8));
            // Two products of at most 15 * 128 do not saturate 16 bits.
            let pairs = _mm256_maddubs_epi16(code, load_signed(query));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    let zero = _mm256_setzero_si256();
    total_i32([sums[0], sums[1], zero, zero])
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_signed(bytes: &[i8; 32]) -> __m256i {
    // SAFETY: the array is 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// The low three bits of 64 codes, a byte each; see [`super::dot_extended3`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn low_three(code: &[u8; 24]) -> [__m256i; 2] {
    let three = _mm256_set1_epi8(3);
    // SAFETY: 16 of the 24 bytes.
    let planes = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(code.as_ptr().cast()) });
    let half = |shifts: __m256i, high: [u8; 4]| {
        // Bits that a shift carries across bytes are masked away.
        let low = _mm256_and_si256(_mm256_srlv_epi64(planes, shifts), three);
        _mm256_or_si256(low, spread_bits(high, 4))
    };
    let [.., a, b, c, d, e, f, g, h] = *code;
    [half(_mm256_setr_epi64x(0, 0, 2, 2), [a, b, c, d]), half(_mm256_setr_epi64x(4, 4, 6, 6), [e, f, g, h])]
}

/// 32 bytes, of which byte `i` is `value` if bit `i` is set.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn spread_bits(bits: [u8; 4], value: i8) -> __m256i {
    // Byte `i` of a lane is made from bit `i % 8` of byte `i / 8`.
    let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let each = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let bits = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes(bits)), spread);
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, each), each);
    _mm256_and_si256(set, _mm256_set1_epi8(value))
}

/// Widens first: the byte instruction saturates at 255 * 127 * 2.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    total_i32(fold(a, b, _mm256_setzero_si256(), |s, a, b| {
        _mm256_add_epi32(s, _mm256_madd_epi16(widen_u8(a), widen_i8(b)))
    }))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dots_i8(query: &[i8], rows: &[i8], dots: &mut [i32]) {
    // The instruction multiplies unsigned with signed bytes. So it gets the magnitudes of one side, and the
    // other side with the first side's signs applied. Two products of 127 × 127 fit 16 bits.
    let ones = _mm256_set1_epi16(1);
    for (row, dot) in rows.chunks_exact(query.len()).zip(dots) {
        *dot = total_i32(fold(query, row, _mm256_setzero_si256(), |s, a: &[i8; 32], b| {
            let (a, b) = (load_bytes(a), load_bytes(b));
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
            _mm256_add_epi32(s, _mm256_madd_epi16(pairs, ones))
        }));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f32_i8(a: &[f32], b: &[i8]) -> f32 {
    total(fold(a, b, _mm256_setzero_ps(), |s, a, b| _mm256_fmadd_ps(load(a), load_i8(b), s)))
}

/// One level within registers: `x` with its partners `t`, subtracted in the lanes of `MASK`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn butterfly<const MASK: i32>(x: __m256, t: __m256) -> __m256 {
    _mm256_blend_ps::<MASK>(_mm256_add_ps(x, t), _mm256_sub_ps(t, x))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(s: &mut [f32; 8], x: __m256) {
    // SAFETY: the array is 32 bytes.
    unsafe { _mm256_storeu_ps(s.as_mut_ptr(), x) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn hadamard(x: &mut [f32]) {
    if x.len() < 8 {
        return scalar::hadamard(x);
    }
    for chunk in x.as_chunks_mut::<8>().0 {
        let x = load(chunk);
        let x = butterfly::<0b1010_1010>(x, _mm256_permute_ps::<0b10_11_00_01>(x));
        let x = butterfly::<0b1100_1100>(x, _mm256_permute_ps::<0b01_00_11_10>(x));
        let x = butterfly::<0b1111_0000>(x, _mm256_permute2f128_ps::<1>(x, x));
        store(chunk, x);
    }
    scalar::wide_levels(x, 8, |[a, b, c, d]| {
        let (w, x, y, z) = (load(a), load(b), load(c), load(d));
        let (p, q) = (_mm256_add_ps(w, x), _mm256_sub_ps(w, x));
        let (r, s) = (_mm256_add_ps(y, z), _mm256_sub_ps(y, z));
        store(a, _mm256_add_ps(p, r));
        store(b, _mm256_add_ps(q, s));
        store(c, _mm256_sub_ps(p, r));
        store(d, _mm256_sub_ps(q, s));
    });
}

/// Six vectors at a time, with two sums each: as many as fit the registers.
#[target_feature(enable = "avx2,fma,f16c")]
fn max_products(sixteen: &[[f32; 16]], others: [&[f32]; TOKENS], best: &mut [f32; 16]) {
    for others in others.as_chunks::<6>().0 {
        let mut sums = [[_mm256_setzero_ps(); 2]; 6];
        for (i, lanes) in sixteen.iter().enumerate() {
            let [low, high] = lanes.as_chunks::<8>().0 else { break };
            let (low, high) = (load(low), load(high));
            for (sums, other) in sums.iter_mut().zip(others) {
                // SAFETY: all have the same length, which the entry point checks.
                let x = _mm256_set1_ps(unsafe { *other.get_unchecked(i) });
                *sums = [_mm256_fmadd_ps(x, low, sums[0]), _mm256_fmadd_ps(x, high, sums[1])];
            }
        }
        for (half, best) in best.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            store(best, sums.iter().fold(load(best), |best, sums| _mm256_max_ps(sums[half], best)));
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile(a: &[[f32; 4]], b: &[[f32; 16]]) -> [[f32; 16]; 4] {
    let mut sums = [[_mm256_setzero_ps(); 2]; 4];
    for (a, b) in a.iter().zip(b) {
        let [low, high] = b.as_chunks::<8>().0 else { break };
        let (low, high) = (load(low), load(high));
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = _mm256_set1_ps(*a);
            *sums = [_mm256_fmadd_ps(a, low, sums[0]), _mm256_fmadd_ps(a, high, sums[1])];
        }
    }
    let mut out = [[0.0; 16]; 4];
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sums) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            store(out, sums);
        }
    }
    out
}

#[target_feature(enable = "avx2,fma,f16c")]
fn sign_code(a: &[f32], b: &[f32], out: &mut [u8]) -> [f32; 2] {
    scalar::sign_code(a, b, out)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn grid_code4(a: &[f32], b: &[f32], steps: f32, out: &mut [u8]) -> [f32; 3] {
    scalar::grid_code4(a, b, steps, out)
}
