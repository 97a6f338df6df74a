//! A value in a datum: detoasted where it must be, checked against its header, freed if it was copied.

use std::marker::PhantomData;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::alloc::allocate;
use super::short_header::AlignedCopy;
use crate::error::{Error, Kind};
use crate::pg::error::raise;

/// How the bytes of a datum are laid out.
///
/// # Safety
/// A value that `fits`, or is `is_plain`, can be read as the layout says.
pub unsafe trait Layout {
    /// The SQL type.
    const TYPE: &'static str;

    /// Whether the size of a detoasted value fits what its header says.
    ///
    /// # Safety
    /// The pointer is a varlena with a 4-byte header, aligned for int4, of that size.
    unsafe fn fits(value: *const u8, size: usize) -> bool;

    /// Whether a stored value has a 4-byte header, is neither compressed nor out of line, and is what its
    /// header says.
    ///
    /// # Safety
    /// The pointer is a varlena of the type.
    #[inline(always)]
    unsafe fn is_plain(value: *const u8) -> bool {
        // SAFETY: a varlena with such a header is aligned for int4 and has a size.
        unsafe { pgrx::varatt_is_4b_u(value.cast()) && Self::fits(value, pgrx::varsize_4b(value.cast())) }
    }
}

/// A value, detoasted. As an argument it lives as long as the call; the copy that detoasting may have made is
/// freed on drop.
pub struct Value<L> {
    /// Its 4-byte header.
    pub(super) start: *mut u8,
    held: Held,
    layout: PhantomData<L>,
}

/// Where the bytes of a value are, and who owns them. A plain number, so that a value stays in two registers.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// In memory of PostgreSQL that belongs to someone else.
    Borrowed,
    /// A copy in memory of PostgreSQL that belongs to this value.
    Owned,
    /// An aligned copy in memory that the caller lent. The stored value has a 1-byte header and is not
    /// aligned.
    Lent,
}

#[cold]
fn damaged(name: &str) -> ! {
    raise(Error::new(Kind::Data, format!("a stored {name} is damaged: its size does not fit its header")))
}

impl<L: Layout> Value<L> {
    /// The value of a datum that is plain ([`Layout::is_plain`]).
    ///
    /// # Safety
    /// It is, of the layout's type, and stays valid while the value lives.
    #[inline(always)]
    pub unsafe fn in_place(datum: pg_sys::Datum) -> Self {
        Self { start: datum.cast_mut_ptr(), held: Held::Borrowed, layout: PhantomData }
    }

    /// The value of a datum that is not null.
    ///
    /// # Safety
    /// The datum is of the layout's type and stays valid while the value lives.
    #[inline(always)]
    pub unsafe fn from_raw(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller's promise is passed on.
        unsafe { Self::checked(datum, |stored| Self::detoasted(stored)) }
    }

    /// The same, but a value with a 1-byte header is copied to `memory`, and nothing is allocated.
    ///
    /// # Safety
    /// As for [`Value::from_raw`]; the memory outlives the value, and nothing else is put into it.
    #[inline(always)]
    pub unsafe fn from_raw_in(memory: &mut AlignedCopy, datum: pg_sys::Datum) -> Self {
        // The server's code is called only for values that need it, because the call takes longer than many
        // distances.
        let made_plain = |stored: *mut u8| {
            // SAFETY: the caller passes a varlena.
            unsafe {
                if pgrx::varatt_is_1b(stored.cast()) && !pgrx::varatt_is_1b_e(stored.cast()) {
                    Self { start: memory.copy(stored), held: Held::Lent, layout: PhantomData }
                } else {
                    Self::detoasted(stored)
                }
            }
        };
        // SAFETY: the caller's promise is passed on.
        unsafe { Self::checked(datum, made_plain) }
    }

    #[inline(always)]
    unsafe fn checked(datum: pg_sys::Datum, made_plain: impl FnOnce(*mut u8) -> Self) -> Self {
        let start = datum.cast_mut_ptr::<u8>();
        // SAFETY: the caller passes a varlena. In its plain form, or made plain, it has a 4-byte header and
        // is aligned for int4.
        unsafe {
            let value = match pgrx::varatt_is_4b_u(start.cast()) {
                true => Self::in_place(datum),
                false => made_plain(start),
            };
            if !L::fits(value.start, pgrx::varsize_4b(value.start.cast())) {
                damaged(L::TYPE);
            }
            value
        }
    }

