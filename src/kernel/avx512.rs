//! The AVX-512 row (Ice Lake and later, Zen 4 and later): 16 floats or 64 bytes at a time, and a
//! masked load instead of a scalar tail.

mod bits;
mod extended;
mod pack;

use super::table::{BLOCK_ROWS, Factors, Kernels, TOKENS};
use super::{avx2, scalar};
use half::f16;
use std::arch::x86_64::*;

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx512",
    supported: || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("f16c")
    },
    l2_squared,
    inner_product,
    cosine_distance,
    l1,
    norm_squared,
    norm_squared_f16,
    l2_squared_f16,
    inner_product_f16,
    cosine_distance_f16,
    l1_f16,
    widen,
    narrow,
    hamming: bits::hamming,
    hamming_rows: bits::hamming_rows,
    common_bits: bits::common_bits,
    common_rows: bits::common_rows,
    subset_sums: avx2::subset_sums,
    scan_block,
    pack_rows: pack::pack_rows,
    lower_bounds,
    within_u32,
    within_u64,
    dot_extended3: extended::dot_extended3,
    dot_extended4: extended::dot_extended4,
    dot_u8_i8,
    dots_i8,
    dot_f32_i8,
    hadamard,
    max_products,
    tile,
    sign_code,
    grid_code4,
};

/// The same for Zen 4, which executes each 512-bit instruction in two steps. There the AVX-512 distances of
/// floats and halves take 1 to 1.4 times as long as those of the AVX2 row, so this row uses AVX2's. The other
/// kernels are faster than AVX2's (`cargo bench --bench kernel`).
pub(super) static ZEN4: Kernels = Kernels {
    name: "zen4",
    supported: || (KERNELS.supported)() && (avx2::KERNELS.supported)() && is_zen4(),
    l2_squared: avx2::KERNELS.l2_squared,
    inner_product: avx2::KERNELS.inner_product,
    cosine_distance: avx2::KERNELS.cosine_distance,
    l1: avx2::KERNELS.l1,
    norm_squared: avx2::KERNELS.norm_squared,
    norm_squared_f16: avx2::KERNELS.norm_squared_f16,
    l2_squared_f16: avx2::KERNELS.l2_squared_f16,
    inner_product_f16: avx2::KERNELS.inner_product_f16,
    cosine_distance_f16: avx2::KERNELS.cosine_distance_f16,
    l1_f16: avx2::KERNELS.l1_f16,
    ..KERNELS
};

/// AMD's family 0x19. Zen 3 belongs to it, too, but has no AVX-512.
fn is_zen4() -> bool {
    let (vendor, version) = (__cpuid(0), __cpuid(1).eax);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    name.as_flattened() == b"AuthenticAMD" && family == 0x19
}

/// The first `len` (at most 16) of 16 lanes.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn lanes(len: usize) -> __mmask16 {
    ((1u32 << len.min(16)) - 1) as __mmask16
}

/// Up to 16 floats, then zeros.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load(s: &[f32]) -> __m512 {
    // SAFETY: the mask ends with the slice, and a lane outside the mask is not read.
    unsafe { _mm512_maskz_loadu_ps(lanes(s.len()), s.as_ptr()) }
}

/// Up to 16 halves, widened, then zeros.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load_f16(s: &[f16]) -> __m512 {
    // SAFETY: the mask ends with the slice, and a lane outside the mask is not read; f16 is 16 bits.
    _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(lanes(s.len()), s.as_ptr().cast()) })
}

/// Up to 16 signed bytes as floats, then zeros.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load_i8(s: &[i8]) -> __m512 {
    // SAFETY: the mask ends with the slice, and a lane outside the mask is not read.
    let bytes = unsafe { _mm_maskz_loadu_epi8(lanes(s.len()), s.as_ptr()) };
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
}

