//! The threads of builds and of batches of queries.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use pgrx::pg_sys;
use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Kind, Result};
use crate::memory;

/// A pool whose threads have ended when it is dropped. So no thread outlives its statement, and none
/// allocates memory after it.
pub struct Threads {
    pool: ManuallyDrop<ThreadPool>,
    running: Running,
}

/// Threads that have been started.
struct Running(Vec<JoinHandle<()>>);

impl Deref for Threads {
    type Target = ThreadPool;

    fn deref(&self) -> &ThreadPool {
        &self.pool
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // This tells the threads to end.
        // SAFETY: the pool is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.pool) };
        self.running.wait();
    }
}

impl Running {
    fn wait(&mut self) {
        for thread in self.0.drain(..) {
            // A panic of a thread's work has been raised by the pool where the work was waited for.
            let _ = thread.join();
        }
    }
}

/// If a thread cannot start, those before it are told to end by the pool's builder.
impl Drop for Running {
    fn drop(&mut self) {
        self.wait();
    }
}

/// As many threads as `max_parallel_maintenance_workers` allows, plus one in place of this thread; a single
/// one if there is no memory for more stacks.
pub fn pool() -> Result<Threads> {
    // SAFETY: reading a setting.
    let workers = unsafe { pg_sys::max_parallel_maintenance_workers }.max(0) as usize;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (workers + 1).min(cores);
    start(threads).or_else(|_| start(1))
}

/// So many threads.
///
/// # Errors
/// No memory for them.
pub fn start(threads: usize) -> Result<Threads> {
    const STACK: usize = 2 << 20;
    // Memory that must be free before a thread is started. The C library ends the process if it cannot
    // allocate a thread's thread-local variables, and Rust's standard library if it cannot allocate the
    // thread's handle, for which it does not use our allocator. This is far more than they take, because
    // other threads allocate at the same time.
    const OF_THREAD: usize = 1 << 20;
    const OF_ALL: usize = 4 << 20;
    one_arena();
    memory::room(threads * (STACK + OF_THREAD) + OF_ALL)?;
    rehearse();
    let mut running = Running(memory::with_capacity(threads)?);
    // Threads inherit the mask: signals must reach the backend's own thread, whose handlers use its state.
    // SAFETY: sigset_t is plain data that sigfillset initialises; the old mask is restored.
    let built = unsafe {
        let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut old);
        let built = ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread: ThreadBuilder| {
                let builder = std::thread::Builder::new().stack_size(STACK);
                let name = format!("ivf build {}", thread.index());
                running.0.push(builder.name(name).spawn(|| thread.run())?);
                Ok(())
            })
            .build();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut());
        built
    };
    let pool = built.map_err(|e| {
        let message = format!("could not start threads to build the index: {e}");
        Error::new(Kind::OutOfMemory, message)
    })?;
    // Runs every thread once now, before other work takes the memory. This allocates the thread-local
    // variables that a thread needs to run, wait for work and return a result, and registers their
    // destructors.
    pool.broadcast(|_| rehearse());
    pool.install(|| ());
    Ok(Threads { pool: ManuallyDrop::new(pool), running })
}

/// Lets all threads allocate from one heap. Otherwise the C library reserves 64 MB of address space for each
/// thread, and a thread that gets none cannot use memory that other threads have freed. What they allocate is
/// large and rare.
fn one_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        // SAFETY: sets a number in the C library, once, before the first build has made this process's first
        // threads.
        ONCE.call_once(|| unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        });
    }
}

/// Uses all of the standard library's thread-local variables that waiting for a task does.
fn rehearse() {
    let (sender, receiver) = sync_channel::<()>(1);
    std::hint::black_box(std::thread::current().id());
    // Nobody sends a message, so the call waits until its timeout.
    let _ = receiver.recv_timeout(Duration::from_millis(1));
    drop(sender);
}
