//! Walking the pages of a list, with the checks that keep a damaged chain from being followed for ever.

use super::directory::Directory;
use super::insert::expect_owned;
use crate::error::{Error, Result};
use crate::page::{NO_BLOCK, Page, PageKind, RecordRef, Store, Tid};

/// Calls `f` with every codes page of a list, in chain order. No page is locked while `f` runs: it gets a
/// copy, and may change pages.
pub fn codes_pages<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    mut f: impl FnMut(u32, &Page) -> Result<()>,
) -> Result<()> {
    let (mut block, contiguous) = directory.head(list);
    store.prefetch(block, contiguous);
    let mut copy = Page::zeroed();
    let mut steps = 0u32;
    while block != NO_BLOCK {
        copy.clone_from(&*store.read(block)?);
        expect_owned(&copy, block, PageKind::Codes, list)?;
        f(block, &copy)?;
        guard_circle(store, block, &mut steps)?;
        block = copy.next();
    }
    store.settle();
    Ok(())
}

/// Counts a step along a chain; fails when there were more steps than the index has pages.
pub fn guard_circle<S: Store>(store: &S, block: u32, steps: &mut u32) -> Result<()> {
    *steps += 1;
    // Asking for the size costs a system call: only now and then.
    if steps.is_multiple_of(1024) && *steps > store.blocks()? {
        return Err(Error::corrupted(block, "the pages of a list form a circle"));
    }
    Ok(())
}

/// Reads heap addresses of slots; remembers the last extended page, which neighbours share.
pub struct Addresses<'a, S: Store> {
    store: &'a S,
    directory: &'a Directory,
    block: u32,
    page: Page,
}

impl<'a, S: Store> Addresses<'a, S> {
    /// A reader of the index's addresses.
    pub fn new(store: &'a S, directory: &'a Directory) -> Self {
        Self { store, directory, block: NO_BLOCK, page: Page::zeroed() }
    }

    /// Forgets the page, so that later changes to it are seen.
    pub fn forget(&mut self) {
        self.block = NO_BLOCK;
    }

    /// The heap row of a slot of `list` with this reference.
    pub fn get(&mut self, list: u32, reference: RecordRef) -> Result<Tid> {
        Ok(self.record(list, reference)?.0)
    }

    /// The heap row of such a slot, and its factors and further bits.
    pub fn record(&mut self, list: u32, reference: RecordRef) -> Result<(Tid, &[u8])> {
        let Some(layout) = self.directory.extended else { return Ok((reference, &[])) };
        if self.block != reference.block {
            self.page.clone_from(&*self.store.read(reference.block)?);
            expect_owned(&self.page, reference.block, PageKind::Extended, list)?;
            self.block = reference.block;
        }
        if u32::from(reference.offset) >= self.page.count()
            || usize::from(reference.offset) >= layout.per_page()
        {
            return Err(Error::corrupted(reference.block, "a slot refers to a record that does not exist"));
        }
        Ok(layout.record(&self.page, usize::from(reference.offset)))
    }
}

/// The numbers of the set bits of a mask.
pub fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let bit = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            bit
        })
    })
}
