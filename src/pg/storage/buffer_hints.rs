//! Buffer hints: the shared buffers in which this backend last found the pages of indexes and tables.
//!
//! Finding a page by its number costs several cache misses in the buffer table, which was a sixth of the time
//! of a warm scan. `ReadRecentBuffer` (storage/buffer/bufmgr.c) takes a guess instead, verifies it and pins
//! the page. After a wrong guess the page is looked up as usual. So hints need not be invalidated when pages
//! are evicted or a relation is rebuilt or dropped. All relations share one hash table of a fixed size, in
//! which a page replaces another page with the same entry.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_char;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys;

use crate::kernel;
use crate::page::PAGE_SIZE;
use crate::pg::compat::{charge_buffer_hit, count_buffer_hit, read_recent_buffer};

/// Largest number of hints, for all relations together: 4 MB of address space, of which only the used part
/// takes memory.
const MOST: usize = 1 << 19;

/// Number of pages that a VACUUM remembers to have read.
const RECENT: usize = 256;

/// The buffer in which a page was found.
#[derive(Clone, Copy)]
struct Hint {
    /// Identifies the page: a number of the relation, and those bits of the block number that do not select
    /// the entry.
    tag: u32,
    /// The buffer; 0 (`InvalidBuffer`) if not known.
    buffer: pg_sys::Buffer,
}

/// The hints of a relation, in the one table of the backend.
#[derive(Clone, Copy)]
pub struct BufferHints {
    /// The number of hints is a power of two, or zero. Hints of neighbouring pages are neighbours.
    hints: &'static [Cell<Hint>],
    /// The entry of block 0.
    first: u32,
    /// The relation's part of the tags.
    tag: u32,
    /// Number of bits of a block number that select the entry.
    bits: u32,
}

thread_local! {
    static HINTS: OnceCell<&'static [Cell<Hint>]> = const { OnceCell::new() };
    /// Pages that a VACUUM has read recently, each with its relation.
    static READ: RefCell<[(u32, u32); RECENT]> = const { RefCell::new([(0, 0); RECENT]) };
}

/// The table of this backend. It has twice as many hints as there are shared buffers, because more guesses
/// cannot be right. It is created once and kept.
fn table() -> &'static [Cell<Hint>] {
    // SAFETY: the number of buffers is fixed when the server starts.
    let buffers = unsafe { pg_sys::NBuffers.max(1) } as usize;
    let count = (2 * buffers).next_power_of_two().min(MOST);
    let Ok(layout) = Layout::array::<Cell<Hint>>(count) else { return &[] };
    // SAFETY: the layout is not empty; zeros are valid hints, which nobody else has and nobody frees.
    unsafe {
        let memory = alloc_zeroed(layout).cast::<Cell<Hint>>();
        match memory.is_null() {
            // Without memory there are no hints.
            true => &[],
            false => std::slice::from_raw_parts(memory, count),
        }
    }
}

