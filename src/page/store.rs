//! The seam to storage: a growable array of pages, read whole and changed atomically.

use std::ops::{Deref, Range};

use super::page::Page;
use crate::error::{Error, Result};

/// Pages that one change may touch (`MAX_GENERIC_XLOG_PAGES`): one change is one WAL record.
pub const MAX_CHANGE_PAGES: usize = 4;

/// A page opened inside a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHandle(pub usize);

/// Hints to a store about what its reader will want. They change no result: a store may ignore any of them.
pub trait Prefetch {
    /// `count` pages from `blkno` on will be read next or, after another such call, after the pages of that.
    /// Other pages may be read in between. [`Prefetch::end_prefetch`] ends it.
    fn prefetch_pages(&self, _blkno: u32, _count: u32) {}

    /// Pages named to [`Prefetch::prefetch_pages`] that were not read yet will not be read now.
    fn end_prefetch(&self) {}

    /// These bytes of a page (its special area always included) will be looked at very soon: a store that
    /// knows where in memory they lie asks the processor for them.
    fn prefetch_bytes(&self, _blkno: u32, _bytes: Range<usize>) {}

    /// By how many bytes (wrapping) the page `blkno` likely lies after `page` in memory, for
    /// [`kernel::prefetch_ahead`](crate::kernel::prefetch_ahead) and the like; 0 if that is not known.
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

    /// Forgets which pages are free. After the next change of a page that all who allocate watch, no page that
    /// was free before is taken.
    fn forget_free(&self) -> Result<()>;

    /// From here on these pages may be taken by [`Change::allocate`]. A crash may forget it, or may bring back
    /// what was forgotten.
    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()>;

    /// Runs `f` on up to [`MAX_CHANGE_PAGES`] pages and applies what it wrote as one crash-atomic step.
    /// If `f` fails nothing is changed; if `f` wrote nothing nothing is logged.
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

    /// Applies what was written to this page so far as a step (WAL record) of its own, before the change
    /// ends, and keeps the page locked until it does. For values that span more pages than one change may
    /// write: the pages that nothing points to yet go first, before any other page is written. A flushed page
    /// no longer counts towards [`MAX_CHANGE_PAGES`] and is not written again in this change.
    fn flush(&mut self, handle: PageHandle) -> Result<()>;
}

/// Holds the callers of [`Change::flush`] to its rule. `written` says which of the pages opened are written
/// and not flushed.
pub fn assert_alone(written: impl Iterator<Item = bool>, handle: PageHandle) {
    let others = written.enumerate().filter(|&(i, written)| written && i != handle.0).count();
    assert!(others == 0, "a page is flushed after {others} others were written");
}

/// What [`Change::open`] says of a page that the change has open already.
pub fn opened_twice(blkno: u32) -> Error {
    Error::corrupted(blkno, "two references that must differ lead to this page")
}
