//! Lists move to free pages while the index is in use.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};

use vector_search::error::{Error, Kind, Result};
use vector_search::ivf::build::Options;
use vector_search::ivf::check;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::{Directory, read_root};
use vector_search::ivf::insert::{Inserted, insert};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::{Compacted, compact, end_in_use, sweep};
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::filter::Filter;
use vector_search::page::{Change, Columns, Page, PageHandle, Prefetch, Store, Tid};
use vector_search::value::Metric;

use crate::renew::{Beside, Ended, IN_USE, interleaved_with, renewed, scanned};
use crate::world::*;

/// An index whose lists were replaced once, so that half of its file is free. Rows came in between.
fn half_free(options: &Options, rows: u64, more: u64) -> (World, Mixture) {
    let mut mixture = Mixture::new(options.dims, 4, 0.5, 2);
    let world = World::build(table(&mut mixture, rows), options);
    {
        let (mixture, next) = (RefCell::new(&mut mixture), Cell::new(rows));
        let act = |_: u64| {
            if next.get() < rows + more && read_root(&world.store).unwrap().next.is_some() {
                world.insert(next.replace(next.get() + 1), mixture.borrow_mut().draw());
            }
        };
        let beside = Beside { store: &world.store, changes: Cell::new(0), others: &act };
        renewed(&world, &beside, options, true).unwrap();
    }
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    world.check();
    (world, mixture)
}

fn compacted(store: &impl Store) -> Result<Option<Compacted>> {
    compact(store, &Ended(true), &Silent)
}

/// The pages of a file without the free ones at its end, once nobody reads those that lists have left.
fn end(world: &World) -> u32 {
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    end_in_use(&world.store, &Silent).unwrap()
}

#[test]
fn the_file_becomes_about_as_short_as_that_of_a_new_build() {
    for (dims, metric, bits, widths) in [
        (32, Metric::L2, 4, &[][..]),
        (32, Metric::Cosine, 8, &[4, 8]),
        (32, Metric::InnerProduct, 1, &[4]),
        (2500, Metric::L2, 4, &[]),
    ] {
        let rows = if dims > 1000 { 700 } else { 12_000 };
        let columns = Columns::new(widths).unwrap();
        let options = Options { lists: 12, bits, columns, ..options(dims, metric) };
        let (world, mut mixture) = half_free(&options, rows, 9);
        let fresh = World::build(world.table.borrow().clone(), &options).store.nblocks().unwrap();
        let before = end(&world);
        assert!(compacted(&world.store).unwrap().is_some());
        let after = end(&world);
        let what = format!("{dims} dimensions, {metric:?}, {bits} bits: {before} to {after}, new {fresh}");
        assert!(
            f64::from(after) <= 1.3 * f64::from(fresh) && f64::from(before) > 1.7 * f64::from(fresh),
            "{what}"
        );
        let report = world.check();
        assert_eq!(report.unused_pages, read_root(&world.store).unwrap().free, "{what}");
        // Soon there is nothing to do, and the free pages stay known.
        let again = (0..3).filter(|_| compacted(&world.store).unwrap().is_some() && end(&world) > 0).count();
        assert!(again < 3, "{what}");
        assert_eq!(world.check().unused_pages, read_root(&world.store).unwrap().free, "{what}");
        let pages = world.store.nblocks().unwrap();
        for n in 20_000..20_100 {
            world.insert(n, mixture.draw());
        }
        assert_eq!(world.store.nblocks().unwrap(), pages, "{what}: inserts take free pages");
        world.delete(|n| n % 3 == 1);
        world.check();
        let query = mixture.draw();
        assert_same(&world.search(&query, EXACT, 20_000), &world.truth(&query, 20_000, None), &what);
    }
}

/// A page's place in the log says whether the log has it since the last checkpoint. A copy must not claim it.
#[test]
fn a_copy_has_not_the_place_in_the_log_of_its_source() {
    let options = Options { lists: 12, ..options(32, Metric::L2) };
    let (world, _) = half_free(&options, 12_000, 0);
    let free: Vec<u32> = (0..world.store.nblocks().unwrap())
        .filter(|&blkno| world.directory().is_free(&world.store.read(blkno).unwrap()))
        .collect();
    for blkno in 0..world.store.nblocks().unwrap() {
        let place = if free.contains(&blkno) { [1; 8] } else { [2; 8] };
        world.store.damage(blkno, |page| page.bytes_mut()[..8].copy_from_slice(&place));
    }
    assert!(compacted(&world.store).unwrap().is_some());
    let place = |blkno: &&u32| world.store.read(**blkno).unwrap().bytes()[0];
    assert!(free.iter().all(|blkno| place(&blkno) != 2), "pages have the place of others");
    let kept = free.iter().filter(|blkno| place(blkno) == 1).count();
    assert!(kept > free.len() / 2, "{kept} of {} pages kept theirs", free.len());
}

