//! The indexes that are damaged: one for each layout of pages.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use vector_search::error::Result;
use vector_search::ivf::build::Options;
use vector_search::ivf::directory::{Declared, Directory, read_root};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::renew::renew;
use vector_search::ivf::scan::Directories;
use vector_search::ivf::sketch::{Sketch, Sketched, Values};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Columns, Store, Tid};
use vector_search::value::Metric;
use vector_search::value::sparse::SparseBuf;
use vector_search::value::tokens::TokensBuf;

use crate::damaged::Ended;
use crate::originals::{self, Value};
use crate::world::{MemorySpool, Mixture, Table, TableSource, World, options, pool, table};
use crate::{earlier_pages, world};

/// A value that is looked for or inserted.
pub enum Query {
    Vector(Vec<f32>),
    Original(Box<dyn Value>),
}

impl Query {
    /// Calls `with` with the coordinates, as the access method: it compares the dimensions with the index's.
    pub fn coordinates(&self, sketch: &Sketch, with: impl FnOnce(Sketched<'_>) -> Result<()>) -> Result<()> {
        match self {
            Self::Vector(vector) if vector.len() == sketch.dims => with(vector.into()),
            Self::Original(value) if value.original().dims().is_none_or(|dims| dims == sketch.dims) => {
                let mut out = vec![0.0; sketch.size];
                sketch.write(value.original(), &mut out)?;
                with(Sketched::new(value.original(), &out))
            }
            _ => Ok(()),
        }
    }
}

/// An index of a table.
pub struct Index {
    pub store: MemoryStore,
    /// What the catalog says of it.
    pub declared: Declared,
    pub query: Query,
    /// The value of each row for the query.
    pub values: HashMap<Tid, f64>,
    /// The table and how it was indexed, if rows are dense vectors or bit strings.
    pub dense: Option<(Table, Options)>,
}

impl Index {
    /// The directories of a damaged copy, as the access method reads them.
    pub fn directories(&self, store: &impl Store) -> Result<Directories> {
        let (current, next) = Directory::load_all(store)?;
        current.expect(&self.declared)?;
        next.iter().try_for_each(|next| next.expect(&self.declared))?;
        Ok((Rc::new(current), next.map(Rc::new)))
    }
}

/// An index of a table, after inserts and deletes.
fn dense(mut table: Table, options: Options, query: Vec<f32>) -> Index {
    let later = table.split_off(&(table.len() as u64 * 4 / 5));
    let world = World::build(table, &options);
    later.into_iter().for_each(|(n, row)| world.insert(n, row));
    world.delete(|n| n % 9 == 4);
    of_world(world, options, query)
}

fn of_world(world: World, options: Options, query: Vec<f32>) -> Index {
    let values = world.truth(&query, usize::MAX, None).into_iter().collect();
    let World { table, store, metric } = world;
    let declared = Declared { metric, values: Values::Coordinates, columns: options.columns.widths().len() };
    Index { store, declared, query: Query::Vector(query), values, dense: Some((table.take(), options)) }
}

fn drawn(dims: usize, rows: u64, metric: Metric, with: impl Fn(Options) -> Options) -> Index {
    let mut mixture = Mixture::new(dims, 5, 0.4, 3);
    let (mut rows, mut query) = (table(&mut mixture, rows), mixture.draw());
    if metric.is_of_bits() {
        let as_bits = |row: &mut Vec<f32>| row.iter_mut().for_each(|x| *x = f32::from(u8::from(*x > 0.0)));
        rows.values_mut().for_each(as_bits);
        as_bits(&mut query);
    }
    dense(rows, with(Options { lists: 5, ..options(dims, metric) }), query)
}

/// An index whose lists are being replaced: it has two sets of lists.
fn half_renewed() -> Index {
    let columns = Columns::new(&[4, 8]).unwrap();
    let mut index = drawn(16, 120, Metric::Cosine, |o| Options { lists: 3, columns, ..o });
    let Some((table, options)) = &index.dense else { unreachable!("it is dense") };
    for stop in 1.. {
        let store = index.store.snapshot();
        store.stop_after(Some(stop));
        let (mut source, mut spool) = (TableSource(table, 2), MemorySpool::default());
        let renewed = renew(&store, options, &mut source, &mut spool, (&pool(), &Ended), &Silent);
        assert!(renewed.is_err(), "the index was to have two sets of lists");
        if read_root(&store).unwrap().next.is_some() {
            index.store = store.snapshot();
            (800..830).for_each(|n| world::add(&index.store, n, &[(n % 7) as f32; 16]));
            return index;
        }
    }
    unreachable!("the loop returns")
}

fn earlier(version: u16, metric: Metric, widths: &[u8]) -> Index {
    let bits = metric.is_of_bits();
    let row = |n| earlier_pages::row(n, bits);
    let table: Table = (0..640).filter(|n| n % 10 != 3).map(|n| (n, row(n))).collect();
    let options = Options {
        columns: Columns::new(widths).unwrap(),
        lists: 6,
        ..options(earlier_pages::DIMS as usize, metric)
    };
    let store = earlier_pages::pages(version);
    of_world(World { table: Rc::new(table.into()), store, metric }, options, row(901))
}

fn of_originals<V: Value + 'static>(mut draw: impl FnMut() -> V, sketch: Sketch, metric: Metric) -> Index {
    let values = if sketch.is_of_tokens() { Values::Tokens } else { Values::Sparse };
    let declared = Declared { metric, values, columns: 0 };
    let rows: originals::Table<V> = (0..150).map(|n| (n, draw())).collect();
    let world = originals::World::build(rows, sketch, metric, 3);
    (200..230).for_each(|n| world.insert(n, draw()));
    world.delete(|n| n % 9 == 4);
    let query = draw();
    let values = world.truth(&query, usize::MAX).into_iter().collect();
    Index { store: world.store, declared, query: Query::Original(Box::new(query)), values, dense: None }
}

