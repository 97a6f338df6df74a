//! Walks the pages of a list, with checks that end the walk if a damaged chain has a cycle.
//!
//! All walks use [`ListChain`]. Scans hold a page while they read it; all others get copies from
//! [`codes_pages`].

use super::directory::Directory;
use crate::error::{Error, Result};
use crate::memory::Grow;
use crate::page::codes::slots;
use crate::page::lists::{self, ListState};
use crate::page::{NO_BLOCK, Page, PageKind, RecordRef, Store, Tid};

/// A walk along the codes pages of a list.
pub struct ListChain {
    list: u32,
    /// What its pages are.
    kind: PageKind,
    /// The owner of its pages.
    owner: u32,
    /// The page that comes next, or [`NO_BLOCK`].
    next: u32,
    /// Pages that came.
    steps: u32,
}

impl ListChain {
    /// The pages of a list from the first on.
    pub fn new(directory: &Directory, list: u32) -> Self {
        let next = directory.head(list).0;
        Self { list, kind: PageKind::Codes, owner: directory.owner(list), next, steps: 0 }
    }

    /// The extended pages of a list from `newest` on.
    pub fn extended(directory: &Directory, list: u32, newest: u32) -> Self {
        Self { kind: PageKind::Extended, next: newest, ..Self::new(directory, list) }
    }

    /// The list whose pages these are.
    pub fn list(&self) -> u32 {
        self.list
    }

    /// The number of the next page, if there is one.
    pub fn upcoming(&self) -> Option<u32> {
        (self.next != NO_BLOCK).then_some(self.next)
    }

    /// Returns the next page and its number. The caller releases the page before the next call.
    #[inline]
    pub fn next<'a, S: Store>(&mut self, store: &'a S) -> Result<Option<(u32, S::Read<'a>)>> {
        let blkno = self.next;
        if blkno == NO_BLOCK {
            return Ok(None);
        }
        guard_circle(store, blkno, &mut self.steps)?;
        let page = store.read(blkno)?;
        page.expect_owned(blkno, self.kind, self.owner)?;
        self.next = page.next();
        Ok(Some((blkno, page)))
    }
}

/// Calls `f` with every codes page of a list, in chain order. No page is locked while `f` runs: it gets a
/// copy, and may change pages.
pub fn codes_pages<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    mut f: impl FnMut(u32, &Page) -> Result<()>,
) -> Result<()> {
    let (head, contiguous) = directory.head(list);
    store.prefetch_pages(head, contiguous);
    let mut copy = Page::zeroed();
    let mut chain = ListChain::new(directory, list);
    while let Some((blkno, page)) = chain.next(store)? {
        copy.clone_from(&*page);
        drop(page);
        f(blkno, &copy)?;
    }
    store.end_prefetch();
    Ok(())
}

/// Adds the heap addresses of a list's rows.
///
/// # Errors
/// Damage, out of memory, and the store's errors.
pub fn rows<S: Store>(store: &S, directory: &Directory, list: u32, out: &mut Vec<Tid>) -> Result<()> {
    let mut addresses = Addresses::new(store, directory);
    codes_pages(store, directory, list, |_, page| {
        for (block, slot) in directory.codes.live_slots(page) {
            out.try_push(addresses.get(list, block.reference(slot))?)?;
        }
        Ok(())
    })
}

/// Calls `f` with the number of every extended page of a list, before the page is read.
pub fn extended_pages<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    mut f: impl FnMut(u32) -> Result<()>,
) -> Result<()> {
    let state = state(store, directory, list)?;
    // Pages of rows that the list took over have a chain of their own, once the directory names these rows.
    let moved = if directory.head(list).0 == state.moved { state.moved_extended } else { NO_BLOCK };
    // The first chain goes on with the second if they have been joined since the state was read.
    for (newest, end) in [(state.extended, moved), (moved, NO_BLOCK)] {
        let mut chain = ListChain::extended(directory, list, newest);
        while let Some(blkno) = chain.upcoming().filter(|blkno| *blkno != end) {
            f(blkno)?;
            chain.next(store)?;
        }
    }
    Ok(())
}

/// Calls `f` with the number and the kind of every page of a list.
///
/// # Errors
/// Damage, and the errors of the store and of `f`.
pub fn all_pages<S: Store>(
    store: &S,
    directory: &Directory,
    list: u32,
    f: &mut dyn FnMut(u32, PageKind) -> Result<()>,
) -> Result<()> {
    codes_pages(store, directory, list, |blkno, page| {
        f(blkno, PageKind::Codes)?;
        let layout = &directory.codes;
        let mut further =
            layout.blocks_on(page).flat_map(|block| (0..layout.more()).map(move |i| block.more(i)));
        further.try_for_each(|more| f(more, PageKind::CodesMore))
    })?;
    extended_pages(store, directory, list, |blkno| f(blkno, PageKind::Extended))
}

/// The extended pages to which slots of a codes page refer, those of neighbouring slots once.
pub fn record_pages<'a>(directory: &'a Directory, page: &'a Page) -> impl Iterator<Item = u32> + 'a {
    let blocks = directory.codes.blocks_on(page).filter(|_| directory.extended.is_some());
    let records = blocks.flat_map(|block| slots(block.owned()).map(move |slot| block.reference(slot).blkno));
    let mut last = NO_BLOCK;
    records.filter(move |&blkno| std::mem::replace(&mut last, blkno) != blkno)
}

/// The state of a list.
///
/// # Errors
/// Damage, and the store's errors.
pub fn state<S: Store>(store: &S, directory: &Directory, list: u32) -> Result<ListState> {
    let (blkno, index) = directory.state_position(list);
    let page = store.read(blkno)?;
    page.expect_kind(blkno, PageKind::Lists)?;
    Ok(lists::read(&page, index))
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
            let owner = self.directory.owner(list);
            self.page.expect_owned(reference.blkno, PageKind::Extended, owner)?;
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
