//! The two kinds of element: `f32` of `vector`, `f16` of `halfvec`.

use half::f16;

use crate::error::Result;
use crate::kernel;

/// Number of halves that are widened to `f32` at a time.
const PART: usize = 64;
/// For up to this many elements a smaller buffer is used, because clearing one of [`PART`] would be most of
/// the work.
const SMALL_PART: usize = 8;
/// Up to this many elements are computed inline, because the call of a kernel takes longer.
const SHORT: usize = kernel::FEW;

/// An element of a dense vector. Slices of a pair have equal lengths.
pub trait Element: Copy + Default + PartialOrd + 'static {
    /// The SQL type of vectors of such elements.
    const TYPE: &'static str;

    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// Zero of either sign.
    fn is_zero(self) -> bool;
    /// The element as `f32`.
    fn widen(self) -> f32;
    /// The nearest element, infinite beyond the range.
    fn narrow(x: f32) -> Self;
    /// Writes the nearest element of each number. There are as many numbers as elements of `out`.
    fn put(numbers: impl Iterator<Item = f32>, out: &mut [Self]);
    /// The same for a slice of numbers.
    fn put_slice(numbers: &[f32], out: &mut [Self]);
    /// Writes, for each pair, the element nearest to `f` of the pair.
    fn combine(a: &[Self], b: &[Self], out: &mut [Self], f: impl Fn(f32, f32) -> f32);
    /// Writes, for each element, the element nearest to `f` of it.
    fn convert(a: &[Self], out: &mut [Self], f: impl Fn(f32) -> f32);
    /// Writes the elements as `f32`; both slices have the same length.
    fn widen_to(elements: &[Self], numbers: &mut [f32]);
    /// Returns the elements as `f32`; `buffer` is used if memory is needed.
    fn widen_all<'a>(elements: &'a [Self], buffer: &'a mut Vec<f32>) -> &'a [f32];
    /// Calls `f` with the elements as `f32`, perhaps in several parts.
    fn each_part(elements: &[Self], f: impl FnMut(&[f32]));
    /// Calls `f` with the nearest elements of the numbers, which must be finite, perhaps in several parts.
    ///
    /// # Errors
    /// A number outside the element's range.
    fn each_narrow_part(
        numbers: &[f32],
        check: impl Fn(&[f32], &[Self]) -> Result<()>,
        f: impl FnMut(&[Self]),
    ) -> Result<()>;
    /// Reads an element from its big-endian bytes.
    fn from_be_bytes(bytes: &[u8]) -> Self;
    /// Writes an element as big-endian bytes.
    fn put_be_bytes(self, to: &mut [u8]);

    /// Squared Euclidean distance.
    fn l2_squared(a: &[Self], b: &[Self]) -> f32;
    /// Inner product.
    fn inner_product(a: &[Self], b: &[Self]) -> f32;
    /// One minus the cosine of the angle; NaN where a norm is zero or overflows.
    fn cosine_distance(a: &[Self], b: &[Self]) -> f64;
    /// Sum of absolute differences.
    fn l1(a: &[Self], b: &[Self]) -> f32;
    /// Squared Euclidean norm, summed in f64.
    fn norm_squared(a: &[Self]) -> f64;
}

/// The first bytes as an array; a shorter slice leaves zeros.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

#[inline(always)]
fn pairs(a: &[f32], b: &[f32]) -> impl Iterator<Item = (f32, f32)> {
    a.iter().copied().zip(b.iter().copied())
}

/// Pairs of a few halves, filled up with zeros, which do not change a sum.
#[inline(always)]
fn wide_pairs(a: &[f16], b: &[f16]) -> impl Iterator<Item = (f32, f32)> {
    kernel::widen_few(a).into_iter().zip(kernel::widen_few(b))
}

/// `f` of each pair, `N` pairs at a time.
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

/// `f` of each element, `N` elements at a time.
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

