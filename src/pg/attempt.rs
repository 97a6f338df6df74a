//! Work that may fail without failing its caller.

use std::panic::AssertUnwindSafe;

use pgrx::PgTryBuilder;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::PgSqlErrorCode;

use crate::error::{Error, Kind, Result};

/// How work has ended.
enum Ended<R> {
    Returned(Result<R>),
    Raised(CaughtError),
}

/// Runs `work` in a subtransaction. If it fails, what it has done to the transaction is undone, and the
/// message of the error is returned; changes of an index's pages stay. PL/pgSQL's `exec_stmt_block`
/// (pl_exec.c) does the same. A cancel, a shutdown and damage are not for the caller to survive: they are
/// raised.
///
/// # Safety
/// A transaction is under way, not in parallel mode. Whatever `work` uses after an error was not begun by it.
///
/// # Errors
/// Damage that `work` returns.
pub unsafe fn attempt<R>(work: impl FnOnce() -> Result<R>) -> Result<std::result::Result<R, String>> {
    // SAFETY: a transaction is under way; the context and the owner are restored below, whatever happens.
    let (context, owner) = unsafe {
        let before = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(before.0);
        before
    };
    let released = || {
        let result = work()?;
        // The release may fail, too, and then it is rolled back.
        // SAFETY: the subtransaction begun above is the current one: `work` has ended those that it began.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        Ok(result)
    };
    let ended = PgTryBuilder::new(AssertUnwindSafe(|| Ended::Returned(released())))
        .catch_others(Ended::Raised)
        .execute();
    // SAFETY: if it has failed, the subtransaction begun above has not been released. Those that `work` has
    // left are ended with it.
    unsafe {
        if !matches!(ended, Ended::Returned(Ok(_))) {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    match ended {
        Ended::Returned(Ok(result)) => Ok(Ok(result)),
        Ended::Returned(Err(error @ Error { kind: Kind::Corrupted, .. })) => Err(error),
        Ended::Returned(Err(error)) => Ok(Err(error.message)),
        Ended::Raised(cause) => survivable(cause).map(Err),
    }
}

/// The message of an error that the caller may survive; raises others.
fn survivable(cause: CaughtError) -> Result<String> {
    let report = match cause {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        panic @ CaughtError::RustPanic { .. } => panic.rethrow(),
    };
    match report.sql_error_code() {
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED
        | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
        | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
        | PgSqlErrorCode::ERRCODE_DATA_CORRUPTED
        // The server has forgotten its own error by now, so it is raised as one of ours.
        | PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED => CaughtError::ErrorReport(report).rethrow(),
        _ => Ok(report.message().to_owned()),
    }
}
