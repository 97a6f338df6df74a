//! What follows from the operator class and the indexed column: kind of value, metric and dimensions.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::pg::compat;
use crate::pg::datum::indexed::Indexed;
use crate::pg::settings::reloptions::method_name;
use crate::value::Metric;
use crate::value::limits::check_typmod;

// The number that a support function returns has the metric in its lower part and the kind of value in its
// upper part.

/// The one strategy of the classes for vectors: ordering by distance.
pub const ORDER_STRATEGY: u16 = 1;
/// The support function that names the metric, or the form of a filter column's keys.
pub const METRIC_PROC: u16 = 1;

/// Returned for operator classes of which no index can be built.
const UNSUPPORTED: i16 = -1;

const fn number(kind: Indexed, metric: Metric) -> i16 {
    (kind as i16) << 8 | metric as i16
}

/// Support function of `vector_l2_ops`.
#[pg_extern(sql = false)]
fn ivf_l2_metric() -> i16 {
    number(Indexed::Vector, Metric::L2)
}

/// Support function of `vector_cosine_ops`.
#[pg_extern(sql = false)]
fn ivf_cosine_metric() -> i16 {
    number(Indexed::Vector, Metric::Cosine)
}

/// Support function of `vector_ip_ops`.
#[pg_extern(sql = false)]
fn ivf_ip_metric() -> i16 {
    number(Indexed::Vector, Metric::InnerProduct)
}

/// Support function of `halfvec_l2_ops`.
#[pg_extern(sql = false)]
fn ivf_halfvec_l2_metric() -> i16 {
    number(Indexed::Half, Metric::L2)
}

/// Support function of `halfvec_cosine_ops`.
#[pg_extern(sql = false)]
fn ivf_halfvec_cosine_metric() -> i16 {
    number(Indexed::Half, Metric::Cosine)
}

/// Support function of `halfvec_ip_ops`.
#[pg_extern(sql = false)]
fn ivf_halfvec_ip_metric() -> i16 {
    number(Indexed::Half, Metric::InnerProduct)
}

/// Support function of `bit_hamming_ops`.
#[pg_extern(sql = false)]
fn ivf_bit_hamming_metric() -> i16 {
    number(Indexed::Bits, Metric::Hamming)
}

/// Support function of `vector_l1_ops`.
#[pg_extern(sql = false)]
fn ivf_l1_metric() -> i16 {
    number(Indexed::Vector, Metric::L1)
}

/// Support function of `halfvec_l1_ops`.
#[pg_extern(sql = false)]
fn ivf_halfvec_l1_metric() -> i16 {
    number(Indexed::Half, Metric::L1)
}

/// Support function of `bit_jaccard_ops`.
#[pg_extern(sql = false)]
fn ivf_bit_jaccard_metric() -> i16 {
    number(Indexed::Bits, Metric::Jaccard)
}

/// Support function of `sparsevec_l2_ops`.
#[pg_extern(sql = false)]
fn ivf_sparsevec_l2_metric() -> i16 {
    number(Indexed::Sparse, Metric::L2)
}

/// Support function of `sparsevec_cosine_ops`.
#[pg_extern(sql = false)]
fn ivf_sparsevec_cosine_metric() -> i16 {
    number(Indexed::Sparse, Metric::Cosine)
}

/// Support function of `sparsevec_ip_ops`.
#[pg_extern(sql = false)]
fn ivf_sparsevec_ip_metric() -> i16 {
    number(Indexed::Sparse, Metric::InnerProduct)
}

/// Support function of `sparsevec_l1_ops`.
#[pg_extern(sql = false)]
fn ivf_sparsevec_l1_metric() -> i16 {
    number(Indexed::Sparse, Metric::L1)
}

/// Support function of `vector_maxsim_ops`.
#[pg_extern(sql = false)]
fn ivf_vector_maxsim_metric() -> i16 {
    number(Indexed::Vectors, Metric::InnerProduct)
}

/// Support function of `halfvec_maxsim_ops`.
#[pg_extern(sql = false)]
fn ivf_halfvec_maxsim_metric() -> i16 {
    number(Indexed::Halves, Metric::InnerProduct)
}

/// Support function that extension `vector` gave classes of pgvector before their distance could be indexed.
#[pg_extern(sql = false)]
fn ivf_unsupported_metric() -> i16 {
    UNSUPPORTED
}

