//! What reads most of a damaged index: calibration, the replacement of lists, neighbours of many rows.

use std::cell::OnceCell;

use rayon::ThreadPool;
use vector_search::error::Result;
use vector_search::ivf::calibrate::vacuum::refresh;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::{renew, sweep};
use vector_search::ivf::search::Rows;
use vector_search::ivf::search::batch::{Batch, Itself, Surroundings, Table, WithVector};
use vector_search::ivf::vacuum;
use vector_search::page::memory::MemoryStore;
use vector_search::page::{PAGE_SIZE, Tid};

use super::damage::{allowed, damaged};
use super::indexes::{Index, size};
use super::scan::Heap;
use crate::damaged::Counted;
use crate::damaged::Ended;
use crate::world::{self, DEFAULT, MemorySpool, TableSource};

thread_local! {
    static POOL: OnceCell<ThreadPool> = const { OnceCell::new() };
}

/// The first byte is the index, the second what is done, the others say how the index is damaged.
pub fn maintenance(indexes: &[Index], input: &[u8]) {
    let Some((&[index, what], edits)) = input.split_first_chunk() else { return };
    let index = &indexes[usize::from(index) % indexes.len()];
    let store = &damaged(&index.store, edits);
    allowed(match what % 8 {
        0..3 => count_and_calibrate(store),
        // It takes longest.
        3 => renew_lists(index, store),
        _ => neighbours(index, store),
    });
}

/// What a vacuum does at its end.
fn count_and_calibrate(store: &MemoryStore) -> Result<()> {
    let counted = Counted::new(store);
    vacuum::count(&counted, &|| Ok(()))?;
    refresh(&counted, true, 7, &Silent).map(drop)
}

/// Replaces the lists, or goes on with it.
fn renew_lists(index: &Index, store: &MemoryStore) -> Result<()> {
    let counted = Counted::new(store);
    let directories = index.directories(&counted)?;
    let Some((table, options)) = &index.dense else { return sweep(&counted, &Ended, &Silent).map(drop) };
    // Rows of other dimensions than the index has are an error of the access method.
    if directories.0.dims() != options.dims {
        return Ok(());
    }
    let (mut source, mut spool) = (TableSource(table, index.declared.columns), MemorySpool::default());
    POOL.with(|pool| {
        let pool = pool.get_or_init(world::pool);
        renew(&counted, options, &mut source, &mut spool, (pool, &Ended), &Silent).map(drop)
    })?;
    sweep(&counted, &Ended, &Silent).map(drop)
}

/// The table of an index over dense vectors.
struct Vectors<'a>(&'a Index, &'a world::Table);

impl Table for Vectors<'_> {
    fn measured(&mut self, row: Tid, with: &mut WithVector<'_>) -> Result<Option<Tid>> {
        let n = u64::from(row.blkno) * 100 + u64::from(row.offset) - 1;
        let Some(vector) = self.1.get(&n) else { return Ok(None) };
        with(vector)?;
        Ok(Some(row))
    }

    fn version(&mut self, row: Tid) -> Result<Option<Tid>> {
        self.measured(row, &mut |_| Ok(()))
    }

    fn rows<'a>(&'a mut self, _: &'a [f32]) -> Box<dyn Rows + 'a> {
        Box::new(Heap(self.0))
    }
}

/// The nearest rows of some rows.
fn neighbours(index: &Index, store: &MemoryStore) -> Result<()> {
    let Some((rows, options)) = &index.dense else { return Ok(()) };
    let counted = Counted::new(store);
    let directories = index.directories(&counted)?;
    if directories.0.dims() != options.dims {
        return Ok(());
    }
    let mut batch = Batch::new(directories, DEFAULT, 1 << 20, true);
    let table = &mut Vectors(index, rows);
    let mut around = Surroundings { store: &counted, table, progress: &Silent };
    let most = size(store) as usize * PAGE_SIZE;
    let mut found = |_, near: &[_]| {
        assert!(near.len() < most, "it finds rows for ever");
        Ok(())
    };
    for (n, vector) in rows.iter().take(9) {
        let row = world::tid(*n);
        batch.push(*n, vector, Some(Itself { row, version: row }))?;
        if batch.is_full() {
            batch.run(&mut around, None, &mut found)?;
        }
    }
    batch.run(&mut around, None, &mut found)
}
