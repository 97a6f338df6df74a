//! A table and an index on it, in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::random::Random;
use rayon::ThreadPool;
use vector_search::error::Result;
use vector_search::ivf::build::{self, Options, Source, Spool};
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::progress::Silent;
use vector_search::ivf::scan::{Directories, Scan};
use vector_search::ivf::search::filter::Filter;
use vector_search::ivf::search::{Order, Probes, Rows, Settings};
use vector_search::ivf::{check, insert, vacuum};
use vector_search::kernel;
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Columns, Key, Store, Tid};
use vector_search::value::{Metric, TotalF64};

/// Clustered vectors: `clusters` centres, spread around them.
pub struct Mixture {
    centres: Vec<Vec<f32>>,
    spread: f32,
    random: Random,
}

impl Mixture {
    pub fn new(dims: usize, clusters: usize, spread: f32, seed: u64) -> Self {
        let mut random = Random(seed);
        let centres = (0..clusters).map(|_| (0..dims).map(|_| random.normal()).collect()).collect();
        Self { centres, spread, random }
    }

    pub fn draw(&mut self) -> Vec<f32> {
        let c = self.random.below(self.centres.len());
        let spread = self.spread;
        let random = &mut self.random;
        self.centres[c].iter().map(|x| x + spread * random.normal()).collect()
    }
}

pub fn tid(n: u64) -> Tid {
    Tid { blkno: (n / 100) as u32, offset: (n % 100 + 1) as u16 }
}

pub fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

/// The operator's value, as SQL returns it.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    match metric {
        Metric::L2 => f64::from(kernel::l2_squared(a, b)).sqrt(),
        Metric::InnerProduct => -f64::from(kernel::inner_product(a, b)),
        Metric::Hamming => f64::from(kernel::l2_squared(a, b)),
        Metric::L1 => f64::from(kernel::l1(a, b)),
        Metric::Jaccard => {
            let common = |(x, y): (&f32, &f32)| (u64::from(x * y > 0.0), u64::from(x + y > 0.0));
            let sum = |s: (u64, u64), pair| (s.0 + common(pair).0, s.1 + common(pair).1);
            let (both, either) = a.iter().zip(b).fold((0, 0), sum);
            if both == 0 { 1.0 } else { 1.0 - both as f64 / either as f64 }
        }
        Metric::Cosine => {
            let value = kernel::cosine_distance(a, b);
            if value.is_nan() { f64::NAN } else { value }
        }
    }
}

/// Rows by number.
pub type Table = BTreeMap<u64, Vec<f32>>;

/// A table and the number of its filter columns.
pub struct TableSource<'a>(pub &'a Table, pub usize);

impl Source for TableSource<'_> {
    fn rows_hint(&self) -> u64 {
        self.0.len() as u64
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let mut keys: Vec<u64> = self.0.keys().copied().collect();
        let mut random = Random(5);
        for i in 0..keys.len().min(want) {
            let j = i + random.below(keys.len() - i);
            keys.swap(i, j);
            sink(&self.0[&keys[i]])?;
        }
        Ok(())
    }

    fn scan(&mut self, sink: &mut build::RowSink<'_>) -> Result<()> {
        self.0.iter().try_for_each(|(n, v)| sink(tid(*n), v.into(), &keys(*n)[..self.1]))
    }
}

#[derive(Default)]
pub struct MemorySpool(pub Vec<u8>);

impl Spool for MemorySpool {
    fn write(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        Ok(at)
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&self.0[offset as usize..][..out.len()]);
        Ok(())
    }
}

pub fn options(dims: usize, metric: Metric) -> Options {
    Options {
        dims,
        metric,
        lists: 0,
        bits: 4,
        code_dims: 0,
        seed: 42,
        memory: 64 << 20,
        columns: Columns::default(),
        sketch: Default::default(),
    }
}

/// The keys of a row, for up to two filter columns (of 4 and 8 bytes).
pub fn keys(n: u64) -> [Key; 2] {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [(!n.is_multiple_of(7)).then_some(mixed >> 40 & 0xff), (!n.is_multiple_of(11)).then_some(mixed << 3)]
}

pub fn build_into(store: &MemoryStore, table: &Table, options: &Options) -> Result<()> {
    let mut spool = MemorySpool::default();
    build::build(
        store,
        options,
        &mut TableSource(table, options.columns.widths().len()),
        &mut spool,
        &pool(),
        &Silent,
    )
    .map(|built| {
        let zero = |v: &&Vec<f32>| options.metric == Metric::Cosine && v.iter().all(|&x| x == 0.0);
        assert_eq!(built.rows as usize, table.len() - table.values().filter(zero).count());
    })
}

/// Adds a row to the lists that take new ones.
pub fn add(store: &impl Store, n: u64, vector: &[f32]) {
    let (current, next) = Directory::load_all(store).unwrap();
    let directory = next.unwrap_or(current);
    let keys = &keys(n)[..directory.meta.columns.widths().len()];
    let mut code = RowCode::new(&directory).unwrap();
    let inserted = insert::insert(store, &directory, &mut code, tid(n), vector, keys).unwrap();
    assert_ne!(inserted, insert::Inserted::Stale);
}

/// As many lists as the recall target takes.
pub const BY_RECALL: Probes = Probes::ForRecall { least: 0 };

/// A table with its index.
pub struct World {
    pub table: Rc<RefCell<Table>>,
    pub store: MemoryStore,
    pub metric: Metric,
}

