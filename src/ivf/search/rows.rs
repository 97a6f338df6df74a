//! The rows of the table, as a scan asks for them.

use crate::error::{Error, Result};
use crate::page::{NO_BLOCK, Tid};

/// A row that may be in the range of a search, and its value if the index knows it.
pub type MayBeNear = (Tid, Option<f64>);

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

/// The error of an index that refers to an address that no row has.
pub fn address_error(row: Tid) -> Error {
    let (blkno, offset) = (row.blkno, row.offset);
    Error::contradiction(format!("ivf index is damaged: ({blkno},{offset}) is no address of a row"))
}

/// The value of a row, or `None` if its address is impossible. Such an address must not reach the server, for
/// which the block number "none" means to append a block.
pub fn value_of(rows: &mut dyn Rows, tid: Tid, known: Option<f64>) -> Result<Option<f64>> {
    if !is_address(tid) {
        return Err(address_error(tid));
    }
    rows.distance(tid, known)
}
