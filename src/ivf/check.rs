//! The verifier: reads every page and fails at the first contradiction.

use serde::Serialize;

use super::directory::{Directory, entry_size, origin_size};
use super::insert::{cover, summaries};
use super::{list_chain, plain};
use crate::error::{Error, Result};
use crate::kernel::BLOCK_ROWS;
use crate::memory::Grow;
use crate::page::codes::{BlockRef, OUT_OF_CHAIN, slots};
use crate::page::meta::META_BLOCK;
use crate::page::{
    Key, NO_BLOCK, PAGE_SIZE, Page, PageKind, Root, Store, Summary, Tid, lists, summary, tape,
};
use crate::quant::padded_dims;

/// What the verifier counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Pages of the index.
    pub pages: u32,
    /// Pages that nothing refers to (left by a crash or an error).
    pub unused_pages: u32,
    /// Lists.
    pub lists: u32,
    /// Rows in the index.
    pub live: u64,
    /// Slots that vacuum has freed and no insert has reused.
    pub dead: u64,
}

/// Verifies the whole index and calls `visit` with the heap address of every row in it.
///
/// # Errors
/// [`crate::error::Kind::Corrupted`] at the first damage; `visit`'s and `tick`'s errors.
pub fn check<S: Store>(
    store: &S,
    visit: &mut dyn FnMut(Tid) -> Result<()>,
    tick: &dyn Fn() -> Result<()>,
) -> Result<Report> {
    let mut check =
        Check { store, seen: Vec::new(), report: Report::default(), records: Vec::new(), visit, tick };
    check.mark(META_BLOCK)?;
    let (current, next) = Directory::load_all(store)?;
    check.report.lists = current.lists();
    for directory in std::iter::once(current).chain(next) {
        check.fixed_pages(&directory)?;
        for list in 0..directory.lists() {
            check.list(&directory, list)?;
        }
    }
    check.unreferenced()?;
    Ok(check.report)
}

/// Is called with what the index stores of a row: its heap address, its keys, and, in an index over bit
/// strings, its string.
pub type Visit<'a> = dyn FnMut(Tid, &[Key], Option<&[u8]>) -> Result<()> + 'a;

/// Calls `visit` with every row and the stored data that can be compared with the table.
///
/// # Errors
/// Damage, and the store's and `tick`'s errors.
pub fn contents<S: Store>(store: &S, visit: &mut Visit<'_>, tick: &dyn Fn() -> Result<()>) -> Result<()> {
    let (current, next) = Directory::load_all(store)?;
    std::iter::once(current).chain(next).try_for_each(|directory| rows_of(store, &directory, visit, tick))
}

