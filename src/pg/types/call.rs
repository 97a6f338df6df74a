//! How SQL calls the functions that run once for each row.
//!
//! `#[pg_extern]` takes 40 ns to unpack arguments and return a result, more than most distances take. So
//! functions that run once for each row are declared by [`sql_functions!`]. They must be strict and have
//! simple types; they get the names that `#[pg_extern]` would give them (fmgr.h, version-1 calling
//! convention). [`guarded`] replaces `#[pg_guard]` for them.

use std::any::Any;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::submodules::panic::pgrx_extern_c_guard;

/// Runs a function's body. A panic, which is also how errors get here, becomes a PostgreSQL ERROR.
///
/// `#[pg_guard]` does the same by calls that are not inlined; it handles the panics here, too.
///
/// # Safety
/// As for `#[pg_guard]`: the caller is called by Postgres and holds nothing that is to be dropped.
#[inline(always)]
pub unsafe fn guarded(body: impl FnOnce() -> pg_sys::Datum) -> pg_sys::Datum {
    // A panic drops what the body holds while it unwinds, and the transaction ends.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(answer) => answer,
        // SAFETY: the caller's promise is passed on.
        Err(panic) => unsafe { raise(panic) },
    }
}

#[cold]
#[inline(never)]
unsafe fn raise(panic: Box<dyn Any + Send>) -> pg_sys::Datum {
    // SAFETY: the panic is all that this holds, and it goes to the guard.
    unsafe { pgrx_extern_c_guard(move || resume_unwind(panic)) }
}

use super::array::Array;
use super::text::Text;
use crate::pg::datum::short_header::AlignedCopy;
use crate::pg::datum::value::{Layout, Value};

/// An argument of a strict function.
pub trait Argument {
    /// The value of the argument at a position, from 0 on. `memory` is for this value only and outlives it.
    ///
    /// # Safety
    /// The call has such an argument, which is not null, of the type that the function is declared with. The
    /// value is used during the call only.
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, memory: &mut AlignedCopy) -> Self;

    /// Whether [`Argument::take_plain`] may be used.
    ///
    /// # Safety
    /// As for [`Argument::take`].
    #[inline(always)]
    unsafe fn is_plain(_call: pg_sys::FunctionCallInfo, _place: usize) -> bool {
        true
    }

    /// As [`Argument::take`], for a plain argument. Types that are not always plain implement it themselves.
    ///
    /// # Safety
    /// As for [`Argument::take`]; the argument is plain.
    #[inline(always)]
    unsafe fn take_plain(call: pg_sys::FunctionCallInfo, place: usize) -> Self
    where
        Self: Sized,
    {
        // SAFETY: the caller vouches for the argument; what is always plain needs no memory.
        unsafe { Self::take(call, place, &mut AlignedCopy::new()) }
    }
}

#[inline]
unsafe fn datum(call: pg_sys::FunctionCallInfo, place: usize) -> pg_sys::Datum {
    // SAFETY: the caller says that the call has so many arguments.
    unsafe { (*(*call).args.as_ptr().add(place)).value }
}

/// The call itself, after all arguments of SQL.
impl Argument for pg_sys::FunctionCallInfo {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, _: usize, _: &mut AlignedCopy) -> Self {
        call
    }
}

impl Argument for &CStr {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument; a cstring points at a NUL-terminated string.
        unsafe { CStr::from_ptr(datum(call, place).cast_mut_ptr()) }
    }
}

impl Argument for pg_sys::Oid {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument.
        unsafe { Self::from(datum(call, place).value() as u32) }
    }
}

impl<L: Layout> Argument for Value<L> {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, memory: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument and the memory.
        unsafe { Self::from_raw_in(memory, datum(call, place)) }
    }

    #[inline(always)]
    unsafe fn is_plain(call: pg_sys::FunctionCallInfo, place: usize) -> bool {
        // SAFETY: the caller vouches for the argument.
        unsafe { L::is_plain(datum(call, place).cast_mut_ptr()) }
    }

    #[inline(always)]
    unsafe fn take_plain(call: pg_sys::FunctionCallInfo, place: usize) -> Self {
        // SAFETY: the caller vouches for the argument, and that it is plain.
        unsafe { Self::in_place(datum(call, place)) }
    }
}

