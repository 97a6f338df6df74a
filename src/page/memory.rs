//! The in-memory store, with which the whole index is tested without a server.
//!
//! It can be told to fail at the n-th change, which leaves exactly the pages that a crash at that moment
//! would leave (one change is one WAL record).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use super::page::Page;
use super::store::{Change, MAX_CHANGE_PAGES, PageHandle, Prefetch, Store, assert_alone, opened_twice};
use crate::error::{Error, Kind, Result};

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    pages: RefCell<Vec<Rc<Page>>>,
    free: RefCell<BTreeSet<u32>>,
    changes: Cell<u64>,
    stop_after: Cell<Option<u64>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes applied so far.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Allows `n` more changes; the next one fails without effect, as if the server crashed.
    pub fn stop_after(&self, n: Option<u64>) {
        self.stop_after.set(n.map(|n| self.changes.get() + n));
    }

    /// A copy of the pages as they are now (what a restart would find).
    pub fn snapshot(&self) -> Self {
        Self { pages: self.pages.clone(), free: self.free.clone(), ..Self::default() }
    }

    /// Damages a page, for tests.
    pub fn damage(&self, blkno: u32, f: impl FnOnce(&mut Page)) {
        let mut pages = self.pages.borrow_mut();
        f(Rc::make_mut(&mut pages[blkno as usize]));
    }
}

impl MemoryStore {
    /// Counts a step that a crash may prevent.
    fn admit(&self) -> Result<()> {
        if self.stop_after.get().is_some_and(|n| self.changes.get() >= n) {
            return Err(Error::new(Kind::Internal, "stopped before a page change"));
        }
        self.changes.set(self.changes.get() + 1);
        Ok(())
    }

    fn apply(&self, opened: Vec<Opened>) -> Result<()> {
        if !opened.iter().any(|o| o.state == State::Written) {
            return Ok(());
        }
        self.admit()?;
        let mut pages = self.pages.borrow_mut();
        for o in opened.into_iter().filter(|o| o.state == State::Written) {
            let at = o.blkno as usize;
            if at >= pages.len() {
                pages.resize_with(at + 1, || Rc::new(Page::zeroed()));
            }
            pages[at] = Rc::new(o.page);
        }
        Ok(())
    }
}

/// All pages are in memory: there is nothing to prepare.
impl Prefetch for MemoryStore {}

impl Store for MemoryStore {
    type Read<'a> = Rc<Page>;

    fn nblocks(&self) -> Result<u32> {
        u32::try_from(self.pages.borrow().len())
            .map_err(|_| Error::new(Kind::LimitExceeded, "the in-memory store is full"))
    }

    fn read(&self, blkno: u32) -> Result<Rc<Page>> {
        self.pages.borrow().get(blkno as usize).cloned().ok_or_else(|| beyond_end(blkno))
    }

    fn reserve(&self, count: u32) -> Result<u32> {
        self.admit()?;
        let first = self.nblocks()?;
        let mut pages = self.pages.borrow_mut();
        let all = pages.len() + count as usize;
        pages.resize_with(all, || Rc::new(Page::zeroed()));
        Ok(first)
    }

    fn forget_free(&self) -> Result<()> {
        self.free.borrow_mut().clear();
        Ok(())
    }

    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()> {
        self.free.borrow_mut().extend(blknos);
        Ok(())
    }

    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        let mut change = MemoryChange { store: self, opened: Vec::new(), watched: Vec::new() };
        let result = f(&mut change)?;
        let opened = change.opened;
        self.apply(opened)?;
        Ok(result)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Opened,
    Written,
    Flushed,
}

#[derive(Clone)]
struct Opened {
    blkno: u32,
    page: Page,
    state: State,
}

struct MemoryChange<'a> {
    store: &'a MemoryStore,
    opened: Vec<Opened>,
    watched: Vec<Rc<Page>>,
}

impl Change for MemoryChange<'_> {
    fn open(&mut self, blkno: u32) -> Result<PageHandle> {
        if self.opened.iter().any(|o| o.blkno == blkno) {
            return Err(opened_twice(blkno));
        }
        let page = (*self.store.read(blkno)?).clone();
        Ok(self.push(Opened { blkno, page, state: State::Opened }))
    }

    fn watch(&mut self, blkno: u32) -> Result<&Page> {
        assert!(self.opened.is_empty(), "pages are watched before others are opened");
        self.watched.push(self.store.read(blkno)?);
        Ok(&self.watched[self.watched.len() - 1])
    }

    fn allocate(&mut self, is_free: &dyn Fn(&Page) -> bool) -> Result<(u32, PageHandle)> {
        loop {
            let Some(blkno) = self.store.free.borrow_mut().pop_first() else { return self.extend() };
            let opened = self.opened.iter().any(|o| o.blkno == blkno);
            if !opened && self.store.read(blkno).is_ok_and(|page| is_free(&page)) {
                return Ok((blkno, self.open(blkno)?));
            }
        }
    }

    fn extend(&mut self) -> Result<(u32, PageHandle)> {
        let mut blkno = self.store.nblocks()?;
        while self.opened.iter().any(|o| o.blkno == blkno) {
            blkno += 1;
        }
        Ok((blkno, self.push(Opened { blkno, page: Page::zeroed(), state: State::Opened })))
    }

    fn page(&self, handle: PageHandle) -> &Page {
        &self.opened[handle.0].page
    }

    fn page_mut(&mut self, handle: PageHandle) -> &mut Page {
        let opened = &mut self.opened[handle.0];
        assert!(opened.state != State::Flushed, "block {} written after its flush", opened.blkno);
        opened.state = State::Written;
        &mut opened.page
    }

    fn flush(&mut self, handle: PageHandle) -> Result<()> {
        assert_alone(self.opened.iter().map(|o| o.state == State::Written), handle);
        self.store.apply(vec![self.opened[handle.0].clone()])?;
        self.opened[handle.0].state = State::Flushed;
        Ok(())
    }

    fn close(&mut self, handle: PageHandle) {
        let mut closed = self.opened.drain(handle.0..);
        assert!(closed.all(|o| o.state != State::Written), "a page is closed before it is flushed");
    }
}

impl MemoryChange<'_> {
    fn push(&mut self, opened: Opened) -> PageHandle {
        let held = self.opened.iter().filter(|o| o.state != State::Flushed).count();
        assert!(held < MAX_CHANGE_PAGES, "a change touches more than {MAX_CHANGE_PAGES} pages");
        self.opened.push(opened);
        PageHandle(self.opened.len() - 1)
    }
}

fn beyond_end(blkno: u32) -> Error {
    Error::corrupted(blkno, "the page lies beyond the end of the index")
}
