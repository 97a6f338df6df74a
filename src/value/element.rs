//! The two kinds of element: `f32` of `vector`, `f16` of `halfvec`.

use half::f16;

use super::vector::check_put;
use crate::error::Result;
use crate::kernel;

/// Elements that are widened at a time where they are computed with as `f32`.
const PART: usize = 64;
/// So few that clearing memory for [`PART`] would be most of the work.
const FEW: usize = 8;
/// So few that they are computed with one by one: the call of a kernel takes longer.
const SHORT: usize = 4;

/// An element of a dense vector. Slices of a pair have equal lengths.
pub trait Element: Copy + Default + PartialOrd + 'static {
    /// The SQL type of vectors of such elements.
    const TYPE: &'static str;

    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// Zero of either sign.
    fn is_zero(self) -> bool;
    /// The same number.
    fn widen(self) -> f32;
    /// The nearest element, infinite beyond the range.
    fn narrow(x: f32) -> Self;
    /// The nearest element of each number, of which there are as many as in `out`.
    fn put(numbers: impl Iterator<Item = f32>, out: &mut [Self]);
    /// The same of numbers that lie side by side.
    fn put_slice(numbers: &[f32], out: &mut [Self]);
    /// The nearest element of `f` of each pair.
    fn combine(a: &[Self], b: &[Self], out: &mut [Self], f: impl Fn(f32, f32) -> f32);
    /// The nearest element of `f` of each.
    fn convert(a: &[Self], out: &mut [Self], f: impl Fn(f32) -> f32);
    /// The same numbers, to as many.
    fn widen_to(elements: &[Self], numbers: &mut [f32]);
    /// The same numbers; `buffer` is memory for them where it is needed.
    fn widen_all<'a>(elements: &'a [Self], buffer: &'a mut Vec<f32>) -> &'a [f32];
    /// Calls `f` with the same numbers, maybe part by part.
    fn each_part(elements: &[Self], f: impl FnMut(&[f32]));
    /// Calls `f` with the nearest elements of the numbers, which are finite, maybe part by part.
    ///
    /// # Errors
    /// A number outside the element's range.
    fn each_narrow_part(numbers: &[f32], f: impl FnMut(&[Self])) -> Result<()>;
    /// From as many big-endian bytes as the element has.
    fn from_be_bytes(bytes: &[u8]) -> Self;
    /// To as many big-endian bytes as the element has.
    fn put_be_bytes(self, to: &mut [u8]);

    /// Squared Euclidean distance.
    fn l2_squared(a: &[Self], b: &[Self]) -> f32;
    /// Inner product.
    fn inner_product(a: &[Self], b: &[Self]) -> f32;
    /// `(<a, b>, |a|², |b|²)`.
    fn cosine_sums(a: &[Self], b: &[Self]) -> (f32, f32, f32);
    /// Sum of absolute differences.
    fn l1(a: &[Self], b: &[Self]) -> f32;
    /// Squared Euclidean norm, summed in f64.
    fn norm_squared(a: &[Self]) -> f64;
}

/// The first bytes as an array; a shorter slice leaves zeros.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// The same number: exact, for the exponent's range is scaled. (`half` asks each time what the processor can.)
#[inline]
fn widen_one(x: f16) -> f32 {
    let bits = x.to_bits();
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // By 2^112, the difference of the exponents' biases.
    let scaled = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
    // The largest exponent stays the largest: infinity, NaN.
    let magnitude = if bits & 0x7c00 == 0x7c00 { magnitude | 0x7f80_0000 } else { scaled };
    f32::from_bits(magnitude | u32::from(bits & 0x8000) << 16)
}

