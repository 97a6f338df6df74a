//! Allocation that can fail, for every size that grows with data, and the bookkeeping of a backend's reserve.
//!
//! Rust aborts the process when an ordinary allocation fails, and PostgreSQL then restarts every session. So
//! vectors that grow with data are allocated by these functions, which return an [`Error`] on failure. If a
//! small allocation fails, the reserve of `pg/allocator.rs` serves it until the error can be raised.

use std::cell::Cell;

use crate::error::{Error, Kind, Result};

thread_local! {
    /// Whether this thread makes an allocation that may fail.
    static MAY_FAIL: Cell<bool> = const { Cell::new(false) };
}

/// Whether the allocation that this thread makes may fail. It then takes nothing from the reserve, which
/// would be used up by what grows with data.
pub fn may_fail() -> bool {
    MAY_FAIL.get()
}

/// Makes an allocation that may fail.
pub fn fallibly<R>(allocate: impl FnOnce() -> R) -> R {
    MAY_FAIL.set(true);
    let result = allocate();
    MAY_FAIL.set(false);
    result
}

/// The error for `bytes` that cannot be allocated.
#[cold]
pub fn out_of_memory(bytes: usize) -> Error {
    Error::new(Kind::OutOfMemory, "out of memory")
        .with_detail(format!("Failed on a request of {bytes} bytes by vector_search."))
}

/// An empty vector with room for `n` elements.
///
/// # Errors
/// Out of memory.
pub fn with_capacity<T>(n: usize) -> Result<Vec<T>> {
    let mut out = Vec::new();
    fallibly(|| out.try_reserve_exact(n)).map_err(|_| out_of_memory(n.saturating_mul(size_of::<T>())))?;
    Ok(out)
}

/// A vector of `n` equal elements.
///
/// # Errors
/// Out of memory.
pub fn filled<T: Clone>(value: T, n: usize) -> Result<Vec<T>> {
    let mut out = with_capacity(n)?;
    out.resize(n, value);
    Ok(out)
}

/// All items of an iterator of known length.
///
/// # Errors
/// Out of memory.
pub fn collected<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut out = with_capacity(items.len())?;
    out.extend(items);
    Ok(out)
}

/// Fails if `bytes` cannot be allocated now. Frees them at once.
///
/// For work that allocates many small pieces: the check is made before the work begins.
///
/// # Errors
/// Out of memory.
pub fn room(bytes: usize) -> Result<()> {
    // Allocated in pieces, because the address space need not be contiguous. A piece is larger than glibc's
    // largest mmap threshold, so that freeing it does not change the threshold.
    const PIECE: usize = 64 << 20;
    let mut held = with_capacity::<Vec<u8>>(bytes.div_ceil(PIECE))?;
    let mut left = bytes;
    while left > 0 {
        let piece = with_capacity::<u8>(left.min(PIECE)).map_err(|_| out_of_memory(bytes))?;
        // Otherwise the compiler could remove the unused allocation.
        std::hint::black_box(piece.as_ptr());
        left -= left.min(PIECE);
        held.push(piece);
    }
    Ok(())
}

/// Growth that can fail.
pub trait Grow<T> {
    /// Room for `more` elements.
    ///
    /// # Errors
    /// Out of memory.
    fn grow(&mut self, more: usize) -> Result<()>;

    /// Adds an element.
    ///
    /// # Errors
    /// Out of memory.
    fn try_push(&mut self, item: T) -> Result<()>;

    /// Adds the elements of a slice.
    ///
    /// # Errors
    /// Out of memory.
    fn try_extend(&mut self, items: &[T]) -> Result<()>
    where
        T: Clone;

    /// Makes it `n` elements long.
    ///
    /// # Errors
    /// Out of memory.
    fn try_resize(&mut self, n: usize, value: T) -> Result<()>
    where
        T: Clone;
}

impl<T> Grow<T> for Vec<T> {
    #[inline]
    fn grow(&mut self, more: usize) -> Result<()> {
        if self.capacity() - self.len() >= more {
            return Ok(());
        }
        let bytes = self.len().saturating_add(more).saturating_mul(size_of::<T>());
        // Doubles the capacity or, if that fails, allocates just enough.
        fallibly(|| self.try_reserve(more).or_else(|_| self.try_reserve_exact(more)))
            .map_err(|_| out_of_memory(bytes))
    }

    #[inline]
    fn try_push(&mut self, item: T) -> Result<()> {
        self.grow(1)?;
        self.push(item);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, items: &[T]) -> Result<()>
    where
        T: Clone,
    {
        self.grow(items.len())?;
        self.extend_from_slice(items);
        Ok(())
    }

    #[inline]
    fn try_resize(&mut self, n: usize, value: T) -> Result<()>
    where
        T: Clone,
    {
        self.grow(n.saturating_sub(self.len()))?;
        self.resize(n, value);
        Ok(())
    }
}

/// Bytes of a reserve's chunk.
pub const CHUNK: usize = 64 << 10;
/// Chunks of a reserve: 4 MB in all.
pub const CHUNKS: usize = 64;
/// The largest request that a reserve serves.
pub const MOST: usize = CHUNK * CHUNKS / 2;

/// Which parts of a reserve are in use. Small requests are served from a chunk one after the other, and the
/// chunk is free again when the last of them is freed. A larger request takes as many chunks as it needs.
pub struct Reserve {
    /// Bytes of each chunk that are given out.
    cut: [u32; CHUNKS],
    /// Number of requests that use a part of each chunk.
    live: [u32; CHUNKS],
    /// The chunk that was cut last.
    open: usize,
    /// Number of requests that were in use when memory became short.
    kept: u32,
}