/// Calls `f` with the elements as `f32`, `N` at a time.
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
    fn each_narrow_part(
        numbers: &[f32],
        _check: impl Fn(&[f32], &[Self]) -> Result<()>,
        mut f: impl FnMut(&[Self]),
    ) -> Result<()> {
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
            0..=SHORT => kernel::sum_few(pairs(a, b), |x, y| (x - y) * (x - y)),
            _ => kernel::l2_squared(a, b),
        }
    }

    #[inline]
    fn inner_product(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => kernel::sum_few(pairs(a, b), |x, y| x * y),
            _ => kernel::inner_product(a, b),
        }
    }

    #[inline]
    fn cosine_distance(a: &[Self], b: &[Self]) -> f64 {
        match a.len() {
            0..=SHORT => kernel::cosine_few(pairs(a, b)),
            _ => kernel::cosine_distance(a, b),
        }
    }

    #[inline]
    fn l1(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => kernel::sum_few(pairs(a, b), |x, y| (x - y).abs()),
            _ => kernel::l1(a, b),
        }
    }

    #[inline]
    fn norm_squared(a: &[Self]) -> f64 {
        match a.len() {
            0..=SHORT => kernel::norm_squared_few(a.iter().copied()),
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
        match *numbers {
            [x] => kernel::narrow_few([x, 0.0, 0.0, 0.0], out),
            [x, y] => kernel::narrow_few([x, y, 0.0, 0.0], out),
            [x, y, z] => kernel::narrow_few([x, y, z, 0.0], out),
            [x, y, z, w] => kernel::narrow_few([x, y, z, w], out),
            _ => kernel::narrow(numbers, out),
        }
    }

    #[inline]
    fn combine(a: &[Self], b: &[Self], out: &mut [Self], f: impl Fn(f32, f32) -> f32) {
        match a.len() {
            0..=SHORT => {
                let (x, y) = (kernel::widen_few(a), kernel::widen_few(b));
                kernel::narrow_few(std::array::from_fn(|i| f(x[i], y[i])), out);
            }
            n if n <= SMALL_PART => combine_halves::<SMALL_PART>(a, b, out, f),
            _ => combine_halves::<PART>(a, b, out, f),
        }
    }

    #[inline]
    fn convert(a: &[Self], out: &mut [Self], f: impl Fn(f32) -> f32) {
        match a.len() {
            0..=SHORT => kernel::narrow_few(kernel::widen_few(a).map(f), out),
            n if n <= SMALL_PART => convert_halves::<SMALL_PART>(a, out, f),
            _ => convert_halves::<PART>(a, out, f),
        }
    }

    #[inline]
    fn widen_to(elements: &[Self], numbers: &mut [f32]) {
        match elements.len() {
            0..=SHORT => numbers.iter_mut().zip(kernel::widen_few(elements)).for_each(|(to, x)| *to = x),
            _ => kernel::widen(elements, numbers),
        }
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
            0..=SMALL_PART => wide_parts::<SMALL_PART>(elements, &mut f),
            _ => wide_parts::<PART>(elements, &mut f),
        }
    }

    #[inline]
    fn each_narrow_part(
        numbers: &[f32],
        check: impl Fn(&[f32], &[Self]) -> Result<()>,
        mut f: impl FnMut(&[Self]),
    ) -> Result<()> {
        let mut elements = [Self::ZERO; PART];
        for numbers in numbers.chunks(PART) {
            let part = &mut elements[..numbers.len()];
            kernel::narrow(numbers, part);
            check(numbers, part)?;
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
            0..=SHORT => kernel::sum_few(wide_pairs(a, b), |x, y| (x - y) * (x - y)),
            _ => kernel::l2_squared_f16(a, b),
        }
    }

    #[inline]
    fn inner_product(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => kernel::sum_few(wide_pairs(a, b), |x, y| x * y),
            _ => kernel::inner_product_f16(a, b),
        }
    }

    #[inline]
    fn cosine_distance(a: &[Self], b: &[Self]) -> f64 {
        match a.len() {
            0..=SHORT => kernel::cosine_few(wide_pairs(a, b)),
            _ => kernel::cosine_distance_f16(a, b),
        }
    }

    #[inline]
    fn l1(a: &[Self], b: &[Self]) -> f32 {
        match a.len() {
            0..=SHORT => kernel::sum_few(wide_pairs(a, b), |x, y| (x - y).abs()),
            _ => kernel::l1_f16(a, b),
        }
    }

    #[inline]
    fn norm_squared(a: &[Self]) -> f64 {
        match a.len() {
            0..=SHORT => kernel::norm_squared_few(kernel::widen_few(a).into_iter()),
            n if n <= PART => kernel::norm_squared_f16(a),
            // In parts, because this is how the sum was rounded in earlier versions.
            _ => a.chunks(PART).map(kernel::norm_squared_f16).sum(),
        }
    }
}
