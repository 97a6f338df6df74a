//! `ivf_recalibrate`: measures again how many lists each recall target needs.

use pgrx::prelude::pg_extern;
use pgrx::{JsonB, pg_sys};
use serde::Serialize;

use super::access::{MAINTENANCE, Opened, Right, with_index};
use super::{expect_writable, json};
use crate::error::{Error, Kind};
use crate::ivf::calibrate::{QUERIES, Queries, recalibrate};
use crate::ivf::info::{Calibrated, calibration};
use crate::ivf::sketch::Sketch;
use crate::memory::Grow;
use crate::pg::am::build::random_seed;
use crate::pg::am::directory_cache::sketch;
use crate::pg::am::opclass;
use crate::pg::am::table_source::TableSource;
use crate::pg::error::{OrRaise, in_index, raise};
use crate::pg::relation::relation_name;
use crate::pg::storage::buffer_store::IndexStore;
use crate::pg::types::array::Array;
use crate::pg::work::Interruptible;

/// The answer of `ivf_recalibrate`.
#[derive(Serialize)]
struct Recalibrated {
    queries: usize,
    calibration: Vec<Calibrated>,
}

/// Calibrates an index with rows of its table as queries.
#[pg_extern(sql = false)]
fn ivf_recalibrate(index: pg_sys::Oid) -> JsonB {
    renew(index, |opened, sketch| {
        let seed = random_seed().or_raise();
        // SAFETY: both relations are open.
        let mut rows = unsafe {
            TableSource::of_index(opened.table.as_ptr(), opened.index.as_ptr(), sketch.for_queries(), seed)
        };
        let want = *QUERIES.end();
        let mut vectors = Vec::new();
        rows.scattered(want, &mut |_, vector| vectors.try_extend(vector).or_raise());
        (vectors, Queries::Rows)
    })
}

/// Calibrates an index with queries as its users ask them.
#[pg_extern(sql = false)]
fn ivf_recalibrate_for(index: pg_sys::Oid, queries: Array) -> JsonB {
    renew(index, |opened, sketch| {
        let (index, dims) = (opened.index.as_ptr(), sketch.dims);
        let kind = opclass::indexed(index).or_raise().0;
        if kind.is_sketched() {
            let (name, of) = (relation_name(index), kind.type_name());
            let message = format!("index \"{name}\" is over {of}, not vector");
            raise(
                Error::new(Kind::WrongObject, message)
                    .with_hint("Calibrate it with rows of its table: SELECT ivf_recalibrate(index)."),
            );
        }
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

/// Calibrates an index, which the user must own, with the vectors that `queries` returns, and reports.
fn renew(index: pg_sys::Oid, queries: impl FnOnce(&Opened, &Sketch) -> (Vec<f32>, Queries)) -> JsonB {
    expect_writable(c"ivf_recalibrate()");
    json(&with_index(index, MAINTENANCE, Right::Own, |opened| {
        let index = opened.index.as_ptr();
        let sketch = sketch(index).or_raise();
        let (vectors, queries) = queries(opened, &sketch);
        let store = IndexStore::in_bulk(index);
        let meta =
            recalibrate(&store, &vectors, queries, &Interruptible).map_err(|e| in_index(index, e)).or_raise();
        Recalibrated { queries: vectors.len() / sketch.size, calibration: calibration(&meta) }
    }))
}
