//! The text form of a sparse vector: `{1:1.5,3:2}/5`, indices from 1 on. The grammar is pgvector's.

use super::limits::{check_finite, check_typmod, out_of_range};
use super::shortest::{MAX_PRINTED, SPACE, write_float, write_integer};
use super::sparse::{MAX_ELEMENTS, Sparse, SparseBuf, TYPE, check_count, check_dims, check_indices};
use super::text::{malformed, read_float, skip_space};
use crate::error::Result;

/// Digits of an index or of the dimensions.
const MAX_DIGITS: usize = 10;

/// Bytes that `print_into` needs for so many elements.
pub const fn printed_space(elements: usize) -> usize {
    elements * (MAX_DIGITS + MAX_PRINTED + 2) + 3 + SPACE
}

/// Writes the text of a vector to `text`, which holds `printed_space` bytes, and returns its length, which is
/// less.
pub fn print_into(a: Sparse, text: &mut [u8]) -> usize {
    text[0] = b'{';
    let mut at = 1;
    for (index, value) in a.indices.iter().zip(a.values) {
        let Some(space) = text[at..].first_chunk_mut() else { break };
        let digits = write_integer(space, *index as u32 + 1);
        space[digits] = b':';
        at += digits + 1;
        let Some(space) = text[at..].first_chunk_mut() else { break };
        at += write_float(space, *value);
        text[at] = b',';
        at += 1;
    }
    let end = at.max(2) - 1; // over the last comma
    text[end..end + 2].copy_from_slice(b"}/");
    let Some(space) = text[end + 2..].first_chunk_mut() else { return end + 2 };
    end + 2 + write_integer(space, a.dims as u32)
}

/// The vector of a literal, checked against the limits and `typmod` (-1: any number of dimensions).
pub fn parse(literal: &[u8], typmod: i32) -> Result<SparseBuf> {
    let wrong = || malformed(TYPE, literal);
    let commas = literal.iter().filter(|c| **c == b',').count();
    if commas >= MAX_ELEMENTS {
        check_count(MAX_ELEMENTS + 1, usize::MAX)?;
    }
    let mut at = skip_space(literal, 0);
    if literal.get(at) != Some(&b'{') {
        return Err(wrong().with_detail("Vector contents must start with \"{\"."));
    }
    at = skip_space(literal, at + 1);
    let (mut indices, mut values) = (Vec::with_capacity(commas + 1), Vec::with_capacity(commas + 1));
    let mut more = literal.get(at) != Some(&b'}');
    at += usize::from(!more);
    while more {
        let (index, end) = read_integer(literal, at).ok_or_else(wrong)?;
        at = skip_space(literal, end);
        if literal.get(at) != Some(&b':') {
            return Err(wrong());
        }
        at = skip_space(literal, at + 1);
        let (value, end) = read_float(literal, at).ok_or_else(wrong)?;
        let token = &literal[at..end];
        let has = |digits: &[u8]| mantissa(token).iter().any(|c| digits.contains(&c.to_ascii_lowercase()));
        // Unlike in dense vectors, a number too small is an error too.
        let vanished = value == 0.0 && has(b"123456789abcdef");
        if vanished || (value.is_infinite() && has(b"0123456789")) {
            return Err(out_of_range(TYPE, token));
        }
        check_finite(TYPE, value)?;
        if value != 0.0 {
            indices.push(index.saturating_sub(1));
            values.push(value);
        }
        at = skip_space(literal, end);
        more = match literal.get(at) {
            Some(b',') => true,
            Some(b'}') => false,
            _ => return Err(wrong()),
        };
        at += 1;
    }
    at = skip_space(literal, at);
    if literal.get(at) != Some(&b'/') {
        return Err(wrong().with_detail("Unexpected end of input."));
    }
    let (dims, end) = read_integer(literal, at + 1).ok_or_else(wrong)?;
    if skip_space(literal, end) != literal.len() {
        return Err(wrong().with_detail("Junk after closing."));
    }
    let dims = usize::try_from(dims).unwrap_or(0);
    check_dims(dims)?;
    check_typmod(typmod, dims)?;
    if !indices.is_sorted() {
        let mut elements: Vec<(i32, f32)> = indices.into_iter().zip(values).collect();
        elements.sort_by_key(|e| e.0);
        (indices, values) = elements.into_iter().unzip();
    }
    check_indices(&indices, dims)?;
    Ok(SparseBuf { dims, indices, values })
}

/// The part of a number before its exponent.
fn mantissa(token: &[u8]) -> &[u8] {
    let unsigned = token.iter().position(|c| !matches!(c, b'+' | b'-')).unwrap_or(token.len());
    let token = &token[unsigned..];
    let hexadecimal = token.len() > 2 && token[0] == b'0' && matches!(token[1], b'x' | b'X');
    let letter = if hexadecimal { b'p' } else { b'e' };
    let first = if hexadecimal { 2 } else { 0 };
    let end = token.iter().position(|c| c.to_ascii_lowercase() == letter).unwrap_or(token.len());
    &token[first.min(end)..end]
}

/// The decimal integer that C's `strtol` would read at `at`, clamped to ±(2³¹ − 1), and its end.
fn read_integer(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let mut at = skip_space(text, at);
    let negative = text.get(at) == Some(&b'-');
    at += usize::from(matches!(text.get(at), Some(b'-' | b'+')));
    let digits = text.get(at..)?.iter().take_while(|c| c.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let number = text[at..at + digits]
        .iter()
        .fold(0i64, |n, c| (n * 10 + i64::from(c - b'0')).min(i64::from(i32::MAX)));
    let number = if negative { -number } else { number };
    Some((number as i32, at + digits))
}
