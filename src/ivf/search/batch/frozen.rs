//! Copies of a part of a list in plain memory, which several threads may read.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::ListChain;
use crate::ivf::plain;
use crate::kernel;
use crate::memory::{Grow, fallibly, out_of_memory};
use crate::page::store::{Change, Prefetch};
use crate::page::{NO_BLOCK, Page, Store};

/// Rows of a part, unless a page has more. A batch keeps the pairs of its queries with all of them.
pub(super) const ROWS: usize = 1024;

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

/// Some codes pages of a list, and the pages to which they refer. A part is read like a whole list: its first
/// page is found under the number of the list's first page, too, and no page follows its last.
#[derive(Default)]
pub(super) struct Frozen {
    pages: Vec<Page>,
    used: usize,
    places: HashMap<u32, usize, BuildHasherDefault<OfBlock>>,
    /// How many of the pages are codes pages; these come first.
    codes: usize,
}

impl Frozen {
    /// Copies the next part of a list, with its records or without. Returns false if there is none.
    ///
    /// The pages are read in the order in which a scan reads them, so the interlocks of a scan hold.
    pub fn take<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        chain: &mut ListChain,
        with_records: bool,
    ) -> Result<bool> {
        let layout = &directory.codes;
        (self.used, self.codes) = (0, 0);
        self.places.clear();
        while self.codes == 0 || (self.codes + 1) * layout.rows() <= ROWS {
            let Some((blkno, page)) = chain.next(store)? else { break };
            self.add(blkno, &page)?;
            // Once for all queries.
            plain::pack(layout, &mut self.pages[self.codes]);
            self.codes += 1;
        }
        if self.codes == 0 {
            return Ok(false);
        }
        self.pages[self.codes - 1].set_next(NO_BLOCK);
        self.places.insert(directory.head(chain.list()).0, 0);
        for page in 0..self.codes {
            let mut others: Vec<u32> = Vec::new();
            for block in layout.blocks_on(&self.pages[page]).filter(|block| block.live() != 0) {
                others.extend((0..layout.more()).map(|i| block.more(i)));
            }
            if directory.extended.is_some() && with_records {
                let references = layout.live_slots(&self.pages[page]);
                others.extend(references.map(|(block, slot)| block.reference(slot).blkno));
            }
            others.dedup();
            for blkno in others {
                if !self.places.contains_key(&blkno) {
                    let page = store.read(blkno)?;
                    self.add(blkno, &page)?;
                }
            }
        }
        Ok(true)
    }

    fn add(&mut self, blkno: u32, page: &Page) -> Result<()> {
        let at = self.used;
        if at == self.pages.len() {
            self.pages.try_push(Page::zeroed())?;
        }
        // Room for the number of the list's first page, too.
        fallibly(|| self.places.try_reserve(2))
            .map_err(|_| out_of_memory(size_of::<(u32, usize)>() * (at + 2)))?;
        self.pages[at].clone_from(page);
        self.places.insert(blkno, at);
        self.used += 1;
        Ok(())
    }

    /// Rows for which its codes pages have room.
    pub fn rows(&self, directory: &Directory) -> usize {
        self.codes * directory.codes.rows()
    }

    /// The number of pages.
    pub fn pages(&self) -> usize {
        self.used
    }

    /// The number of pages for which it keeps memory.
    pub fn room(&self) -> usize {
        self.pages.len()
    }

    /// The codes pages.
    pub fn codes(&self) -> &[Page] {
        &self.pages[..self.codes]
    }
}

impl Prefetch for Frozen {
    fn prefetch_bytes(&self, blkno: u32, bytes: Range<usize>) {
        if let Some(&at) = self.places.get(&blkno)
            && let Some(bytes) = self.pages[at].bytes().get(bytes)
        {
            kernel::prefetch(bytes.as_ptr(), bytes.len());
        }
    }

    fn ahead(&self, page: &Page, blkno: u32) -> usize {
        let address = |page: &Page| std::ptr::from_ref(page).addr();
        self.places.get(&blkno).map_or(0, |&at| address(&self.pages[at]).wrapping_sub(address(page)))
    }
}

impl Store for Frozen {
    type Read<'a> = &'a Page;

    fn nblocks(&self) -> Result<u32> {
        Ok(self.used as u32)
    }

    fn read(&self, blkno: u32) -> Result<&Page> {
        let missing = || Error::new(Kind::Internal, format!("block {blkno} was not copied"));
        self.places.get(&blkno).map(|&at| &self.pages[at]).ok_or_else(missing)
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
fn read_only() -> Error {
    Error::new(Kind::Internal, "copies of pages cannot be changed")
}