fn sparse(dims: usize, metric: Metric) -> Index {
    let mut random = crate::random::Random(5);
    let draw = move || {
        let indices: BTreeSet<i32> = (0..12).map(|_| (random.below(60) * dims / 60) as i32).collect();
        let values = indices.iter().map(|_| 0.1 + random.unit()).collect();
        SparseBuf { dims, indices: indices.into_iter().collect(), values }
    };
    of_originals(draw, Sketch::of_sparse(dims, 99), metric)
}

fn tokens() -> Index {
    let mut mixture = Mixture::new(16, 9, 0.5, 4);
    let draw = move || {
        let mut tokens = TokensBuf::default();
        (0..4).for_each(|_| tokens.push(&mixture.draw()).unwrap());
        tokens
    };
    of_originals(draw, Sketch::of_tokens(16, 99).unwrap(), Metric::InnerProduct)
}

/// Indexes of all kinds. Inputs of the corpus have their numbers, so new ones are added at the end.
pub fn all() -> Vec<Index> {
    let columns = || Columns::new(&[4, 8]).unwrap();
    vec![
        drawn(8, 200, Metric::L2, |o| Options { columns: columns(), ..o }),
        drawn(40, 200, Metric::Cosine, |o| Options { bits: 1, ..o }),
        drawn(3000, 40, Metric::InnerProduct, |o| Options { bits: 8, lists: 2, ..o }),
        drawn(100, 200, Metric::L2, |o| Options { code_dims: 64, columns: columns(), ..o }),
        drawn(100, 200, Metric::Hamming, |o| Options { bits: 1, columns: columns(), ..o }),
        drawn(60, 200, Metric::Jaccard, |o| Options { bits: 1, ..o }),
        drawn(16, 200, Metric::L1, |o| o),
        half_renewed(),
        earlier(1, Metric::L2, &[]),
        earlier(2, Metric::Cosine, &[4, 8]),
        earlier(3, Metric::Hamming, &[]),
        earlier(4, Metric::InnerProduct, &[4, 8]),
        sparse(100_000, Metric::InnerProduct),
        sparse(40, Metric::L2),
        tokens(),
    ]
}

/// The number of pages.
pub fn size(store: &MemoryStore) -> u32 {
    store.nblocks().unwrap()
}
