//! Who has begun to read or to insert when lists are replaced: at each step of the replacement, and before
//! each step of the reader, the rest of the replacement happens. On a primary the reader's pages stay as they
//! are; on a standby they are used again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rayon::ThreadPool;
use vector_search::error::{Error, Kind, Result};
use vector_search::ivf::build::Options;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::insert::{Inserted, insert};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::{Transactions, renew, sweep};
use vector_search::ivf::scan::{Directories, Scan};
use vector_search::ivf::search::Settings;
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::{check, info};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Change, Columns, Page, Prefetch, Store, Tid};
use vector_search::value::{Metric, TotalF64};

use crate::world::*;

/// A store in which something happens before one of the steps.
struct Amid<'a> {
    store: &'a MemoryStore,
    steps: Cell<u64>,
    before: u64,
    event: RefCell<Option<&'a dyn Fn()>>,
}

impl<'a> Amid<'a> {
    fn new(store: &'a MemoryStore, before: u64, event: &'a dyn Fn()) -> Self {
        Self { store, steps: Cell::new(0), before, event: RefCell::new(Some(event)) }
    }

    fn step(&self) {
        if self.steps.replace(self.steps.get() + 1) == self.before
            && let Some(event) = self.event.take()
        {
            event();
        }
    }

    fn has_happened(&self) -> bool {
        self.event.borrow().is_none()
    }
}

impl Prefetch for Amid<'_> {}

impl Store for Amid<'_> {
    type Read<'b>
        = Rc<Page>
    where
        Self: 'b;

    fn nblocks(&self) -> Result<u32> {
        self.store.nblocks()
    }

    fn read(&self, blkno: u32) -> Result<Rc<Page>> {
        self.step();
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
        self.step();
        self.store.change(f)
    }
}

/// Where the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// Its transaction keeps its pages.
    Primary,
    /// Nobody knows of it.
    Standby,
}

/// Transactions that have ended, or not.
struct Ended(bool);

impl Transactions for Ended {
    fn next(&self) -> u64 {
        7
    }

    fn now(&self) -> u64 {
        0
    }

    fn have_ended(&self, _: u64) -> bool {
        self.0
    }

    fn forget_ended(&self) {}
}

/// A small index, and what replaces its lists.
struct Case {
    world: World,
    options: Options,
    pool: ThreadPool,
    query: Vec<f32>,
}

impl Case {
    fn new(dims: usize, widths: &[u8], rows: u64) -> Self {
        let mut mixture = Mixture::new(dims, 3, 0.5, 8);
        let options =
            Options { lists: 2, columns: Columns::new(widths).unwrap(), ..options(dims, Metric::L2) };
        let world = World::build(table(&mut mixture, rows), &options);
        Self { world, options, pool: pool(), query: mixture.draw() }
    }

    /// The same as it was, with a table of its own.
    fn again(&self) -> World {
        let table = self.world.table.borrow().clone();
        World { table: Rc::new(RefCell::new(table)), store: self.world.store.snapshot(), metric: Metric::L2 }
    }

    fn renew(&self, world: &World, ended: bool) -> Result<()> {
        let table = world.table.borrow().clone();
        let mut source = TableSource(&table, self.options.columns.widths().len());
        let (mut spool, ended) = (MemorySpool::default(), Ended(ended));
        renew(&world.store, &self.options, &mut source, &mut spool, (&self.pool, &ended), &Silent).map(drop)
    }

    /// The rest of a replacement; rows are inserted after it. On a standby a further one follows, and a
    /// third, which uses the pages again of the lists that were replaced last, and ends after `cut` changes.
    fn finish(&self, world: &World, on: On, whole: bool, cut: u64) {
        let ended = on == On::Standby;
        for round in 0..if ended && !whole { 2 } else { 1 } {
            self.renew(world, ended).unwrap();
            sweep(&world.store, &Ended(ended), &Silent).unwrap();
            for n in 0..6 {
                world
                    .insert(1000 + 100 * round + n, self.query.iter().map(|x| x + n as f32 / 16.0).collect());
            }
        }
        if ended {
            world.store.stop_after(Some(cut));
            let _ = self.renew(world, ended);
            world.store.stop_after(None);
        }
    }

