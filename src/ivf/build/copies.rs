//! The copies of a build: coded with their rows, written once it is known which share of them pays.

use super::runs::Sorted;
use super::write::Pages;
use super::{Progress, Spool};
use crate::cluster::Second;
use crate::error::{Error, Kind, Result};
use crate::ivf::code::RowCode;
use crate::ivf::directory::{Directory, Entry, copies_layout};
use crate::page::codes::{BLOCK, Layout};
use crate::page::lists::{self, LISTS_PER_PAGE};
use crate::page::{Columns, Key, Meta, NO_BLOCK, Page, PageKind, Store, TID_SIZE, Tid};
use crate::quant::pack;

/// A copy as bytes: second list, loss, two factors, address of the row, its own list and place in it, signs, keys.
/// The first two lie as in `runs::Record`.
pub struct CopyRecord {
    signs: usize,
    columns: Columns,
    /// How codes pages hold the rows that copies refer to.
    codes: Layout,
}

const LIST: usize = 0;
const LOSS: usize = 4;
const ADD: usize = 8;
const RESCALE: usize = 10;
const TID: usize = 12;
const OWN: usize = TID + TID_SIZE;
const PLACE: usize = OWN + 4;
const SIGNS: usize = PLACE + 4;

impl CopyRecord {
    /// The records for an index.
    pub fn new(directory: &Directory) -> Self {
        let signs = directory.codec.sign_bytes();
        Self { signs, columns: directory.meta.columns, codes: directory.codes }
    }

    /// Bytes of a record.
    pub fn size(&self) -> usize {
        SIGNS + self.signs + self.columns.row_size()
    }

    /// Writes a copy of a row of list `own`, all but its place there.
    pub fn put(&self, out: &mut [u8], (tid, own, loss): (Tid, u32, f32), code: &RowCode, keys: &[Key]) {
        out[LIST..LIST + 4].copy_from_slice(&code.list.to_le_bytes());
        out[LOSS..LOSS + 4].copy_from_slice(&loss.to_le_bytes());
        out[ADD..ADD + 2].copy_from_slice(&code.factors.add.to_bits().to_le_bytes());
        out[RESCALE..RESCALE + 2].copy_from_slice(&code.factors.rescale.to_bits().to_le_bytes());
        out[TID..OWN].copy_from_slice(&tid.to_bytes());
        out[OWN..OWN + 4].copy_from_slice(&own.to_le_bytes());
        let (signs, rest) = out[SIGNS..].split_at_mut(self.signs);
        signs.copy_from_slice(&code.signs);
        self.columns.write_row(keys, rest);
    }

    /// Notes the place of the row in its list.
    pub fn place(out: &mut [u8], place: u32) {
        out[PLACE..PLACE + 4].copy_from_slice(&place.to_le_bytes());
    }

    /// Calls `f` with every copy.
    pub fn each(
        &self,
        copies: &Sorted,
        lists: usize,
        spool: &mut dyn Spool,
        f: &mut dyn FnMut(Tid, Second),
    ) -> Result<()> {
        for list in 0..lists {
            copies.each(list, spool, |record| {
                let tid = std::array::from_fn(|i| record[TID + i]);
                f(Tid::from_bytes(&tid), Second { list: list as u32, loss: loss(record) });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes the copies within the limit behind the index, and names their pages in the lists' states.
    pub fn write<S: Store>(
        &self,
        store: &S,
        meta: &Meta,
        entries: &[Entry],
        copies: &Sorted,
        spool: &mut dyn Spool,
        progress: &dyn Progress,
    ) -> Result<()> {
        let Some(layout) = copies_layout(meta, &self.codes)? else { return Ok(()) };
        let mut pages = Pages::append(store)?;
        let mut heads = Vec::with_capacity(entries.len());
        for list in 0..entries.len() {
            heads.push(pages.next);
            self.write_list(&layout, (list, entries), meta.copy_limit, (copies, spool), &mut pages)?;
            progress.tick()?;
        }
        heads.push(pages.next);
        pages.flush()?;
        for (first, heads) in (0..)
            .step_by(LISTS_PER_PAGE as usize)
            .zip(heads.windows(2).collect::<Vec<_>>().chunks(LISTS_PER_PAGE as usize))
        {
            let block = meta.lists_first + lists::position(first).0;
            store.change(|change| {
                let handle = change.open(block)?;
                for (index, pair) in heads.iter().enumerate() {
                    let mut state = lists::read(change.page(handle), index);
                    state.copies = pair[0];
                    state.copies_insert = pair[1] - 1;
                    state.copies_contiguous = pair[1] - pair[0];
                    lists::write(change.page_mut(handle), index, &state);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn write_list<S: Store>(
        &self,
        layout: &Layout,
        (list, entries): (usize, &[Entry]),
        limit: f32,
        (copies, spool): (&Sorted, &mut dyn Spool),
        pages: &mut Pages<'_, S>,
    ) -> Result<()> {
        let mut open = Page::zeroed();
        open.init(PageKind::Copies, list as u32);
        let mut row = 0;
        let mut keys = Vec::new();
        copies.each(list, spool, |record| {
            if loss(record) > limit {
                return Ok(());
            }
            if row == layout.rows() {
                let next = pages.next.checked_add(1).filter(|&b| b != NO_BLOCK).ok_or_else(too_large)?;
                open.set_next(next);
                pages.push(open.clone())?;
                open.init(PageKind::Copies, list as u32);
                row = 0;
            }
            let (own, place) = (word(record, OWN), word(record, PLACE) as usize);
            let rows = self.codes.rows();
            let head = entries.get(own as usize).map_or(NO_BLOCK, |e| e.head);
            let (index, slot) = (place % rows / BLOCK, place % BLOCK);
            let reference = Layout::slot_reference(head + (place / rows) as u32, index, slot);
            let (signs, rest) = record[SIGNS..].split_at(self.signs);
            self.columns.read_row(rest, &mut keys);
            keys.push(Some(u64::from(own)));
            let mut block = layout.block_mut(&mut open, row / BLOCK);
            block.put(row % BLOCK, half(record, ADD), half(record, RESCALE), reference);
            layout.put_keys(&mut block, row % BLOCK, &keys);
            pack::write_signs(block.codes(), 0, row % BLOCK, signs);
            row += 1;
            Ok(())
        })?;
        pages.push(open).map(drop)
    }
}

/// How many rows each list has so far: they are written in the order in which they are coded.
pub struct Placed(Vec<u32>);

impl Placed {
    /// None.
    pub fn new(lists: usize) -> Self {
        Self(vec![0; lists])
    }

    /// The place of one more row.
    pub fn next(&mut self, list: u32) -> u32 {
        let count = &mut self.0[list as usize];
        *count += 1;
        *count - 1
    }
}

fn loss(record: &[u8]) -> f32 {
    f32::from_bits(word(record, LOSS))
}

fn word(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

fn half(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([record[at], record[at + 1]])
}

fn too_large() -> Error {
    Error::new(Kind::LimitExceeded, "the ivf index would have more blocks than a relation can")
}