/// What support function 1 of a column's operator class returns: the metric, or the form of a filter column's
/// keys.
pub fn support_number(index: pg_sys::Relation, column: usize) -> Result<i16> {
    // SAFETY: the relation is an open index of ours with that many columns; the function takes no argument
    // and returns int2.
    unsafe {
        let function = pg_sys::index_getprocid(index, column as i16 + 1, METRIC_PROC);
        if function == pg_sys::InvalidOid {
            return Err(Error::new(Kind::Internal, "the operator class has no support function 1"));
        }
        Ok(pg_sys::OidFunctionCall0Coll(function, pg_sys::InvalidOid).value() as i16)
    }
}

/// The name of the operator family of an index's first column. The operator class has the same name.
fn family_name(index: pg_sys::Relation) -> String {
    // SAFETY: an open index has its operator families; the entry is released after the name was copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::OPFAMILYOID as i32;
        let entry = pg_sys::SearchSysCache1(cache, (*(*index).rd_opfamily).into());
        if entry.is_null() {
            return String::new();
        }
        let family = pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_opfamily>(entry);
        let name = CStr::from_ptr((*family).opfname.data.as_ptr()).to_string_lossy().into_owned();
        pg_sys::ReleaseSysCache(entry);
        name
    }
}

/// The kind of value and the metric of an open index, from its operator class.
pub fn indexed(index: pg_sys::Relation) -> Result<(Indexed, Metric)> {
    let mut number = support_number(index, 0)?;
    if number == UNSUPPORTED {
        let (name, method) = (family_name(index), method_name(index));
        number = supported_since(&name);
        if number == UNSUPPORTED {
            return Err(unsupported(&name, method));
        }
    }
    let [kind, metric] = number.to_be_bytes();
    let kind = match kind {
        0 => Indexed::Vector,
        1 => Indexed::Half,
        2 => Indexed::Bits,
        3 => Indexed::Sparse,
        4 => Indexed::Vectors,
        5 => Indexed::Halves,
        _ => return Err(Error::new(Kind::Internal, format!("unknown kind {kind} of an operator class"))),
    };
    Ok((kind, Metric::from_number(metric)?))
}

/// The number for a class that extension `vector` made when its distance could not be indexed.
fn supported_since(name: &str) -> i16 {
    match name {
        "vector_l1_ops" => number(Indexed::Vector, Metric::L1),
        "halfvec_l1_ops" => number(Indexed::Half, Metric::L1),
        "bit_jaccard_ops" => number(Indexed::Bits, Metric::Jaccard),
        "sparsevec_l2_ops" => number(Indexed::Sparse, Metric::L2),
        "sparsevec_cosine_ops" => number(Indexed::Sparse, Metric::Cosine),
        "sparsevec_ip_ops" => number(Indexed::Sparse, Metric::InnerProduct),
        "sparsevec_l1_ops" => number(Indexed::Sparse, Metric::L1),
        _ => UNSUPPORTED,
    }
}

fn unsupported(name: &str, method: &str) -> Error {
    let message = format!("operator class \"{name}\" is not supported by {method} indexes of vector_search");
    Error::new(Kind::NotSupported, message).with_hint("Queries by this distance work without an index.")
}

/// The dimensions of the indexed column, if its type modifier has them.
pub fn declared_dimensions(index: pg_sys::Relation) -> Result<Option<usize>> {
    // If the column has a domain type, the domain has the type modifier. SAFETY: an open index has a
    // descriptor with at least one attribute.
    let (typmod, of_type) = unsafe {
        let attributes = (*index).rd_att;
        let mut typmod = compat::typmod(attributes, 0);
        let of_type = pg_sys::getBaseTypeAndTypmod(compat::attribute_type(attributes, 0), &raw mut typmod);
        (typmod, of_type)
    };
    if of_type == pg_sys::VARBITOID {
        // The type modifier of `bit varying` is only an upper limit.
        return Err(Error::new(
            Kind::NotSupported,
            format!("type not supported for {} index", method_name(index)),
        )
        .with_hint("Use bit(n), or index an expression with a cast, such as ((column::bit(64)))."));
    }
    Ok(usize::try_from(typmod).ok())
}

/// An error if a row has other dimensions than its index.
pub fn check_dimensions(kind: Indexed, indexed: usize, row: usize) -> Result<()> {
    check_typmod(indexed as i32, row).map_err(|error| match kind {
        Indexed::Sparse => error.with_hint(format!(
            "All rows of an index have the same dimensions. Give the column the type sparsevec({indexed})."
        )),
        Indexed::Vectors | Indexed::Halves => error.with_hint(format!(
            "All vectors of an index have the same dimensions. Give the column a type such as \
             vector({indexed})[]."
        )),
        _ => error.with_hint(format!(
            "All rows of an index have the same dimensions. Exclude other rows by a partial index, such as \
             CREATE INDEX ... WHERE vector_dims(embedding) = {indexed}."
        )),
    })
}
