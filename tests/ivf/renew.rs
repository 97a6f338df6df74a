//! Lists are replaced while the index is in use.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vector_search::error::Result;
use vector_search::ivf::build::{Options, RowSink, Source};
use vector_search::ivf::calibrate::vacuum::refresh;
use vector_search::ivf::calibrate::{Queries, recalibrate};
use vector_search::ivf::directory::{Directory, read_root};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::{Reason, Renewed, Transactions, is_due, is_due_again, renew, sweep};
use vector_search::ivf::scan::{Directories, Scan};
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::{check, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::meta::META_BLOCK;
use vector_search::page::{Change, Columns, Meta, NO_BLOCK, Page, Prefetch, Root, Store, Tid};
use vector_search::value::Metric;

use crate::random::Random;
use crate::world::*;

/// All transactions have ended, or none.
pub struct Ended(pub bool);

impl Transactions for Ended {
    fn next(&self) -> u64 {
        7
    }

    fn now(&self) -> u64 {
        1_700_000_000
    }

    fn have_ended(&self, before: u64) -> bool {
        assert_eq!(before, 7);
        self.0
    }

    fn forget_ended(&self) {}
}

/// A store beside whose changes others act: before each, with its number.
pub struct Beside<'a> {
    pub store: &'a MemoryStore,
    pub changes: Cell<u64>,
    pub others: &'a dyn Fn(u64),
}

impl Prefetch for Beside<'_> {}

impl Store for Beside<'_> {
    type Read<'b>
        = Rc<Page>
    where
        Self: 'b;

    fn nblocks(&self) -> Result<u32> {
        self.store.nblocks()
    }

    fn read(&self, blkno: u32) -> Result<Rc<Page>> {
        self.store.read(blkno)
    }

    fn reserve(&self, count: u32) -> Result<u32> {
        self.act();
        self.store.reserve(count)
    }

    fn forget_free(&self) -> Result<()> {
        self.act();
        self.store.forget_free()
    }

    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()> {
        self.act();
        self.store.add_free(blknos)
    }

    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        self.act();
        self.store.change(f)
    }
}

impl Beside<'_> {
    fn act(&self) {
        let number = self.changes.replace(self.changes.get() + 1);
        (self.others)(number);
    }
}

/// The table as it is when it is read.
struct Live<'a>(&'a World, usize);

impl Source for Live<'_> {
    fn rows_hint(&self) -> u64 {
        self.0.table.borrow().len() as u64
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let table = self.0.table.borrow().clone();
        TableSource(&table, self.1).sample(want, sink)
    }

    // A scan misses rows that are updated meanwhile: here one in seven.
    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()> {
        let mut table = self.0.table.borrow().clone();
        table.retain(|n, _| n % 7 != 3);
        TableSource(&table, self.1).scan(sink)
    }

    fn look_up(&mut self, rows: &[Tid], sink: &mut RowSink<'_>) -> Result<()> {
        let mut table = self.0.table.borrow().clone();
        table.retain(|n, _| rows.contains(&tid(*n)));
        TableSource(&table, self.1).scan(sink)
    }
}

/// Replaces the lists of an index.
pub fn renewed(world: &World, store: &impl Store, options: &Options, ended: bool) -> Result<Renewed> {
    let mut source = Live(world, options.columns.widths().len());
    let transactions = Ended(ended);
    renew(store, options, &mut source, &mut MemorySpool::default(), (&pool(), &transactions), &Silent)
}

/// All rows of a scan that reads these lists.
pub fn scanned(world: &World, lists: &Directories, query: &[f32], filter: Filter) -> Vec<(Tid, f64)> {
    let mut scan = Scan::new(lists.clone(), EXACT);
    scan.start_filtered(EXACT, Some(query), filter);
    let mut heap = world.heap(query);
    std::iter::from_fn(|| scan.next(&world.store, &mut heap).unwrap()).collect()
}

fn codes_read(world: &World, queries: &[Vec<f32>]) -> (u64, f64) {
    let (mut codes, mut found) = (0, 0);
    for query in queries {
        let mut scan = Scan::new(world.directories(), DEFAULT);
        scan.start_filtered(DEFAULT, Some(query), Filter::default());
        let mut heap = world.heap(query);
        let rows: Vec<_> =
            std::iter::from_fn(|| scan.next(&world.store, &mut heap).unwrap()).take(10).collect();
        let truth = world.truth(query, 10, None);
        found += truth.iter().filter(|row| rows.contains(row)).count();
        codes += scan.stats().codes;
    }
    (codes, found as f64 / (10 * queries.len()) as f64)
}

