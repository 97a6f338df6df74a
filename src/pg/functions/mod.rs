//! SQL functions about indexes.

mod access;
mod check;
mod heap_all_indexed;
mod info;
mod maintain;
mod neighbours;
mod pairs;
mod recalibrate;
mod recall;
mod result_set;

use std::ffi::CStr;

use pgrx::{JsonB, pg_sys};

use crate::error::{Error, Kind};
use crate::pg::error::raise;

fn json(value: &impl serde::Serialize) -> JsonB {
    match serde_json::to_value(value) {
        Ok(value) => JsonB(value),
        Err(e) => raise(Error::new(Kind::Internal, format!("could not make JSON: {e}"))),
    }
}

/// Raises an error unless a parameter is in its range.
fn between(name: &str, value: i32, most: i32) {
    if !(1..=most).contains(&value) {
        let message = format!("{name} must be between 1 and {most}, not {value}");
        raise(Error::new(Kind::InvalidParameter, message));
    }
}

/// Raises an error in the name of a function if the transaction must not write.
fn expect_writable(function: &CStr) {
    // SAFETY: these raise, or do nothing.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(function.as_ptr());
        pg_sys::PreventCommandIfParallelMode(function.as_ptr());
        pg_sys::PreventCommandDuringRecovery(function.as_ptr());
    }
}
