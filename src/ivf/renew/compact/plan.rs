//! Which lists and fixed pages move to the free pages before them, and which pages they get.

use crate::error::Result;
use crate::ivf::directory::{Directory, entry_size};
use crate::ivf::list_chain;
use crate::ivf::progress::Progress;
use crate::ivf::renew::space::{Space, fixed};
use crate::memory;
use crate::page::{NO_BLOCK, PageKind, Store, tape};

/// More fixed pages stay where they are: inserts and scans that begin would wait too long for their copies.
const MOST_FIXED: u32 = 2048;
/// If pages do not follow one another before the new end of a file, the end is later by this part.
const FARTHER: u32 = 32;
/// The file must become shorter at least to this share.
const WORTH: f64 = 0.9;

/// A list that moves, and its new pages.
pub struct Move {
    pub list: u32,
    /// For the rows that it has. Fewer than these if it has become longer.
    pub pages: Vec<u32>,
}

/// What moves.
pub struct Plan {
    pub moves: Vec<Move>,
    /// Where the [`fixed`] pages come to lie, if they move.
    pub fixed: Option<[u32; 3]>,
    /// The first page of the new directory.
    pub directory: u32,
    /// The number of pages that the file then needs.
    pub end: u32,
}

/// What may move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    List(u32),
    Fixed,
}

/// What may move, as it lies in the file.
#[derive(Clone, Copy)]
struct Extent {
    what: What,
    /// The page behind its last one.
    end: u32,
    /// Its pages.
    pages: u32,
}

/// Chooses lists and takes pages for them. `None` if the file, which ends with page `end`, would hardly
/// become shorter, or have more than `most` pages; then no pages are taken.
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
    let mut extents = memory::with_capacity(directory.lists() as usize + 1)?;
    for list in 0..directory.lists() {
        extents.push(extent(store, directory, list, progress)?);
    }
    let (fixed, limit) = (fixed_extent(directory), most.min(WORTH * f64::from(end)));
    extents.push(fixed);
    extents.sort_unstable_by_key(|extent: &Extent| std::cmp::Reverse(extent.end));
    let mut chosen = None;
    if fixed.pages <= MOST_FIXED {
        chosen = attempt(directory, &extents, space.copy()?, (0, end), (limit, progress))?;
    }
    if chosen.is_none() {
        // Perhaps too few free pages follow one another for the fixed ones: these stay.
        extents.retain(|extent| extent.what != What::Fixed);
        chosen = attempt(directory, &extents, space.copy()?, (fixed.end, end), (limit, progress))?;
    }
    Ok(chosen.map(|(plan, left)| {
        *space = left;
        plan
    }))
}

/// Takes pages for those of the `extents` whose move makes the file shortest, and says which are left. `None`
/// if it would have more than `limit` pages. It ends with page `end` now, and will not end before `least`.
fn attempt<'a, S: Store>(
    directory: &Directory,
    extents: &[Extent],
    mut space: Space<'a, S>,
    (least, end): (u32, u32),
    (limit, progress): (f64, &dyn Progress),
) -> Result<Option<(Plan, Space<'a, S>)>> {
    let names = tape::pages(entry_size(directory.padded()) * directory.lists() as usize);
    let (count, mut end) = shortest(extents, &space, names, (least, end));
    let fixed_move = extents[..count].iter().any(|extent| extent.what == What::Fixed);
    let fixed = if fixed_move { fixed_lengths(directory) } else { [0; 3] };
    let [directory, firsts @ ..] = loop {
        if f64::from(end) > limit {
            return Ok(None);
        }
        // Free pages may not follow one another so near the front.
        match take_runs(&mut space, [names, fixed[0], fixed[1], fixed[2]], end)? {
            Some(firsts) => break firsts,
            None => end += end.div_ceil(FARTHER),
        }
    };
    let fixed = fixed_move.then_some(firsts);
    let mut plan = Plan { moves: memory::with_capacity(count)?, fixed, directory, end };
    for extent in &extents[..count] {
        progress.tick()?;
        let What::List(list) = extent.what else { continue };
        // Consecutive pages are read faster.
        let pages = match space.take_before(extent.pages, end) {
            Some(first) => memory::collected(first..first + extent.pages)?,
            None => space.take_single(extent.pages, end)?,
        };
        plan.moves.push(Move { list, pages });
    }
    Ok(Some((plan, space)))
}

/// Takes runs of consecutive pages before page `end`, the longest first; all or none. [`NO_BLOCK`] for runs
/// of no pages.
fn take_runs<S: Store>(space: &mut Space<'_, S>, counts: [u32; 4], end: u32) -> Result<Option<[u32; 4]>> {
    let (mut left, mut firsts) = (space.copy()?, [NO_BLOCK; 4]);
    let mut order = [0, 1, 2, 3];
    order.sort_unstable_by_key(|&i| std::cmp::Reverse(counts[i]));
    for i in order.into_iter().filter(|&i| counts[i] > 0) {
        let Some(first) = left.take_before(counts[i], end) else { return Ok(None) };
        firsts[i] = first;
    }
    *space = left;
    Ok(Some(firsts))
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
    Ok(Extent { what: What::List(list), end, pages })
}

/// How many of the extents with the last pages have to move so that the file becomes as short as it can, and
/// the page with which it then ends, which is not before `least`. `names` pages are for the directory, and
/// the file has `end` pages now.
fn shortest<S: Store>(
    extents: &[Extent],
    space: &Space<'_, S>,
    names: u32,
    (least, end): (u32, u32),
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
        let end = taken.max(stay).max(least);
        if end < best.1 {
            best = (i + 1, end);
        }
    }
    best
}

fn fixed_extent(directory: &Directory) -> Extent {
    let pages = fixed(&directory.meta).into_iter().filter(|pages| !pages.is_empty());
    let end = pages.map(|pages| pages.end).max().unwrap_or(0);
    Extent { what: What::Fixed, end, pages: fixed_lengths(directory).iter().sum() }
}

fn fixed_lengths(directory: &Directory) -> [u32; 3] {
    fixed(&directory.meta).map(|pages| pages.end - pages.start)
}