/// Up to 64 bytes of either sign, then zeros.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load_bytes<T: Byte>(s: &[T]) -> __m512i {
    let mask = if s.len() < 64 { (1 << s.len()) - 1 } else { !0 };
    // SAFETY: the mask ends with the slice, and a lane outside the mask is not read; a `Byte` is one byte.
    unsafe { _mm512_maskz_loadu_epi8(mask, s.as_ptr().cast()) }
}

/// A type of one byte.
trait Byte: Copy {}
impl Byte for u8 {}
impl Byte for i8 {}

/// Folds pairs of up to 16 elements into four accumulators: enough to hide the latency of an addition.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn fold<A, B, S: Copy>(a: &[A], b: &[B], zero: S, step: impl Fn(S, &[A], &[B]) -> S) -> [S; 4] {
    let [mut s0, mut s1, mut s2, mut s3] = [zero; 4];
    let (a_wide, a) = a.as_chunks::<64>();
    let (b_wide, b) = b.as_chunks::<64>();
    for (a, b) in a_wide.iter().zip(b_wide) {
        s0 = step(s0, &a[..16], &b[..16]);
        s1 = step(s1, &a[16..32], &b[16..32]);
        s2 = step(s2, &a[32..48], &b[32..48]);
        s3 = step(s3, &a[48..], &b[48..]);
    }
    let (a_whole, a) = a.as_chunks::<16>();
    let (b_whole, b) = b.as_chunks::<16>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        s0 = step(s0, a, b);
    }
    if !a.is_empty() {
        s1 = step(s1, a, b);
    }
    [s0, s1, s2, s3]
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn total([s0, s1, s2, s3]: [__m512; 4]) -> f32 {
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)))
}

/// The sum over pairs; a short vector takes one step and needs no accumulators.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn sum<A, B>(a: &[A], b: &[B], step: impl Fn(__m512, &[A], &[B]) -> __m512) -> f32 {
    // SAFETY: a pair's lengths are equal, which the entry points check.
    unsafe { std::hint::assert_unchecked(a.len() == b.len()) }
    match a.len() {
        0..=16 => _mm512_reduce_add_ps(step(_mm512_setzero_ps(), a, b)),
        _ => total(fold(a, b, _mm512_setzero_ps(), step)),
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn l2_step(s: __m512, x: __m512, y: __m512) -> __m512 {
    let d = _mm512_sub_ps(x, y);
    _mm512_fmadd_ps(d, d, s)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn l1_step(s: __m512, x: __m512, y: __m512) -> __m512 {
    _mm512_add_ps(s, _mm512_abs_ps(_mm512_sub_ps(x, y)))
}

/// The three sums of a cosine.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn cosine_step([xy, xx, yy]: [__m512; 3], x: __m512, y: __m512) -> [__m512; 3] {
    [_mm512_fmadd_ps(x, y, xy), _mm512_fmadd_ps(x, x, xx), _mm512_fmadd_ps(y, y, yy)]
}

/// The cosine distance. Computed like [`sum`], but for three sums.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn cosine<A>(a: &[A], b: &[A], step: impl Fn([__m512; 3], &[A], &[A]) -> [__m512; 3]) -> f64 {
    // SAFETY: a pair's lengths are equal, which the entry points check.
    unsafe { std::hint::assert_unchecked(a.len() == b.len()) }
    let zero = [_mm512_setzero_ps(); 3];
    let [xy, xx, yy] = match a.len() {
        0..=16 => {
            let [xy, xx, yy] = step(zero, a, b);
            [_mm512_reduce_add_ps(xy), _mm512_reduce_add_ps(xx), _mm512_reduce_add_ps(yy)]
        }
        _ => {
            let [[p0, a0, b0], [p1, a1, b1], [p2, a2, b2], [p3, a3, b3]] = fold(a, b, zero, step);
            [total([p0, p1, p2, p3]), total([a0, a1, a2, a3]), total([b0, b1, b2, b3])]
        }
    };
    super::inline::cosine_of_sums(xy, xx, yy)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |s, a, b| l2_step(s, load(a), load(b)))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |s, a, b| _mm512_fmadd_ps(load(a), load(b), s))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    cosine(a, b, |s, a, b| cosine_step(s, load(a), load(b)))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn l1(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |s, a, b| l1_step(s, load(a), load(b)))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn norm<T>(a: &[T], load: impl Fn(&[T]) -> __m512) -> f64 {
    let [s0, s1, s2, s3] = fold(a, a, _mm512_setzero_pd(), |s, a, _| {
        let x = load(a);
        let low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
        let high = _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(x));
        _mm512_fmadd_pd(low, low, _mm512_fmadd_pd(high, high, s))
    });
    _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(s0, s1), _mm512_add_pd(s2, s3)))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn norm_squared(a: &[f32]) -> f64 {
    norm(a, |a| load(a))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn norm_squared_f16(a: &[f16]) -> f64 {
    norm(a, |a| load_f16(a))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn l2_squared_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |s, a, b| l2_step(s, load_f16(a), load_f16(b)))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn inner_product_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |s, a, b| _mm512_fmadd_ps(load_f16(a), load_f16(b), s))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn cosine_distance_f16(a: &[f16], b: &[f16]) -> f64 {
    cosine(a, b, |s, a, b| cosine_step(s, load_f16(a), load_f16(b)))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn l1_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |s, a, b| l1_step(s, load_f16(a), load_f16(b)))
}

