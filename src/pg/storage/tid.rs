//! Addresses of heap rows in the server's form and in ours.

use pgrx::pg_sys;

use crate::page::Tid;

/// The address of a heap row in our form.
pub fn tid(pointer: &pg_sys::ItemPointerData) -> Tid {
    let blkno = u32::from(pointer.ip_blkid.bi_hi) << 16 | u32::from(pointer.ip_blkid.bi_lo);
    Tid { blkno, offset: pointer.ip_posid }
}

/// The address of a heap row in PostgreSQL's form.
pub fn item_pointer(tid: Tid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData { bi_hi: (tid.blkno >> 16) as u16, bi_lo: tid.blkno as u16 },
        ip_posid: tid.offset,
    }
}
