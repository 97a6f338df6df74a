//! The portable row. It defines the results of all rows: tests compare every row with this one.
//!
//! Byte sums wrap as vector registers do, so that rows agree even where a sum overflows.

use super::table::{BLOCK_ROWS, Factors, Kernels, TOKENS};
use half::f16;
use half::slice::HalfFloatSliceExt;

pub(super) static KERNELS: Kernels = Kernels {
    name: "scalar",
    supported: || true,
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
    hamming,
    hamming_rows,
    common_bits,
    common_rows,
    subset_sums,
    scan_block,
    pack_rows,
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

/// Code of each byte's low nibble.
pub(super) const PERMUTED: [usize; 16] = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15];

/// The sum of `term` over pairs, in sixteen interleaved partial sums, which the compiler can vectorise.
#[inline(always)]
fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f32) -> f32 {
    let mut parts = [0f32; 16];
    let (a, a_tail) = a.as_chunks::<16>();
    let (b, b_tail) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for ((part, x), y) in parts.iter_mut().zip(a).zip(b) {
            *part += term(*x, *y);
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| term(*x, *y)).sum();
    parts.iter().sum::<f32>() + tail
}

fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y| (x - y) * (x - y))
}

fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y| x * y)
}

fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    super::inline::cosine_of_sums(inner_product(a, b), inner_product(a, a), inner_product(b, b))
}

fn l1(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y| (x - y).abs())
}

fn norm_squared(a: &[f32]) -> f64 {
    a.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

fn norm_squared_f16(a: &[f16]) -> f64 {
    a.iter().map(|x| f64::from(x.to_f32()) * f64::from(x.to_f32())).sum()
}

fn l2_squared_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |x, y| (x.to_f32() - y.to_f32()) * (x.to_f32() - y.to_f32()))
}

fn inner_product_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |x, y| x.to_f32() * y.to_f32())
}

fn cosine_distance_f16(a: &[f16], b: &[f16]) -> f64 {
    super::inline::cosine_of_sums(inner_product_f16(a, b), inner_product_f16(a, a), inner_product_f16(b, b))
}

fn l1_f16(a: &[f16], b: &[f16]) -> f32 {
    sum(a, b, |x, y| (x.to_f32() - y.to_f32()).abs())
}

pub(super) fn widen(from: &[f16], to: &mut [f32]) {
    from.convert_to_f32_slice(to);
}

pub(super) fn narrow(from: &[f32], to: &mut [f16]) {
    to.convert_from_f32_slice(from);
}

/// The sum of `count` over words of both, the last one filled with zeros.
#[inline(always)]
fn words<T: Default>(a: &[u8], b: &[u8], mut count: impl FnMut(T, u64, u64) -> T) -> T {
    let (a, a_tail) = a.as_chunks::<8>();
    let (b, b_tail) = b.as_chunks::<8>();
    let whole = a
        .iter()
        .zip(b)
        .fold(T::default(), |sum, (x, y)| count(sum, u64::from_le_bytes(*x), u64::from_le_bytes(*y)));
    let last = |tail: &[u8]| tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    count(whole, last(a_tail), last(b_tail))
}

/// Also the body of rows whose instruction set counts bits.
#[inline(always)]
pub(super) fn hamming(a: &[u8], b: &[u8]) -> u64 {
    words(a, b, |sum, x, y| sum + u64::from((x ^ y).count_ones()))
}

/// Also the body of rows whose instruction set counts bits.
#[inline(always)]
pub(super) fn hamming_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    for (row, count) in rows.chunks_exact(query.len()).zip(counts) {
        *count = hamming(query, row) as u32;
    }
}

/// Also the body of rows whose instruction set counts bits.
#[inline(always)]
pub(super) fn common_bits(a: &[u8], b: &[u8]) -> (u64, u64) {
    words(a, b, |(both, either), x, y| {
        (both + u64::from((x & y).count_ones()), either + u64::from((x | y).count_ones()))
    })
}

pub(super) fn common_rows(query: &[u8], rows: &[u8], counts: &mut [u32; BLOCK_ROWS]) {
    for (row, count) in rows.chunks_exact(query.len()).zip(counts) {
        *count = words(query, row, |both: u64, x, y| both + u64::from((x & y).count_ones())) as u32;
    }
}

fn scan_block(lut: &[u8], codes: &[u8], ahead: usize, sums: &mut [u32; BLOCK_ROWS]) {
    super::prefetch::prefetch(codes.as_ptr().wrapping_add(ahead), codes.len());
    for (table, group) in lut.as_chunks::<16>().0.iter().zip(codes.as_chunks::<16>().0) {
        for (byte, slot) in group.iter().zip(PERMUTED) {
            let (low, high) = (table[usize::from(byte & 15)], table[usize::from(byte >> 4)]);
            sums[slot] = sums[slot].wrapping_add(u32::from(low));
            sums[16 + slot] = sums[16 + slot].wrapping_add(u32::from(high));
        }
    }
}

