//! Moves the pages of lists at the end of the file to free pages before them, while the index is in use.
//!
//! A renewal leaves as many free pages as the lists had that it replaced. This operation makes the file
//! shorter without coding a row again. After each step the index is right:
//!
//! 1. **Plan** which lists move, and where to ([`plan`]). List states, summaries and the origin, the *fixed
//!    pages*, move if they lie behind the new end of the file.
//! 2. **Freeze** them ([`freeze`]): each gets a further codes page and a further extended page. From one
//!    change of the meta page on, inserts use only these.
//! 3. **Copy** the pages before to pages that nothing refers to ([`relocate`]). The last copied codes page
//!    leads to the page that takes new rows.
//! 4. **Flip**: one change puts a directory into use that names the copies. It copies the fixed pages.
//! 5. **Tidy**: further pages that got no rows leave their lists.
//!
//! Nobody writes to the old pages after step 2, so scans that began before step 4 find each row there. Once
//! nobody can read them, [`sweep`](super::sweep) finds that no list leads to them.

mod freeze;
mod plan;
mod relocate;
mod tidy;

use std::ops::Range;

use self::plan::Plan;
use self::relocate::Moved;
use super::due::Loose;
use super::publish::write_directory_at;
use super::space::{FIXED, Space, Transactions, change_root, change_with_root, fixed, retire};
use crate::error::Result;
use crate::ivf::directory::{Directory, read_root};
use crate::ivf::progress::{Phase, Progress};
use crate::memory;
use crate::page::root::LEAVING;
use crate::page::{Change, Meta, PageKind, Store, lists};

/// One free page is lent to inserts for so many lists. A move takes less time than a renewal.
const LISTS_OF_LENT: u32 = 16;

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Lists that were moved; none if only fixed pages were.
    pub lists: u32,
}

/// Moves lists from the end of the file to free pages, if the file would become shorter by a tenth. One
/// caller at a time, and no vacuum or renewal beside it. `None`: nothing was moved.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s. The index is right whatever happens.
pub fn compact<S: Store>(
    store: &S,
    transactions: &dyn Transactions,
    progress: &dyn Progress,
) -> Result<Option<Compacted>> {
    let root = read_root(store)?;
    if root.next.is_some() || root.retired != 0 {
        // Pages of earlier lists would lie in between.
        return Ok(None);
    }
    progress.phase(Phase::Moving);
    let directory = Directory::load(store)?;
    let loose = Loose::of(store, &root, &directory)?;
    let mut space = Space::find(store, transactions, LISTS_OF_LENT, progress)?;
    let Some(plan) = plan::choose(store, &directory, &mut space, (loose.end, loose.most()), progress)? else {
        let free = space.count();
        space.give_back()?;
        change_root(store, |root| (root.retired, root.free, root.unmoved) = (0, free, loose.end))?;
        return Ok(None);
    };
    let Some(lists) = carry_out(store, &directory, &plan, &mut space, progress)? else { return Ok(None) };
    retire(store, transactions)?;
    space.give_back()?;
    Ok(Some(Compacted { lists }))
}

/// How many lists have moved. `None` if nothing has.
fn carry_out<S: Store>(
    store: &S,
    directory: &Directory,
    plan: &Plan,
    space: &mut Space<'_, S>,
    progress: &dyn Progress,
) -> Result<Option<u32>> {
    progress.total(plan.moves.len() as u64);
    let mut further = memory::with_capacity(plan.moves.len())?;
    for place in &plan.moves {
        progress.tick()?;
        further.push(freeze::prepare(store, directory, place.list, (space, plan.end))?);
    }
    freeze::freeze(store, directory, &further)?;
    let mut moved = memory::with_capacity(plan.moves.len())?;
    for ((done, place), further) in (1..).zip(&plan.moves).zip(&further) {
        moved.extend(relocate::copy(store, directory, (further, &place.pages), progress)?);
        progress.done(done);
    }
    if moved.is_empty() && plan.fixed.is_none() {
        return Ok(None);
    }
    note(store, directory, &moved)?;
    if let Some(firsts) = plan.fixed {
        read_fixed(store, &directory.meta, firsts, progress)?;
    }
    flip(store, directory, plan, &moved, space.count())?;
    let directory = Directory::load(store)?;
    for list in &moved {
        progress.tick()?;
        tidy::tidy(store, &directory, list)?;
    }
    Ok(Some(moved.len() as u32))
}

/// Notes in the list states where the copies are. They do not count before the directory names them.
fn note<S: Store>(store: &S, directory: &Directory, moved: &[Moved]) -> Result<()> {
    for copied in moved {
        let (blkno, index) = directory.state_position(copied.list);
        store.change(|change| {
            let handle = change.open(blkno)?;
            let mut state = lists::read(change.page(handle), index);
            state.head = directory.head(copied.list).0;
            (state.moved, state.moved_extended) = (copied.head, copied.extended);
            state.contiguous = copied.contiguous;
            lists::write(change.page_mut(handle), index, &state);
            Ok(())
        })?;
    }
    Ok(())
}

/// Puts a directory into use that names the copies. So many pages are left `free`.
///
/// The fixed pages are copied under the lock of the meta page, which inserts watch. Who reads the old ones
/// later began before: its snapshot has no row that came since.
fn flip<S: Store>(store: &S, directory: &Directory, plan: &Plan, moved: &[Moved], free: u32) -> Result<()> {
    let mut entries = memory::with_capacity(directory.lists() as usize)?;
    for list in 0..directory.lists() {
        entries.push(directory.entry(list)?);
    }
    for copied in moved {
        let entry = &mut entries[copied.list as usize];
        (entry.head, entry.contiguous) = (copied.head, copied.contiguous);
    }
    write_directory_at(store, plan.directory, directory.meta.first_list, &entries)?;
    change_with_root(store, |change, root| {
        if let Some(firsts) = plan.fixed {
            let pages = fixed(&root.current).into_iter().zip(fixed_at(&root.current, firsts));
            for ((from, to), kind) in pages.zip(FIXED) {
                from.zip(to).try_for_each(|pages| copy(change, pages, kind))?;
            }
            let Meta { origin_first, lists_first, summaries_first, .. } = &mut root.current;
            [*origin_first, *lists_first, *summaries_first] = firsts;
        }
        root.current.directory_first = plan.directory;
        root.current.generation = root.next_generation();
        (root.retired, root.free, root.unmoved) = (LEAVING, free, 0);
        Ok(())
    })
}

/// Reads the fixed pages and those that they are copied to, so that nobody waits for a disk meanwhile.
fn read_fixed<S: Store>(store: &S, meta: &Meta, firsts: [u32; 3], progress: &dyn Progress) -> Result<()> {
    for blkno in fixed(meta).into_iter().chain(fixed_at(meta, firsts)).flatten() {
        progress.tick()?;
        store.read(blkno)?;
    }
    Ok(())
}

/// The fixed pages as they lie after a move.
fn fixed_at(meta: &Meta, firsts: [u32; 3]) -> impl Iterator<Item = Range<u32>> {
    firsts.into_iter().zip(fixed(meta)).map(|(first, old)| first..first + (old.end - old.start))
}

/// Copies a page of a kind to one that nothing refers to.
fn copy(change: &mut dyn Change, (from, to): (u32, u32), kind: PageKind) -> Result<()> {
    let source = change.open(from)?;
    change.page(source).expect_kind(from, kind)?;
    let page = change.page(source).clone();
    let copied = change.open(to)?;
    change.page_mut(copied).copy_from(&page);
    change.flush(copied)?;
    change.close(source);
    Ok(())
}
