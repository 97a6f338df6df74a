//! Every row this machine supports against the scalar row, and the scalar row's f32 sums against f64.
//! `VECTOR_SEARCH_TEST_ISA=avx512` makes these tests fail, not skip, where that row is unsupported.

mod integers;
mod sets;

use super::table::{Cosine, Distance};
use super::*;
use crate::random::SplitMix64;

/// What the tests draw.
trait Draw {
    fn floats(&mut self, n: usize) -> Vec<f32>;
    fn halves(&mut self, n: usize) -> Vec<f16>;
    fn bytes(&mut self, n: usize) -> Vec<u8>;
    fn signed(&mut self, n: usize) -> Vec<i8>;
}

impl Draw for SplitMix64 {
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.signed_unit()).collect()
    }

    fn halves(&mut self, n: usize) -> Vec<f16> {
        (0..n).map(|_| f16::from_f32(self.signed_unit())).collect()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.bits() as u8).collect()
    }

    fn signed(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.bits() as i8).collect()
    }
}

/// Lengths with tails of every size, and two lengths of real vectors. Each is tested also with slices that
/// begin one element after the allocation.
fn lengths() -> impl Iterator<Item = (usize, usize)> {
    (0..=200).chain([768, 1536, 2000]).flat_map(|n| [(n, 0), (n, 1)])
}

fn supported() -> Vec<&'static Kernels> {
    let rows: Vec<_> = ROWS.iter().copied().filter(|row| (row.supported)()).collect();
    if let Ok(wanted) = std::env::var("VECTOR_SEARCH_TEST_ISA") {
        assert!(rows.iter().any(|row| row.name == wanted), "{wanted} is not supported here");
    }
    rows
}

/// `got` is the sum of `terms` to within 1e-5 of the sum of their magnitudes.
#[track_caller]
fn assert_sum(row: &Kernels, n: usize, got: f32, terms: impl Iterator<Item = f64> + Clone) {
    let (sum, scale): (f64, f64) = (terms.clone().sum(), terms.map(f64::abs).sum());
    assert!((f64::from(got) - sum).abs() <= 1e-5 * scale, "{} at {n}: {got}, not {sum}", row.name);
}

/// The f64 terms of `term` over pairs.
fn terms<'a>(
    a: &'a [f64],
    b: &'a [f64],
    term: impl Fn(f64, f64) -> f64 + Clone + 'a,
) -> impl Iterator<Item = f64> + Clone + 'a {
    a.iter().zip(b).map(move |(x, y)| term(*x, *y))
}

/// The four distances of a row over one element type.
fn check_distances<T: Copy>(
    row: &Kernels,
    (a, b): (&[T], &[T]),
    wide: impl Fn(T) -> f64,
    (l2, product, l1): (Distance<T>, Distance<T>, Distance<T>),
    cosine: Cosine<T>,
) {
    let n = a.len();
    // SAFETY: the row is supported, and the lengths are equal.
    let (l2, product, l1, cosine) = unsafe { (l2(a, b), product(a, b), l1(a, b), cosine(a, b)) };
    let a: Vec<f64> = a.iter().map(|x| wide(*x)).collect();
    let b: Vec<f64> = b.iter().map(|x| wide(*x)).collect();
    assert_sum(row, n, l2, terms(&a, &b, |x, y| (x - y) * (x - y)));
    assert_sum(row, n, product, terms(&a, &b, |x, y| x * y));
    assert_sum(row, n, l1, terms(&a, &b, |x, y| (x - y).abs()));
    let sum = |a, b| terms(a, b, |x, y| x * y).sum::<f64>();
    let norms = (sum(&a, &a) * sum(&b, &b)).sqrt();
    let (expected, all) = (1.0 - sum(&a, &b) / norms, terms(&a, &b, |x, y| (x * y).abs()).sum::<f64>());
    let near = (cosine - expected).abs() <= 1e-6 * (1.0 + all / norms);
    assert!(near || n == 0 && cosine.is_nan(), "{} at {n}: {cosine}, not {expected}", row.name);
}

#[test]
fn the_best_supported_row_is_active() {
    let names = rows();
    assert_eq!(names.last(), Some(&"scalar"));
    let wanted = std::env::var("VECTOR_SEARCH_ISA").unwrap_or_default();
    let expected = names.iter().find(|name| **name == wanted).unwrap_or(&names[0]);
    assert_eq!(isa(), *expected);
}

