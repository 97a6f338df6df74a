//! The text form of a `vector` or `halfvec`: `[1,2.5,-3e-05]`; and the numbers in all types' text.
//!
//! The grammar is pgvector's: white space is allowed around brackets and elements, an element is what C's
//! `strtof` reads. Elements are correctly rounded; the common ones take a path without big numbers.

use super::element::Element;
use super::limits::{MAX_DIMS, check_dims, check_element, check_typmod, out_of_range};
use super::shortest::{MAX_PRINTED, SPACE, write_float};
use crate::error::{Error, Kind, Result};
use crate::memory;

/// Powers of ten that are exact in `f64`.
static EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Bytes that `print_into` needs for a vector of `dims` dimensions.
pub const fn printed_space(dims: usize) -> usize {
    dims * (MAX_PRINTED + 1) + SPACE
}

/// Writes the text of a vector of finite elements to `text`, which holds `printed_space` bytes, and returns
/// its length, which is less.
pub fn print_into<E: Element>(elements: &[E], text: &mut [u8]) -> usize {
    text[0] = b'[';
    let mut at = 1;
    for &x in elements {
        let Some(space) = text[at..].first_chunk_mut() else { break };
        at += write_float(space, x.widen());
        text[at] = b',';
        at += 1;
    }
    let end = at.max(2) - 1; // over the last comma
    text[end] = b']';
    end + 1
}

/// The elements of a literal, checked against the limits and `typmod` (-1: any number of dimensions).
pub fn parse<E: Element>(literal: &[u8], typmod: i32) -> Result<Vec<E>> {
    let mut at = skip_space(literal, 0);
    if literal.get(at) != Some(&b'[') {
        return Err(malformed(E::TYPE, literal).with_detail("Vector contents must start with \"[\"."));
    }
    at = skip_space(literal, at + 1);
    if literal.get(at) == Some(&b']') {
        check_dims::<E>(0)?;
    }
    let mut elements = Vec::with_capacity((literal.len() / 8 + 1).min(MAX_DIMS));
    loop {
        if elements.len() == MAX_DIMS {
            check_dims::<E>(MAX_DIMS + 1)?;
        }
        at = skip_space(literal, at);
        let Some((x, end)) = read_float(literal, at) else { return Err(malformed(E::TYPE, literal)) };
        let x = E::narrow(x);
        if x.widen().is_infinite() && literal[at..end].iter().any(u8::is_ascii_digit) {
            return Err(out_of_range(E::TYPE, &literal[at..end]));
        }
        check_element(x)?;
        elements.push(x);
        at = skip_space(literal, end);
        match literal.get(at) {
            Some(b',') => at += 1,
            Some(b']') => break,
            _ => return Err(malformed(E::TYPE, literal)),
        }
    }
    if skip_space(literal, at + 1) != literal.len() {
        return Err(malformed(E::TYPE, literal).with_detail("Junk after closing right brace."));
    }
    check_dims::<E>(elements.len())?;
    check_typmod(typmod, elements.len())?;
    Ok(elements)
}

/// The error for a literal that the type cannot parse.
pub(super) fn malformed(name: &str, literal: &[u8]) -> Error {
    // The text may be as long as a value can be, and is copied on its way to the client.
    const COPIES: usize = 4;
    if let Err(error) = memory::room(COPIES * literal.len()) {
        return error;
    }
    let literal = String::from_utf8_lossy(literal);
    Error::new(Kind::InvalidText, format!("invalid input syntax for type {name}: \"{literal}\""))
}

/// The first place from `at` that is not white space.
pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)) {
        at += 1;
    }
    at
}

/// The longest number at `start` that C's `strtof` would read, and its end. A number that is too large is
/// read as infinity.
pub(super) fn read_float(text: &[u8], start: usize) -> Option<(f32, usize)> {
    let mut at = start;
    let negative = match text.get(at) {
        Some(sign @ (b'-' | b'+')) => {
            at += 1;
            *sign == b'-'
        }
        _ => false,
    };
    let signed = |x: f32| if negative { -x } else { x };

    let mut decimal = Decimal { mantissa: 0, exponent: 0 };
    let first = at;
    let mut dropped = 0;
    at = decimal.read_digits(text, at, &mut dropped);
    decimal.exponent = dropped;
    let mut digits = at - first;
    if digits == 1
        && text[first] == b'0'
        && matches!(text.get(at), Some(b'x' | b'X'))
        && let Some((x, end)) = read_hexadecimal(text, at + 1)
    {
        return Some((signed(x), end));
    }
    if text.get(at) == Some(&b'.') {
        dropped = 0;
        let end = decimal.read_digits(text, at + 1, &mut dropped);
        let fraction = end - at - 1;
        decimal.exponent -= fraction as i64 - dropped;
        digits += fraction;
        if digits > 0 {
            at = end;
        }
    }
    if digits == 0 {
        return read_word(text, first).map(|(x, end)| (signed(x), end));
    }
    if let Some((exponent, end)) = read_exponent(text, at, b'e') {
        decimal.exponent += exponent;
        at = end;
    }
    if let Some(x) = decimal.round() {
        return Some((signed(x), at));
    }
    let token = std::str::from_utf8(&text[first..at]).ok()?;
    Some((signed(token.parse().ok()?), at))
}

/// `mantissa · 10^exponent`; the mantissa holds the first 19 significant digits.
struct Decimal {
    mantissa: u64,
    exponent: i64,
}

