//! ANALYZE of the types (`typanalyze`, commands/vacuum.h): shares of nulls, widths, and that values differ.
//!
//! The standard function would store up to a hundred vectors of each column in `pg_statistic`, which improves
//! no plan.

use pgrx::prelude::*;
use pgrx::{Internal, pg_sys};

/// Rows sampled for each unit of the statistics target, as in `std_typanalyze`.
const ROWS_PER_TARGET: i32 = 300;

/// Tells ANALYZE how to compute statistics of a column of type `vector`, `halfvec` or `sparsevec`.
#[pg_extern(sql = false)]
fn vector_typanalyze(stats: Internal) -> bool {
    let Some(stats) = stats.unwrap() else { return false };
    let stats = stats.cast_mut_ptr::<pg_sys::VacAttrStats>();
    // SAFETY: ANALYZE passes the column's structure, to be filled in.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let target = &raw const (*(*stats).attr).attstattarget;
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let target = &raw const (*stats).attstattarget;
        let asked = i64::from(*target);
        let rows = if asked < 0 { pg_sys::default_statistics_target } else { asked as i32 };
        (*stats).compute_stats = Some(compute);
        (*stats).minrows = ROWS_PER_TARGET * rows;
    }
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn compute(
    stats: pg_sys::VacAttrStatsP,
    fetch: pg_sys::AnalyzeAttrFetchFunc,
    rows: i32,
    _total: f64,
) {
    let Some(fetch) = fetch else { return };
    let (mut nulls, mut width) = (0, 0);
    for row in 0..rows {
        // SAFETY: ANALYZE passes the function that fetches the sampled rows; a value that is not null is a
        // varlena.
        unsafe {
            crate::pg::compat::vacuum_delay_point();
            let mut null = false;
            let value = pg_sys::ffi::pg_guard_ffi_boundary(|| fetch(stats, row, &raw mut null));
            if null {
                nulls += 1;
            } else {
                width += pgrx::varsize_any(value.cast_mut_ptr());
            }
        }
    }
    let values = rows - nulls;
    if rows > 0 {
        // SAFETY: the column's structure, to be filled in.
        unsafe {
            (*stats).stats_valid = true;
            (*stats).stanullfrac = f64::from(nulls) as f32 / rows as f32;
            (*stats).stawidth = (width / values.max(1) as usize) as i32;
            // A negative number is a share of the rows: all values are distinct.
            (*stats).stadistinct = -(values as f32 / rows as f32);
        }
    }
}
