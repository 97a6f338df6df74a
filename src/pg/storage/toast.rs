//! Out-of-line values: read from their guessed position, or by one TOAST index scan that stays open.
//!
//! The server opens the table, its index and a scan for each value and closes them again (detoast.c,
//! `toast_fetch_datum`; heaptoast.c, `heap_fetch_toast_slice`). A search reads about a dozen values of one
//! table. If anything is not as expected here, the server reads the value, and reports the fault.

use pgrx::pg_sys;

use super::tid::tid;
use super::toast_direct::{DirectReader, is_plain};
use crate::pg::compat::{begin_index_scan, is_heap, toast_snapshot};

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// Columns of a TOAST table (toasting.c), and of its index.
const CHUNK_ID: i16 = 1;
const CHUNK_SEQ: i32 = 2;
const CHUNK_DATA: i32 = 3;
/// Bytes of a varlena's usual header.
const HEADER: usize = 4;
/// No vector has more bytes, and few arrays of vectors. The server reads larger values.
const LARGEST: usize = 1 << 20;

/// Bytes of a pointer to a value out of line: `VARHDRSZ_EXTERNAL` and `varatt_external` (varatt.h).
const POINTER: usize = TAGS + size_of::<pg_sys::varatt_external>();
const TAGS: usize = 2;

/// The pointer that a row has in place of an out-of-line value.
pub type ToastPointer = [u8; POINTER];

/// The TOAST pointer in a datum, if its value is out of line.
///
/// # Safety
/// The datum is a varlena.
#[inline]
pub unsafe fn toast_pointer(datum: pg_sys::Datum) -> Option<ToastPointer> {
    let start = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller vouches for the datum; one with the tag of a value on disk is as long as such a
    // pointer.
    unsafe {
        let external = pgrx::varatt_is_1b_e(start)
            && pgrx::vartag_external(start) == pg_sys::vartag_external::VARTAG_ONDISK as u8;
        external.then(|| start.cast::<ToastPointer>().read_unaligned())
    }
}

/// The content of a pointer to an out-of-line value that is not compressed.
struct External {
    table: pg_sys::Oid,
    value: pg_sys::Oid,
    /// Bytes without a header.
    size: usize,
}

impl External {
    fn of(pointer: &ToastPointer) -> Option<Self> {
        // SAFETY: after its tags the pointer is what the server has there (varatt.h).
        let external = unsafe { pointer[TAGS..].as_ptr().cast::<pg_sys::varatt_external>().read_unaligned() };
        let size = (external.va_extinfo & pg_sys::VARLENA_EXTSIZE_MASK) as usize;
        let whole = usize::try_from(external.va_rawsize).ok()?;
        // Other values are compressed or damaged.
        let simple = size + HEADER == whole && whole <= LARGEST;
        simple.then_some(Self { table: external.va_toastrelid, value: external.va_valueid, size })
    }
}

/// A reader of one table's values out of line.
#[derive(Default)]
pub struct ToastReader {
    open: Option<Open>,
    /// Whether this TOAST table cannot be read here.
    foreign: bool,
    /// A value with its header, aligned.
    value: Vec<u64>,
}

struct Open {
    table: pg_sys::Relation,
    direct: DirectReader,
    /// Opened once a guessed position was wrong.
    index: Option<OpenIndex>,
    /// Boxed, because the scan has its address.
    snapshot: Box<pg_sys::SnapshotData>,
}

struct OpenIndex {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
}

impl ToastReader {
    /// The value of a pointer, with a 4-byte header; it is valid until the next value is read. `None` if the
    /// value is compressed. `snapshot` is the one with which the value's row was found.
    ///
    /// # Safety
    /// The pointer is from a visible row. What this opens is allocated in `context` and belongs to the
    /// resource owner of the running scan.
    pub unsafe fn fetch(
        &mut self,
        pointer: &ToastPointer,
        snapshot: pg_sys::Snapshot,
        context: pg_sys::MemoryContext,
    ) -> Option<pg_sys::Datum> {
        let External { table, value, size } = External::of(pointer)?;
        self.value.resize((size + HEADER).div_ceil(size_of::<u64>()), 0);
        // SAFETY: the caller vouches for pointer, snapshot and context; the value has room for its header and
        // its bytes.
        unsafe {
            let bytes = self.value.as_mut_ptr().cast::<u8>();
            // The index scan frees at its end what it allocates meanwhile.
            let before = pg_sys::MemoryContextSwitchTo(context);
            let complete = self.open(table, snapshot).is_some_and(|open| {
                let room = std::slice::from_raw_parts_mut(bytes.add(HEADER), size);
                open.direct.read(value, snapshot, room) || open.read_by_index(value, room)
            });
            pg_sys::MemoryContextSwitchTo(before);
            pgrx::set_varsize_4b(bytes.cast(), (size + HEADER) as i32);
            complete.then(|| pg_sys::Datum::from(bytes))
        }
    }

