//! Conditions on filter columns: the same rows as a sequential scan with the same conditions.

use std::cell::RefCell;
use std::rc::Rc;

use vector_search::error::{Kind, Result};
use vector_search::ivf::directory::Directory;
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::search::{Order, Search, Settings};
use vector_search::ivf::{check, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::meta::META_BLOCK;
use vector_search::page::{Change, Columns, Key, Meta, NO_BLOCK, Page, Prefetch, Root, Store, Tid, summary};
use vector_search::value::Metric;

use crate::random::Random;
use crate::world::{self, DEFAULT, EXACT, Mixture, World, assert_same, keys, options, table};

/// The condition, evaluated directly.
fn fits(key: Key, accept: &Accept) -> bool {
    match (key, accept) {
        (None, Accept::Null) => true,
        (None, _) | (Some(_), Accept::Null) => false,
        (Some(key), Accept::Within(low, high)) => *low <= key && key <= *high,
        (Some(key), Accept::OneOf(wanted)) => wanted.contains(&key),
        (Some(key), Accept::NoneOf(others)) => !others.contains(&key),
        (Some(key), Accept::AllBits(bits)) => key & bits == *bits,
        (Some(key), Accept::AnyBits(bits)) => key & bits != 0,
        (Some(_), Accept::NotNull) => true,
    }
}

fn holds(clause: &Clause, n: u64) -> bool {
    match clause {
        Clause::One(condition) => fits(keys(n)[condition.column], &condition.accept),
        Clause::All(parts) => parts.iter().all(|part| holds(part, n)),
        Clause::Any(parts) => parts.iter().any(|part| holds(part, n)),
    }
}

fn passes(filter: &Filter, n: u64) -> bool {
    filter.clauses.iter().all(|clause| holds(clause, n))
}

fn filter(conditions: &[(usize, Accept)]) -> Filter {
    Filter { clauses: conditions.iter().map(|(column, accept)| one(*column, accept.clone())).collect() }
}

fn one(column: usize, accept: Accept) -> Clause {
    Clause::One(Condition { column, accept })
}

fn with_columns(dims: usize, metric: Metric) -> vector_search::ivf::build::Options {
    let columns = Columns::new(&[4, 8]).unwrap();
    vector_search::ivf::build::Options { columns, ..options(dims, metric) }
}

fn search(world: &World, query: &[f32], settings: Settings, filter: &Filter, n: usize) -> Vec<(Tid, f64)> {
    found_and_skipped(world, query, settings, filter, n).0
}

/// Returns the rows that a search finds, and the number of lists that it skips.
fn found_and_skipped(
    world: &World,
    query: &[f32],
    settings: Settings,
    filter: &Filter,
    n: usize,
) -> (Vec<(Tid, f64)>, u64) {
    let mut search = Search::new(world.directory(), settings);
    search.start_filtered(settings, Some(query), filter.clone());
    let mut heap = world.heap(query);
    let found = std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(n).collect();
    (found, search.stats().skipped)
}

fn truth(world: &World, query: &[f32], filter: &Filter, n: usize) -> Vec<(Tid, f64)> {
    let all = world.truth(query, usize::MAX, None);
    let number = |t: Tid| u64::from(t.blkno) * 100 + u64::from(t.offset) - 1;
    all.into_iter().filter(|(t, _)| passes(filter, number(*t))).take(n).collect()
}

fn filters() -> Vec<Filter> {
    vec![
        Filter::default(),
        filter(&[(0, Accept::Within(0, 127))]),
        filter(&[(0, Accept::Within(40, 65))]),
        filter(&[(0, Accept::Within(7, 9))]),
        filter(&[(0, Accept::Within(200, u64::MAX))]),
        filter(&[(0, Accept::Within(1 << 32, u64::MAX))]),
        filter(&[(0, Accept::Within(9, 8))]),
        filter(&[(0, Accept::OneOf(vec![1, 77, 255, 1000]))]),
        filter(&[(0, Accept::OneOf((0..40).map(|i| i * 5).collect()))]),
        filter(&[(0, Accept::OneOf(Vec::new()))]),
        filter(&[(0, Accept::Null)]),
        filter(&[(0, Accept::NotNull), (1, Accept::Null)]),
        filter(&[(1, Accept::Within(1 << 62, 3 << 62))]),
        filter(&[(0, Accept::Within(0, 99)), (1, Accept::Within(0, 1 << 63))]),
        filter(&[(1, Accept::AllBits(0b11000))]),
        filter(&[(1, Accept::AnyBits(0b11000))]),
        filter(&[(1, Accept::AnyBits(0))]),
        filter(&[(0, Accept::NoneOf(vec![3, 200]))]),
        filter(&[(0, Accept::NoneOf((0..200).collect())), (1, Accept::NoneOf(vec![7]))]),
        any(vec![one(0, Accept::Within(0, 9)), one(0, Accept::Null)]),
        any(vec![one(0, Accept::Within(9, 8)), one(1, Accept::OneOf(Vec::new()))]),
        any(vec![
            Clause::All(vec![one(0, Accept::Within(0, 30)), one(1, Accept::AnyBits(6))]),
            one(0, Accept::OneOf(vec![77, 78])),
        ]),
    ]
}

fn any(parts: Vec<Clause>) -> Filter {
    Filter { clauses: vec![Clause::Any(parts)] }
}

/// A random condition on one of the columns.
fn condition(random: &mut Random) -> Clause {
    let key = |random: &mut Random| random.below(256) as u64;
    let accept = match random.below(8) {
        0 => Accept::Null,
        1 => Accept::NotNull,
        2 => {
            Accept::OneOf(std::collections::BTreeSet::from([key(random), key(random)]).into_iter().collect())
        }
        3 => {
            Accept::NoneOf(std::collections::BTreeSet::from([key(random), key(random)]).into_iter().collect())
        }
        4 => Accept::AllBits(1 << random.below(6)),
        _ => Accept::Within(key(random), key(random)),
    };
    one(random.below(2), accept)
}

fn tree(random: &mut Random, depth: usize) -> Clause {
    let parts = |random: &mut Random| (0..1 + random.below(3)).map(|_| tree(random, depth - 1)).collect();
    match random.below(3) {
        0 if depth > 0 => Clause::All(parts(random)),
        1 if depth > 0 => Clause::Any(parts(random)),
        _ => condition(random),
    }
}

#[test]
fn random_clauses_pass_the_rows_of_a_direct_test() {
    let mut random = Random(21);
    let mut mixture = Mixture::new(16, 20, 0.7, 4);
    let options = vector_search::ivf::build::Options { lists: 40, ..with_columns(16, Metric::L2) };
    let world = World::build(table(&mut mixture, 3000), &options);
    let (mut some, mut lists) = (0, 0);
    for _ in 0..300 {
        let filter = Filter { clauses: (0..1 + random.below(2)).map(|_| tree(&mut random, 3)).collect() };
        let query = mixture.draw();
        let all = truth(&world, &query, &filter, usize::MAX);
        let (found, skipped) = found_and_skipped(&world, &query, EXACT, &filter, usize::MAX);
        assert_same(&found, &all, &format!("{filter:?}"));
        some += usize::from(!all.is_empty() && all.len() < 2900);
        lists += skipped;
    }
    assert!(some > 100 && lists > 100, "{some} filters pass a part of the rows, {lists} lists were skipped");
}

/// What conditions say of a row if only some of them are known: as three-valued logic has it.
fn may_hold(clause: &Clause<usize>, known: &[Option<bool>]) -> bool {
    match clause {
        Clause::One(at) => known[*at].unwrap_or(true),
        Clause::All(parts) => parts.iter().all(|part| may_hold(part, known)),
        Clause::Any(parts) => parts.iter().any(|part| may_hold(part, known)),
    }
}

fn numbered(random: &mut Random, depth: usize) -> Clause<usize> {
    let parts = |random: &mut Random| (0..1 + random.below(3)).map(|_| numbered(random, depth - 1)).collect();
    match random.below(3) {
        0 if depth > 0 => Clause::All(parts(random)),
        1 if depth > 0 => Clause::Any(parts(random)),
        _ => Clause::One(random.below(6)),
    }
}

#[test]
fn of_unknown_conditions_nothing_follows() {
    let mut random = Random(22);
    let (mut nothing, mut something) = (0, 0);
    for _ in 0..2000 {
        let clause = numbered(&mut random, 3);
        let known: Vec<Option<bool>> =
            (0..6).map(|_| [None, Some(false), Some(true)][random.below(3)]).collect();
        let narrowed = clause.narrowed(&mut |at| known[*at].map(|_| Clause::One(*at)));
        match narrowed {
            None => {
                nothing += 1;
                assert!(may_hold(&clause, &known), "{clause:?} {known:?}");
            }
            Some(narrowed) => {
                something += 1;
                assert!(narrowed.conditions().iter().all(|at| known[**at].is_some()));
                assert_eq!(may_hold(&narrowed, &known), may_hold(&clause, &known), "{clause:?} {known:?}");
            }
        }
    }
    assert!(nothing > 200 && something > 200, "{nothing} {something}");
}

#[test]
fn exhaustive_scans_equal_sequential_ones() {
    for (dims, rows, metric) in [
        (8, 300, Metric::L2),
        (24, 12_000, Metric::Cosine),
        (9000, 70, Metric::InnerProduct),
        (16, 900, Metric::L1),
    ] {
        let mut mixture = Mixture::new(dims, 20, 0.7, 1);
        let world = World::build(table(&mut mixture, rows), &with_columns(dims, metric));
        world.check();
        // Slots are reused by rows with other keys.
        world.delete(|n| n % 5 == 2);
        for n in rows..rows + rows / 4 {
            world.insert(n, mixture.draw());
        }
        world.delete(|n| n.wrapping_mul(0x9e37_79b9) >> 5 & 15 == 3);
        world.check();
        let query = mixture.draw();
        for filter in filters() {
            let what = format!("{dims} {filter:?}");
            let all = truth(&world, &query, &filter, usize::MAX);
            assert_same(&search(&world, &query, EXACT, &filter, usize::MAX), &all, &what);
            // The same without an order, as for a NULL query.
            let mut unordered = Search::new(world.directory(), EXACT);
            unordered.start_filtered(EXACT, None::<&[f32]>, filter.clone());
            let mut heap = world.heap(&query);
            let rows = std::iter::from_fn(|| unordered.next(&world.store, &mut heap).unwrap());
            assert_eq!(rows.count(), all.len(), "{what}");
        }
    }
}

#[test]
fn recall_holds_whatever_passes() {
    let mut mixture = Mixture::new(32, 300, 0.9, 5);
    let world = World::build(table(&mut mixture, 30_000), &with_columns(32, Metric::L2));
    let queries: Vec<Vec<f32>> = (0..60).map(|_| mixture.draw()).collect();
    for filter in filters() {
        let (mut hits, mut wanted) = (0, 0);
        for query in &queries {
            let truth = truth(&world, query, &filter, 10);
            let found = search(&world, query, DEFAULT, &filter, 10);
            assert_eq!(found.len(), truth.len(), "as many rows as there are: {filter:?}");
            assert!(found.is_sorted_by(|a, b| a.1 <= b.1), "in order: {filter:?}");
            wanted += truth.len();
            hits += found.iter().filter(|f| truth.last().is_some_and(|l| f.1 <= l.1)).count();
        }
        assert!(hits * 100 >= wanted * 93, "{hits} of {wanted}: {filter:?}");
    }
}

#[test]
fn rows_far_from_the_query_are_found_when_only_they_pass() {
    // The key is the cluster: the filter passes rows of one cluster, and queries are at another.
    let mut store_rows = world::Table::new();
    let mut centre = Mixture::new(16, 1, 0.3, 9);
    let mut far = Mixture::new(16, 1, 0.3, 77);
    for n in 0..20_000 {
        let near = fits(keys(n)[0], &Accept::Within(0, 250));
        store_rows.insert(n, if near { centre.draw() } else { far.draw() });
    }
    let world = World::build(store_rows, &with_columns(16, Metric::L2));
    let only_far = filter(&[(0, Accept::Within(251, 255))]);
    let (mut hits, mut wanted) = (0, 0);
    for _ in 0..20 {
        let query = centre.draw();
        let truth = truth(&world, &query, &only_far, 10);
        let found = search(&world, &query, DEFAULT, &only_far, 10);
        assert_eq!(found.len(), truth.len());
        wanted += truth.len();
        hits += found.iter().filter(|f| truth.last().is_some_and(|l| f.1 <= l.1)).count();
    }
    assert!(hits * 100 >= wanted * 93, "{hits} of {wanted}");
}

#[test]
fn recall_holds_where_passing_rows_lie_together() {
    // Rows and their numbers are paired so that keys grow with a coordinate.
    let mut mixture = Mixture::new(24, 200, 0.9, 15);
    let mut vectors: Vec<Vec<f32>> = (0..30_000).map(|_| mixture.draw()).collect();
    vectors.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut numbers: Vec<u64> = (0..30_000).collect();
    numbers.sort_by_key(|n| keys(*n)[0]);
    let rows: world::Table = numbers.into_iter().zip(vectors).collect();
    let world = World::build(rows, &with_columns(24, Metric::L2));
    let queries: Vec<Vec<f32>> = (0..60).map(|_| mixture.draw()).collect();
    for (high, target) in [(12, 0.9), (12, 0.95), (60, 0.9), (60, 0.95), (127, 0.9), (127, 0.95)] {
        let filter = filter(&[(0, Accept::Within(0, high))]);
        let settings = Settings { recall_target: target, ..DEFAULT };
        let mut hits = 0;
        for query in &queries {
            let truth = truth(&world, query, &filter, 10);
            let found = search(&world, query, settings, &filter, 10);
            assert_eq!(found.len(), 10);
            hits += found.iter().filter(|f| f.1 <= truth[9].1).count();
        }
        let recall = hits as f32 / 600.0;
        println!("keys to {high}, target {target}: recall {recall}");
        assert!(recall >= target - 0.03, "keys to {high}, target {target}: recall {recall}");
    }
}

#[test]
fn excluded_rows_are_not_compared() {
    let mut mixture = Mixture::new(16, 10, 0.7, 2);
    let world = World::build(table(&mut mixture, 5000), &with_columns(16, Metric::L2));
    let settings = Settings { order: Order::Strict, ..EXACT };
    let mut one = Search::new(world.directory(), settings);
    let query = mixture.draw();
    one.start_filtered(settings, Some(&query), filter(&[(0, Accept::Within(3, 3))]));
    let mut heap = world.heap(&query);
    let rows = std::iter::from_fn(|| one.next(&world.store, &mut heap).unwrap()).count() as u64;
    let stats = one.stats();
    assert!(rows > 0 && stats.codes < 5 * rows && stats.excluded > 4000, "{stats:?}");
    assert!(heap.fetched <= 3 * rows);
}

#[test]
fn columns_survive_the_way_to_disk() {
    let mut mixture = Mixture::new(8, 3, 0.7, 2);
    let world = World::build(table(&mut mixture, 100), &with_columns(8, Metric::L2));
    let directory: Rc<Directory> = world.directory();
    assert_eq!(directory.meta.columns.widths(), [4, 8]);
    assert_eq!(directory.meta.version(), 5);
    assert!(directory.meta.summaries_first != NO_BLOCK);
    let plain = World::build(table(&mut mixture, 100), &options(8, Metric::L2));
    assert_eq!((plain.directory().meta.version(), plain.directory().meta.summaries_first), (5, NO_BLOCK));
    // As many wide columns as an index can have leave no room on a page.
    let many = vector_search::ivf::build::Options {
        columns: Columns::new(&[8; 31]).unwrap(),
        ..options(8, Metric::L2)
    };
    let error = vector_search::ivf::build::build_empty(&MemoryStore::new(), &many).unwrap_err();
    assert!(error.message.contains("too many"), "{error:?}");
}

/// Returns all rows of an exhaustive scan, and the number of skipped lists.
fn all_and_skipped(world: &World, query: &[f32], filter: &Filter) -> (Vec<(Tid, f64)>, u64) {
    found_and_skipped(world, query, EXACT, filter, usize::MAX)
}

#[test]
fn lists_of_which_no_row_passes_are_not_read() {
    let mut mixture = Mixture::new(16, 60, 0.7, 3);
    let world = World::build(table(&mut mixture, 12_000), &with_columns(16, Metric::L2));
    let lists = u64::from(world.directory().lists());
    let one = |n| filter(&[(1, Accept::Within(keys(n)[1].unwrap(), keys(n)[1].unwrap()))]);
    let query = mixture.draw();
    for n in [5, 4000, 11_999] {
        let (found, skipped) = all_and_skipped(&world, &query, &one(n));
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [world::tid(n)]);
        assert!(skipped > lists / 3, "{skipped} of {lists}");
    }
    // The range is beyond all keys, so nothing is read.
    let none = filter(&[(0, Accept::Within(256, u64::from(u32::MAX)))]);
    assert_eq!(all_and_skipped(&world, &query, &none), (Vec::new(), lists));
    // Rows inserted later are found by keys that no row had before, also those in the slots of deleted rows.
    world.delete(|n| n % 3 == 0);
    for n in (20_001..20_400).filter(|n: &u64| !n.is_multiple_of(11)) {
        assert!(all_and_skipped(&world, &query, &one(n)).0.is_empty());
        world.insert(n, mixture.draw());
        assert_eq!(all_and_skipped(&world, &query, &one(n)).0[0].0, world::tid(n));
    }
    world.check();
}