// These handle their tail in steps of four and of one element, because a masked store takes as long as
// several such steps.

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,f16c")]
fn widen(from: &[f16], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
    for (from, to) in from.iter().zip(to) {
        store(to, load_f16(from));
    }
    let ((from, from_rest), (to, to_rest)) = (from_rest.as_chunks::<4>(), to_rest.as_chunks_mut::<4>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: the arrays are 8 and 16 bytes, an f16 being two.
        unsafe { _mm_storeu_ps(to.as_mut_ptr(), _mm_cvtph_ps(_mm_loadl_epi64(from.as_ptr().cast()))) }
    }
    for (from, to) in from_rest.iter().zip(to_rest) {
        *to = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(from.to_bits().into())));
    }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,f16c")]
fn narrow(from: &[f32], to: &mut [f16]) {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: the array is 32 bytes, an f16 being two.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtps_ph::<NEAREST>(load(from))) }
    }
    let ((from, from_rest), (to, to_rest)) = (from_rest.as_chunks::<4>(), to_rest.as_chunks_mut::<4>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: the arrays are 16 and 8 bytes.
        unsafe {
            _mm_storel_epi64(to.as_mut_ptr().cast(), _mm_cvtps_ph::<NEAREST>(_mm_loadu_ps(from.as_ptr())))
        }
    }
    for (from, to) in from_rest.iter().zip(to_rest) {
        *to = f16::from_bits(_mm_cvtsi128_si32(_mm_cvtps_ph::<NEAREST>(_mm_set_ss(*from))) as u16);
    }
}

