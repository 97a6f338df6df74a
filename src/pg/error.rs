//! From [`Error`] to PostgreSQL's error reports. The one place that raises.

#[cfg(not(feature = "pg15"))]
use std::ffi::CString;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::{Error, Kind, Result};

/// The SQLSTATE of a kind: the one that pgvector uses, if it has such an error.
fn sqlstate(kind: Kind) -> PgSqlErrorCode {
    match kind {
        Kind::InvalidText => PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
        Kind::NumericRange => PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        Kind::DivisionByZero => PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO,
        Kind::Data => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
        Kind::NullNotAllowed => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        Kind::InvalidParameter => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        Kind::LimitExceeded => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        Kind::OutOfMemory => PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        Kind::NotSupported => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        Kind::NotReady => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        Kind::WrongObject => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        Kind::NoObject => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
        Kind::Corrupted => PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
        Kind::Conflict => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        Kind::Internal => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
    }
}

/// Raises `error` as a PostgreSQL ERROR.
#[cold]
pub fn raise(error: Error) -> ! {
    let mut report = ErrorReport::new(sqlstate(error.kind), error.message, "vector_search");
    if let Some(detail) = error.detail {
        report = report.set_detail(detail);
    }
    if let Some(hint) = error.hint {
        report = report.set_hint(hint);
    }
    report.report(pgrx::PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// Takes the value of a result or raises its error.
pub trait OrRaise<T> {
    /// The value, or an ERROR.
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T> {
    #[inline]
    fn or_raise(self) -> T {
        self.unwrap_or_else(|error| raise(error))
    }
}

/// Puts the name of the index `relation` into a message that begins with "ivf index". The rooms below do not
/// know the name.
pub fn in_index(relation: pg_sys::Relation, error: Error) -> Error {
    let Some(rest) = error.message.strip_prefix("ivf index ") else { return error };
    let message = format!("index \"{}\" {rest}", crate::pg::relation::relation_name(relation));
    Error { message, ..error }
}

/// Reports `error` to the caller of an input function, if it asked for soft errors (PostgreSQL 16+:
/// `pg_input_is_valid`, `COPY … ON_ERROR`); otherwise raises it. See `utils/fmgr/README`.
pub fn soft(fcinfo: pg_sys::FunctionCallInfo, error: Error) {
    #[cfg(not(feature = "pg15"))]
    {
        // SAFETY: fcinfo is the live call's; its context is null or a node (fmgr.h).
        let context = unsafe { (*fcinfo).context };
        // SAFETY: a non-null context points at a node, and the tag says that it is an ErrorSaveContext.
        if !context.is_null() && unsafe { (*context).type_ } == pg_sys::NodeTag::T_ErrorSaveContext {
            let context = context.cast::<pg_sys::ErrorSaveContext>();
            // SAFETY: see above; the call's answer is a NULL.
            unsafe {
                save(&mut *context, &error);
                (*fcinfo).isnull = true;
            }
            return;
        }
    }
    let _ = fcinfo;
    raise(error)
}

/// Does what `errsave` does with an error (elog.c, `errsave_finish`), without varargs.
#[cfg(not(feature = "pg15"))]
unsafe fn save(context: &mut pg_sys::ErrorSaveContext, error: &Error) {
    context.error_occurred = true;
    if !context.details_wanted {
        return;
    }
    let text = |s: &str| {
        let s = CString::new(s.replace('\0', "")).unwrap_or_default();
        // SAFETY: the pointer is a NUL-terminated string; pstrdup copies it into the current context.
        unsafe { pg_sys::pstrdup(s.as_ptr()) }
    };
    // SAFETY: palloc0 returns zeroed memory of the size; all-zero is a valid ErrorData.
    unsafe {
        let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = pgrx::PgLogLevel::ERROR as i32;
        (*data).sqlerrcode = sqlstate(error.kind) as i32;
        (*data).message = text(&error.message);
        if let Some(detail) = &error.detail {
            (*data).detail = text(detail);
        }
        if let Some(hint) = &error.hint {
            (*data).hint = text(hint);
        }
        (*data).assoc_context = pg_sys::CurrentMemoryContext;
        context.error_data = data;
    }
}

/// Raises the error of a cancelled statement, for work that is not told to end otherwise.
pub fn interrupts() {
    pgrx::check_for_interrupts!();
}
