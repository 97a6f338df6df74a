//! Every field of every kind of page is damaged, one at a time, with numbers that lead astray.
//!
//! Whoever uses the index then gets an error of damage or goes on; nothing panics, and nothing runs on for
//! ever. A scan gives each row at most once and at its true distance. If its answer is not that of the table,
//! the verifier says so; except for fields in which every value is a valid one (codes, factors, centroids),
//! whose damage only checksums can show.

use std::collections::BTreeSet;
use std::rc::Rc;

use vector_search::error::{Error, Kind, Result};
use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate::vacuum::refresh;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::{Declared, Directory, read_root};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::{compact, renew, sweep};
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::filter::Filter;
use vector_search::ivf::search::{Rows, Settings};
use vector_search::ivf::sketch::Values;
use vector_search::ivf::{check, info, insert, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Change, Columns, PageKind, Store, Tid};
use vector_search::value::Metric;

use crate::damaged::{Counted, Ended};
use crate::plain::plain_blocks;
use crate::random::Random;
use crate::renew::renewed;
use crate::world::*;

/// The rows of the table; those at addresses that no row has are not there.
struct Real<'a>(Heap<'a>);

impl Rows for Real<'_> {
    fn distance(&mut self, row: Tid, known: Option<f64>) -> Result<Option<f64>> {
        if (1..=100).contains(&row.offset) { self.0.distance(row, known) } else { Ok(None) }
    }
}

/// What a field may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Something that contradicts the rest of the index if it is wrong.
    Structure,
    /// A number of which each value may be right: damage can cost rows, which only checksums show.
    Number,
}
use Says::{Number, Structure};

