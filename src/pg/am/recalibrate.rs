//! `ivf_recalibrate`: measuring anew how many lists a recall target needs.

use pgrx::prelude::pg_extern;
use pgrx::{JsonB, pg_sys};
use serde::Serialize;

use super::build::random_seed;
use super::functions::{Opened, dimensions, json, open};
use super::heap::Table;
use crate::error::{Error, Kind, Result};
use crate::ivf::build::Progress;
use crate::ivf::calibrate::{QUERIES, Queries, recalibrate};
use crate::ivf::info::{Calibrated, calibration};
use crate::memory::Grow;
use crate::pg::allocator;
use crate::pg::buffer::IndexStore;
use crate::pg::compat::owns_relation;
use crate::pg::error::{OrRaise, in_index, raise};
use crate::pg::types::array::Array;

/// Keeps VACUUM and other recalibrations away, but neither readers nor writers.
const MAINTENANCE: pg_sys::LOCKMODE = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;

/// The answer of `ivf_recalibrate`.
#[derive(Serialize)]
struct Recalibrated {
    queries: usize,
    calibration: Vec<Calibrated>,
}

struct Interruptible;

impl Progress for Interruptible {
    fn tick(&self) -> Result<()> {
        pgrx::check_for_interrupts!();
        allocator::check();
        Ok(())
    }
}

/// Calibrates an index with rows of its table as queries.
#[pg_extern(sql = false)]
fn ivf_recalibrate(index: pg_sys::Oid) -> JsonB {
    renew(index, |opened, dims| {
        let seed = random_seed().or_raise();
        // SAFETY: both relations are open.
        let mut rows = unsafe { Table::of_index(opened.table.as_ptr(), opened.index.as_ptr(), dims, seed) };
        let want = *QUERIES.end();
        let mut vectors = Vec::new();
        rows.scattered(want, &mut |_, vector| vectors.try_extend(vector).or_raise());
        (vectors, Queries::Rows)
    })
}

/// Calibrates an index with queries as its users ask them.
#[pg_extern(sql = false)]
fn ivf_recalibrate_for(index: pg_sys::Oid, queries: Array) -> JsonB {
    renew(index, |_, dims| {
        let mut vectors = Vec::new();
        for vector in queries.vectors() {
            if vector.len() != dims {
                let message = format!("expected {dims} dimensions, not {}", vector.len());
                raise(Error::new(Kind::Data, message));
            }
            vectors.try_extend(&vector).or_raise();
        }
        (vectors, Queries::Asked)
    })
}

/// Opens an index of the user's own, calibrates it with what `queries` gives, and reports.
fn renew(index: pg_sys::Oid, queries: impl FnOnce(&Opened, usize) -> (Vec<f32>, Queries)) -> JsonB {
    // Before the lock: who may not do this must not keep VACUUM waiting either.
    // SAFETY: lookups in the catalog; aclcheck_error raises.
    unsafe {
        let table = pg_sys::IndexGetRelation(index, true);
        if table != pg_sys::InvalidOid && !owns_relation(table) {
            let (denied, kind) = (pg_sys::AclResult::ACLCHECK_NOT_OWNER, pg_sys::ObjectType::OBJECT_INDEX);
            pg_sys::aclcheck_error(denied, kind, pg_sys::get_rel_name(index));
        }
    }
    let opened = open(index, MAINTENANCE);
    let index = opened.index.as_ptr();
    let dims = dimensions(index).or_raise();
    let (vectors, queries) = queries(&opened, dims);
    let store = IndexStore::in_bulk(index);
    let meta =
        recalibrate(&store, &vectors, queries, &Interruptible).map_err(|e| in_index(index, e)).or_raise();
    json(&Recalibrated { queries: vectors.len() / dims, calibration: calibration(&meta) })
}
