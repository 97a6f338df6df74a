//! The pages of a damaged index, as the verifier and `ivf_index_info` read them.

use vector_search::ivf::cost::estimate;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::search::Probes;
use vector_search::ivf::within::share;
use vector_search::ivf::{check, info};

use super::damage::{allowed, damaged};
use super::indexes::{Index, Query};
use crate::damaged::Counted;

/// The first byte is the index, the others say how it is damaged.
pub fn pages(indexes: &[Index], input: &[u8]) {
    let Some((&index, edits)) = input.split_first() else { return };
    let index = &indexes[usize::from(index) % indexes.len()];
    let store = damaged(&index.store, edits);
    let mut rows = 0;
    let visit = &mut |_| {
        rows += 1;
        Ok(())
    };
    let checked = allowed(check::check(&Counted::new(&store), visit, &|| Ok(())));
    let mut stored = 0;
    let visit = &mut |_, _: &[_], _: Option<&[u8]>| {
        stored += 1;
        Ok(())
    };
    let read = allowed(check::contents(&Counted::new(&store), visit, &|| Ok(())));
    if let Some(report) = &checked {
        assert_eq!(report.live, rows);
        assert_eq!(report.pages, super::indexes::size(&store));
        assert!(read.is_none() || stored == rows, "{stored} and {rows} rows");
    }
    if let Some(info) = allowed(info::info(&Counted::new(&store), 0, &|| Ok(()))) {
        serde_json::to_string(&info).unwrap();
    }
    if let Some((directory, _)) = allowed(index.directories(&Counted::new(&store))) {
        planned(&directory, index);
    }
}

/// What the planner computes.
fn planned(directory: &Directory, index: &Index) {
    let query = match &index.query {
        Query::Vector(vector) => Some(vector.as_slice()),
        Query::Original(_) => None,
    };
    for value in [0.5, f64::INFINITY] {
        let share = share(directory, query, value);
        assert!((0.0..=1.0).contains(&share), "a share of {share}");
    }
    for probes in [Probes::ForRecall { least: 0 }, Probes::Lists(3)] {
        let work = estimate(directory, 1e4, (probes, 0.95), 10.0, (0.5, None));
        assert!(work.rows.is_finite() && work.codes.is_finite(), "{} rows, {} codes", work.rows, work.codes);
    }
}