impl Reserve {
    /// All of it is free.
    pub const fn new() -> Self {
        Self { cut: [0; CHUNKS], live: [0; CHUNKS], open: 0, kept: 0 }
    }

    fn in_use(&self) -> u32 {
        self.live.iter().sum()
    }

    /// Memory has become short. What is in use by now does not count in [`Reserve::is_used`]: it was taken
    /// in an earlier shortage, and somebody keeps it, such as a cache.
    pub fn begin(&mut self) {
        self.kept = self.in_use();
    }

    /// Whether more is in use than there was when memory became short.
    pub fn is_used(&self) -> bool {
        self.in_use() > self.kept
    }

    /// Reserves `size` bytes and returns their offset, a multiple of `align`. `align` is a power of two that
    /// divides [`CHUNK`].
    pub fn take(&mut self, size: usize, align: usize) -> Option<usize> {
        if size > MOST || align > CHUNK || !align.is_power_of_two() {
            return None;
        }
        if size > CHUNK {
            let chunks = size.div_ceil(CHUNK);
            let first = (0..=CHUNKS - chunks).find(|&c| self.live[c..c + chunks].iter().all(|&l| l == 0))?;
            self.live[first..first + chunks].fill(1);
            self.cut[first..first + chunks].fill(CHUNK as u32);
            return Some(first * CHUNK);
        }
        let chunk = (0..CHUNKS).map(|i| (self.open + i) % CHUNKS).find(|&c| self.fits(c, size, align))?;
        let at = self.free_from(chunk).next_multiple_of(align);
        self.cut[chunk] = (at + size) as u32;
        self.live[chunk] += 1;
        self.open = chunk;
        Some(chunk * CHUNK + at)
    }

    fn free_from(&self, chunk: usize) -> usize {
        if self.live[chunk] == 0 { 0 } else { self.cut[chunk] as usize }
    }

    fn fits(&self, chunk: usize, size: usize, align: usize) -> bool {
        self.free_from(chunk).next_multiple_of(align) + size <= CHUNK
    }

    /// Frees what [`Reserve::take`] has reserved.
    pub fn give(&mut self, at: usize, size: usize) {
        let (chunk, at) = (at / CHUNK, at % CHUNK);
        if size > CHUNK {
            self.live[chunk..chunk + size.div_ceil(CHUNK)].fill(0);
            return;
        }
        self.live[chunk] -= 1;
        if at + size == self.cut[chunk] as usize {
            // The part that was given out last can be reused at once. This is the usual case: a growing
            // vector frees its old memory.
            self.cut[chunk] = at as u32;
        }
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let huge = usize::MAX / 4;
        assert_eq!(filled(0u8, huge).unwrap_err().kind, Kind::OutOfMemory);
        assert_eq!(with_capacity::<u64>(huge).unwrap_err().kind, Kind::OutOfMemory);
        assert_eq!(room(1 << 62).unwrap_err().kind, Kind::OutOfMemory);
        let mut v = vec![1u32];
        assert_eq!(v.try_resize(huge, 0).unwrap_err().kind, Kind::OutOfMemory);
        assert!(v.grow(huge).unwrap_err().detail.is_some_and(|d| d.contains("bytes")));
        assert_eq!(v, [1], "what was there stays");
        v.try_extend(&[2, 3]).unwrap();
        v.try_push(4).unwrap();
        v.try_resize(5, 9).unwrap();
        assert_eq!(v, [1, 2, 3, 4, 9]);
        room(1 << 20).unwrap();
    }

    #[test]
    fn parts_of_a_reserve_never_overlap_and_all_comes_back() {
        let mut reserve = Reserve::new();
        let mut random = SplitMix64(7);
        let mut held: Vec<(usize, usize)> = Vec::new();
        let (mut given, mut refused) = (0, 0);
        for _ in 0..20_000 {
            if random.below(100) < 52 {
                let size = match random.below(40) {
                    0 => 1 + random.below(MOST),
                    1..=5 => 1 + random.below(CHUNK),
                    _ => 1 + random.below(300),
                };
                let align = 1 << random.below(7);
                match reserve.take(size, align) {
                    Some(at) => {
                        assert!(at % align == 0 && at + size <= CHUNK * CHUNKS);
                        assert!(held.iter().all(|&(a, s)| at + size <= a || a + s <= at), "overlap");
                        held.push((at, size));
                        given += 1;
                    }
                    None => refused += 1,
                }
            } else if !held.is_empty() {
                let (at, size) = held.swap_remove(random.below(held.len()));
                reserve.give(at, size);
            }
        }
        assert!(given > 5000 && refused > 10, "{given} {refused}");
        held.drain(..).for_each(|(at, size)| reserve.give(at, size));
        assert_eq!(reserve.in_use(), 0);
        assert!(reserve.take(MOST, 16).is_some() && reserve.take(MOST, 16).is_some());
        assert!(reserve.take(1, 1).is_none() && reserve.take(MOST + 1, 1).is_none());
    }
    #[test]
    fn what_somebody_keeps_of_a_reserve_is_not_used_in_the_next_shortage() {
        let mut reserve = Reserve::new();
        reserve.begin();
        assert!(!reserve.is_used());
        let kept = reserve.take(100, 8).unwrap();
        assert!(reserve.is_used(), "in the shortage in which it was taken");
        reserve.begin();
        assert!(!reserve.is_used());
        let more = reserve.take(CHUNK + 1, 8).unwrap();
        assert!(reserve.is_used());
        reserve.give(more, CHUNK + 1);
        assert!(!reserve.is_used());
        reserve.give(kept, 100);
        assert!(!reserve.is_used());
    }
}