#[test]
fn an_index_that_was_made_empty_becomes_as_good_as_one_that_is_built() {
    let mut mixture = Mixture::new(32, 60, 0.6, 1);
    let options = options(32, Metric::L2);
    let rows = table(&mut mixture, 20_000);
    let world = World::build(Table::new(), &options);
    rows.iter().for_each(|(n, vector)| world.insert(*n, vector.clone()));
    vacuum::count(&world.store, &|| Ok(())).unwrap();
    let root = read_root(&world.store).unwrap();
    assert_eq!(is_due(&world.store, &root, 0).unwrap(), Some(Reason::Grown));

    let done = renewed(&world, &world.store, &options, true).unwrap();
    assert_eq!((done.rows, done.lists), (20_000, 80));
    world.check();
    let root = read_root(&world.store).unwrap();
    assert_eq!((root.version(), root.retired), (5, 7));
    assert_eq!(is_due(&world.store, &root, 0).unwrap(), None);

    let fresh = World::build(rows, &options);
    let queries: Vec<_> = (0..100).map(|_| mixture.draw()).collect();
    let ((codes, recall), (fresh_codes, _)) = (codes_read(&world, &queries), codes_read(&fresh, &queries));
    assert!(codes as f64 <= 1.15 * fresh_codes as f64, "{codes} codes, {fresh_codes} in a fresh build");
    assert!(recall >= 0.94, "recall {recall}");
    // Its old pages are used again.
    let pages = world.store.nblocks().unwrap();
    assert!(sweep(&world.store, &Ended(true), &Silent).unwrap().unwrap() > 100);
    let mut random = Random(3);
    for n in 20_000..24_000 {
        world.insert(n, (0..32).map(|_| random.normal()).collect());
    }
    assert_eq!(world.store.nblocks().unwrap(), pages);
    world.check();
}

/// Rows come while lists are replaced: before new lists take them (they are copied then) or after.
fn growing_while_replaced(early: bool) {
    let mut mixture = Mixture::new(24, 20, 0.6, 6);
    let options = options(24, Metric::L2);
    let world = World::build(Table::new(), &options);
    table(&mut mixture, 12_000).into_iter().for_each(|(n, vector)| world.insert(n, vector));
    vacuum::count(&world.store, &|| Ok(())).unwrap();
    let more = RefCell::new(table(&mut mixture, 24_000).into_iter().skip(12_000));
    let act = |_: u64| {
        if early || read_root(&world.store).unwrap().next.is_some() {
            more.borrow_mut().by_ref().take(1000).for_each(|(n, vector)| world.insert(n, vector));
        }
    };
    let beside = Beside { store: &world.store, changes: Cell::new(0), others: &act };
    let first = renewed(&world, &beside, &options, true).unwrap();
    assert_eq!(more.borrow().len(), 0);
    assert_eq!(first.rows, if early { 24_000 } else { 12_000 });
    // Nobody has counted the rows that came, or knows that the lists were made for fewer.
    let root = read_root(&world.store).unwrap();
    assert_eq!(is_due(&world.store, &root, 0).unwrap(), None);
    // Nor does it matter that half of the file is free.
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    assert_eq!(is_due_again(&world.store, 0, 12_000, &Silent).unwrap(), Some(Reason::Grown));
    let second = renewed(&world, &world.store, &options, true).unwrap();
    assert_eq!(second, Renewed { rows: 24_000, lists: 96 });
    assert_eq!(is_due_again(&world.store, 0, 24_000, &Silent).unwrap(), None);
    world.check();
}

#[test]
fn rows_that_come_while_lists_are_replaced_make_it_due_again() {
    growing_while_replaced(false);
    growing_while_replaced(true);
}

/// Dimensions, metrics, filter columns and rows of indexes that are changed while they are in use.
pub const IN_USE: [(usize, Metric, &[u8], u64); 4] = [
    (24, Metric::L2, &[], 300),
    (24, Metric::Cosine, &[4, 8], 300),
    (24, Metric::L1, &[4], 300),
    (2500, Metric::L2, &[], 40),
];