/// A field: name, offset on the page, bytes, what it says.
type Field = (&'static str, usize, usize, Says);

/// Where contents begin, and the special area.
const AT: usize = 24;
const SPECIAL: usize = 8176;

/// The fields that each page has. Of the header only those that say how the page is laid out.
const EVERY: [Field; 7] = [
    ("pd_lower", 12, 2, Structure),
    ("pd_special", 16, 2, Structure),
    ("next", SPECIAL, 4, Structure),
    ("owner", SPECIAL + 4, 4, Structure),
    ("count", SPECIAL + 8, 4, Structure),
    ("kind", SPECIAL + 12, 2, Structure),
    ("id", SPECIAL + 14, 2, Structure),
];

/// The description of a set of lists on the meta page.
const META: [Field; 44] = [
    ("magic", AT, 4, Structure),
    ("version", AT + 4, 2, Structure),
    ("ready", AT + 6, 1, Structure),
    ("metric", AT + 7, 1, Number),
    ("bits", AT + 8, 1, Structure),
    ("filter columns", AT + 9, 1, Structure),
    ("zero", AT + 10, 2, Structure),
    ("dimensions", AT + 12, 4, Structure),
    ("seed", AT + 16, 8, Number),
    ("instance", AT + 24, 8, Structure),
    ("generation", AT + 32, 4, Structure),
    ("lists", AT + 36, 4, Structure),
    ("scale", AT + 40, 4, Number),
    ("radius weight", AT + 44, 4, Structure),
    ("origin", AT + 48, 4, Number),
    ("directory", AT + 52, 4, Structure),
    ("list states", AT + 56, 4, Structure),
    ("rows built", AT + 60, 8, Structure),
    ("probes", AT + 68, 4, Structure),
    ("last of the probes", AT + 112, 4, Structure),
    ("bytes of a key", AT + 116, 1, Structure),
    ("bytes of another key", AT + 117, 1, Structure),
    ("lists for ten rows", AT + 147, 4, Structure),
    ("lists for the most rows", AT + 287, 4, Structure),
    ("summaries", AT + 291, 4, Structure),
    ("far distances", AT + 295, 4, Structure),
    ("far excesses", AT + 343, 4, Structure),
    ("first list", AT + 391, 4, Structure),
    ("retired", AT + 395, 8, Structure),
    ("free pages", AT + 403, 4, Structure),
    ("replacement under way", AT + 407, 1, Structure),
    ("time of the last replacement", AT + 408, 8, Structure),
    ("lists for 215 rows", AT + 700, 4, Structure),
    ("shares", AT + 800, 4, Structure),
    ("onward distances", AT + 848, 4, Structure),
    ("onward excesses", AT + 896, 4, Structure),
    ("taxicab mean", AT + 944, 4, Number),
    ("taxicab deviation", AT + 948, 4, Structure),
    ("dimensions of what is sketched", AT + 952, 4, Number),
    ("seed of sketches", AT + 956, 8, Number),
    ("leading dimensions", AT + 1000, 4, Structure),
    ("first stage's error", AT + 1004, 4, Number),
    ("and its mean", AT + 1008, 4, Number),
    ("most energy outside", AT + 1012, 4, Number),
];

const DIRECTORY: [Field; 7] = [
    ("head", AT, 4, Structure),
    ("contiguous", AT + 4, 4, Structure),
    ("radius", AT + 8, 4, Number),
    ("scale", AT + 12, 4, Number),
    ("rows", AT + 16, 4, Structure),
    ("zero", AT + 20, 4, Structure),
    ("centroid", AT + 24, 4, Number),
];

const LISTS: [Field; 8] = [
    ("head", AT, 4, Structure),
    ("insert", AT + 4, 4, Structure),
    ("extended", AT + 8, 4, Structure),
    ("rows", AT + 12, 4, Structure),
    ("contiguous", AT + 16, 4, Structure),
    ("calibrated", AT + 20, 4, Structure),
    ("moved", AT + 24, 4, Structure),
    ("moved extended", AT + 28, 4, Structure),
];

const CODES: [Field; 9] = [
    ("live", AT, 4, Structure),
    ("owned", AT + 4, 4, Structure),
    ("add", AT + 8, 2, Number),
    ("rescale", AT + 72, 2, Number),
    ("reference's block", AT + 136, 4, Structure),
    ("reference's index", AT + 140, 2, Structure),
    ("NULLs, or a further page", AT + 328, 4, Structure),
    ("a key, or another page", AT + 332, 4, Structure),
    ("codes", AT + 800, 4, Number),
];

/// Blocks of strings of 100 bits with filter columns of 4 and 8 bytes.
const STRINGS: [Field; 8] = [
    ("live", AT, 4, Structure),
    ("owned", AT + 4, 4, Structure),
    ("NULLs", AT + 8, 4, Structure),
    ("key", AT + 12, 4, Structure),
    ("another key", AT + 144, 8, Structure),
    ("reference's block", AT + 400, 4, Structure),
    ("reference's offset", AT + 404, 2, Structure),
    ("string", AT + 592, 4, Structure),
];

const EXTENDED: [Field; 5] = [
    ("heap block", AT, 4, Structure),
    ("heap offset", AT + 4, 2, Structure),
    ("add", AT + 6, 4, Number),
    ("rescale", AT + 10, 4, Number),
    ("codes", AT + 18, 4, Number),
];

const ORIGIN: [Field; 1] = [("number", AT, 4, Number)];

const SUMMARIES: [Field; 6] = [
    ("least key", AT, 8, Structure),
    ("largest key", AT + 8, 8, Structure),
    ("union", AT + 16, 8, Structure),
    ("NULLs", AT + 24, 4, Structure),
    ("watch", AT + 28, 4, Structure),
    ("marks", AT + 32, 8, Structure),
];

const FURTHER: [Field; 1] = [("codes", AT, 4, Number)];

/// The fields of a kind of page.
fn fields(kind: PageKind, strings: bool) -> &'static [Field] {
    match kind {
        PageKind::Meta => &META,
        PageKind::Directory => &DIRECTORY,
        PageKind::Lists => &LISTS,
        PageKind::Codes if strings => &STRINGS,
        PageKind::Codes => &CODES,
        PageKind::CodesMore => &FURTHER,
        PageKind::Extended => &EXTENDED,
        PageKind::Origin => &ORIGIN,
        PageKind::Summaries => &SUMMARIES,
        PageKind::Free => &[],
    }
}

