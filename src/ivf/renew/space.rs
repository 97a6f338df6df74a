//! Where new pages come to lie: on free pages, then at the end of the file.

use std::ops::Range;

use super::leave::finish;
use crate::error::{Error, Result};
use crate::ivf::directory::{Directory, entry_size, origin_size, read_root};
use crate::ivf::list_chain;
use crate::ivf::progress::Progress;
use crate::memory::{self, Grow};
use crate::page::meta::META_BLOCK;
use crate::page::root::{LEAVING, UNREAD};
use crate::page::{Change, MAX_CHANGE_PAGES, Meta, NO_BLOCK, PageKind, Root, Store, lists, summary, tape};

/// So many runs of free pages are looked at for one that is long enough.
const MOST_RUNS: usize = 1000;

/// Whoever takes free pages lends one of so many to inserts meanwhile.
const LENT: u32 = 8;

/// The transactions of the server.
pub trait Transactions {
    /// The number of the one that begins next.
    fn next(&self) -> u64;

    /// Seconds since 1970.
    fn now(&self) -> u64;

    /// Whether all that began before this one have ended, for whoever may read the index.
    fn have_ended(&self, before: u64) -> bool;

    /// Tells standbys that what only ended transactions could read is about to go from the index. Here they
    /// have ended; a standby may have older ones.
    fn forget_ended(&self);
}

/// The free pages of an index, and those that were taken from them.
pub struct Space<'a, S: Store> {
    store: &'a S,
    /// Ascending. Those that are used up are empty.
    free: Vec<Range<u32>>,
    /// The first one that is not.
    from: usize,
    /// Pages that look as if they belonged to lists in use, which they have left. So nobody else takes them.
    unmarked: Vec<Range<u32>>,
    /// Free pages that were lent.
    lent: u32,
}

/// Finds the free pages, and lets inserts take them. How many there are; `None` if nothing was to be freed.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub fn sweep<S: Store>(
    store: &S,
    transactions: &dyn Transactions,
    progress: &dyn Progress,
) -> Result<Option<u32>> {
    end_leaving(store, transactions, progress)?;
    let root = read_root(store)?;
    if root.retired == 0 || !is_unread(&root, transactions) {
        return Ok(None);
    }
    // Inserts may go on to take free pages: they look at each before they do.
    let space = Space::look(store, transactions, progress)?;
    let free = space.count();
    space.give_back()?;
    change_root(store, |root| (root.retired, root.free) = (0, free))?;
    Ok(Some(free))
}

/// Changes the meta page.
///
/// # Errors
/// Damage, or the store's errors.
pub fn change_root<S: Store>(store: &S, f: impl FnOnce(&mut Root)) -> Result<()> {
    change_with_root(store, |_, root| {
        f(root);
        Ok(())
    })
}

/// Changes the meta page, and others under its lock.
///
/// # Errors
/// Damage, and the errors of the store and of `f`.
pub fn change_with_root<S: Store>(
    store: &S,
    f: impl FnOnce(&mut dyn Change, &mut Root) -> Result<()>,
) -> Result<()> {
    store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        let mut root = Root::read(change.page(handle))?;
        f(change, &mut root)?;
        root.write(change.page_mut(handle));
        Ok(())
    })
}

/// Notes that whoever began before now may read the pages that have left the lists.
///
/// # Errors
/// Damage, or the store's errors.
pub fn retire<S: Store>(store: &S, transactions: &dyn Transactions) -> Result<()> {
    change_root(store, |root| root.retired = transactions.next())
}

/// The same, if an earlier maintenance could not.
fn end_leaving<S: Store>(store: &S, transactions: &dyn Transactions, progress: &dyn Progress) -> Result<()> {
    if read_root(store)?.retired != LEAVING {
        return Ok(());
    }
    finish(store, progress)?;
    retire(store, transactions)
}

/// Whether nobody reads the pages of earlier lists.
fn is_unread(root: &Root, transactions: &dyn Transactions) -> bool {
    matches!(root.retired, 0 | UNREAD) || transactions.have_ended(root.retired)
}

/// Notes that nobody reads the pages of earlier lists. The caller knows that nobody reads the index now: who
/// reads it later knows the lists in use.
///
/// # Errors
/// Damage, or the store's errors.
pub fn none_reads<S: Store>(store: &S) -> Result<()> {
    if read_root(store)?.retired == 0 {
        return Ok(());
    }
    change_root(store, |root| root.retired = UNREAD)
}