    /// Prefetches the likely pages of a value. Returns whether [`ToastReader::fetch`] can read the value.
    ///
    /// # Safety
    /// As for that.
    pub unsafe fn prefetch(
        &mut self,
        pointer: &ToastPointer,
        snapshot: pg_sys::Snapshot,
        context: pg_sys::MemoryContext,
    ) -> bool {
        let Some(External { table, value, size }) = External::of(pointer) else { return false };
        // SAFETY: the caller vouches for all of them.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(context);
            let open = self.open(table, snapshot);
            pg_sys::MemoryContextSwitchTo(before);
            open.map(|open| open.direct.prefetch(value, size)).is_some()
        }
    }

    /// The TOAST table, opened if needed; `None` if it cannot be read here, or if another table is open.
    unsafe fn open(&mut self, table: pg_sys::Oid, snapshot: pg_sys::Snapshot) -> Option<&mut Open> {
        if self.foreign {
            return None;
        }
        // SAFETY: the caller vouches for table and snapshot.
        unsafe {
            if self.open.is_none() {
                self.open = Open::of(table, snapshot);
                self.foreign = self.open.is_none();
            }
            self.open.as_mut().filter(|open| (*open.table).rd_id == table)
        }
    }

    /// Closes what was opened.
    pub fn close(&mut self) {
        if let Some(open) = self.open.take() {
            // SAFETY: all of it was opened by `Open::of` and is closed once.
            unsafe {
                if let Some(by) = open.index {
                    pg_sys::index_endscan(by.scan);
                    pg_sys::ExecDropSingleTupleTableSlot(by.slot);
                    pg_sys::index_close(by.index, LOCK);
                }
                pg_sys::table_close(open.table, LOCK);
            }
        }
    }
}

impl Open {
    /// Opens a TOAST table that is a heap, as they all are today.
    unsafe fn of(toast: pg_sys::Oid, snapshot: pg_sys::Snapshot) -> Option<Self> {
        // SAFETY: a row points to the table, which cannot go while the row's table is locked.
        unsafe {
            let table = pg_sys::table_open(toast, LOCK);
            if !is_heap(table) {
                pg_sys::table_close(table, LOCK);
                return None;
            }
            let snapshot = Box::new(toast_snapshot(snapshot));
            let direct = DirectReader::of(table);
            Some(Self { table, direct, index: None, snapshot })
        }
    }

    /// The index of the table and a scan of it, opened if they are not yet.
    unsafe fn index(&mut self) -> Option<(pg_sys::IndexScanDesc, *mut pg_sys::TupleTableSlot)> {
        // SAFETY: the table is open, and the snapshot lives as long as the scan.
        unsafe {
            if self.index.is_none() {
                let index = valid_index(self.table)?;
                let snapshot = (&raw const *self.snapshot).cast_mut();
                let scan = begin_index_scan(self.table, index, snapshot, 1);
                let slot = pg_sys::table_slot_create(self.table, std::ptr::null_mut());
                self.index = Some(OpenIndex { index, scan, slot });
            }
            self.index.as_ref().map(|by| (by.scan, by.slot))
        }
    }

    /// Reads a value's chunks by the table's index; they must fill `room`. No page is pinned afterwards.
    unsafe fn read_by_index(&mut self, value: pg_sys::Oid, mut room: &mut [u8]) -> bool {
        // SAFETY: scan and slot are open, and the rows are those of a TOAST table.
        unsafe {
            let Some((scan, slot)) = self.index() else { return false };
            let mut key = pg_sys::ScanKeyData::default();
            let (equal, strategy) = (pg_sys::F_OIDEQ.into(), pg_sys::BTEqualStrategyNumber as u16);
            pg_sys::ScanKeyInit(&raw mut key, CHUNK_ID, strategy, equal, pg_sys::Datum::from(value));
            pg_sys::index_rescan(scan, &raw mut key, 1, std::ptr::null_mut(), 0);
            let mut complete = true;
            let mut next = 0;
            let (mut first, mut last) = (0, 0);
            // Reads to the end, where the scan releases its pages.
            while pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot) {
                let (mut no_number, mut no_data) = (false, false);
                let number = pg_sys::slot_getattr(slot, CHUNK_SEQ, &raw mut no_number).value() as i32;
                let chunk = pg_sys::slot_getattr(slot, CHUNK_DATA, &raw mut no_data);
                complete &= !no_number && !no_data && number == next;
                if !complete {
                    continue;
                }
                if next == 0 {
                    let held = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
                    self.direct.learn(value, held, tid(&(*slot).tts_tid));
                }
                next += 1;
                let chunk = chunk.cast_mut_ptr::<pg_sys::varlena>();
                let size = pgrx::varsize_any_exhdr(chunk);
                if next == 1 {
                    first = size;
                }
                // All chunks have the same size, except the last, which may be smaller.
                complete = is_plain(chunk) && size > 0 && size <= first && (next == 1 || last == first) && {
                    let data = pgrx::vardata_any(chunk).cast::<u8>();
                    take(&mut room, std::slice::from_raw_parts(data, size))
                };
                last = size;
            }
            pg_sys::ExecClearTuple(slot);
            pg_sys::table_index_fetch_reset((*scan).xs_heapfetch);
            complete && room.is_empty()
        }
    }
}

/// Copies bytes to the beginning of the remaining room, if they fit.
fn take(room: &mut &mut [u8], bytes: &[u8]) -> bool {
    let Some((here, rest)) = std::mem::take(room).split_at_mut_checked(bytes.len()) else { return false };
    here.copy_from_slice(bytes);
    *room = rest;
    true
}

/// The index of a TOAST table that is valid: while it is rebuilt concurrently there is another
/// (`toast_open_indexes`).
unsafe fn valid_index(table: pg_sys::Relation) -> Option<pg_sys::Relation> {
    // SAFETY: the table is open; the list is a copy of our own.
    unsafe {
        let list = pg_sys::RelationGetIndexList(table);
        let mut found = None;
        for i in 0..list.as_ref().map_or(0, |list| list.length) {
            let index = pg_sys::index_open(pg_sys::list_nth_oid(list, i), LOCK);
            if found.is_none() && (*(*index).rd_index).indisvalid {
                found = Some(index);
            } else {
                pg_sys::index_close(index, LOCK);
            }
        }
        pg_sys::list_free(list);
        found
    }
}
