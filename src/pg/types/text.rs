//! Results of type `cstring`: what output functions return.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
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
}

// SAFETY: the datum points at a NUL-terminated string in memory that outlives the call.
unsafe impl BoxRet for Text {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: see above.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

pgrx::impl_sql_translatable!(Text, "cstring");
