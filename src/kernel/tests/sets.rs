//! Kernels that compare one thing with several.

use super::*;

#[test]
fn common_bits_of_many_rows_are_counted() {
    let mut random = SplitMix64(13);
    for n in (1..=200).chain([992, 993, 1024, 2000, 8000]) {
        for count in [0, 1, 5, 32] {
            let (query, rows) = match n {
                ..=200 => (random.bytes(n), random.bytes(n * count)),
                _ => (vec![0xff; n], vec![0xff; n * count]),
            };
            let mut expected = [7; BLOCK_ROWS];
            for (row, e) in rows.chunks_exact(n).zip(&mut expected) {
                *e = query.iter().zip(row).map(|(x, y)| (x & y).count_ones()).sum();
            }
            for row in supported() {
                let mut counts = [7; BLOCK_ROWS];
                // SAFETY: the row is supported; `rows` are of the query's length.
                unsafe { (row.common_rows)(&query, &rows, &mut counts) };
                assert_eq!(counts, expected, "{} {n} {count}", row.name);
            }
        }
    }
}

#[test]
fn rows_are_packed_alike() {
    let mut random = SplitMix64(17);
    for size in (8..=264).step_by(8).chain([384, 2000]) {
        for skip in [0, 1] {
            let rows = random.bytes(skip + BLOCK_ROWS * size);
            // The nibble of row `j` in group `g`, as `scan_block` takes it.
            let mut expected = vec![0; BLOCK_ROWS * size];
            for (j, row) in rows[skip..].chunks_exact(size).enumerate() {
                for (g, group) in expected.chunks_exact_mut(16).enumerate() {
                    let nibble = row[g / 2] >> (4 * (g % 2)) & 15;
                    group[2 * (j % 8) + j % 16 / 8] |= nibble << (4 * (j / 16));
                }
            }
            for row in supported() {
                let mut groups = vec![7; skip + expected.len()];
                // SAFETY: the row is supported; the lengths are equal and a multiple of 256.
                unsafe { (row.pack_rows)(&rows[skip..], &mut groups[skip..]) };
                assert_eq!(groups[skip..], expected, "{} at {size}", row.name);
            }
        }
    }
}

#[test]
fn greatest_products_are_near_f64() {
    let mut random = SplitMix64(31);
    for n in [0, 1, 2, 7, 16, 33, 128, 200] {
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| random.unit() as f32 - 0.5).collect() };
        let sixteen: Vec<[f32; 16]> = (0..n).map(|_| draw(16).try_into().unwrap()).collect();
        let others: Vec<Vec<f32>> = (0..TOKENS).map(|_| draw(n)).collect();
        let before: [f32; 16] =
            std::array::from_fn(|lane| if lane % 3 == 0 { 1e3 } else { f32::NEG_INFINITY });
        for row in supported() {
            let mut best = before;
            // SAFETY: the row is supported; the lengths are equal.
            unsafe { (row.max_products)(&sixteen, std::array::from_fn(|i| &others[i][..]), &mut best) };
            for (lane, best) in best.iter().enumerate() {
                let product = |other: &Vec<f32>| -> f64 {
                    sixteen.iter().zip(other).map(|(s, x)| f64::from(s[lane]) * f64::from(*x)).sum()
                };
                let greatest = others.iter().map(product).fold(f64::from(before[lane]), f64::max);
                assert!((f64::from(*best) - greatest).abs() < 1e-5, "{} {n}: {best} {greatest}", row.name);
            }
        }
    }
}