/// The number of pages of the file without the free ones at its end. The caller knows that nobody uses the
/// index.
///
/// # Errors
/// Damage, the store's errors and [`Progress::tick`]'s.
pub fn end_in_use<S: Store>(store: &S, progress: &dyn Progress) -> Result<u32> {
    let root = read_root(store)?;
    let oldest = if matches!(root.retired, 0 | UNREAD) { root.current.first_list } else { 0 };
    let mut end = store.nblocks()?;
    while end > META_BLOCK + 1 && store.read(end - 1)?.is_free(oldest) {
        progress.tick()?;
        end -= 1;
    }
    Ok(end)
}

impl<'a, S: Store> Space<'a, S> {
    /// Finds the free pages. Nobody else takes one until they are given back, except for some that are lent:
    /// without these, pages of inserts would come to lie at the end of the file, and keep it long. One page
    /// is lent for so many lists.
    ///
    /// # Errors
    /// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
    pub fn find(
        store: &'a S,
        transactions: &dyn Transactions,
        lists_of_lent: u32,
        progress: &dyn Progress,
    ) -> Result<Self> {
        store.forget_free()?;
        let mut space = Self::look(store, transactions, progress)?;
        let lists = read_root(store)?.current.lists;
        let count = (space.count() / LENT).min(lists.div_ceil(lists_of_lent));
        let lent = space.take_single(count, u32::MAX)?;
        space.mark(lent.iter().copied())?;
        store.add_free(&mut lent.into_iter())?;
        space.lent = count;
        Ok(space)
    }

    fn look(store: &'a S, transactions: &dyn Transactions, progress: &dyn Progress) -> Result<Self> {
        end_leaving(store, transactions, progress)?;
        if read_root(store)?.retired == 0 {
            // If an error comes before they are given back, the next vacuum finds them again.
            change_root(store, |root| root.retired = UNREAD)?;
        }
        // Whoever took a page before has made it its own when this lock is had, and nobody is adding one: a
        // page of zeros among these is nobody's.
        let count = store.change(|change| {
            change.open(META_BLOCK)?;
            store.nblocks()
        })?;
        let root = read_root(store)?;
        let unread = is_unread(&root, transactions);
        if unread && !matches!(root.retired, 0 | UNREAD) {
            transactions.forget_ended();
        }
        let Pages { mut free, unknown } = Pages::look(store, (&root, unread), count as usize, progress)?;
        let unmarked = runs(&unknown)?;
        free.iter_mut().zip(unknown).for_each(|(free, unknown)| *free |= unknown);
        let free = runs(&free)?;
        if free.first().is_some_and(|run| run.start == META_BLOCK) {
            return Err(Error::corrupted(META_BLOCK, "the meta page looks free"));
        }
        Ok(Self { store, free, from: 0, unmarked, lent: 0 })
    }

    /// The same pages, before some are taken.
    ///
    /// # Errors
    /// Out of memory.
    pub fn copy(&self) -> Result<Self> {
        let free = memory::collected(self.free.iter().cloned())?;
        let unmarked = memory::collected(self.unmarked.iter().cloned())?;
        Ok(Self { store: self.store, free, unmarked, ..*self })
    }

    /// The number of free pages, with those that were lent.
    pub fn count(&self) -> u32 {
        self.lent + self.free.iter().map(|run| run.end - run.start).sum::<u32>()
    }

    /// Consecutive pages for the caller to write.
    ///
    /// # Errors
    /// The store's errors.
    pub fn take(&mut self, count: u32) -> Result<u32> {
        match self.take_before(count, u32::MAX) {
            Some(first) => Ok(first),
            None => self.store.reserve(count),
        }
    }

    /// Consecutive free pages before `limit` for the caller to write, if there are so many.
    pub fn take_before(&mut self, count: u32, limit: u32) -> Option<u32> {
        let runs = self.free[self.from..].iter().take(MOST_RUNS);
        let fits = |run: &Range<u32>| run.end.min(limit).saturating_sub(run.start) >= count;
        let at = self.from + runs.take_while(|run| run.start < limit).position(fits)?;
        let first = self.free[at].start;
        self.free[at].start += count;
        while self.free.get(self.from).is_some_and(Range::is_empty) {
            self.from += 1;
        }
        Some(first)
    }

