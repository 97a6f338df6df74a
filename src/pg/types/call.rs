//! How SQL calls the functions that run once for each row.
//!
//! `#[pg_extern]` takes 40 ns to unpack arguments and to hand back an answer, more than most distances take. What is
//! called that often is declared by [`sql_functions!`] instead: strict functions of plain types, guarded by the same
//! `#[pg_guard]`, under the names that `#[pg_extern]` would give them (fmgr.h, version-1 calling convention).

use pgrx::pg_sys;

use super::array::Array;
use super::text::Text;
use crate::pg::varlena::{Layout, Value};

/// An argument of a strict function.
pub trait Argument {
    /// The value of a datum that is not null.
    ///
    /// # Safety
    /// The datum is of the type that the function is declared with, and outlives the call.
    unsafe fn take(datum: pg_sys::Datum) -> Self;
}

impl<L: Layout> Argument for Value<L> {
    unsafe fn take(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller vouches for the datum.
        unsafe { Self::from_raw(datum) }
    }
}

impl Argument for Array {
    unsafe fn take(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller vouches for the datum.
        unsafe { Self::from_raw(datum) }
    }
}

impl Argument for i32 {
    unsafe fn take(datum: pg_sys::Datum) -> Self {
        datum.value() as Self
    }
}

impl Argument for i64 {
    unsafe fn take(datum: pg_sys::Datum) -> Self {
        datum.value() as Self
    }
}

impl Argument for bool {
    unsafe fn take(datum: pg_sys::Datum) -> Self {
        datum.value() & 0xff != 0
    }
}

/// What a function returns, never NULL.
pub trait Answer {
    /// The datum, in the current memory context if it is not by value.
    fn give(self) -> pg_sys::Datum;
}

impl<L: Layout> Answer for Value<L> {
    fn give(self) -> pg_sys::Datum {
        self.into_raw()
    }
}

impl Answer for Array {
    fn give(self) -> pg_sys::Datum {
        self.into_raw()
    }
}

impl Answer for Text {
    fn give(self) -> pg_sys::Datum {
        self.into_raw()
    }
}

impl Answer for f64 {
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.to_bits())
    }
}

impl Answer for i32 {
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

impl Answer for i64 {
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

impl Answer for bool {
    fn give(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

/// Functions that SQL calls as `MODULE_PATHNAME`, `name_wrapper`. They are declared in sql/ as STRICT, with the
/// types that `tests/architecture.rs` compares.
macro_rules! sql_functions {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty $body:block)*) => {$(
        const _: () = {
            fn $name($($argument: $type),*) -> $answer $body

            #[pg_guard]
            #[unsafe(export_name = concat!(stringify!($name), "_wrapper"))]
            unsafe extern "C-unwind" fn call(info: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                const COUNT: usize = [$(stringify!($argument)),*].len();
                // SAFETY: the server passes as many arguments as the function is declared with, of those types, none
                // of them null.
                let answer = unsafe {
                    let mut arguments = (*info).args.as_slice(COUNT).iter();
                    $(
                        let $argument = match arguments.next() {
                            Some(argument) => <$type as $crate::pg::types::call::Argument>::take(argument.value),
                            None => return pgrx::pg_sys::Datum::null(),
                        };
                    )*
                    $name($($argument),*)
                };
                $crate::pg::types::call::Answer::give(answer)
            }

            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name), "_wrapper"))]
            extern "C" fn info() -> &'static pgrx::pg_sys::Pg_finfo_record {
                &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
            }
        };
    )*};
}

pub(super) use sql_functions;
