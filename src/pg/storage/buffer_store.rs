//! The page store on PostgreSQL's shared buffers, with generic WAL (`access/transam/README`,
//! `generic_xlog.c`).
//!
//! A change edits copies of its pages in the WAL record. The copies replace the pages when the record is
//! written, so an error before that changes nothing. Guards release nothing while an error unwinds: by then
//! `errfinish` has reset `InterruptHoldoffCount`, and the abort of the transaction releases locks and pins
//! itself.

use std::cell::Cell;
use std::ffi::c_char;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

use pgrx::pg_sys;

use super::buffer_hints::BufferHints;
use super::buffer_lock;
use super::read_ahead::ReadAhead;
use crate::error::{Error, Kind, Result};
use crate::page::store::{Change, MAX_CHANGE_PAGES, PageHandle, assert_alone, opened_twice};
use crate::page::{Page, Prefetch, Store};
use crate::pg::allocator;

/// How changes reach the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// Each change is a WAL record (if the relation is logged at all).
    EachChange,
    /// Pages are only marked dirty: the index is new and is logged as a whole when it is complete.
    AtTheEnd,
}

/// An open index relation as a page store.
pub struct IndexStore {
    relation: pg_sys::Relation,
    logging: Logging,
    hints: BufferHints,
    /// The ring of buffers that maintenance reads through; null for scans.
    ring: pg_sys::BufferAccessStrategy,
    /// The snapshot of a scan, for `old_snapshot_threshold`; null otherwise.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    snapshot: Cell<pg_sys::Snapshot>,
    /// Pages known to exist.
    nblocks: Cell<u32>,
    read_ahead: ReadAhead,
}

impl IndexStore {
    /// The store of an open relation, which must stay open while the store lives.
    pub fn new(relation: pg_sys::Relation, logging: Logging) -> Self {
        Self::through(relation, logging, std::ptr::null_mut())
    }

    /// The same, reading through a buffer ring. A pass over a whole index then uses only the buffers of the
    /// ring, and does not raise the usage counts of its pages.
    pub fn through(relation: pg_sys::Relation, logging: Logging, ring: pg_sys::BufferAccessStrategy) -> Self {
        Self {
            relation,
            logging,
            hints: BufferHints::of(relation),
            ring,
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            snapshot: Cell::new(std::ptr::null_mut()),
            nblocks: Cell::new(0),
            read_ahead: ReadAhead::default(),
        }
    }

    /// A store for one pass over a whole index, by a ring that lives in the current memory context.
    pub fn in_bulk(relation: pg_sys::Relation) -> Self {
        // SAFETY: allocates the ring in the current context.
        let ring = unsafe { pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD) };
        Self::through(relation, Logging::EachChange, ring)
    }

    /// Pins a page that exists, by its buffer hint or through the ring.
    unsafe fn pin(&self, blkno: u32) -> pg_sys::Buffer {
        if self.ring.is_null() {
            return self.hints.pin(self.relation, blkno);
        }
        let (fork, mode) = (pg_sys::ForkNumber::MAIN_FORKNUM, pg_sys::ReadBufferMode::RBM_NORMAL);
        // SAFETY: the relation is open, the block exists, the ring lives as long as the store is used.
        unsafe { pg_sys::ReadBufferExtended(self.relation, fork, blkno, mode, self.ring) }
    }

    /// The relation.
    pub fn relation(&self) -> pg_sys::Relation {
        self.relation
    }

    /// From now on reads belong to a scan with this snapshot, which must live as long as the store.
    pub fn seen_by(&self, _snapshot: pg_sys::Snapshot) {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        self.snapshot.set(_snapshot);
    }

    fn exists(&self, blkno: u32) -> Result<()> {
        if blkno >= self.nblocks.get() && blkno >= self.nblocks()? {
            return Err(Error::corrupted(blkno, "the page lies beyond the end of the index"));
        }
        Ok(())
    }

    /// Writes every page to the log: the end of a build under [`Logging::AtTheEnd`].
    pub fn log_all(&self) {
        // SAFETY: the relation is open and exclusively ours; log_newpage_range locks each page itself.
        unsafe {
            if relation_needs_wal(self.relation) {
                let end =
                    pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM);
                let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
                pg_sys::log_newpage_range(self.relation, fork, 0, end, true);
            }
        }
    }
}

/// `RelationNeedsWAL` (utils/rel.h).
pub(in crate::pg) unsafe fn relation_needs_wal(relation: pg_sys::Relation) -> bool {
    const WAL_LEVEL_REPLICA: i32 = pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32;
    // SAFETY: the caller passes an open relation.
    unsafe {
        (*(*relation).rd_rel).relpersistence == pg_sys::RELPERSISTENCE_PERMANENT as c_char
            && (pg_sys::wal_level >= WAL_LEVEL_REPLICA
                || (is_invalid((*relation).rd_createSubid) && is_invalid(first_file(relation))))
    }
}

