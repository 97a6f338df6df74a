//! Estimates against exact values, over seeded random sets.

use super::*;
use crate::kernel;
use crate::random::SplitMix64;

/// A vector whose coordinates have very different scales and a mean.
fn skewed(random: &mut SplitMix64, dims: usize) -> Vec<f32> {
    (0..dims)
        .map(|i| random.normal() / (1.0 + i as f32).sqrt() + if i % 7 == 0 { 0.3 } else { 0.0 })
        .collect()
}

/// Share of estimates within one deviation, within 1.9, mean z, and root mean square z, by stage.
struct Scores {
    z: Vec<f64>,
}

impl Scores {
    fn within(&self, width: f64) -> f64 {
        self.z.iter().filter(|z| z.abs() <= width).count() as f64 / self.z.len() as f64
    }

    fn mean(&self) -> f64 {
        self.z.iter().sum::<f64>() / self.z.len() as f64
    }

    fn deviation(&self) -> f64 {
        (self.z.iter().map(|z| z * z).sum::<f64>() / self.z.len() as f64).sqrt()
    }
}

/// Codes 200 rows against 40 queries and returns the scores of both stages.
fn scores(dims: usize, bits: u8, inner_product: bool) -> (Scores, Scores) {
    let mut random = SplitMix64(dims as u64 * 31 + u64::from(bits));
    let rotation = Rotation::new(dims, 7);
    let padded = rotation.padded();
    let codec = Codec::new(padded, bits).unwrap();
    let rotate = |x: &[f32]| {
        let mut out = vec![0.0; padded];
        rotation.apply(x, &mut out);
        out
    };
    let centre = rotate(&skewed(&mut random, dims));
    let queries: Vec<QueryCode> = Vec::new();
    drop(queries);
    let queries: Vec<Vec<f32>> = (0..40).map(|_| rotate(&skewed(&mut random, dims))).collect();
    let mut query = QueryCode::new(&codec, &queries[0]);
    let (mut signs, mut extended) = (vec![0; codec.sign_bytes()], vec![0; codec.extended_size()]);
    let (mut first, mut second) = (Scores { z: Vec::new() }, Scores { z: Vec::new() });
    for _ in 0..200 {
        let row = rotate(&skewed(&mut random, dims));
        let residual: Vec<f32> = row.iter().zip(&centre).map(|(x, c)| x - c).collect();
        let form = if inner_product {
            Form::InnerProduct { residual_dot_centre: kernel::inner_product(&residual, &centre) }
        } else {
            Form::L2
        };
        let factors = codec.encode((&residual, &centre), None, form, &mut signs, &mut extended);
        let mut block = vec![0u8; 4 * padded];
        pack::write_signs(&mut block, 0, 5, &signs);
        for q in &queries {
            query.set(&codec, q);
            let gap = kernel::l2_squared(q, &centre).sqrt();
            let (base, truth) = if inner_product {
                (-kernel::inner_product(q, &centre), -kernel::inner_product(q, &row))
            } else {
                (gap * gap, kernel::l2_squared(q, &row))
            };
            let terms = ListTerms { base, gap, outside: gap, lengths: 0.0, noise: 0.0 };
            let mut sums = [0; 32];
            kernel::scan_block(query.lut(), &block, 0, &mut sums);
            let stage = query.stage1(&codec, terms, Width::of(0.0));
            let product = stage.scale * sums[5] as f32 + stage.shift;
            let estimate = factors.add.to_f32() + stage.base + factors.rescale.to_f32() * product;
            let width = query.stage1(&codec, terms, Width::of(1.0)).shift - stage.shift;
            let sigma = -factors.rescale.to_f32() * width;
            first.z.push(f64::from((estimate - truth) / sigma));
            if bits > 1 {
                let errors = [1.0, 2.0]
                    .map(|width| query.extended(&codec, &extended, sums[5], terms, Width::of(width)));
                let (estimate, sigma) = (errors[0].0, errors[1].1 - errors[0].1);
                // Rows whose error is unusual exclude nothing (see `encode_4`); they are few.
                if estimate.is_finite() {
                    second.z.push(f64::from((estimate - truth) / sigma));
                }
            }
        }
    }
    (first, second)
}

#[test]
fn errors_are_unbiased_and_as_wide_as_said() {
    for dims in [64, 100, 384, 768] {
        for bits in [1, 4, 8] {
            for inner_product in [false, true] {
                let (first, second) = scores(dims, bits, inner_product);
                let what = format!("{dims} dimensions, {bits} bits, inner product {inner_product}");
                for (stage, scores) in [(1, &first), (2, &second)] {
                    if scores.z.is_empty() {
                        continue;
                    }
                    assert!(scores.z.len() * 100 >= first.z.len() * 97, "{what}: {} rows", scores.z.len());
                    let (mean, deviation) = (scores.mean(), scores.deviation());
                    assert!(mean.abs() < 0.25, "{what}, stage {stage}: mean {mean}");
                    assert!((0.6..1.1).contains(&deviation), "{what}, stage {stage}: deviation {deviation}");
                    assert!(scores.within(1.9) > 0.93, "{what}, stage {stage}: {}", scores.within(1.9));
                    assert_eq!(scores.within(6.0), 1.0, "{what}, stage {stage}");
                }
            }
        }
    }
}