fn rows_of<S: Store>(
    store: &S,
    directory: &Directory,
    visit: &mut Visit<'_>,
    tick: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let (exact, layout) = (directory.codec.is_exact(), &directory.codes);
    let size = directory.codec.sign_bytes();
    let mut keys = Vec::new();
    let mut addresses = list_chain::Addresses::new(store, directory);
    for list in 0..directory.lists() {
        list_chain::codes_pages(store, directory, list, |_, page| {
            tick()?;
            // If a slot was freed and reused since the page was read, its row is invisible to all older
            // snapshots.
            addresses.forget();
            for (block, slot) in layout.live_slots(page) {
                layout.keys(block, slot, &mut keys);
                let code = exact.then(|| &block.codes()[slot * size..][..size]);
                visit(addresses.get(list, block.reference(slot))?, &keys, code)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether in all live slots the bits beyond the string's length are zero in its last byte.
fn end_in_zeros(directory: &Directory, block: BlockRef<'_>) -> bool {
    let size = directory.codec.sign_bytes();
    let beyond = 0xff_u16 >> ((directory.dims() - 1) % 8 + 1);
    slots(block.live()).all(|slot| u16::from(block.codes()[(slot + 1) * size - 1]) & beyond == 0)
}

/// Whether the codes of all slots that have never had a row are zero. This shows whether codes are plain.
fn zeros_without_rows(directory: &Directory, block: BlockRef<'_>) -> bool {
    let mut signs = vec![0; directory.codec.sign_bytes()];
    slots(!block.owned()).all(|slot| {
        plain::read(block, slot, &mut signs);
        signs.iter().all(|&byte| byte == 0)
    })
}

struct Check<'a, S: Store> {
    store: &'a S,
    seen: Vec<bool>,
    report: Report,
    /// Records of the current list to which a slot refers.
    records: Vec<(u32, u16)>,
    visit: &'a mut dyn FnMut(Tid) -> Result<()>,
    tick: &'a dyn Fn() -> Result<()>,
}

impl<S: Store> Check<'_, S> {
    fn mark(&mut self, blkno: u32) -> Result<()> {
        let at = blkno as usize;
        if at >= self.seen.len() {
            let nblocks = self.store.nblocks()?;
            if blkno >= nblocks {
                return Err(Error::corrupted(blkno, "the page lies beyond the end of the index"));
            }
            self.seen.try_resize(nblocks as usize, false)?;
        }
        if std::mem::replace(&mut self.seen[at], true) {
            return Err(Error::corrupted(blkno, "the page is referred to twice"));
        }
        Ok(())
    }

    fn fixed_pages(&mut self, directory: &Directory) -> Result<()> {
        let meta = &directory.meta;
        let padded = padded_dims(meta.dims as usize);
        if meta.origin_first != NO_BLOCK {
            (meta.origin_first..)
                .take(tape::pages(origin_size(meta)) as usize)
                .try_for_each(|b| self.mark(b))?;
        }
        let size = entry_size(padded) * meta.lists as usize;
        (meta.directory_first..).take(tape::pages(size) as usize).try_for_each(|b| self.mark(b))?;
        for blkno in (meta.lists_first..).take(meta.lists.div_ceil(lists::LISTS_PER_PAGE) as usize) {
            self.mark(blkno)?;
            self.store.read(blkno)?.expect_kind(blkno, PageKind::Lists)?;
        }
        if meta.summaries_first != NO_BLOCK {
            let pages = summary::pages(meta.lists, meta.columns.widths().len());
            for blkno in (meta.summaries_first..).take(pages as usize) {
                self.mark(blkno)?;
                self.store.read(blkno)?.expect_kind(blkno, PageKind::Summaries)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, directory: &Directory, list: u32) -> Result<()> {
        let state_blkno = directory.state_position(list).0;
        let read = || list_chain::state(self.store, directory, list);
        let state = read()?;
        let head = directory.head(list).0;
        if head != state.head && head != state.first() && self.is_current(directory)? {
            return Err(Error::corrupted(state_blkno, "list state and directory name different first pages"));
        }
        let mut slots = Vec::new();
        let mut insert_found = false;
        let mut addresses = list_chain::Addresses::new(self.store, directory);
        let store = self.store;
        self.records.clear();
        list_chain::codes_pages(store, directory, list, |blkno, page| {
            (self.tick)()?;
            self.mark(blkno)?;
            insert_found |= blkno == state.insert;
            slots.clear();
            self.codes_page(directory, list, blkno, page, &mut slots)?;
            self.summaries(directory, list, blkno, page)?;
            addresses.forget();
            for &(reference, live) in &slots {
                let tid = addresses.get(list, reference)?;
                if directory.extended.is_some() {
                    self.records.try_push((reference.blkno, reference.offset))?;
                }
                if live {
                    if tid.offset == 0 || tid.blkno == NO_BLOCK {
                        return Err(Error::corrupted(blkno, "a live slot has no heap address"));
                    }
                    (self.visit)(tid)?;
                }
            }
            Ok(())
        })?;
        // Meanwhile the lists may have taken the place of others, or have moved, and then begin elsewhere. Or
        // the page has left its list because it got no rows.
        if !insert_found && self.is_current(directory)? && read()?.insert == state.insert {
            return Err(Error::corrupted(state_blkno, "the insert page is not a page of its list"));
        }
        self.extended_pages(directory, list)
    }

    /// Whether the lists have been those in use, or to be, since their directory was read.
    fn is_current(&self, directory: &Directory) -> Result<bool> {
        let generation = Root::generation_on(&*self.store.read(META_BLOCK)?);
        Ok(generation == directory.meta.generation)
    }

    fn codes_page(
        &mut self,
        directory: &Directory,
        list: u32,
        blkno: u32,
        page: &Page,
        slots: &mut Vec<(Tid, bool)>,
    ) -> Result<()> {
        let layout = &directory.codes;
        let plain = layout.plain(page);
        if page.count() > OUT_OF_CHAIN && plain.is_none_or(|index| index >= layout.blocks()) {
            return Err(Error::corrupted(blkno, "plain codes where there can be none"));
        }
        for (index, view) in layout.blocks_on(page).enumerate() {
            let (live, owned) = (view.live(), view.owned());
            if plain == Some(index) && matches!(owned, 0 | u32::MAX) {
                return Err(Error::corrupted(blkno, "an empty or full block has plain codes"));
            }
            if layout.may_be_plain() && !zeros_without_rows(directory, view) {
                return Err(Error::corrupted(blkno, "a slot that has had no row has a code"));
            }
            if view.is_overfull() {
                return Err(Error::corrupted(blkno, "slots are in use that do not exist"));
            }
            if live & !owned != 0 {
                return Err(Error::corrupted(blkno, "a live slot has no reference"));
            }
            if directory.codec.is_exact() && !end_in_zeros(directory, view) {
                return Err(Error::corrupted(blkno, "a string has bits beyond its length"));
            }
            self.report.live += u64::from(live.count_ones());
            self.report.dead += u64::from((owned & !live).count_ones());
            // A dead slot of an index without records refers to a heap row that may be gone.
            let referring = if directory.extended.is_some() { owned } else { live };
            slots.extend(
                (0..BLOCK_ROWS)
                    .filter(|s| referring >> s & 1 == 1)
                    .map(|s| (view.reference(s), live >> s & 1 == 1)),
            );
            for i in 0..layout.more() {
                let more = view.more(i);
                self.mark(more)?;
                let owner = directory.owner(list);
                self.store.read(more)?.expect_owned(more, PageKind::CodesMore, owner)?;
            }
        }
        Ok(())
    }

    /// Checks that the list's summaries cover the rows of a page. The page must be read before the summaries,
    /// because summaries are widened before a row is written, and narrowed after a row is removed.
    fn summaries(&self, directory: &Directory, list: u32, blkno: u32, page: &Page) -> Result<()> {
        let Some((place, at)) = directory.summaries_position(list) else { return Ok(()) };
        let columns = directory.meta.columns.widths().len();
        let read = || -> Result<Vec<Summary>> {
            Ok(summaries(&*self.store.read(place)?, at).take(columns).collect())
        };
        let (layout, all, mut keys) = (&directory.codes, read()?, Vec::new());
        for (b, view) in layout.blocks_on(page).enumerate() {
            for slot in slots(view.live()) {
                layout.keys(view, slot, &mut keys);
                if cover(all.iter().copied(), &keys) {
                    continue;
                }
                // The row may have been removed in the meantime, and another row with the same keys inserted.
                // But this does not happen three times in a row, so then it is damage.
                const TIMES: usize = 3;
                let mut uncovered = 0;
                while uncovered < TIMES
                    && self.still_has(directory, blkno, (b, slot), &keys)?
                    && !cover(read()?, &keys)
                {
                    uncovered += 1;
                }
                // Nobody widens summaries that have moved at their old place.
                if uncovered == TIMES && self.is_current(directory)? {
                    let what = format_args!("a row of block {blkno} is not covered by its list's summaries");
                    return Err(Error::corrupted(place, what));
                }
            }
        }
        Ok(())
    }

    /// Whether a slot of a page has a row with these keys now.
    fn still_has(
        &self,
        directory: &Directory,
        blkno: u32,
        (index, slot): (usize, usize),
        keys: &[Key],
    ) -> Result<bool> {
        let page = self.store.read(blkno)?;
        let view = directory.codes.block(&page, index);
        let mut now = Vec::new();
        directory.codes.keys(view, slot, &mut now);
        Ok(view.live() >> slot & 1 == 1 && now == keys)
    }

    /// Every record belongs to one slot, and lies on a page of the list.
    fn extended_pages(&mut self, directory: &Directory, list: u32) -> Result<()> {
        if directory.extended.is_none() {
            return Ok(());
        }
        self.records.sort_unstable();
        if let Some(twice) = self.records.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::corrupted(twice[0].0, "two slots refer to one record"));
        }
        // Read after the slots: an insert may have added a page meanwhile, never removed one.
        let (store, mut pages) = (self.store, Vec::new());
        list_chain::extended_pages(store, directory, list, |blkno| {
            self.mark(blkno)?;
            pages.try_push(blkno)
        })?;
        pages.sort_unstable();
        match self.records.iter().find(|r| pages.binary_search(&r.0).is_err()) {
            // The pages that a list has left are no pages of it any more.
            Some(r) if self.is_current(directory)? => {
                Err(Error::corrupted(r.0, "a record lies outside its list's pages"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that pages to which nothing refers are valid pages.
    fn unreferenced(&mut self) -> Result<()> {
        let nblocks = self.store.nblocks()?;
        self.report.pages = nblocks;
        for blkno in 0..nblocks {
            if self.seen.get(blkno as usize) == Some(&true) {
                continue;
            }
            (self.tick)()?;
            let page = self.store.read(blkno)?;
            if page.kind().is_none() && page.bytes() != &[0; PAGE_SIZE] {
                return Err(Error::corrupted(blkno, "the page is neither empty nor an ivf page"));
            }
            self.report.unused_pages += 1;
        }
        Ok(())
    }
}
