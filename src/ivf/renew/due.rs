//! Whether an index is in need of new lists.

use std::fmt;

use serde::Serialize;

use crate::error::Result;
use crate::ivf::build::model::wanted_lists;
use crate::ivf::calibrate::reconstruct;
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::Silent;
use crate::page::{Root, Store};

use super::space::end_in_use;

/// By how much the rows may outnumber those of the build before new lists are due. Codes read grow by about
/// the root of this; a row is copied once for each such growth.
pub(super) const GROWTH: f64 = 1.3;
/// By how much the lists may have become less even than at the build: see [`unevenness`].
const UNEVENNESS: f64 = 1.3;
/// Changes of less than this share of the rows never make new lists due.
const LEAST_CHANGE: f64 = 0.1;
/// Rows below this share of those of the build leave lists that are too short.
const SHRUNK: f64 = 0.5;
/// Free pages for each page in use with which new lists make the file shorter: they must fit into the free
/// pages with room to spare.
const MOSTLY_FREE: f64 = 1.25;
/// Free pages for each page in use that make it worth moving lists (`compact/`), if the rows are at rest.
const FREE: f64 = 0.25;
/// Rows are at rest if they have hardly grown since the lists were made, or none comes now (`again.rs`).
/// Others will need the free pages. Autovacuum comes to a table that grows when it has grown by a fifth.
const AT_REST: f64 = 1.1;
/// By how much a file may be longer than its pages in use, if new lists can make it shorter.
const SHORT: f64 = 1.25;
/// A file of fewer pages is not worth it.
const LEAST_PAGES: u32 = 64;

/// With this number of rows, it is worth measuring how values deviate from what codes say
/// (`ivf/deviation.rs`).
const LEAST_MEASURED: u64 = 500;

/// Why new lists are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A replacement was interrupted.
    Interrupted,
    /// There are many more rows than lists were made for.
    Grown,
    /// There are many fewer.
    Shrunk,
    /// Rows have gathered in some lists.
    Uneven,
    /// How values deviate from what codes say is not measured: there were too few rows.
    Unmeasured,
    /// Much of the file is free.
    Sparse,
    /// Somebody has asked for it.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "it was interrupted",
            Self::Grown => "there are many more rows",
            Self::Shrunk => "there are far fewer rows",
            Self::Uneven => "rows have gathered in some lists",
            Self::Unmeasured => "the rows are not measured yet",
            Self::Sparse => "much of the file is free",
            Self::Asked => "as was asked for",
        })
    }
}

/// The rows of an index, as the last vacuum counted them.
///
/// # Errors
/// Damage, and the store's errors.
pub fn rows<S: Store>(store: &S, directory: &Directory) -> Result<u64> {
    Ok(reconstruct::counted(store, directory)?.iter().map(|state| u64::from(state.rows)).sum())
}

/// Whether new lists are due, by the rows that the last vacuum counted. `lists` is their number if users have
/// named it, else 0.
///
/// # Errors
/// Damage, and the store's errors.
pub fn is_due<S: Store>(store: &S, root: &Root, lists: u32) -> Result<Option<Reason>> {
    if root.next.is_some() {
        return Ok(Some(Reason::Interrupted));
    }
    let directory = Directory::load(store)?;
    let states = reconstruct::counted(store, &directory)?;
    let rows: u64 = states.iter().map(|state| u64::from(state.rows)).sum();
    let built: u64 = (0..directory.lists()).map(|list| u64::from(directory.built_rows(list))).sum();
    let wanted = wanted_lists(lists, rows);
    let (live, before) = (rows as f64, built.max(1) as f64);
    let now = unevenness(states.iter().map(|state| f64::from(state.rows)));
    let then = unevenness((0..directory.lists()).map(|list| f64::from(directory.built_rows(list))));
    let has = u64::from(directory.lists());
    Ok(if wanted > has && live > GROWTH * before {
        Some(Reason::Grown)
    } else if wanted < has && live < SHRUNK * before {
        Some(Reason::Shrunk)
    } else if has > 1 && now > UNEVENNESS * then && changed(&directory, &states) > LEAST_CHANGE * live {
        Some(Reason::Uneven)
    } else if !directory.is_measured() && rows >= LEAST_MEASURED && live > GROWTH * before {
        // Rows that are all equal cannot be measured: the next time is when there are more of them.
        Some(Reason::Unmeasured)
    } else {
        let at_rest = live <= AT_REST * before;
        let loose = Loose::of(store, root, &directory)?;
        let sparse = at_rest && loose.may_move(root) || loose.share() > MOSTLY_FREE;
        sparse.then_some(Reason::Sparse)
    })
}

/// The free pages of a file before its end, and those in use.
pub struct Loose {
    free: f64,
    used: f64,
    /// The page behind the last one in use.
    pub end: u32,
}

impl Loose {
    /// No page is free in a file of few pages, or as long as further pages will become free.
    ///
    /// # Errors
    /// Damage, and the store's errors.
    pub fn of<S: Store>(store: &S, root: &Root, directory: &Directory) -> Result<Self> {
        let pages = store.nblocks()?;
        // Free pages at the end of the file are for the system. While lists are made, each has one more codes
        // page.
        let step = 1 + directory.codes.more() as u32;
        let used = f64::from(pages.saturating_sub(root.free) + directory.lists() * step);
        if root.retired != 0 || pages <= LEAST_PAGES {
            return Ok(Self { free: 0.0, used, end: pages });
        }
        let end = end_in_use(store, &Silent)?;
        Ok(Self { free: f64::from(root.free.saturating_sub(pages.saturating_sub(end))), used, end })
    }

    fn share(&self) -> f64 {
        self.free / self.used
    }

    /// Whether it is worth moving lists, and they could be moved the last time.
    pub fn may_move(&self, root: &Root) -> bool {
        self.share() > FREE && root.unmoved != self.end
    }

    /// With how many pages the file has to end after a move, for new lists would make it shorter.
    pub fn most(&self) -> f64 {
        if self.share() > MOSTLY_FREE { SHORT * self.used } else { f64::INFINITY }
    }
}

/// Whether new lists would make the file shorter.
///
/// # Errors
/// Damage, and the store's errors.
pub fn is_mostly_free<S: Store>(store: &S) -> Result<bool> {
    let root = read_root(store)?;
    Ok(Loose::of(store, &root, &Directory::load(store)?)?.share() > MOSTLY_FREE)
}

/// Rows in the list of a row on average, by those of an average list: what lists of uneven length add to the
/// codes that a scan reads. 1 where there are none.
fn unevenness(rows: impl Iterator<Item = f64>) -> f64 {
    let (mut lists, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for n in rows {
        lists += 1.0;
        sum += n;
        squares += n * n;
    }
    if sum > 0.0 { squares / sum * lists / sum } else { 1.0 }
}

/// Rows by which the lists differ from those of the build.
fn changed(directory: &Directory, states: &[crate::page::lists::ListState]) -> f64 {
    let built = (0..directory.lists()).map(|list| directory.built_rows(list));
    states.iter().zip(built).map(|(state, built)| f64::from(state.rows.abs_diff(built))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_length_are_even() {
        assert!((unevenness([5.0; 7].into_iter()) - 1.0).abs() < 1e-12);
        assert!((unevenness([10.0, 0.0].into_iter()) - 2.0).abs() < 1e-12);
        assert!((unevenness(std::iter::empty()) - 1.0).abs() < 1e-12);
    }
}