/// Numbers that lead astray, in place of `old`, on page `blkno` of `nblocks`.
fn astray(old: u64, size: usize, blkno: u32, nblocks: u32) -> BTreeSet<u64> {
    let mask = if size == 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
    let top = 1 << (8 * size - 1);
    let mut values = BTreeSet::from([0, 1, 2, 9, top, top - 1, mask, mask - 1, old ^ top, old ^ 1]);
    values.extend([old.wrapping_add(1), old.wrapping_sub(1), old.wrapping_mul(2), old << 8]);
    values.extend([blkno, blkno.wrapping_sub(1), blkno + 1, nblocks - 1, nblocks].map(u64::from));
    match size {
        // NaN, infinity and the largest number, in half and single precision.
        2 => values.extend([0x7e00, 0x7c00, 0xfc00, 0x7bff]),
        4 => values.extend([0x7fc0_0000, 0x7f80_0000, 0xff80_0000, 0x7f7f_ffff, 0x7e00_7e00]),
        _ => {}
    }
    values.into_iter().map(|value| value & mask).filter(|value| *value != old).collect()
}

/// An index to be damaged.
struct Case {
    what: &'static str,
    world: World,
    options: Options,
    query: Vec<f32>,
    /// The table's answer.
    truth: Vec<(Tid, f64)>,
}

impl Case {
    fn new(what: &'static str, world: World, options: Options, query: Vec<f32>) -> Self {
        let truth = world.truth(&query, usize::MAX, None);
        let case = Self { what, world, options, query, truth };
        assert!(case.is_right(&case.world.store), "{what} is right before it is damaged");
        case.verified(&case.world.store).unwrap();
        case
    }

    /// The rows of a scan of a damaged store, or its error.
    fn scan(&self, store: &MemoryStore, settings: Settings) -> Result<Vec<(Tid, f64)>> {
        let store = Counted::new(store);
        let (current, next) = Directory::load_all(&store)?;
        let directories = (Rc::new(current), next.map(Rc::new));
        // The access method compares the query's dimensions with the index's before it scans.
        if directories.0.dims() != self.query.len() {
            return Err(Error::corrupted(0, "other dimensions"));
        }
        let mut scan = Scan::new(directories, settings);
        scan.start_filtered(settings, Some(&self.query), Filter::default());
        let mut heap = Real(self.world.heap(&self.query));
        heap.0.damaged = true;
        let mut rows = Vec::new();
        while let Some(row) = scan.next(&store, &mut heap)? {
            rows.push(row);
            assert!(rows.len() <= self.truth.len(), "{}: more rows than there are", self.what);
        }
        Ok(rows)
    }

    /// Whether an exhaustive scan gives the table's answer.
    fn is_right(&self, store: &MemoryStore) -> bool {
        self.scan(store, EXACT).is_ok_and(|rows| rows == self.truth)
    }

    /// What the verifier says, as `ivf_check(index, true)`: it compares what the index stores with the table.
    fn verified(&self, store: &MemoryStore) -> Result<()> {
        let store = Counted::new(store);
        let wrong = || Err(Error::corrupted(0, "a row is not the table's"));
        let mut rows = BTreeSet::new();
        let found =
            check::check(&store, &mut |row| if rows.insert(row) { Ok(()) } else { wrong() }, &|| Ok(()))?;
        let truth: BTreeSet<Tid> = self.truth.iter().map(|row| row.0).collect();
        assert!(found.live as usize == rows.len());
        if rows != truth {
            return wrong();
        }
        let table = self.world.table.borrow();
        let columns = Directory::load(&store)?.meta.columns.widths().len();
        let bits = |row: &[f32]| -> Vec<u8> {
            row.chunks(8)
                .map(|c| c.iter().enumerate().fold(0, |b, (i, x)| b | (*x as u8) << (7 - i)))
                .collect()
        };
        let mut visit = |row: Tid, stored: &[_], code: Option<&[u8]>| {
            let n = u64::from(row.blkno) * 100 + u64::from(row.offset) - 1;
            let same = stored == &keys(n)[..columns] && code.is_none_or(|code| code == bits(&table[&n]));
            if same { Ok(()) } else { wrong() }
        };
        check::contents(&store, &mut visit, &|| Ok(()))
    }

