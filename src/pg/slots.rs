//! Where values with a 1-byte header are copied to, so that they have one of four bytes and are aligned.

use std::cell::{Cell, UnsafeCell};

/// Room for a value that has a 1-byte header: up to 126 bytes after it, and 4 of a header; then the address of the value
/// itself. Its size is a power of two, by which addresses are quickly divided.
#[repr(align(256))]
struct Slot(UnsafeCell<[u8; ORIGIN + 8]>);

/// Where in a slot the address is.
pub const ORIGIN: usize = 136;

/// Copies up to 126 bytes. A call of the C library's function takes longer than most of its copies of so few.
///
/// Up to 32 bytes are stored in parts that do not overlap, zeros after the last: what is loaded right after and was stored twice
/// would have to wait until both stores have reached the cache.
///
/// # Safety
/// So many bytes can be read there, and 32 or as many written; the places do not overlap.
#[inline(always)]
pub unsafe fn copy_few(from: *const u8, to: *mut u8, size: usize) {
    /// The number that begins so many bytes after the start.
    #[inline(always)]
    unsafe fn at<T: Copy>(from: *const u8, offset: usize) -> T {
        // SAFETY: the caller vouches for the bytes.
        unsafe { from.add(offset).cast::<T>().read_unaligned() }
    }
    // SAFETY: the caller vouches for all bytes, and no case reads others.
    unsafe {
        match size {
            _ if cfg!(target_endian = "big") => to.copy_from_nonoverlapping(from, size),
            4..=7 => {
                // The last bytes, without those that are among the first.
                let (first, last) = (at::<u32>(from, 0), u64::from(at::<u32>(from, size - 4)));
                let rest = (last >> (8 * (8 - size))) as u32;
                to.cast::<[u32; 2]>().write_unaligned([first, rest]);
            }
            8..=16 => {
                let (first, last) = (at::<u64>(from, 0), at::<u64>(from, size - 8));
                let rest = last.checked_shr(8 * (16 - size) as u32).unwrap_or(0);
                to.cast::<[u64; 2]>().write_unaligned([first, rest]);
            }
            17..=32 => {
                let (first, last) = (at::<u128>(from, 0), at::<u128>(from, size - 16));
                to.cast::<[u128; 2]>().write_unaligned([first, last >> (8 * (32 - size))]);
            }
            33..=64 => {
                let (first, last) = (at::<[u64; 4]>(from, 0), at::<[u64; 4]>(from, size - 32));
                to.cast::<[u64; 4]>().write_unaligned(first);
                to.add(size - 32).cast::<[u64; 4]>().write_unaligned(last);
            }
            _ => to.copy_from_nonoverlapping(from, size),
        }
    }
}

/// Room for as many such values as a function has arguments. A call of the server's allocator would take longer than
/// all else.
pub struct Slots {
    slots: [Slot; Slots::COUNT],
    /// A bit for each slot in use.
    used: Cell<u8>,
}

// SAFETY: values are made, used and dropped on the backend's main thread only, as all that has to do with datums.
unsafe impl Sync for Slots {}

/// The slots of this backend.
pub static SLOTS: Slots =
    Slots { slots: [const { Slot(UnsafeCell::new([0; ORIGIN + 8])) }; Slots::COUNT], used: Cell::new(0) };

impl Slots {
    const COUNT: usize = 4;

    /// A slot that nobody uses, from now on in use.
    pub fn take(&self) -> Option<*mut u8> {
        let free = (!self.used.get()).trailing_zeros() as usize;
        (free < Self::COUNT).then(|| {
            self.used.set(self.used.get() | 1 << free);
            self.slots[free].0.get().cast()
        })
    }

    /// A value's slot is free again.
    #[inline(always)]
    pub fn give_back(&self, slot: *mut u8) {
        let place = (slot.addr() - self.slots.as_ptr().addr()) / size_of::<Slot>();
        self.used.set(self.used.get() & !(1 << place));
    }
}