/// Rows and their values.
type Found = Vec<(Tid, f64)>;

/// A filter that most lists do not pass.
pub fn rare() -> Filter {
    let clause = Condition { column: 0, accept: Accept::Within(RARE, u64::MAX) };
    Filter { clauses: vec![Clause::One(clause)] }
}

/// Whether a row passes it.
pub fn is_rare(n: u64) -> bool {
    keys(n)[0].is_some_and(|key| key >= RARE)
}

const RARE: u64 = 252;

/// Scans that began at any step of some work find each row once, in order, at every later step; rows from
/// `next` on are inserted at every step, and each is in the index. Returns the number of the next row.
pub fn interleaved_with(world: &World, mixture: &mut Mixture, next: u64, work: &dyn Fn(&Beside<'_>)) -> u64 {
    let query = mixture.draw();
    let (mixture, next) = (RefCell::new(mixture), Cell::new(next));
    let begun: RefCell<Vec<(Directories, [Found; 2])>> = RefCell::default();
    let has_columns = !world.directory().meta.columns.is_empty();
    let filters = if has_columns { vec![Filter::default(), rare()] } else { vec![Filter::default()] };
    let act = |_: u64| {
        let truths = [None, Some(is_rare as fn(u64) -> bool)].map(|of| world.truth(&query, usize::MAX, of));
        // A snapshot is older than what it reads: rows that come later are none of its business.
        begun.borrow_mut().push((world.directories(), truths));
        for (lists, truths) in begun.borrow().iter() {
            for (filter, truth) in filters.iter().zip(truths) {
                let seen = scanned(world, lists, &query, filter.clone());
                let seen: Vec<_> = seen.into_iter().filter(|row| truth.contains(row)).collect();
                assert_same(&seen, truth, "a scan that began before");
            }
        }
        if next.get().is_multiple_of(3) {
            world.check();
        }
        let n = next.replace(next.get() + 1);
        world.insert(n, mixture.borrow_mut().draw());
    };
    work(&Beside { store: &world.store, changes: Cell::new(0), others: &act });
    act(0);
    world.check();
    assert!(begun.borrow().len() > 10, "{} steps", begun.borrow().len());
    next.get()
}

fn interleaved(dims: usize, metric: Metric, widths: &[u8], before: u64) {
    let mut mixture = Mixture::new(dims, 4, 0.5, 2);
    let columns = Columns::new(widths).unwrap();
    let options = Options { lists: 4, columns, ..options(dims, metric) };
    let world = World::build(table(&mut mixture, before), &options);
    interleaved_with(&world, &mut mixture, before, &|beside| {
        renewed(&world, beside, &options, true).unwrap();
    });
}

#[test]
fn scans_and_inserts_go_on_at_every_step() {
    for (dims, metric, widths, rows) in IN_USE {
        interleaved(dims, metric, widths, rows);
    }
}

#[test]
fn what_a_crash_interrupts_is_gone_on_with() {
    let mut mixture = Mixture::new(24, 3, 0.5, 3);
    let columns = Columns::new(&[4]).unwrap();
    let options = Options { lists: 3, columns, ..options(24, Metric::L2) };
    let built = World::build(table(&mut mixture, 400), &options);
    let mut stops = 0;
    for stop in 0.. {
        let world = World {
            table: Rc::new(RefCell::new(built.table.borrow().clone())),
            store: built.store.snapshot(),
            metric: Metric::L2,
        };
        world.store.stop_after(Some(stop));
        let whole = renewed(&world, &world.store, &options, true).is_ok();
        world.store.stop_after(None);
        world.check();
        for n in 1000..1040 {
            world.insert(n, mixture.draw());
        }
        world.check();
        if !whole {
            stops += 1;
            renewed(&world, &world.store, &options, true).unwrap();
            world.check();
        }
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
    }
    assert!(stops > 15, "{stops} stops");
}

#[test]
fn pages_that_somebody_may_read_are_not_used_again() {
    let mut mixture = Mixture::new(24, 3, 0.5, 4);
    let options = Options { lists: 3, ..options(24, Metric::L2) };
    let world = World::build(table(&mut mixture, 300), &options);
    let query = mixture.draw();
    let truth = world.truth(&query, 300, None);
    let old = world.directories();
    for _ in 0..3 {
        renewed(&world, &world.store, &options, false).unwrap();
        assert_eq!(sweep(&world.store, &Ended(false), &Silent).unwrap(), None);
        for n in 300..400 {
            world.insert(n, mixture.draw());
        }
        let mut seen = scanned(&world, &old, &query, Filter::default());
        seen.retain(|row| truth.contains(row));
        assert_same(&seen, &truth, "a scan that began before");
        world.delete(|n| n >= 300);
    }
    world.check();
}

#[test]
fn a_stale_directory_writes_nothing() {
    use vector_search::ivf::code::RowCode;
    use vector_search::ivf::insert::{Inserted, insert};
    let mut mixture = Mixture::new(24, 3, 0.5, 5);
    let options = Options { lists: 3, ..options(24, Metric::L2) };
    let world = World::build(table(&mut mixture, 300), &options);
    let old = Directory::load(&world.store).unwrap();
    renewed(&world, &world.store, &options, true).unwrap();
    let changes = world.store.changes();
    let mut code = RowCode::new(&old).unwrap();
    let inserted = insert(&world.store, &old, &mut code, tid(999), &mixture.draw(), &[]).unwrap();
    assert_eq!((inserted, world.store.changes()), (Inserted::Stale, changes));
    let mut tids = 0;
    let mut count = |_| {
        tids += 1;
        Ok(())
    };
    check::check(&world.store, &mut count, &|| Ok(())).unwrap();
    assert_eq!(tids, 300);
}

#[test]
fn what_users_have_told_an_index_stays() {
    let mut mixture = Mixture::new(32, 60, 0.6, 6);
    let options = options(32, Metric::L2);
    let world = World::build(table(&mut mixture, 12_000), &options);
    // Queries between the clusters need more lists than rows do.
    let mut far = || (0..32).map(|_| mixture.draw()[0]).collect::<Vec<f32>>();
    let asked: Vec<f32> = (0..300).flat_map(|_| far()).collect();
    let by_rows = read_root(&world.store).unwrap().current.tables();
    let told = recalibrate(&world.store, &asked, Queries::Asked, &Silent).unwrap().tables();
    assert!(told[0][5] > 1.5 * by_rows[0][5], "{} lists for such queries, {}", told[0][5], by_rows[0][5]);
    for _ in 0..2 {
        renewed(&world, &world.store, &options, true).unwrap();
        let kept = read_root(&world.store).unwrap().current.tables();
        assert!(kept[0][5] > 0.75 * told[0][5], "{} lists of {}", kept[0][5], told[0][5]);
        // VACUUM's own calibration leaves it alone.
        assert!(!refresh(&world.store, true, 1, &Silent).unwrap());
    }
}

#[test]
fn an_index_of_an_earlier_version_is_brought_to_the_newest_format() {
    let mut mixture = Mixture::new(16, 30, 0.7, 7);
    let columns = Columns::new(&[4, 8]).unwrap();
    let options = Options { columns, ..options(16, Metric::L2) };
    let world = World::build(table(&mut mixture, 11_000), &options);
    // As version 0.1.0 wrote it: without summaries, and lists measured for ten rows.
    let old = Meta {
        may_be_plain: false,
        summaries_first: NO_BLOCK,
        efforts: Default::default(),
        between: Default::default(),
        farther: Default::default(),
        ..world.directory().meta.clone()
    };
    let written = world.store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        Root::of(old).write(change.page_mut(handle));
        Ok(())
    });
    written.unwrap();
    let root = read_root(&world.store).unwrap();
    assert_eq!((root.version(), is_due(&world.store, &root, 0).unwrap()), (2, None));
    (20_000..25_000).for_each(|n| world.insert(n, mixture.draw()));
    vacuum::count(&world.store, &|| Ok(())).unwrap();
    assert_eq!(is_due(&world.store, &root, 0).unwrap(), Some(Reason::Grown));
    renewed(&world, &world.store, &options, true).unwrap();
    sweep(&world.store, &Ended(true), &Silent).unwrap();
    let report = world.check();
    let root = read_root(&world.store).unwrap();
    assert_eq!((root.version(), root.free), (5, report.unused_pages));
    assert!(root.current.summaries_first != NO_BLOCK && root.current.farther.is_known());
    let query = mixture.draw();
    assert_same(&world.search(&query, EXACT, 500), &world.truth(&query, 500, None), "after the renewal");
}