#[cfg(feature = "pg15")]
unsafe fn first_file(relation: pg_sys::Relation) -> pg_sys::SubTransactionId {
    // SAFETY: the caller passes an open relation.
    unsafe { (*relation).rd_firstRelfilenodeSubid }
}

#[cfg(not(feature = "pg15"))]
unsafe fn first_file(relation: pg_sys::Relation) -> pg_sys::SubTransactionId {
    // SAFETY: the caller passes an open relation.
    unsafe { (*relation).rd_firstRelfilelocatorSubid }
}

/// `InvalidSubTransactionId` is 0 (c.h).
fn is_invalid(subtransaction: pg_sys::SubTransactionId) -> bool {
    subtransaction == 0
}

/// A locked and pinned buffer.
pub(super) struct Locked(pub(super) pg_sys::Buffer);

impl Locked {
    fn page(&self) -> &Page {
        // SAFETY: the buffer is pinned and locked while the guard lives; its page is 8 KiB, maxaligned.
        unsafe { &*pg_sys::BufferGetPage(self.0).cast::<Page>() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // The lock of a shared buffer holds interrupts; buffers of temporary tables have no locks.
        // SAFETY: reading a global of this backend.
        let reset = self.0 > 0 && unsafe { pg_sys::InterruptHoldoffCount } == 0;
        let unwinding = reset || std::thread::panicking();
        if !unwinding {
            // SAFETY: the guard took this lock and pin and gives them back once.
            unsafe { buffer_lock::unlock_release(self.0) };
        }
    }
}

/// A page held for reading.
pub struct ReadPage(Locked);

impl Deref for ReadPage {
    type Target = Page;

    fn deref(&self) -> &Page {
        self.0.page()
    }
}

impl Prefetch for IndexStore {
    fn prefetch_pages(&self, blkno: u32, count: u32) {
        let end = blkno.saturating_add(count);
        // A damaged index may refer to pages beyond its end; these are not prefetched.
        let known = match end <= self.nblocks.get() {
            true => end,
            false => self.nblocks().map_or(blkno, |nblocks| end.min(nblocks)),
        };
        self.read_ahead.prefetch(blkno..known.max(blkno));
    }

    fn end_prefetch(&self) {
        self.read_ahead.end();
    }

    fn prefetch_bytes(&self, blkno: u32, bytes: Range<usize>) {
        self.hints.prefetch(blkno, bytes);
    }

    fn ahead(&self, page: &Page, blkno: u32) -> usize {
        let page = std::ptr::from_ref(page).addr();
        self.hints.address(blkno).map_or(0, |at| at.addr().wrapping_sub(page))
    }
}

impl Store for IndexStore {
    type Read<'a> = ReadPage;

    fn nblocks(&self) -> Result<u32> {
        // SAFETY: the relation is open.
        let nblocks = unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM)
        };
        self.nblocks.set(nblocks);
        Ok(nblocks)
    }

    fn read(&self, blkno: u32) -> Result<ReadPage> {
        // No page is held here (the contract of `read`), so a cancel may end the work at this point.
        pgrx::check_for_interrupts!();
        allocator::check();
        self.exists(blkno)?;
        // SAFETY: the relation is open, the block exists, and so do those planned.
        unsafe {
            let buffer = self.read_ahead.take((self.relation, &self.hints), blkno, || self.pin(blkno));
            buffer_lock::lock_shared(buffer);
            let page = ReadPage(Locked(buffer));
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            crate::pg::compat::test_for_old_snapshot(self.snapshot.get(), self.relation, &page);
            Ok(page)
        }
    }

    fn reserve(&self, count: u32) -> Result<u32> {
        const P_NEW: u32 = pg_sys::InvalidBlockNumber;
        let mut first = None;
        // SAFETY: the extension lock makes the new blocks consecutive and ours alone.
        unsafe {
            pg_sys::LockRelationForExtension(self.relation, pg_sys::ExclusiveLock as i32);
            for _ in 0..count {
                let buffer = pg_sys::ReadBuffer(self.relation, P_NEW);
                first.get_or_insert(pg_sys::BufferGetBlockNumber(buffer));
                pg_sys::ReleaseBuffer(buffer);
            }
            pg_sys::UnlockRelationForExtension(self.relation, pg_sys::ExclusiveLock as i32);
        }
        first.ok_or_else(|| Error::new(Kind::Internal, "no pages were asked for"))
    }

    fn forget_free(&self) -> Result<()> {
        // SAFETY: the relation is open. The map's upper levels are made to agree first, so that none is
        // hidden.
        unsafe {
            pg_sys::IndexFreeSpaceMapVacuum(self.relation);
            while pg_sys::GetFreeIndexPage(self.relation) != pg_sys::InvalidBlockNumber {
                pgrx::check_for_interrupts!();
            }
        }
        Ok(())
    }

    fn add_free(&self, blknos: &mut dyn Iterator<Item = u32>) -> Result<()> {
        for blkno in blknos {
            pgrx::check_for_interrupts!();
            // SAFETY: the relation is open.
            unsafe { pg_sys::RecordFreeIndexPage(self.relation, blkno) };
        }
        // SAFETY: the relation is open.
        unsafe { pg_sys::IndexFreeSpaceMapVacuum(self.relation) };
        Ok(())
    }

    fn change<R>(&self, f: impl FnOnce(&mut dyn Change) -> Result<R>) -> Result<R> {
        let opened = Vec::with_capacity(MAX_CHANGE_PAGES);
        let record = std::ptr::null_mut();
        let mut change = BufferChange { store: self, watched: None, opened, record };
        let result = f(&mut change);
        if result.is_ok() {
            change.apply();
        } else {
            change.abort();
        }
        result
    }
}

