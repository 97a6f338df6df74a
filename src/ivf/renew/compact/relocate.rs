//! Copies the pages of a list that takes no new rows there.

use super::freeze::{Further, further_extended};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain;
use crate::ivf::progress::Progress;
use crate::memory::{self, Grow};
use crate::page::codes::slots;
use crate::page::{MAX_CHANGE_PAGES, NO_BLOCK, Page, PageKind, RecordRef, Store};

/// A list whose pages were copied.
pub struct Moved {
    pub list: u32,
    /// The first codes page of the copy.
    pub head: u32,
    /// The number of its codes pages, with their further ones, that follow one another from there on.
    pub contiguous: u32,
    /// The last codes page of the copy, which leads to `tail`.
    pub last: u32,
    /// The first codes page with a free slot, or the last one.
    pub insert: u32,
    /// The newest extended page of the copy, or [`NO_BLOCK`].
    pub extended: u32,
    /// The codes page that takes new rows.
    pub tail: u32,
    /// The extended page that takes new records.
    pub further: u32,
}

/// The pages of a list that are to be copied.
#[derive(Default)]
struct Old {
    /// Codes pages, in order.
    codes: Vec<u32>,
    /// Extended pages, ascending.
    extended: Vec<u32>,
    /// Where these come to lie.
    places: Vec<u32>,
}

impl Old {
    /// The codes pages before the further one, and the extended pages to which their slots refer. `None` if
    /// rows on the further pages, which came before inserts used only these, have records elsewhere.
    fn of<S: Store>(
        store: &S,
        directory: &Directory,
        further: &Further,
        progress: &dyn Progress,
    ) -> Result<Option<Self>> {
        let (mut old, mut of_further, mut is_further) = (Self::default(), Vec::new(), false);
        list_chain::codes_pages(store, directory, further.list, |blkno, page| {
            progress.tick()?;
            is_further |= blkno == further.tail;
            if !is_further && (old.codes.is_empty() || !directory.codes.is_unused(page)) {
                old.codes.try_push(blkno)?;
            }
            let records = if is_further { &mut of_further } else { &mut old.extended };
            list_chain::record_pages(directory, page).try_for_each(|record| records.try_push(record))
        })?;
        // Read now: of these pages there are only more.
        let mut own = further_extended(store, directory, further)?;
        own.sort_unstable();
        let is_own = |blkno: &u32| own.binary_search(blkno).is_ok();
        old.extended.retain(|blkno| !is_own(blkno));
        old.extended.sort_unstable();
        old.extended.dedup();
        Ok((is_further && of_further.iter().all(is_own)).then_some(old))
    }

    /// Where a reference leads after the move.
    fn moved(&self, reference: RecordRef) -> RecordRef {
        match self.extended.binary_search(&reference.blkno) {
            Ok(at) => RecordRef { blkno: self.places[at], ..reference },
            Err(_) => reference,
        }
    }
}

/// Copies the pages of a list, which nobody changes, to other ones. `None` if it stays where it is: rows that
/// came since the plan was made did not leave it as it was.
///
/// # Errors
/// Damage, out of memory, the store's errors and [`Progress::tick`]'s.
pub fn copy<S: Store>(
    store: &S,
    directory: &Directory,
    (further, pages): (&Further, &[u32]),
    progress: &dyn Progress,
) -> Result<Option<Moved>> {
    let Some(mut old) = Old::of(store, directory, further, progress)? else { return Ok(None) };
    let step = 1 + directory.codes.more();
    if old.codes.len() * step + old.extended.len() > pages.len() {
        return Ok(None);
    }
    let (codes, rest) = pages.split_at(old.codes.len() * step);
    old.places = memory::collected(rest[..old.extended.len()].iter().copied())?;
    let mut writer = Writer { store, waiting: memory::with_capacity(MAX_CHANGE_PAGES)? };
    let mut insert = None;
    for (i, (&blkno, at)) in old.codes.iter().zip(codes.chunks_exact(step)).enumerate() {
        progress.tick()?;
        let next = codes.get((i + 1) * step).copied().unwrap_or(further.tail);
        let (copied, has_room) = copy_codes(store, directory, (&old, further.list), (blkno, at, next))?;
        at.iter().zip(copied).try_for_each(|(&at, page)| writer.push(at, page))?;
        insert = insert.or(has_room.then_some(at[0]));
    }
    let (mut previous, owner) = (NO_BLOCK, directory.owner(further.list));
    for (&blkno, &at) in old.extended.iter().zip(&old.places) {
        progress.tick()?;
        let mut page = read(store, blkno, (PageKind::Extended, owner))?;
        page.set_next(previous);
        writer.push(at, page)?;
        previous = at;
    }
    writer.flush()?;
    let (head, last) = (codes[0], codes[codes.len() - step]);
    let contiguous = (head..).zip(codes).take_while(|(expected, at)| expected == *at).count();
    Ok(Some(Moved {
        list: further.list,
        head,
        contiguous: contiguous as u32,
        last,
        insert: insert.unwrap_or(last),
        extended: previous,
        tail: further.tail,
        further: further.extended,
    }))
}

fn read<S: Store>(store: &S, blkno: u32, (kind, owner): (PageKind, u32)) -> Result<Page> {
    let page = store.read(blkno)?;
    page.expect_owned(blkno, kind, owner)?;
    Ok(page.clone())
}

/// Writes pages that nothing refers to, in batches of one change.
struct Writer<'a, S: Store> {
    store: &'a S,
    waiting: Vec<(u32, Page)>,
}

impl<S: Store> Writer<'_, S> {
    fn push(&mut self, blkno: u32, page: Page) -> Result<()> {
        self.waiting.push((blkno, page));
        if self.waiting.len() == MAX_CHANGE_PAGES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = &mut self.waiting;
        self.store.change(|change| {
            for (blkno, page) in waiting.drain(..) {
                let handle = change.open(blkno)?;
                change.page_mut(handle).copy_from(&page);
            }
            Ok(())
        })
    }
}

/// A codes page and its further pages as they are to be at the pages `at`, and whether it has a free slot.
fn copy_codes<S: Store>(
    store: &S,
    directory: &Directory,
    (old, list): (&Old, u32),
    (blkno, at, next): (u32, &[u32], u32),
) -> Result<(Vec<Page>, bool)> {
    let (layout, owner) = (&directory.codes, directory.owner(list));
    let mut pages = memory::with_capacity(1 + layout.more())?;
    pages.push(read(store, blkno, (PageKind::Codes, owner))?);
    let mut has_room = false;
    for index in 0..layout.blocks() {
        let block = layout.block(&pages[0], index);
        has_room |= block.free() != 0;
        let owned = block.owned();
        let more: Vec<u32> = (0..layout.more()).map(|i| block.more(i)).collect();
        for &further in &more {
            pages.push(read(store, further, (PageKind::CodesMore, owner))?);
        }
        let mut block = layout.block_mut(&mut pages[0], index);
        if layout.more() > 0 {
            block.set_more(&at[1..]);
        }
        if directory.extended.is_some() {
            for slot in slots(owned) {
                let reference = old.moved(block.as_ref().reference(slot));
                block.set_reference(slot, reference);
            }
        }
    }
    pages[0].set_next(next);
    Ok((pages, has_room))
}
