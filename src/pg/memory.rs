//! Memory for results.

use std::ffi::{c_int, c_void};

use pgrx::pg_sys;

/// The most that may be asked for without a flag (`MaxAllocSize`, utils/memutils.h).
const LARGEST: usize = 0x3fff_ffff;

unsafe extern "C-unwind" {
    // pgrx' binding of the same sets up a jump buffer.
    fn palloc_extended(size: usize, flags: c_int) -> *mut c_void;
}

/// Memory of the current context, maxaligned.
///
/// Told to return null in place of raising an error, the server's allocator jumps over no frame of ours, so that no
/// jump buffer has to be set up: it takes longer than the allocation.
pub fn allocate(size: usize) -> *mut u8 {
    let memory = match size <= LARGEST {
        // SAFETY: nothing is raised with this flag for such a size (palloc.h).
        true => unsafe { palloc_extended(size, pg_sys::MCXT_ALLOC_NO_OOM as c_int) },
        false => std::ptr::null_mut(),
    };
    if memory.is_null() {
        // SAFETY: any size may be asked for: this raises the error.
        return unsafe { pg_sys::palloc(size) }.cast();
    }
    memory.cast()
}
