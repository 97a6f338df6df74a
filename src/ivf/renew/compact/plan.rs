//! Which lists move to the free pages before them, and which pages they get.

use crate::error::Result;
use crate::ivf::directory::{Directory, entry_size};
use crate::ivf::list_chain;
use crate::ivf::progress::Progress;
use crate::ivf::renew::space::{Space, fixed};
use crate::memory;
use crate::page::{PageKind, Store, tape};

/// The file must become shorter at least to this share.
const WORTH: f64 = 0.9;

/// A list that moves, and its new pages.
pub struct Move {
    pub list: u32,
    /// For the rows that it has. Fewer than these if it has become longer.
    pub pages: Vec<u32>,
}

/// The lists that move.
pub struct Plan {
    pub moves: Vec<Move>,
    /// The first page of the new directory.
    pub directory: u32,
    /// The number of pages that the file then needs.
    pub end: u32,
}

/// A list as it lies in the file.
#[derive(Clone, Copy)]
struct Extent {
    list: u32,
    /// The page behind its last one.
    end: u32,
    /// Its pages.
    pages: u32,
}

/// Chooses lists and takes pages for them. `None` if the file, which ends with page `end`, would hardly
/// become shorter, or have more than `most` pages; then pages may have been taken as well.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub fn choose<S: Store>(
    store: &S,
    directory: &Directory,
    space: &mut Space<'_, S>,
    (end, most): (u32, f64),
    progress: &dyn Progress,
) -> Result<Option<Plan>> {
    let mut extents = memory::with_capacity(directory.lists() as usize)?;
    for list in 0..directory.lists() {
        extents.push(extent(store, directory, list, progress)?);
    }
    extents.sort_unstable_by_key(|extent: &Extent| std::cmp::Reverse(extent.end));
    let names = tape::pages(entry_size(directory.padded()) * directory.lists() as usize);
    let (count, limit) = shortest(&extents, space, names, (fixed_end(directory), end));
    if f64::from(limit) > most.min(WORTH * f64::from(end)) {
        return Ok(None);
    }
    let Some(first) = space.take_before(names, limit) else { return Ok(None) };
    let mut moves: Vec<Move> = memory::with_capacity(count)?;
    for extent in &extents[..count] {
        progress.tick()?;
        // Consecutive pages are read faster.
        let pages = match space.take_before(extent.pages, limit) {
            Some(first) => memory::collected(first..first + extent.pages)?,
            None => space.take_single(extent.pages, limit)?,
        };
        moves.push(Move { list: extent.list, pages });
    }
    Ok(Some(Plan { moves, directory: first, end: limit }))
}

fn extent<S: Store>(store: &S, directory: &Directory, list: u32, progress: &dyn Progress) -> Result<Extent> {
    let (mut end, mut pages) = (0, 0);
    list_chain::all_pages(store, directory, list, &mut |blkno, kind| {
        progress.tick()?;
        if kind == PageKind::CodesMore {
            store.read(blkno)?.expect_owned(blkno, kind, directory.owner(list))?;
        }
        end = end.max(blkno.saturating_add(1));
        pages += 1;
        Ok(())
    })?;
    Ok(Extent { list, end, pages })
}

/// How many of the lists with the last pages have to move so that the file becomes as short as it can, and
/// the page with which it then ends. `names` pages are for the directory, and the file has `end` pages now.
fn shortest<S: Store>(
    extents: &[Extent],
    space: &Space<'_, S>,
    names: u32,
    (fixed, end): (u32, u32),
) -> (usize, u32) {
    let mut need = u64::from(names);
    let mut best = (0, end);
    let mut runs = space.runs();
    // Free pages in the runs up to this one.
    let (mut run, mut free) = (0..0, 0);
    for (i, extent) in extents.iter().enumerate() {
        need += u64::from(extent.pages);
        while free < need {
            let Some(next) = runs.next() else { return best };
            run = next.clone();
            free += run.len() as u64;
        }
        let taken = run.end - (free - need) as u32;
        if taken >= best.1 {
            return best;
        }
        let stay = extents.get(i + 1).map_or(0, |next| next.end);
        let end = taken.max(stay).max(fixed);
        if end < best.1 {
            best = (i + 1, end);
        }
    }
    best
}

/// The page behind the last one that cannot move.
fn fixed_end(directory: &Directory) -> u32 {
    fixed(directory).map(|pages| pages.end).max().unwrap_or(0)
}