/// Runs an exhaustive scan with a filter. Returns the number of skipped lists, and whether it finds a row.
fn left_out(world: &World, filter: &Filter) -> (u64, bool) {
    let query = vec![0.0; world.directory().dims()];
    let (found, skipped) = all_and_skipped(world, &query, filter);
    (skipped, !found.is_empty())
}

/// Whether a list's watch is set.
fn is_watched(world: &World) -> bool {
    let directory = world.directory();
    (0..directory.lists()).filter_map(|list| directory.summaries_position(list)).any(|(blkno, at)| {
        let page = world.store.read(blkno).unwrap();
        summary::watch(&page.content()[at..]) > 0
    })
}

#[test]
fn a_vacuum_narrows_the_summaries_of_lists_that_lost_rows() {
    let mut mixture = Mixture::new(16, 60, 0.7, 3);
    let world = World::build(table(&mut mixture, 6000), &with_columns(16, Metric::L2));
    let lists = u64::from(world.directory().lists());
    let (high, null) = (filter(&[(0, Accept::Within(128, 255))]), filter(&[(0, Accept::Null)]));
    assert_eq!((left_out(&world, &high), left_out(&world, &null)), ((0, true), (0, true)));
    world.delete(|n| passes(&high, n) || passes(&null, n));
    assert_eq!((left_out(&world, &high), left_out(&world, &null)), ((lists, false), (lists, false)));
    world.check();
    // Summaries of lists that lost no row are not written.
    let changes = world.store.changes();
    world.delete(|_| false);
    assert_eq!(world.store.changes(), changes);
    world.insert(7, mixture.draw());
    assert_eq!(left_out(&world, &null), (lists - 1, true));
    world.check();
}

