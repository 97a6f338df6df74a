//! Tables of values of which an index has sketches: sparse vectors, and arrays of vectors.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use vector_search::error::Result;
use vector_search::ivf::build::{self, Chosen, Options, OriginalSink, RowSink, Source};
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::filter::Filter;
use vector_search::ivf::search::{Rows, Settings};
use vector_search::ivf::sketch::{Sketch, Sketched};
use vector_search::ivf::{check, insert, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Key, Tid};
use vector_search::value::sparse::SparseBuf;
use vector_search::value::tokens::TokensBuf;
use vector_search::value::{Metric, Original, TotalF64};

use crate::world::{DEFAULT, EXACT, MemorySpool, options, pool, tid};

/// A value with memory of its own.
pub trait Value {
    fn original(&self) -> Original<'_>;
}

impl Value for SparseBuf {
    fn original(&self) -> Original<'_> {
        self.view().into()
    }
}

impl Value for TokensBuf {
    fn original(&self) -> Original<'_> {
        self.view().into()
    }
}

pub type Table<V> = BTreeMap<u64, V>;

/// A table as a build reads it.
pub struct Reading<'a, V>(pub &'a Table<V>, pub Sketch);

impl<V: Value> Reading<'_, V> {
    fn shuffled(&self, want: usize, sink: &mut dyn FnMut(Sketched<'_>) -> Result<()>) -> Result<()> {
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_unstable_by_key(|(n, _)| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut out = vec![0.0; self.1.size];
        rows.iter().take(want).try_for_each(|(_, row)| {
            self.1.write(row.original(), &mut out)?;
            sink(Sketched::new(row.original(), &out))
        })
    }

    fn each(&self, sink: &mut dyn FnMut(u64, Sketched<'_>) -> Result<()>) -> Result<()> {
        let mut out = vec![0.0; self.1.size];
        self.0.iter().try_for_each(|(n, row)| {
            self.1.write(row.original(), &mut out)?;
            sink(*n, Sketched::new(row.original(), &out))
        })
    }
}

impl<V: Value> Source for Reading<'_, V> {
    fn rows_hint(&self) -> u64 {
        self.0.len() as u64
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        self.shuffled(want, &mut |row| sink(row.coordinates))
    }

    fn sample_queries(
        &mut self,
        positions: &[usize],
        sink: &mut dyn FnMut(Sketched<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut chosen = Chosen::new(positions);
        let rows = Reading(self.0, self.1.for_queries());
        rows.shuffled(self.0.len(), &mut |row| if chosen.takes_next() { sink(row) } else { Ok(()) })
    }

    fn sample_originals(&mut self, want: usize, sink: &mut OriginalSink<'_>) -> Result<()> {
        let step = self.0.len().div_ceil(want.max(1)).max(1);
        self.0.values().step_by(step).try_for_each(|row| sink(row.original()))
    }

    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()> {
        self.each(&mut |n, sketch| sink(tid(n), sketch, &[]))
    }

    fn look_up(&mut self, rows: &[Tid], sink: &mut RowSink<'_>) -> Result<()> {
        self.each(&mut |n, sketch| if rows.contains(&tid(n)) { sink(tid(n), sketch, &[]) } else { Ok(()) })
    }
}

/// The options of an index with such sketches.
pub fn options_of(sketch: &Sketch, metric: Metric) -> Options {
    Options { sketch: sketch.of(), ..options(sketch.size, metric) }
}

/// A table with its index.
pub struct World<V> {
    pub table: Rc<RefCell<Table<V>>>,
    pub store: MemoryStore,
    pub sketch: Sketch,
    metric: Metric,
}

impl<V: Value> World<V> {
    pub fn build(table: Table<V>, sketch: Sketch, metric: Metric, lists: u32) -> Self {
        let (store, mut spool) = (MemoryStore::new(), MemorySpool::default());
        let options = Options { lists, ..options_of(&sketch, metric) };
        if table.is_empty() {
            build::build_empty(&store, &options).unwrap();
        } else {
            let source = &mut Reading(&table, sketch.clone());
            build::build(&store, &options, source, &mut spool, &pool(), &Silent).unwrap();
        }
        Self { table: Rc::new(RefCell::new(table)), store, sketch, metric }
    }

    pub fn insert(&self, n: u64, row: V) {
        let (current, next) = Directory::load_all(&self.store).unwrap();
        let directory = next.unwrap_or(current);
        let (mut code, mut sketch) = (RowCode::new(&directory).unwrap(), vec![0.0; self.sketch.size]);
        self.sketch.write(row.original(), &mut sketch).unwrap();
        let value = Sketched::new(row.original(), &sketch);
        insert::insert(&self.store, &directory, &mut code, tid(n), value, &[] as &[Key]).unwrap();
        self.table.borrow_mut().insert(n, row);
    }

    pub fn delete(&self, dead: impl Fn(u64) -> bool) {
        let mut table = self.table.borrow_mut();
        table.retain(|n, _| !dead(*n));
        let alive: HashSet<Tid> = table.keys().map(|n| tid(*n)).collect();
        vacuum::bulk_delete(&self.store, &mut |t| !alive.contains(&t), &|| Ok(())).unwrap();
    }

    /// The first rows of a scan, and the number of rows fetched.
    pub fn search(&self, query: &V, settings: Settings, n: usize) -> (Vec<(Tid, f64)>, u64) {
        let (current, next) = Directory::load_all(&self.store).unwrap();
        let mut scan = Scan::new((Rc::new(current), next.map(Rc::new)), settings);
        let mut sketch = vec![0.0; self.sketch.size];
        self.sketch.for_queries().write(query.original(), &mut sketch).unwrap();
        let value = Sketched::new(query.original(), &sketch);
        scan.start_filtered(settings, Some(value), Filter::default());
        let mut heap = Heap { world: self, query };
        let rows = std::iter::from_fn(|| scan.next(&self.store, &mut heap).unwrap()).take(n).collect();
        (rows, scan.stats().rows)
    }

    fn value(&self, row: &V, query: &V) -> Result<f64> {
        row.original().distance(self.metric, query.original(), || ())
    }

    fn is_indexed(&self, row: &V) -> bool {
        row.original().is_indexed(self.metric)
    }

    pub fn truth(&self, query: &V, n: usize) -> Vec<(Tid, f64)> {
        let table = self.table.borrow();
        let indexed = table.iter().filter(|(_, row)| self.is_indexed(row));
        let mut rows: Vec<(Tid, f64)> =
            indexed.map(|(n, row)| (tid(*n), self.value(row, query).unwrap())).collect();
        rows.sort_by_key(|row| (TotalF64(row.1), row.0));
        rows.truncate(n);
        rows
    }

    /// Compares exact scans with the truth: to the end, of some rows, up to a value, without an order.
    pub fn compare_exact(&self, query: &V) {
        let all = self.truth(query, usize::MAX);
        assert_eq!(self.search(query, EXACT, usize::MAX).0, all);
        let limited = Settings { limit: Some(25), ..EXACT };
        assert_eq!(self.search(query, limited, 25).0, all[..25]);
        let within = Settings { ceiling: all[99].1, ..EXACT };
        assert_eq!(self.search(query, within, usize::MAX).0, all[..100]);
        let mut rows = self.search(query, Settings { in_order: false, ..within }, usize::MAX).0;
        rows.sort_by_key(|(row, value)| (TotalF64(*value), *row));
        assert_eq!(rows, all[..100]);
    }

    /// Recall of ten rows, and the rows fetched for a query. Rows come in order, each once.
    pub fn recall(&self, queries: &[V], target: f32) -> (f64, f64) {
        let (mut found, mut fetched) = (0, 0);
        for query in queries {
            let (rows, asked) = self.search(query, Settings { recall_target: target, ..DEFAULT }, 10);
            assert_eq!(rows.len(), self.table.borrow().len().min(10));
            assert!(rows.windows(2).all(|w| (TotalF64(w[0].1), w[0].0) < (TotalF64(w[1].1), w[1].0)));
            let last = self.truth(query, 10).last().unwrap().1;
            found += rows.iter().filter(|row| row.1 <= last).count();
            fetched += asked;
        }
        let count = queries.len() as f64;
        (found as f64 / count / 10.0, fetched as f64 / count)
    }

    pub fn check(&self) {
        let mut rows = Vec::new();
        let mut note = |t| {
            rows.push(t);
            Ok(())
        };
        check::check(&self.store, &mut note, &|| Ok(())).unwrap();
        rows.sort_unstable();
        let table = self.table.borrow();
        let indexed = table.iter().filter(|(_, row)| self.is_indexed(row));
        assert_eq!(rows, indexed.map(|(n, _)| tid(*n)).collect::<Vec<Tid>>());
    }
}

struct Heap<'a, V> {
    world: &'a World<V>,
    query: &'a V,
}

impl<V: Value> Rows for Heap<'_, V> {
    fn distance(&mut self, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
        assert_eq!(known, None, "codes do not tell values");
        let n = u64::from(tid.blkno) * 100 + u64::from(tid.offset) - 1;
        self.world.table.borrow().get(&n).map(|row| self.world.value(row, self.query)).transpose()
    }
}
