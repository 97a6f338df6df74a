//! Lists move while one other session inserts, scans or verifies: all orders of their steps.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};

use vector_search::error::{Error, Kind, Result};
use vector_search::ivf::build::Options;
use vector_search::ivf::check;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::insert::{Inserted, insert};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::sweep;
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::filter::Filter;
use vector_search::page::{Change, Columns, Page, PageHandle, Prefetch, Root, Store, Tid};
use vector_search::value::Metric;

use crate::compact::{compacted, mostly_free};
use crate::renew::{Ended, is_rare, rare};
use crate::world::*;

/// Whose turn it is: so many steps of the first session, then of the second, and so on.
struct Turns {
    left: VecDeque<(usize, usize)>,
    ended: [bool; 2],
}

/// A store that two sessions change in turns.
struct Shared {
    pages: Mutex<Vec<Arc<Page>>>,
    free: Mutex<BTreeSet<u32>>,
    turns: Mutex<Turns>,
    changed: Condvar,
}

/// One session of it.
struct Session<'a> {
    shared: &'a Shared,
    number: usize,
    steps: Cell<usize>,
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, number: usize) -> Self {
        Self { shared, number, steps: Cell::new(0) }
    }
}

impl Session<'_> {
    /// Waits for its turn.
    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        let mut turns = self.shared.turns.lock().unwrap();
        loop {
            let Turns { left, ended } = &mut *turns;
            while left.front().is_some_and(|&(who, steps)| steps == 0 || ended[who]) {
                left.pop_front();
                self.shared.changed.notify_all();
            }
            match left.front_mut() {
                Some((who, steps)) if *who == self.number => {
                    *steps -= 1;
                    return;
                }
                Some(_) => turns = self.shared.changed.wait(turns).unwrap(),
                None => return,
            }
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.shared.turns.lock().unwrap().ended[self.number] = true;
        self.shared.changed.notify_all();
    }
}

impl Prefetch for Session<'_> {}

impl Store for Session<'_> {
    type Read<'b>
        = Arc<Page>
    where
        Self: 'b;

    fn nblocks(&self) -> Result<u32> {
        Ok(self.shared.pages.lock().unwrap().len() as u32)
    }

    fn read(&self, blkno: u32) -> Result<Arc<Page>> {
        self.step();
        let pages = self.shared.pages.lock().unwrap();
        pages.get(blkno as usize).cloned().ok_or_else(|| Error::new(Kind::Corrupted, "beyond the end"))
    }

    fn reserve(&self, count: u32) -> Result<u32> {
        let mut pages = self.shared.pages.lock().unwrap();
        let first = pages.len();
        pages.resize_with(first + count as usize, || Arc::new(Page::zeroed()));
        Ok(first as u32)
    }

    fn forget_free(&self) -> Result<()> {
        self.shared.free.lock().unwrap().clear();
        Ok(())
    }

    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()> {
        self.shared.free.lock().unwrap().extend(blknos);
        Ok(())
    }

    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        self.step();
        let mut change = SharedChange { shared: self.shared, opened: Vec::new(), watched: None };
        let result = f(&mut change)?;
        let mut pages = self.shared.pages.lock().unwrap();
        for (blkno, page) in change.opened {
            pages[blkno as usize] = Arc::new(page);
        }
        Ok(result)
    }
}

/// A change, whole within one step.
struct SharedChange<'a> {
    shared: &'a Shared,
    opened: Vec<(u32, Page)>,
    watched: Option<Arc<Page>>,
}

