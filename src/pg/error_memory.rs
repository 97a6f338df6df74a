//! Memory for errors, with which an error is reported when there is no memory left.
//!
//! pgrx copies each error of the server (`CopyErrorData` in `pg_guard_ffi_boundary`), and the texts of an
//! error that it raises (after `errstart` in `do_ereport`). It does both in the current memory context, at
//! places where no error may occur: the first would jump to a function that has returned, the second would
//! unwind through the server's functions, and Rust aborts the process. Either restarts the server. So the
//! linker gives the library its own versions of both functions (`--wrap` in `build.rs`). These use a memory
//! context that has its memory from the start. A text of more than 8 kB needs more, because it is a block
//! of its own (aset.c).

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

/// Memory of the context. It takes address space only, until there is an error.
const SIZE: usize = 64 << 10;

thread_local! {
    static CONTEXT: Cell<pg_sys::MemoryContext> = const { Cell::new(null_mut()) };
}

unsafe extern "C-unwind" {
    #[link_name = "__real_CopyErrorData"]
    fn copy_error_data() -> *mut pg_sys::ErrorData;
    #[link_name = "__real_errstart"]
    fn start(level: c_int, domain: *const c_char) -> bool;
}

/// Allocates the memory, when the library is loaded.
pub fn init() {
    let name = c"vector_search errors".as_ptr();
    // SAFETY: a context under one that lives as long as the backend; its name is a constant.
    CONTEXT.set(unsafe {
        pg_sys::AllocSetContextCreateInternal(pg_sys::TopMemoryContext, name, SIZE, SIZE, SIZE)
    });
}

/// Makes the context for errors, empty, the current one.
unsafe fn enter() {
    let context = CONTEXT.get();
    if !context.is_null() {
        // SAFETY: what it holds is used by nobody: the report before has ended, and so has the copy.
        unsafe {
            pg_sys::MemoryContextReset(context);
            pg_sys::CurrentMemoryContext = context;
        }
    }
}

/// Called in place of `CopyErrorData`, and raises no error.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_CopyErrorData() -> *mut pg_sys::ErrorData {
    // SAFETY: called while an error is handled, as the function itself; the caller's context is restored.
    unsafe {
        let before = pg_sys::CurrentMemoryContext;
        enter();
        let copied =
            catch_unwind(AssertUnwindSafe(|| pg_sys::ffi::pg_guard_ffi_boundary(|| copy_error_data())));
        let data = copied.unwrap_or_else(|_| no_memory_for_it());
        pg_sys::CurrentMemoryContext = before;
        data
    }
}

/// The error in place of one that is too large to be copied.
unsafe fn no_memory_for_it() -> *mut pg_sys::ErrorData {
    // SAFETY: zeros are a valid structure; it and the text fit into the context, which is empty.
    unsafe {
        enter();
        let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = PgLogLevel::ERROR as i32;
        (*data).sqlerrcode = PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY as i32;
        (*data).message = pg_sys::pstrdup(c"out of memory".as_ptr());
        (*data).detail = pg_sys::pstrdup(c"There was none to copy another error.".as_ptr());
        (*data).assoc_context = pg_sys::CurrentMemoryContext;
        data
    }
}

/// Called in place of `errstart`. The texts of an error are then allocated in the context for errors. An
/// error leaves the current context anyway (`errfinish`).
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_errstart(level: c_int, domain: *const c_char) -> bool {
    // SAFETY: the arguments are passed on.
    let is_wanted = unsafe { start(level, domain) };
    if is_wanted && level == PgLogLevel::ERROR as c_int {
        // SAFETY: a report begins.
        unsafe { enter() };
    }
    is_wanted
}
