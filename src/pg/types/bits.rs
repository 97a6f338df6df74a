//! Results of type `bit` (utils/varbit.h).

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;

#[repr(C)]
struct Header {
    length: i32,
    bits: i32,
}

/// A bit string in the current memory context.
pub struct Bits {
    datum: pg_sys::Datum,
}

impl Bits {
    /// The first `length` of `bytes`' bits, highest first; the bits after them are zero.
    pub fn new(bytes: &[u8], length: usize) -> Self {
        assert_eq!(bytes.len(), length.div_ceil(8));
        let size = size_of::<Header>() + bytes.len();
        // SAFETY: palloc returns maxaligned memory of the size asked for or raises; all of it is written.
        unsafe {
            let header = pg_sys::palloc(size).cast::<Header>();
            pgrx::set_varsize_4b(header.cast(), size as i32);
            (*header).bits = length as i32;
            header.add(1).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Self { datum: pg_sys::Datum::from(header) }
        }
    }
}

// SAFETY: the datum points at a bit string in memory that outlives the call.
unsafe impl BoxRet for Bits {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: see above.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

pgrx::impl_sql_translatable!(Bits, "bit");