    /// Uses a damaged index in all ways. Returns whether the verifier, a scan, or neither noticed.
    fn use_all(&self, store: &MemoryStore, what: &str) -> (bool, bool) {
        let allowed = |result: Result<()>| match result {
            Err(error) => {
                let kinds = [Kind::Corrupted, Kind::NotSupported];
                assert!(kinds.contains(&error.kind), "{what}: {:?} {error}", error.kind);
                false
            }
            Ok(()) => true,
        };
        let verified = allowed(self.verified(store));
        let mut right = false;
        for settings in [EXACT, DEFAULT] {
            let rows = self.scan(store, settings);
            if let Ok(rows) = &rows {
                let known: BTreeSet<_> = self.truth.iter().map(|row| (row.0, row.1.to_bits())).collect();
                assert!(rows.iter().all(|row| known.contains(&(row.0, row.1.to_bits()))), "{what}: no row");
            }
            right |= settings == EXACT && rows.as_ref().is_ok_and(|rows| *rows == self.truth);
            right |= settings == EXACT && rows.is_err();
            allowed(rows.map(drop));
        }
        allowed(info::info(&Counted::new(store), 0, &|| Ok(())).map(drop));
        allowed(self.insert(&store.snapshot()));
        let vacuumed = store.snapshot();
        let dead = &mut |row: Tid| row.offset.is_multiple_of(3);
        let counted = Counted::new(&vacuumed);
        allowed(vacuum::bulk_delete(&counted, dead, &|| Ok(())).map(drop));
        (verified, right)
    }

    fn insert(&self, store: &MemoryStore) -> Result<()> {
        let store = Counted::new(store);
        let (current, next) = Directory::load_all(&store)?;
        let directory = next.unwrap_or(current);
        if directory.dims() != self.query.len() {
            return Ok(());
        }
        let all = keys(9000);
        let Some(keys) = all.get(..directory.meta.columns.widths().len()) else { return Ok(()) };
        let mut code = RowCode::new(&directory)?;
        insert::insert(&store, &directory, &mut code, tid(9000), &self.query, keys).map(drop)
    }

    /// Damages a field of a page in all ways. Returns how often the verifier noticed.
    fn damage(&self, blkno: u32, (name, at, size, says): Field) -> u32 {
        let nblocks = self.world.store.nblocks().unwrap();
        let page = self.world.store.read(blkno).unwrap();
        let kind = page.kind().unwrap();
        let bytes: [u8; 8] = std::array::from_fn(|i| if i < size { page.bytes()[at + i] } else { 0 });
        let mut noticed = 0;
        let values = astray(u64::from_le_bytes(bytes), size, blkno, nblocks);
        // Of a number, whose values are all valid, a few are enough.
        let step = if says == Number { 4 } else { 1 };
        for value in values.into_iter().step_by(step) {
            let store = self.world.store.snapshot();
            let new = &value.to_le_bytes()[..size];
            store.damage(blkno, |page| page.bytes_mut()[at..at + size].copy_from_slice(new));
            let what = format!("{}: {name} of the {kind:?} page {blkno} is {value:#x}", self.what);
            let (verified, right) = self.use_all(&store, &what);
            assert!(right || !verified || says == Number, "{what}: rows are missing and nobody notices");
            noticed += u32::from(!verified);
        }
        noticed
    }

    /// The first and the last page of each kind.
    fn pages(&self) -> Vec<(PageKind, u32)> {
        let nblocks = self.world.store.nblocks().unwrap();
        let kind = |blkno: u32| self.world.store.read(blkno).unwrap().kind();
        let mut pages: Vec<(PageKind, u32)> = Vec::new();
        for (kind, blkno) in (0..nblocks).filter_map(|blkno| Some((kind(blkno)?, blkno))) {
            match pages.iter().filter(|page| page.0 == kind).count() {
                0 | 1 => pages.push((kind, blkno)),
                _ => pages.iter_mut().rev().find(|page| page.0 == kind).unwrap().1 = blkno,
            }
        }
        pages
    }

    /// Damages every field of these pages.
    fn damage_all(&self) {
        let mut noticed = 0;
        for (kind, blkno) in self.pages() {
            for field in EVERY.iter().chain(fields(kind, self.world.metric.is_of_bits())) {
                noticed += self.damage(blkno, *field);
            }
        }
        println!("{}: the verifier noticed {noticed}", self.what);
        assert!(noticed > 500, "{}: the verifier noticed {noticed}", self.what);
    }
}

