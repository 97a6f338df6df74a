//! Copies the pages of a list that takes no new rows there.

use super::freeze::further_extended;
use super::plan::Move;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain;
use crate::memory::{self, Grow};
use crate::page::codes::slots;
use crate::page::{MAX_CHANGE_PAGES, NO_BLOCK, Page, RecordRef, Store};

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
    /// The codes page and the extended page that take new rows.
    pub further: (u32, u32),
}

/// The pages of a list that are to be copied.
#[derive(Default)]
struct Old {
    /// Codes pages, in order.
    codes: Vec<u32>,
    /// Extended pages, in the order in which slots refer to them.
    extended: Vec<u32>,
    /// The same, ascending, and where they come to lie.
    places: Vec<(u32, u32)>,
}

impl Old {
    /// The pages to which the slots of the codes pages before the further one refer. `None` if rows on the
    /// further pages, which came before inserts used only these, have records elsewhere.
    fn of<S: Store>(store: &S, directory: &Directory, place: &Move) -> Result<Option<Self>> {
        let (mut old, mut known) = (Self::default(), std::collections::BTreeSet::new());
        let further = further_extended(store, directory, place)?;
        let (mut is_further, mut stays) = (false, false);
        list_chain::codes_pages(store, directory, place.list, |blkno, page| {
            is_further |= blkno == place.tail;
            let blocks = || directory.codes.blocks_on(page);
            let is_empty = blocks().all(|block| block.owned() == 0);
            if !is_further && (old.codes.is_empty() || !is_empty) {
                old.codes.try_push(blkno)?;
            }
            if directory.extended.is_none() {
                return Ok(());
            }
            for block in blocks() {
                for slot in slots(block.owned()) {
                    let record = block.reference(slot).blkno;
                    if further.contains(&record) {
                        continue;
                    }
                    stays |= is_further;
                    if known.insert(record) {
                        old.extended.try_push(record)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok((!stays && is_further).then_some(old))
    }

    /// Where a reference leads after the move.
    fn moved(&self, reference: RecordRef) -> RecordRef {
        match self.places.binary_search_by_key(&reference.blkno, |(old, _)| *old) {
            Ok(at) => RecordRef { blkno: self.places[at].1, ..reference },
            Err(_) => reference,
        }
    }
}

/// Copies the pages of a list, which nobody changes, to its new ones. `None` if it stays where it is: rows that
/// came since the plan was made did not leave it as it was.
///
/// # Errors
/// Damage, out of memory, and the store's errors.
pub fn copy<S: Store>(store: &S, directory: &Directory, place: &Move) -> Result<Option<Moved>> {
    let Some(mut old) = Old::of(store, directory, place)? else { return Ok(None) };
    let step = 1 + directory.codes.more();
    if old.codes.len() * step + old.extended.len() > place.pages.len() {
        return Ok(None);
    }
    let (codes, rest) = place.pages.split_at(old.codes.len() * step);
    old.places = memory::with_capacity(old.extended.len())?;
    old.places.extend(old.extended.iter().copied().zip(rest.iter().copied()));
    let in_order = old.places.clone();
    old.places.sort_unstable();
    let mut writer = Writer { store, waiting: Vec::new() };
    let mut insert = None;
    for (i, (&blkno, at)) in old.codes.iter().zip(codes.chunks_exact(step)).enumerate() {
        let next = codes.get((i + 1) * step).copied().unwrap_or(place.tail);
        let (copied, has_room) = copy_codes(store, directory, &old, (blkno, at, next))?;
        at.iter().zip(copied).try_for_each(|(&at, page)| writer.push(at, page))?;
        insert = insert.or(has_room.then_some(at[0]));
    }
    let mut previous = NO_BLOCK;
    for (blkno, at) in in_order {
        let mut page = store.read(blkno)?.clone();
        page.set_next(previous);
        writer.push(at, page)?;
        previous = at;
    }
    writer.flush()?;
    let (head, last) = (codes[0], codes[codes.len() - step]);
    let contiguous = (head..).zip(codes).take_while(|(expected, at)| expected == *at).count();
    Ok(Some(Moved {
        list: place.list,
        head,
        contiguous: contiguous as u32,
        last,
        insert: insert.unwrap_or(last),
        extended: previous,
        further: (place.tail, place.extended),
    }))
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
                *change.page_mut(handle) = page;
            }
            Ok(())
        })
    }
}

/// A codes page and its further pages as they are to be at the pages `at`, and whether it has a free slot.
fn copy_codes<S: Store>(
    store: &S,
    directory: &Directory,
    old: &Old,
    (blkno, at, next): (u32, &[u32], u32),
) -> Result<(Vec<Page>, bool)> {
    let layout = &directory.codes;
    let mut pages = memory::with_capacity(1 + layout.more())?;
    pages.push(store.read(blkno)?.clone());
    let mut has_room = false;
    for index in 0..layout.blocks() {
        let block = layout.block(&pages[0], index);
        has_room |= block.free() != 0;
        let owned = block.owned();
        let more: Vec<u32> = (0..layout.more()).map(|i| block.more(i)).collect();
        for &further in &more {
            pages.push(store.read(further)?.clone());
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
