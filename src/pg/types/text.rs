//! Results of type `cstring`: what output functions return.

use pgrx::pg_sys;

/// A NUL-terminated string in the current memory context.
pub struct Text {
    datum: pg_sys::Datum,
}

impl Text {
    /// The text that `write` writes to `space` bytes; it returns the length, which is less than `space`.
    pub fn new(space: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        // SAFETY: palloc0 returns `space` zeroed bytes or raises.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pg_sys::palloc0(space).cast::<u8>(), space) };
        let length = write(bytes);
        bytes[length] = 0;
        Self { datum: pg_sys::Datum::from(bytes.as_mut_ptr()) }
    }

    /// The datum.
    pub fn into_raw(self) -> pg_sys::Datum {
        self.datum
    }
}
