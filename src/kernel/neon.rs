//! The NEON row of aarch64: 4 floats or 16 bytes at a time; a tail is copied into zeros.

mod pack;

use super::scalar;
use super::table::{BLOCK_ROWS, Factors, Kernels};
use half::f16;
use std::arch::aarch64::*;

pub(super) static KERNELS: Kernels = Kernels {
    name: "neon",
    supported: || std::arch::is_aarch64_feature_detected!("neon"),
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
    widen: super::scalar::widen,
    narrow: super::scalar::narrow,
    // The compiler vectorises these for every aarch64.
    hamming: super::scalar::hamming,
    hamming_rows: super::scalar::hamming_rows,
    common_bits: super::scalar::common_bits,
    common_rows: super::scalar::common_rows,
    scan_block,
    pack_rows: pack::pack_rows,
    lower_bounds,
    subset_sums: super::scalar::subset_sums,
    within_u32: super::scalar::within_u32,
    within_u64: super::scalar::within_u64,
    dot_extended3,
    dot_extended4,
    dot_u8_i8,
    dots_i8,
    dot_f32_i8,
    hadamard,
    max_products: super::scalar::max_products,
    tile: super::scalar::tile,
    sign_code: super::scalar::sign_code,
    grid_code4: super::scalar::grid_code4,
};

/// 4 floats.
#[inline]
#[target_feature(enable = "neon")]
fn load(s: &[f32; 4]) -> float32x4_t {
    // SAFETY: the array is 16 bytes.
    unsafe { vld1q_f32(s.as_ptr()) }
}

/// 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
fn load_u8(s: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array is 16 bytes.
    unsafe { vld1q_u8(s.as_ptr()) }
}

/// 16 signed bytes.
#[inline]
#[target_feature(enable = "neon")]
fn load_i8(s: &[i8; 16]) -> int8x16_t {
    // SAFETY: the array is 16 bytes.
    unsafe { vld1q_s8(s.as_ptr()) }
}

/// 4 halves, widened.
#[inline]
#[target_feature(enable = "neon")]
fn load_f16(s: &[f16; 4]) -> float32x4_t {
    // SAFETY: the array is 8 bytes, an f16 being two.
    widen_f16(unsafe { vld1_u16(s.as_ptr().cast()) })
}

/// Converts halves to floats exactly, without the conversion instruction, whose type is not in stable Rust.
#[inline]
#[target_feature(enable = "neon")]
fn widen_f16(halves: uint16x4_t) -> float32x4_t {
    let bits = vmovl_u16(halves);
    let sign = vshlq_n_u32::<16>(vandq_u32(bits, vdupq_n_u32(0x8000)));
    let magnitude = vshlq_n_u32::<13>(vandq_u32(bits, vdupq_n_u32(0x7fff)));
    // The exponent's bias of a half is 112 less than that of a float. Multiplying by 2^112 corrects it, and
    // normalises subnormals.
    let value = vmulq_f32(vreinterpretq_f32_u32(magnitude), vdupq_n_f32(f32::from_bits((127 + 112) << 23)));
    // Infinities and NaNs, whose exponent is all ones, keep all ones.
    let special = vcgeq_u32(magnitude, vdupq_n_u32(0x7c00 << 13));
    let value = vorrq_u32(vreinterpretq_u32_f32(value), vandq_u32(special, vdupq_n_u32(0x7f80_0000)));
    vreinterpretq_f32_u32(vorrq_u32(value, sign))
}

/// Folds pairs of `N` elements into four accumulators: enough to hide the latency of an addition.
/// The last, shorter pair is filled with the elements' default, which is zero.
#[inline]
#[target_feature(enable = "neon")]
fn fold<const N: usize, A: Copy + Default, B: Copy + Default, S: Copy>(
    a: &[A],
    b: &[B],
    zero: S,
    step: impl Fn(S, &[A; N], &[B; N]) -> S,
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
        let (mut a, mut b) = ([A::default(); N], [B::default(); N]);
        a[..a_tail.len()].copy_from_slice(a_tail);
        b[..b_tail.len()].copy_from_slice(b_tail);
        s1 = step(s1, &a, &b);
    }
    [s0, s1, s2, s3]
}

#[inline]
#[target_feature(enable = "neon")]
fn total([s0, s1, s2, s3]: [float32x4_t; 4]) -> f32 {
    vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)))
}

#[inline]
#[target_feature(enable = "neon")]
fn total_i32([s0, s1, s2, s3]: [int32x4_t; 4]) -> i32 {
    vaddvq_s32(vaddq_s32(vaddq_s32(s0, s1), vaddq_s32(s2, s3)))
}

