//! Results of type `cstring`: what output functions return.

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::pg::memory::allocate;

/// A NUL-terminated string in the current memory context.
pub struct Text {
    datum: pg_sys::Datum,
}

thread_local! {
    /// Where texts are written before their length is known: memory that stays in the processor's caches.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// More than this is not kept for the next text.
const KEPT: usize = 1 << 20;

impl Text {
    /// The text that `write` writes to `space` bytes; it returns the length.
    pub fn new(space: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() < space {
                scratch.resize(space, 0);
            }
            let length = write(&mut scratch[..space]);
            let memory = allocate(length + 1);
            // SAFETY: the memory has that many bytes, and is nobody else's yet.
            unsafe {
                memory.copy_from_nonoverlapping(scratch[..length].as_ptr(), length);
                memory.add(length).write(0);
            }
            if scratch.len() > KEPT {
                *scratch = Vec::new();
            }
            Self { datum: pg_sys::Datum::from(memory) }
        })
    }

    /// The datum.
    pub fn into_raw(self) -> pg_sys::Datum {
        self.datum
    }
}
