//! Shortest decimal of a float, written as PostgreSQL writes `real`.
//!
//! Digits by Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles"), with one change that
//! PostgreSQL makes too (src/common/f2s.c): the exact midpoint to a neighbouring float is never printed,
//! so that reading back does not depend on how a reader breaks ties.

/// Upper bound of the length of one printed float.
pub(super) const MAX_PRINTED: usize = 15;

/// Bytes that `write_float` may overwrite.
pub(super) const SPACE: usize = 20;

/// Smallest and largest power of ten that a float needs.
const MIN_POWER: i32 = -31;
const MAX_POWER: i32 = 45;

/// `POWERS[k - MIN_POWER]` = 10^k, scaled by a power of two into [2^63, 2^64), rounded down, plus one.
static POWERS: [u64; (MAX_POWER - MIN_POWER + 1) as usize] = {
    let mut powers = [0; (MAX_POWER - MIN_POWER + 1) as usize];
    let mut k = MIN_POWER;
    while k <= MAX_POWER {
        powers[(k - MIN_POWER) as usize] = power_of_ten(k);
        k += 1;
    }
    powers
};

/// The digits of 0..=99, two bytes each.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// One entry of `POWERS`. 10^k = 5^k · 2^k, and only the leading 64 bits of 5^k matter.
const fn power_of_ten(k: i32) -> u64 {
    let five = 5u128.pow(k.unsigned_abs());
    if k >= 0 {
        let bits = 128 - five.leading_zeros();
        if bits <= 64 { ((five as u64) << (64 - bits)) + 1 } else { (five >> (bits - 64)) as u64 + 1 }
    } else {
        // Long division of 2^(63 + bits of 5^|k|) by 5^|k|: the first 64 bits from the leading one.
        let (mut quotient, mut rest) = (0u64, 1u128);
        while quotient >> 63 == 0 {
            rest <<= 1;
            quotient <<= 1;
            if rest >= five {
                rest -= five;
                quotient |= 1;
            }
        }
        quotient + 1
    }
}

/// `x · power / 2^64`, with the bits lost kept as a sticky lowest bit.
fn scaled(power: u64, x: u32) -> u32 {
    let product = (u128::from(power) * u128::from(x)) >> 32;
    (product >> 32) as u32 | u32::from(product as u32 > 1)
}

/// The shortest decimal `digits · 10^exponent` that reads back as the finite positive float of `bits`; the
/// digits may end in zeros.
fn shortest(bits: u32) -> (u32, i32) {
    let fraction = bits & 0x7f_ffff;
    let biased = (bits >> 23) as i32;
    let (c, q) = if biased == 0 { (fraction, -149) } else { (fraction | 1 << 23, biased - 150) };
    if (-23..=0).contains(&q) && c & ((1 << -q) - 1) == 0 {
        return (c >> -q, 0);
    }
    let closer_below = fraction == 0 && biased > 1;
    // floor(log10(width of the rounding interval)), and the shift that brings cb to the scale of 10^k.
    let k = (q * 1_262_611 - if closer_below { 524_031 } else { 0 }) >> 22;
    let h = q + ((-k * 1_741_647) >> 19) + 1;
    let power = POWERS[(-k - MIN_POWER) as usize];
    // Four times the value and its interval's ends, in units of 10^k; +1 and -1 leave out the ends.
    let lower = scaled(power, (4 * c - 2 + u32::from(closer_below)) << h) + 1;
    let value = scaled(power, (4 * c) << h);
    let upper = scaled(power, (4 * c + 2) << h) - 1;

    // Whether a shorter decimal exists, and which neighbour is nearer, is as good as random. So all
    // candidates are computed and one is selected, which takes less time than mispredicted branches.
    let s = value / 4;
    let (below, above) = (lower <= 4 * s, 4 * s + 4 <= upper);
    let nearer_above = (value > 4 * s + 2) | ((value == 4 * s + 2) & (s & 1 == 1));
    let up = std::hint::select_unpredictable(below != above, above, nearer_above);
    let tens = s / 10;
    let (below, above) = (lower <= 40 * tens, 40 * tens + 40 <= upper);
    let shorter = (s >= 10) & (below != above);
    let digits = std::hint::select_unpredictable(shorter, tens + u32::from(above), s + u32::from(up));
    (digits, k + i32::from(shorter))
}

