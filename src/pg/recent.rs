//! Where the pages of an index or a table lay in shared buffers when this backend read them last.
//!
//! To find a page by its number costs several cache misses in the table of buffers, which was a sixth of a
//! warm scan. `ReadRecentBuffer` (storage/buffer/bufmgr.c) takes a guess instead, verifies it and pins the
//! page; a wrong guess costs nothing but the ordinary way. So nothing here needs to be invalidated: not when
//! pages are evicted, nor when a relation is rebuilt or dropped. All relations share one table of a fixed size: a page takes
//! the place of another one whose number or relation it happens to share it with.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys;

use super::compat::{charge_buffer_hit, count_buffer_hit, read_recent_buffer};
use crate::kernel;
use crate::page::PAGE_SIZE;

/// Pages remembered at most, of all relations together: 4 MB, of which only what is used takes memory.
const MOST: usize = 1 << 19;

/// Where a page was found.
#[derive(Clone, Copy)]
struct Place {
    /// Whose page it is, and the bits of its number that do not tell the place in the table.
    tag: u32,
    /// 0 (`InvalidBuffer`) for what is not known.
    buffer: pg_sys::Buffer,
}

/// What is remembered of a relation: its part of the one table that a backend has.
#[derive(Clone, Copy)]
pub struct Recent {
    /// As many as a power of two, or none. Neighbours lie side by side.
    places: &'static [Cell<Place>],
    /// Where block 0 would be.
    first: u32,
    /// The relation's part of the tags.
    tag: u32,
    /// Bits of a block's number that tell its place.
    bits: u32,
}

thread_local! {
    static PLACES: OnceCell<&'static [Cell<Place>]> = const { OnceCell::new() };
}

/// The table of this backend: twice as many places as there are shared buffers, for no more guesses can be right. It is
/// made once and kept.
fn table() -> &'static [Cell<Place>] {
    // SAFETY: the number of buffers is fixed when the server starts.
    let buffers = unsafe { pg_sys::NBuffers.max(1) } as usize;
    let count = (2 * buffers).next_power_of_two().min(MOST);
    let Ok(layout) = Layout::array::<Cell<Place>>(count) else { return &[] };
    // SAFETY: the layout is not empty; zeros are valid places, which nobody else has and nobody frees.
    unsafe {
        let memory = alloc_zeroed(layout).cast::<Cell<Place>>();
        match memory.is_null() {
            // Nothing is remembered then.
            true => &[],
            false => std::slice::from_raw_parts(memory, count),
        }
    }
}

impl Recent {
    /// What this backend remembers of an open relation.
    pub fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: the relation is open.
        let relation = unsafe { (*relation).rd_id }.to_u32();
        let places = PLACES.with(|places| *places.get_or_init(table));
        let first = relation.wrapping_mul(0x9E37_79B1) >> 7;
        Self { places, first, tag: relation, bits: places.len().checked_ilog2().unwrap_or(0) }
    }

    /// The place of a block and its tag.
    #[inline]
    fn place(&self, block: u32) -> Option<(&'static Cell<Place>, u32)> {
        let at = block.wrapping_add(self.first) as usize & self.places.len().wrapping_sub(1);
        let tag = self.tag ^ (block >> self.bits).wrapping_mul(0x85EB_CA6B);
        Some((self.places.get(at)?, tag))
    }

    #[inline]
    fn guess(&self, block: u32) -> Option<pg_sys::Buffer> {
        let (place, tag) = self.place(block)?;
        let place = place.get();
        (place.tag == tag && place.buffer > 0).then_some(place.buffer)
    }

    /// Pins a page that exists.
    pub fn pin(&self, relation: pg_sys::Relation, block: u32) -> pg_sys::Buffer {
        // SAFETY: the relation is open and the caller vouches for the block; a guess is the number of some
        // shared buffer, and their number never changes.
        unsafe {
            if let Some(buffer) = self.guess(block)
                && read_recent_buffer(relation, block, buffer)
            {
                count_buffer_hit(relation);
                charge_buffer_hit();
                use_once_more(buffer);
                return buffer;
            }
            let buffer = pg_sys::ReadBuffer(relation, block);
            self.remember(block, buffer);
            buffer
        }
    }

    /// Remembers where a page was found.
    pub fn remember(&self, block: u32, buffer: pg_sys::Buffer) {
        if let Some((place, tag)) = self.place(block) {
            place.set(Place { tag, buffer });
        }
    }

    /// Asks the processor for bytes of a page, its header, its special area and its descriptor. False if nothing is
    /// known of the page.
    pub fn touch(&self, block: u32, bytes: Range<usize>) -> bool {
        let Some(buffer) = self.guess(block) else { return false };
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
    pub fn address(&self, block: u32) -> Option<*const u8> {
        self.guess(block).map(address)
    }
}

/// Tells the clock sweep that a page is in use, as `PinBuffer` does at a first pin and `ReadRecentBuffer` does not (bufmgr.c).
///
/// # Safety
/// The buffer is a shared one that this backend has pinned.
unsafe fn use_once_more(buffer: pg_sys::Buffer) {
    // SAFETY: there are as many descriptors as buffers; the state of one that is pinned is changed by compare-and-swap
    // while its header is not locked, by everybody.
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
