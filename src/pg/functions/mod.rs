//! SQL functions about indexes.

mod access;
mod check;
mod heap_all_indexed;
mod info;
mod maintain;
mod recalibrate;
mod recall;

use std::ffi::CStr;

use pgrx::{JsonB, pg_sys};

use crate::error::{Error, Kind, Result};
use crate::ivf::progress::Progress;
use crate::pg::allocator;
use crate::pg::error::raise;

fn json(value: &impl serde::Serialize) -> JsonB {
    match serde_json::to_value(value) {
        Ok(value) => JsonB(value),
        Err(e) => raise(Error::new(Kind::Internal, format!("could not make JSON: {e}"))),
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

/// Work that can be cancelled.
struct Interruptible;

impl Progress for Interruptible {
    fn tick(&self) -> Result<()> {
        tick()
    }
}

fn tick() -> Result<()> {
    pgrx::check_for_interrupts!();
    allocator::check();
    Ok(())
}
