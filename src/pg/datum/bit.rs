//! Datums of core's `bit`.

use super::value::{Layout, Value};
use crate::value::bits::Bits;

/// `vl_len_ int32 | bits int32 | bytes` (utils/varbit.h)
pub struct BitLayout;

#[repr(C)]
pub(super) struct BitHeader {
    length: i32,
    bits: i32,
}

/// A `bit` value.
pub type BitString = Value<BitLayout>;

// SAFETY: `fits` compares the size with the number of bits.
unsafe impl Layout for BitLayout {
    const TYPE: &'static str = "bit";

    unsafe fn fits(value: *const u8, size: usize) -> bool {
        // SAFETY: the size is looked at first.
        size >= size_of::<BitHeader>()
            && unsafe {
                let bits = usize::try_from((*value.cast::<BitHeader>()).bits);
                bits.is_ok_and(|bits| size == size_of::<BitHeader>() + bits.div_ceil(8))
            }
    }
}

impl BitString {
    /// A bit string of `length` bits in the current memory context. Its bytes are zero until `fill` writes
    /// them: the first bit is the highest of the first byte, and bits beyond `length` must stay zero.
    pub fn filled(length: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let bytes = length.div_ceil(8);
        // SAFETY: the bytes follow the header and fill the memory, which is nobody else's yet.
        unsafe {
            let value = Self::zeroed(size_of::<BitHeader>() + bytes);
            let header = value.start.cast::<BitHeader>();
            (*header).bits = length as i32;
            let first = header.add(1).cast::<u8>();
            fill(std::slice::from_raw_parts_mut(first, bytes));
            value
        }
    }

    /// The bits in place.
    pub fn bits(&self) -> Bits<'_> {
        // SAFETY: checked or written at construction: the header is followed by the bytes.
        unsafe {
            let header = self.start.cast::<BitHeader>();
            let length = (*header).bits as usize;
            Bits { length, bytes: std::slice::from_raw_parts(header.add(1).cast(), length.div_ceil(8)) }
        }
    }
}

pgrx::impl_sql_translatable!(BitString, "bit");