pub const EXACT: Settings = Settings {
    probes: BY_RECALL,
    recall_target: 1.0,
    order: Order::Strict,
    limit: None,
    ceiling: f64::INFINITY,
    passing: 1.0,
    memory: 4 << 20,
    in_order: true,
    paged: true,
};
pub const DEFAULT: Settings = Settings {
    probes: BY_RECALL,
    recall_target: 0.95,
    order: Order::Strict,
    limit: Some(10),
    ceiling: f64::INFINITY,
    passing: 1.0,
    memory: 4 << 20,
    in_order: true,
    paged: true,
};

impl World {
    pub fn build(table: Table, options: &Options) -> Self {
        let store = MemoryStore::new();
        build_into(&store, &table, options).unwrap();
        Self { table: Rc::new(RefCell::new(table)), store, metric: options.metric }
    }

    pub fn directory(&self) -> Rc<Directory> {
        Rc::new(Directory::load(&self.store).unwrap())
    }

    /// The directories that a scan reads.
    pub fn directories(&self) -> Directories {
        let (current, next) = Directory::load_all(&self.store).unwrap();
        (Rc::new(current), next.map(Rc::new))
    }

    pub fn insert(&self, n: u64, vector: Vec<f32>) {
        add(&self.store, n, &vector);
        self.table.borrow_mut().insert(n, vector);
    }

    /// Deletes rows from the table and vacuums the index.
    pub fn delete(&self, dead: impl Fn(u64) -> bool) -> vacuum::Vacuumed {
        let mut table = self.table.borrow_mut();
        table.retain(|n, _| !dead(*n));
        let alive: std::collections::HashSet<Tid> = table.keys().map(|n| tid(*n)).collect();
        vacuum::bulk_delete(&self.store, &mut |t| !alive.contains(&t), &|| Ok(())).unwrap()
    }

    /// Verifies the index, and that it holds exactly the table's rows.
    pub fn check(&self) -> check::Report {
        let mut tids = Vec::new();
        let report = check::check(
            &self.store,
            &mut |t| {
                tids.push(t);
                Ok(())
            },
            &|| Ok(()),
        )
        .unwrap();
        tids.sort_unstable();
        let cosine = self.metric == Metric::Cosine;
        let expected: Vec<Tid> = self
            .table
            .borrow()
            .iter()
            .filter(|(_, v)| !(cosine && v.iter().all(|&x| x == 0.0)))
            .map(|(n, _)| tid(*n))
            .collect();
        assert_eq!(tids, expected);
        report
    }

    pub fn heap<'a>(&self, query: &'a [f32]) -> Heap<'a> {
        Heap {
            table: self.table.clone(),
            query,
            metric: self.metric,
            filter: None,
            fetched: 0,
            named: VecDeque::new(),
            damaged: false,
        }
    }

    /// The first `n` rows of a scan.
    pub fn search(&self, query: &[f32], settings: Settings, n: usize) -> Vec<(Tid, f64)> {
        let mut search = Scan::new(self.directories(), settings);
        search.start_filtered(settings, Some(query), Filter::default());
        let mut heap = self.heap(query);
        std::iter::from_fn(|| search.next(&self.store, &mut heap).unwrap()).take(n).collect()
    }

    /// The first `n` rows of the table by brute force; rows that are not indexed are left out.
    pub fn truth(&self, query: &[f32], n: usize, filter: Option<fn(u64) -> bool>) -> Vec<(Tid, f64)> {
        let mut rows: Vec<(Tid, f64)> = self
            .table
            .borrow()
            .iter()
            .filter(|(n, _)| filter.is_none_or(|f| f(**n)))
            .filter(|(_, v)| self.metric != Metric::Cosine || v.iter().any(|&x| x != 0.0))
            .map(|(n, v)| (tid(*n), distance(self.metric, query, v)))
            .collect();
        // In the order of float8, whatever a NaN's sign.
        rows.sort_by_key(|row| (TotalF64(row.1), row.0));
        rows.truncate(n);
        rows
    }
}

/// The heap under a scan.
pub struct Heap<'a> {
    table: Rc<RefCell<Table>>,
    query: &'a [f32],
    metric: Metric,
    pub filter: Option<fn(u64) -> bool>,
    pub fetched: u64,
    /// Rows that the search has announced and will fetch next.
    pub named: VecDeque<(Tid, Option<f64>)>,
    /// Whether pages are damaged. Then the search may ask for any row, and its codes may be anything.
    pub damaged: bool,
}

impl Rows for Heap<'_> {
    fn prefetch(&mut self, rows: &[(Tid, Option<f64>)], _: &[(Tid, Option<f64>)]) -> Result<()> {
        assert!(self.named.is_empty(), "rows are named before the others are fetched");
        if !self.damaged {
            self.named.extend(rows);
        }
        Ok(())
    }

    fn distance(&mut self, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
        self.fetched += 1;
        if let Some(named) = self.named.pop_front() {
            assert_eq!(named, (tid, known), "rows are fetched as they were named");
        }
        let n = u64::from(tid.blkno) * 100 + u64::from(tid.offset) - 1;
        if self.filter.is_some_and(|f| !f(n)) {
            return Ok(None);
        }
        let value = self.table.borrow().get(&n).map(|v| distance(self.metric, self.query, v));
        let right = known.is_none() || value.is_none() || known == value;
        assert!(right || self.damaged, "{known:?} is {value:?}");
        Ok(value)
    }
}

pub fn table(mixture: &mut Mixture, rows: u64) -> Table {
    (0..rows).map(|n| (n, mixture.draw())).collect()
}

/// Fails at the first difference of two results, briefly.
pub fn assert_same(found: &[(Tid, f64)], truth: &[(Tid, f64)], what: &str) {
    for (i, pair) in found.iter().zip(truth).enumerate() {
        assert!(pair.0 == pair.1, "{what}: row {i} is {:?}, should be {:?}", pair.0, pair.1);
    }
    assert_eq!(found.len(), truth.len(), "{what}: number of rows");
}