#[inline]
#[target_feature(enable = "neon")]
fn l2_step(s: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
    let d = vsubq_f32(x, y);
    vfmaq_f32(s, d, d)
}

#[inline]
#[target_feature(enable = "neon")]
fn l1_step(s: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
    vaddq_f32(s, vabdq_f32(x, y))
}

/// The three sums of a cosine.
#[inline]
#[target_feature(enable = "neon")]
fn cosine_step([xy, xx, yy]: [float32x4_t; 3], x: float32x4_t, y: float32x4_t) -> [float32x4_t; 3] {
    [vfmaq_f32(xy, x, y), vfmaq_f32(xx, x, x), vfmaq_f32(yy, y, y)]
}

#[inline]
#[target_feature(enable = "neon")]
fn cosine_total([[p0, a0, b0], [p1, a1, b1], [p2, a2, b2], [p3, a3, b3]]: [[float32x4_t; 3]; 4]) -> f64 {
    super::inline::cosine_of_sums(total([p0, p1, p2, p3]), total([a0, a1, a2, a3]), total([b0, b1, b2, b3]))
}

#[target_feature(enable = "neon")]
fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    total(fold(a, b, vdupq_n_f32(0.0), |s, a, b| l2_step(s, load(a), load(b))))
}

#[target_feature(enable = "neon")]
fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    total(fold(a, b, vdupq_n_f32(0.0), |s, a, b| vfmaq_f32(s, load(a), load(b))))
}

#[target_feature(enable = "neon")]
fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    cosine_total(fold(a, b, [vdupq_n_f32(0.0); 3], |s, a, b| cosine_step(s, load(a), load(b))))
}

#[target_feature(enable = "neon")]
fn l1(a: &[f32], b: &[f32]) -> f32 {
    total(fold(a, b, vdupq_n_f32(0.0), |s, a, b| l1_step(s, load(a), load(b))))
}

#[inline]
#[target_feature(enable = "neon")]
fn norm<T: Copy + Default>(a: &[T], load: impl Fn(&[T; 4]) -> float32x4_t) -> f64 {
    let [s0, s1, s2, s3] = fold(a, a, vdupq_n_f64(0.0), |s, a, _| {
        let x = load(a);
        let (low, high) = (vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x));
        vfmaq_f64(vfmaq_f64(s, high, high), low, low)
    });
    vaddvq_f64(vaddq_f64(vaddq_f64(s0, s1), vaddq_f64(s2, s3)))
}

#[target_feature(enable = "neon")]
fn norm_squared(a: &[f32]) -> f64 {
    norm(a, |a| load(a))
}

#[target_feature(enable = "neon")]
fn norm_squared_f16(a: &[f16]) -> f64 {
    norm(a, |a| load_f16(a))
}

#[target_feature(enable = "neon")]
fn l2_squared_f16(a: &[f16], b: &[f16]) -> f32 {
    total(fold(a, b, vdupq_n_f32(0.0), |s, a, b| l2_step(s, load_f16(a), load_f16(b))))
}

#[target_feature(enable = "neon")]
fn inner_product_f16(a: &[f16], b: &[f16]) -> f32 {
    total(fold(a, b, vdupq_n_f32(0.0), |s, a, b| vfmaq_f32(s, load_f16(a), load_f16(b))))
}

#[target_feature(enable = "neon")]
fn cosine_distance_f16(a: &[f16], b: &[f16]) -> f64 {
    cosine_total(fold(a, b, [vdupq_n_f32(0.0); 3], |s, a, b| cosine_step(s, load_f16(a), load_f16(b))))
}

#[target_feature(enable = "neon")]
fn l1_f16(a: &[f16], b: &[f16]) -> f32 {
    total(fold(a, b, vdupq_n_f32(0.0), |s, a, b| l1_step(s, load_f16(a), load_f16(b))))
}