fn pack_rows(rows: &[u8], groups: &mut [u8]) {
    let size = rows.len() / BLOCK_ROWS;
    for (column, out) in groups.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (low, high) = out.split_at_mut(16);
        for ((low, high), slot) in low.iter_mut().zip(high).zip(PERMUTED) {
            let (first, second) = (rows[slot * size + column], rows[(16 + slot) * size + column]);
            *low = first & 15 | second << 4;
            *high = first >> 4 | second & 0xf0;
        }
    }
}

// `!(bound >= threshold)` keeps a NaN, which `bound < threshold` would drop.
#[allow(clippy::neg_cmp_op_on_partial_ord)]
fn lower_bounds(sums: &[u32; BLOCK_ROWS], factors: &Factors, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    let (add, rescale) = (factors.add.as_chunks::<2>().0, factors.rescale.as_chunks::<2>().0);
    let mut mask = 0;
    for (j, bound) in bounds.iter_mut().enumerate() {
        let product = factors.scale * sums[j] as f32 + factors.shift;
        let start = f16::from_le_bytes(add[j]).to_f32() + factors.base;
        *bound = start + f16::from_le_bytes(rescale[j]).to_f32() * product;
        mask |= u32::from(!(*bound >= factors.threshold)) << j;
    }
    mask
}

pub(super) fn subset_sums(terms: &[u16], base: u16, lut: &mut [u8]) {
    for (t, out) in terms.as_chunks::<4>().0.iter().zip(lut.as_chunks_mut::<16>().0) {
        let pairs = [0, t[0], t[1], t[0].wrapping_add(t[1])];
        let uppers = [0, t[2], t[3], t[2].wrapping_add(t[3])].map(|upper| upper.wrapping_add(base));
        for (i, o) in out.iter_mut().enumerate() {
            *o = (pairs[i % 4].wrapping_add(uppers[i / 4]) >> 8) as u8;
        }
    }
}

pub(super) fn within_u32(values: &[u8; 4 * BLOCK_ROWS], low: u32, high: u32) -> u32 {
    let within = |x| low <= x && x <= high;
    let bits = values.as_chunks::<4>().0.iter().map(|x| u32::from(within(u32::from_le_bytes(*x))));
    bits.enumerate().fold(0, |mask, (j, bit)| mask | bit << j)
}

pub(super) fn within_u64(values: &[u8; 8 * BLOCK_ROWS], low: u64, high: u64) -> u32 {
    let within = |x| low <= x && x <= high;
    let bits = values.as_chunks::<8>().0.iter().map(|x| u32::from(within(u64::from_le_bytes(*x))));
    bits.enumerate().fold(0, |mask, (j, bit)| mask | bit << j)
}

fn dot_extended3(codes: &[u8], query: &[i8]) -> i32 {
    let mut sum = 0i32;
    for (code, q) in codes.as_chunks::<24>().0.iter().zip(query.as_chunks::<64>().0) {
        for (i, q) in q.iter().enumerate() {
            let low = code[i % 16] >> (2 * (i / 16)) & 3;
            let high = code[16 + i / 8] >> (i % 8) & 1;
            sum = sum.wrapping_add(i32::from(low | high << 2) * i32::from(*q));
        }
    }
    sum
}

fn dot_extended4(low: &[u8], signs: &[u8], query: &[i8]) -> i32 {
    let highest = signs.iter().zip(query.as_chunks::<8>().0).fold(0i32, |sum, (signs, q)| {
        let of = |i: usize| i32::from(signs >> i & 1) * i32::from(q[i]);
        (0..8).fold(sum, |sum, i| sum.wrapping_add(of(i)))
    });
    highest.wrapping_mul(8).wrapping_add(dot_extended3(low, query))
}

fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    a.iter().zip(b).fold(0, |sum: i32, (x, y)| sum.wrapping_add(i32::from(*x) * i32::from(*y)))
}

fn dots_i8(query: &[i8], rows: &[i8], dots: &mut [i32]) {
    for (row, dot) in rows.chunks_exact(query.len()).zip(dots) {
        let products = query.iter().zip(row).map(|(x, y)| i32::from(*x) * i32::from(*y));
        *dot = products.fold(0, |sum: i32, product| sum.wrapping_add(product));
    }
}

fn dot_f32_i8(a: &[f32], b: &[i8]) -> f32 {
    sum(a, b, |x, y| x * f32::from(y))
}

pub(super) fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (p, q) in low.iter_mut().zip(high) {
                (*p, *q) = (*p + *q, *p - *q);
            }
        }
        half *= 2;
    }
}

