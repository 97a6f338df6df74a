//! Adding one row: route, code, and put it into a free slot of its list.
//!
//! There are up to four steps, each one atomic change. Widen the list's summaries if they do not cover the
//! row. Append a codes page if the list is full. Append an extended page if a record needs one. Write the
//! row. A crash between them leaves empty pages that the list owns. Locks are taken in the order list state,
//! codes, extended, summaries, new pages.

use super::code::{RowCode, write_code};
use super::directory::Directory;
use super::list_chain::{self, guard_circle};
use super::plain;
use super::sketch::Sketched;
use crate::error::{Error, Kind, Result};
use crate::kernel::BLOCK_ROWS;
use crate::page::codes::OUT_OF_CHAIN;
use crate::page::meta::META_BLOCK;
use crate::page::summary::{SUMMARY_SIZE, set_watch, watch};
use crate::page::tid::RecordRef;
use crate::page::{
    Change, Key, NO_BLOCK, Page, PageHandle, PageKind, Root, Store, Summary, TID_SIZE, Tid, lists,
};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the index.
    Yes,
    /// It is not to be indexed: a zero vector under cosine.
    No,
    /// The lists have been replaced since the directory was read, or a page has left its list: nothing was
    /// written. Once more, with the directory as it is now.
    Stale,
}

/// Inserts a row with its keys in the filter columns. `directory` is that of the lists which take new rows
/// ([`Directory::load_all`]: the next ones if there are any), and `code` is memory made for it.
///
/// # Errors
/// Damage in the pages of the list, or the store's errors.
pub fn insert<'v, S: Store>(
    store: &S,
    directory: &Directory,
    code: &mut RowCode,
    tid: Tid,
    value: impl Into<Sketched<'v>>,
    keys: &[Key],
) -> Result<Inserted> {
    if !code.encode(directory, value.into())? {
        return Ok(Inserted::No);
    }
    let (state_blkno, state_index) = directory.state_position(code.list);
    let state = list_chain::state(store, directory, code.list)?;
    let mut insertion = Insertion { store, directory, code, tid, keys, extended: state.extended };
    let mut blkno = state.insert;
    let mut steps = 0u32;
    loop {
        let Some(put) = insertion.put(blkno)? else { return Ok(Inserted::Stale) };
        let went_on = match put {
            Put::Done => break,
            Put::Full(next) => {
                let next = if next == NO_BLOCK { insertion.grow(blkno)? } else { Some(next) };
                next.map(|next| blkno = next)
            }
            Put::NoRecord => insertion.grow_extended()?,
            Put::Uncovered => insertion.widen_summaries()?,
            Put::Nowhere => None,
        };
        if went_on.is_none() {
            return Ok(Inserted::Stale);
        }
        guard_circle(store, blkno, &mut steps)?;
    }
    if blkno != state.insert {
        insertion.change(|change| {
            let handle = change.open(state_blkno)?;
            let mut state = lists::read(change.page(handle), state_index);
            state.insert = blkno;
            lists::write(change.page_mut(handle), state_index, &state);
            Ok(())
        })?;
    }
    Ok(Inserted::Yes)
}

/// The summaries on a page, beginning at an offset.
pub fn summaries(page: &Page, at: usize) -> impl Iterator<Item = Summary> {
    page.content()[at..].chunks_exact(SUMMARY_SIZE).map(Summary::read)
}

/// Whether a list's summaries cover a row with these keys.
pub fn cover(summaries: impl IntoIterator<Item = Summary>, keys: &[Key]) -> bool {
    keys.iter().zip(summaries).all(|(&key, summary)| summary.covers(key))
}

enum Put {
    Done,
    /// The page has no free slot. The number is the next page of the chain.
    Full(u32),
    /// The slot is new and the extended page has no room for its record.
    NoRecord,
    /// The list's summaries exclude the row.
    Uncovered,
    /// The page has left its list.
    Nowhere,
}

/// The list's summaries, locked.
#[derive(Clone, Copy)]
struct Watched {
    handle: PageHandle,
    /// Their offset on the page.
    at: usize,
    watch: u32,
    /// Whether they cover the row.
    covered: bool,
}

struct Insertion<'a, S: Store> {
    store: &'a S,
    directory: &'a Directory,
    code: &'a RowCode,
    tid: Tid,
    /// One for each filter column.
    keys: &'a [Key],
    /// The extended page that takes new records.
    extended: u32,
}

