//! `EXPLAIN (ANALYZE)` shows the counters of an ordered scan. PostgreSQL 18 has a hook for each node of a
//! plan.

use std::ffi::{CStr, CString};
use std::fmt::Write;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::callbacks::{self, Done, is_ivf};

static mut NEXT_HOOK: pg_sys::explain_per_node_hook_type = None;

/// Installs the hook; called once per process.
pub fn install_hook() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        NEXT_HOOK = pg_sys::explain_per_node_hook;
        pg_sys::explain_per_node_hook = Some(explain_node);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain_node(
    node: *mut pg_sys::PlanState,
    ancestors: *mut pg_sys::List,
    relationship: *const std::ffi::c_char,
    plan_name: *const std::ffi::c_char,
    out: *mut pg_sys::ExplainState,
) {
    // SAFETY: the server passes a node of a plan that was started and not ended yet, and where to write.
    unsafe {
        if let Some(next) = NEXT_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(node, ancestors, relationship, plan_name, out));
        }
        if !(*out).analyze || (*node).type_ != pg_sys::NodeTag::T_IndexScanState {
            return;
        }
        // A scan that was not begun in this process (only in a worker, or not at all) has no descriptor here.
        let scan = (*node.cast::<pg_sys::IndexScanState>()).iss_ScanDesc;
        if !scan.is_null()
            && is_ivf((*scan).indexRelation)
            && let Some(done) = callbacks::done(scan)
        {
            match (*out).format {
                pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT => show(&done, out),
                _ => list(&done, out),
            }
        }
    }
}

/// One line, like that of `Buffers`. Counters that are zero are left out.
unsafe fn show(done: &Done, out: *mut pg_sys::ExplainState) {
    let stats = &done.stats;
    let mut line = format!("lists={} of {}", stats.lists, done.lists);
    let rest = [
        ("skipped", stats.skipped),
        ("codes", stats.codes),
        ("excluded", stats.excluded),
        ("refined", stats.extended),
        ("rows", stats.rows),
        ("rounds", stats.rounds),
    ];
    for (name, count) in rest {
        if count > 0 {
            // Writing to a string does not fail.
            let _ = write!(line, " {name}={count}");
        }
    }
    if done.threshold == Some(true) {
        line.push_str(" threshold reached");
    }
    if let Ok(line) = CString::new(line) {
        // SAFETY: strings that end with zero; the server copies them.
        unsafe { pg_sys::ExplainPropertyText(c"IVF".as_ptr(), line.as_ptr(), out) };
    }
}

/// A group of properties, for programs.
unsafe fn list(done: &Done, out: *mut pg_sys::ExplainState) {
    let stats = &done.stats;
    let counts: [(&CStr, u64); 8] = [
        (c"Lists", done.lists.into()),
        (c"Lists Read", stats.lists),
        (c"Lists Skipped", stats.skipped),
        (c"Codes Compared", stats.codes),
        (c"Codes Excluded", stats.excluded),
        (c"Codes Refined", stats.extended),
        (c"Rows Fetched", stats.rows),
        (c"Rounds", stats.rounds),
    ];
    // SAFETY: strings that end with zero; the group is opened and closed.
    unsafe {
        pg_sys::ExplainOpenGroup(c"IVF".as_ptr(), c"IVF".as_ptr(), true, out);
        for (name, count) in counts {
            pg_sys::ExplainPropertyUInteger(name.as_ptr(), std::ptr::null(), count, out);
        }
        if let Some(reached) = done.threshold {
            pg_sys::ExplainPropertyBool(c"Threshold Reached".as_ptr(), reached, out);
        }
        pg_sys::ExplainCloseGroup(c"IVF".as_ptr(), c"IVF".as_ptr(), true, out);
    }
}
