//! Room 0: the arithmetic. Distances over f32 and f16, dot products over quantised codes, the
//! table scan over packed 4-bit codes, and the Walsh-Hadamard transform.
//!
//! Each instruction set is one row of function pointers; the best row the machine supports is chosen once.
//! Integer kernels, codes, `lower_bounds` and `hadamard` give the same bits on every row, so an index may be
//! built on one machine and searched on another. Sums of f32 are rounded differently by each row.
//!
//! This is the only room with vector `unsafe`: the entry points below check lengths, the rows trust them.
//! Rows are safe code, except for loads and stores.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod inline;
#[cfg(target_arch = "aarch64")]
mod neon;
mod prefetch;
mod scalar;
mod table;
#[cfg(test)]
mod tests;

pub use self::inline::{FEW, cosine_few, cosine_of_sums, narrow_few, norm_squared_few, sum_few, widen_few};
pub use self::prefetch::{prefetch, prefetch_ahead};
pub use self::table::{BLOCK_ROWS, TOKENS};
use self::table::{Factors, Kernels};
use half::f16;
use std::sync::LazyLock;

/// Every row of this architecture, best first.
#[cfg(target_arch = "x86_64")]
static ROWS: &[&Kernels] = &[&avx512::ZEN4, &avx512::KERNELS, &avx2::KERNELS, &scalar::KERNELS];
#[cfg(target_arch = "aarch64")]
static ROWS: &[&Kernels] = &[&neon::KERNELS, &scalar::KERNELS];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ROWS: &[&Kernels] = &[&scalar::KERNELS];

/// The row in use: the one `VECTOR_SEARCH_ISA` names if the machine supports it, else the best.
static ACTIVE: LazyLock<&'static Kernels> = LazyLock::new(|| {
    let wanted = std::env::var("VECTOR_SEARCH_ISA").unwrap_or_default();
    let supported = || ROWS.iter().filter(|row| (row.supported)());
    supported().find(|row| row.name == wanted).or_else(|| supported().next()).unwrap_or(&&scalar::KERNELS)
});

/// The instruction set in use: `zen4` (the faster kernels of `avx512` and `avx2`), `avx512`, `avx2`, `neon`
/// or `scalar`.
pub fn isa() -> &'static str {
    ACTIVE.name
}

/// The instruction sets this machine supports, best first, for benches.
#[doc(hidden)]
pub fn rows() -> Vec<&'static str> {
    ROWS.iter().filter(|row| (row.supported)()).map(|row| row.name).collect()
}

/// Squared Euclidean distance of two vectors of one length.
#[inline]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.l2_squared)(a, b) }
}

/// Inner product of two vectors of one length.
#[inline]
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.inner_product)(a, b) }
}

/// One minus the cosine of the angle of two vectors of one length, in one pass; NaN where a norm is zero or
/// overflows.
#[inline]
pub fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.cosine_distance)(a, b) }
}

/// Sum of absolute differences of two vectors of one length.
#[inline]
pub fn l1(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.l1)(a, b) }
}

/// Squared Euclidean norm, summed in f64.
#[inline]
pub fn norm_squared(a: &[f32]) -> f64 {
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.norm_squared)(a) }
}

/// Squared Euclidean norm of a half-precision vector. The result has the same bits as [`norm_squared`] of the
/// widened vector.
#[inline]
pub fn norm_squared_f16(a: &[f16]) -> f64 {
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.norm_squared_f16)(a) }
}

/// Squared Euclidean distance of two half-precision vectors of one length, summed in f32.
#[inline]
pub fn l2_squared_f16(a: &[f16], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.l2_squared_f16)(a, b) }
}

/// Inner product of two half-precision vectors of one length, summed in f32.
#[inline]
pub fn inner_product_f16(a: &[f16], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.inner_product_f16)(a, b) }
}

/// One minus the cosine of the angle of two half-precision vectors of one length, summed in f32.
#[inline]
pub fn cosine_distance_f16(a: &[f16], b: &[f16]) -> f64 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.cosine_distance_f16)(a, b) }
}

/// Sum of absolute differences of two half-precision vectors of one length, summed in f32.
#[inline]
pub fn l1_f16(a: &[f16], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.l1_f16)(a, b) }
}

/// Converts half to single precision; both slices have the same length.
#[inline]
pub fn widen(from: &[f16], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.widen)(from, to) }
}

