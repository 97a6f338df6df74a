//! `ivf_pairs`: all pairs of rows that are nearer to each other than a distance.

use pgrx::pg_sys;
use pgrx::prelude::pg_extern;
use rayon::ThreadPool;

use super::access::{READING, Right, with_index};
use super::neighbours::{Opened, current_user, expect_dense, open};
use super::result_set::ResultSet;
use crate::error::{Error, Kind, Result};
use crate::ivf::search::batch::pairs::{Pair, Pairs};
use crate::ivf::search::batch::{Neighbour, Surroundings, Table, rows_of_list};
use crate::memory::Grow;
use crate::pg::am::opclass;
use crate::pg::am::threads::start;
use crate::pg::error::{OrRaise, raise};
use crate::pg::work::{Interruptible, threads, tick};

/// The pairs of rows below a distance.
#[pg_extern(sql = false)]
fn ivf_pairs(index: pg_sys::Oid, below: f64, call: pg_sys::FunctionCallInfo) {
    if below.is_nan() {
        let message = "below must not be NaN";
        raise(Error::new(Kind::InvalidParameter, message));
    }
    let (set, user) = (ResultSet::begin(call), current_user());
    with_index(index, READING, Right::Read, |relations| {
        expect_dense(relations);
        let mut opened = open(relations);
        let mut pairs = Pairs::new(opened.directories.clone(), below, opened.memory);
        let pool = start(threads()).or_else(|_| start(1)).or_raise();
        let done = find(&mut opened, &mut pairs, &pool, &set);
        opened.close(relations, user, done.map(|()| pairs.stats()));
    });
}

fn find(opened: &mut Opened, pairs: &mut Pairs, pool: &ThreadPool, set: &ResultSet) -> Result<()> {
    let Opened { store, directories, rows, .. } = opened;
    let mut found = |Pair { row, other, value }| {
        set.put_row(row, Neighbour { row: other, value });
        Ok(())
    };
    let (mut of_list, mut vector) = (Vec::new(), Vec::new());
    for (at, directory) in std::iter::once(&directories.0).chain(&directories.1).enumerate() {
        for list in 0..directory.lists() {
            of_list.clear();
            rows_of_list(store, directory, list, &mut of_list)?;
            of_list.sort_unstable();
            for &row in &of_list {
                tick()?;
                vector.clear();
                let Some(version) = rows.measured(row, &mut |values| vector.try_extend(values))? else {
                    continue;
                };
                // An expression may have other results by now than when the index was built.
                opclass::check_dimensions(
                    opclass::indexed(store.relation())?.0,
                    directory.dims(),
                    vector.len(),
                )?;
                pairs.push((at, list), (row, version), &vector)?;
                if pairs.is_full() {
                    let mut around = Surroundings { store, table: rows, progress: &Interruptible };
                    pairs.run(at, &mut around, pool, &mut found)?;
                }
            }
        }
        let mut around = Surroundings { store, table: rows, progress: &Interruptible };
        pairs.run(at, &mut around, pool, &mut found)?;
    }
    Ok(())
}
