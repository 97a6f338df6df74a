//! The AVX2 row's distances and conversions of floats and halves. A tail is loaded by a mask that fills with
//! zeros. A copy into a zeroed buffer would take longer than the sum of a short vector.

use super::fold_parts;
use crate::kernel::inline::word;
use half::f16;
use std::arch::x86_64::*;

/// Masks: read at index `8 - n`, it selects the first `n` lanes.
static LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Up to 8 floats, then zeros.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load(s: &[f32]) -> __m256 {
    if let Some(eight) = s.first_chunk::<8>() {
        // SAFETY: the array is 32 bytes.
        return unsafe { _mm256_loadu_ps(eight.as_ptr()) };
    }
    // SAFETY: fewer than 8 of 16 places are skipped, and a lane that the mask leaves out is not read.
    unsafe {
        let mask = _mm256_loadu_si256(LANES.as_ptr().add(8 - s.len()).cast());
        _mm256_maskload_ps(s.as_ptr(), mask)
    }
}

/// Up to 8 halves, widened, then zeros.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_f16(s: &[f16]) -> __m256 {
    if let Some(eight) = s.first_chunk::<8>() {
        // SAFETY: the array is 16 bytes, an f16 being two.
        return _mm256_cvtph_ps(unsafe { _mm_loadu_si128(eight.as_ptr().cast()) });
    }
    let low = word(s);
    // The last four halves, shifted so that those among the first four are dropped; 1 to 4 remain.
    let high = s.last_chunk::<4>().map_or(0, |last| (word(last) >> 8) >> (8 * (15 - 2 * s.len())));
    _mm256_cvtph_ps(_mm_set_epi64x(high.cast_signed(), low.cast_signed()))
}

/// Adds lanes `i` and `i + 4`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves_added(s: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s))
}

/// The sum of the lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn reduce(s: __m256) -> f32 {
    let s = halves_added(s);
    let s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn added([s0, s1, s2, s3]: [__m256; 4]) -> __m256 {
    _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn total(s: [__m256; 4]) -> f32 {
    reduce(added(s))
}

/// Up to this many elements are folded into one sum, because adding several sums at the end takes longer than
/// waiting for one.
const SHORT: usize = 31;

/// Folds pairs of few elements.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold_few<T, S: Copy>(a: &[T], b: &[T], zero: S, step: impl Fn(S, &[T], &[T]) -> S) -> S {
    let (a, a_tail) = a.as_chunks::<8>();
    let (b, b_tail) = b.as_chunks::<8>();
    let s = a.iter().zip(b).fold(zero, |s, (a, b)| step(s, a, b));
    if a_tail.is_empty() { s } else { step(s, a_tail, b_tail) }
}

/// The sum over pairs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum<T>(a: &[T], b: &[T], step: impl Fn(__m256, &[T], &[T]) -> __m256) -> f32 {
    // SAFETY: a pair's lengths are equal, which the entry points check.
    unsafe { std::hint::assert_unchecked(a.len() == b.len()) }
    match a.len() {
        0..=SHORT => reduce(fold_few(a, b, _mm256_setzero_ps(), step)),
        _ => total(fold_parts::<8, T, T, _>(a, b, _mm256_setzero_ps(), step)),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn l2_step(s: __m256, x: __m256, y: __m256) -> __m256 {
    let d = _mm256_sub_ps(x, y);
    _mm256_fmadd_ps(d, d, s)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn l1_step(s: __m256, x: __m256, y: __m256) -> __m256 {
    _mm256_add_ps(s, _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(x, y)))
}

/// Ones that the compiler does not know to be ones. With them an addition is done as a multiply-add. AMD
/// processors add in the same units in which they convert halves, and those units are busy with the
/// conversion.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn ones() -> __m256 {
    let mut ones = _mm256_set1_ps(1.0);
    // SAFETY: the assembly is empty.
    unsafe {
        std::arch::asm!("/* {0} */", inout(ymm_reg) ones, options(pure, nomem, nostack, preserves_flags))
    }
    ones
}

/// As [`l2_step`], with the same bits as result.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn l2_step_f16(ones: __m256, s: __m256, x: __m256, y: __m256) -> __m256 {
    let d = _mm256_fmsub_ps(x, ones, y);
    _mm256_fmadd_ps(d, d, s)
}

/// As [`l1_step`], with the same bits as result.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn l1_step_f16(ones: __m256, s: __m256, x: __m256, y: __m256) -> __m256 {
    let d = _mm256_fmsub_ps(x, ones, y);
    _mm256_fmadd_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0), d), ones, s)
}

/// The three sums of a cosine.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn cosine_step([xy, xx, yy]: [__m256; 3], x: __m256, y: __m256) -> [__m256; 3] {
    [_mm256_fmadd_ps(x, y, xy), _mm256_fmadd_ps(x, x, xx), _mm256_fmadd_ps(y, y, yy)]
}