#[test]
fn float_distances_are_near_f64() {
    let mut random = SplitMix64(1);
    for (n, skip) in lengths() {
        let (a, b) = (random.floats(n + skip), random.floats(n + skip));
        let (a, b) = (&a[skip..], &b[skip..]);
        for row in supported() {
            let two = (row.l2_squared, row.inner_product, row.l1);
            check_distances(row, (a, b), f64::from, two, row.cosine_distance);
            // SAFETY: the row is supported.
            let norm = unsafe { (row.norm_squared)(a) };
            let expected: f64 = a.iter().map(|x| f64::from(*x).powi(2)).sum();
            assert!((norm - expected).abs() <= 1e-13 * expected, "{} at {n}", row.name);
        }
    }
}

#[test]
fn norms_do_not_overflow_f32() {
    for row in supported() {
        for n in [1, 7, 16, 100] {
            // SAFETY: the row is supported.
            let norm = unsafe { (row.norm_squared)(&vec![f32::MAX; n]) };
            let expected = n as f64 * f64::from(f32::MAX).powi(2);
            assert!((norm - expected).abs() <= 1e-13 * expected, "{} at {n}", row.name);
        }
    }
}

#[test]
fn half_distances_are_near_f64() {
    let mut random = SplitMix64(2);
    for (n, skip) in lengths() {
        let (a, b) = (random.halves(n + skip), random.halves(n + skip));
        let (a, b) = (&a[skip..], &b[skip..]);
        for row in supported() {
            let two = (row.l2_squared_f16, row.inner_product_f16, row.l1_f16);
            let wide: Vec<f32> = a.iter().map(|x| x.to_f32()).collect();
            // SAFETY: the row is supported.
            let norms = unsafe { ((row.norm_squared_f16)(a), (row.norm_squared)(&wide)) };
            assert_eq!(norms.0.to_bits(), norms.1.to_bits(), "{} at {n}", row.name);
            check_distances(row, (a, b), f64::from, two, row.cosine_distance_f16);
        }
    }
}

#[test]
fn distances_of_halves_are_those_of_floats() {
    // An index computes distances of halves as floats, and its order must be that of the operators.
    let mut random = SplitMix64(12);
    for (n, skip) in lengths() {
        let (a, b) = (random.halves(n + skip), random.halves(n + skip));
        let wide = |v: &[f16]| v.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
        let ((a, b), (x, y)) = ((&a[skip..], &b[skip..]), (wide(&a[skip..]), wide(&b[skip..])));
        for row in supported() {
            // SAFETY: only rows that the machine supports; the lengths are equal.
            unsafe {
                assert_eq!((row.l2_squared_f16)(a, b), (row.l2_squared)(&x, &y), "{} {n}", row.name);
                assert_eq!((row.inner_product_f16)(a, b), (row.inner_product)(&x, &y), "{} {n}", row.name);
                let cosines = ((row.cosine_distance_f16)(a, b), (row.cosine_distance)(&x, &y));
                assert_eq!(cosines.0.to_bits(), cosines.1.to_bits(), "{} {n}", row.name);
            }
        }
    }
}

#[test]
fn halves_are_widened_and_narrowed() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let wide: Vec<f32> = all.iter().map(|x| f32::from(*x)).collect();
    // Every half, the midpoint to the next half, and the numbers just beside these.
    let between = wide.iter().flat_map(|x| [*x, x.next_up(), x.next_down(), x + x * 2f32.powi(-11)]);
    let numbers: Vec<f32> =
        between.chain([1e-8, -3e-8, 65_519.9, 65_520.0, 1e38, f32::MIN_POSITIVE]).collect();
    let narrow: Vec<f16> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let mut random = SplitMix64(13);
    for row in supported() {
        for n in (0..=40).chain([768, all.len()]) {
            let at = random.bits() as usize % (all.len() - n + 1);
            let (mut widened, mut narrowed) = (vec![7.0; n], vec![f16::ONE; n]);
            // SAFETY: the row is supported, and the lengths are equal.
            unsafe { (row.widen)(&all[at..at + n], &mut widened) };
            assert!(widened.iter().zip(&wide[at..]).all(|(a, b)| same(*a, *b)), "{} {n}", row.name);
            // SAFETY: as above.
            unsafe { (row.narrow)(&numbers[at..at + n], &mut narrowed) };
            let wrong = narrowed.iter().zip(&narrow[at..]).find(|(a, b)| !same(a.to_f32(), b.to_f32()));
            assert_eq!(wrong, None, "{} {n}", row.name);
        }
        let mut narrowed = vec![f16::ONE; numbers.len()];
        // SAFETY: as above.
        unsafe { (row.narrow)(&numbers, &mut narrowed) };
        assert!(narrowed.iter().zip(&narrow).all(|(a, b)| same(a.to_f32(), b.to_f32())), "{}", row.name);
    }
}