/// The nearest half, ties to even, infinite beyond the range.
#[inline]
fn narrow_one(x: f32) -> f16 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude >= 0x4780_0000 {
        // At least 2^16: infinity; NaN stays one.
        if magnitude > 0x7f80_0000 { 0x7e00 | (magnitude >> 13 & 0x3ff) } else { 0x7c00 }
    } else if magnitude < 0x3880_0000 {
        // Less than 2^-14: the sum with 1/2 has the half's last place as its own, and rounds to it.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        // Just less than half of the last place kept is added, or half if that is odd; the carry may go up to infinity.
        (magnitude - (112 << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13
    };
    f16::from_bits((half | bits >> 16 & 0x8000) as u16)
}

/// Squared Euclidean norm of a few numbers.
#[inline]
fn short_norm_squared(numbers: impl Iterator<Item = f32>) -> f64 {
    numbers.fold(0.0, |sum, x| sum + f64::from(x) * f64::from(x))
}

/// The sum of `f` of a few pairs.
#[inline]
fn short_sum(pairs: impl Iterator<Item = (f32, f32)>, f: impl Fn(f32, f32) -> f32) -> f32 {
    pairs.fold(0.0, |sum, (x, y)| sum + f(x, y))
}

/// [`Element::cosine_sums`] of a few pairs.
#[inline]
fn short_cosine_sums(pairs: impl Iterator<Item = (f32, f32)>) -> (f32, f32, f32) {
    pairs.fold((0.0, 0.0, 0.0), |(xy, xx, yy), (x, y)| (xy + x * y, xx + x * x, yy + y * y))
}

/// `f` of each pair, so many at a time.
#[inline]
fn combine_halves<const N: usize>(a: &[f16], b: &[f16], out: &mut [f16], f: impl Fn(f32, f32) -> f32) {
    let (mut wide_a, mut wide_b) = ([0.0; N], [0.0; N]);
    for ((out, a), b) in out.chunks_mut(N).zip(a.chunks(N)).zip(b.chunks(N)) {
        let (x, y) = (&mut wide_a[..a.len()], &mut wide_b[..b.len()]);
        kernel::widen(a, x);
        kernel::widen(b, y);
        x.iter_mut().zip(&*y).for_each(|(x, y)| *x = f(*x, *y));
        kernel::narrow(x, out);
    }
}

/// `f` of each, so many at a time.
#[inline]
fn convert_halves<const N: usize>(a: &[f16], out: &mut [f16], f: impl Fn(f32) -> f32) {
    let mut wide = [0.0; N];
    for (out, a) in out.chunks_mut(N).zip(a.chunks(N)) {
        let part = &mut wide[..a.len()];
        kernel::widen(a, part);
        part.iter_mut().for_each(|x| *x = f(*x));
        kernel::narrow(part, out);
    }
}

/// Calls `f` with the same numbers, so many at a time.
#[inline]
fn wide_parts<const N: usize>(elements: &[f16], f: &mut impl FnMut(&[f32])) {
    let mut wide = [0.0; N];
    for elements in elements.chunks(N) {
        let part = &mut wide[..elements.len()];
        kernel::widen(elements, part);
        f(part);
    }
}

impl Element for f32 {
    const TYPE: &'static str = "vector";

    #[inline]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline]
    fn is_zero(self) -> bool {
        self == 0.0
    }

    #[inline]
    fn widen(self) -> f32 {
        self
    }

    #[inline]
    fn narrow(x: f32) -> Self {
        x
    }

    #[inline]
    fn put(numbers: impl Iterator<Item = f32>, out: &mut [Self]) {
        for (to, x) in out.iter_mut().zip(numbers) {
            *to = x;
        }
    }

    #[inline]
    fn put_slice(numbers: &[f32], out: &mut [Self]) {
        out.copy_from_slice(numbers);
    }

    #[inline]
    fn combine(a: &[Self], b: &[Self], out: &mut [Self], f: impl Fn(f32, f32) -> f32) {
        for ((to, x), y) in out.iter_mut().zip(a).zip(b) {
            *to = f(*x, *y);
        }
    }

    #[inline]
    fn convert(a: &[Self], out: &mut [Self], f: impl Fn(f32) -> f32) {
        for (to, x) in out.iter_mut().zip(a) {
            *to = f(*x);
        }
    }

    #[inline]
    fn widen_to(elements: &[Self], numbers: &mut [f32]) {
        numbers.copy_from_slice(elements);
    }

    #[inline]
    fn widen_all<'a>(elements: &'a [Self], _: &'a mut Vec<f32>) -> &'a [f32] {
        elements
    }

    #[inline]
    fn each_part(elements: &[Self], mut f: impl FnMut(&[f32])) {
        f(elements);
    }

    #[inline]
    fn each_narrow_part(numbers: &[f32], mut f: impl FnMut(&[Self])) -> Result<()> {
        f(numbers);
        Ok(())
    }

    #[inline]
    fn from_be_bytes(bytes: &[u8]) -> Self {
        Self::from_be_bytes(array(bytes))
    }

    #[inline]
    fn put_be_bytes(self, to: &mut [u8]) {
        to.copy_from_slice(&self.to_be_bytes());
    }

    #[inline]
    fn l2_squared(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => short_sum(a.iter().zip(b).map(|(x, y)| (*x, *y)), |x, y| (x - y) * (x - y)),
            _ => kernel::l2_squared(a, b),
        }
    }

    #[inline]
    fn inner_product(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => short_sum(a.iter().zip(b).map(|(x, y)| (*x, *y)), |x, y| x * y),
            _ => kernel::inner_product(a, b),
        }
    }

    #[inline]
    fn cosine_sums(a: &[Self], b: &[Self]) -> (f32, f32, f32) {
        match a.len() {
            0..=SHORT => short_cosine_sums(a.iter().zip(b).map(|(x, y)| (*x, *y))),
            _ => kernel::cosine_sums(a, b),
        }
    }

    #[inline]
    fn l1(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => short_sum(a.iter().zip(b).map(|(x, y)| (*x, *y)), |x, y| (x - y).abs()),
            _ => kernel::l1(a, b),
        }
    }

    #[inline]
    fn norm_squared(a: &[Self]) -> f64 {
        match a.len() {
            0..=SHORT => short_norm_squared(a.iter().copied()),
            _ => kernel::norm_squared(a),
        }
    }
}

