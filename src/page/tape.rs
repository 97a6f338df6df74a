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
    let count = pages(len);
    store.prefetch_pages(first, count);
    // The buffer grows page by page, so that a damaged length causes an error at the end of the file and not
    // a huge allocation.
    let mut out = Vec::new();
    for blkno in first..first.saturating_add(count) {
        let page = store.read(blkno)?;
        page.expect_owned(blkno, kind, owner)?;
        out.try_extend(&page.content()[..CONTENT_SIZE.min(len - out.len())])?;
    }
    store.end_prefetch();
    Ok(out)
}
