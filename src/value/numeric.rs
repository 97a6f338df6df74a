//! Numbers of PostgreSQL's type `numeric`, as it stores them (numeric.c).

use super::text::nearest_float;

// The highest two bits of the first 16 bits are the number's form.
const FORM: u16 = 0xc000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
/// NaN and the infinities.
const SPECIAL: u16 = 0xc000;
const SHORT_NEGATIVE: u16 = 0x2000;
/// A seven-bit number in two's complement.
const SHORT_WEIGHT: u16 = 0x007f;

/// The float nearest to a number, as a cast to `real` computes it. `bytes` are the number's bytes after the
/// length. `None` if there is no fast way: for many digits, very large or small numbers, NaN and infinities.
pub fn to_real(bytes: &[u8]) -> Option<f32> {
    let (words, _) = bytes.as_chunks::<2>();
    let (&header, rest) = words.split_first()?;
    let header = u16::from_ne_bytes(header);
    let (negative, weight, digits) = match header & FORM {
        SPECIAL => return None,
        SHORT => {
            let weight = ((header & SHORT_WEIGHT) << 9).cast_signed() >> 9;
            (header & SHORT_NEGATIVE != 0, weight, rest)
        }
        form => {
            let (&weight, digits) = rest.split_first()?;
            (form == NEGATIVE, i16::from_ne_bytes(weight), digits)
        }
    };
    // Digits are of base 10,000; the first is multiplied by 10,000 to the power of the weight.
    let mut mantissa = 0u64;
    for digit in digits {
        mantissa = mantissa.checked_mul(10_000)?.checked_add(u64::from(u16::from_ne_bytes(*digit)))?;
    }
    let exponent = 4 * (i64::from(weight) + 1 - digits.len() as i64);
    let x = nearest_float(mantissa, exponent)?;
    Some(if negative { -x } else { x })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(sign: u16, weight: i16, digits: &[i16]) -> Option<f32> {
        let header = SHORT | sign | weight.cast_unsigned() & SHORT_WEIGHT;
        to_real(&bytes(&[header.cast_signed()], digits))
    }

    fn long(sign: u16, weight: i16, digits: &[i16]) -> Option<f32> {
        to_real(&bytes(&[sign.cast_signed(), weight], digits))
    }

    fn bytes(header: &[i16], digits: &[i16]) -> Vec<u8> {
        header.iter().chain(digits).flat_map(|n| n.to_ne_bytes()).collect()
    }

    #[test]
    fn both_forms() {
        assert_eq!(short(0, 0, &[]), Some(0.0));
        assert_eq!(short(0, 0, &[1, 5000]), Some(1.5));
        assert_eq!(short(SHORT_NEGATIVE, 1, &[12, 3456, 7800]), Some(-123_456.78));
        assert_eq!(short(SHORT_NEGATIVE, -2, &[1]), Some(-1e-8));
        assert_eq!(short(0x1f80, 3, &[7]), Some(7e12));
        assert_eq!(long(0, 0, &[1, 5000]), Some(1.5));
        assert_eq!(long(NEGATIVE | 0x3fff, -1, &[1234, 5678, 9012]), Some(-0.123_456_79));
        assert_eq!(short(0, 0, &[1, 2345, 6789, 123, 4567]), Some(1.234_567_9));
    }

    #[test]
    fn what_is_left_to_others() {
        for special in [0xc000, 0xd000, 0xf000] {
            assert_eq!(long(special, 0, &[]), None);
        }
        assert_eq!(short(0, 30, &[1]), None);
        assert_eq!(short(0, -20, &[1]), None);
        assert_eq!(short(0, 4, &[9999; 6]), None);
        // Halfway between two floats.
        assert_eq!(short(0, 1, &[1677, 7217]), None);
        assert_eq!((to_real(&[]), to_real(&[0; 2])), (None, None));
    }
}
