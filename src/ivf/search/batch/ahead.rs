//! Range searches of several queries together, ahead of the scans that will return their rows.
//!
//! A join by distance repeats a range search for each row of the other table, and each search reads all
//! codes. If the next queries are known, the lists are read once for all of them (`in_range.rs`). A scan then
//! takes the rows that may be in its range, and decides by the table as it always does.

use std::rc::Rc;

use rayon::ThreadPool;

use super::super::rows::MayBeNear;
use super::in_range::{InRange, Near, Query, Within};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::ivf::scan::Directories;
use crate::memory::Grow;
use crate::page::Store;

/// Queries whose rows are looked for together.
pub struct Ahead {
    directory: Rc<Directory>,
    queries: InRange,
    /// For each query that was pushed, its place among those that have neighbours.
    places: Vec<Option<usize>>,
    /// What was found, query by query, and where the rows of each begin.
    near: Vec<MayBeNear>,
    begins: Vec<usize>,
    capacity: usize,
    most: usize,
}

impl Ahead {
    /// For searches of an index, in about `memory` bytes. `None` if codes cannot exclude rows for certain, or
    /// while the lists are being replaced.
    pub fn new((current, next): &Directories, memory: usize) -> Option<Self> {
        let lossy = current.sketch().is_lossy() || current.is_unmeasured();
        (!lossy && next.is_none()).then(|| Self {
            capacity: InRange::capacity(current, memory / 2),
            most: InRange::most(memory / 2),
            directory: Rc::clone(current),
            queries: InRange::default(),
            places: Vec::new(),
            near: Vec::new(),
            begins: Vec::new(),
        })
    }

    /// Whether it was made for these directories.
    pub fn reads(&self, (current, next): &Directories) -> bool {
        Rc::ptr_eq(&self.directory, current) && next.is_none()
    }

    /// The number of queries that should be searched for together.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets the queries and what was found.
    pub fn clear(&mut self) {
        self.queries.clear();
        self.places.clear();
        self.near.clear();
        self.begins.clear();
    }

    /// Adds a query. Those of other dimensions than the index have no rows ahead.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, vector: Option<&[f32]>) -> Result<()> {
        let vector = vector.filter(|vector| vector.len() == self.directory.dims());
        let place = self.queries.queries().len();
        let added = match vector {
            Some(vector) => self.queries.push(&self.directory, vector, None)?,
            None => false,
        };
        self.places.try_push(added.then_some(place))
    }

    /// Looks for the rows up to `ceiling`. Returns false, and keeps none, if they are too many for the
    /// memory.
    ///
    /// # Errors
    /// Damage, out of memory, and the errors of the store and of `progress`.
    pub fn run<S: Store>(
        &mut self,
        ceiling: f64,
        store: &S,
        progress: &dyn Progress,
        pool: Option<&ThreadPool>,
    ) -> Result<bool> {
        let Self { directory, queries, near, begins, most, .. } = self;
        let within = Within { ceiling, later: false, most: *most };
        near.clear();
        begins.clear();
        let mut all: Vec<Near> = Vec::new();
        let mut fits = true;
        let mut keep = |_: &[Query], some: &mut Vec<Near>| {
            fits = all.len() + some.len() <= *most;
            if fits {
                all.try_extend(some)?;
            }
            Ok(fits)
        };
        let lists = (&**directory, 0..directory.lists());
        queries.read(lists, within, (store, progress, pool), &mut keep)?;
        if !fits {
            // The memory of a batch that found so much is not needed again.
            *queries = InRange::default();
            return Ok(false);
        }
        all.sort_unstable_by_key(|near| (near.query, near.row));
        near.grow(all.len())?;
        begins.try_resize(queries.queries().len() + 1, all.len())?;
        for (at, Near { row, query, known }) in all.into_iter().enumerate() {
            let begin = &mut begins[query as usize];
            *begin = (*begin).min(at);
            near.push((row, known));
        }
        // A query without rows begins where the next one does.
        for query in (0..begins.len() - 1).rev() {
            begins[query] = begins[query].min(begins[query + 1]);
        }
        Ok(true)
    }

    /// The vector of the query with this number, and the rows that may be in its range, in the table's order.
    /// `None` for one that cannot be searched for ahead.
    pub fn found(&self, number: usize) -> Option<(&[f32], &[MayBeNear])> {
        let place = self.places.get(number).copied().flatten()?;
        let range = *self.begins.get(place)?..*self.begins.get(place + 1)?;
        Some((&self.queries.queries()[place].vector, &self.near[range]))
    }
}