struct Opened {
    blkno: u32,
    buffer: Locked,
    /// The memory that is written to: the page's copy in the current record, or the page itself.
    image: Option<NonNull<Page>>,
    new: bool,
    flushed: bool,
}

struct BufferChange<'a> {
    store: &'a IndexStore,
    /// The page that is locked against changes.
    watched: Option<Locked>,
    opened: Vec<Opened>,
    /// The current record; null before the first page is written.
    record: *mut pg_sys::GenericXLogState,
}

impl BufferChange<'_> {
    fn push(&mut self, opened: Opened) -> PageHandle {
        let held = self.opened.iter().filter(|o| !o.flushed).count();
        assert!(held < MAX_CHANGE_PAGES, "a change touches more than {MAX_CHANGE_PAGES} pages");
        self.opened.push(opened);
        PageHandle(self.opened.len() - 1)
    }

    /// Installs what was written: one WAL record.
    fn apply(&mut self) {
        // SAFETY: the buffers are pinned and exclusively locked; the record, if any, was started here.
        unsafe {
            if !self.record.is_null() {
                pg_sys::GenericXLogFinish(self.record);
                self.record = std::ptr::null_mut();
            } else if self.store.logging == Logging::AtTheEnd {
                for opened in self.opened.iter().filter(|o| o.image.is_some()) {
                    pg_sys::MarkBufferDirty(opened.buffer.0);
                }
            }
        }
    }

    /// Forgets what was written. (Without a record, pages may have been changed; but then the index is being
    /// built, and its file is removed.)
    fn abort(&mut self) {
        if !self.record.is_null() {
            // SAFETY: the record was started here; this frees its memory.
            unsafe { pg_sys::GenericXLogAbort(self.record) };
        }
    }
}

