//! Hypothetical indexes: extensions such as HypoPG ask the planner what queries would cost with an index that
//! does not exist. There is only the planner's structure, and no relation.

use pgrx::{PgList, pg_sys};

use crate::error::Result;
use crate::ivf::assumed;
use crate::ivf::directory::Directory;
use crate::page::Columns;
use crate::pg::datum::indexed::Indexed;
use crate::value::Metric;

/// Assumed if the column has no declared dimensions.
const DIMENSIONS: u32 = 768;
/// The most bytes of a filter column.
const WIDTH: u8 = 8;

/// The index that a build with the default options would make, and what it is over.
///
/// # Safety
/// The planner's structures.
///
/// # Errors
/// Columns that an index cannot have.
pub unsafe fn index(
    root: *mut pg_sys::PlannerInfo,
    info: &pg_sys::IndexOptInfo,
) -> Result<(Directory, Indexed)> {
    // SAFETY: the planner's structures: an index has at least one column, and an expression for each column
    // without a number; the planner's array has an entry for each table.
    unsafe {
        let bits = *info.opcintype == pg_sys::BITOID;
        let typmod = match *info.indexkeys {
            0 => PgList::<pg_sys::Node>::from_pg(info.indexprs)
                .get_ptr(0)
                .map_or(-1, |e| pg_sys::exprTypmod(e)),
            column => {
                let entry = &**(*root).simple_rte_array.add((*info.rel).relid as usize);
                let (mut of_type, mut typmod, mut collation) = (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
                let to = (&raw mut of_type, &raw mut typmod, &raw mut collation);
                pg_sys::get_atttypetypmodcoll(entry.relid, column as pg_sys::AttrNumber, to.0, to.1, to.2);
                typmod
            }
        };
        let dims = u32::try_from(typmod).ok().filter(|dims| *dims > 0).unwrap_or(DIMENSIONS);
        let metric = if bits { Metric::Hamming } else { Metric::L2 };
        let dims = dims.min(metric.most_dims() as u32);
        let columns = vec![WIDTH; (info.nkeycolumns - 1).max(0) as usize];
        let directory = assumed::directory(bits, dims, Columns::new(&columns)?, info.tuples)?;
        Ok((directory, if bits { Indexed::Bits } else { Indexed::Vector }))
    }
}
