//! SQL functions about indexes.

mod access;
mod check;
mod heap_all_indexed;
mod info;
mod owner;
mod recalibrate;
mod recall;

use pgrx::JsonB;

use crate::error::{Error, Kind, Result};
use crate::pg::allocator;
use crate::pg::error::raise;

fn json(value: &impl serde::Serialize) -> JsonB {
    match serde_json::to_value(value) {
        Ok(value) => JsonB(value),
        Err(e) => raise(Error::new(Kind::Internal, format!("could not make JSON: {e}"))),
    }
}

fn tick() -> Result<()> {
    pgrx::check_for_interrupts!();
    allocator::check();
    Ok(())
}
