//! What damaged indexes are used with: their pages are counted, and no transaction is running.

use std::cell::Cell;
use std::rc::Rc;

use vector_search::error::{Error, Kind, Result};
use vector_search::ivf::renew::Transactions;
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Change, Page, Prefetch, Store};

/// Pages that one use of an index may read; the largest index has some sixty.
const READS: u32 = 50_000;

/// A store that does not allow to read for ever.
pub struct Counted<'a>(pub &'a MemoryStore, Cell<u32>);

impl<'a> Counted<'a> {
    pub fn new(store: &'a MemoryStore) -> Self {
        Self(store, Cell::new(0))
    }
}

impl Prefetch for Counted<'_> {}

impl Store for Counted<'_> {
    type Read<'b>
        = Rc<Page>
    where
        Self: 'b;

    fn nblocks(&self) -> Result<u32> {
        self.0.nblocks()
    }

    fn read(&self, blkno: u32) -> Result<Rc<Page>> {
        self.1.set(self.1.get() + 1);
        if self.1.get() > READS {
            return Err(Error::new(Kind::Internal, "it reads for ever"));
        }
        self.0.read(blkno)
    }

    fn reserve(&self, count: u32) -> Result<u32> {
        self.0.reserve(count)
    }

    fn forget_free(&self) -> Result<()> {
        self.0.forget_free()
    }

    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()> {
        self.0.add_free(blknos)
    }

    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        self.0.change(f)
    }
}

/// All transactions have ended, whatever a damaged page says of them.
pub struct Ended;

impl Transactions for Ended {
    fn next(&self) -> u64 {
        7
    }

    fn now(&self) -> u64 {
        1_700_000_000
    }

    fn have_ended(&self, _: u64) -> bool {
        true
    }

    fn forget_ended(&self) {}
}
