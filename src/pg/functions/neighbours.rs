//! `ivf_neighbours` and `ivf_neighbour_graph`: the nearest rows of many queries at once.

use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::prelude::pg_extern;

use super::access::{Opened as Relations, READING, Right, with_index};
use super::between;
use super::check::expect_built_before;
use super::result_set::ResultSet;
use crate::error::{Error, Kind, Result};
use crate::ivf::scan::Directories;
use crate::ivf::search::Stats;
use crate::ivf::search::batch::{Batch, Itself, Neighbour, Surroundings, Table, rows_of_list, tour};
use crate::ivf::sketch::{Sketch, Sketched};
use crate::memory::{self, Grow};
use crate::page::Tid;
use crate::pg::am::directory_cache::directories;
use crate::pg::am::opclass;
use crate::pg::am::threads::Threads;
use crate::pg::compat::predicate_lock_relation;
use crate::pg::datum::indexed::Indexed;
use crate::pg::error::{OrRaise, in_index, raise};
use crate::pg::relation::relation_name;
use crate::pg::scan::batch_rows::BatchRows;
use crate::pg::scan::callbacks::conflict;
use crate::pg::scan::stats::{self, Last};
use crate::pg::scan::table_rows::TableRows;
use crate::pg::settings::reloptions::IndexOptions;
use crate::pg::settings::resolve::{self, ScanRequest};
use crate::pg::storage::buffer_store::{IndexStore, Logging};
use crate::pg::types::array::Array;
use crate::pg::work::{Interruptible, pool, tick};

const MOST_NEIGHBOURS: i32 = 10_000;
/// Fewer queries than this take less time than threads save.
const FEW: usize = 128;

/// The nearest rows of each vector.
#[pg_extern(sql = false)]
fn ivf_neighbours(index: pg_sys::Oid, queries: Array, k: i32, call: pg_sys::FunctionCallInfo) {
    neighbours(index, (Indexed::Vector, &queries), k, call);
}

/// The nearest rows of each half vector.
#[pg_extern(sql = false)]
fn ivf_neighbours_halfvec(index: pg_sys::Oid, queries: Array, k: i32, call: pg_sys::FunctionCallInfo) {
    neighbours(index, (Indexed::Half, &queries), k, call);
}

/// The nearest rows of each bit string.
#[pg_extern(sql = false)]
fn ivf_neighbours_bit(index: pg_sys::Oid, queries: Array, k: i32, call: pg_sys::FunctionCallInfo) {
    neighbours(index, (Indexed::Bits, &queries), k, call);
}

/// The nearest other rows of each row.
#[pg_extern(sql = false)]
fn ivf_neighbour_graph(index: pg_sys::Oid, k: i32, call: pg_sys::FunctionCallInfo) {
    between("k", k, MOST_NEIGHBOURS);
    let (set, user) = (ResultSet::begin(call), current_user());
    with_index(index, READING, Right::Read, |opened| {
        expect_dense(opened);
        let pool = pool();
        search(opened, user, (k, true), pool, |searched| searched.graph(&set));
    });
}

fn neighbours(
    index: pg_sys::Oid,
    (kind, queries): (Indexed, &Array),
    k: i32,
    call: pg_sys::FunctionCallInfo,
) {
    between("k", k, MOST_NEIGHBOURS);
    let (set, user) = (ResultSet::begin(call), current_user());
    with_index(index, READING, Right::Read, |opened| {
        expect_dense(opened);
        expect_kind(opened, kind);
        let queries = queries.nullable();
        let pool = if queries.len() < FEW { None } else { pool() };
        search(opened, user, (k, false), pool, |searched| searched.array(kind, &queries, &set));
    });
}

/// Raises an error if the index has sketches: a batch compares rows by their coordinates.
pub(super) fn expect_dense(relations: &Relations) {
    let index = relations.index.as_ptr();
    let kind = opclass::indexed(index).or_raise().0;
    if kind.is_sketched() {
        let (name, of) = (relation_name(index), kind.type_name());
        let message = format!("index \"{name}\" is over {of}, which batch searches do not support");
        raise(Error::new(Kind::NotSupported, message).with_hint(
            "Use a lateral join: FROM queries q, LATERAL (SELECT ... ORDER BY e <=> q.e LIMIT 10) n.",
        ));
    }
}

