//! Where the pages of an index or a table lay in shared buffers when this backend read them last.
//!
//! To find a page by its number costs several cache misses in the table of buffers, which was a sixth of a
//! warm scan. `ReadRecentBuffer` (storage/buffer/bufmgr.c) takes a guess instead, verifies it and pins the
//! page; a wrong guess costs nothing but the ordinary way. So nothing here needs to be invalidated: not when
//! pages are evicted, nor when a relation is rebuilt or dropped. All relations share one table of a fixed
//! size: a page takes the place of another one whose number or relation it happens to share it with.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys;

use crate::kernel;
use crate::page::PAGE_SIZE;
use crate::pg::compat::{charge_buffer_hit, count_buffer_hit, read_recent_buffer};

/// Pages remembered at most, of all relations together: 4 MB, of which only what is used takes memory.
const MOST: usize = 1 << 19;

/// The buffer in which a page was found.
#[derive(Clone, Copy)]
struct Hint {
    /// Whose page it is, and the bits of its number that do not tell its entry in the table.
    tag: u32,
    /// 0 (`InvalidBuffer`) for what is not known.
    buffer: pg_sys::Buffer,
}

/// What is remembered of a relation: its part of the one table that a backend has.
#[derive(Clone, Copy)]
pub struct BufferHints {
    /// As many as a power of two, or none. Neighbours lie side by side.
    hints: &'static [Cell<Hint>],
    /// Where block 0 would be.
    first: u32,
    /// The relation's part of the tags.
    tag: u32,
    /// Bits of a block's number that tell its entry.
    bits: u32,
}

thread_local! {
    static HINTS: OnceCell<&'static [Cell<Hint>]> = const { OnceCell::new() };
}

/// The table of this backend: twice as many hints as there are shared buffers, for no more guesses can be
/// right. It is made once and kept.
fn table() -> &'static [Cell<Hint>] {
    // SAFETY: the number of buffers is fixed when the server starts.
    let buffers = unsafe { pg_sys::NBuffers.max(1) } as usize;
    let count = (2 * buffers).next_power_of_two().min(MOST);
    let Ok(layout) = Layout::array::<Cell<Hint>>(count) else { return &[] };
    // SAFETY: the layout is not empty; zeros are valid hints, which nobody else has and nobody frees.
    unsafe {
        let memory = alloc_zeroed(layout).cast::<Cell<Hint>>();
        match memory.is_null() {
            // Nothing is remembered then.
            true => &[],
            false => std::slice::from_raw_parts(memory, count),
        }
    }
}

impl BufferHints {
    /// What this backend remembers of an open relation.
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
                charge_buffer_hit();
                use_once_more(buffer);
                return buffer;
            }
            let buffer = pg_sys::ReadBuffer(relation, blkno);
            self.remember(blkno, buffer);
            buffer
        }
    }

    /// Remembers where a page was found.
    pub fn remember(&self, blkno: u32, buffer: pg_sys::Buffer) {
        if let Some((hint, tag)) = self.hint(blkno) {
            hint.set(Hint { tag, buffer });
        }
    }

    /// Asks the processor for bytes of a page, its header, its special area and its descriptor. False if
    /// nothing is known of the page.
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

    /// Where a page likely lies.
    pub fn address(&self, blkno: u32) -> Option<*const u8> {
        self.guess(blkno).map(address)
    }
}

/// Tells the clock sweep that a page is in use, as `PinBuffer` does at a first pin and `ReadRecentBuffer`
/// does not (bufmgr.c).
///
/// # Safety
/// The buffer is a shared one that this backend has pinned.
unsafe fn use_once_more(buffer: pg_sys::Buffer) {
    // SAFETY: there are as many descriptors as buffers; the state of one that is pinned is changed by
    // compare-and-swap while its header is not locked, by everybody.
    unsafe {
        let descriptor = pg_sys::BufferDescriptors.add(buffer as usize - 1);
        let state = AtomicU32::from_ptr(&raw mut (*descriptor).bufferdesc.state.value);
        let old = state.load(Ordering::Relaxed);
        let used = (old & pg_sys::BUF_USAGECOUNT_MASK) >> pg_sys::BUF_USAGECOUNT_SHIFT;
        if used < pg_sys::BM_MAX_USAGE_COUNT && old & pg_sys::BM_LOCKED == 0 {
            // Where somebody else is at it, the page is in use anyway.
            let more = old + pg_sys::BUF_USAGECOUNT_ONE;
            let _ = state.compare_exchange(old, more, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Where the page in a shared buffer lies.
fn address(buffer: pg_sys::Buffer) -> *const u8 {
    // SAFETY: a global of the server; the address is computed, not read.
    unsafe { pg_sys::BufferBlocks.cast::<u8>().wrapping_add((buffer as usize - 1) * PAGE_SIZE) }
}