/// One sub-quantizer a step.
///
/// A 16-bit element has the bytes of two codes. The sum of whole elements is the sum of the low bytes plus
/// 256 times the sum of the high bytes, modulo 2^16. The high bytes are also summed separately, and
/// subtracting them gives the sum of the low bytes.
#[target_feature(enable = "neon")]
fn scan_block(lut: &[u8], codes: &[u8], ahead: usize, sums: &mut [u32; BLOCK_ROWS]) {
    super::prefetch::prefetch(codes.as_ptr().wrapping_add(ahead), codes.len());
    // 256 steps: 256 * 255 fits 16 bits, even with the accumulators added together.
    for (lut, codes) in lut.chunks(16 * 256).zip(codes.chunks(16 * 256)) {
        let s = fold::<16, _, _, _>(lut, codes, [vdupq_n_u16(0); 4], |s, lut, codes| {
            let (table, codes) = (load_u8(lut), load_u8(codes));
            let low = vqtbl1q_u8(table, vandq_u8(codes, vdupq_n_u8(15)));
            let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(codes));
            let (low, high) = (vreinterpretq_u16_u8(low), vreinterpretq_u16_u8(high));
            [
                vaddq_u16(s[0], low),
                vsraq_n_u16::<8>(s[1], low),
                vaddq_u16(s[2], high),
                vsraq_n_u16::<8>(s[3], high),
            ]
        });
        let s: [uint16x8_t; 4] =
            std::array::from_fn(|i| vaddq_u16(vaddq_u16(s[0][i], s[1][i]), vaddq_u16(s[2][i], s[3][i])));
        let low_even = vsubq_u16(s[0], vshlq_n_u16::<8>(s[1]));
        let high_even = vsubq_u16(s[2], vshlq_n_u16::<8>(s[3]));
        // Eight codes each, in order.
        for (i, part) in [low_even, s[1], high_even, s[3]].into_iter().enumerate() {
            // SAFETY: `i` is below 4, and `sums` is 4 times 32 bytes.
            unsafe {
                let at = sums.as_mut_ptr().add(8 * i);
                vst1q_u32(at, vaddw_u16(vld1q_u32(at), vget_low_u16(part)));
                let at = at.add(4);
                vst1q_u32(at, vaddw_high_u16(vld1q_u32(at), part));
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn lower_bounds(sums: &[u32; BLOCK_ROWS], factors: &Factors, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    let bits = lane_bits();
    let mut mask = 0;
    for part in 0..8 {
        // SAFETY: `part` is below 8, and `sums` is 128 bytes, `add` and `rescale` 64.
        let (sum, add, rescale) = unsafe {
            (
                vld1q_u32(sums.as_ptr().add(4 * part)),
                vreinterpret_u16_u8(vld1_u8(factors.add.as_ptr().add(8 * part))),
                vreinterpret_u16_u8(vld1_u8(factors.rescale.as_ptr().add(8 * part))),
            )
        };
        // Fused multiply-add is not used here, so that every row of kernels rounds in the same way.
        let scaled = vmulq_f32(vdupq_n_f32(factors.scale), vcvtq_f32_u32(sum));
        let product = vaddq_f32(scaled, vdupq_n_f32(factors.shift));
        let start = vaddq_f32(widen_f16(add), vdupq_n_f32(factors.base));
        let bound = vaddq_f32(start, vmulq_f32(widen_f16(rescale), product));
        let kept = vmvnq_u32(vcgeq_f32(bound, vdupq_n_f32(factors.threshold)));
        mask |= vaddvq_u32(vandq_u32(kept, bits)) << (4 * part);
        // SAFETY: `part` is below 8, and `bounds` is 128 bytes.
        unsafe { vst1q_f32(bounds.as_mut_ptr().add(4 * part), bound) };
    }
    mask
}

/// Each lane's bit of a mask.
#[inline]
#[target_feature(enable = "neon")]
fn lane_bits() -> uint32x4_t {
    // SAFETY: the array is 16 bytes.
    unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) }
}

#[target_feature(enable = "neon")]
fn dot_extended3(codes: &[u8], query: &[i8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 4];
    for (code, query) in codes.as_chunks::<24>().0.iter().zip(query.as_chunks::<64>().0) {
        for ((sum, code), query) in sums.iter_mut().zip(low_three(code)).zip(query.as_chunks::<16>().0) {
            *sum = dot_step(*sum, vreinterpretq_s8_u8(code), load_i8(query));
        }
    }
    total_i32(sums)
}

#[target_feature(enable = "neon")]
fn dot_extended4(low: &[u8], signs: &[u8], query: &[i8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 4];
    let codes = low.as_chunks::<24>().0.iter().zip(signs.as_chunks::<8>().0);
    for ((code, signs), query) in codes.zip(query.as_chunks::<64>().0) {
        let parts = low_three(code).into_iter().zip(signs.as_chunks::<2>().0);
        for ((sum, (low, signs)), query) in sums.iter_mut().zip(parts).zip(query.as_chunks::<16>().0) {
            let code = vorrq_u8(low, spread_bits(*signs, 8));
            *sum = dot_step(*sum, vreinterpretq_s8_u8(code), load_i8(query));
        }
    }
    total_i32(sums)
}

/// The low three bits of 64 codes, a byte each; see [`super::dot_extended3`].
#[inline]
#[target_feature(enable = "neon")]
fn low_three(code: &[u8; 24]) -> [uint8x16_t; 4] {
    // SAFETY: 16 of the 24 bytes.
    let planes = unsafe { vld1q_u8(code.as_ptr()) };
    let lows = [planes, vshrq_n_u8::<2>(planes), vshrq_n_u8::<4>(planes), vshrq_n_u8::<6>(planes)];
    let high = |part: usize| spread_bits([code[16 + 2 * part], code[17 + 2 * part]], 4);
    let three = vdupq_n_u8(3);
    let [a, b, c, d] = lows.map(|low| vandq_u8(low, three));
    [vorrq_u8(a, high(0)), vorrq_u8(b, high(1)), vorrq_u8(c, high(2)), vorrq_u8(d, high(3))]
}

/// 16 bytes, of which byte `i` is `value` if bit `i` is set.
#[inline]
#[target_feature(enable = "neon")]
fn spread_bits(bits: [u8; 2], value: u8) -> uint8x16_t {
    // Byte `i` of the 16 becomes bit `i % 8` of byte `i / 8`.
    let each = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
    let bits = vcombine_u8(vdup_n_u8(bits[0]), vdup_n_u8(bits[1]));
    vandq_u8(vtstq_u8(bits, each), vdupq_n_u8(value))
}

/// Adds 16 products of signed bytes, which fit 16 bits, in pairs.
#[inline]
#[target_feature(enable = "neon")]
fn dot_step(sum: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(x), vget_low_s8(y));
    vpadalq_s16(vpadalq_s16(sum, low), vmull_high_s8(x, y))
}