/// Raises an error if the index is over values of another type.
fn expect_kind(relations: &Relations, kind: Indexed) {
    let index = relations.index.as_ptr();
    let indexed = opclass::indexed(index).or_raise().0;
    if indexed != kind {
        let (name, is, other) = (relation_name(index), indexed.type_name(), kind.type_name());
        let message = format!("index \"{name}\" is over values of type {is}, not {other}");
        raise(Error::new(Kind::WrongObject, message).with_hint(format!("Pass an array of type {is}[].")));
    }
}

/// An index and its table, opened for many queries.
pub(super) struct Opened {
    pub store: IndexStore,
    pub directories: Directories,
    /// What the index is over.
    pub kind: Indexed,
    pub rows: BatchRows,
    /// Bytes that the queries and their results may take.
    pub memory: usize,
}

/// An index that is searched.
struct Searched {
    opened: Opened,
    batch: Batch,
    pool: Option<Threads>,
    /// Bytes for the neighbours of an array's queries.
    memory: usize,
    /// Memory for a row's vector.
    vector: Vec<f32>,
}

/// The caller, whom the owner of the table replaces during the search.
pub(super) fn current_user() -> pg_sys::Oid {
    // SAFETY: reads a variable.
    unsafe { pg_sys::GetUserId() }
}

/// Opens an index and its table under the statement's snapshot.
pub(super) fn open(relations: &Relations) -> Opened {
    let (index, table) = (relations.index.as_ptr(), relations.table.as_ptr());
    let store = IndexStore::new(index, Logging::EachChange);
    let directories = directories(&store).map_err(|e| in_index(index, e)).or_raise();
    let indexed = opclass::indexed(index).or_raise();
    // SAFETY: the relations stay open to the end; the snapshot is the statement's. A setting is read (kB).
    let (rows, memory) = unsafe {
        let snapshot = pg_sys::GetActiveSnapshot();
        expect_built_before(index, snapshot);
        predicate_lock_relation(index, snapshot);
        store.seen_by(snapshot);
        let rows = TableRows::open(table, index, snapshot, indexed).or_raise();
        (BatchRows(rows), pg_sys::maintenance_work_mem.max(0) as usize * 1024)
    };
    Opened { store, directories, kind: indexed.0, rows, memory }
}

impl Opened {
    /// Closes the table after the work, and raises its error.
    pub fn close(self, relations: &Relations, user: pg_sys::Oid, done: Result<Stats>) {
        let Self { store, directories: (current, _), rows, .. } = self;
        let done = done.map_err(|e| conflict(&store, |now| Rc::ptr_eq(&now.0, &current), e));
        let stats = done.map_err(|e| in_index(relations.index.as_ptr(), e)).or_raise();
        stats::set(Last { user, stats });
        rows.0.close();
    }
}

/// Searches for `k` rows of each query; rows that are queries do not count.
fn search(
    relations: &Relations,
    user: pg_sys::Oid,
    (k, but_itself): (i32, bool),
    pool: Option<Threads>,
    work: impl FnOnce(&mut Searched) -> Result<()>,
) {
    let opened = open(relations);
    let request = ScanRequest { limit: Some(k as u64), ..ScanRequest::default() };
    let options = IndexOptions::of(relations.index.as_ptr());
    let settings = resolve::settings(&options, opened.directories.0.lists(), request);
    // Three quarters are for queries, a quarter for their neighbours.
    let memory = opened.memory;
    let batch = Batch::new(opened.directories.clone(), settings, memory / 4 * 3, but_itself);
    let mut searched = Searched { opened, batch, pool, memory: memory / 4, vector: Vec::new() };
    let done = work(&mut searched);
    let Searched { opened, batch, .. } = searched;
    opened.close(relations, user, done.map(|()| batch.stats()));
}

impl Searched {
    /// Answers the queries of the batch.
    fn run(&mut self, found: &mut dyn FnMut(u64, &[Neighbour]) -> Result<()>) -> Result<()> {
        let Self { opened: Opened { store, rows, .. }, batch, pool, .. } = self;
        let mut around = Surroundings { store, table: rows, progress: &Interruptible };
        batch.run(&mut around, pool.as_deref(), found)
    }

