//! Room 0 (temporary scalar twin).
#![allow(missing_docs)]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
pub fn cosine_sums(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    (inner_product(a, b), inner_product(a, a), inner_product(b, b))
}
pub fn norm_squared(a: &[f32]) -> f64 {
    a.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}
pub fn scan_block(lut: &[u8], codes: &[u8], sums: &mut [u32; 32]) {
    const P: [usize; 16] = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15];
    for (l, c) in lut.chunks_exact(16).zip(codes.chunks_exact(16)) {
        for j in 0..16 {
            sums[P[j]] += u32::from(l[usize::from(c[j] & 15)]);
            sums[16 + P[j]] += u32::from(l[usize::from(c[j] >> 4)]);
        }
    }
}
#[allow(clippy::too_many_arguments)]
pub fn lower_bounds(
    sums: &[u32; 32],
    add: &[u8; 64],
    rescale: &[u8; 64],
    scale: f32,
    shift: f32,
    base: f32,
    threshold: f32,
    bounds: &mut [f32; 32],
) -> u32 {
    let mut mask = 0;
    for j in 0..32 {
        let a = half::f16::from_le_bytes([add[2 * j], add[2 * j + 1]]).to_f32();
        let r = half::f16::from_le_bytes([rescale[2 * j], rescale[2 * j + 1]]).to_f32();
        bounds[j] = a + base + r * (scale * sums[j] as f32 + shift);
        if !(bounds[j] >= threshold) {
            mask |= 1 << j;
        }
    }
    mask
}
pub fn dot_extended3(codes: &[u8], query: &[i8]) -> i32 {
    let mut s = 0;
    for (c, q) in codes.chunks_exact(24).zip(query.chunks_exact(64)) {
        for i in 0..64 {
            let low = c[i % 16] >> (2 * (i / 16)) & 3;
            let high = c[16 + i / 8] >> (i % 8) & 1;
            s += i32::from(low | high << 2) * i32::from(q[i]);
        }
    }
    s
}
pub fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
}
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
}
pub fn dot_f32_i8(a: &[f32], b: &[i8]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * f32::from(*y)).sum()
}
pub fn hadamard(x: &mut [f32]) {
    let mut h = 1;
    while h < x.len() {
        for c in x.chunks_exact_mut(2 * h) {
            let (a, b) = c.split_at_mut(h);
            for (p, q) in a.iter_mut().zip(b) {
                (*p, *q) = (*p + *q, *p - *q);
            }
        }
        h *= 2;
    }
}