#[test]
fn bits_are_counted() {
    let mut random = SplitMix64(11);
    for n in 0..=200 {
        let (a, b) = (random.bytes(n), random.bytes(n));
        let count =
            |f: fn(u8, u8) -> u8| a.iter().zip(&b).map(|(x, y)| u64::from(f(*x, *y).count_ones())).sum();
        let (differ, both, either): (u64, u64, u64) =
            (count(|x, y| x ^ y), count(|x, y| x & y), count(|x, y| x | y));
        for row in supported() {
            // SAFETY: only rows that the machine supports; the lengths are equal.
            unsafe {
                assert_eq!((row.hamming)(&a, &b), differ, "{} {n}", row.name);
                assert_eq!((row.common_bits)(&a, &b), (both, either), "{} {n}", row.name);
            }
        }
    }
}

#[test]
fn bits_of_many_rows_are_counted() {
    let mut random = SplitMix64(12);
    // In the long ones all bits differ, so that sums of bytes would overflow if they were not widened.
    for n in (1..=200).chain([992, 993, 1024, 2000, 8000]) {
        for count in [0, 1, 5, 32] {
            let (query, rows) = match n {
                ..=200 => (random.bytes(n), random.bytes(n * count)),
                _ => (vec![0; n], vec![0xff; n * count]),
            };
            let mut expected = [7; BLOCK_ROWS];
            for (row, e) in rows.chunks_exact(n).zip(&mut expected) {
                *e = query.iter().zip(row).map(|(x, y)| (x ^ y).count_ones()).sum();
            }
            for row in supported() {
                let mut counts = [7; BLOCK_ROWS];
                // SAFETY: the row is supported; `rows` are of the query's length.
                unsafe { (row.hamming_rows)(&query, &rows, &mut counts) };
                assert_eq!(counts, expected, "{} {n} {count}", row.name);
            }
        }
    }
}

#[test]
fn every_half_widens_exactly() {
    let one = [f16::ONE];
    for bits in 0..=u16::MAX {
        let x = f16::from_bits(bits);
        let expected = x.to_f32();
        for row in supported() {
            // SAFETY: the row is supported, and the lengths are equal.
            let got = unsafe { (row.inner_product_f16)(&[x], &one) };
            assert!(got == expected || got.is_nan() && expected.is_nan(), "{} at {bits:x}", row.name);
        }
    }
}

#[test]
fn infinities_and_nans_pass_through_distances() {
    for row in supported() {
        for n in 1..=70 {
            for (value, infinite) in [(f32::INFINITY, true), (f32::NAN, false)] {
                let (mut a, b) = (vec![0.5; n], vec![0.25; n]);
                a[n / 2] = value;
                // SAFETY: the row is supported, and the lengths are equal.
                let all =
                    unsafe { [(row.l2_squared)(&a, &b), (row.inner_product)(&a, &b), (row.l1)(&a, &b)] };
                for got in all {
                    assert!(
                        if infinite { got == f32::INFINITY } else { got.is_nan() },
                        "{} at {n}",
                        row.name
                    );
                }
            }
        }
    }
}

#[test]
fn scans_agree_and_add_to_the_sums() {
    let mut random = SplitMix64(3);
    for groups in (0..=200).chain([255, 256, 257, 511, 513]) {
        for skip in [0, 1] {
            let (lut, codes) = (random.bytes(16 * groups + skip), random.bytes(16 * groups + skip));
            let start: [u32; BLOCK_ROWS] = std::array::from_fn(|_| random.bits() as u32 >> 8);
            let mut expected = start;
            scalar_scan(&lut[skip..], &codes[skip..], &mut expected);
            for row in supported() {
                let mut sums = start;
                // SAFETY: the row is supported, and the lengths are equal multiples of 16.
                unsafe { (row.scan_block)(&lut[skip..], &codes[skip..], 64, &mut sums) };
                assert_eq!(sums, expected, "{} at {groups}", row.name);
            }
        }
    }
}

