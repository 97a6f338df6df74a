//! Lists move to free pages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vector_search::error::Result;
use vector_search::ivf::build::Options;
use vector_search::ivf::directory::read_root;
use vector_search::ivf::progress::{Progress, Silent};
use vector_search::ivf::renew::{Compacted, compact, end_in_use, rows, sweep};
use vector_search::ivf::search::filter::Filter;
use vector_search::page::{Columns, Store};
use vector_search::value::Metric;

use crate::renew::{Beside, Ended, IN_USE, interleaved_with, renewed, scanned};
use crate::world::*;

/// An index whose lists were replaced once, so that half of its file is free. Rows came in between.
fn half_free(options: &Options, rows: u64, more: u64) -> (World, Mixture) {
    mostly_free(options, (rows, 0), more)
}

/// The same after so many rows were `deleted`. The more there were, the nearer to the end of the file are its
/// list states, summaries and origin.
pub fn mostly_free(options: &Options, (rows, deleted): (u64, u64), more: u64) -> (World, Mixture) {
    let mut mixture = Mixture::new(options.dims, 4, 0.5, 2);
    let world = World::build(table(&mut mixture, rows + deleted), options);
    world.delete(|n| n >= rows);
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

pub fn compacted(store: &impl Store) -> Result<Option<Compacted>> {
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

/// After a table has lost most of its rows, list states, summaries and the origin lie where the file of the
/// earlier lists ended.
#[test]
fn the_file_becomes_short_after_most_rows_are_deleted() {
    for (dims, metric, bits, widths, lists) in [
        (32, Metric::L2, 4, &[][..], 3),
        (32, Metric::Cosine, 8, &[4, 8], 3),
        (32, Metric::InnerProduct, 1, &[4], 600),
        (2500, Metric::L2, 4, &[4], 3),
    ] {
        let rows = if dims > 1000 { 80 } else { 1200 };
        let columns = Columns::new(widths).unwrap();
        let options = Options { lists, bits, columns, ..options(dims, metric) };
        let (world, mut mixture) = mostly_free(&options, (rows, 9 * rows), 5);
        let fresh = World::build(world.table.borrow().clone(), &options).store.nblocks().unwrap();
        let before = end(&world);
        let first = world.directory().meta.lists_first;
        assert!(compacted(&world.store).unwrap().is_some());
        let (after, now) = (end(&world), world.directory().meta.lists_first);
        let what =
            format!("{dims} dimensions, {bits} bits: {before} to {after}, new {fresh}; {first}, {now}");
        assert!(first > after && after <= fresh + fresh / 2 && after < before / 2, "{what}");
        let report = world.check();
        assert_eq!(report.unused_pages, read_root(&world.store).unwrap().free, "{what}");
        (rows + 5..rows + 200).for_each(|n| world.insert(n, mixture.draw()));
        world.delete(|n| n % 3 == 1);
        world.check();
        let query = mixture.draw();
        assert_same(&world.search(&query, EXACT, 3000), &world.truth(&query, 3000, None), &what);
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
fn interleaved(dims: usize, metric: Metric, widths: &[u8], (before, deleted): (u64, u64)) {
    let columns = Columns::new(widths).unwrap();
    let options = Options { lists: 4, columns, ..options(dims, metric) };
    let (world, mut mixture) = mostly_free(&options, (before, deleted), 3);
    let first = world.directory().meta.lists_first;
    let next = interleaved_with(&world, &mut mixture, before + 3, &|beside| {
        let done = compacted(beside).unwrap().unwrap();
        assert!(done.lists > 1);
    });
    assert_eq!(world.directory().meta.lists_first != first, deleted > 0, "list states have moved");
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    (next..next + 300).for_each(|n| world.insert(n, mixture.draw()));
    world.check();
}

#[test]
fn scans_and_inserts_go_on_at_every_step() {
    for (dims, metric, widths, rows) in IN_USE {
        interleaved(dims, metric, widths, (rows, 0));
        interleaved(dims, metric, widths, (rows, 12 * rows));
    }
}

#[test]
fn what_a_crash_interrupts_does_no_harm() {
    let columns = Columns::new(&[4]).unwrap();
    let options = Options { lists: 3, columns, ..options(24, Metric::L2) };
    let (built, mut mixture) = mostly_free(&options, (400, 1600), 2);
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

/// Inserts rows when the plan of a move is made.
struct InsertsAtPlan<'a>(&'a World, RefCell<Mixture>);

impl Progress for InsertsAtPlan<'_> {
    fn total(&self, _: u64) {
        (100..200).for_each(|n| self.0.insert(n, self.1.borrow_mut().draw()));
    }

    fn tick(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn list_states_move_though_all_lists_become_too_long_meanwhile() {
    let options = Options { lists: 2, ..options(1500, Metric::L2) };
    let (world, mixture) = mostly_free(&options, (40, 400), 0);
    let first = world.directory().meta.lists_first;
    let done = compact(&world.store, &Ended(true), &InsertsAtPlan(&world, mixture.into())).unwrap();
    assert_eq!(done, Some(Compacted { lists: 0 }));
    assert!(world.directory().meta.lists_first < first);
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    world.check();
    assert_eq!(rows(&world.store, &world.directory()).unwrap(), 40);
    renewed(&world, &world.store, &options, true).unwrap();
    world.check();
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
    let mut seen = scanned(&world, &old, &query, Filter::default());
    seen.retain(|row| truth.contains(row));
    assert_same(&seen, &truth, "a scan that began before");
    world.check();
}