impl BufferHints {
    /// The hints of an open relation.
    pub fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: the relation is open.
        let relation = unsafe { (*relation).rd_id }.to_u32();
        let hints = HINTS.with(|hints| *hints.get_or_init(table));
        let first = relation.wrapping_mul(0x9E37_79B1) >> 7;
        Self { hints, first, tag: relation, bits: hints.len().checked_ilog2().unwrap_or(0) }
    }

    /// The entry of a page, and its tag.
    #[inline]
    fn hint(&self, blkno: u32) -> Option<(&'static Cell<Hint>, u32)> {
        let at = blkno.wrapping_add(self.first) as usize & self.hints.len().wrapping_sub(1);
        let tag = self.tag ^ (blkno >> self.bits).wrapping_mul(0x85EB_CA6B);
        Some((self.hints.get(at)?, tag))
    }

    #[inline]
    fn guess(&self, blkno: u32) -> Option<pg_sys::Buffer> {
        let (hint, tag) = self.hint(blkno)?;
        let hint = hint.get();
        (hint.tag == tag && hint.buffer > 0).then_some(hint.buffer)
    }

    /// Pins a page that exists.
    pub fn pin(&self, relation: pg_sys::Relation, blkno: u32) -> pg_sys::Buffer {
        // SAFETY: the relation is open and the caller vouches for the block; a guess is the number of some
        // shared buffer, and their number never changes.
        unsafe {
            if let Some(buffer) = self.guess(blkno)
                && read_recent_buffer(relation, blkno, buffer)
            {
                count_buffer_hit(relation);
                charge_buffer_hit(|| !self.was_read_recently(blkno));
                #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
                use_once_more(buffer);
                return buffer;
            }
            let buffer = pg_sys::ReadBuffer(relation, blkno);
            self.remember(blkno, buffer);
            buffer
        }
    }

    /// Whether this VACUUM has read a page recently, so that its cost is counted already.
    ///
    /// The queries of a calibration read each list one after the other. After the first query its pages are
    /// in the processor's cache. When each read was counted, autovacuum slept four fifths of the time in
    /// which it replaced lists.
    fn was_read_recently(&self, blkno: u32) -> bool {
        let page = (self.tag, blkno);
        READ.with_borrow_mut(|read| std::mem::replace(&mut read[blkno as usize % RECENT], page) == page)
    }

    /// Remembers where a page was found.
    fn remember(&self, blkno: u32, buffer: pg_sys::Buffer) {
        if let Some((hint, tag)) = self.hint(blkno) {
            hint.set(Hint { tag, buffer });
        }
    }

    /// Prefetches bytes of a page, its header, its special area and its descriptor. Returns false if there is
    /// no hint for the page.
    pub fn prefetch(&self, blkno: u32, bytes: Range<usize>) -> bool {
        let Some(buffer) = self.guess(blkno) else { return false };
        // SAFETY: a global of the server; the address is computed, not read.
        let descriptor = unsafe { pg_sys::BufferDescriptors.wrapping_add(buffer as usize - 1).cast::<u8>() };
        let page = address(buffer);
        kernel::prefetch(descriptor, 1);
        kernel::prefetch(page, 1);
        kernel::prefetch(page.wrapping_add(PAGE_SIZE - 1), 1);
        kernel::prefetch(page.wrapping_add(bytes.start), bytes.len());
        true
    }

    /// Requests pages that this backend will read soon. Those that are still in the buffers of their hints
    /// are prefetched to the processor's caches. Others are requested from the disk, all at once, although
    /// they may be in shared buffers. Returns whether there was any of these.
    ///
    /// # Safety
    /// The relation is that of the hints, and is open. A page beyond its end is an error now or when it is
    /// read.
    pub unsafe fn request(&self, relation: pg_sys::Relation, pages: Range<u32>) -> bool {
        let mut requested = false;
        // SAFETY: the caller vouches for the relation; the setting is this backend's.
        let from_disk = unsafe {
            let temporary = (*(*relation).rd_rel).relpersistence == pg_sys::RELPERSISTENCE_TEMP as c_char;
            !temporary && pg_sys::effective_io_concurrency > 0
        };
        for blkno in pages {
            let here = self.guess(blkno).is_some_and(|buffer| may_hold(buffer, blkno));
            if here {
                self.prefetch(blkno, 0..0);
            } else if from_disk {
                // SAFETY: as above.
                unsafe { pg_sys::PrefetchBuffer(relation, pg_sys::ForkNumber::MAIN_FORKNUM, blkno) };
                requested = true;
            }
        }
        requested
    }

    /// The likely address of a page.
    pub fn address(&self, blkno: u32) -> Option<*const u8> {
        self.guess(blkno).map(address)
    }
}

/// Tells the clock sweep that a page is in use, as `PinBuffer` does at a first pin and, before PostgreSQL 19,
/// `ReadRecentBuffer` does not (bufmgr.c).
///
/// # Safety
/// The buffer is a shared one that this backend has pinned.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
unsafe fn use_once_more(buffer: pg_sys::Buffer) {
    // SAFETY: there are as many descriptors as buffers; the state of one that is pinned is changed by
    // compare-and-swap while its header is not locked, by everybody.
    unsafe {
        let descriptor = pg_sys::BufferDescriptors.add(buffer as usize - 1);
        let state = AtomicU32::from_ptr(&raw mut (*descriptor).bufferdesc.state.value);
        let old = state.load(Ordering::Relaxed);
        let used = (old & pg_sys::BUF_USAGECOUNT_MASK) >> pg_sys::BUF_USAGECOUNT_SHIFT;
        if used < pg_sys::BM_MAX_USAGE_COUNT && old & pg_sys::BM_LOCKED == 0 {
            // If another backend is changing the state, the page is in use anyway.
            let more = old + pg_sys::BUF_USAGECOUNT_ONE;
            let _ = state.compare_exchange(old, more, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Whether a shared buffer has a page of this number, of whichever relation: if not, the page that this
/// backend found there was evicted.
fn may_hold(buffer: pg_sys::Buffer, blkno: u32) -> bool {
    // SAFETY: there are as many descriptors as buffers. Others may change the aligned word meanwhile: whoever
    // uses the buffer verifies it.
    unsafe {
        let descriptor = pg_sys::BufferDescriptors.add(buffer as usize - 1);
        let number = AtomicU32::from_ptr(&raw mut (*descriptor).bufferdesc.tag.blockNum);
        number.load(Ordering::Relaxed) == blkno
    }
}

/// The address of the page in a shared buffer.
fn address(buffer: pg_sys::Buffer) -> *const u8 {
    // SAFETY: a global of the server; the address is computed, not read.
    unsafe { pg_sys::BufferBlocks.cast::<u8>().wrapping_add((buffer as usize - 1) * PAGE_SIZE) }
}