    /// Calls `reader` for each number of changes after which a replacement is interrupted, and each step of
    /// the reader before which it goes on. What a reader on a standby finds damaged must not be there any
    /// more.
    fn each(&self, on: On, what: &str, reader: &dyn Fn(&World, &Amid<'_>, &str) -> Result<()>) {
        let (mut whole, mut stop, mut cases) = (false, 0, 0);
        while !whole {
            let mut cut = 0;
            loop {
                for before in 0.. {
                    let world = self.again();
                    world.store.stop_after(Some(stop));
                    whole = self.renew(&world, on == On::Standby).is_ok();
                    world.store.stop_after(None);
                    let event = || self.finish(&world, on, whole, cut);
                    let amid = Amid::new(&world.store, before, &event);
                    let which =
                        format!("{what} on a {on:?}, {stop} changes, before step {before}, cut {cut}");
                    let old = world.directories();
                    match reader(&world, &amid, &which) {
                        Err(Error { kind: Kind::Corrupted, .. })
                            if on == On::Standby && amid.has_happened() =>
                        {
                            let now = world.directories();
                            assert!(old.0.meta != now.0.meta, "{which}: the lists were not replaced");
                        }
                        result => result.unwrap_or_else(|e| panic!("{which}: {e:?}")),
                    }
                    cases += 1;
                    if !amid.has_happened() {
                        break;
                    }
                }
                cut += 2;
                if !whole || on == On::Primary || cut > 30 {
                    break;
                }
            }
            stop += 1;
        }
        assert!(stop > 10 && cases > 3 * stop, "{what}: {cases} cases of {stop} changes");
    }
}

fn load(store: &impl Store) -> Result<Directories> {
    let (current, next) = Directory::load_all(store)?;
    Ok((Rc::new(current), next.map(Rc::new)))
}

/// A scan beside a replacement finds the rows that were there when it began, each once and in order.
fn scans(case: &Case, on: On, settings: Settings, filter: &Filter) {
    case.each(on, "a scan", &|world, amid, which| {
        let passes = |n: u64| {
            filter.clauses.iter().flat_map(Clause::conditions).all(|c| match (&c.accept, keys(n)[c.column]) {
                (Accept::Within(low, high), Some(key)) => (low..=high).contains(&&key),
                _ => false,
            })
        };
        let number = |t: Tid| u64::from(t.blkno) * 100 + u64::from(t.offset) - 1;
        let mut truth = world.truth(&case.query, usize::MAX, None);
        truth.retain(|(t, _)| passes(number(*t)));
        let mut scan = Scan::new(load(amid)?, settings);
        scan.start_filtered(settings, Some(&case.query), filter.clone());
        let mut heap = world.heap(&case.query);
        heap.damaged = on == On::Standby;
        let mut seen = Vec::new();
        while let Some(row) = scan.next(amid, &mut heap)? {
            seen.push(row);
        }
        seen.retain(|(t, _)| number(*t) < 1000 && passes(number(*t)));
        if !settings.in_order {
            seen.sort_by_key(|(row, value)| (TotalF64(*value), *row));
        }
        assert_same(&seen, &truth, which);
        Ok(())
    });
}

#[test]
fn scans_that_began_before_find_each_row_once() {
    let whole = Filter::default();
    let some = Condition { column: 0, accept: Accept::Within(10, 120) };
    let some = Filter { clauses: vec![Clause::One(some)] };
    for on in [On::Primary, On::Standby] {
        scans(&Case::new(8, &[], 36), on, EXACT, &whole);
        scans(&Case::new(8, &[], 36), on, Settings { in_order: false, ..EXACT }, &whole);
        scans(&Case::new(8, &[4, 8], 36), on, EXACT, &some);
    }
}

#[test]
fn the_verifier_finds_no_damage() {
    for on in [On::Primary, On::Standby] {
        for (dims, widths, rows) in [(8, &[][..], 36), (8, &[4, 8][..], 36)] {
            let case = Case::new(dims, widths, rows);
            case.each(on, "the verifier", &|_, amid, which| {
                let mut tids = Vec::new();
                let mut visit = |tid| {
                    tids.push(tid);
                    Ok(())
                };
                check::check(amid, &mut visit, &|| Ok(()))?;
                tids.sort_unstable();
                tids.dedup();
                tids.retain(|t| *t < tid(1000));
                assert_eq!(tids.len() as u64, rows, "{which}");
                Ok(())
            });
        }
    }
}

#[test]
fn the_description_of_an_index_is_right() {
    let case = Case::new(8, &[], 36);
    case.each(On::Primary, "the description", &|_, amid, _| info::info(amid, 0, &|| Ok(())).map(drop));
}

#[test]
fn inserts_that_began_before_are_in_the_index_once() {
    for (dims, widths, rows) in [(8, &[][..], 36), (8, &[4, 8][..], 36), (2100, &[][..], 32)] {
        let case = Case::new(dims, widths, rows);
        case.each(On::Primary, "an insert", &|world, amid, _| {
            let n = 900;
            loop {
                let (current, next) = load(amid)?;
                let directory = next.unwrap_or(current);
                let keys = &keys(n)[..widths.len()];
                let mut code = RowCode::new(&directory)?;
                if insert(amid, &directory, &mut code, tid(n), &case.query, keys)? == Inserted::Yes {
                    break;
                }
            }
            world.table.borrow_mut().insert(n, case.query.clone());
            world.check();
            Ok(())
        });
    }
}

/// What a directory says of its lists.
fn described(directory: &Directory) -> Vec<(Vec<i8>, u32, (u32, u32))> {
    let lists = 0..directory.lists();
    lists
        .map(|list| (directory.centroid(list).0.to_vec(), directory.owner(list), directory.head(list)))
        .collect()
}

#[test]
fn directories_are_read_whole() {
    let case = Case::new(8, &[], 36);
    for on in [On::Primary, On::Standby] {
        case.each(on, "a reader of directories", &|world, amid, which| {
            let old = world.directories();
            let read = load(amid)?;
            let now = world.directories();
            let known = [Some(old.0), old.1, Some(now.0), now.1];
            for read in std::iter::once(read.0).chain(read.1) {
                let same = known.iter().flatten().filter(|known| known.meta == read.meta);
                same.for_each(|known| assert_eq!(described(known), described(&read), "{which}"));
            }
            Ok(())
        });
    }
}