/// The cosine distance. Computed like [`sum`], but for three sums, whose lanes are added together.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn cosine<T>(a: &[T], b: &[T], step: impl Fn([__m256; 3], &[T], &[T]) -> [__m256; 3]) -> f64 {
    // SAFETY: a pair's lengths are equal, which the entry points check.
    unsafe { std::hint::assert_unchecked(a.len() == b.len()) }
    let zero = [_mm256_setzero_ps(); 3];
    let [xy, xx, yy] = match a.len() {
        0..=SHORT => fold_few(a, b, zero, step),
        _ => {
            let [[p0, a0, b0], [p1, a1, b1], [p2, a2, b2], [p3, a3, b3]] =
                fold_parts::<8, T, T, _>(a, b, zero, step);
            [added([p0, p1, p2, p3]), added([a0, a1, a2, a3]), added([b0, b1, b2, b3])]
        }
    };
    let (xy, xx, yy) = (halves_added(xy), halves_added(xx), halves_added(yy));
    // Adds lanes 0 and 2, and lanes 1 and 3, of both sums of squares.
    let s = _mm_add_ps(_mm_unpacklo_ps(xx, yy), _mm_unpackhi_ps(xx, yy));
    let s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    let t = _mm_add_ps(xy, _mm_movehl_ps(xy, xy));
    let t = _mm_add_ss(t, _mm_movehdup_ps(t));
    crate::kernel::inline::cosine_of_sums(
        _mm_cvtss_f32(t),
        _mm_cvtss_f32(s),
        _mm_cvtss_f32(_mm_movehdup_ps(s)),
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |s, a, b| l2_step(s, load(a), load(b)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |s, a, b| _mm256_fmadd_ps(load(a), load(b), s))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    cosine(a, b, |s, a, b| cosine_step(s, load(a), load(b)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l1(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |s, a, b| l1_step(s, load(a), load(b)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn norm<T>(a: &[T], load: impl Fn(&[T]) -> __m256) -> f64 {
    let zero = _mm256_setzero_pd();
    let step = |s, a: &[T], _: &[T]| {
        let x = load(a);
        let low = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
        let high = _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x));
        _mm256_fmadd_pd(low, low, _mm256_fmadd_pd(high, high, s))
    };
    let s = match a.len() {
        0..=SHORT => fold_few(a, a, zero, step),
        _ => {
            let [s0, s1, s2, s3] = fold_parts::<8, _, _, _>(a, a, zero, step);
            _mm256_add_pd(_mm256_add_pd(s0, s1), _mm256_add_pd(s2, s3))
        }
    };
    let s = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd::<1>(s));
    _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn norm_squared(a: &[f32]) -> f64 {
    norm(a, |a| load(a))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn norm_squared_f16(a: &[f16]) -> f64 {
    norm(a, |a| load_f16(a))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l2_squared_f16(a: &[f16], b: &[f16]) -> f32 {
    let ones = ones();
    sum(a, b, |s, a, b| l2_step_f16(ones, s, load_f16(a), load_f16(b)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn inner_product_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |s, a, b| _mm256_fmadd_ps(load_f16(a), load_f16(b), s))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn cosine_distance_f16(a: &[f16], b: &[f16]) -> f64 {
    cosine(a, b, |s, a, b| cosine_step(s, load_f16(a), load_f16(b)))
}

// These handle their tail in steps of four and of one element; calling another function for it would take
// longer.

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen(from: &[f16], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<8>(), to.as_chunks_mut::<8>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: the array is 32 bytes.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), load_f16(from)) }
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

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn narrow(from: &[f32], to: &mut [f16]) {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<8>(), to.as_chunks_mut::<8>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: the array is 16 bytes, an f16 being two.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_cvtps_ph::<NEAREST>(load(from))) }
    }
    let ((from, from_rest), (to, to_rest)) = (from_rest.as_chunks::<4>(), to_rest.as_chunks_mut::<4>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: the arrays are 16 and 8 bytes.
        unsafe {
            _mm_storel_epi64(to.as_mut_ptr().cast(), _mm_cvtps_ph::<NEAREST>(_mm_loadu_ps(from.as_ptr())))
        }
    }
    for (from, to) in from_rest.iter().zip(to_rest) {
        let half = _mm_cvtsi128_si32(_mm_cvtps_ph::<NEAREST>(_mm_set_ss(*from)));
        *to = f16::from_bits(half as u16);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l1_f16(a: &[f16], b: &[f16]) -> f32 {
    let ones = ones();
    sum(a, b, |s, a, b| l1_step_f16(ones, s, load_f16(a), load_f16(b)))
}
