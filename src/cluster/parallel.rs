//! Work over equal records in a given pool: how other rooms use threads without knowing them.

use rayon::ThreadPool;
use rayon::prelude::*;

/// Calls `f(scratch, i, record i)` for every record of `stride` bytes in `out`, in parallel; each thread
/// makes its own scratch memory. Returns when all are done.
pub fn for_each_record<W>(
    pool: &ThreadPool,
    out: &mut [u8],
    stride: usize,
    scratch: impl Fn() -> W + Sync,
    f: impl Fn(&mut W, usize, &mut [u8]) + Sync,
) where
    W: Send,
{
    const RUN: usize = 32;
    pool.install(|| {
        out.par_chunks_mut(stride * RUN).enumerate().for_each_init(&scratch, |w, (run, records)| {
            for (i, record) in records.chunks_exact_mut(stride).enumerate() {
                f(w, run * RUN + i, record);
            }
        });
    });
}