/// A table, then inserts and deletes, so that all kinds of pages and slots are in use.
fn changed(rows: Table, more: Vec<Vec<f32>>, options: &Options) -> World {
    let world = World::build(rows, options);
    (500..).zip(more).for_each(|(n, row)| world.insert(n, row));
    world.delete(|n| n % 9 == 4);
    world
}

fn case(
    what: &'static str,
    dims: usize,
    rows: u64,
    with: impl Fn(Options) -> Options,
    metric: Metric,
) -> Case {
    let mut mixture = Mixture::new(dims, 4, 0.5, 31);
    let options = with(options(dims, metric));
    let mut random = Random(3);
    let mut row = || -> Vec<f32> {
        if metric.is_of_bits() {
            (0..dims).map(|_| (random.next() & 1) as f32).collect()
        } else {
            mixture.draw()
        }
    };
    let table: Table = (0..rows).map(|n| (n, row())).collect();
    let more = (0..rows / 4).map(|_| row()).collect();
    let world = changed(table, more, &options);
    Case::new(what, world, options, row())
}

fn two_columns() -> Columns {
    Columns::new(&[4, 8]).unwrap()
}

#[test]
fn four_bits_with_filter_columns() {
    let case = case("four bits", 16, 240, |o| Options { lists: 3, columns: two_columns(), ..o }, Metric::L2);
    assert_eq!(plain_blocks(&case.world), 3);
    case.damage_all();
}

#[test]
fn codes_of_a_leading_space() {
    case(
        "leading",
        100,
        400,
        |o| Options { lists: 3, code_dims: 64, columns: two_columns(), ..o },
        Metric::L2,
    )
    .damage_all();
}

#[test]
fn one_bit_by_cosine() {
    case("one bit", 24, 240, |o| Options { lists: 3, bits: 1, ..o }, Metric::Cosine).damage_all();
}

#[test]
fn blocks_of_several_pages() {
    case("wide", 2500, 50, |o| Options { lists: 2, bits: 8, ..o }, Metric::InnerProduct).damage_all();
}

#[test]
fn strings_of_bits() {
    let with = |o| Options { lists: 3, bits: 1, columns: two_columns(), ..o };
    case("strings", 100, 240, with, Metric::Hamming).damage_all();
}