/// The layout again, seen from a code: the nibble of code `j` in group `g`.
fn scalar_scan(lut: &[u8], codes: &[u8], sums: &mut [u32; BLOCK_ROWS]) {
    for (j, sum) in sums.iter_mut().enumerate() {
        let byte = 2 * (j % 8) + j % 16 / 8;
        for g in 0..codes.len() / 16 {
            let nibble = codes[16 * g + byte] >> (4 * (j / 16)) & 15;
            *sum += u32::from(lut[16 * g + usize::from(nibble)]);
        }
    }
}

#[test]
fn scans_of_16_000_dimensions_do_not_overflow() {
    let mut random = SplitMix64(4);
    let (lut, codes) = (vec![255; 64_000], random.bytes(64_000));
    for row in supported() {
        let mut sums = [7; BLOCK_ROWS];
        // SAFETY: the row is supported, and the lengths are equal multiples of 16.
        unsafe { (row.scan_block)(&lut, &codes, 0usize.wrapping_sub(4096), &mut sums) };
        assert_eq!(sums, [7 + 255 * 4000; BLOCK_ROWS], "{}", row.name);
    }
}

/// Compares masks and the bits of bounds, all NaNs being one.
#[track_caller]
fn assert_bounds(sums: &[u32; BLOCK_ROWS], factors: &Factors) {
    let run = |row: &Kernels| {
        let mut bounds = [0.0; BLOCK_ROWS];
        // SAFETY: the row is supported.
        let mask = unsafe { (row.lower_bounds)(sums, factors, &mut bounds) };
        (mask, bounds)
    };
    let (mask, bounds) = run(&scalar::KERNELS);
    for (j, bound) in bounds.iter().enumerate() {
        let keep = bound.is_nan() || factors.threshold.is_nan() || *bound < factors.threshold;
        assert_eq!(mask >> j & 1 == 1, keep);
    }
    let bits = |x: f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
    for row in supported() {
        let (m, b) = run(row);
        assert_eq!(m, mask, "{}", row.name);
        assert_eq!(b.map(bits), bounds.map(bits), "{}", row.name);
    }
}

#[test]
fn bounds_are_the_same_bits() {
    let mut random = SplitMix64(5);
    for round in 0..2000 {
        // Up to all 32 bits, where signed conversion or double rounding would show.
        let sums = std::array::from_fn(|_| (random.bits() >> (32 + round % 25)) as u32);
        let halves = random.halves(2 * BLOCK_ROWS);
        let mut bytes = halves.iter().flat_map(|x| x.to_le_bytes());
        let add: [u8; 2 * BLOCK_ROWS] = std::array::from_fn(|_| bytes.next().unwrap());
        let rescale: [u8; 2 * BLOCK_ROWS] = std::array::from_fn(|_| bytes.next().unwrap());
        let scale = random.signed_unit() / 64.0;
        let [shift, base] = [random.signed_unit() * 8.0, random.signed_unit() * 8.0];
        let threshold = random.signed_unit() * 8.0;
        assert_bounds(&sums, &Factors { add: &add, rescale: &rescale, scale, shift, base, threshold });
    }
}

#[test]
fn bounds_without_order_are_kept() {
    let mut random = SplitMix64(6);
    let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0, -0.0, 1.5];
    for scale in specials {
        for base in specials {
            for threshold in specials {
                // Random bits: every kind of half, subnormal and NaN included.
                let mut random_bytes = || std::array::from_fn(|_| random.bits() as u8);
                let (add, rescale) = (random_bytes(), random_bytes());
                let sums = std::array::from_fn(|j| 1000 * j as u32);
                assert_bounds(
                    &sums,
                    &Factors { add: &add, rescale: &rescale, scale, shift: -1.0, base, threshold },
                );
            }
        }
    }
    let (sums, zeros) = ([1; BLOCK_ROWS], [0; 2 * BLOCK_ROWS]);
    for row in supported() {
        for base in [f32::NAN, f32::NEG_INFINITY] {
            let factors =
                Factors { add: &zeros, rescale: &zeros, scale: 1.0, shift: 0.0, base, threshold: -1e30 };
            // SAFETY: the row is supported.
            let mask = unsafe { (row.lower_bounds)(&sums, &factors, &mut [0.0; BLOCK_ROWS]) };
            assert_eq!(mask, u32::MAX, "{}", row.name);
        }
    }
}

