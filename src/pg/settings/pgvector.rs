//! Indexes under pgvector's names, `ivfflat` and `hnsw` (extension `vector`, sql/compat): what their options
//! and settings mean for our scans.
//!
//! The settings are pgvector's. They are read if a session has set them. They are never defined here, so that
//! pgvector's library can be loaded too (`pgvector_placeholders.rs` says what takes their place).

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;

use super::reloptions::Foreign;
use crate::error::{Error, Kind, Result};

/// The least effort of a scan that follows from pgvector's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PgvectorEffort {
    /// Share of the true nearest rows to find.
    pub recall_target: f64,
    /// Lists to probe.
    pub least_probes: u32,
}

/// A candidate list of this length is assumed to mean a recall of .95, with the usual number of connections.
const USUAL_EF: f64 = 40.0;
const USUAL_M: f64 = 16.0;
const MOST_EF: f64 = 1000.0;
const DEFAULT_PROBES: f64 = 1.0;
const MOST_PROBES: f64 = 32_768.0;
/// The highest recall that a length of the candidate list can mean, because pgvector's search is never exact.
const HIGHEST: f64 = 0.999;

/// The effort that the session's settings ask for, in an index with `lists` lists.
pub fn effort(foreign: Option<Foreign>, lists: u32) -> PgvectorEffort {
    match foreign {
        None => PgvectorEffort::default(),
        Some(Foreign::IvfFlat { lists: theirs }) => {
            // The same share of the lists, which is about the same share of the rows.
            let probes = setting(c"ivfflat.probes", DEFAULT_PROBES, MOST_PROBES);
            let share = probes.map_or(0.0, |probes| probes / f64::from(theirs));
            PgvectorEffort {
                least_probes: (share.min(1.0) * f64::from(lists)).ceil() as u32,
                ..PgvectorEffort::default()
            }
        }
        Some(Foreign::Hnsw { m, .. }) => {
            let Some(ef) = setting(c"hnsw.ef_search", USUAL_EF, MOST_EF) else {
                return PgvectorEffort::default();
            };
            // The share of missed rows falls as the candidate list and the number of connections grow.
            let missed = 0.05 * USUAL_EF * USUAL_M / (ef * f64::from(m).max(USUAL_M));
            PgvectorEffort { recall_target: (1.0 - missed).clamp(0.0, HIGHEST), ..PgvectorEffort::default() }
        }
    }
}

/// The value of a setting: a number up to `most`; `None` if it is pgvector's default.
fn setting(name: &CStr, default: f64, most: f64) -> Option<f64> {
    // SAFETY: a lookup by name that does not mind if there is none; the text is copied at once.
    let text = unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value))?.to_str().ok()?
    };
    // In a parallel worker the text has not passed the check of `pgvector_placeholders.rs`, so it may be
    // anything.
    text.trim().parse().ok().filter(|number| (1.0..=most).contains(number) && *number != default)
}

/// Checks the options of an index that will be built, and reports once in a session what they mean here.
pub fn check_options(foreign: Option<Foreign>) -> Result<()> {
    thread_local! {
        static SAID: Cell<bool> = const { Cell::new(false) };
    }
    let Some(foreign) = foreign else { return Ok(()) };
    if let Foreign::Hnsw { m, ef_construction } = foreign
        && ef_construction < 2 * m
    {
        let message = "ef_construction must be greater than or equal to 2 * m";
        return Err(Error::new(Kind::InvalidParameter, message));
    }
    if !SAID.replace(true) {
        let name = foreign.method_name();
        pgrx::notice!(
            "access method \"{name}\" is served by vector_search's ivf: scans read as many lists as \
             ivf.recall_target needs, and pgvector's settings can only raise that number"
        );
    }
    Ok(())
}