    /// The first free pages, which may not be consecutive; less than `count` if there are not so many before
    /// `limit`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn take_single(&mut self, count: u32, limit: u32) -> Result<Vec<u32>> {
        let mut pages = memory::with_capacity(count as usize)?;
        while pages.len() < count as usize {
            let Some(blkno) = self.take_before(1, limit) else { break };
            pages.push(blkno);
        }
        Ok(pages)
    }

    /// The free pages, in runs.
    pub fn runs(&self) -> impl Iterator<Item = &Range<u32>> {
        self.free[self.from..].iter()
    }

    /// Lets inserts take what is left.
    ///
    /// # Errors
    /// The store's errors.
    pub fn give_back(self) -> Result<()> {
        self.mark(self.free.iter().cloned().flatten())?;
        self.store.add_free(&mut self.free.into_iter().flatten())
    }

    /// Has those of the pages look free that do not.
    fn mark(&self, pages: impl Iterator<Item = u32>) -> Result<()> {
        let mut waiting = Vec::with_capacity(MAX_CHANGE_PAGES);
        let apply = |waiting: &mut Vec<u32>| {
            self.store.change(|change| {
                for blkno in waiting.drain(..) {
                    let handle = change.open(blkno)?;
                    change.page_mut(handle).set_free();
                }
                Ok(())
            })
        };
        for blkno in pages {
            let after = self.unmarked.partition_point(|run| run.end <= blkno);
            if self.unmarked.get(after).is_some_and(|run| run.contains(&blkno)) {
                waiting.push(blkno);
            }
            if waiting.len() == MAX_CHANGE_PAGES {
                apply(&mut waiting)?;
            }
        }
        apply(&mut waiting)
    }
}

/// What the pages of a file are.
struct Pages {
    free: Vec<bool>,
    /// Pages that look as if they were in use, though nothing may refer to them.
    unknown: Vec<bool>,
}

impl Pages {
    /// Looks at the first `count` pages. Those that look in use are so unless no list leads to them: they
    /// were there before the lists are followed, and pages come with what leads to them.
    fn look<S: Store>(
        store: &S,
        (root, unread): (&Root, bool),
        count: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (mut free, mut unknown) = (memory::filled(false, count)?, memory::filled(false, count)?);
        let oldest = if unread { root.current.first_list } else { 0 };
        store.prefetch_pages(0, count as u32);
        for (blkno, (free, unknown)) in (0..).zip(free.iter_mut().zip(&mut unknown)) {
            progress.tick()?;
            let page = store.read(blkno)?;
            *free = page.is_free(oldest);
            *unknown = unread && !*free && page.kind() != Some(PageKind::Meta);
        }
        store.end_prefetch();
        let mut pages = Self { free, unknown };
        if unread {
            let (current, next) = Directory::load_all(store)?;
            for directory in std::iter::once(current).chain(next) {
                pages.follow(store, &directory, progress)?;
            }
        }
        Ok(pages)
    }

    fn known(&mut self, blkno: u32) {
        if let Some(unknown) = self.unknown.get_mut(blkno as usize) {
            *unknown = false;
        }
    }

    /// Finds the pages of an index's lists.
    fn follow<S: Store>(&mut self, store: &S, directory: &Directory, progress: &dyn Progress) -> Result<()> {
        let size = entry_size(directory.padded()) * directory.lists() as usize;
        let names = run(directory.meta.directory_first, tape::pages(size));
        fixed(&directory.meta).into_iter().chain([names]).flatten().for_each(|blkno| self.known(blkno));
        for list in 0..directory.lists() {
            list_chain::all_pages(store, directory, list, &mut |blkno, _| {
                progress.tick()?;
                self.known(blkno);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The kinds of [`fixed`] pages.
pub const FIXED: [PageKind; 3] = [PageKind::Origin, PageKind::Lists, PageKind::Summaries];

/// The pages whose number depends on the lists alone: origin, list states and summaries. Runs of no pages
/// where the index has none.
pub fn fixed(meta: &Meta) -> [Range<u32>; 3] {
    let columns = meta.columns.widths().len();
    let fixed = [
        (meta.origin_first, tape::pages(origin_size(meta))),
        (meta.lists_first, meta.lists.div_ceil(lists::LISTS_PER_PAGE)),
        (meta.summaries_first, if columns > 0 { summary::pages(meta.lists, columns) } else { 0 }),
    ];
    fixed.map(|(first, count)| run(first, if first == NO_BLOCK { 0 } else { count }))
}

fn run(first: u32, count: u32) -> Range<u32> {
    first..first.saturating_add(count)
}

/// The numbers of the places that are true, in runs.
fn runs(places: &[bool]) -> Result<Vec<Range<u32>>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for (blkno, _) in (0..).zip(places).filter(|(_, is)| **is) {
        match runs.last_mut() {
            Some(run) if run.end == blkno => run.end += 1,
            _ => runs.try_push(blkno..blkno + 1)?,
        }
    }
    Ok(runs)
}