#[test]
fn byte_dots_are_exact() {
    let mut random = SplitMix64(8);
    for (n, skip) in lengths().chain([(16_000, 0)]) {
        let m = n + skip;
        let cases = [
            (random.bytes(m), random.signed(m), random.signed(m).iter().map(|x| (*x).max(-127)).collect()),
            (vec![255; m], vec![-128; m], vec![-127; m]),
            (vec![255; m], vec![127; m], vec![-127; m]),
        ];
        for (a, b, c) in &cases {
            let (a, b, c) = (&a[skip..], &b[skip..], &c[skip..]);
            let unsigned: i32 = a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
            // Bytes that are both signed are never -128.
            let d: Vec<i8> = b.iter().map(|x| (*x).max(-127)).collect();
            let signed: i32 = c.iter().zip(&d).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
            for row in supported() {
                // SAFETY: the row is supported, and the lengths are equal.
                let got = unsafe { (row.dot_u8_i8)(a, b) };
                assert_eq!(got, unsigned, "{} at {n}", row.name);
                if n == 0 {
                    continue;
                }
                // Seven rows: multiples of one.
                let factors = [1, 0, -1, 1, -1, 0, -1];
                let rows: Vec<i8> =
                    factors.iter().flat_map(|factor| d.iter().map(move |x| factor * x)).collect();
                let mut dots = [7; 7];
                // SAFETY: the row is supported, and there are seven rows of the query's length.
                unsafe { (row.dots_i8)(c, &rows, &mut dots) };
                assert_eq!(dots, factors.map(|factor| i32::from(factor) * signed), "{} at {n}", row.name);
            }
        }
    }
}

#[test]
fn mixed_dots_are_near_f64() {
    let mut random = SplitMix64(9);
    for (n, skip) in lengths() {
        let (a, b) = (random.floats(n + skip), random.signed(n + skip));
        let (a, b) = (&a[skip..], &b[skip..]);
        for row in supported() {
            // SAFETY: the row is supported, and the lengths are equal.
            let got = unsafe { (row.dot_f32_i8)(a, b) };
            assert_sum(row, n, got, a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)));
        }
    }
}

#[test]
fn transforms_are_the_same_bits() {
    let mut random = SplitMix64(10);
    for n in (0..=12).map(|log| 1usize << log) {
        for skip in [0, 1] {
            let x = random.floats(n + skip);
            let mut expected = x.clone();
            scalar::hadamard(&mut expected[skip..]);
            for row in supported() {
                let mut got = x.clone();
                // SAFETY: the row is supported, and `n` is a power of two.
                unsafe { (row.hadamard)(&mut got[skip..]) };
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&got), bits(&expected), "{} at {n}", row.name);
            }
            if n <= 64 {
                for (i, got) in expected[skip..].iter().enumerate() {
                    let sign = |j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                    let row: f32 = x[skip..].iter().enumerate().map(|(j, x)| sign(j) * x).sum();
                    assert!((row - got).abs() < 1e-4);
                }
            }
        }
    }
}

#[test]
#[should_panic]
fn lengths_are_checked() {
    inner_product(&[1.0], &[1.0, 2.0]);
}

#[test]
fn tiles_are_near_f64() {
    let mut random = SplitMix64(11);
    for depth in [0, 1, 2, 3, 17, 256] {
        let a: Vec<[f32; 4]> = (0..depth).map(|_| std::array::from_fn(|_| random.signed_unit())).collect();
        let b: Vec<[f32; 16]> = (0..depth).map(|_| std::array::from_fn(|_| random.signed_unit())).collect();
        for row in supported() {
            // SAFETY: the row is supported, and the lengths are equal.
            let got = unsafe { (row.tile)(&a, &b) };
            for (i, got) in got.iter().enumerate() {
                for (j, got) in got.iter().enumerate() {
                    let terms = a.iter().zip(&b).map(|(a, b)| f64::from(a[i]) * f64::from(b[j]));
                    assert_sum(row, depth, *got, terms);
                }
            }
        }
    }
}

