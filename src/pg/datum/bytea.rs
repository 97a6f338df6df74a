//! Datums of `bytea`.

use super::value::{Layout, Value};

/// `vl_len_ int32 | bytes`
pub struct BytesLayout;

/// A `bytea` value.
pub type Bytes = Value<BytesLayout>;

// SAFETY: a header suffices.
unsafe impl Layout for BytesLayout {
    const TYPE: &'static str = "bytea";

    unsafe fn fits(_: *const u8, size: usize) -> bool {
        size >= size_of::<i32>()
    }
}

impl Bytes {
    /// A value of `count` bytes in the current memory context. The bytes are zero until `fill` writes them.
    pub fn filled(count: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        // SAFETY: the bytes follow the length and fill the memory, which is nobody else's yet.
        unsafe {
            let value = Self::zeroed(size_of::<i32>() + count);
            let first = value.start.add(size_of::<i32>());
            fill(std::slice::from_raw_parts_mut(first, count));
            value
        }
    }
}
