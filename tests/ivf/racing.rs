//! Inserts of two sessions with interleaved changes: no row and no page is lost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vector_search::error::Result;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::{check, insert};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Change, Page, Prefetch, Store};
use vector_search::value::Metric;

use crate::world::*;

/// A store in which another insert runs just before one of the changes.
struct Raced<'a> {
    store: &'a MemoryStore,
    changes: Cell<usize>,
    before: usize,
    other: RefCell<Option<&'a dyn Fn()>>,
}

impl Prefetch for Raced<'_> {}

impl Store for Raced<'_> {
    type Read<'a>
        = Rc<Page>
    where
        Self: 'a;

    fn nblocks(&self) -> Result<u32> {
        self.store.nblocks()
    }

    fn read(&self, blkno: u32) -> Result<Rc<Page>> {
        self.store.read(blkno)
    }

    fn reserve(&self, count: u32) -> Result<u32> {
        self.store.reserve(count)
    }

    fn forget_free(&self) -> Result<()> {
        self.store.forget_free()
    }

    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()> {
        self.store.add_free(blknos)
    }

    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        let number = self.changes.replace(self.changes.get() + 1);
        if number == self.before
            && let Some(other) = self.other.take()
        {
            other();
        }
        self.store.change(f)
    }
}

/// Adds row `n`.
fn add(store: &impl Store, directory: &Directory, n: u64, vector: &[f32]) {
    let mut code = RowCode::new(directory).unwrap();
    assert_eq!(
        insert::insert(store, directory, &mut code, tid(n), vector, &[]).unwrap(),
        insert::Inserted::Yes
    );
}

/// Two concurrent inserts into a list of `rows` rows: the second runs between two changes of the first, at
/// each possible point. Returns the number of changes of the first.
fn race(dims: usize, rows: u64) -> usize {
    let mut mixture = Mixture::new(dims, 1, 0.5, 3);
    let options = vector_search::ivf::build::Options { lists: 1, ..options(dims, Metric::L2) };
    let world = World::build(table(&mut mixture, rows), &options);
    let directory = world.directory();
    let (first, second) = (mixture.draw(), mixture.draw());
    let mut before = 0;
    loop {
        let store = world.store.snapshot();
        let other = || add(&store, &directory, rows + 1, &second);
        let other: &dyn Fn() = &other;
        let raced = Raced { store: &store, changes: Cell::new(0), before, other: RefCell::new(Some(other)) };
        add(&raced, &directory, rows, &first);
        if raced.other.borrow().is_some() {
            return before;
        }
        let report = check::check(&store, &mut |_| Ok(()), &|| Ok(())).unwrap();
        assert_eq!(
            (report.live, report.unused_pages),
            (rows + 2, 0),
            "{dims} dimensions, before change {before}"
        );
        before += 1;
    }
}

#[test]
fn who_loses_the_race_for_a_lists_end_leaves_no_page() {
    // Blocks with many rows per page, blocks of one page, and blocks with further pages. The last page of the
    // list is full.
    for (dims, rows) in [(16, 32 * 40), (1500, 32), (4000, 32), (16_000, 32)] {
        let mut changes = 0;
        for rows in rows - 1..=rows {
            changes = changes.max(race(dims, rows));
        }
        assert!(dims < 1500 || changes > 2, "the list was made longer");
    }
}
