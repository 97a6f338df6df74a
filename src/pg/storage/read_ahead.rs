//! Read-ahead: pages that will be read soon are requested from the disk, in order, before they are needed.
//!
//! Pages are requested with `PrefetchBuffer` (storage/buffer/bufmgr.c). A read stream (PostgreSQL 17 and
//! later) was slower: from PostgreSQL 18 on other processes read its pages, which takes longer than to copy a
//! page that the operating system has (`docs/performance.md`).
//!
//! A page that is in shared buffers is found faster by its buffer hint (`buffer_hints.rs`). So read-ahead
//! begins only when one of the planned pages had to be read, because then the pages after it are probably
//! missing, too.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use pgrx::pg_sys;

use super::buffer_hints::BufferHints;

/// Least number of pages requested before they are read.
const WINDOW: i32 = 32;

/// The plan: which pages will be read, and how far reading has come.
#[derive(Default)]
pub struct ReadAhead {
    runs: RefCell<Vec<Range<u32>>>,
    /// The next page to request.
    issued: Cell<Cursor>,
    /// The next page to read.
    taken: Cell<Cursor>,
    /// Whether a page of the plan was not in shared buffers.
    cold: Cell<bool>,
    /// Whether pages have been read since the plan was begun. Then the next planned pages begin a new plan.
    begun: Cell<bool>,
}

/// A run, and a block within it.
#[derive(Clone, Copy, Default)]
struct Cursor {
    run: usize,
    offset: u32,
}

impl ReadAhead {
    /// Adds pages to the plan; after a read, replaces the plan.
    pub fn prefetch(&self, pages: Range<u32>) {
        if self.begun.replace(false) {
            self.end();
        }
        if !pages.is_empty() {
            self.runs.borrow_mut().push(pages);
        }
    }

    /// Drops the plan.
    pub fn end(&self) {
        self.runs.borrow_mut().clear();
        self.issued.set(Cursor::default());
        self.taken.set(Cursor::default());
        self.cold.set(false);
    }

    /// Reads a page by `pin`. If it is the next page of the plan and pages were missing, requests those after
    /// it first.
    ///
    /// # Safety
    /// The relation is open, is that of the hints, and has the planned pages.
    pub unsafe fn take(
        &self,
        (relation, hints): (pg_sys::Relation, &BufferHints),
        blkno: u32,
        pin: impl FnOnce() -> pg_sys::Buffer,
    ) -> pg_sys::Buffer {
        self.begun.set(true);
        let next = match self.at(self.taken.get()) {
            Some((expected, next)) if expected == blkno => next,
            _ => return pin(),
        };
        self.taken.set(next);
        let buffer = if self.cold.get() {
            // SAFETY: the caller vouches for relation and pages.
            unsafe { self.request(relation, hints) };
            pin()
        } else {
            let read = pages_read();
            let buffer = pin();
            if pages_read() != read {
                self.cold.set(true);
                self.issued.set(next);
            }
            buffer
        };
        if self.at(next).is_none() {
            self.end();
        }
        buffer
    }

    unsafe fn request(&self, relation: pg_sys::Relation, hints: &BufferHints) {
        // SAFETY: a setting of this backend.
        let window = unsafe { pg_sys::effective_io_concurrency }.max(WINDOW) as usize;
        while self.ahead() < window
            && let Some((blkno, next)) = self.at(self.issued.get())
        {
            self.issued.set(next);
            // SAFETY: the caller vouches for relation and pages.
            unsafe { hints.request(relation, blkno..blkno + 1) };
        }
    }

    /// Number of pages requested and not yet read.
    fn ahead(&self) -> usize {
        let (issued, taken) = (self.issued.get(), self.taken.get());
        let runs = self.runs.borrow();
        let between = runs.get(taken.run..issued.run).unwrap_or_default();
        (between.iter().map(|run| run.len()).sum::<usize>() + issued.offset as usize)
            .saturating_sub(taken.offset as usize)
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
}

/// Pages that this backend has read from disk.
fn pages_read() -> i64 {
    // SAFETY: a counter of this backend.
    unsafe { pg_sys::pgBufferUsage.shared_blks_read }
}
