//! Memory of the caller to which values with a 1-byte header are copied, so that they have a 4-byte header
//! and are aligned. A call of the server's allocator would take longer than the rest of the function.

use std::mem::MaybeUninit;

/// Offset of the address of the original.
const ORIGIN: usize = 136;

/// Memory for a copy of a value that has a 1-byte header: a 4-byte header, up to 126 bytes after it, and the
/// address of the original.
#[repr(align(16))]
pub struct AlignedCopy(MaybeUninit<[u8; ORIGIN + size_of::<*mut u8>()]>);

impl AlignedCopy {
    /// Empty memory.
    #[inline(always)]
    pub fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Copies a value here; returns its new start.
    ///
    /// # Safety
    /// It has a 1-byte header and is not out of line.
    #[inline(always)]
    pub unsafe fn copy(&mut self, stored: *mut u8) -> *mut u8 {
        let start = self.0.as_mut_ptr().cast::<u8>();
        // SAFETY: such a value is as long as its header says, 127 bytes at most with it, which this has room
        // for.
        unsafe {
            let size = pgrx::varsize_1b(stored.cast()) - 1;
            pgrx::set_varsize_4b(start.cast(), size as i32 + 4);
            copy_few(stored.add(1), start.add(4), size);
            start.add(ORIGIN).cast::<*mut u8>().write(stored);
        }
        start
    }

    /// The address of the original of a value that was copied to `start`.
    ///
    /// # Safety
    /// [`AlignedCopy::copy`] copied a value to `start`.
    pub unsafe fn origin(start: *mut u8) -> *mut u8 {
        // SAFETY: the caller vouches for the memory.
        unsafe { start.add(ORIGIN).cast::<*mut u8>().read() }
    }
}

/// Copies up to 126 bytes. Up to 16 bytes are copied inline, because a call of the C library's function would
/// take longer. For more bytes that function is called: it uses wide stores, so that wide loads right after
/// them hit store forwarding.
///
/// The inline copy stores parts that do not overlap, with zeros after the last byte. If two stores
/// overlapped, a load of these bytes would miss store forwarding.
///
/// # Safety
/// `size` bytes can be read at `from`, and the larger of `size` and 16 bytes written at `to`; the two do not
/// overlap.
#[inline(always)]
unsafe fn copy_few(from: *const u8, to: *mut u8, size: usize) {
    /// The number at an offset.
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
                // The last bytes, without those that are among the first ones.
                let (first, last) = (at::<u32>(from, 0), u64::from(at::<u32>(from, size - 4)));
                let rest = (last >> (8 * (8 - size))) as u32;
                to.cast::<[u32; 2]>().write_unaligned([first, rest]);
            }
            8..=16 => {
                let (first, last) = (at::<u64>(from, 0), at::<u64>(from, size - 8));
                let rest = last.checked_shr(8 * (16 - size) as u32).unwrap_or(0);
                to.cast::<[u64; 2]>().write_unaligned([first, rest]);
            }
            _ => to.copy_from_nonoverlapping(from, size),
        }
    }
}
