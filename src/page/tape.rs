//! Tapes: bytes laid over consecutive pages of one kind, such as the origin vector and the directory.

use super::page::{CONTENT_SIZE, Page, PageKind};
use super::store::Store;
use crate::error::Result;
use crate::memory::Grow;

/// Pages that `bytes` bytes take.
pub fn pages(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(CONTENT_SIZE)).unwrap_or(u32::MAX)
}

/// Calls `emit` with each page of the tape in order; the pages belong to `owner`.
pub fn write(
    (kind, owner): (PageKind, u32),
    bytes: &[u8],
    mut emit: impl FnMut(Page) -> Result<()>,
) -> Result<()> {
    for chunk in bytes.chunks(CONTENT_SIZE) {
        let mut page = Page::zeroed();
        page.init(kind, owner);
        page.content_mut()[..chunk.len()].copy_from_slice(chunk);
        emit(page)?;
    }
    Ok(())
}

/// Reads `len` bytes that start at page `first`, from pages that belong to `owner`.
pub fn read<S: Store>(store: &S, first: u32, (kind, owner): (PageKind, u32), len: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    // The buffer grows page by page, so that a damaged length causes an error at the end of the file and not
    // a huge allocation.
    each_page(store, first, (kind, owner), len, |bytes| out.try_extend(bytes))?;
    Ok(out)
}

/// An error unless the last page of the tape belongs to it, as none does if the length is damaged.
///
/// # Errors
/// Damage, or the store's errors.
pub fn expect_last<S: Store>(
    store: &S,
    first: u32,
    (kind, owner): (PageKind, u32),
    len: usize,
) -> Result<()> {
    let last = first.saturating_add(pages(len).saturating_sub(1));
    store.read(last)?.expect_owned(last, kind, owner)
}

/// Calls `each` with the bytes of each page of the tape in order; otherwise as [`read`].
pub fn each_page<S: Store>(
    store: &S,
    first: u32,
    (kind, owner): (PageKind, u32),
    len: usize,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let count = pages(len);
    store.prefetch_pages(first, count);
    let mut left = len;
    for blkno in first..first.saturating_add(count) {
        let page = store.read(blkno)?;
        page.expect_owned(blkno, kind, owner)?;
        let bytes = &page.content()[..CONTENT_SIZE.min(left)];
        left -= bytes.len();
        each(bytes)?;
    }
    store.end_prefetch();
    Ok(())
}
