//! Long work inside of a statement: it can be cancelled, and may use threads.

use pgrx::pg_sys;

use super::allocator;
use super::am::threads::{Threads, start};
use crate::error::Result;
use crate::ivf::progress::Progress;

/// Work that can be cancelled.
pub struct Interruptible;

impl Progress for Interruptible {
    fn tick(&self) -> Result<()> {
        tick()
    }
}

/// Reacts to a cancel, and to memory that was missing.
///
/// # Errors
/// None: both are raised.
pub fn tick() -> Result<()> {
    pgrx::check_for_interrupts!();
    allocator::check();
    Ok(())
}

/// As many threads as a parallel query may have processes.
pub fn threads() -> usize {
    // SAFETY: reads settings.
    let workers = unsafe { pg_sys::max_parallel_workers_per_gather.min(pg_sys::max_parallel_workers) };
    (workers.max(0) as usize + 1).min(std::thread::available_parallelism().map_or(1, usize::from))
}

/// Threads for a batch. `None` if this thread does all, because the settings or the memory allow no others.
pub fn pool() -> Option<Threads> {
    Some(threads()).filter(|&threads| threads > 1).and_then(|threads| start(threads).ok())
}