/// A row is inserted at each moment of a vacuum at which nothing is locked.
#[test]
fn a_row_that_comes_while_a_vacuum_looks_stays_covered() {
    let mut mixture = Mixture::new(16, 3, 0.7, 3);
    let options = vector_search::ivf::build::Options { lists: 2, ..with_columns(16, Metric::L2) };
    let mut kept = 0;
    for moment in 0.. {
        let world = World::build(table(&mut mixture, 600), &options);
        // Only the row that will be inserted has a key in the first column.
        world.delete(|n| keys(n)[0].is_some());
        let vector = mixture.draw();
        let ticks = std::cell::Cell::new(0);
        let tick = || {
            if ticks.replace(ticks.get() + 1) == moment {
                world.insert(1002, vector.clone());
            }
            Ok(())
        };
        let dead = |t: Tid| t.offset.is_multiple_of(2);
        vacuum::bulk_delete(&world.store, &mut |t| dead(t), &tick).unwrap();
        world.table.borrow_mut().retain(|n, _| !dead(world::tid(*n)));
        if ticks.get() <= moment {
            break;
        }
        world.check();
        let (skipped, found) = left_out(&world, &filter(&[(0, Accept::NotNull)]));
        assert!(found, "moment {moment}");
        kept += u64::from(skipped == 1);
        assert!(!is_watched(&world), "moment {moment}: the vacuum is over");
    }
    assert!(kept > 4, "{kept} moments seen");
}

