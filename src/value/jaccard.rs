//! Jaccard distance, and the keys by which an index orders it.
//!
//! A distance is 1 − p / q, where p bits are set in both strings and q in at least one. An index orders by
//! its *key*, the distance less a half, in single precision. (Numbers near zero are the more precise.) Two
//! different distances of strings of up to `EXACT_BITS` bits differ by more than the spacing of the keys,
//! so they have different keys, and the key tells the distance.

use super::limits::data;
use crate::error::Result;
use crate::kernel;
use crate::kernel::BLOCK_ROWS;

/// Longest strings whose keys tell the distances. Distances differ by at least 1 / q², which must be more
/// than the spacing of the keys, 2⁻²⁵.
const EXACT_BITS: usize = 5_760;
/// Denominator of the fraction that a key is turned into. The smallest key that is not zero is 1 / (2 q), so
/// all keys are multiples of it.
const DENOMINATOR: u64 = 1 << 44;

/// Whether the keys of strings of so many bits tell the distances.
pub fn is_exact(bits: usize) -> bool {
    bits <= EXACT_BITS
}

/// The distance of strings that have so many bits in common, and so many set in at least one.
#[inline(always)]
pub fn distance(both: u64, either: u64) -> f64 {
    if both == 0 { 1.0 } else { 1.0 - both as f64 / either as f64 }
}

/// The distance of strings whose bits are coordinates 0 and 1.
///
/// # Errors
/// Different lengths.
pub fn of_coordinates(a: &[f32], b: &[f32]) -> Result<f64> {
    if a.len() != b.len() {
        return Err(data(format!("different bit lengths {} and {}", a.len(), b.len())));
    }
    // Sums up to 2²⁴ are exact.
    let ones = |x: &[f32]| kernel::inner_product(x, x) as u64;
    let both = kernel::inner_product(a, b) as u64;
    Ok(distance(both, ones(a) + ones(b) - both))
}

/// The key of a distance.
#[inline(always)]
pub fn key(distance: f64) -> f32 {
    (distance - 0.5) as f32
}

/// Which of 32 strings may have keys below `threshold`, as a mask. Each has so many bits in common with
/// another string, and so many that differ from it. Near the threshold the mask has a few strings too many.
pub fn near(threshold: f32, both: &[u32; BLOCK_ROWS], differ: &[u32; BLOCK_ROWS]) -> u32 {
    // p / q is more than a half less the threshold. Rounded down by more than the rounding of keys.
    let least = 0.5 - threshold - 2e-6;
    let is_near = |both: u32, differ: u32| {
        let limit = least * (both + differ) as f32;
        // The product of zero bits and an infinite threshold is NaN.
        both as f32 >= limit || limit.is_nan()
    };
    let bits = both.iter().zip(differ).enumerate();
    bits.fold(0, |mask, (slot, (both, differ))| mask | u32::from(is_near(*both, *differ)) << slot)
}

/// The distance that has a key, for strings of which [`is_exact`] is true.
pub fn distance_of(wanted: f32) -> f64 {
    // The continued fraction of p / q. Its convergents include every fraction that is nearer to the number
    // than 1 / (2 q²) (Legendre), and the key is.
    let mut rest = ((0.5 - f64::from(wanted)) * DENOMINATOR as f64).max(0.0) as u64;
    let mut divisor = DENOMINATOR;
    let (mut before, mut now) = ((0u64, 1u64), (1u64, 0u64));
    while divisor > 0 && now.1 <= EXACT_BITS as u64 {
        let whole = rest / divisor;
        (rest, divisor) = (divisor, rest % divisor);
        let next = |now: u64, before: u64| whole.saturating_mul(now).saturating_add(before);
        (before, now) = (now, (next(now.0, before.0), next(now.1, before.1)));
        let distance = distance(now.0, now.1);
        if key(distance) == wanted {
            return distance;
        }
    }
    // Only damaged pages have such keys.
    f64::from(wanted) + 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_distances() {
        let largest = EXACT_BITS as u64;
        let some = (1..=700).chain(4090..=4100).chain(largest - 40..=largest);
        for either in some {
            for both in 0..=either {
                let distance = distance(both, either);
                assert_eq!(distance_of(key(distance)), distance, "{both} / {either}");
            }
        }
    }

    #[test]
    fn strings_below_a_threshold_are_near() {
        let mut near_ones = 0;
        for either in [1, 7, 100, 767, 5760, 64_000u32] {
            for both in [0, 1, 2, 6, 50, 99, 100, 3000, 5760, 64_000].into_iter().filter(|n| *n <= either) {
                let (mut commons, mut differ) = ([0; BLOCK_ROWS], [either; BLOCK_ROWS]);
                (commons[9], differ[9]) = (both, either - both);
                let key = key(distance(both.into(), either.into()));
                for threshold in [key.next_up(), key + 1e-5, 1.0, f32::INFINITY] {
                    assert!(near(threshold, &commons, &differ) >> 9 & 1 == 1, "{both} {either} {threshold}");
                }
                for threshold in [key - 1e-5, f32::NEG_INFINITY] {
                    let mask = near(threshold, &commons, &differ);
                    assert_eq!(mask, 0, "{both} {either} {threshold}");
                    near_ones += 1;
                }
            }
        }
        assert!(near_ones > 50);
        // Two strings without bits are as far from each other as can be.
        for threshold in [0.5f32.next_up(), f32::INFINITY] {
            assert_eq!(near(threshold, &[0; BLOCK_ROWS], &[0; BLOCK_ROWS]), u32::MAX);
        }
    }

    #[test]
    fn keys_have_the_order_of_distances() {
        // Neighbours among the fractions with denominators up to the largest, where they are closest.
        let n = EXACT_BITS as u64;
        for (p, q) in [(1, n), (1, 2), (n / 2, n - 1), (n - 2, n - 1), (2, 3), (1, 3), (3, 4)] {
            for (a, b) in [(n, n - 1), (n - 1, n - 2), (n, n - 7)] {
                for bits in [a, b] {
                    let near = (bits * p / q).clamp(1, bits);
                    for both in near.saturating_sub(2).max(1)..=(near + 2).min(bits) {
                        let (x, y) = (distance(both, bits), distance(p, q));
                        assert_eq!(key(x).partial_cmp(&key(y)), x.partial_cmp(&y), "{both}/{bits} {p}/{q}");
                    }
                }
            }
        }
        assert_eq!((distance_of(key(1.0)), distance_of(key(0.0))), (1.0, 0.0));
        assert!(distance_of(7.0).is_finite() && distance_of(f32::NAN).is_nan());
    }
}
