//! Where values with a 1-byte header are copied to, so that they have one of four bytes and are aligned.
//! Memory of the caller: a call of the server's allocator would take longer than all else.

use std::mem::MaybeUninit;

/// Where the address of the stored value is.
const ORIGIN: usize = 136;

/// Memory for a value that has a 1-byte header: four bytes of another header, and up to 126 after it; then
/// the address of the value itself.
#[repr(align(16))]
pub struct AlignedCopy(MaybeUninit<[u8; ORIGIN + size_of::<*mut u8>()]>);

impl AlignedCopy {
    /// Nothing in it yet.
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

    /// Where the value came from that now starts there.
    ///
    /// # Safety
    /// It does, copied by [`AlignedCopy::copy`].
    pub unsafe fn origin(start: *mut u8) -> *mut u8 {
        // SAFETY: the caller vouches for the memory.
        unsafe { start.add(ORIGIN).cast::<*mut u8>().read() }
    }
}

/// Copies up to 126 bytes, up to 16 of them without a call of the C library's function: that takes longer
/// than the copy of so few, but its wide stores of more are what wide loads right after do not have to wait
/// for.
///
/// Few bytes are stored in parts that do not overlap, zeros after the last: what is loaded right after and
/// was stored twice would have to wait until both stores have reached the cache.
///
/// # Safety
/// So many bytes can be read there, and 16 or as many written; the places do not overlap.
#[inline(always)]
unsafe fn copy_few(from: *const u8, to: *mut u8, size: usize) {
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
            _ => to.copy_from_nonoverlapping(from, size),
        }
    }
}