/// Four sub-quantizers a step, each looked up within its own 128-bit lane.
///
/// A 16-bit element has the bytes of two codes. The sum of whole elements is the sum of the low bytes plus
/// 256 times the sum of the high bytes, modulo 2^16. The high bytes are also summed separately, and
/// subtracting them gives the sum of the low bytes.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn scan_block(lut: &[u8], codes: &[u8], ahead: usize, sums: &mut [u32; BLOCK_ROWS]) {
    let nibble = _mm512_set1_epi8(15);
    // 64 steps of four lanes of bytes: 256 * 255 fits 16 bits, even with the lanes added together.
    for (lut, codes) in lut.chunks(64 * 64).zip(codes.chunks(64 * 64)) {
        let [s0, s1, ..] = fold64(lut, codes, [_mm512_setzero_si512(); 4], |s, lut, codes| {
            _mm_prefetch::<_MM_HINT_T0>(codes.as_ptr().wrapping_add(ahead).cast());
            let (table, codes) = (load_bytes(lut), load_bytes(codes));
            let low = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, nibble));
            let high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble));
            [
                _mm512_add_epi16(s[0], low),
                _mm512_add_epi16(s[1], _mm512_srli_epi16::<8>(low)),
                _mm512_add_epi16(s[2], high),
                _mm512_add_epi16(s[3], _mm512_srli_epi16::<8>(high)),
            ]
        });
        let s: [__m512i; 4] = std::array::from_fn(|i| _mm512_add_epi16(s0[i], s1[i]));
        let low_even = _mm512_sub_epi16(s[0], _mm512_slli_epi16::<8>(s[1]));
        let high_even = _mm512_sub_epi16(s[2], _mm512_slli_epi16::<8>(s[3]));
        // Adds the four lanes of each vector. Eight codes remain in each lane, in order.
        let low = halves(low_even, s[1]);
        let high = halves(high_even, s[3]);
        let all = _mm512_add_epi16(
            _mm512_shuffle_i64x2::<0b10_00_10_00>(low, high),
            _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high),
        );
        let first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(all));
        let second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(all));
        // SAFETY: `sums` is 128 bytes.
        unsafe {
            let at = sums.as_mut_ptr();
            _mm512_storeu_si512(at.cast(), _mm512_add_epi32(_mm512_loadu_si512(at.cast()), first));
            let at = at.add(16);
            _mm512_storeu_si512(at.cast(), _mm512_add_epi32(_mm512_loadu_si512(at.cast()), second));
        }
    }
}

/// Two lanes of `x` plus its other two, then the same of `y`.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn halves(x: __m512i, y: __m512i) -> __m512i {
    _mm512_add_epi16(_mm512_shuffle_i64x2::<0b01_00_01_00>(x, y), _mm512_shuffle_i64x2::<0b11_10_11_10>(x, y))
}

/// Folds pairs of up to 64 bytes into two accumulators.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn fold64<A: Byte, B: Byte, S: Copy>(a: &[A], b: &[B], zero: S, step: impl Fn(S, &[A], &[B]) -> S) -> [S; 2] {
    let [mut s0, mut s1] = [zero; 2];
    let (a_wide, a) = a.as_chunks::<128>();
    let (b_wide, b) = b.as_chunks::<128>();
    for (a, b) in a_wide.iter().zip(b_wide) {
        s0 = step(s0, &a[..64], &b[..64]);
        s1 = step(s1, &a[64..], &b[64..]);
    }
    let (a_whole, a) = a.as_chunks::<64>();
    let (b_whole, b) = b.as_chunks::<64>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        s0 = step(s0, a, b);
    }
    if !a.is_empty() {
        s1 = step(s1, a, b);
    }
    [s0, s1]
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn lower_bounds(sums: &[u32; BLOCK_ROWS], factors: &Factors, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    let mut mask = 0;
    for half in 0..2 {
        // SAFETY: `half` is 0 or 1, and `sums` is 128 bytes, `add` and `rescale` 64.
        let (sum, add, rescale) = unsafe {
            (
                _mm512_loadu_si512(sums.as_ptr().add(16 * half).cast()),
                _mm256_loadu_si256(factors.add.as_ptr().add(32 * half).cast()),
                _mm256_loadu_si256(factors.rescale.as_ptr().add(32 * half).cast()),
            )
        };
        // Fused multiply-add is not used here, so that every row of kernels rounds in the same way.
        let scaled = _mm512_mul_ps(_mm512_set1_ps(factors.scale), _mm512_cvtepu32_ps(sum));
        let product = _mm512_add_ps(scaled, _mm512_set1_ps(factors.shift));
        let start = _mm512_add_ps(_mm512_cvtph_ps(add), _mm512_set1_ps(factors.base));
        let bound = _mm512_add_ps(start, _mm512_mul_ps(_mm512_cvtph_ps(rescale), product));
        let kept = _mm512_cmp_ps_mask::<_CMP_NGE_UQ>(bound, _mm512_set1_ps(factors.threshold));
        mask |= u32::from(kept) << (16 * half);
        // SAFETY: `half` is 0 or 1, and `bounds` is 128 bytes.
        unsafe { _mm512_storeu_ps(bounds.as_mut_ptr().add(16 * half), bound) };
    }
    mask
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn within_u32(values: &[u8; 4 * BLOCK_ROWS], low: u32, high: u32) -> u32 {
    let (low, high) = (_mm512_set1_epi32(low.cast_signed()), _mm512_set1_epi32(high.cast_signed()));
    values.as_chunks::<64>().0.iter().enumerate().fold(0, |mask, (part, values)| {
        // SAFETY: the array is 64 bytes.
        let x = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
        let above = _mm512_cmpge_epu32_mask(x, low);
        mask | u32::from(_mm512_mask_cmple_epu32_mask(above, x, high)) << (16 * part)
    })
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn within_u64(values: &[u8; 8 * BLOCK_ROWS], low: u64, high: u64) -> u32 {
    let (low, high) = (_mm512_set1_epi64(low.cast_signed()), _mm512_set1_epi64(high.cast_signed()));
    values.as_chunks::<64>().0.iter().enumerate().fold(0, |mask, (part, values)| {
        // SAFETY: the array is 64 bytes.
        let x = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
        let above = _mm512_cmpge_epu64_mask(x, low);
        mask | u32::from(_mm512_mask_cmple_epu64_mask(above, x, high)) << (8 * part)
    })
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    let [s0, s1] =
        fold64(a, b, _mm512_setzero_si512(), |s, a, b| _mm512_dpbusd_epi32(s, load_bytes(a), load_bytes(b)));
    _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1))
}

