//! Copies of pages that many queries read, so that each is pinned and locked only once.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Deref, Range};

use crate::error::{Error, Kind, Result};
use crate::memory::{Grow, out_of_memory};
use crate::page::store::{Change, Prefetch};
use crate::page::{NO_BLOCK, Page, PageKind, Store};

/// Spreads block numbers, which are nearly consecutive.
#[derive(Default)]
pub(super) struct OfBlock(u64);

impl Hasher for OfBlock {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, blkno: u32) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0 ^ u64::from(blkno)).wrapping_mul(ODD);
    }
}

/// Memory for pages; it is used again for the next lists.
pub(super) struct Pages {
    copies: Vec<Page>,
    /// How many of them are in use, and where each block is.
    used: usize,
    places: HashMap<u32, usize, BuildHasherDefault<OfBlock>>,
    /// The most pages that are kept.
    most: usize,
    /// The block of the last copy, which gives way if there are more.
    last: u32,
}

impl Pages {
    /// Memory for so many bytes of pages.
    pub fn new(bytes: usize) -> Self {
        let most = (bytes / size_of::<Page>()).max(1);
        Self { copies: Vec::new(), used: 0, places: HashMap::default(), most, last: NO_BLOCK }
    }

    /// Forgets the pages, keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.places.clear();
    }

    fn add(&mut self, blkno: u32, page: &Page) -> Result<usize> {
        if self.used == self.most {
            self.used -= 1;
            self.places.remove(&self.last);
        }
        let at = self.used;
        if at == self.copies.len() {
            self.copies.try_push(Page::zeroed())?;
        }
        self.places.try_reserve(1).map_err(|_| out_of_memory(size_of::<(u32, usize)>() * (at + 1)))?;
        self.copies[at].clone_from(page);
        self.places.insert(blkno, at);
        self.used += 1;
        self.last = blkno;
        Ok(at)
    }
}

/// A page, copied or in its place.
pub(super) enum Held<'a, S: Store + 'a> {
    Copy(Ref<'a, Page>),
    Original(S::Read<'a>),
}

impl<S: Store> Deref for Held<'_, S> {
    type Target = Page;

    fn deref(&self) -> &Page {
        match self {
            Self::Copy(page) => page,
            Self::Original(page) => page,
        }
    }
}

/// A store whose pages are copied when they are read first. Later reads take the copy: they neither pin nor
/// lock, and see the page as it was. Extended pages are not copied: of these a query reads a few bytes only,
/// and they stay in the processor's cache while the queries read the list.
///
/// A scan sees each page at one moment, and the pages of a list one after the other; it need not see a page
/// twice in the same state (`ivf/README.md`, Interlocks). So what a query finds on copies is what it might
/// have found by itself.
pub(super) struct Copies<'a, S> {
    store: &'a S,
    pages: RefCell<&'a mut Pages>,
}

impl<'a, S: Store> Copies<'a, S> {
    pub fn new(store: &'a S, pages: &'a mut Pages) -> Self {
        Self { store, pages: RefCell::new(pages) }
    }
}

impl<S: Store> Prefetch for Copies<'_, S> {
    fn prefetch_bytes(&self, blkno: u32, bytes: Range<usize>) {
        // Copies are near already: nothing is announced but bytes of extended pages, and of pages to come.
        if !bytes.is_empty() {
            self.store.prefetch_bytes(blkno, bytes);
        }
    }
}

impl<S: Store> Store for Copies<'_, S> {
    type Read<'b>
        = Held<'b, S>
    where
        Self: 'b;

    fn nblocks(&self) -> Result<u32> {
        self.store.nblocks()
    }

    fn read(&self, blkno: u32) -> Result<Held<'_, S>> {
        let known = self.pages.borrow().places.get(&blkno).copied();
        let at = match known {
            Some(at) => at,
            None => {
                let page = self.store.read(blkno)?;
                if page.kind() == Some(PageKind::Extended) {
                    return Ok(Held::Original(page));
                }
                self.pages.borrow_mut().add(blkno, &page)?
            }
        };
        Ok(Held::Copy(Ref::map(self.pages.borrow(), |pages| &pages.copies[at])))
    }

    fn reserve(&self, _: u32) -> Result<u32> {
        Err(read_only())
    }

    fn forget_free(&self) -> Result<()> {
        Err(read_only())
    }

    fn add_free(&self, _: &mut dyn Iterator<Item = u32>) -> Result<()> {
        Err(read_only())
    }

    fn change<R>(&self, _: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        Err(read_only())
    }
}

/// The error of a change.
pub(super) fn read_only() -> Error {
    Error::new(Kind::Internal, "copies of pages cannot be changed")
}