impl Change for BufferChange<'_> {
    fn open(&mut self, blkno: u32) -> Result<PageHandle> {
        if self.opened.iter().any(|o| o.blkno == blkno) {
            return Err(opened_twice(blkno));
        }
        self.store.exists(blkno)?;
        // SAFETY: the relation is open and the block exists.
        let buffer = unsafe {
            let buffer = self.store.pin(blkno);
            buffer_lock::lock_exclusive(buffer);
            Locked(buffer)
        };
        // A page that was reserved is logged whole when it is written.
        let new = buffer.page().kind().is_none();
        Ok(self.push(Opened { blkno, buffer, image: None, new, flushed: false }))
    }

    fn watch(&mut self, blkno: u32) -> Result<&Page> {
        assert!(
            self.opened.is_empty() && self.watched.is_none(),
            "one page is watched, before others are opened"
        );
        self.store.exists(blkno)?;
        // SAFETY: the relation is open and the block exists.
        let buffer = unsafe {
            let buffer = self.store.pin(blkno);
            buffer_lock::lock_shared(buffer);
            Locked(buffer)
        };
        Ok(self.watched.insert(buffer).page())
    }

    fn allocate(&mut self, is_free: &dyn Fn(&Page) -> bool) -> Result<(u32, PageHandle)> {
        loop {
            // SAFETY: the relation is open. The map names a block once.
            let blkno = unsafe { pg_sys::GetFreeIndexPage(self.store.relation) };
            if blkno == pg_sys::InvalidBlockNumber {
                return self.extend();
            }
            if self.opened.iter().any(|o| o.blkno == blkno) || self.store.exists(blkno).is_err() {
                continue;
            }
            // SAFETY: the relation is open and the block exists. The lock is not waited for: it is taken out
            // of order, of a page that may be anything.
            let buffer = unsafe {
                let buffer = self.store.pin(blkno);
                if !pg_sys::ConditionalLockBuffer(buffer) {
                    pg_sys::ReleaseBuffer(buffer);
                    continue;
                }
                Locked(buffer)
            };
            if is_free(buffer.page()) {
                return Ok((
                    blkno,
                    self.push(Opened { blkno, buffer, image: None, new: true, flushed: false }),
                ));
            }
        }
    }

    fn extend(&mut self) -> Result<(u32, PageHandle)> {
        const P_NEW: u32 = pg_sys::InvalidBlockNumber;
        let relation = self.store.relation;
        // SAFETY: the extension lock makes the new block ours alone (hio.c, bloom's BloomNewBuffer).
        let (buffer, blkno) = unsafe {
            pg_sys::LockRelationForExtension(relation, pg_sys::ExclusiveLock as i32);
            let buffer = pg_sys::ReadBuffer(relation, P_NEW);
            buffer_lock::lock_exclusive(buffer);
            pg_sys::UnlockRelationForExtension(relation, pg_sys::ExclusiveLock as i32);
            (Locked(buffer), pg_sys::BufferGetBlockNumber(buffer))
        };
        Ok((blkno, self.push(Opened { blkno, buffer, image: None, new: true, flushed: false })))
    }

    fn page(&self, handle: PageHandle) -> &Page {
        let opened = &self.opened[handle.0];
        match opened.image {
            // SAFETY: the image is a whole page that lives until the record's end, when it is forgotten.
            Some(image) => unsafe { image.as_ref() },
            None => opened.buffer.page(),
        }
    }

    fn page_mut(&mut self, handle: PageHandle) -> &mut Page {
        let Opened { blkno, buffer, image, flushed, new } = &mut self.opened[handle.0];
        assert!(!*flushed, "block {blkno} written after its flush");
        // SAFETY: the buffer is pinned and exclusively locked; a record takes as many buffers as a change has
        // pages, and its images are whole pages, aligned, that are nobody else's until it ends. An error that
        // is raised before leaves the record's memory to its context.
        unsafe {
            let image = match image {
                Some(image) => image,
                None => image.insert(match self.store.logging {
                    Logging::EachChange => {
                        if self.record.is_null() {
                            self.record = pg_sys::GenericXLogStart(self.store.relation);
                        }
                        let flags = if *new { pg_sys::GENERIC_XLOG_FULL_IMAGE as i32 } else { 0 };
                        let page = pg_sys::GenericXLogRegisterBuffer(self.record, buffer.0, flags);
                        NonNull::new_unchecked(page.cast())
                    }
                    Logging::AtTheEnd => NonNull::new_unchecked(pg_sys::BufferGetPage(buffer.0).cast()),
                }),
            };
            image.as_mut()
        }
    }

    fn flush(&mut self, handle: PageHandle) -> Result<()> {
        assert_alone(self.opened.iter().map(|o| o.image.is_some()), handle);
        self.apply();
        let opened = &mut self.opened[handle.0];
        opened.flushed = true;
        opened.image = None;
        Ok(())
    }

    fn close(&mut self, handle: PageHandle) {
        let written = self.opened[handle.0..].iter().any(|o| o.image.is_some());
        assert!(!written, "a page is closed before it is flushed");
        self.opened.truncate(handle.0);
    }
}

/// Writes the pages of `source` to the init fork of an unlogged index (`ambuildempty`).
pub fn write_init_fork(relation: pg_sys::Relation, source: &crate::page::memory::MemoryStore) -> Result<()> {
    const P_NEW: u32 = pg_sys::InvalidBlockNumber;
    for blkno in 0..source.nblocks()? {
        let image = source.read(blkno)?;
        // SAFETY: ambuildempty has the relation to itself; the critical section covers change and log, as
        // in btbuildempty (nbtree.c). The init fork is always logged.
        unsafe {
            pg_sys::LockRelationForExtension(relation, pg_sys::ExclusiveLock as i32);
            let buffer = pg_sys::ReadBufferExtended(
                relation,
                pg_sys::ForkNumber::INIT_FORKNUM,
                P_NEW,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                std::ptr::null_mut(),
            );
            buffer_lock::lock_exclusive(buffer);
            pg_sys::UnlockRelationForExtension(relation, pg_sys::ExclusiveLock as i32);
            pg_sys::CritSectionCount += 1;
            pg_sys::BufferGetPage(buffer).cast::<Page>().write(Page::clone(&image));
            pg_sys::MarkBufferDirty(buffer);
            pg_sys::log_newpage_buffer(buffer, true);
            pg_sys::CritSectionCount -= 1;
            pg_sys::UnlockReleaseBuffer(buffer);
        }
    }
    Ok(())
}