impl Change for SharedChange<'_> {
    fn open(&mut self, blkno: u32) -> Result<PageHandle> {
        let page = self.shared.pages.lock().unwrap()[blkno as usize].clone();
        assert!(self.opened.iter().all(|(opened, _)| *opened != blkno));
        self.opened.push((blkno, (*page).clone()));
        Ok(PageHandle(self.opened.len() - 1))
    }

    fn watch(&mut self, blkno: u32) -> Result<&Page> {
        let page = self.shared.pages.lock().unwrap()[blkno as usize].clone();
        Ok(self.watched.insert(page))
    }

    fn extend(&mut self) -> Result<(u32, PageHandle)> {
        let mut pages = self.shared.pages.lock().unwrap();
        pages.push(Arc::new(Page::zeroed()));
        let blkno = pages.len() as u32 - 1;
        drop(pages);
        Ok((blkno, self.open(blkno)?))
    }

    fn allocate(&mut self, is_free: &dyn Fn(&Page) -> bool) -> Result<(u32, PageHandle)> {
        let taken = self.shared.free.lock().unwrap().pop_first();
        match taken {
            Some(blkno) => {
                let handle = self.open(blkno)?;
                assert!(is_free(self.page(handle)), "block {blkno} is not free");
                Ok((blkno, handle))
            }
            None => self.extend(),
        }
    }

    fn page(&self, handle: PageHandle) -> &Page {
        &self.opened[handle.0].1
    }

    fn page_mut(&mut self, handle: PageHandle) -> &mut Page {
        &mut self.opened[handle.0].1
    }

    fn flush(&mut self, handle: PageHandle) -> Result<()> {
        let (blkno, page) = &self.opened[handle.0];
        self.shared.pages.lock().unwrap()[*blkno as usize] = Arc::new(page.clone());
        Ok(())
    }

    fn close(&mut self, handle: PageHandle) {
        self.opened.truncate(handle.0);
    }
}

fn put(store: &impl Store, n: u64, vector: &[f32]) {
    loop {
        let directory = Directory::load(store).unwrap();
        let keys = &keys(n)[..directory.meta.columns.widths().len()];
        let mut code = RowCode::new(&directory).unwrap();
        if insert(store, &directory, &mut code, tid(n), vector, keys).unwrap() == Inserted::Yes {
            return;
        }
    }
}

/// Lists are moved, and something else is done at the same time, whose steps follow those of the move as
/// `turns` says. Returns the steps of both, and the store as it is then.
fn beside(
    pages: &[Arc<Page>],
    turns: &[(usize, usize)],
    other: &(dyn Fn(&Session<'_>) + Sync),
) -> ((usize, usize), Shared) {
    let left = turns.iter().copied().chain([(0, usize::MAX), (1, usize::MAX)]).collect();
    let shared = Shared {
        pages: Mutex::new(pages.to_vec()),
        free: Mutex::default(),
        turns: Mutex::new(Turns { left, ended: [false; 2] }),
        changed: Condvar::new(),
    };
    let steps = std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let session = Session::new(&shared, 0);
            assert!(compacted(&session).unwrap().is_some(), "lists are moved");
            session.steps.get()
        });
        let other = scope.spawn(|| {
            let session = Session::new(&shared, 1);
            other(&session);
            session.steps.get()
        });
        (mover.join().unwrap(), other.join().unwrap())
    });
    shared.turns.lock().unwrap().left.clear();
    let states = |page: &Page| Root::read(page).unwrap().current.lists_first;
    assert_ne!(states(&pages[0]), states(&shared.pages.lock().unwrap()[0]), "list states have moved");
    (steps, shared)
}

/// The rows of an index that is right.
fn rows_of(store: &impl Store, what: &dyn std::fmt::Debug) -> Vec<Tid> {
    let mut found = Vec::new();
    let mut visit = |tid| {
        found.push(tid);
        Ok(())
    };
    check::check(store, &mut visit, &|| Ok(())).unwrap_or_else(|e| panic!("{what:?}: {e:?}"));
    found
}

/// An index of one list with rows 0 to `rows`, ready to be moved. Its fixed pages move with it.
fn one_list(dims: usize, widths: &[u8], rows: u64) -> (Vec<Arc<Page>>, Table, Mixture) {
    let columns = Columns::new(widths).unwrap();
    let options = Options { lists: 1, columns, ..options(dims, Metric::L2) };
    let (world, mixture) = mostly_free(&options, (rows - 2, 4 * rows), 2);
    let store = &world.store;
    let pages = 0..store.nblocks().unwrap();
    (
        pages.map(|blkno| Arc::new((*store.read(blkno).unwrap()).clone())).collect(),
        world.table.take(),
        mixture,
    )
}

const KINDS: [(usize, &[u8], u64); 3] = [(1500, &[], 64), (1500, &[4], 32), (2100, &[], 33)];