/// Maintenance reads the whole index, and writes most of it.
#[test]
fn maintenance_goes_on_or_says_that_it_is_damaged() {
    let with = |o| Options { lists: 2, columns: two_columns(), ..o };
    let mut case = case("maintained", 8, 400, with, Metric::L2);
    let columns = case.options.columns.widths().len();
    // So that lists and fixed pages are moved.
    case.world.delete(|n| n >= 80);
    renewed(&case.world, &case.world.store, &case.options, true).unwrap();
    (800..900).for_each(|n| case.world.insert(n, vec![(n % 7) as f32; 8]));
    case.truth = case.world.truth(&case.query, usize::MAX, None);
    case.verified(&case.world.store).unwrap();
    let (pool, table) = (pool(), case.world.table.borrow().clone());
    let maintain = |store: &MemoryStore| -> Result<()> {
        let store = Counted::new(store);
        vacuum::count(&store, &|| Ok(()))?;
        refresh(&store, true, 7, &Silent)?;
        let (mut source, mut spool) = (TableSource(&table, columns), MemorySpool::default());
        renew(&store, &case.options, &mut source, &mut spool, (&pool, &Ended), &Silent)?;
        sweep(&store, &Ended, &Silent)?;
        compact(&store, &Ended, &Silent)?;
        sweep(&store, &Ended, &Silent).map(drop)
    };
    let (mut done, mut refused) = (0, 0);
    let mut pages = case.pages();
    pages.dedup_by_key(|page| page.0);
    for (kind, blkno) in pages {
        for &(name, at, size, _) in EVERY.iter().chain(fields(kind, false)) {
            for value in [3, u64::MAX] {
                let store = case.world.store.snapshot();
                let new = &u64::to_le_bytes(value)[..size];
                store.damage(blkno, |page| page.bytes_mut()[at..at + size].copy_from_slice(new));
                let what = format!("{name} of the {kind:?} page {blkno} is {value:#x}");
                match maintain(&store) {
                    Ok(()) => done += 1,
                    Err(error) => {
                        let kinds = [Kind::Corrupted, Kind::NotSupported];
                        assert!(kinds.contains(&error.kind), "{what}: {:?} {error}", error.kind);
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("{done} done, {refused} refused");
    assert!(done > 50 && refused > 50, "{done} done, {refused} refused");
}

/// The index has two sets of lists.
#[test]
fn lists_that_are_being_replaced() {
    let with = |o| Options { lists: 3, columns: two_columns(), ..o };
    let mut case = case("replaced", 16, 240, with, Metric::Cosine);
    for stop in 1.. {
        let store = case.world.store.snapshot();
        store.stop_after(Some(stop));
        assert!(renewed(&case.world, &store, &case.options, true).is_err());
        if read_root(&store).unwrap().next.is_some() {
            case.world.store = store.snapshot();
            break;
        }
    }
    (800..830).for_each(|n| case.world.insert(n, vec![(n % 7) as f32; 16]));
    let case = Case::new(case.what, case.world, case.options, case.query);
    case.damage_all();
    for (name, at, size, says) in META {
        case.damage(0, (name, at + 1024, size, says));
    }
}

#[test]
fn taxicab_distances() {
    case("taxicab", 16, 240, |o| Options { lists: 3, ..o }, Metric::L1).damage_all();
}

/// Pages may describe a sound index over other values than the column has: what the catalog says decides.
#[test]
fn an_index_of_another_kind_than_declared_is_refused() {
    let with = |o| Options { lists: 3, columns: two_columns(), ..o };
    let case = case("other values", 16, 240, with, Metric::L1);
    let declared = Declared { metric: Metric::L1, values: Values::Coordinates, columns: 2 };
    let expect = |store: &MemoryStore, declared| Directory::load(store).unwrap().expect(&declared);
    expect(&case.world.store, declared).unwrap();
    for other in [
        Declared { metric: Metric::L2, ..declared },
        Declared { values: Values::Sparse, ..declared },
        Declared { columns: 1, ..declared },
    ] {
        assert_eq!(expect(&case.world.store, other).unwrap_err().kind, Kind::Corrupted, "{other:?}");
    }
    // Dimensions, those of what is sketched, and elements in a record: an index over sparse vectors.
    let store = case.world.store.snapshot();
    store.damage(0, |page| {
        for (at, byte) in [(12, 15), (952, 16), (964, 8)] {
            page.bytes_mut()[AT + at] = byte;
        }
    });
    assert_eq!(expect(&store, declared).unwrap_err().kind, Kind::Corrupted);
    expect(&store, Declared { values: Values::Sparse, ..declared }).unwrap();
}

/// With so many dimensions the layout of a page has no place for the keys.
#[test]
fn dimensions_beyond_a_limit_are_damage() {
    let with = |o| Options { lists: 3, bits: 1, columns: two_columns(), ..o };
    let case = case("strings", 100, 240, with, Metric::Hamming);
    let store = case.world.store.snapshot();
    store.damage(0, |page| page.bytes_mut()[AT + 12..AT + 16].copy_from_slice(&63_588u32.to_le_bytes()));
    let error = Directory::load(&store).err().expect("dimensions of another index");
    assert_eq!(error.kind, Kind::Corrupted, "{error}");
}

/// A file that ends too early.
#[test]
fn pages_are_missing_at_the_end() {
    for (what, dims, bits, metric) in [
        ("four bits", 16, 4, Metric::L2),
        ("wide", 2500, 8, Metric::Cosine),
        ("strings", 100, 1, Metric::Hamming),
    ] {
        let rows = if dims > 1000 { 40 } else { 200 };
        let case = case(what, dims, rows, |o| Options { lists: 3, bits, ..o }, metric);
        let whole = case.world.store.nblocks().unwrap();
        for pages in 0..whole {
            let store = MemoryStore::new();
            for blkno in 0..pages {
                let page = case.world.store.read(blkno).unwrap();
                let add = |change: &mut dyn Change| -> Result<()> {
                    let (_, handle) = change.extend()?;
                    *change.page_mut(handle) = (*page).clone();
                    Ok(())
                };
                store.change(add).unwrap();
            }
            let (verified, right) = case.use_all(&store, &format!("{what}: {pages} of {whole} pages"));
            assert!(right && !verified, "{what}: {pages} of {whole} pages");
        }
    }
}