#[test]
fn moves_that_are_interrupted_again_and_again_leave_no_pages() {
    let options = Options { lists: 12, ..options(32, Metric::L2) };
    let (world, _) = half_free(&options, 12_000, 9);
    let other = World { table: world.table.clone(), store: world.store.snapshot(), metric: Metric::L2 };
    let before = other.store.changes();
    assert!(compacted(&other.store).unwrap().is_some());
    let changes = other.store.changes() - before;
    let mut interrupted = 0;
    for tenths in [1, 2, 3, 3, 2, 1, 4, 5] {
        world.store.stop_after(Some(changes * tenths / 10));
        interrupted += u32::from(compacted(&world.store).is_err());
        world.store.stop_after(None);
        sweep(&world.store, &Ended(true), &Silent).unwrap();
        world.check();
    }
    compacted(&world.store).unwrap();
    assert!(interrupted > 4, "{interrupted} were interrupted");
    let (often, once) = (end(&world), end(&other));
    assert!(often <= once + 12, "{often} pages, and {once} if nothing interrupts");
    world.check();
}

#[test]
fn strings_of_bits_move_too() {
    let options = Options { lists: 6, bits: 1, ..options(512, Metric::Hamming) };
    let mut mixture = Mixture::new(512, 5, 0.5, 9);
    let mut draw = || mixture.draw().iter().map(|x| f32::from(u8::from(*x > 0.0))).collect::<Vec<f32>>();
    let world = World::build((0..6000).map(|n| (n, draw())).collect(), &options);
    renewed(&world, &world.store, &options, true).unwrap();
    let before = end(&world);
    assert!(compacted(&world.store).unwrap().is_some());
    assert!(end(&world) < before * 2 / 3);
    world.check();
    let query = draw();
    assert_same(&world.search(&query, EXACT, 6000), &world.truth(&query, 6000, None), "moved");
}

/// Scans and inserts go on at each step of a move, and when the pages that lists have left are used again.
fn interleaved(dims: usize, metric: Metric, widths: &[u8], before: u64) {
    let columns = Columns::new(widths).unwrap();
    let options = Options { lists: 4, columns, ..options(dims, metric) };
    let (world, mut mixture) = half_free(&options, before, 3);
    let next = interleaved_with(&world, &mut mixture, before + 3, &|beside| {
        let done = compacted(beside).unwrap().unwrap();
        assert!(done.lists > 1);
    });
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    (next..next + 300).for_each(|n| world.insert(n, mixture.draw()));
    world.check();
}

#[test]
fn scans_and_inserts_go_on_at_every_step() {
    for (dims, metric, widths, rows) in IN_USE {
        interleaved(dims, metric, widths, rows);
    }
}

#[test]
fn what_a_crash_interrupts_does_no_harm() {
    let columns = Columns::new(&[4]).unwrap();
    let options = Options { lists: 3, columns, ..options(24, Metric::L2) };
    let (built, mut mixture) = half_free(&options, 400, 2);
    for again in [false, true] {
        let mut stops = 0;
        for stop in 0.. {
            let table = Rc::new(RefCell::new(built.table.borrow().clone()));
            let world = World { table, store: built.store.snapshot(), metric: Metric::L2 };
            world.store.stop_after(Some(stop));
            let whole = compacted(&world.store).is_ok();
            world.store.stop_after(None);
            world.check();
            (1000..1020).for_each(|n| world.insert(n, mixture.draw()));
            world.check();
            world.delete(|n| n % 5 == 1);
            sweep(&world.store, &Ended(true), &Silent).unwrap();
            if again {
                compacted(&world.store).unwrap();
                world.check();
            }
            renewed(&world, &world.store, &options, true).unwrap();
            // No page is lost: all but those of the lists are found free.
            sweep(&world.store, &Ended(true), &Silent).unwrap();
            let report = world.check();
            let free = read_root(&world.store).unwrap().free;
            assert_eq!(report.unused_pages, free, "stopped after {stop} changes");
            let query = mixture.draw();
            assert_same(&world.search(&query, EXACT, 500), &world.truth(&query, 500, None), "after a crash");
            if whole {
                break;
            }
            stops += 1;
        }
        assert!(stops > 15, "{stops} stops");
    }
}

#[test]
fn pages_that_somebody_may_read_are_not_used_again() {
    let options = Options { lists: 3, ..options(24, Metric::L2) };
    let (world, mut mixture) = half_free(&options, 300, 0);
    let query = mixture.draw();
    let truth = world.truth(&query, 300, None);
    let old = world.directories();
    assert!(compact(&world.store, &Ended(false), &Silent).unwrap().is_some());
    assert_eq!(sweep(&world.store, &Ended(false), &Silent).unwrap(), None);
    // Not before these are free.
    assert_eq!(compact(&world.store, &Ended(false), &Silent).unwrap(), None);
    (300..700).for_each(|n| world.insert(n, mixture.draw()));
    let mut seen = scanned(&world, &old, &query, EXACT);
    seen.retain(|row| truth.contains(row));
    assert_same(&seen, &truth, "a scan that began before");
    world.check();
}

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

/// An index of one list with rows 0 to `rows`, ready to be moved.
fn one_list(dims: usize, widths: &[u8], rows: u64) -> (Vec<Arc<Page>>, Table, Mixture) {
    let columns = Columns::new(widths).unwrap();
    let options = Options { lists: 1, columns, ..options(dims, Metric::L2) };
    let (world, mixture) = half_free(&options, rows - 2, 2);
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
                scan.start_filtered(EXACT, Some(&query), Filter::default());
                let mut heap = world.heap(&query);
                let found: Vec<_> = std::iter::from_fn(|| scan.next(session, &mut heap).unwrap()).collect();
                assert_same(&found, &world.truth(&query, usize::MAX, None), &format!("{turns:?}"));
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
