//! Read-ahead: pages that will be read soon are requested from the disk, in order, before they are needed.
//!
//! PostgreSQL 17 and later use a read stream (storage/aio/read_stream.c), which combines neighbouring pages
//! into one read; older majors use `PrefetchBuffer`. Both are for pages that are not in shared buffers. A
//! page that is there is found faster by its buffer hint (`buffer_hints.rs`). So read-ahead begins only when
//! one of the planned pages had to be read from the disk, because then the pages after it are probably
//! missing, too.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use pgrx::pg_sys;
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
use pgrx::prelude::*;

/// The plan: which pages will be read, and how far reading has come.
pub struct ReadAhead {
    /// Boxed, because the stream's callback has its address.
    queue: Box<Queue>,
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    ring: pg_sys::BufferAccessStrategy,
    /// Null while there is no stream.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    stream: Cell<*mut pg_sys::ReadStream>,
    /// Whether a page of the plan was not in shared buffers.
    cold: Cell<bool>,
    /// Whether pages have been read since the plan was begun. Then the next planned pages begin a new plan.
    begun: Cell<bool>,
}

#[derive(Default)]
struct Queue {
    runs: RefCell<Vec<Range<u32>>>,
    issued: Cell<Cursor>,
    taken: Cell<Cursor>,
}

/// A run, and a block within it.
#[derive(Clone, Copy, Default)]
struct Cursor {
    run: usize,
    offset: u32,
}

impl Queue {
    fn clear(&self) {
        self.runs.borrow_mut().clear();
        self.issued.set(Cursor::default());
        self.taken.set(Cursor::default());
    }

    /// The block at a cursor, and the cursor after it.
    fn at(&self, cursor: Cursor) -> Option<(u32, Cursor)> {
        let runs = self.runs.borrow();
        let run = runs.get(cursor.run)?;
        let blkno = run.start + cursor.offset;
        let next = match blkno + 1 < run.end {
            true => Cursor { offset: cursor.offset + 1, ..cursor },
            false => Cursor { run: cursor.run + 1, offset: 0 },
        };
        Some((blkno, next))
    }

    /// The next block to ask for.
    fn issue(&self) -> Option<u32> {
        let (blkno, next) = self.at(self.issued.get())?;
        self.issued.set(next);
        Some(blkno)
    }
}

impl ReadAhead {
    /// An empty plan. Pages read from disk go through the ring, if there is one.
    pub fn new(ring: pg_sys::BufferAccessStrategy) -> Self {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let _ = ring;
        Self {
            #[cfg(not(any(feature = "pg15", feature = "pg16")))]
            ring,
            queue: Box::default(),
            #[cfg(not(any(feature = "pg15", feature = "pg16")))]
            stream: Cell::new(std::ptr::null_mut()),
            cold: Cell::new(false),
            begun: Cell::new(true),
        }
    }

    /// Adds pages to the plan; after a read, replaces the plan.
    pub fn prefetch(&self, pages: Range<u32>) {
        if self.begun.replace(false) {
            self.end();
        }
        if !pages.is_empty() {
            self.queue.runs.borrow_mut().push(pages);
        }
    }

    /// Pins a page. It comes from the read stream if it is the next page of the plan and pages were missing,
    /// else from `pin`. Also returns whether `pin` was used.
    ///
    /// # Safety
    /// The relation is open and has the planned pages. No other relation is passed before [`ReadAhead::end`].
    pub unsafe fn take(
        &self,
        relation: pg_sys::Relation,
        blkno: u32,
        pin: impl FnOnce() -> pg_sys::Buffer,
    ) -> (pg_sys::Buffer, bool) {
        self.begun.set(true);
        let next = match self.queue.at(self.queue.taken.get()) {
            Some((expected, next)) if expected == blkno => next,
            _ => return (pin(), true),
        };
        self.queue.taken.set(next);
        // SAFETY: the caller vouches for relation and pages.
        let ahead = if self.cold.get() { unsafe { self.advance(relation, blkno) } } else { None };
        let pinned = ahead.is_none();
        let buffer = ahead.unwrap_or_else(|| {
            let read = pages_read();
            let buffer = pin();
            if !self.cold.get() && pages_read() != read {
                self.cold.set(true);
                self.queue.issued.set(next);
            }
            buffer
        });
        if self.queue.at(next).is_none() {
            self.end();
        }
        (buffer, pinned)
    }
}