/// An event that happens just before a page is read.
type Event<'a> = (u32, Box<dyn Fn() + 'a>);

/// A store in which something happens at certain reads: when the page of the last of `events` is read, the
/// event happens and is removed.
struct Meddled<'a> {
    store: &'a MemoryStore,
    events: RefCell<Vec<Event<'a>>>,
}

impl Prefetch for Meddled<'_> {}

impl Store for Meddled<'_> {
    type Read<'a>
        = Rc<Page>
    where
        Self: 'a;

    fn nblocks(&self) -> Result<u32> {
        self.store.nblocks()
    }

    fn read(&self, blkno: u32) -> Result<Rc<Page>> {
        let event = self.events.borrow_mut().pop_if(|(at, _)| *at == blkno);
        if let Some((_, event)) = event {
            event();
        }
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
        self.store.change(f)
    }
}

#[test]
fn a_row_that_goes_and_comes_while_it_is_verified_is_no_damage() {
    let mut mixture = Mixture::new(16, 3, 0.7, 3);
    let options = vector_search::ivf::build::Options { lists: 1, ..with_columns(16, Metric::L2) };
    let world = World::build(table(&mut mixture, 20), &options);
    let (directory, vector) = (world.directory(), world.table.borrow()[&5].clone());
    let (codes, summaries) = (directory.head(0).0, directory.summaries_position(0).unwrap().0);
    // The row is removed after the codes page has been read, and inserted again after the summaries have been
    // read for the second time.
    let goes = || {
        world.delete(|n| n == 5);
    };
    let comes = || world.insert(5, vector.clone());
    // Each page has been read once before: to check its kind, or to verify it.
    let first = |blkno| -> Event<'_> { (blkno, Box::new(|| ())) };
    let events: Vec<Event<'_>> =
        vec![(codes, Box::new(comes)), (summaries, Box::new(goes)), first(codes), first(summaries)];
    let store = Meddled { store: &world.store, events: RefCell::new(events) };
    check::check(&store, &mut |_| Ok(()), &|| Ok(())).unwrap();
    assert!(store.events.borrow().is_empty(), "both have happened");
    world.check();
}