impl Element for f16 {
    const TYPE: &'static str = "halfvec";

    #[inline]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.to_bits() & 0x7fff == 0
    }

    #[inline]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline]
    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }

    #[inline]
    fn put(mut numbers: impl Iterator<Item = f32>, out: &mut [Self]) {
        let mut part = [0.0; PART];
        for out in out.chunks_mut(PART) {
            let part = &mut part[..out.len()];
            part.iter_mut().zip(&mut numbers).for_each(|(to, x)| *to = x);
            kernel::narrow(part, out);
        }
    }

    #[inline]
    fn put_slice(numbers: &[f32], out: &mut [Self]) {
        kernel::narrow(numbers, out);
    }

    #[inline]
    fn combine(a: &[Self], b: &[Self], out: &mut [Self], f: impl Fn(f32, f32) -> f32) {
        match a.len() {
            0..=SHORT => {
                for ((to, x), y) in out.iter_mut().zip(a).zip(b) {
                    *to = narrow_one(f(widen_one(*x), widen_one(*y)));
                }
            }
            n if n <= FEW => combine_halves::<FEW>(a, b, out, f),
            _ => combine_halves::<PART>(a, b, out, f),
        }
    }

    #[inline]
    fn convert(a: &[Self], out: &mut [Self], f: impl Fn(f32) -> f32) {
        match a.len() {
            0..=SHORT => out.iter_mut().zip(a).for_each(|(to, x)| *to = narrow_one(f(widen_one(*x)))),
            n if n <= FEW => convert_halves::<FEW>(a, out, f),
            _ => convert_halves::<PART>(a, out, f),
        }
    }

    #[inline]
    fn widen_to(elements: &[Self], numbers: &mut [f32]) {
        kernel::widen(elements, numbers);
    }

    #[inline]
    fn widen_all<'a>(elements: &'a [Self], buffer: &'a mut Vec<f32>) -> &'a [f32] {
        buffer.resize(elements.len(), 0.0);
        kernel::widen(elements, buffer);
        buffer
    }

    #[inline]
    fn each_part(elements: &[Self], mut f: impl FnMut(&[f32])) {
        match elements.len() {
            0..=FEW => wide_parts::<FEW>(elements, &mut f),
            _ => wide_parts::<PART>(elements, &mut f),
        }
    }

    #[inline]
    fn each_narrow_part(numbers: &[f32], mut f: impl FnMut(&[Self])) -> Result<()> {
        let mut elements = [Self::ZERO; PART];
        for numbers in numbers.chunks(PART) {
            let part = &mut elements[..numbers.len()];
            kernel::narrow(numbers, part);
            check_put(numbers, part)?;
            f(part);
        }
        Ok(())
    }

    #[inline]
    fn from_be_bytes(bytes: &[u8]) -> Self {
        Self::from_be_bytes(array(bytes))
    }

    #[inline]
    fn put_be_bytes(self, to: &mut [u8]) {
        to.copy_from_slice(&self.to_be_bytes());
    }

    #[inline]
    fn l2_squared(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => short_sum(a.iter().zip(b).map(|(x, y)| (widen_one(*x), widen_one(*y))), |x, y| {
                (x - y) * (x - y)
            }),
            _ => kernel::l2_squared_f16(a, b),
        }
    }

    #[inline]
    fn inner_product(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => {
                short_sum(a.iter().zip(b).map(|(x, y)| (widen_one(*x), widen_one(*y))), |x, y| x * y)
            }
            _ => kernel::inner_product_f16(a, b),
        }
    }

    #[inline]
    fn cosine_sums(a: &[Self], b: &[Self]) -> (f32, f32, f32) {
        match a.len() {
            0..=SHORT => short_cosine_sums(a.iter().zip(b).map(|(x, y)| (widen_one(*x), widen_one(*y)))),
            _ => kernel::cosine_sums_f16(a, b),
        }
    }

    #[inline]
    fn l1(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => {
                short_sum(a.iter().zip(b).map(|(x, y)| (widen_one(*x), widen_one(*y))), |x, y| (x - y).abs())
            }
            _ => kernel::l1_f16(a, b),
        }
    }

    #[inline]
    fn norm_squared(a: &[Self]) -> f64 {
        match a.len() {
            0..=SHORT => short_norm_squared(a.iter().map(|x| widen_one(*x))),
            // In parts, as it has always been rounded.
            _ => a.chunks(PART).map(kernel::norm_squared_f16).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_half_converts_as_the_kernel_does() {
        let same = |a: f16, b: f16| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        for bits in 0..=u16::MAX {
            let half = f16::from_bits(bits);
            let (wide, expected) = (widen_one(half), half.to_f32());
            assert!(wide.to_bits() == expected.to_bits() || wide.is_nan() && expected.is_nan(), "{bits:x}");
            assert!(same(narrow_one(wide), half), "{bits:x}");
            // Between it and the next: the middle, and what is just below and above.
            let next = f16::from_bits(bits.wrapping_add(1)).to_f32();
            let middle = ((f64::from(wide) + f64::from(next)) / 2.0) as f32;
            for x in [middle.next_down(), middle, middle.next_up()] {
                assert!(same(narrow_one(x), f16::from_f32(x)), "{x:e}");
            }
        }
        for bits in (0..=u32::MAX).step_by(9973) {
            let x = f32::from_bits(bits);
            assert!(same(narrow_one(x), f16::from_f32(x)), "{x:e}");
        }
    }
}