/// The instruction multiplies unsigned with signed bytes. So it gets `row + 128` and the query, and 128 times
/// the sum of the query is subtracted.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dots_i8(query: &[i8], rows: &[i8], dots: &mut [i32]) {
    let (zero, sign) = (_mm512_setzero_si512(), _mm512_set1_epi8(-128));
    let [s0, s1] = fold64(query, query, zero, |s, a, _| _mm512_dpbusd_epi32(s, sign, load_bytes(a)));
    let excess = _mm512_add_epi32(s0, s1);
    let add = |s, row: &[i8], query| _mm512_dpbusd_epi32(s, _mm512_xor_si512(load_bytes(row), sign), query);
    let n = query.len();
    let (whole, tail) = query.as_chunks::<64>();
    let (quads, rest) = dots.as_chunks_mut::<4>();
    let (quad_rows, rows) = rows.split_at(4 * n * quads.len());
    // A query's bytes are loaded once for four rows.
    for (rows, dots) in quad_rows.chunks_exact(4 * n).zip(quads) {
        let mut sums = [excess; 4].map(|excess| _mm512_sub_epi32(zero, excess));
        for (place, query) in whole.iter().enumerate() {
            let query = load_bytes(query);
            for (row, sum) in sums.iter_mut().enumerate() {
                let at = row * n + 64 * place;
                *sum = add(*sum, &rows[at..at + 64], query);
            }
        }
        if !tail.is_empty() {
            let query = load_bytes(tail);
            for (row, sum) in rows.chunks_exact(n).zip(&mut sums) {
                *sum = add(*sum, &row[n - tail.len()..], query);
            }
        }
        *dots = sums.map(|sum| _mm512_reduce_add_epi32(sum));
    }
    for (row, dot) in rows.chunks_exact(n).zip(rest) {
        let [s0, s1] = fold64(row, query, zero, |s, row, query| add(s, row, load_bytes(query)));
        *dot = _mm512_reduce_add_epi32(_mm512_sub_epi32(_mm512_add_epi32(s0, s1), excess));
    }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dot_f32_i8(a: &[f32], b: &[i8]) -> f32 {
    sum(a, b, |s, a, b| _mm512_fmadd_ps(load(a), load_i8(b), s))
}

