//! Kernels of integers: the same on every row, bit for bit.

use super::*;

#[test]
fn ranges_agree() {
    let mut random = SplitMix64(11);
    for round in 0..2000 {
        // Few distinct values, so that bounds are often hit; extremes of every size.
        let value = |r: u64| match r % 7 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63,
            3 => (1 << 63) - 1,
            _ => r >> 61,
        };
        let values: [u64; BLOCK_ROWS] = std::array::from_fn(|_| value(random.bits()));
        let (low, high) = (value(random.bits()), value(random.bits()));
        let (low, high) = if round % 5 == 0 { (low, high) } else { (low.min(high), low.max(high)) };
        let expected64 =
            (0..BLOCK_ROWS).filter(|&j| low <= values[j] && values[j] <= high).fold(0, |m, j| m | 1 << j);
        let (low32, high32) = ((low >> 32) as u32 | low as u32, (high >> 32) as u32 | high as u32);
        let narrow = values.map(|v| (v >> 32) as u32 | v as u32);
        let expected32 =
            (0..BLOCK_ROWS).filter(|&j| low32 <= narrow[j] && narrow[j] <= high32).fold(0, |m, j| m | 1 << j);
        let mut wide = [0; 8 * BLOCK_ROWS];
        wide.as_chunks_mut::<8>().0.iter_mut().zip(values).for_each(|(to, v)| *to = v.to_le_bytes());
        let mut small = [0; 4 * BLOCK_ROWS];
        small.as_chunks_mut::<4>().0.iter_mut().zip(narrow).for_each(|(to, v)| *to = v.to_le_bytes());
        for row in supported() {
            // SAFETY: the row is supported.
            let (got64, got32) =
                unsafe { ((row.within_u64)(&wide, low, high), (row.within_u32)(&small, low32, high32)) };
            assert_eq!(got64, expected64, "{}", row.name);
            assert_eq!(got32, expected32, "{}", row.name);
        }
    }
}

#[test]
fn subset_sums_agree() {
    let mut random = SplitMix64(8);
    for groups in [0, 1, 2, 3, 16, 192, 4000] {
        let bytes = random.bytes(8 * groups);
        let terms: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
        for base in [0, 128, 40_000, u16::MAX] {
            let entry = |at: usize| {
                let chosen = (0..4).filter(|t| ((at % 16) >> t) & 1 == 1).map(|t| terms[at / 16 * 4 + t]);
                (chosen.fold(base, u16::wrapping_add) >> 8) as u8
            };
            let expected: Vec<u8> = (0..16 * groups).map(entry).collect();
            for row in supported() {
                let mut lut = vec![7; 16 * groups];
                // SAFETY: the machine supports the row.
                unsafe { (row.subset_sums)(&terms, base, &mut lut) };
                assert_eq!(lut, expected, "{}", row.name);
            }
        }
    }
}

#[test]
fn extended_dots_agree() {
    let mut random = SplitMix64(7);
    for groups in (0..=20).chain([250]) {
        for skip in [0, 1] {
            let (codes, query) = (random.bytes(24 * groups + skip), random.signed(64 * groups + skip));
            let cases = [(codes, query), (vec![255; 24 * groups + skip], vec![-128; 64 * groups + skip])];
            for (codes, query) in &cases {
                let (codes, query) = (&codes[skip..], &query[skip..]);
                let expected: i32 = (0..query.len())
                    .map(|i| {
                        let (code, i) = (&codes[i / 64 * 24..], i % 64);
                        let bit = |at: usize| i32::from(code[at / 8] >> (at % 8) & 1);
                        let at = 8 * (i % 16) + 2 * (i / 16);
                        bit(at) + 2 * bit(at + 1) + 4 * bit(128 + i)
                    })
                    .zip(query)
                    .map(|(code, q)| code * i32::from(*q))
                    .sum();
                for row in supported() {
                    // SAFETY: the row is supported, with 24 bytes of codes per 64 of the query.
                    let got = unsafe { (row.dot_extended3)(codes, query) };
                    assert_eq!(got, expected, "{} at {groups}", row.name);
                    let signs = random.bytes(8 * groups);
                    let highest = |i: usize| i32::from(signs[i / 8] >> (i % 8) & 1) * i32::from(query[i]);
                    let expected = expected + 8 * (0..query.len()).map(highest).sum::<i32>();
                    // SAFETY: the row is supported, with 24 bytes and 8 bytes per 64 of the query.
                    let got = unsafe { (row.dot_extended4)(codes, &signs, query) };
                    assert_eq!(got, expected, "{} at {groups}, four bits", row.name);
                }
            }
        }
    }
}
