//! Out-of-line values, read directly from the guessed pages of a TOAST table, without its index.
//!
//! A chunk is identified by the value's number and the chunk's own number. No other chunk in the TOAST
//! table's index has the same numbers (`GetNewOidWithIndex` in catalog.c). But a dead chunk that is not in
//! the index (any more) may have the number of a new value. So a chunk must be visible to the scan's
//! snapshot, as its row is. If a chunk is not found or not visible, the value is read by the index.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use super::buffer_hints::BufferHints;
use super::buffer_lock;
use super::buffer_store::Locked;
use super::tid::item_pointer;
use crate::mru::Mru;
use crate::page::toast_locator::{Position, ToastLocator};
use crate::page::{PAGE_SIZE, Tid};

/// Largest number of TOAST tables remembered.
const MOST_TABLES: usize = 16;
/// The most pages read to find the first chunk of a value. Each page shows how wrong the guess was, and a
/// search of the index reads as many pages.
const MOST_PAGES: u32 = 3;
/// The columns of a TOAST table, none of which is NULL (toasting.c): the value's number, the chunk's, its
/// bytes.
const NUMBERS: usize = 8;

thread_local! {
    static KEPT: RefCell<Mru<(pg_sys::Oid, Rc<RefCell<ToastLocator>>)>> =
        const { RefCell::new(Mru::new(MOST_TABLES)) };
}

/// A TOAST table whose pages are read directly.
pub struct DirectReader {
    table: pg_sys::Relation,
    hints: BufferHints,
    locator: Rc<RefCell<ToastLocator>>,
    /// Number of pages of the table when it was opened. It cannot shrink while it is open.
    nblocks: u32,
}

/// A page, pinned and locked for reading.
struct SharedPage(Locked);

/// A chunk on a page.
struct Chunk {
    value: u32,
    number: u32,
    /// The chunk's row, and its size with the header.
    tuple: *mut u8,
    size: usize,
    data: *const u8,
    length: usize,
}

impl DirectReader {
    /// The chunks of an open TOAST table that is a heap.
    ///
    /// # Safety
    /// The table stays open and locked while this lives.
    pub unsafe fn of(table: pg_sys::Relation) -> Self {
        // SAFETY: the caller vouches for the table.
        let (id, nblocks) = unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            ((*table).rd_id, pg_sys::RelationGetNumberOfBlocksInFork(table, main))
        };
        let locator = KEPT.with_borrow_mut(|kept| {
            let (_, locator) = kept.find_or_insert(|(of, _)| *of == id, || (id, Rc::default()));
            Rc::clone(locator)
        });
        Self { table, hints: BufferHints::of(table), locator, nblocks }
    }

    /// Fills `room` with a value's bytes, if the value is at its guessed position and the snapshot sees it.
    ///
    /// # Safety
    /// The snapshot is valid.
    pub unsafe fn read(&self, value: pg_sys::Oid, snapshot: pg_sys::Snapshot, room: &mut [u8]) -> bool {
        // SAFETY: the caller vouches for the snapshot.
        if unsafe { (*snapshot).snapshot_type } != pg_sys::SnapshotType::SNAPSHOT_MVCC {
            return false;
        }
        let value = value.to_u32();
        let mut locator = self.locator.borrow_mut();
        let Some(mut guess) = locator.guess(value) else { return false };
        for _ in 0..MOST_PAGES {
            if guess.blkno >= self.nblocks {
                break;
            }
            let page = self.page(guess.blkno);
            let last = page.last();
            let likely = (guess.part * f32::from(last)).round() as u16 + 1;
            let begins = |offset: u16| page.chunk(offset).is_some_and(|c| c.value == value && c.number == 0);
            let found = match begins(likely) {
                true => Some(likely),
                false => (1..=last).find(|&offset| begins(offset)),
            };
            if let Some(offset) = found {
                let position = position(Tid { blkno: guess.blkno, offset }, last);
                let complete = self.take(page, Tid { blkno: guess.blkno, offset }, (value, snapshot), room);
                locator.count_guess(complete);
                if complete {
                    locator.found(value, position);
                }
                return complete;
            }
            // The numbers on this page tell how far away the value is.
            let seen = (1..=last).find_map(|offset| Some((offset, page.chunk(offset)?.value)));
            drop(page);
            let Some((offset, other)) = seen else { break };
            let here = guess.blkno;
            let position = position(Tid { blkno: here, offset }, last);
            let next = if other == value {
                // The page has later chunks of the value, so the value begins on the page before.
                here.checked_sub(1).map(|blkno| Position { blkno, part: 1.0 })
            } else {
                locator.from((other, position), value)
            };
            match next {
                Some(next) if next.blkno != here => guess = next,
                _ => break,
            }
        }
        locator.count_guess(false);
        false
    }

    /// Requests the likely pages of a value of `size` bytes.
    pub fn prefetch(&self, value: pg_sys::Oid, size: usize) {
        if let Some(Position { blkno, part }) = self.locator.borrow().likely(value.to_u32()) {
            // A page that is full of chunks has some bytes less for them.
            let pages = (part + size as f32 / PAGE_SIZE as f32).ceil().max(1.0) as u32;
            let end = blkno.saturating_add(pages).min(self.nblocks);
            // SAFETY: the table is open, and has so many pages.
            unsafe { self.hints.request(self.table, blkno..end) };
        }
    }

    /// Records the position of a value found by the index, whose first chunk is on a pinned page.
    ///
    /// # Safety
    /// The buffer holds the page.
    pub unsafe fn learn(&self, value: pg_sys::Oid, buffer: pg_sys::Buffer, tid: Tid) {
        // SAFETY: the caller vouches for the buffer.
        let last = unsafe { last_offset(pg_sys::BufferGetPage(buffer).cast()) };
        self.locator.borrow_mut().found(value.to_u32(), position(tid, last));
    }

    /// Copies the chunks of a value. The first is at `first`; the others follow it there and on the next
    /// page.
    fn take(
        &self,
        mut page: SharedPage,
        first: Tid,
        (value, snapshot): (u32, pg_sys::Snapshot),
        mut room: &mut [u8],
    ) -> bool {
        let Tid { mut blkno, mut offset } = first;
        let mut number = 0;
        while !room.is_empty() {
            if offset > page.last() {
                drop(page);
                blkno += 1;
                if number == 0 || blkno >= self.nblocks {
                    return false;
                }
                (page, offset) = (self.page(blkno), 1);
            }
            let Some(chunk) = page.chunk(offset).filter(|c| c.value == value && c.number == number) else {
                return false;
            };
            if !self.is_visible(&page, &chunk, Tid { blkno, offset }, snapshot) {
                return false;
            }
            let Some((here, rest)) = room.split_at_mut_checked(chunk.length) else { return false };
            // SAFETY: the chunk's bytes lie on the page, which is held.
            unsafe { here.as_mut_ptr().copy_from_nonoverlapping(chunk.data, chunk.length) };
            room = rest;
            number += 1;
            offset += 1;
        }
        true
    }

    fn page(&self, blkno: u32) -> SharedPage {
        let buffer = self.hints.pin(self.table, blkno);
        // SAFETY: the page was just pinned.
        unsafe { buffer_lock::lock_shared(buffer) };
        SharedPage(Locked(buffer))
    }

    fn is_visible(&self, page: &SharedPage, chunk: &Chunk, tid: Tid, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: the tuple lies on the page, which is pinned and locked; `read` has a valid snapshot.
        unsafe {
            let mut tuple = pg_sys::HeapTupleData {
                t_len: chunk.size as u32,
                t_self: item_pointer(tid),
                t_tableOid: (*self.table).rd_id,
                t_data: chunk.tuple.cast(),
            };
            pg_sys::HeapTupleSatisfiesVisibility(&raw mut tuple, snapshot, page.0.0)
        }
    }
}

