//! How long-running work reports its progress, and how it is stopped.

use std::ffi::CStr;

use crate::error::Result;

/// A step of the build as users see it. The numbers are those of `pg_stat_progress_create_index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Reading a sample of the table.
    Sampling = 2,
    /// k-means on the sample.
    Training = 3,
    /// Reading the table; assigning and coding rows.
    Assigning = 4,
    /// Writing the lists.
    Writing = 5,
    /// Measuring how many lists a recall target needs.
    Calibrating = 6,
    /// Moving lists to free pages.
    Moving = 7,
}

impl Phase {
    /// The phase's name by number.
    pub fn name(number: i64) -> Option<&'static CStr> {
        Some(match number {
            1 => c"initializing",
            2 => c"sampling table",
            3 => c"performing k-means",
            4 => c"assigning tuples",
            5 => c"writing lists",
            6 => c"calibrating recall",
            7 => c"moving lists",
            _ => return None,
        })
    }
}

/// How a build reports its progress, and how it is stopped.
pub trait Progress {
    /// A phase begins.
    fn phase(&self, _phase: Phase) {}
    /// Units of work of the phase.
    fn total(&self, _total: u64) {}
    /// Units done.
    fn done(&self, _done: u64) {}
    /// Called often; an error or unwinding ends the build.
    fn tick(&self) -> Result<()>;
}

/// Progress that nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn tick(&self) -> Result<()> {
        Ok(())
    }
}