#[test]
fn rotations_keep_lengths_and_angles() {
    let mut random = SplitMix64(3);
    for dims in [1, 2, 3, 63, 64, 65, 100, 128, 769, 1000, 1536] {
        let rotation = Rotation::new(dims, 99);
        let (a, b) = (skewed(&mut random, dims), skewed(&mut random, dims));
        let (mut x, mut y) = (vec![0.0; rotation.padded()], vec![0.0; rotation.padded()]);
        rotation.apply(&a, &mut x);
        rotation.apply(&b, &mut y);
        let norm = kernel::inner_product(&a, &a);
        assert!((kernel::inner_product(&x, &x) - norm).abs() < 1e-5 * norm, "{dims}");
        let error = kernel::inner_product(&x, &y) - kernel::inner_product(&a, &b);
        assert!(error.abs() < 1e-5 * norm.max(1.0) * 4.0, "{dims}: {error}");
    }
}

#[test]
fn signs_come_back_from_a_block() {
    let mut random = SplitMix64(4);
    let padded = 192;
    let mut block = vec![0xAA; 4 * padded];
    let rows: Vec<Vec<u8>> =
        (0..32).map(|_| (0..padded / 8).map(|_| (random.unit_f32() * 256.0) as u8).collect()).collect();
    for (slot, signs) in rows.iter().enumerate() {
        // In two parts, like a block that is split over two pages.
        let (low, high) = block.split_at_mut(16 * 20);
        pack::write_signs(low, 0, slot, signs);
        pack::write_signs(high, 20, slot, signs);
    }
    for (slot, signs) in rows.iter().enumerate() {
        let mut back = vec![0; padded / 8];
        pack::read_signs(&block, 0, slot, &mut back);
        assert_eq!(&back, signs);
    }
}

#[test]
fn bits_are_packed_as_postgres_has_them() {
    let coordinates = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    let mut bits = [0xff; 2];
    pack::write_bits(&coordinates, &mut bits);
    assert_eq!(bits, [0b1011_0001, 0b0110_0000]);
    let codec = Codec::of_bits(11);
    assert_eq!((codec.sign_bytes(), codec.extended_size(), codec.padded()), (2, 0, 64));
    let mut point = vec![0.0; 64];
    point[..11].copy_from_slice(&coordinates[..11]);
    assert_eq!(QueryCode::new(&codec, &point).bits(), bits);
}

#[test]
fn extreme_values_exclude_nothing() {
    for bits in [1, 4, 8] {
        let codec = Codec::new(64, bits).unwrap();
        for value in [0.0f32, 1e-45, 1e-30, 1e-10, 1e6, 1e18, 1e30, 3e38] {
            let residual: Vec<f32> = (0..64).map(|i| if i % 3 == 0 { value } else { -value * 0.5 }).collect();
            let centre = vec![0.25; 64];
            let (mut signs, mut extended) = (vec![0; 8], vec![0; codec.extended_size()]);
            let f = codec.encode((&residual, &centre), None, Form::L2, &mut signs, &mut extended);
            let query: Vec<f32> = (0..64).map(|i| (i % 5) as f32 * 0.2).collect();
            let code = QueryCode::new(&codec, &query);
            let gap = kernel::l2_squared(&query, &centre).sqrt();
            let terms = ListTerms { base: gap * gap, gap, outside: gap, lengths: 0.0, noise: 0.0 };
            let stage = code.stage1(&codec, terms, Width::of(6.0));
            let mut block = vec![0u8; 256];
            pack::write_signs(&mut block, 0, 0, &signs);
            let mut sums = [0; 32];
            kernel::scan_block(code.lut(), &block, 0, &mut sums);
            let bound = f.add.to_f32()
                + stage.base
                + f.rescale.to_f32() * (stage.scale * sums[0] as f32 + stage.shift);
            let row: Vec<f32> = residual.iter().zip(&centre).map(|(o, c)| o + c).collect();
            let truth = kernel::l2_squared(&row, &query);
            assert!(bound.is_nan() || bound <= truth * 1.000_01, "{bits} bits, {value}: {bound} > {truth}");
        }
    }
}

#[test]
fn codes_give_their_rows_back() {
    let mut random = SplitMix64(9);
    for (bits, least) in [(4, 0.99), (8, 0.9999)] {
        for padded in [64, 192, 768] {
            let codec = Codec::new(padded, bits).unwrap();
            let residual: Vec<f32> = (0..padded).map(|_| random.normal()).collect();
            let centre: Vec<f32> = (0..padded).map(|_| random.normal()).collect();
            for form in [Form::L2, Form::InnerProduct { residual_dot_centre: 0.0 }] {
                let (mut signs, mut extended) = (vec![0; padded / 8], vec![0; codec.extended_size()]);
                codec.encode((&residual, &centre), None, form, &mut signs, &mut extended);
                let mut back = vec![0.0; padded];
                assert!(codec.decode(form != Form::L2, &signs, &extended, &mut back));
                let (x, y) =
                    (kernel::inner_product(&residual, &residual), kernel::inner_product(&back, &back));
                let cosine = kernel::inner_product(&residual, &back) / (x * y).sqrt();
                assert!(cosine > least && (y / x).sqrt() < 1.02, "{bits} bits: {cosine}, {y} for {x}");
            }
        }
    }
    let codec = Codec::new(64, 4).unwrap();
    let mut zero = vec![0.0; 64];
    assert!(!codec.decode(false, &[0; 8], &[0; 28], &mut zero), "a row that its factors say nothing of");
}
