//! Where the pages of an index or a table lay in shared buffers when this backend read them last.
//!
//! To find a page by its number costs several cache misses in the table of buffers, which was a sixth of a
//! warm scan. `ReadRecentBuffer` (storage/buffer/bufmgr.c) takes a guess instead, verifies it and pins the
//! page; a wrong guess costs nothing but the ordinary way. So nothing here needs to be invalidated: not when
//! pages are evicted, nor when a relation is rebuilt or dropped.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys;

use super::compat::{charge_buffer_hit, count_buffer_hit, read_recent_buffer};
use crate::kernel;
use crate::page::PAGE_SIZE;

/// Relations remembered, at most: a scan reads three, its index, its table and that's TOAST.
const MOST_RELATIONS: usize = 192;

/// What is remembered of a relation.
pub struct Recent {
    relation: pg_sys::Oid,
    /// The bits of a block's number by which it is remembered: no more blocks can be right than there are shared buffers.
    mask: u32,
    /// By these bits; 0 (`InvalidBuffer`) for what is not known.
    buffers: RefCell<Vec<pg_sys::Buffer>>,
}

thread_local! {
    static KEPT: RefCell<Vec<Rc<Recent>>> = RefCell::default();
}

impl Recent {
    /// What this backend remembers of an open relation.
    pub fn of(relation: pg_sys::Relation) -> Rc<Self> {
        // SAFETY: the relation is open; the number of buffers is fixed when the server starts.
        let (relation, most) = unsafe { ((*relation).rd_id, pg_sys::NBuffers.max(1)) };
        let mask = (most as u32).next_power_of_two() - 1;
        KEPT.with_borrow_mut(|kept| {
            if let Some(at) = kept.iter().position(|r| r.relation == relation) {
                // The one used last comes first.
                kept[..=at].rotate_right(1);
            } else {
                kept.truncate(MOST_RELATIONS - 1);
                kept.insert(0, Rc::new(Self { relation, mask, buffers: RefCell::default() }));
            }
            Rc::clone(&kept[0])
        })
    }

    fn guess(&self, block: u32) -> Option<pg_sys::Buffer> {
        self.buffers.borrow().get((block & self.mask) as usize).copied().filter(|&buffer| buffer > 0)
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
        let mut buffers = self.buffers.borrow_mut();
        let at = (block & self.mask) as usize;
        if buffers.len() <= at {
            buffers.resize(at + 1, 0);
        }
        buffers[at] = buffer;
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