/// One level within registers: `x` with its partners `t`, subtracted in the lanes of `MASK`.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn butterfly<const MASK: __mmask16>(x: __m512, t: __m512) -> __m512 {
    _mm512_mask_sub_ps(_mm512_add_ps(x, t), MASK, t, x)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn store(s: &mut [f32; 16], x: __m512) {
    // SAFETY: the array is 64 bytes.
    unsafe { _mm512_storeu_ps(s.as_mut_ptr(), x) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn hadamard(x: &mut [f32]) {
    if x.len() < 16 {
        return scalar::hadamard(x);
    }
    for chunk in x.as_chunks_mut::<16>().0 {
        let x = load(chunk);
        let x = butterfly::<0xaaaa>(x, _mm512_permute_ps::<0b10_11_00_01>(x));
        let x = butterfly::<0xcccc>(x, _mm512_permute_ps::<0b01_00_11_10>(x));
        let x = butterfly::<0xf0f0>(x, _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x));
        let x = butterfly::<0xff00>(x, _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x));
        store(chunk, x);
    }
    scalar::wide_levels(x, 16, |[a, b, c, d]| {
        let (w, x, y, z) = (load(a), load(b), load(c), load(d));
        let (p, q) = (_mm512_add_ps(w, x), _mm512_sub_ps(w, x));
        let (r, s) = (_mm512_add_ps(y, z), _mm512_sub_ps(y, z));
        store(a, _mm512_add_ps(p, r));
        store(b, _mm512_add_ps(q, s));
        store(c, _mm512_sub_ps(p, r));
        store(d, _mm512_sub_ps(q, s));
    });
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn max_products(sixteen: &[[f32; 16]], others: [&[f32]; TOKENS], best: &mut [f32; 16]) {
    let mut sums = [_mm512_setzero_ps(); TOKENS];
    for (i, lanes) in sixteen.iter().enumerate() {
        let lanes = load(lanes);
        for (sum, other) in sums.iter_mut().zip(others) {
            // SAFETY: all have the same length, which the entry point checks.
            let x = _mm512_set1_ps(unsafe { *other.get_unchecked(i) });
            *sum = _mm512_fmadd_ps(x, lanes, *sum);
        }
    }
    let greatest = sums.iter().fold(load(best), |best, sum| _mm512_max_ps(*sum, best));
    store(best, greatest);
}

/// Two sets of sums, for even and odd components, hide the latency of an addition.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn tile(a: &[[f32; 4]], b: &[[f32; 16]]) -> [[f32; 16]; 4] {
    let (a, a_rest) = a.as_chunks::<2>();
    let (b, b_rest) = b.as_chunks::<2>();
    let mut sums = [[_mm512_setzero_ps(); 4]; 2];
    for (a, b) in a.iter().zip(b) {
        for ((sums, a), b) in sums.iter_mut().zip(a).zip(b) {
            let b = load(b);
            for (s, a) in sums.iter_mut().zip(a) {
                *s = _mm512_fmadd_ps(_mm512_set1_ps(*a), b, *s);
            }
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        let b = load(b);
        for (s, a) in sums[0].iter_mut().zip(a) {
            *s = _mm512_fmadd_ps(_mm512_set1_ps(*a), b, *s);
        }
    }
    let mut out = [[0.0; 16]; 4];
    for ((out, even), odd) in out.iter_mut().zip(sums[0]).zip(sums[1]) {
        store(out, _mm512_add_ps(even, odd));
    }
    out
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn sign_code(a: &[f32], b: &[f32], out: &mut [u8]) -> [f32; 2] {
    scalar::sign_code(a, b, out)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn grid_code4(a: &[f32], b: &[f32], steps: f32, out: &mut [u8]) -> [f32; 3] {
    scalar::grid_code4(a, b, steps, out)
}