impl Decimal {
    /// Takes the digits at `at` and returns where they end; counts those that no longer fit as `dropped`.
    fn read_digits(&mut self, text: &[u8], mut at: usize, dropped: &mut i64) -> usize {
        while let Some(eight) = text[at..].first_chunk::<8>().and_then(eight_digits) {
            if self.mantissa >= 100_000_000_000 {
                break;
            }
            self.mantissa = self.mantissa * 100_000_000 + u64::from(eight);
            at += 8;
        }
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            if self.mantissa < 1_000_000_000_000_000_000 {
                self.mantissa = self.mantissa * 10 + u64::from(digit - b'0');
            } else {
                *dropped += 1;
            }
            at += 1;
        }
        at
    }

    /// The correctly rounded float, if it can be computed by way of an `f64`. The `f64` has an error below
    /// four units in its last place (from two roundings and the dropped digits). So the result is right if no
    /// midpoint between two floats is that near.
    fn round(&self) -> Option<f32> {
        if self.mantissa == 0 {
            return Some(0.0);
        }
        let power = EXACT.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let mantissa = self.mantissa as f64;
        let x = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        let beyond = x.to_bits() & 0x1fff_ffff;
        let sure = beyond.abs_diff(0x1000_0000) > 4 && x < 3.4e38;
        sure.then_some(x as f32)
    }
}

/// The float nearest to `mantissa · 10^exponent`, if there is a fast way to compute it.
pub(super) fn nearest_float(mantissa: u64, exponent: i64) -> Option<f32> {
    Decimal { mantissa, exponent }.round()
}

/// The value of eight ASCII digits, or `None` if not all bytes are digits.
fn eight_digits(bytes: &[u8; 8]) -> Option<u32> {
    let x = u64::from_le_bytes(*bytes);
    let above = x.wrapping_add(0x4646_4646_4646_4646);
    let below = x.wrapping_sub(0x3030_3030_3030_3030);
    if (above | below) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Combines neighbours: digits to pairs, pairs to groups of four, these to eight digits.
    let pairs = below.wrapping_mul(10).wrapping_add(below >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some((low.wrapping_add(high) >> 32) as u32)
}

/// An exponent at `at` introduced by `letter` in either case: its value, clamped, and its end.
fn read_exponent(text: &[u8], at: usize, letter: u8) -> Option<(i64, usize)> {
    if text.get(at)?.to_ascii_lowercase() != letter {
        return None;
    }
    let (negative, first) = match text.get(at + 1)? {
        b'-' => (true, at + 2),
        b'+' => (false, at + 2),
        _ => (false, at + 1),
    };
    let count = text[first..].iter().take_while(|c| c.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let end = first + count;
    let value =
        text[first..end].iter().fold(0i64, |value, c| (value * 10 + i64::from(c - b'0')).min(1 << 40));
    Some((if negative { -value } else { value }, end))
}

/// `nan`, `inf` or `infinity` in any case. NaN and infinity are refused later, so the text behind them is not
/// read.
fn read_word(text: &[u8], at: usize) -> Option<(f32, usize)> {
    let word = text[at..].first_chunk::<3>()?.to_ascii_lowercase();
    match word.as_slice() {
        b"nan" => Some((f32::NAN, at + 3)),
        b"inf" => Some((f32::INFINITY, at + 3)),
        _ => None,
    }
}

/// A hexadecimal float after its `0x`, correctly rounded.
fn read_hexadecimal(text: &[u8], mut at: usize) -> Option<(f32, usize)> {
    let (mut mantissa, mut exponent, mut sticky) = (0u64, 0i64, false);
    let (mut digits, mut after_point) = (0, false);
    loop {
        match text.get(at).map(|c| (c, char::from(*c).to_digit(16))) {
            Some((_, Some(digit))) => {
                if mantissa >> 58 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= 4 * i64::from(after_point);
                } else {
                    sticky |= digit != 0;
                    exponent += 4 * i64::from(!after_point);
                }
                digits += 1;
            }
            Some((b'.', None)) if !after_point => after_point = true,
            _ => break,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    if let Some((binary, end)) = read_exponent(text, at, b'p') {
        exponent += binary;
        at = end;
    }
    Some((round_binary(mantissa, exponent, sticky), at))
}

/// `mantissa · 2^exponent` rounded to the nearest float, ties to even; `sticky` means that the number is a
/// little larger.
fn round_binary(mantissa: u64, exponent: i64, sticky: bool) -> f32 {
    if mantissa == 0 {
        return 0.0;
    }
    // The exponent of the last bit kept: 24 bits, or the least denormal's.
    let length = 64 - i64::from(mantissa.leading_zeros());
    let last = (exponent + length - 24).max(-149);
    let shift = last - exponent;
    let mut kept = match shift {
        ..=0 => mantissa << -shift,
        1..=63 => {
            let (floor, rest, half) = (mantissa >> shift, mantissa & ((1 << shift) - 1), 1 << (shift - 1));
            floor + u64::from(rest > half || (rest == half && (sticky || floor & 1 == 1)))
        }
        // All bits are below the last bit kept; the first one is at most the half.
        64 => u64::from(mantissa > 1 << 63 || (mantissa == 1 << 63 && sticky)),
        _ => 0,
    };
    let mut last = last;
    if kept == 1 << 24 {
        (kept, last) = (kept >> 1, last + 1);
    }
    if last > 104 {
        return f32::INFINITY;
    }
    (kept as f64 * 2f64.powi(last as i32)) as f32
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