#[test]
fn an_interrupted_vacuum_is_made_up_for_by_the_next() {
    let mut mixture = Mixture::new(16, 3, 0.7, 3);
    let options = vector_search::ivf::build::Options { lists: 2, ..with_columns(16, Metric::L2) };
    let high = filter(&[(0, Accept::Within(128, 255))]);
    let mut seen = false;
    for stop in 0.. {
        let world = World::build(table(&mut mixture, 600), &options);
        world.table.borrow_mut().retain(|n, _| !passes(&high, *n));
        let alive: Vec<Tid> = world.table.borrow().keys().map(|n| world::tid(*n)).collect();
        world.store.stop_after(Some(stop));
        let done = vacuum::bulk_delete(&world.store, &mut |t| !alive.contains(&t), &|| Ok(())).is_ok();
        world.store.stop_after(None);
        check::check(&world.store, &mut |_| Ok(()), &|| Ok(())).unwrap();
        if stop % 2 == 0 {
            // A vacuum that has nothing to remove ends the watch.
            vacuum::count(&world.store, &|| Ok(())).unwrap();
            assert!(!is_watched(&world), "stopped after {stop}");
        }
        seen |= is_watched(&world);
        // Inserts work with and without a watch.
        (1000..1010).for_each(|n| world.insert(n, mixture.draw()));
        world.delete(|n| n == 5 || passes(&high, n));
        world.check();
        let (skipped, found) = left_out(&world, &high);
        assert!(!found && skipped == 2, "stopped after {stop}: {skipped}");
        if done {
            assert!(stop > 6 && seen);
            break;
        }
    }
}

