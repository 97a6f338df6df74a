//! Locks on the pages of buffers (bufmgr.h).
//!
//! pgrx saves the registers at each call of the server, so that an ERROR becomes a panic. This takes a tenth
//! of the time to visit a page. The functions of the block below raise no error if they are called correctly
//! (bufmgr.c, lwlock.c). Their only errors are: an invalid buffer number or lock mode, a lock or pin that is
//! not held, and two hundred locks held at once. Before PostgreSQL 19 they allocate nothing. From 19 on a
//! lock is noted beside its pin, which may grow a table of pins if more than eight buffers are pinned.

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
    #[link_name = "LockBuffer"]
    fn lock_in_mode(buffer: pg_sys::Buffer, mode: i32);

    // `LockBuffer` is an inline function that calls one of these two.
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
    #[link_name = "LockBufferInternal"]
    fn lock_in_mode(buffer: pg_sys::Buffer, mode: u32);
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
    #[link_name = "UnlockBuffer"]
    fn unlock_it(buffer: pg_sys::Buffer);

    #[link_name = "UnlockReleaseBuffer"]
    fn unlock_and_release(buffer: pg_sys::Buffer);
}

/// Locks a page for reading.
///
/// # Safety
/// This backend has pinned the buffer, and has not locked it.
#[inline]
pub unsafe fn lock_shared(buffer: pg_sys::Buffer) {
    // SAFETY: the caller vouches for the buffer.
    unsafe { lock_in_mode(buffer, pg_sys::BUFFER_LOCK_SHARE as _) }
}

/// Locks a page for writing.
///
/// # Safety
/// As for [`lock_shared`].
pub unsafe fn lock_exclusive(buffer: pg_sys::Buffer) {
    // SAFETY: the caller vouches for the buffer.
    unsafe { pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as _) }
}

/// Gives back a lock; the pin stays.
///
/// # Safety
/// This backend has pinned and locked the buffer.
#[inline]
pub unsafe fn unlock(buffer: pg_sys::Buffer) {
    // SAFETY: the caller vouches for the buffer.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
        lock_in_mode(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        unlock_it(buffer);
    }
}

/// Gives back a lock and its pin.
///
/// # Safety
/// As for [`unlock`].
#[inline]
pub unsafe fn unlock_release(buffer: pg_sys::Buffer) {
    // SAFETY: the caller vouches for the buffer.
    unsafe { unlock_and_release(buffer) }
}
