//! The allocator of this library, with a reserve that is used when there is no memory left.
//!
//! Rust aborts the process if an allocation fails, unless it may fail, as all that grow with data may
//! (`memory.rs`). An allocator may neither unwind nor jump. So if one of the other, small allocations fails
//! (texts of errors, boxes, short vectors, the unwinding itself), it is served from a reserve that every
//! backend has from the start. [`check`] then raises the error at the next place where this is possible. That
//! is in the same transaction: if this ends well, somebody may keep what it has taken, such as a cache, and
//! later statements have all the memory that they ask for.
//!
//! The reserve is a part of the library's own zeroed data: it takes address space, but no memory before it is
//! used.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Error, Kind};
use crate::memory::{CHUNK, CHUNKS, Reserve, may_fail};
use crate::pg::error::raise;

/// The alignment of the reserve, and the largest that it serves: that of the queues of a pool of threads
/// (`CachePadded` of crossbeam).
const ALIGN: usize = 128;

#[repr(C, align(128))]
struct Bytes(UnsafeCell<[u8; CHUNK * CHUNKS]>);

// SAFETY: parts of it are given out under the lock, each to one owner.
unsafe impl Sync for Bytes {}

static BYTES: Bytes = Bytes(UnsafeCell::new([0; CHUNK * CHUNKS]));

/// The reserve's bookkeeping, under a lock that is held for a few instructions only.
struct Guarded {
    locked: AtomicBool,
    reserve: UnsafeCell<Reserve>,
}

// SAFETY: the reserve is used under the lock only.
unsafe impl Sync for Guarded {}

static RESERVE: Guarded =
    Guarded { locked: AtomicBool::new(false), reserve: UnsafeCell::new(Reserve::new()) };

/// Whether the reserve was needed since the last [`check`].
static SHORT: AtomicBool = AtomicBool::new(false);

impl Guarded {
    fn with<R>(&self, f: impl FnOnce(&mut Reserve) -> R) -> R {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            // The holder may be a thread of a build that is not running at the moment.
            std::thread::yield_now();
        }
        // SAFETY: the lock is held, and nothing in `f` allocates or panics.
        let result = f(unsafe { &mut *self.reserve.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

/// The offset of a pointer in the reserve, or `None` if it is not in the reserve.
fn place(pointer: *const u8) -> Option<usize> {
    let at = (pointer as usize).wrapping_sub(BYTES.0.get() as usize);
    (at < CHUNK * CHUNKS).then_some(at)
}

#[cold]
#[inline(never)]
fn take(layout: Layout) -> *mut u8 {
    if layout.align() > ALIGN || may_fail() {
        return std::ptr::null_mut();
    }
    let taken = RESERVE.with(|reserve| {
        if !SHORT.swap(true, Ordering::Relaxed) {
            reserve.begin();
        }
        reserve.take(layout.size(), layout.align())
    });
    match taken {
        // SAFETY: the place is one within the bytes.
        Some(at) => unsafe { BYTES.0.get().cast::<u8>().add(at) },
        None => std::ptr::null_mut(),
    }
}

#[cold]
#[inline(never)]
fn give(at: usize, size: usize) {
    RESERVE.with(|reserve| reserve.give(at, size));
}

struct Reserving;

#[global_allocator]
static ALLOCATOR: Reserving = Reserving;

// SAFETY: what the system gives is passed on, and given back to it; what is from the reserve is told by its
// address, has the size and alignment asked for, and belongs to one owner until it is given back. Nothing
// here unwinds.
unsafe impl GlobalAlloc for Reserving {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for the layout.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() { take(layout) } else { memory }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for the layout.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            return memory;
        }
        let memory = take(layout);
        if !memory.is_null() {
            // SAFETY: the reserve gave so many bytes.
            unsafe { memory.write_bytes(0, layout.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match place(memory) {
            Some(at) => give(at, layout.size()),
            // SAFETY: the caller vouches for pointer and layout, and it is the system's.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if place(memory).is_none() {
            // SAFETY: the caller vouches for all, and the memory is the system's.
            let larger = unsafe { System.realloc(memory, layout, size) };
            if !larger.is_null() {
                return larger;
            }
        }
        // SAFETY: the new layout is a valid one, as the caller says of its size; both have the bytes that are
        // copied.
        unsafe {
            let larger = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !larger.is_null() {
                larger.copy_from_nonoverlapping(memory, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            larger
        }
    }
}

/// Called when the library is loaded.
pub fn init() {
    // SAFETY: the server keeps the callback for the life of the backend.
    unsafe { pg_sys::RegisterXactCallback(Some(end_of_transaction), std::ptr::null_mut()) };
}

/// A shortage ends with its transaction.
#[pg_guard]
unsafe extern "C-unwind" fn end_of_transaction(_event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    SHORT.store(false, Ordering::Relaxed);
}

/// Raises an error if the reserve was needed and is still in use. It is called where an error may be raised,
/// and often enough: at every page read, every row of a table and every tick of longer work.
#[inline]
pub fn check() {
    if SHORT.load(Ordering::Relaxed) {
        short();
    }
}

#[cold]
#[inline(never)]
fn short() {
    SHORT.store(false, Ordering::Relaxed);
    if RESERVE.with(|reserve| reserve.is_used()) {
        let detail = "vector_search has used memory that it keeps in reserve.";
        raise(Error::new(Kind::OutOfMemory, "out of memory").with_detail(detail));
    }
}