/// `a - 128` is signed, so the result is its product with `b` plus 128 times the sum of `b`.
#[target_feature(enable = "neon")]
fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    let sign = vdupq_n_u8(128);
    let s = fold(a, b, [vdupq_n_s32(0); 2], |[dot, sum], a, b| {
        let (a, b) = (vreinterpretq_s8_u8(veorq_u8(load_u8(a), sign)), load_i8(b));
        [dot_step(dot, a, b), vpadalq_s16(sum, vpaddlq_s8(b))]
    });
    total_i32(s.map(|s| s[0])).wrapping_add(total_i32(s.map(|s| s[1])).wrapping_mul(128))
}

#[target_feature(enable = "neon")]
fn dots_i8(query: &[i8], rows: &[i8], dots: &mut [i32]) {
    for (row, dot) in rows.chunks_exact(query.len()).zip(dots) {
        *dot = total_i32(fold(query, row, vdupq_n_s32(0), |s, a, b| dot_step(s, load_i8(a), load_i8(b))));
    }
}

#[target_feature(enable = "neon")]
fn dot_f32_i8(a: &[f32], b: &[i8]) -> f32 {
    let s = fold::<8, _, _, _>(a, b, [vdupq_n_f32(0.0); 2], |[low, high], a, b| {
        // SAFETY: `b` is 8 bytes.
        let b = vmovl_s8(unsafe { vld1_s8(b.as_ptr()) });
        let parts = a.as_chunks::<4>().0;
        [
            vfmaq_f32(low, load(&parts[0]), vcvtq_f32_s32(vmovl_s16(vget_low_s16(b)))),
            vfmaq_f32(high, load(&parts[1]), vcvtq_f32_s32(vmovl_high_s16(b))),
        ]
    });
    total(s.map(|[low, high]| vaddq_f32(low, high)))
}

#[inline]
#[target_feature(enable = "neon")]
fn store(s: &mut [f32; 4], x: float32x4_t) {
    // SAFETY: the array is 16 bytes.
    unsafe { vst1q_f32(s.as_mut_ptr(), x) }
}

#[target_feature(enable = "neon")]
fn hadamard(x: &mut [f32]) {
    if x.len() < 4 {
        return scalar::hadamard(x);
    }
    for chunk in x.as_chunks_mut::<4>().0 {
        let x = load(chunk);
        // Level of neighbours, then level of pairs: sums at even positions, differences at odd ones.
        let (even, odd) = (vuzp1q_f32(x, x), vuzp2q_f32(x, x));
        let x = vzip1q_f32(vaddq_f32(even, odd), vsubq_f32(even, odd));
        let (low, high) = (vget_low_f32(x), vget_high_f32(x));
        let x = vcombine_f32(vadd_f32(low, high), vsub_f32(low, high));
        store(chunk, x);
    }
    scalar::wide_levels(x, 4, |[a, b, c, d]| {
        let (w, x, y, z) = (load(a), load(b), load(c), load(d));
        let (p, q) = (vaddq_f32(w, x), vsubq_f32(w, x));
        let (r, s) = (vaddq_f32(y, z), vsubq_f32(y, z));
        store(a, vaddq_f32(p, r));
        store(b, vaddq_f32(q, s));
        store(c, vsubq_f32(p, r));
        store(d, vsubq_f32(q, s));
    });
}