/// Converts single to half precision: nearest, ties to even, infinite beyond the range. Both slices have the
/// same length.
#[inline]
pub fn narrow(from: &[f32], to: &mut [f16]) {
    assert_eq!(from.len(), to.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.narrow)(from, to) }
}

/// Number of bits that differ between two bit strings of one length.
#[inline]
pub fn hamming(a: &[u8], b: &[u8]) -> u64 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.hamming)(a, b) }
}

/// Counts the differing bits between a bit string and each of up to 32 strings of the same length, which lie
/// one after the other in `rows`. Other elements of `counts` are not changed.
pub fn hamming_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    assert!(
        !query.is_empty() && rows.len() <= BLOCK_ROWS * query.len() && rows.len().is_multiple_of(query.len())
    );
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.hamming_rows)(query, rows, counts) }
}

/// Numbers of bits set in both and in either of two bit strings of one length.
#[inline]
pub fn common_bits(a: &[u8], b: &[u8]) -> (u64, u64) {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.common_bits)(a, b) }
}

/// Counts the bits that a bit string has in common with each of up to 32 strings of the same length, which
/// lie one after the other in `rows`. Other elements of `counts` are not changed.
pub fn common_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    assert!(
        !query.is_empty() && rows.len() <= BLOCK_ROWS * query.len() && rows.len().is_multiple_of(query.len())
    );
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.common_rows)(query, rows, counts) }
}

/// Makes the table of a query for [`scan_block`] from four terms per sub-quantizer, in units of 1/256. Entry
/// `i` is the upper byte of a sum modulo 2^16: `base` plus each term whose bit is set in `i`.
pub fn subset_sums(terms: &[u16], base: u16, lut: &mut [u8]) {
    assert!(terms.len().is_multiple_of(4) && lut.len() == 4 * terms.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.subset_sums)(terms, base, lut) }
}

/// Adds to `sums` the table entries that 32 packed codes select.
///
/// `lut` and `codes` hold 16 bytes per 4-bit sub-quantizer. Byte `j` of a sub-quantizer's codes holds in its
/// low nibble the entry of code `P[j]` and in its high nibble that of code `16 + P[j]`, where `P = [0, 8, 1,
/// 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]`: in this order, the even bytes of a register widen to codes
/// 0..8, and the odd bytes to codes 8..16.
///
/// `ahead`: byte offset (wrapping) from `codes` to the data that will be scanned next; 0 if not known. The
/// kernel prefetches that data, as many bytes as `codes` has, one cache line at a time while it computes,
/// because prefetching all of it at once would delay the computation. Any number is safe: nothing is read
/// there.
pub fn scan_block(lut: &[u8], codes: &[u8], ahead: usize, sums: &mut [u32; BLOCK_ROWS]) {
    assert!(lut.len() == codes.len() && codes.len().is_multiple_of(16));
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.scan_block)(lut, codes, ahead, sums) }
}

/// Packs the codes of 32 rows, which lie one after the other, for [`scan_block`]. A byte of a row has two
/// sub-quantizers: its low nibble the first. A row's bytes are a multiple of eight.
pub fn pack_rows(rows: &[u8], groups: &mut [u8]) {
    assert!(rows.len() == groups.len() && rows.len().is_multiple_of(8 * BLOCK_ROWS));
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.pack_rows)(rows, groups) }
}

/// Lower bounds of the distances of a block's 32 codes from their table sums:
/// `bounds[j] = (add[j] + base) + rescale[j] * (scale * sums[j] + shift)`, rounded after each step.
///
/// `add` and `rescale` are 32 little-endian f16. Bit `j` of the result is set unless
/// `bounds[j] >= threshold`, so a NaN bound is kept.
#[allow(clippy::too_many_arguments)]
pub fn lower_bounds(
    sums: &[u32; BLOCK_ROWS],
    add: &[u8; 2 * BLOCK_ROWS],
    rescale: &[u8; 2 * BLOCK_ROWS],
    scale: f32,
    shift: f32,
    base: f32,
    threshold: f32,
    bounds: &mut [f32; BLOCK_ROWS],
) -> u32 {
    let factors = Factors { add, rescale, scale, shift, base, threshold };
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.lower_bounds)(sums, &factors, bounds) }
}

/// Compares 32 little-endian values. Bit `j` of the result is set if value `j` is at least `low` and at most
/// `high`.
pub fn within_u32(values: &[u8; 4 * BLOCK_ROWS], low: u32, high: u32) -> u32 {
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.within_u32)(values, low, high) }
}

