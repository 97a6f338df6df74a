//! The block layout of one-bit codes: per four dimensions 16 bytes, in which byte `2 s` holds vectors `s` and
//! `16 + s`, byte `2 s + 1` vectors `8 + s` and `24 + s`, low nibble first. Also bit strings, which are their
//! own codes.

/// The byte of a group and the shift within it that belong to a slot.
fn place(slot: usize) -> (usize, u32) {
    let s = slot % 16;
    let byte = if s < 8 { 2 * s } else { 2 * (s - 8) + 1 };
    (byte, if slot < 16 { 0 } else { 4 })
}

/// Writes the sign bits of `slot` into groups that begin at group `first_group` of the code.
pub fn write_signs(groups: &mut [u8], first_group: usize, slot: usize, signs: &[u8]) {
    let (byte, shift) = place(slot);
    for (i, group) in groups.chunks_exact_mut(16).enumerate() {
        let g = first_group + i;
        let nibble = signs[g / 2] >> (g % 2 * 4) & 15;
        group[byte] = group[byte] & !(15 << shift) | nibble << shift;
    }
}

/// Reads the sign bits of `slot` back.
pub fn read_signs(groups: &[u8], first_group: usize, slot: usize, signs: &mut [u8]) {
    let (byte, shift) = place(slot);
    for (i, group) in groups.chunks_exact(16).enumerate() {
        let g = first_group + i;
        let nibble = group[byte] >> shift & 15;
        signs[g / 2] = signs[g / 2] & !(15 << (g % 2 * 4)) | nibble << (g % 2 * 4);
    }
}

/// Packs coordinates 0 and 1 like PostgreSQL's bit strings: the first is the highest bit of the first byte.
/// Coordinates beyond the last byte of `bits` are dropped.
pub fn write_bits(coordinates: &[f32], bits: &mut [u8]) {
    for (byte, eight) in bits.iter_mut().zip(coordinates.chunks(8)) {
        let bit = |(i, x): (usize, &f32)| u8::from(*x > 0.5) << (7 - i);
        *byte = eight.iter().enumerate().map(bit).fold(0, |byte, bit| byte | bit);
    }
}
