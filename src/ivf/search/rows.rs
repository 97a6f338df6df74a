//! The rows of the table, as a scan asks for them.

use crate::error::{Error, Result};
use crate::page::{NO_BLOCK, Tid};

/// The heap as the scan sees it.
pub trait Rows {
    /// These rows will be asked for next, in this order and most likely all of them; with the values where
    /// the index has them.
    ///
    /// # Errors
    /// As for [`Rows::distance`].
    fn prefetch(&mut self, _rows: &[(Tid, Option<f64>)]) -> Result<()> {
        Ok(())
    }

    /// The operator's value for a row, or `None` if the scan may not return it. `known` is the value where
    /// the index has it.
    ///
    /// # Errors
    /// Whatever the evaluation raises.
    fn distance(&mut self, tid: Tid, known: Option<f64>) -> Result<Option<f64>>;
}

/// Whether a row can be there.
pub fn is_address(tid: Tid) -> bool {
    tid.offset != 0 && tid.blkno != NO_BLOCK
}

/// The value of a row, if its address can be one: the server must not be asked for others, for to it the
/// block that none is means a new one.
pub fn value_of(rows: &mut dyn Rows, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
    if !is_address(tid) {
        let what = format!("({},{}) is no address of a row", tid.blkno, tid.offset);
        return Err(Error::corrupted(0, what));
    }
    rows.distance(tid, known)
}