#[test]
fn codes_are_what_they_stand_for() {
    let mut random = SplitMix64(12);
    for n in [64, 128, 768] {
        let (mut a, b) = (random.floats(n), random.floats(n));
        // Values that no grid has, and values without a sign.
        (a[1], a[2], a[3], a[4]) = (f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0);
        let steps = 6.5;
        for row in supported() {
            let (mut signs, mut low) = (vec![0u8; n / 8], vec![0u8; n / 64 * 24]);
            // SAFETY: the row is supported, and the lengths are as they must be.
            let one = unsafe { (row.sign_code)(&a, &b, &mut signs) };
            // SAFETY: as above.
            let four = unsafe { (row.grid_code4)(&a, &b, steps, &mut low) };
            let (mut halves, mut grids) = (Vec::new(), Vec::new());
            for (i, a) in a.iter().enumerate() {
                let positive = signs[i / 8] >> (i % 8) & 1 == 1;
                assert_eq!(positive, *a > 0.0, "{} at {i}", row.name);
                let (chunk, at) = (&low[i / 64 * 24..][..24], i % 64);
                let code =
                    (chunk[at % 16] >> (2 * (at / 16)) & 3) | (chunk[16 + at / 8] >> (at % 8) & 1) << 2;
                let level = (f64::from(a.abs() * steps + 1e-5)).min(7.0).floor();
                let expected = if positive { level } else { 7.0 - level };
                assert_eq!(f64::from(code), expected, "{} at {i}", row.name);
                halves.push(if positive { 0.5 } else { -0.5 });
                grids.push(if positive { level + 0.5 } else { -level - 0.5 });
            }
            let terms = |x: &[f32], y: &[f64]| -> Vec<f64> {
                x.iter().zip(y).map(|(x, y)| f64::from(*x) * y).collect()
            };
            assert_sum(row, n, one[1], terms(&b, &halves).into_iter());
            assert_sum(row, n, four[1], terms(&b, &grids).into_iter());
            assert_sum(row, n, four[2], grids.iter().map(|g| g * g));
            assert_eq!((one[0], four[0]), (f32::INFINITY, f32::INFINITY));
            // SAFETY: the row is supported, and the lengths are as they must be.
            let same = unsafe { scalar_codes(&a, &b, steps) };
            assert_eq!((signs, low, one, four), same, "{}", row.name);
        }
    }
}

/// The scalar row's result.
unsafe fn scalar_codes(a: &[f32], b: &[f32], steps: f32) -> (Vec<u8>, Vec<u8>, [f32; 2], [f32; 3]) {
    let (mut signs, mut low) = (vec![0u8; a.len() / 8], vec![0u8; a.len() / 64 * 24]);
    // SAFETY: the scalar row is always supported; the caller vouches for the lengths.
    unsafe {
        let one = (scalar::KERNELS.sign_code)(a, b, &mut signs);
        let four = (scalar::KERNELS.grid_code4)(a, b, steps, &mut low);
        (signs, low, one, four)
    }
}

#[test]
fn few_halves_convert_as_many_do() {
    let same = |a: f16, b: f16| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let narrowed = |x: f32| {
        let mut out = [f16::ZERO; 4];
        inline::narrow_few([x, -x, 1.0, x], &mut out);
        assert!(same(out[3], out[0]) && same(out[1], -out[0]) && out[2] == f16::ONE, "{x:e}");
        out[0]
    };
    for bits in 0..=u16::MAX {
        let half = f16::from_bits(bits);
        let [wide, one, negative, zero] = inline::widen_few(&[half, f16::ONE, -half]);
        let expected = half.to_f32();
        assert!(wide.to_bits() == expected.to_bits() || wide.is_nan() && expected.is_nan(), "{bits:x}");
        assert!(one == 1.0 && zero == 0.0 && (negative == -wide || wide.is_nan()), "{bits:x}");
        assert!(same(narrowed(wide), half), "{bits:x}");
        // The midpoint between it and the next half, and the numbers just below and above the midpoint.
        let next = f16::from_bits(bits.wrapping_add(1)).to_f32();
        let middle = ((f64::from(wide) + f64::from(next)) / 2.0) as f32;
        for x in [middle.next_down(), middle, middle.next_up()] {
            assert!(same(narrowed(x), f16::from_f32(x)), "{x:e}");
        }
    }
    for bits in (0..=u32::MAX).step_by(9973) {
        let x = f32::from_bits(bits);
        assert!(same(narrowed(x), f16::from_f32(x)), "{x:e}");
    }
    for n in 0..=4 {
        let (mut out, numbers) = ([f16::ZERO; 4], [1.0, 2.0, 3.0, 4.0]);
        inline::narrow_few(numbers, &mut out[..n]);
        let wide = inline::widen_few(&out[..n]);
        let expected = |i| if i < n { numbers[i] } else { 0.0 };
        assert_eq!(wide, std::array::from_fn(expected), "{n}");
    }
}
