//! How other rooms use threads without calling rayon: tasks in a given pool that run concurrently with the
//! caller's thread, and parallel work over records of equal size inside a task.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::error::{Error, Kind, Result};

/// How often a waiting thread calls its callback.
const INTERVAL: Duration = Duration::from_millis(20);

/// The caller's callback for progress (units done, units in all) and cancellation: called on the calling
/// thread only, at least every 100 ms or so; an error ends the work at once and is returned.
pub type Step<'a> = &'a dyn Fn(u64, u64) -> Result<()>;

/// Tells a task whether its result is still wanted.
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Fails when nobody waits for the task any more.
    ///
    /// # Errors
    /// One that nobody will see.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(Kind::Internal, "the work in the background is not wanted any more"))
    }
}

/// Work that runs in a pool. Dropping it does not wait for the end of the work; it only tells the work that
/// the result is not wanted.
pub struct Task<T> {
    result: Receiver<thread::Result<Result<T>>>,
    wanted: Arc<AtomicBool>,
}

/// Starts work in a pool and returns at once. The work owns all that it uses, so the caller may fail or
/// unwind before the work ends.
pub fn start<T: Send + 'static>(
    pool: &ThreadPool,
    work: impl FnOnce(&StopSignal) -> Result<T> + Send + 'static,
) -> Task<T> {
    let (sender, result) = sync_channel(1);
    let wanted = Arc::new(AtomicBool::new(true));
    let seen = StopSignal(Arc::clone(&wanted));
    pool.spawn(move || {
        let done = catch_unwind(AssertUnwindSafe(|| work(&seen)));
        // This fails if the caller has dropped the task, and so wants no result.
        drop(sender.send(done));
    });
    Task { result, wanted }
}

impl<T> Task<T> {
    /// Waits for the end of the work, and meanwhile calls `tick` on this thread. An error of `tick` ends the
    /// waiting.
    ///
    /// # Errors
    /// Those of the work and of `tick`. A panic of the work continues in this thread.
    pub fn wait(self, tick: &dyn Fn() -> Result<()>) -> Result<T> {
        loop {
            match self.result.recv_timeout(INTERVAL) {
                Ok(Ok(result)) => return result,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(RecvTimeoutError::Timeout) => tick()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Kind::Internal, "the work in the background came to no end"));
                }
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

/// Does pieces of work in a pool, and returns when all are done.
pub fn for_each<T: Send>(pool: &ThreadPool, pieces: &mut [T], work: impl Fn(&mut T) + Sync) {
    pool.install(|| pieces.par_iter_mut().with_max_len(1).for_each(&work));
}

/// Calls `f(scratch, i, record i)` for every record of `stride` bytes in `out`, in parallel; each thread
/// makes its own scratch memory. For tasks: it runs in the pool of this thread, and returns when all records
/// are done.
///
/// # Errors Those of `scratch`.
pub fn for_each_record<W>(
    out: &mut [u8],
    stride: usize,
    scratch: impl Fn() -> Result<W> + Sync,
    f: impl Fn(&mut W, usize, &mut [u8]) + Sync,
) -> Result<()>
where
    W: Send,
{
    const RUN: usize = 32;
    out.par_chunks_mut(stride * RUN).enumerate().try_for_each_init(&scratch, |w, (run, records)| {
        let w = w.as_mut().map_err(|error| error.clone())?;
        for (i, record) in records.chunks_exact_mut(stride).enumerate() {
            f(w, run * RUN + i, record);
        }
        Ok(())
    })
}