impl Argument for Array {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument.
        unsafe { Self::from_raw(datum(call, place)) }
    }
}

impl Argument for i32 {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument.
        unsafe { datum(call, place).value() as Self }
    }
}

impl Argument for f32 {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument; a real is passed by value.
        unsafe { Self::from_bits(datum(call, place).value() as u32) }
    }
}

impl Argument for i64 {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument.
        unsafe { datum(call, place).value() as Self }
    }
}

impl Argument for bool {
    #[inline]
    unsafe fn take(call: pg_sys::FunctionCallInfo, place: usize, _: &mut AlignedCopy) -> Self {
        // SAFETY: the caller vouches for the argument.
        unsafe { datum(call, place).value() & 0xff != 0 }
    }
}

/// What a function returns.
pub trait Answer {
    /// The datum, in the current memory context if it is not by value.
    fn give(self) -> pg_sys::Datum;
}

impl<L: Layout> Answer for Value<L> {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        self.into_raw()
    }
}

/// `None` is a NULL; the function has reported the error to its caller as a soft error
/// ([`crate::pg::error::soft`]).
impl<L: Layout> Answer for Option<Value<L>> {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        self.map_or(pg_sys::Datum::null(), Value::into_raw)
    }
}

impl Answer for Array {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        self.into_raw()
    }
}

impl Answer for Text {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        self.into_raw()
    }
}

impl Answer for f64 {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.to_bits())
    }
}

impl Answer for i32 {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

impl Answer for i64 {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

impl Answer for bool {
    #[inline]
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

/// Functions that SQL calls as `MODULE_PATHNAME`, `name_wrapper`. They are declared in sql/ as STRICT, with
/// the types that `tests/architecture.rs` compares. For a distance with `known by` a metric, the function
/// first looks whether a scan has computed it (`distance_memo.rs`).
macro_rules! sql_functions {
    ($(
        $(#[known($metric:expr)])?
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $answer:ty $body:block
    )*) => {$(
        const _: () = {
            use $crate::pg::types::call::{Answer, Argument};

            #[inline(always)]
            fn $name($($argument: $type),*) -> $answer $body

            /// For values that must be detoasted or copied first. It is a separate function so that the fast
            /// path need not save registers for it.
            #[inline(never)]
            unsafe fn made_plain(info: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                let mut places = 0usize..;
                $(
                    let memory = &mut $crate::pg::datum::short_header::AlignedCopy::new();
                    let place = places.next().unwrap_or_default();
                    // SAFETY: as below. The memory is dropped after the argument, and is no other's.
                    let $argument = unsafe { <$type as Argument>::take(info, place, memory) };
                )*
                Answer::give($name($($argument),*))
            }

            #[unsafe(export_name = concat!(stringify!($name), "_wrapper"))]
            unsafe extern "C-unwind" fn call(info: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                // SAFETY: called by the server. It passes as many arguments as the function is declared with,
                // of those types, none of them null.
                unsafe {
                    $crate::pg::types::call::guarded(|| {
                        $(
                            let arguments = (*info).args.as_slice(2);
                            let known = $crate::pg::scan::distance_memo::distance(arguments, $metric);
                            if let Some(distance) = known {
                                return Answer::give(distance);
                            }
                        )?
                        let (mut places, mut plain) = (0usize.., true);
                        $(
                            let $argument = places.next().unwrap_or_default();
                            plain = plain && <$type as Argument>::is_plain(info, $argument);
                        )*
                        if !plain {
                            return made_plain(info);
                        }
                        $(
                            let $argument = <$type as Argument>::take_plain(info, $argument);
                        )*
                        Answer::give($name($($argument),*))
                    })
                }
            }

            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name), "_wrapper"))]
            extern "C" fn info() -> &'static pgrx::pg_sys::Pg_finfo_record {
                &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
            }
        };
    )*};
}

pub(super) use sql_functions;