    #[inline(never)]
    unsafe fn detoasted(stored: *mut u8) -> Self {
        // SAFETY: the caller passes a varlena.
        let start = unsafe { pg_sys::pg_detoast_datum(stored.cast()) };
        Self { start: start.cast(), held: Held::Owned, layout: PhantomData }
    }

    /// Memory for a new value of `size` bytes in the current context, its length set.
    ///
    /// # Safety
    /// The caller writes all that follows the length.
    pub(super) unsafe fn allocate(size: usize) -> Self {
        let start = allocate(size);
        // SAFETY: the memory is maxaligned and larger than a length.
        unsafe { pgrx::set_varsize_4b(start.cast(), size as i32) };
        Self { start, held: Held::Borrowed, layout: PhantomData }
    }

    /// The same, filled with zeros.
    pub(super) fn zeroed(size: usize) -> Self {
        // Up to this many bytes are cleared inline, and every allocation has at least as many, because a call
        // would take longer.
        const FEW: usize = 64;
        // SAFETY: zeros are written to all of the memory, which has at least so many bytes.
        unsafe {
            let start = allocate(size.max(FEW));
            match size {
                ..=FEW => start.cast::<[u8; FEW]>().write([0; FEW]),
                _ => start.write_bytes(0, size),
            }
            pgrx::set_varsize_4b(start.cast(), size as i32);
            Self { start, held: Held::Borrowed, layout: PhantomData }
        }
    }

    /// The datum, which outlives this value. An argument that was not out of line is returned as it was
    /// passed.
    pub fn into_raw(self) -> pg_sys::Datum {
        let start = match self.held {
            Held::Borrowed | Held::Owned => std::mem::ManuallyDrop::new(self).start,
            // SAFETY: it was copied to where it is.
            Held::Lent => unsafe { AlignedCopy::origin(self.start) },
        };
        pg_sys::Datum::from(start)
    }

    /// All bytes after the length.
    pub fn bytes(&self) -> &[u8] {
        const LENGTH: usize = size_of::<i32>();
        // SAFETY: the value has a 4-byte header with its size.
        unsafe {
            let size = pgrx::varsize_4b(self.start.cast());
            std::slice::from_raw_parts(self.start.add(LENGTH), size - LENGTH)
        }
    }
}

/// Frees a copy that detoasting made. It takes a pointer and not the value, so that the value can stay in
/// registers.
#[cold]
#[inline(never)]
fn free(start: *mut u8) {
    if !std::thread::panicking() {
        // SAFETY: detoasting made this copy with palloc, and nothing else points at it.
        unsafe { pg_sys::pfree(start.cast()) }
    }
}

impl<L> Drop for Value<L> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.held {
            Held::Borrowed | Held::Lent => {}
            Held::Owned => free(self.start),
        }
    }
}

impl<L: Layout> FromDatum for Value<L> {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: pgrx hands over the datum of an argument or column declared as the type.
        (!is_null).then(|| unsafe { Self::from_raw(datum) })
    }
}

impl<L: Layout> IntoDatum for Value<L> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.into_raw())
    }

    fn type_oid() -> pg_sys::Oid {
        // Only asked by pgrx' SPI and array helpers, which nothing here uses with these types.
        pg_sys::InvalidOid
    }
}

// SAFETY: unboxes through FromDatum, which matches the datum's layout.
unsafe impl<'fcx, L: Layout> ArgAbi<'fcx> for Value<L> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the argument is declared as the type in sql/.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(value) => value,
            None => raise(Error::new(Kind::NullNotAllowed, "a vector argument must not be null")),
        }
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum().into() }
    }
}

// SAFETY: the returned datum points at a palloc'd value in the caller's memory context.
unsafe impl<L: Layout> BoxRet for Value<L> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: see above.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}
