//! Values of rows that others delete while a table is read.

use pgrx::pg_sys;

use crate::pg::storage::toast::{ToastReader, toast_pointer};

/// Reads vectors out of line of rows that were deleted. Such a row may become dead to everybody after the
/// scan has begun. Then its vector may be gone: VACUUM's own snapshot keeps nothing. Compressed values, and
/// those of more than a megabyte, are left to the server: if they are gone, the renewal fails, and the next
/// VACUUM tries it again.
pub(super) struct Leaving {
    toast: ToastReader,
    context: pg_sys::MemoryContext,
}

impl Leaving {
    /// To be used in the context in which VACUUM or a statement runs.
    pub(super) fn new() -> Self {
        // SAFETY: reading a global.
        Self { toast: ToastReader::default(), context: unsafe { pg_sys::CurrentMemoryContext } }
    }

    /// Ends the reading.
    pub(super) fn close(&mut self) {
        self.toast.close();
    }

    /// The value that a row has, or nothing if it is gone.
    ///
    /// # Safety
    /// The datum is the value of a row that a scan sees; a snapshot is active.
    pub(super) unsafe fn value(&mut self, datum: pg_sys::Datum) -> Option<pg_sys::Datum> {
        // SAFETY: the caller passes a row's value. The reader is closed before the context and the resource
        // owner of VACUUM or the statement go, which has a snapshot.
        unsafe {
            let Some(pointer) = toast_pointer(datum) else { return Some(datum) };
            let snapshot = pg_sys::GetActiveSnapshot();
            if !self.toast.prefetch(&pointer, snapshot, self.context) {
                return Some(datum);
            }
            self.toast.fetch(&pointer, snapshot, self.context)
        }
    }
}