/// Pages that this backend has read from disk.
fn pages_read() -> i64 {
    // SAFETY: a counter of this backend.
    unsafe { pg_sys::pgBufferUsage.shared_blks_read }
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
impl ReadAhead {
    /// Drops the plan. Not called after an error, when the end of the transaction releases the pins.
    pub fn end(&self) {
        let stream = self.stream.replace(std::ptr::null_mut());
        if !stream.is_null() {
            // SAFETY: the stream was begun here and is ended once.
            unsafe { pg_sys::read_stream_end(stream) };
        }
        self.cold.set(false);
        self.queue.clear();
    }

    unsafe fn advance(&self, relation: pg_sys::Relation, blkno: u32) -> Option<pg_sys::Buffer> {
        // SAFETY: the plan lives at its address as long as the stream, and has blocks of the relation only.
        unsafe {
            if self.stream.get().is_null() {
                let (fork, queue) = (pg_sys::ForkNumber::MAIN_FORKNUM, (&raw const *self.queue).cast_mut());
                let flags = pg_sys::READ_STREAM_FULL as i32;
                self.stream.set(pg_sys::read_stream_begin_relation(
                    flags,
                    self.ring,
                    relation,
                    fork,
                    Some(next_block),
                    queue.cast(),
                    0,
                ));
            }
            let buffer = pg_sys::read_stream_next_buffer(self.stream.get(), std::ptr::null_mut());
            // The stream returns the pages of the plan, in their order.
            assert!(
                buffer != 0 && pg_sys::BufferGetBlockNumber(buffer) == blkno,
                "the read stream lost its place"
            );
            Some(buffer)
        }
    }
}

/// What a read stream asks for next.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
#[pg_guard]
unsafe extern "C-unwind" fn next_block(
    _stream: *mut pg_sys::ReadStream,
    queue: *mut std::ffi::c_void,
    _per_buffer: *mut std::ffi::c_void,
) -> pg_sys::BlockNumber {
    // SAFETY: the stream was begun with a plan that outlives it.
    let queue = unsafe { &*queue.cast::<Queue>() };
    queue.issue().unwrap_or(pg_sys::InvalidBlockNumber)
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
impl ReadAhead {
    /// Drops the plan.
    pub fn end(&self) {
        self.cold.set(false);
        self.queue.clear();
    }

    unsafe fn advance(&self, relation: pg_sys::Relation, _block: u32) -> Option<pg_sys::Buffer> {
        /// Least number of pages requested before they are read.
        const WINDOW: i32 = 32;
        // SAFETY: a setting; prefetching is advice for pages that exist, for which the caller vouches.
        unsafe {
            if pg_sys::effective_io_concurrency == 0 {
                return None;
            }
            let window = pg_sys::effective_io_concurrency.max(WINDOW) as usize;
            while self.ahead() < window
                && let Some(blkno) = self.queue.issue()
            {
                pg_sys::PrefetchBuffer(relation, pg_sys::ForkNumber::MAIN_FORKNUM, blkno);
            }
        }
        None
    }

    /// Number of pages requested and not yet read.
    fn ahead(&self) -> usize {
        let (issued, taken) = (self.queue.issued.get(), self.queue.taken.get());
        let runs = self.queue.runs.borrow();
        let between = runs.get(taken.run..issued.run).unwrap_or_default();
        (between.iter().map(|run| run.len()).sum::<usize>() + issued.offset as usize)
            .saturating_sub(taken.offset as usize)
    }
}
