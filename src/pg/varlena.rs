//! `vector` datums: `vl_len_ int32 | dim int16 | unused int16 = 0 | dim × float4`, as pgvector lays them out.

use std::ops::Deref;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::error::raise;
use crate::error::{Error, Kind};
use crate::value::MAX_DIMS;

/// Bytes before the elements.
const HEADER: usize = 8;

#[repr(C)]
struct Header {
    length: i32,
    dims: i16,
    unused: i16,
}

/// A `vector` value in Postgres' memory, detoasted. As an argument it lives as long as the call; the copy
/// that detoasting may have made is freed on drop.
pub struct Vector {
    header: *mut Header,
    copied: bool,
}

impl Vector {
    /// The vector of a datum that is not null.
    ///
    /// # Safety
    /// The datum is of type `vector` and stays valid while the value lives.
    pub unsafe fn from_raw(datum: pg_sys::Datum) -> Self {
        let pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes a varlena.
        let plain = unsafe { pg_sys::pg_detoast_datum(pointer) };
        let header = plain.cast::<Header>();
        // SAFETY: a detoasted varlena has a 4-byte header and is aligned for float4.
        let (dims, size) = unsafe { ((*header).dims, pgrx::varsize_any(plain)) };
        if dims < 1 || size != HEADER + 4 * dims as usize {
            raise(Error::new(Kind::Data, "a stored vector is damaged: its size does not fit its dimensions"));
        }
        Self { header, copied: plain != pointer }
    }

    /// A new value in the current memory context.
    pub fn new(elements: &[f32]) -> Self {
        assert!(!elements.is_empty() && elements.len() <= MAX_DIMS, "checked by the caller");
        let size = HEADER + size_of_val(elements);
        // SAFETY: palloc returns maxaligned memory of `size` bytes or raises; all of it is written here.
        unsafe {
            let header = pg_sys::palloc(size).cast::<Header>();
            pgrx::set_varsize_4b(header.cast(), size as i32);
            (*header).dims = elements.len() as i16;
            (*header).unused = 0;
            let to = header.cast::<u8>().add(HEADER).cast::<f32>();
            to.copy_from_nonoverlapping(elements.as_ptr(), elements.len());
            Self { header, copied: false }
        }
    }
}

impl Deref for Vector {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: checked or written at construction: the header is followed by `dims` aligned floats.
        unsafe {
            let first = self.header.cast::<u8>().add(HEADER).cast::<f32>();
            std::slice::from_raw_parts(first, (*self.header).dims as usize)
        }
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        if self.copied && !std::thread::panicking() {
            // SAFETY: detoasting made this copy with palloc, and nothing else points at it.
            unsafe { pg_sys::pfree(self.header.cast()) };
        }
    }
}

impl FromDatum for Vector {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: pgrx hands over the datum of an argument or column declared as vector.
        (!is_null).then(|| unsafe { Self::from_raw(datum) })
    }
}

impl IntoDatum for Vector {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let header = self.header;
        std::mem::forget(self);
        Some(pg_sys::Datum::from(header))
    }

    fn type_oid() -> pg_sys::Oid {
        // Only asked by pgrx' SPI and array helpers, which nothing here uses with vectors.
        pg_sys::InvalidOid
    }
}

// SAFETY: unboxes through FromDatum, which matches the datum's layout.
unsafe impl<'fcx> ArgAbi<'fcx> for Vector {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the argument is declared as vector in sql/vector.sql.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(vector) => vector,
            None => raise(Error::new(Kind::NullNotAllowed, "a vector argument must not be null")),
        }
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum().into() }
    }
}

// SAFETY: the returned datum points at a palloc'd value in the caller's memory context.
unsafe impl BoxRet for Vector {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: see above.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

pgrx::impl_sql_translatable!(Vector, "vector");
