//! Distances of up to four elements, computed inline with instructions that every processor of the
//! architecture has. For so few elements the call of a kernel would take longer. Floats and halves use the
//! same code, so that the same numbers have the same distances in both.

use half::f16;

/// Up to this many elements are computed inline.
pub const FEW: usize = 4;

/// The first four halves as one number, the first in the lowest bits; missing ones are zero.
#[inline(always)]
pub(super) fn word(halves: &[f16]) -> u64 {
    let bits = |x: f16| u64::from(x.to_bits());
    match *halves {
        [x, y, z, w, ..] => bits(x) | bits(y) << 16 | bits(z) << 32 | bits(w) << 48,
        [x, y, z] => bits(x) | bits(y) << 16 | bits(z) << 32,
        [x, y] => bits(x) | bits(y) << 16,
        [x] => bits(x),
        [] => 0,
    }
}

/// The first four halves as floats; missing ones are zero.
#[inline(always)]
pub fn widen_few(halves: &[f16]) -> [f32; FEW] {
    let word = word(halves);
    #[cfg(target_arch = "x86_64")]
    {
        sse2::widen(word)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::array::from_fn(|i| f16::from_bits((word >> (16 * i)) as u16).to_f32())
    }
}

/// Writes the nearest halves of the first numbers, as many as `out` has: ties to even, infinite beyond the
/// range.
#[inline(always)]
pub fn narrow_few(numbers: [f32; FEW], out: &mut [f16]) {
    #[cfg(target_arch = "x86_64")]
    let word = sse2::narrow(numbers);
    #[cfg(not(target_arch = "x86_64"))]
    let word = word(&numbers.map(f16::from_f32));
    let half = |i: u32| f16::from_bits((word >> (16 * i)) as u16);
    match out {
        [x, y, z, w, ..] => (*x, *y, *z, *w) = (half(0), half(1), half(2), half(3)),
        [x, y, z] => (*x, *y, *z) = (half(0), half(1), half(2)),
        [x, y] => (*x, *y) = (half(0), half(1)),
        [x] => *x = half(0),
        [] => {}
    }
}

/// The sum of `term` of pairs, in their order.
#[inline(always)]
pub fn sum_few(pairs: impl Iterator<Item = (f32, f32)>, term: impl Fn(f32, f32) -> f32) -> f32 {
    pairs.fold(0.0, |sum, (x, y)| sum + term(x, y))
}

/// The cosine distance from pairs, each sum in their order.
#[inline(always)]
pub fn cosine_few(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    let sums = pairs.fold((0.0, 0.0, 0.0), |(xy, xx, yy), (x, y)| (xy + x * y, xx + x * x, yy + y * y));
    cosine_of_sums(sums.0, sums.1, sums.2)
}

/// Squared Euclidean norm, summed in f64.
#[inline(always)]
pub fn norm_squared_few(elements: impl Iterator<Item = f32>) -> f64 {
    elements.fold(0.0, |sum, x| sum + f64::from(x) * f64::from(x))
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::*;

    /// Bits of `a` where the mask is set, of `b` elsewhere.
    #[inline(always)]
    fn choose(mask: __m128i, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of the architecture.
        unsafe { _mm_or_si128(_mm_and_si128(mask, a), _mm_andnot_si128(mask, b)) }
    }

    /// The result is exact, because the exponent is scaled.
    #[inline(always)]
    pub fn widen(word: u64) -> [f32; 4] {
        // SAFETY: SSE2 is part of the architecture; the array is 16 bytes.
        unsafe {
            let all = |x| _mm_set1_epi32(x);
            let bits = _mm_unpacklo_epi16(_mm_cvtsi64_si128(word.cast_signed()), _mm_setzero_si128());
            let magnitude = _mm_slli_epi32::<13>(_mm_and_si128(bits, all(0x7fff)));
            let sign = _mm_slli_epi32::<16>(_mm_and_si128(bits, all(0x8000)));
            // Multiplies by 2^112, because the exponents' biases differ by 112.
            let scaled = _mm_mul_ps(_mm_castsi128_ps(magnitude), _mm_castsi128_ps(all(0x7780_0000)));
            // The largest exponent must remain the largest one: it means infinity or NaN.
            let special = _mm_cmpgt_epi32(magnitude, all((0x7c00 << 13) - 1));
            let finite = _mm_castps_si128(scaled);
            let number = choose(special, _mm_or_si128(magnitude, all(0x7f80_0000)), finite);
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), _mm_castsi128_ps(_mm_or_si128(number, sign)));
            out
        }
    }

    /// All cases are computed, and one result is chosen for each number.
    #[inline(always)]
    pub fn narrow(numbers: [f32; 4]) -> u64 {
        // SAFETY: SSE2 is part of the architecture; the array is 16 bytes.
        unsafe {
            let all = |x| _mm_set1_epi32(x);
            let bits = _mm_castps_si128(_mm_loadu_ps(numbers.as_ptr()));
            let magnitude = _mm_and_si128(bits, all(0x7fff_ffff));
            // Numbers below 2^-14: the sum with 1/2 has the last place of a half as its own last place, so it
            // is rounded there.
            let half = _mm_set1_ps(0.5);
            let sum = _mm_castps_si128(_mm_add_ps(_mm_castsi128_ps(magnitude), half));
            let small = _mm_sub_epi32(sum, _mm_castps_si128(half));
            // Rounds to the nearest, ties to even: adds half of the last place kept, minus one bit if that
            // place is even. The carry may make the number infinite.
            let odd = _mm_and_si128(_mm_srli_epi32::<13>(magnitude), all(1));
            let rounded = _mm_add_epi32(_mm_add_epi32(magnitude, all(0xfff - (112 << 23))), odd);
            let normal = _mm_srli_epi32::<13>(rounded);
            // At least 2^16: infinity; NaN stays one.
            let payload = _mm_and_si128(_mm_srli_epi32::<13>(magnitude), all(0x3ff));
            let is_nan = _mm_cmpgt_epi32(magnitude, all(0x7f80_0000));
            let nan = _mm_and_si128(is_nan, _mm_or_si128(payload, all(0x200)));
            let special = _mm_or_si128(nan, all(0x7c00));
            let finite = choose(_mm_cmpgt_epi32(all(0x3880_0000), magnitude), small, normal);
            let number = choose(_mm_cmpgt_epi32(magnitude, all(0x477f_ffff)), special, finite);
            let sign = _mm_and_si128(_mm_srli_epi32::<16>(bits), all(0x8000));
            // Each has sixteen bits. Sign-extended, they are not changed by the saturating pack.
            let signed = _mm_srai_epi32::<16>(_mm_slli_epi32::<16>(_mm_or_si128(number, sign)));
            _mm_cvtsi128_si64(_mm_packs_epi32(signed, signed)).cast_unsigned()
        }
    }
}

/// The cosine distance from `<a, b>`, `|a|^2` and `|b|^2`. (A kernel that returned the three sums would
/// return them in memory.)
#[inline(always)]
pub fn cosine_of_sums(product: f32, a2: f32, b2: f32) -> f64 {
    let similarity = f64::from(product) / (f64::from(a2) * f64::from(b2)).sqrt();
    1.0 - similarity.clamp(-1.0, 1.0)
}
