//! The two kinds of element: `f32` of `vector`, `f16` of `halfvec`.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::kernel;

/// An element of a dense vector. Slices of a pair have equal lengths.
pub trait Element: Copy + Default + PartialOrd + 'static {
    /// The SQL type of vectors of such elements.
    const TYPE: &'static str;

    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// The same number.
    fn widen(self) -> f32;
    /// The nearest element, infinite beyond the range.
    fn narrow(x: f32) -> Self;
    /// The nearest element of each.
    fn narrow_all(numbers: &[f32]) -> Vec<Self>;
    /// The nearest element of `f` of each pair.
    fn combine(a: &[Self], b: &[Self], f: impl Fn(f32, f32) -> f32) -> Vec<Self>;
    /// The same numbers; `buffer` is memory for them where it is needed.
    fn widen_all<'a>(elements: &'a [Self], buffer: &'a mut Vec<f32>) -> &'a [f32];
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
    fn norm_squared(a: &[Self]) -> f64 {
        kernel::norm_squared(Self::widen_all(a, &mut Vec::new()))
    }
}

/// The first bytes as an array; a shorter slice leaves zeros.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

impl Element for f32 {
    const TYPE: &'static str = "vector";

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn widen(self) -> f32 {
        self
    }

    fn narrow(x: f32) -> Self {
        x
    }

    fn narrow_all(numbers: &[f32]) -> Vec<Self> {
        numbers.to_vec()
    }

    fn combine(a: &[Self], b: &[Self], f: impl Fn(f32, f32) -> f32) -> Vec<Self> {
        a.iter().zip(b).map(|(x, y)| f(*x, *y)).collect()
    }

    fn widen_all<'a>(elements: &'a [Self], _: &'a mut Vec<f32>) -> &'a [f32] {
        elements
    }

    fn from_be_bytes(bytes: &[u8]) -> Self {
        Self::from_be_bytes(array(bytes))
    }

    fn put_be_bytes(self, to: &mut [u8]) {
        to.copy_from_slice(&self.to_be_bytes());
    }

    fn l2_squared(a: &[Self], b: &[Self]) -> f32 {
        kernel::l2_squared(a, b)
    }

    fn inner_product(a: &[Self], b: &[Self]) -> f32 {
        kernel::inner_product(a, b)
    }

    fn cosine_sums(a: &[Self], b: &[Self]) -> (f32, f32, f32) {
        kernel::cosine_sums(a, b)
    }

    fn l1(a: &[Self], b: &[Self]) -> f32 {
        kernel::l1(a, b)
    }
}

impl Element for f16 {
    const TYPE: &'static str = "halfvec";

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn widen(self) -> f32 {
        self.to_f32()
    }

    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }

    fn narrow_all(numbers: &[f32]) -> Vec<Self> {
        let mut elements = vec![Self::ZERO; numbers.len()];
        elements.convert_from_f32_slice(numbers);
        elements
    }

    fn combine(a: &[Self], b: &[Self], f: impl Fn(f32, f32) -> f32) -> Vec<Self> {
        let (mut wide_a, mut wide_b) = (Vec::new(), Vec::new());
        let (a, b) = (Self::widen_all(a, &mut wide_a), Self::widen_all(b, &mut wide_b));
        let numbers: Vec<f32> = a.iter().zip(b).map(|(x, y)| f(*x, *y)).collect();
        Self::narrow_all(&numbers)
    }

    fn widen_all<'a>(elements: &'a [Self], buffer: &'a mut Vec<f32>) -> &'a [f32] {
        buffer.resize(elements.len(), 0.0);
        elements.convert_to_f32_slice(buffer);
        buffer
    }

    fn from_be_bytes(bytes: &[u8]) -> Self {
        Self::from_be_bytes(array(bytes))
    }

    fn put_be_bytes(self, to: &mut [u8]) {
        to.copy_from_slice(&self.to_be_bytes());
    }

    fn l2_squared(a: &[Self], b: &[Self]) -> f32 {
        kernel::l2_squared_f16(a, b)
    }

    fn inner_product(a: &[Self], b: &[Self]) -> f32 {
        kernel::inner_product_f16(a, b)
    }

    fn cosine_sums(a: &[Self], b: &[Self]) -> (f32, f32, f32) {
        kernel::cosine_sums_f16(a, b)
    }

    fn l1(a: &[Self], b: &[Self]) -> f32 {
        kernel::l1_f16(a, b)
    }
}
