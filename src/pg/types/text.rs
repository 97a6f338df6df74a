//! Results of type `cstring`: what output functions return.

use pgrx::pg_sys;

use crate::pg::memory::allocate;

/// A NUL-terminated string in the current memory context.
pub struct Text {
    datum: pg_sys::Datum,
}

impl Text {
    /// The text that `write` writes to `space` bytes; it returns the length, which is less than `space`.
    pub fn new(space: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        let memory = allocate(space);
        // SAFETY: the memory has `space` bytes, zeros once this has written them, and is nobody else's yet.
        let bytes = unsafe {
            memory.write_bytes(0, space);
            std::slice::from_raw_parts_mut(memory, space)
        };
        let length = write(bytes);
        bytes[length] = 0;
        Self { datum: pg_sys::Datum::from(bytes.as_mut_ptr()) }
    }

    /// The datum.
    pub fn into_raw(self) -> pg_sys::Datum {
        self.datum
    }
}
