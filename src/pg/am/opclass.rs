//! What the operator class and the indexed column say: metric and dimensions.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::METRIC_PROC;
use crate::error::{Error, Kind, Result};
use crate::value::{MAX_DIMS, Metric};

/// Support function of `vector_l2_ops`.
#[pg_extern(sql = false)]
fn ivf_l2_metric() -> i16 {
    Metric::L2 as i16
}

/// Support function of `vector_cosine_ops`.
#[pg_extern(sql = false)]
fn ivf_cosine_metric() -> i16 {
    Metric::Cosine as i16
}

/// Support function of `vector_ip_ops`.
#[pg_extern(sql = false)]
fn ivf_ip_metric() -> i16 {
    Metric::InnerProduct as i16
}

/// What support function 1 of a column's operator class returns: the metric, or the form of a filter column's keys.
pub fn support_number(index: pg_sys::Relation, column: usize) -> Result<i16> {
    // SAFETY: the relation is an open index of ours with that many columns; the function takes no argument and
    // returns int2.
    unsafe {
        let function = pg_sys::index_getprocid(index, column as i16 + 1, METRIC_PROC);
        if function == pg_sys::InvalidOid {
            return Err(Error::new(Kind::Internal, "the operator class has no support function 1"));
        }
        Ok(pg_sys::OidFunctionCall0Coll(function, pg_sys::InvalidOid).value() as i16)
    }
}

/// The metric of an open index, from its operator class.
pub fn metric(index: pg_sys::Relation) -> Result<Metric> {
    Metric::from_number(support_number(index, 0)? as u8)
}

/// The dimensions of the indexed column, from its type modifier.
pub fn dimensions(index: pg_sys::Relation) -> Result<usize> {
    // SAFETY: an open index has a descriptor with at least one attribute.
    let typmod = unsafe { crate::pg::compat::typmod((*index).rd_att, 0) };
    if typmod < 0 {
        return Err(Error::new(Kind::InvalidParameter, "column does not have dimensions").with_hint(
            "Give the column a type with dimensions, such as vector(384), or index an expression with a cast, \
             such as ((embedding::vector(384))).",
        ));
    }
    let dims = typmod as usize;
    if dims > MAX_DIMS {
        return Err(Error::new(
            Kind::LimitExceeded,
            format!("column cannot have more than {MAX_DIMS} dimensions for ivf index"),
        ));
    }
    Ok(dims)
}
