//! Prefetching: asking the processor to load data before it is needed.

/// Asks the processor for as many bytes as these, `ahead` bytes (wrapping) after them; not if that is 0.
#[inline]
pub fn prefetch_ahead(bytes: &[u8], ahead: usize) {
    if ahead != 0 {
        prefetch(bytes.as_ptr().wrapping_add(ahead), bytes.len());
    }
}

/// Asks the processor to load `bytes` bytes from `at` on. This is only a hint: any address is allowed, and
/// nothing is read from it by the program.
#[inline]
pub fn prefetch(at: *const u8, bytes: usize) {
    const LINE: usize = 64;
    let first = at.map_addr(|a| a & !(LINE - 1));
    for line in (0..bytes + at.addr() % LINE).step_by(LINE) {
        let line = first.wrapping_add(line);
        // SAFETY: a prefetch neither faults nor changes what the program sees, whatever the address.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{0}]",
                in(reg) line,
                options(nostack, readonly, preserves_flags)
            );
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }
}