/// Powers of ten below 10^9.
static TENS: [u32; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The eight decimal digits of `n`, which is below 10^8, in ASCII; the first is the lowest byte.
fn eight_digits(n: u32) -> u64 {
    // Splits eight digits into two groups of four, these into pairs, and pairs into digits, each step for all
    // groups at once. The factors are reciprocals that are exact enough.
    let fours = u64::from(n / 10_000) | u64::from(n % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | (pairs - 10 * tens) << 8) | 0x3030_3030_3030_3030
}

/// Copies a fixed number of bytes to `at`. These may be more than the number has, so that the length of the
/// copy is known at compile time.
fn put<const N: usize>(to: &mut [u8; SPACE], at: usize, bytes: [u8; N]) {
    to[at..at + N].copy_from_slice(&bytes);
}

/// Writes `x`, which is finite, at the start of `to` and returns its length, at most `MAX_PRINTED`; what
/// follows it in `to` is overwritten.
pub(super) fn write_float(to: &mut [u8; SPACE], x: f32) -> usize {
    to[0] = b'-';
    let at = usize::from(x.is_sign_negative());
    if x == 0.0 {
        to[at] = b'0';
        return at + 1;
    }
    let (mut digits, mut exponent) = shortest(x.to_bits() & 0x7fff_ffff);
    while digits.is_multiple_of(10) {
        digits /= 10;
        exponent += 1;
    }
    // Most numbers have seven digits or more; which of these it is, is computed without a branch.
    let n = match digits {
        1_000_000.. => 7 + usize::from(digits >= 10_000_000) + usize::from(digits >= 100_000_000),
        _ => digits.ilog10() as usize + 1,
    };
    let nine = digits * TENS[9 - n];
    let first = b'0' + (nine / 100_000_000) as u8;
    let rest = eight_digits(nine % 100_000_000);
    let point = exponent + n as i32; // digits before the decimal point
    match point {
        -3..=0 => {
            let zeros = (2 - point) as usize;
            put(to, at, *b"0.000");
            to[at + zeros] = first;
            put(to, at + zeros + 1, rest.to_le_bytes());
            at + zeros + n
        }
        1..=6 => {
            let point = point as usize;
            to[at] = first;
            put(to, at + 1, rest.to_le_bytes());
            to[at + point] = b'.';
            put(to, at + point + 1, (rest >> (8 * (point - 1))).to_le_bytes());
            at + if n <= point { point } else { n + 1 }
        }
        _ => {
            to[at] = first;
            to[at + 1] = b'.';
            put(to, at + 2, rest.to_le_bytes());
            let end = if n == 1 { at + 1 } else { at + n + 1 };
            let exponent = point - 1;
            let [tens, ones] = PAIRS[exponent.unsigned_abs() as usize];
            put(to, end, [b'e', if exponent < 0 { b'-' } else { b'+' }, tens, ones]);
            end + 4
        }
    }
}

/// A finite number as PostgreSQL prints a `real`.
pub(super) fn float_text(x: f32) -> String {
    let mut text = [0; SPACE];
    let length = write_float(&mut text, x);
    String::from_utf8_lossy(&text[..length]).into_owned()
}

/// Writes an integer at the start of `to` and returns its length, at most 10; what follows it in `to` is
/// overwritten.
pub(super) fn write_integer(to: &mut [u8; SPACE], n: u32) -> usize {
    if n >= 10_000 {
        let at = write_integer(to, n / 10_000);
        let [[a, b], [c, d]] = [n % 10_000 / 100, n % 100].map(|pair| PAIRS[pair as usize]);
        put(to, at, [a, b, c, d]);
        return at + 4;
    }
    let [[a, b], [c, d]] = [n / 100, n % 100].map(|pair| PAIRS[pair as usize]);
    let digits = 1 + usize::from(n >= 10) + usize::from(n >= 100) + usize::from(n >= 1_000);
    let all = u32::from_le_bytes([a, b, c, d]);
    put(to, 0, (all >> (8 * (4 - digits))).to_le_bytes());
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(x: f32) -> String {
        let mut buffer = [0; SPACE];
        let n = write_float(&mut buffer, x);
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn formats_as_real() {
        for (x, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (16_777_216.0, "1.6777216e+07"),
            (1e10, "1e+10"),
            (1e20, "1e+20"),
            (123_456.79, "123456.79"),
            (0.1, "0.1"),
            (0.01, "0.01"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.000_123_456_79, "0.00012345679"),
            (1e-5, "1e-05"),
            (f32::MAX, "3.4028235e+38"),
            (f32::MIN, "-3.4028235e+38"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (1e-45, "1e-45"),
            (-1.234_567_9e-38, "-1.2345679e-38"),
            (0.8, "0.8"),
            (std::f32::consts::PI, "3.1415927"),
        ] {
            assert_eq!(print(x), text);
        }
    }

    #[test]
    fn integers() {
        let mut buffer = [0; SPACE];
        let edges = (0..10).map(|k| 10u32.pow(k)).flat_map(|n| [n - 1, n, n + 1, n.saturating_mul(7)]);
        for n in edges.chain([u32::MAX, 123_456_789, 10_305_070]) {
            let length = write_integer(&mut buffer, n);
            assert_eq!(buffer[..length], *n.to_string().as_bytes());
        }
    }

    /// Digits and exponent of the shortest decimal that std prints.
    fn from_std(x: f32) -> (u32, i32) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap();
        let fraction = digits.split_once('.').map_or(0, |(_, f)| f.len() as i32);
        (digits.replace('.', "").parse().unwrap(), exponent.parse::<i32>().unwrap() - fraction)
    }

    fn exact(decimal: String) -> f64 {
        decimal.parse().unwrap()
    }

    /// Is `digits · 10^exponent` halfway between the float of `bits` and a neighbour?
    fn is_midpoint(bits: u32, digits: u32, exponent: i32) -> bool {
        let x = f64::from(f32::from_bits(bits));
        let decimal = exact(format!("{digits}e{exponent}"));
        [bits - 1, bits + 1].iter().any(|n| (x + f64::from(f32::from_bits(*n))) / 2.0 == decimal)
    }

    /// `step` apart, every float prints as std prints it, except where std prints a midpoint, or where two
    /// decimals are equally near: std takes the larger, PostgreSQL the even one.
    fn agrees_with_std(step: usize) {
        for bits in (1u32..0x7f80_0000).step_by(step) {
            let (mut digits, mut exponent) = shortest(bits);
            while digits % 10 == 0 {
                (digits, exponent) = (digits / 10, exponent + 1);
            }
            let x = f32::from_bits(bits);
            let expected = from_std(x);
            if (digits, exponent) != expected {
                assert_eq!(format!("{digits}e{exponent}").parse::<f32>().unwrap(), x);
                let tie = digits % 2 == 0 && f64::from(x) == exact(format!("{digits}.5e{exponent}"));
                let midpoint = is_midpoint(bits, expected.0, expected.1);
                assert!(tie || midpoint, "{x:e}: {digits}e{exponent}");
            }
        }
    }

    #[test]
    fn agrees_with_std_on_a_sample() {
        agrees_with_std(10_007);
    }

    #[test]
    #[ignore = "minutes: all floats"]
    fn agrees_with_std_on_all() {
        agrees_with_std(1);
    }
}
