//! What the log tells standbys before something goes that their transactions may still read.
//!
//! Generic WAL cannot say it. nbtree's record of a page that is used again says this and nothing else: who
//! replays it waits for older snapshots, or cancels them (SQLSTATE 40001), and touches no page
//! (`btree_xlog_reuse_page` in nbtxlog.c). So our indexes write that record.

use pgrx::pg_sys;

use super::buffer_store::relation_needs_wal;

/// `XLOG_BTREE_REUSE_PAGE` (access/nbtxlog.h).
const REUSE_PAGE: u8 = 0xD0;
/// `SizeOfBtreeReusePage`: file (three numbers), block, transaction, and from 16 on whether it is a catalog.
const SIZE: usize = if cfg!(feature = "pg15") { 24 } else { 25 };

/// Has standbys end, or wait for, the snapshots that see transaction `last` or an earlier one as under way.
/// Call it before what these see is gone from the index.
///
/// # Safety
/// The index is open.
pub unsafe fn log(index: pg_sys::Relation, last: u64) {
    let mut record = [0; SIZE];
    // SAFETY: the caller vouches for the index. The record is as the server's own code reads it, and lives
    // until it is inserted (_bt_log_reuse_page in nbtpage.c).
    unsafe {
        if !relation_needs_wal(index) {
            return;
        }
        let block = pg_sys::InvalidBlockNumber;
        for (i, number) in file(index).into_iter().chain([block]).enumerate() {
            record[4 * i..4 * i + 4].copy_from_slice(&number.to_ne_bytes());
        }
        record[16..24].copy_from_slice(&last.to_ne_bytes());
        pg_sys::XLogBeginInsert();
        pg_sys::XLogRegisterData(record.as_mut_ptr().cast(), SIZE as _);
        pg_sys::XLogInsert(pg_sys::RmgrIds::RM_BTREE_ID as u8, REUSE_PAGE);
    }
}

/// The numbers of a relation's file.
unsafe fn file(index: pg_sys::Relation) -> [u32; 3] {
    // SAFETY: the caller passes an open relation.
    #[cfg(not(feature = "pg15"))]
    let file = unsafe { (*index).rd_locator };
    #[cfg(not(feature = "pg15"))]
    return [file.spcOid.to_u32(), file.dbOid.to_u32(), file.relNumber.to_u32()];
    // SAFETY: as above.
    #[cfg(feature = "pg15")]
    let file = unsafe { (*index).rd_node };
    #[cfg(feature = "pg15")]
    [file.spcNode.to_u32(), file.dbNode.to_u32(), file.relNode.to_u32()]
}

/// The last transaction whose deletions no snapshot of this server needs to see undone: rows that it deleted
/// are dead to everybody here.
///
/// # Safety
/// The table is open.
pub unsafe fn last_dead(table: pg_sys::Relation) -> u64 {
    // SAFETY: the caller vouches for the table.
    let (oldest, next) = unsafe {
        (pg_sys::GetOldestNonRemovableTransactionId(table), pg_sys::ReadNextFullTransactionId().value)
    };
    // The oldest is one of the last 2³¹ before the next.
    let mut last = next - u64::from((next as u32).wrapping_sub(oldest.into_inner())) - 1;
    while (last as u32) < pg_sys::FirstNormalTransactionId.into_inner() && last > 0 {
        last -= 1;
    }
    last
}
