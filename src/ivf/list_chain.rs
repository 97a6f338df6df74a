//! Walking the pages of a list, with checks that end the walk if a damaged chain is a circle.

use super::directory::Directory;
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
    let (mut blkno, contiguous) = directory.head(list);
    store.prefetch(blkno, contiguous);
    let mut copy = Page::zeroed();
    let mut steps = 0u32;
    while blkno != NO_BLOCK {
        copy.clone_from(&*store.read(blkno)?);
        copy.expect_owned(blkno, PageKind::Codes, list)?;
        f(blkno, &copy)?;
        guard_circle(store, blkno, &mut steps)?;
        blkno = copy.next();
    }
    store.settle();
    Ok(())
}

/// Counts a step along a chain; fails when there were more steps than the index has pages.
pub fn guard_circle<S: Store>(store: &S, blkno: u32, steps: &mut u32) -> Result<()> {
    *steps += 1;
    // Asking for the size is a system call, so it is done only now and then.
    if steps.is_multiple_of(1024) && *steps > store.nblocks()? {
        return Err(Error::corrupted(blkno, "the pages of a list form a circle"));
    }
    Ok(())
}

/// Reads heap addresses of slots. Remembers the last extended page, because neighbouring slots often have
/// records on the same page.
pub struct Addresses<'a, S: Store> {
    store: &'a S,
    directory: &'a Directory,
    blkno: u32,
    page: Page,
}

impl<'a, S: Store> Addresses<'a, S> {
    /// A reader of the index's addresses.
    pub fn new(store: &'a S, directory: &'a Directory) -> Self {
        Self { store, directory, blkno: NO_BLOCK, page: Page::zeroed() }
    }

    /// Forgets the page, so that later changes to it are seen.
    pub fn forget(&mut self) {
        self.blkno = NO_BLOCK;
    }

    /// The heap row of a slot of `list` with this reference.
    pub fn get(&mut self, list: u32, reference: RecordRef) -> Result<Tid> {
        Ok(self.record(list, reference)?.0)
    }

    /// The heap row of a slot of `list` with this reference, and its factors and further bits.
    pub fn record(&mut self, list: u32, reference: RecordRef) -> Result<(Tid, &[u8])> {
        let Some(layout) = self.directory.extended else { return Ok((reference, &[])) };
        if self.blkno != reference.blkno {
            self.page.clone_from(&*self.store.read(reference.blkno)?);
            self.page.expect_owned(reference.blkno, PageKind::Extended, list)?;
            self.blkno = reference.blkno;
        }
        if u32::from(reference.offset) >= self.page.count()
            || usize::from(reference.offset) >= layout.per_page()
        {
            return Err(Error::corrupted(reference.blkno, "a slot refers to a record that does not exist"));
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