#[test]
fn an_index_without_summaries_is_read_and_written_as_before() {
    let mut mixture = Mixture::new(16, 60, 0.7, 3);
    let world = World::build(table(&mut mixture, 12_000), &with_columns(16, Metric::L2));
    // Like an index of version 0.1.0, except for some pages to which nothing refers.
    let earlier = Meta { may_be_plain: false, ..world.directory().meta.clone() };
    let meta = Meta { summaries_first: NO_BLOCK, ..earlier };
    world
        .store
        .change(|change| {
            let handle = change.open(META_BLOCK)?;
            Root::of(meta).write(change.page_mut(handle));
            Ok(())
        })
        .unwrap();
    (20_000..20_100).for_each(|n| world.insert(n, mixture.draw()));
    assert!(world.check().unused_pages > 0);
    let query = mixture.draw();
    for filter in filters() {
        let (found, skipped) = all_and_skipped(&world, &query, &filter);
        assert_same(&found, &truth(&world, &query, &filter, usize::MAX), &format!("{filter:?}"));
        assert_eq!(skipped, 0);
    }
}

#[test]
fn a_row_that_its_summaries_do_not_cover_is_damage() {
    let mut mixture = Mixture::new(16, 5, 0.7, 3);
    let world = World::build(table(&mut mixture, 500), &with_columns(16, Metric::L2));
    world.check();
    let blkno = world.directory().meta.summaries_first;
    let damage = |at: usize, byte: u8| {
        world
            .store
            .change(|change| {
                let handle = change.open(blkno)?;
                change.page_mut(handle).content_mut()[at] = byte;
                Ok(())
            })
            .unwrap();
    };
    let checked = || check::check(&world.store, &mut |_| Ok(()), &|| Ok(()));
    // Damage: a greatest key that is too small; no NULLs; one bit missing in the Bloom filter.
    for at in [8, 24, 40] {
        let before = world.store.read(blkno).unwrap().content()[at];
        assert_ne!(before, 0);
        damage(at, 0);
        let error = checked().unwrap_err();
        assert!(error.kind == Kind::Corrupted && error.message.contains("summaries"), "{at}: {error}");
        damage(at, before);
    }
    checked().unwrap();
}