    /// The neighbours of the elements of an array, in their order.
    fn array(&mut self, kind: Indexed, queries: &[Option<pg_sys::Datum>], set: &ResultSet) -> Result<()> {
        let sketch = Sketch::none(self.opened.directories.0.sketch().dims);
        let of_query = size_of::<Answer>() * self.batch.wanted() + size_of::<Place>();
        let together = (self.memory / of_query).max(1);
        let mut buffer = Vec::new();
        for (first, queries) in (0..).step_by(together).zip(queries.chunks(together)) {
            let mut places = self.places(kind, queries, &mut buffer)?;
            self.sort(&mut places)?;
            let mut answers: Vec<Answer> = Vec::new();
            let mut note = |query, neighbours: &[Neighbour]| {
                let mut ranked = (0..).zip(neighbours);
                ranked.try_for_each(|(rank, &neighbour)| answers.try_push(Answer { query, rank, neighbour }))
            };
            for (at, place) in places.iter().enumerate() {
                let Some(datum) = queries[place.query as usize] else { continue };
                // SAFETY: an element of the array, which is of this kind.
                let push = unsafe {
                    let push = |_, query: Sketched<'_>| self.batch.push(place.query, query.coordinates, None);
                    kind.coordinates(&sketch, datum, &mut buffer, push)
                };
                push?;
                if self.batch.is_full() || at + 1 == places.len() {
                    self.run(&mut note)?;
                }
            }
            answers.sort_unstable_by_key(|answer| (answer.query, answer.rank));
            for Answer { query, neighbour, .. } in answers {
                tick()?;
                set.put_query(first + query + 1, neighbour);
            }
        }
        Ok(())
    }

    /// The queries that have neighbours.
    fn places(
        &mut self,
        kind: Indexed,
        queries: &[Option<pg_sys::Datum>],
        buffer: &mut Vec<f32>,
    ) -> Result<Vec<Place>> {
        let mut places = memory::with_capacity(queries.len())?;
        let sketch = Sketch::none(self.opened.directories.0.sketch().dims);
        // Which lists are near matters only if the queries are compared in several parts.
        let in_parts = queries.len() > self.batch.together();
        for (query, datum) in (0..).zip(queries) {
            tick()?;
            let Some(datum) = *datum else { continue };
            // SAFETY: an element of the array, which is of this kind.
            let list = unsafe {
                kind.coordinates(&sketch, datum, buffer, |dims, query| {
                    if dims != sketch.dims {
                        return Err(kind.different(sketch.dims, dims));
                    }
                    if in_parts { self.batch.nearest_list(query.coordinates) } else { Ok(Some(0)) }
                })?
            };
            places.extend(list.map(|list| Place { list, query }));
        }
        Ok(places)
    }

    /// Brings queries that are near each other together.
    fn sort(&self, places: &mut [Place]) -> Result<()> {
        let directory = &self.opened.directories.0;
        if places.len() >= directory.lists() as usize {
            let mut rank = memory::filled(0, directory.lists() as usize)?;
            for (at, list) in (0..).zip(tour(directory, &Interruptible)?) {
                rank[list as usize] = at;
            }
            places.iter_mut().for_each(|place| place.list = rank[place.list as usize]);
        }
        places.sort_unstable();
        Ok(())
    }

    /// The neighbours of all rows, list by list, so that the rows of a batch have the same neighbours.
    fn graph(&mut self, set: &ResultSet) -> Result<()> {
        let (current, next) = self.opened.directories.clone();
        let mut rows = Vec::new();
        let mut note = |row: u64, neighbours: &[Neighbour]| {
            neighbours.iter().for_each(|&neighbour| set.put_row(Tid::from_u64(row), neighbour));
            Ok(())
        };
        for directory in std::iter::once(&current).chain(&next) {
            for list in tour(directory, &Interruptible)? {
                rows.clear();
                rows_of_list(&self.opened.store, directory, list, &mut rows)?;
                rows.sort_unstable();
                for &row in &rows {
                    tick()?;
                    self.push_row(row)?;
                    if self.batch.is_full() {
                        self.run(&mut note)?;
                    }
                }
            }
        }
        self.run(&mut note)
    }

    /// Adds a row of the table as a query, if the snapshot sees it.
    fn push_row(&mut self, row: Tid) -> Result<()> {
        let Self { opened: Opened { rows, directories, kind, .. }, vector, batch, .. } = self;
        vector.clear();
        if let Some(version) = rows.measured(row, &mut |values| vector.try_extend(values))? {
            // An expression may have other results by now than when the index was built.
            opclass::check_dimensions(*kind, directories.0.dims(), vector.len())?;
            batch.push(version.as_u64(), vector, Some(Itself { row, version }))?;
        }
        Ok(())
    }
}

/// A query and its nearest list, or that list's place in an order. Queries of one list come together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    list: u32,
    query: u64,
}

/// A neighbour of a query, and how many are nearer.
#[derive(Clone, Copy)]
struct Answer {
    query: u64,
    rank: u32,
    neighbour: Neighbour,
}
