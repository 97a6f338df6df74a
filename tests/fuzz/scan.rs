//! Scans, inserts and vacuums of a damaged index.

use vector_search::error::Result;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::filter::{Accept, Clause, Condition, Filter};
use vector_search::ivf::search::{Order, Probes, Rows, Settings};
use vector_search::ivf::{insert, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{PAGE_SIZE, Tid};

use super::damage::{allowed, damaged};
use super::indexes::{Index, size};
use crate::damaged::Counted;
use crate::world::{BY_RECALL, DEFAULT, EXACT, keys, tid};

/// The first byte is the index, the second what is done, the others say how the index is damaged.
pub fn scan(indexes: &[Index], input: &[u8]) {
    let Some((&[index, what], edits)) = input.split_first_chunk() else { return };
    let index = &indexes[usize::from(index) % indexes.len()];
    let store = &damaged(&index.store, edits);
    let filter = filter(index, what >> 4);
    let middle = index.values.values().sum::<f64>() / index.values.len() as f64;
    allowed(match what & 15 {
        0 | 1 => rows(index, store, DEFAULT, filter),
        2 | 3 => rows(index, store, EXACT, filter),
        4 => rows(index, store, Settings { ceiling: middle, in_order: false, ..EXACT }, filter),
        5 => rows(index, store, Settings { ceiling: middle, ..DEFAULT }, filter),
        6 => {
            let settings = Settings { order: Order::Relaxed, limit: None, memory: 32 << 10, ..DEFAULT };
            rows(index, store, settings, filter)
        }
        7 => rows(index, store, Settings { probes: Probes::Lists(2), order: Order::Off, ..DEFAULT }, filter),
        8 => {
            let settings = Settings { limit: Some(3), recall_target: 0.8, probes: BY_RECALL, ..DEFAULT };
            rows(index, store, Settings { passing: 0.1, memory: 64 << 10, ..settings }, filter)
        }
        9 | 10 => add(index, store),
        11 => {
            let counted = Counted::new(store);
            vacuum::bulk_delete(&counted, &mut |row| row.offset.is_multiple_of(3), &|| Ok(())).map(drop)
        }
        12 | 13 => {
            let settings = Settings { probes: Probes::Lists(1), order: Order::Relaxed, ..DEFAULT };
            let settings = Settings { ceiling: middle, memory: 64 << 10, paged: false, ..settings };
            rows(index, store, settings, filter)
        }
        _ => without_query(index, store),
    });
}

/// No condition, or one on a filter column if the index has any.
fn filter(index: &Index, which: u8) -> Filter {
    let accept = match which {
        8 => Accept::Within(20, 120),
        9 => Accept::OneOf(vec![3, 77, 200]),
        10 => Accept::NoneOf(vec![3, 77]),
        11 => Accept::AllBits(5),
        12 => Accept::AnyBits(6),
        13 => Accept::NotNull,
        14 => Accept::Null,
        15 => Accept::OneOf((0..90).collect()),
        _ => return Filter::default(),
    };
    let Some(last) = index.declared.columns.checked_sub(1) else { return Filter::default() };
    let one = |column, accept| Clause::One(Condition { column, accept });
    let other = one(last, Accept::Within(0, u64::MAX / 2));
    Filter { clauses: vec![one(0, accept.clone()), Clause::Any(vec![other, one(0, accept)])] }
}

/// The rows of the table; those at addresses that no row has are not there.
pub struct Heap<'a>(pub &'a Index);

impl Rows for Heap<'_> {
    fn distance(&mut self, row: Tid, _: Option<f64>) -> Result<Option<f64>> {
        Ok(self.0.values.get(&row).copied())
    }
}

/// Reads a scan to its end.
fn rows(index: &Index, store: &MemoryStore, settings: Settings, filter: Filter) -> Result<()> {
    let counted = Counted::new(store);
    let directories = index.directories(&counted)?;
    let sketch = directories.0.sketch().for_queries();
    index.query.coordinates(&sketch, |query| {
        let mut scan = Scan::new(directories, settings);
        scan.start_filtered(settings, Some(query), filter);
        let mut heap = Heap(index);
        let mut found = Vec::new();
        while let Some((row, value)) = scan.next(&counted, &mut heap)? {
            assert_eq!(index.values.get(&row), Some(&value), "the value of {row:?}");
            found.push(value);
            assert!(found.len() < size(store) as usize * PAGE_SIZE, "it finds rows for ever");
        }
        Ok(())
    })
}

/// All rows, in no order, as for a query that is NULL.
fn without_query(index: &Index, store: &MemoryStore) -> Result<()> {
    let counted = Counted::new(store);
    let mut scan = Scan::new(index.directories(&counted)?, DEFAULT);
    scan.start_filtered(DEFAULT, None::<&[f32]>, Filter::default());
    let (mut heap, mut count) = (Heap(index), 0);
    while scan.next(&counted, &mut heap)?.is_some() {
        count += 1;
        assert!(count < size(store) as usize * PAGE_SIZE, "it finds rows for ever");
    }
    Ok(())
}

/// Inserts a row, and once more one that needs other pages.
fn add(index: &Index, store: &MemoryStore) -> Result<()> {
    let counted = Counted::new(store);
    for n in 9000..9003 {
        let (current, next) = index.directories(&counted)?;
        let directory = next.unwrap_or(current);
        let keys = &keys(n)[..index.declared.columns];
        let mut code = RowCode::new(&directory)?;
        index.query.coordinates(&directory.sketch().clone(), |value| {
            insert::insert(&counted, &directory, &mut code, tid(n), value, keys).map(drop)
        })?;
    }
    Ok(())
}