/// As [`within_u32`], for 64-bit values.
pub fn within_u64(values: &[u8; 8 * BLOCK_ROWS], low: u64, high: u64) -> u32 {
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.within_u64)(values, low, high) }
}

/// Dot product of 3-bit codes with signed bytes.
///
/// `codes` holds 24 bytes per 64 dimensions of `query`. The low two bits of dimension `i` are in byte
/// `i % 16` from bit `2 * (i / 16)` on; its high bit is bit `i % 8` of byte `16 + i / 8`.
pub fn dot_extended3(codes: &[u8], query: &[i8]) -> i32 {
    assert!(query.len().is_multiple_of(64) && codes.len() == query.len() / 64 * 24);
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.dot_extended3)(codes, query) }
}

/// Dot product of 4-bit codes with signed bytes. `low` holds the low three bits as for [`dot_extended3`], and
/// `signs` the highest bits, least significant first.
pub fn dot_extended4(low: &[u8], signs: &[u8], query: &[i8]) -> i32 {
    assert!(query.len().is_multiple_of(64) && low.len() == query.len() / 64 * 24);
    assert!(signs.len() == query.len() / 8);
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.dot_extended4)(low, signs, query) }
}

/// Exact dot product of unsigned with signed bytes, modulo 2^32.
pub fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.dot_u8_i8)(a, b) }
}

/// Exact dot product of signed bytes above -128, modulo 2^32.
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let mut dot = [0];
    dots_i8(a, b, &mut dot);
    dot[0]
}

/// Dot products, as by `dot_i8`, of a query with each row; the rows lie one after the other.
pub fn dots_i8(query: &[i8], rows: &[i8], dots: &mut [i32]) {
    assert!(query.len().checked_mul(dots.len()) == Some(rows.len()));
    if query.is_empty() {
        return dots.fill(0);
    }
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.dots_i8)(query, rows, dots) }
}

/// Dot product of floats with signed bytes.
pub fn dot_f32_i8(a: &[f32], b: &[i8]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.dot_f32_i8)(a, b) }
}

/// The fast Walsh-Hadamard transform in place, without normalisation: applying it twice multiplies by the
/// length. The length must be a power of two.
pub fn hadamard(x: &mut [f32]) {
    assert!(x.len().is_power_of_two());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.hadamard)(x) }
}

/// The inner products of four vectors with sixteen. Both sets are interleaved: `a[i]` and `b[i]` have
/// component `i` of every vector.
pub fn tile(a: &[[f32; 4]], b: &[[f32; 16]]) -> [[f32; 16]; 4] {
    assert_eq!(a.len(), b.len());
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.tile)(a, b) }
}

/// Raises each of `best` to the largest inner product of one of sixteen vectors with twelve others. The
/// sixteen are interleaved: `sixteen[i]` has component `i` of each. All have the same length.
pub fn max_products(sixteen: &[[f32; 16]], others: [&[f32]; TOKENS], best: &mut [f32; 16]) {
    assert!(others.iter().all(|other| other.len() == sixteen.len()));
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.max_products)(sixteen, others, best) }
}

/// Writes the signs of `a`, one bit each, least significant first; the bit is set if the number is above
/// zero. Returns the inner products of `a` and of `b` with the vector that has 1/2 for a set bit and −1/2 for
/// others.
pub fn sign_code(a: &[f32], b: &[f32], out: &mut [u8]) -> [f32; 2] {
    assert!(a.len() == b.len() && a.len() == 8 * out.len() && a.len().is_multiple_of(16));
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.sign_code)(a, b, out) }
}

/// Writes the low three bits of the 4-bit code of `a` on a grid of `1 / steps`: 24 bytes for each 64
/// dimensions, as [`dot_extended3`] reads them. Codes grow with the value. Returns the inner products of the
/// code's grid vector with `a`, with `b` and with itself.
pub fn grid_code4(a: &[f32], b: &[f32], steps: f32, out: &mut [u8]) -> [f32; 3] {
    assert!(a.len() == b.len() && a.len().is_multiple_of(64) && out.len() == a.len() / 64 * 24);
    // SAFETY: `ACTIVE` is a row whose `supported` returned true.
    unsafe { (ACTIVE.grid_code4)(a, b, steps, out) }
}
