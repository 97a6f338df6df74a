//! Storage: shared buffers and WAL, read-ahead, TOAST tables, addresses of rows.

pub mod buffer_hints;
pub mod buffer_lock;
pub mod buffer_store;
mod read_ahead;
pub mod recovery_conflict;
pub mod tid;
pub mod toast;
mod toast_direct;