#[test]
fn an_insert_may_stop_anywhere() {
    for (dims, widths, rows) in KINDS {
        let (pages, _, mut mixture) = one_list(dims, widths, rows);
        let row = mixture.draw();
        let run = |turns: &[(usize, usize)]| {
            let (steps, shared) = beside(&pages, turns, &|session| put(session, rows, &row));
            let store = Session::new(&shared, 0);
            for _ in 0..2 {
                let mut found = rows_of(&store, &turns);
                found.sort_unstable();
                assert_eq!(found, (0..=rows).map(tid).collect::<Vec<_>>(), "{turns:?}");
                sweep(&store, &Ended(true), &Silent).unwrap();
                compacted(&store).unwrap();
            }
            steps
        };
        let (moving, inserting) = run(&[]);
        assert!(moving > 20 && inserting > 3, "{moving} and {inserting} steps");
        for first in 0..moving {
            for steps in 1..inserting + 4 {
                run(&[(0, first), (1, steps), (0, 1), (1, usize::MAX)]);
                for more in (2..moving - first).step_by(9) {
                    run(&[(0, first), (1, steps), (0, more), (1, usize::MAX)]);
                }
            }
        }
    }
}

#[test]
fn a_verifier_may_stop_anywhere() {
    for (dims, widths, rows) in KINDS {
        let (pages, ..) = one_list(dims, widths, rows);
        let run = |turns: &[(usize, usize)]| {
            let verify = |session: &Session<'_>| {
                let mut found = rows_of(session, &turns);
                found.sort_unstable();
                found.dedup();
                assert_eq!(found, (0..rows).map(tid).collect::<Vec<_>>(), "{turns:?}");
            };
            beside(&pages, turns, &verify).0
        };
        let (moving, verifying) = run(&[]);
        for first in 0..moving {
            for steps in 1..verifying {
                for more in [1, 2, 4, 8, 16, usize::MAX] {
                    run(&[(0, first), (1, steps), (0, more), (1, usize::MAX)]);
                }
            }
        }
    }
}

/// A verifier that began before the move reads the earlier summaries, but may find rows that came later.
#[test]
fn a_verifier_takes_new_rows_for_no_damage() {
    let (dims, widths, rows) = KINDS[1];
    let (pages, _, mut mixture) = one_list(dims, widths, rows);
    let row = mixture.draw();
    let key = |n: u64| keys(n)[0].unwrap_or_default();
    let most = (0..rows).map(key).max().unwrap();
    let new = (rows..).find(|n| key(*n) > most).unwrap();
    let run = |turns: &[(usize, usize)], at: usize| {
        let verify = |session: &Session<'_>| {
            let ticks = Cell::new(0);
            let tick = || {
                ticks.set(ticks.get() + 1);
                (at == ticks.get()).then(|| put(session, new, &row));
                Ok(())
            };
            let checked = check::check(session, &mut |_| Ok(()), &tick);
            checked.unwrap_or_else(|e| panic!("{turns:?}, {at}: {e:?}"));
            assert!(at > 0 || ticks.get() > 1);
        };
        beside(&pages, turns, &verify).0
    };
    let (moving, verifying) = run(&[], 0);
    for (first, steps) in (1..moving).flat_map(|first| (1..verifying).map(move |steps| (first, steps))) {
        for at in 1..4 {
            run(&[(1, steps), (0, first), (1, usize::MAX)], at);
        }
    }
}

#[test]
fn a_scan_may_stop_anywhere() {
    for (dims, widths, rows) in KINDS {
        let (pages, table, mut mixture) = one_list(dims, widths, rows);
        let query = mixture.draw();
        let run = |turns: &[(usize, usize)]| {
            let scan = |session: &Session<'_>| {
                let (current, next) = Directory::load_all(session).unwrap();
                let table = Rc::new(RefCell::new(table.clone()));
                let world = World { table, store: Default::default(), metric: Metric::L2 };
                let mut scan = Scan::new((Rc::new(current), next.map(Rc::new)), EXACT);
                let filter = if widths.is_empty() { Filter::default() } else { rare() };
                let passes = (!widths.is_empty()).then_some(is_rare as fn(u64) -> bool);
                scan.start_filtered(EXACT, Some(&query), filter);
                let mut heap = world.heap(&query);
                let found: Vec<_> = std::iter::from_fn(|| scan.next(session, &mut heap).unwrap()).collect();
                assert_same(&found, &world.truth(&query, usize::MAX, passes), &format!("{turns:?}"));
            };
            beside(&pages, turns, &scan).0
        };
        let (moving, scanning) = run(&[]);
        for first in (0..moving).step_by(2) {
            for steps in 1..scanning {
                for more in [1, 3, 9, usize::MAX] {
                    run(&[(0, first), (1, steps), (0, more), (1, usize::MAX)]);
                }
            }
        }
    }
}