impl<S: Store> Insertion<'_, S> {
    /// Changes pages of the list, if its lists still take new rows: they do until the change ends.
    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<Option<R>> {
        self.store.change(|change| {
            if Root::generation_on(change.watch(META_BLOCK)?) != self.directory.meta.generation {
                return Ok(None);
            }
            f(change).map(Some)
        })
    }

    /// Tries to write the row to the codes page `blkno`.
    fn put(&self, blkno: u32) -> Result<Option<Put>> {
        let layout = &self.directory.codes;
        self.change(|change| {
            let codes = change.open(blkno)?;
            let page = change.page(codes);
            page.expect_owned(blkno, PageKind::Codes, self.owner())?;
            if page.count() == OUT_OF_CHAIN {
                return Ok(Put::Nowhere);
            }
            let free = (0..layout.blocks()).find_map(|b| {
                let free = layout.block(page, b).free();
                (free != 0).then_some((b, free))
            });
            let Some((index, free)) = free else { return Ok(Put::Full(page.next())) };
            let view = layout.block(page, index);
            // A slot that owns a record is used first, because it needs no new space.
            let reusable = free & view.owned();
            let slot = if reusable != 0 { reusable } else { free }.trailing_zeros() as usize;
            debug_assert!(slot < BLOCK_ROWS);
            let more: Vec<u32> = (0..layout.more()).map(|i| view.more(i)).collect();
            let owned = (reusable != 0).then(|| view.reference(slot));
            let Some((reference, record)) = self.place(change, owned)? else { return Ok(Put::NoRecord) };
            for (i, &more_blkno) in more.iter().enumerate() {
                let handle = change.open(more_blkno)?;
                change.page(handle).expect_owned(more_blkno, PageKind::CodesMore, self.owner())?;
                let (group, _) = layout.more_groups(i);
                let out = layout.more_codes_mut(change.page_mut(handle), i);
                write_code(self.directory, out, group, slot, &self.code.signs);
                change.flush(handle)?;
            }
            // The summaries stay locked until the row is written. So a vacuum either narrows them before, or
            // sees by the watch that a row was inserted.
            let watched = self.open_summaries(change)?;
            if watched.is_some_and(|watched| !watched.covered) {
                return Ok(Put::Uncovered);
            }
            if let Some(Watched { handle, at, watch, .. }) = watched.filter(|watched| watched.watch > 0) {
                set_watch(&mut change.page_mut(handle).content_mut()[at..], watch.saturating_add(1));
            }
            if let Some(handle) = record {
                self.write_record(change.page_mut(handle), reference);
            }
            self.write_codes(change.page_mut(codes), (index, slot));
            let mut block = layout.block_mut(change.page_mut(codes), index);
            let factors = &self.code.factors;
            block.put(slot, factors.add.to_bits(), factors.rescale.to_bits(), reference);
            layout.put_keys(&mut block, slot, self.keys);
            Ok(Put::Done)
        })
    }

    /// Writes the code of the row to the page of its block.
    fn write_codes(&self, page: &mut Page, (index, slot): (usize, usize)) {
        let (layout, signs) = (&self.directory.codes, &self.code.signs);
        if layout.may_be_plain() {
            plain::put(layout, page, (index, slot), signs);
        } else {
            write_code(self.directory, layout.block_mut(page, index).codes(), 0, slot, signs);
        }
    }

    /// Locks the summaries of the list, if there are any.
    fn open_summaries(&self, change: &mut dyn Change) -> Result<Option<Watched>> {
        let Some((blkno, at)) = self.directory.summaries_position(self.code.list) else { return Ok(None) };
        let handle = change.open(blkno)?;
        let page = change.page(handle);
        page.expect_kind(blkno, PageKind::Summaries)?;
        let covered = cover(summaries(page, at), self.keys);
        Ok(Some(Watched { handle, at, watch: watch(&page.content()[at..]), covered }))
    }

    /// Makes the summaries of the list cover the row. A scan that has read them before has a snapshot that
    /// does not see it.
    fn widen_summaries(&self) -> Result<Option<()>> {
        let Some((blkno, at)) = self.directory.summaries_position(self.code.list) else {
            return Ok(Some(()));
        };
        self.change(|change| {
            let handle = change.open(blkno)?;
            change.page(handle).expect_kind(blkno, PageKind::Summaries)?;
            let bytes = &mut change.page_mut(handle).content_mut()[at..];
            for (bytes, &key) in bytes.chunks_exact_mut(SUMMARY_SIZE).zip(self.keys) {
                let mut summary = Summary::read(bytes);
                summary.widen(key);
                summary.write(bytes);
            }
            Ok(())
        })
    }

    /// The reference that the slot will hold and the opened page of its record; `None` if there is no room
    /// for a new record. `owned` is the reference the slot already has.
    fn place(
        &self,
        change: &mut dyn Change,
        owned: Option<RecordRef>,
    ) -> Result<Option<(RecordRef, Option<PageHandle>)>> {
        let Some(layout) = self.directory.extended else { return Ok(Some((self.tid, None))) };
        let blkno = owned.map_or(self.extended, |r| r.blkno);
        if blkno == NO_BLOCK {
            return Ok(None);
        }
        let handle = change.open(blkno)?;
        let page = change.page(handle);
        page.expect_owned(blkno, PageKind::Extended, self.owner())?;
        let used = page.count();
        let exists = |offset: u16| u32::from(offset) < used && usize::from(offset) < layout.per_page();
        match owned {
            Some(reference) if exists(reference.offset) => Ok(Some((reference, Some(handle)))),
            Some(_) => Err(Error::corrupted(blkno, "a slot refers to a record that does not exist")),
            None if used as usize >= layout.per_page() => Ok(None),
            None => Ok(Some((RecordRef { blkno, offset: used as u16 }, Some(handle)))),
        }
    }

    fn write_record(&self, page: &mut Page, reference: RecordRef) {
        let Some(layout) = self.directory.extended else { return };
        let (tid, rest) = layout.record_mut(page, usize::from(reference.offset)).split_at_mut(TID_SIZE);
        tid.copy_from_slice(&self.tid.to_bytes());
        rest.copy_from_slice(&self.code.extended);
        let used = page.count().max(u32::from(reference.offset) + 1);
        page.set_count(used);
    }

    /// Adds an empty codes page behind `tail` and returns it, or the one that somebody else has added. All
    /// under the lock of the tail: of inserters that find the list full together one adds pages, and no page
    /// is lost but by a crash.
    fn grow(&self, tail: u32) -> Result<Option<u32>> {
        let layout = &self.directory.codes;
        let owner = self.owner();
        self.change(|change| {
            let tail_handle = change.open(tail)?;
            change.page(tail_handle).expect_owned(tail, PageKind::Codes, owner)?;
            let next = change.page(tail_handle).next();
            if next != NO_BLOCK {
                return Ok(next);
            }
            let mut more = Vec::with_capacity(layout.more());
            for _ in 0..layout.more() {
                // Nothing points to these pages until the last step; a crash leaves them unused.
                let (blkno, handle) = change.allocate(&|page| self.directory.is_free(page))?;
                change.page_mut(handle).init(PageKind::CodesMore, owner);
                change.flush(handle)?;
                more.push(blkno);
            }
            let (blkno, handle) = change.allocate(&|page| self.directory.is_free(page))?;
            if blkno == NO_BLOCK {
                return Err(Error::new(Kind::LimitExceeded, "ivf index is full"));
            }
            let page = change.page_mut(handle);
            page.init(PageKind::Codes, owner);
            if layout.more() > 0 {
                layout.block_mut(page, 0).set_more(&more);
            }
            change.page_mut(tail_handle).set_next(blkno);
            Ok(blkno)
        })
    }

    /// Makes `self.extended` a page with room.
    fn grow_extended(&mut self) -> Result<Option<()>> {
        let Some(layout) = self.directory.extended else { return Ok(Some(())) };
        let (state_blkno, state_index) = self.directory.state_position(self.code.list);
        let owner = self.owner();
        let full = self.extended;
        let extended = self.change(|change| {
            let state_handle = change.open(state_blkno)?;
            let mut state = lists::read(change.page(state_handle), state_index);
            if state.extended != full {
                return Ok(state.extended);
            }
            if full != NO_BLOCK {
                let handle = change.open(full)?;
                change.page(handle).expect_owned(full, PageKind::Extended, owner)?;
                if (change.page(handle).count() as usize) < layout.per_page() {
                    return Ok(full);
                }
            }
            let (blkno, handle) = change.allocate(&|page| self.directory.is_free(page))?;
            let page = change.page_mut(handle);
            page.init(PageKind::Extended, owner);
            page.set_next(full);
            state.extended = blkno;
            lists::write(change.page_mut(state_handle), state_index, &state);
            Ok(blkno)
        })?;
        Ok(extended.map(|blkno| self.extended = blkno))
    }

    /// The owner of the list's pages.
    fn owner(&self) -> u32 {
        self.directory.owner(self.code.list)
    }
}
