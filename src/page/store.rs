//! The interface to storage: a growable array of pages, read whole and changed atomically.

use std::ops::{Deref, Range};

use super::page::Page;
use crate::error::{Error, Result};

/// Pages that one change may touch (`MAX_GENERIC_XLOG_PAGES`): one change is one WAL record.
pub const MAX_CHANGE_PAGES: usize = 4;

/// A page opened inside a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHandle(pub usize);

/// Hints to a store about what will be read. They do not change results, and a store may ignore them.
pub trait Prefetch {
    /// Announces that `count` pages from `blkno` on will be read, after the pages of earlier calls. Other
    /// pages may be read in between. [`Prefetch::end_prefetch`] ends it.
    fn prefetch_pages(&self, _blkno: u32, _count: u32) {}

    /// Announces that no more pages of [`Prefetch::prefetch_pages`] will be read.
    fn end_prefetch(&self) {}

    /// Announces that these bytes of a page, and its special area, will be read very soon. A store that knows
    /// their address prefetches them.
    fn prefetch_bytes(&self, _blkno: u32, _bytes: Range<usize>) {}

    /// The likely offset in bytes (wrapping) from `page` to the page `blkno` in memory, for
    /// [`kernel::prefetch_ahead`](crate::kernel::prefetch_ahead) and similar functions; 0 if it is not known.
    fn ahead(&self, _page: &Page, _blkno: u32) -> usize {
        0
    }
}

/// A growable array of 8 KiB pages. Readers see whole pages; a change is applied whole or not at all.
pub trait Store: Prefetch {
    /// A page held for reading (share lock) until dropped.
    type Read<'a>: Deref<Target = Page>
    where
        Self: 'a;

    /// Number of pages.
    fn nblocks(&self) -> Result<u32>;

    /// Reads one page. At most one page may be held for reading at a time by one caller, and none while
    /// a change is under way.
    fn read(&self, blkno: u32) -> Result<Self::Read<'_>>;

    /// Adds so many consecutive pages (all zero) at the end of the store, and returns the first one.
    fn reserve(&self, count: u32) -> Result<u32>;

    /// Forgets which pages are free. Everybody who allocates watches one page; after the next change of that
    /// page, nobody takes a page that was free before.
    fn forget_free(&self) -> Result<()>;

    /// From here on these pages may be taken by [`Change::allocate`]. A crash may forget it, or may bring
    /// back what was forgotten.
    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()>;

    /// Runs `f` on up to [`MAX_CHANGE_PAGES`] pages and applies what it wrote as one crash-atomic step. If
    /// `f` fails, nothing is changed. If `f` wrote nothing, nothing is logged.
    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R>
    where
        Self: Sized;
}

/// The pages of one change. Pages are locked exclusively from `open` until the change ends, so every
/// caller opens pages in the order list state → codes → extended → summaries → new pages.
pub trait Change {
    /// Locks an existing page.
    ///
    /// # Errors
    /// [`opened_twice`]: the index refers to the page where another belongs.
    fn open(&mut self, blkno: u32) -> Result<PageHandle>;

    /// Locks a page against changes until this change ends, and shows it. Before any page is opened.
    fn watch(&mut self, blkno: u32) -> Result<&Page>;

    /// Adds a page at the end of the store (all zero) and opens it.
    fn extend(&mut self) -> Result<(u32, PageHandle)>;

    /// Opens a page that is free: one named to [`Store::add_free`] of which `is_free` holds, else a new one.
    /// What it held has to be overwritten.
    fn allocate(&mut self, is_free: &dyn Fn(&Page) -> bool) -> Result<(u32, PageHandle)>;

    /// The page as it is.
    fn page(&self, handle: PageHandle) -> &Page;

    /// The page, to be written.
    fn page_mut(&mut self, handle: PageHandle) -> &mut Page;

    /// Applies what was written to this page so far as a separate step (WAL record), before the change ends.
    /// The page stays locked until then. This is for values that span more pages than one change may write:
    /// pages to which nothing refers yet are flushed first, before any other page is written. A flushed page
    /// no longer counts towards [`MAX_CHANGE_PAGES`] and is not written again in this change.
    fn flush(&mut self, handle: PageHandle) -> Result<()>;

    /// Unlocks a page, and those that were opened after it, before the change ends. What was written to them
    /// has been flushed.
    fn close(&mut self, handle: PageHandle);
}

/// Asserts the rule of [`Change::flush`]. `written` says which open pages are written and not flushed.
pub fn assert_alone(written: impl Iterator<Item = bool>, handle: PageHandle) {
    let others = written.enumerate().filter(|&(i, written)| written && i != handle.0).count();
    assert!(others == 0, "a page is flushed after {others} others were written");
}

/// The error of [`Change::open`] for a page that is already open in the change.
pub fn opened_twice(blkno: u32) -> Error {
    Error::corrupted(blkno, "two references that must differ lead to this page")
}