impl SharedPage {
    fn start(&self) -> *mut u8 {
        // SAFETY: the buffer is pinned.
        unsafe { pg_sys::BufferGetPage(self.0.0).cast() }
    }

    /// The last line pointer.
    fn last(&self) -> u16 {
        // SAFETY: the page is held.
        unsafe { last_offset(self.start()) }
    }

    /// The chunk of a line pointer, if there is one. Only the columns of the row are read, which never
    /// change, even if other backends change its header.
    fn chunk(&self, offset: u16) -> Option<Chunk> {
        if offset == 0 || offset > self.last() {
            return None;
        }
        // SAFETY: the page is held, and all that is read lies on it, as is checked before.
        unsafe {
            let header = self.start().cast::<pg_sys::PageHeaderData>();
            let pointer =
                (&raw const (*header).pd_linp).cast::<pg_sys::ItemIdData>().add(usize::from(offset) - 1);
            let (at, size) = ((*pointer).lp_off() as usize, (*pointer).lp_len() as usize);
            let least = size_of::<pg_sys::HeapTupleHeaderData>();
            if (*pointer).lp_flags() != pg_sys::LP_NORMAL || size < least || at + size > PAGE_SIZE {
                return None;
            }
            let tuple = self.start().add(at);
            let columns = usize::from((*tuple.cast::<pg_sys::HeapTupleHeaderData>()).t_hoff);
            let begin = tuple.add(columns);
            let stored = begin.add(NUMBERS).cast::<pg_sys::varlena>();
            if columns + NUMBERS + size_of::<u32>() > size {
                return None;
            }
            // The row must end with its last column.
            if !is_plain(stored) || columns + NUMBERS + pgrx::varsize_any(stored) != size {
                return None;
            }
            Some(Chunk {
                value: begin.cast::<u32>().read_unaligned(),
                number: begin.add(4).cast::<u32>().read_unaligned(),
                tuple,
                size,
                data: pgrx::vardata_any(stored).cast(),
                length: pgrx::varsize_any_exhdr(stored),
            })
        }
    }
}

/// The position of a row, on a page whose last line pointer is `last`.
fn position(tid: Tid, last: u16) -> Position {
    let part = f32::from(tid.offset.saturating_sub(1)) / f32::from(last.max(1));
    Position { blkno: tid.blkno, part }
}

/// Whether a chunk's bytes are stored in it without compression.
///
/// # Safety
/// The beginning of a varlena can be read at `chunk`.
pub unsafe fn is_plain(chunk: *const pg_sys::varlena) -> bool {
    // SAFETY: the caller vouches for the begin.
    unsafe { pgrx::varatt_is_4b_u(chunk) || pgrx::varatt_is_1b(chunk) && !pgrx::varatt_is_1b_e(chunk) }
}

/// `PageGetMaxOffsetNumber` (bufpage.h).
///
/// # Safety
/// A page that is held.
unsafe fn last_offset(page: *const u8) -> u16 {
    const HEADER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);
    // SAFETY: the caller vouches for the page.
    let end = unsafe { usize::from((*page.cast::<pg_sys::PageHeaderData>()).pd_lower) };
    (end.min(PAGE_SIZE).saturating_sub(HEADER) / size_of::<pg_sys::ItemIdData>()) as u16
}
