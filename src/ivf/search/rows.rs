//! The rows of the table, as a scan asks for them.

use crate::error::{Error, Result};
use crate::page::{NO_BLOCK, Tid};

/// The heap as the scan sees it.
pub trait Rows {
    /// These rows will be fetched next, in this order, and most likely all of them, then perhaps those of
    /// `spare`. The latter are prefetched only if others had to be requested from the disk. A row has its
    /// value if the index knows it.
    ///
    /// # Errors
    /// As for [`Rows::distance`].
    fn prefetch(&mut self, _rows: &[(Tid, Option<f64>)], _spare: &[(Tid, Option<f64>)]) -> Result<()> {
        Ok(())
    }

    /// The operator's value for a row, or `None` if the scan may not return it. `known` is the value, if the
    /// index knows it.
    ///
    /// # Errors
    /// Whatever the evaluation raises.
    fn distance(&mut self, tid: Tid, known: Option<f64>) -> Result<Option<f64>>;
}

/// Whether a heap row can have this address.
pub fn is_address(tid: Tid) -> bool {
    tid.offset != 0 && tid.blkno != NO_BLOCK
}

/// The value of a row, or `None` if its address is impossible. Such an address must not reach the server, for
/// which the block number "none" means to append a block.
pub fn value_of(rows: &mut dyn Rows, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
    if !is_address(tid) {
        let what = format!("({},{}) is no address of a row", tid.blkno, tid.offset);
        return Err(Error::corrupted(0, what));
    }
    rows.distance(tid, known)
}
