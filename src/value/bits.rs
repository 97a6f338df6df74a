//! Distances between bit strings (core's type `bit`), with pgvector's messages.

use super::jaccard;
use super::limits::data;
use crate::error::Result;
use crate::kernel;

/// The bits of a bit string: the first is the highest of the first byte, those after the last are zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bits<'a> {
    /// Number of bits.
    pub length: usize,
    /// As many bytes as they need.
    pub bytes: &'a [u8],
}

/// Up to four bytes as a number. For so few bytes the call of a kernel would take longer than the comparison.
#[inline(always)]
fn short(bytes: &[u8]) -> Option<u32> {
    match *bytes {
        [] => Some(0),
        [a] => Some(u32::from_le_bytes([a, 0, 0, 0])),
        [a, b] => Some(u32::from_le_bytes([a, b, 0, 0])),
        [a, b, c] => Some(u32::from_le_bytes([a, b, c, 0])),
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

#[inline(always)]
fn check_same(a: Bits, b: Bits) -> Result<()> {
    if a.length == b.length { Ok(()) } else { Err(different(a, b)) }
}

#[cold]
fn different(a: Bits, b: Bits) -> crate::error::Error {
    data(format!("different bit lengths {} and {}", a.length, b.length))
}

/// Number of bits that differ.
#[inline(always)]
pub fn hamming_distance(a: Bits, b: Bits) -> Result<f64> {
    check_same(a, b)?;
    Ok(match (short(a.bytes), short(b.bytes)) {
        (Some(x), Some(y)) => (x ^ y).count_ones().into(),
        _ => kernel::hamming(a.bytes, b.bytes) as f64,
    })
}

/// One minus the number of bits set in both, divided by the number of bits set in at least one; 1 if no bit
/// is set.
#[inline(always)]
pub fn jaccard_distance(a: Bits, b: Bits) -> Result<f64> {
    check_same(a, b)?;
    let (both, either) = match (short(a.bytes), short(b.bytes)) {
        (Some(x), Some(y)) => ((x & y).count_ones().into(), (x | y).count_ones().into()),
        _ => kernel::common_bits(a.bytes, b.bytes),
    };
    Ok(jaccard::distance(both, either))
}

/// The coordinates of each byte value. A table, because a build converts every row twice.
static COORDINATES: [[f32; 8]; 256] = {
    let mut table = [[0.0; 8]; 256];
    let mut i = 0;
    while i < 256 * 8 {
        if ((i / 8) >> (7 - i % 8)) & 1 == 1 {
            table[i / 8][i % 8] = 1.0;
        }
        i += 1;
    }
    table
};

impl Bits<'_> {
    /// The bits as coordinates 0 and 1, so that squared Euclidean distance is Hamming distance.
    pub fn coordinates<'a>(&self, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        buffer.clear();
        for byte in self.bytes {
            buffer.extend_from_slice(&COORDINATES[usize::from(*byte)]);
        }
        buffer.truncate(self.length);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let (a, b) = (
            Bits { length: 11, bytes: &[0b1010_0000, 0b0110_0000] },
            Bits { length: 11, bytes: &[0b1000_0001, 0b0010_0000] },
        );
        assert_eq!(hamming_distance(a, b), Ok(3.0));
        assert_eq!(jaccard_distance(a, b), Ok(1.0 - 2.0 / 5.0));
        let none = Bits { length: 11, bytes: &[0, 0] };
        assert_eq!(jaccard_distance(none, none), Ok(1.0));
        let (mut buffer, mut other) = (Vec::new(), Vec::new());
        let squared = kernel::l2_squared(a.coordinates(&mut buffer), b.coordinates(&mut other));
        assert_eq!(squared, 3.0);
        // Both ways to compare (numbers and kernels) give the same result.
        for bytes in 1..=9 {
            let draw = |factor: usize| -> Vec<u8> {
                (0..bytes).map(|i| (((i + bytes) * factor) >> 3) as u8).collect()
            };
            let (a, b) = (draw(0x9e37), draw(0x79b9));
            let (a, b) = (Bits { length: 8 * bytes, bytes: &a }, Bits { length: 8 * bytes, bytes: &b });
            assert_eq!(hamming_distance(a, b), Ok(kernel::hamming(a.bytes, b.bytes) as f64));
            let (both, either) = kernel::common_bits(a.bytes, b.bytes);
            let expected = if both == 0 { 1.0 } else { 1.0 - both as f64 / either as f64 };
            assert_eq!(jaccard_distance(a, b), Ok(expected));
        }
        let short = Bits { length: 3, bytes: &[0b1010_0000] };
        assert_eq!(hamming_distance(a, short).unwrap_err().message, "different bit lengths 11 and 3");
    }
}
