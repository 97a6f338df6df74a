//! Work on many items, on threads if there are any.

use rayon::ThreadPool;

use crate::error::Result;
use crate::kmeans::parallel;
use crate::memory;

/// Shares for each thread. They take about equally long, but a thread may be interrupted by other work.
const SHARES: usize = 2;

/// A part of the items, and who works on it.
struct Share<'a, W, T> {
    first: usize,
    items: &'a mut [T],
    worker: &'a mut W,
    done: Result<()>,
}

/// The number of workers that a pool needs.
pub(super) fn workers(pool: Option<&ThreadPool>) -> usize {
    pool.map_or(1, |pool| SHARES * pool.current_num_threads())
}

/// Calls `work` with consecutive parts of the items, as many as there are workers, and the number of the
/// first item. Without a pool, or for a single part, this thread does it.
///
/// # Errors
/// Those of `work`, and out of memory.
pub(super) fn in_shares<W: Send, T: Send>(
    pool: Option<&ThreadPool>,
    workers: &mut [W],
    items: &mut [T],
    work: impl Fn(&mut W, usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    let size = items.len().div_ceil(workers.len().max(1)).max(1);
    let shares = items.chunks_mut(size).zip(workers).enumerate();
    let share = |(at, (items, worker))| Share { first: at * size, items, worker, done: Ok(()) };
    let mut shares = memory::collected(shares.map(share))?;
    let work = |share: &mut Share<'_, W, T>| share.done = work(share.worker, share.first, share.items);
    match pool.filter(|_| shares.len() > 1) {
        Some(pool) => parallel::for_each(pool, &mut shares, work),
        None => shares.iter_mut().for_each(work),
    }
    shares.into_iter().try_for_each(|share| share.done)
}