/// The levels of [`super::hadamard`] from `half` up; `half` is a multiple of `LANES`. Used by the other rows,
/// too.
///
/// Two levels are done in one pass, so that memory is read half as often. `quad` does two levels on four
/// groups of elements.
#[inline(always)]
#[allow(dead_code)] // On an architecture with no other row.
pub(super) fn wide_levels<const LANES: usize>(
    x: &mut [f32],
    mut half: usize,
    quad: impl Fn([&mut [f32; LANES]; 4]),
) {
    while 4 * half <= x.len() {
        for part in x.chunks_exact_mut(4 * half) {
            let (low, high) = part.split_at_mut(2 * half);
            let ((a, b), (c, d)) = (low.split_at_mut(half), high.split_at_mut(half));
            let (a, b) = (a.as_chunks_mut::<LANES>().0, b.as_chunks_mut::<LANES>().0);
            let (c, d) = (c.as_chunks_mut::<LANES>().0, d.as_chunks_mut::<LANES>().0);
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                quad([a, b, c, d]);
            }
        }
        half *= 4;
    }
    if half < x.len() {
        let (low, high) = x.split_at_mut(half);
        for (p, q) in low.iter_mut().zip(high) {
            (*p, *q) = (*p + *q, *p - *q);
        }
    }
}

/// Computed in two halves, because the sums of one half just fit the registers of an x86-64 without AVX.
pub(super) fn tile(a: &[[f32; 4]], b: &[[f32; 16]]) -> [[f32; 16]; 4] {
    let mut out = [[0f32; 16]; 4];
    for half in 0..2 {
        let mut sums = [[0f32; 8]; 4];
        for (a, b) in a.iter().zip(b) {
            let b = &b.as_chunks::<8>().0[half];
            for (sums, a) in sums.iter_mut().zip(a) {
                for (s, b) in sums.iter_mut().zip(b) {
                    *s += a * b;
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(&sums) {
            out.as_chunks_mut::<8>().0[half] = *sums;
        }
    }
    out
}

/// Bit `i` is the lowest bit of byte `i`.
#[inline(always)]
fn gather(bytes: &[u8; 8]) -> u8 {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    // The factor moves bit 8i to bit 56 + i; no two products meet in a bit.
    ((u64::from_le_bytes(*bytes) & LOWEST).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// Sixteen interleaved partial sums, as in [`sum`]. The rows of other instruction sets compile this function
/// for their instruction set.
#[inline(always)]
pub(super) fn sign_code(a: &[f32], b: &[f32], out: &mut [u8]) -> [f32; 2] {
    let mut sums = [[0f32; 16]; 2];
    let pairs = a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0);
    for ((a, b), out) in pairs.zip(out.as_chunks_mut::<2>().0) {
        let mut positive = [0u8; 16];
        for i in 0..16 {
            let above = a[i] > 0.0;
            positive[i] = u8::from(above);
            sums[0][i] += 0.5 * a[i].abs();
            sums[1][i] += if above { 0.5 * b[i] } else { -0.5 * b[i] };
        }
        for (out, bytes) in out.iter_mut().zip(positive.as_chunks::<8>().0) {
            *out = gather(bytes);
        }
    }
    sums.map(|parts| parts.iter().sum())
}

/// As [`sign_code`].
#[inline(always)]
pub(super) fn grid_code4(a: &[f32], b: &[f32], steps: f32, out: &mut [u8]) -> [f32; 3] {
    const MOST: i32 = 7;
    let mut sums = [[0f32; 16]; 3];
    let pairs = a.as_chunks::<64>().0.iter().zip(b.as_chunks::<64>().0);
    for ((a, b), out) in pairs.zip(out.as_chunks_mut::<24>().0) {
        let mut low = [0u8; 64];
        let quarters = a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0);
        for ((a, b), low) in quarters.zip(low.as_chunks_mut::<16>().0) {
            for i in 0..16 {
                let level = (a[i].abs() * steps + 1e-5).min(MOST as f32) as i32;
                let above = a[i] > 0.0;
                low[i] = (if above { level } else { MOST - level }) as u8;
                let magnitude = level as f32 + 0.5;
                let grid = if above { magnitude } else { -magnitude };
                sums[0][i] += grid * a[i];
                sums[1][i] += grid * b[i];
                sums[2][i] += grid * grid;
            }
        }
        for i in 0..16 {
            let two = |quarter: usize| (low[16 * quarter + i] & 3) << (2 * quarter);
            out[i] = two(0) | two(1) | two(2) | two(3);
        }
        for (out, bytes) in out[16..].iter_mut().zip(low.as_chunks::<8>().0) {
            *out = gather(&bytes.map(|low| low >> 2));
        }
    }
    sums.map(|parts| parts.iter().sum())
}

pub(super) fn max_products(sixteen: &[[f32; 16]], others: [&[f32]; TOKENS], best: &mut [f32; 16]) {
    for other in others {
        let mut sums = [0.0; 16];
        for (lanes, x) in sixteen.iter().zip(other) {
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                *sum += lane * x;
            }
        }
        for (best, sum) in best.iter_mut().zip(sums) {
            *best = best.max(sum);
        }
    }
}
