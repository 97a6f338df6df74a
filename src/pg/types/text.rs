//! Results of type `cstring`: what output functions return.

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::pg::datum::alloc::allocate;

/// A NUL-terminated string in the current memory context.
pub struct Text {
    datum: pg_sys::Datum,
}

thread_local! {
    /// Memory to which texts are written before their length is known. It is reused, so that it stays in the
    /// processor's caches.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A larger buffer is not kept for the next text.
const KEPT: usize = 1 << 20;

/// Texts up to this length are written directly to the result. With the NUL after them they fill a size class
/// of the allocator.
const SHORT: usize = 127;

impl Text {
    /// The text that `write` writes to a buffer of `space` bytes; `write` returns its length.
    pub fn new(space: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        if space <= SHORT {
            let memory = allocate(SHORT + 1).cast::<[u8; SHORT + 1]>();
            // SAFETY: the memory has room for the array, and is nobody else's yet.
            let bytes = unsafe {
                memory.write([0; SHORT + 1]);
                &mut *memory
            };
            let length = write(&mut bytes[..space]);
            bytes[length] = 0;
            return Self { datum: pg_sys::Datum::from(memory) };
        }
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() < space {
                scratch.resize(space, 0);
            }
            let length = write(&mut scratch[..space]);
            let text = Self::copied(&scratch[..length]);
            if scratch.len() > KEPT {
                *scratch = Vec::new();
            }
            text
        })
    }

    fn copied(bytes: &[u8]) -> Self {
        let memory = allocate(bytes.len() + 1);
        // SAFETY: the memory has a byte more, and is nobody else's yet.
        unsafe {
            memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            memory.add(bytes.len()).write(0);
        }
        Self { datum: pg_sys::Datum::from(memory) }
    }

    /// The datum.
    pub fn into_raw(self) -> pg_sys::Datum {
        self.datum
    }
}
