//! Memory for results.

use std::ffi::{c_int, c_void};

use pgrx::pg_sys;

/// The largest allocation without a flag (`MaxAllocSize`, utils/memutils.h).
const LARGEST: usize = 0x3fff_ffff;

unsafe extern "C-unwind" {
    // The binding of pgrx sets up a jump buffer.
    fn palloc_extended(size: usize, flags: c_int) -> *mut c_void;
}

/// Memory of the current context, maxaligned.
///
/// The server's allocator is told to return null instead of raising an error. So it jumps over no frame of
/// ours, and no jump buffer is needed, which would take longer than the allocation itself.
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

/// A memory context for short-lived allocations that occur many times; or none, if nothing will be allocated.
pub struct Scratch(pg_sys::MemoryContext);

impl Scratch {
    /// A context that lives as long as the current one.
    pub fn new(needed: bool) -> Self {
        if !needed {
            return Self(std::ptr::null_mut());
        }
        // SAFETY: a child of the current context, which is freed with it.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"ivf filter columns".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            )
        })
    }

    /// Runs `work` in the context, and then resets the context. The result must not be in it.
    pub fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.0.is_null() {
            return work();
        }
        // SAFETY: the context lives as long as this. If an ERROR unwinds, its handler sets the current
        // context.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.0);
            let result = work();
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(self.0);
            result
        }
    }
}
