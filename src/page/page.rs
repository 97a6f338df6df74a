//! One 8 KiB page as Postgres lays it out: header, contents, special area.
//!
//! The header is PostgreSQL's own (`storage/bufpage.h`), so that checksums, `pageinspect` and generic WAL
//! work; `pd_lower`, `pd_upper` and `pd_special` all point at the special area, because generic WAL zeroes
//! whatever lies between lower and upper. Our 16 special bytes say the kind of the page and the list to which
//! it belongs.

use crate::error::{Error, Result};

/// Bytes of a page. Servers built with another `BLCKSZ` are refused at load.
pub const PAGE_SIZE: usize = 8192;
/// Bytes of PostgreSQL's page header.
pub const HEADER_SIZE: usize = 24;
/// Bytes of our special area at the end of the page.
pub const SPECIAL_SIZE: usize = 16;
/// Bytes of contents.
pub const CONTENT_SIZE: usize = PAGE_SIZE - HEADER_SIZE - SPECIAL_SIZE;
/// Last two bytes of every page, by which tools recognise the access method.
pub const PAGE_ID: u16 = 0xFF49;
/// A block number that is none.
pub const NO_BLOCK: u32 = u32::MAX;

const SPECIAL: usize = PAGE_SIZE - SPECIAL_SIZE;
/// Behind `pd_lsn` and `pd_checksum` of the page's header.
const AFTER_CHECKSUM: usize = 10;

/// What a page holds. Numbers are on disk: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum PageKind {
    /// Block 0: what the index is.
    Meta = 1,
    /// Routing data of lists: quantized centroids, radii.
    Directory = 2,
    /// Where each list's pages are; changes as lists grow.
    Lists = 3,
    /// Blocks of 32 one-bit codes with factors and references.
    Codes = 4,
    /// Further code bytes of a block that is larger than a page.
    CodesMore = 5,
    /// Extended-bit records with heap addresses.
    Extended = 6,
    /// The index-wide origin vector.
    Origin = 7,
    /// Summaries of the keys of each list.
    Summaries = 8,
    /// Nothing: a crash left it without use.
    Free = 9,
}

impl PageKind {
    fn from_number(n: u16) -> Option<Self> {
        Some(match n {
            1 => Self::Meta,
            2 => Self::Directory,
            3 => Self::Lists,
            4 => Self::Codes,
            5 => Self::CodesMore,
            6 => Self::Extended,
            7 => Self::Origin,
            8 => Self::Summaries,
            9 => Self::Free,
            _ => return None,
        })
    }
}

/// One page, by value or behind a buffer.
#[repr(C, align(8))]
#[derive(Clone)]
pub struct Page {
    bytes: [u8; PAGE_SIZE],
}

impl Page {
    /// An all-zero page, as after an extension of the file.
    pub const fn zeroed() -> Self {
        Self { bytes: [0; PAGE_SIZE] }
    }

    /// Makes this an empty page of `kind` that belongs to `owner` (a list number, or 0).
    pub fn init(&mut self, kind: PageKind, owner: u32) {
        self.bytes = [0; PAGE_SIZE];
        let special = (SPECIAL as u16).to_ne_bytes();
        for at in [12, 14, 16] {
            self.bytes[at..at + 2].copy_from_slice(&special);
        }
        // pd_pagesize_version: size | layout version 4 (bufpage.h).
        self.bytes[18..20].copy_from_slice(&(PAGE_SIZE as u16 | 4).to_ne_bytes());
        self.bytes[SPECIAL..SPECIAL + 4].copy_from_slice(&NO_BLOCK.to_ne_bytes());
        self.bytes[SPECIAL + 4..SPECIAL + 8].copy_from_slice(&owner.to_ne_bytes());
        self.bytes[SPECIAL + 12..SPECIAL + 14].copy_from_slice(&(kind as u16).to_ne_bytes());
        self.bytes[SPECIAL + 14..].copy_from_slice(&PAGE_ID.to_ne_bytes());
    }

    /// Makes this a free page. Its contents stay, so that the log has only the kind.
    pub fn set_free(&mut self) {
        match self.kind() {
            Some(_) => {
                let kind = (PageKind::Free as u16).to_ne_bytes();
                self.bytes[SPECIAL + 12..SPECIAL + 14].copy_from_slice(&kind);
            }
            None => self.init(PageKind::Free, 0),
        }
    }

    /// Becomes a copy of another page, except for what the server keeps of each page: its place in the log,
    /// by which it decides whether the log needs the whole page, and its checksum.
    pub fn copy_from(&mut self, other: &Self) {
        self.bytes[AFTER_CHECKSUM..].copy_from_slice(&other.bytes[AFTER_CHECKSUM..]);
    }

    /// The page's kind, or `None` if it is not a page of an `ivf` index.
    pub fn kind(&self) -> Option<PageKind> {
        let lower = u16::from_ne_bytes([self.bytes[12], self.bytes[13]]);
        let special = u16::from_ne_bytes([self.bytes[16], self.bytes[17]]);
        if self.u16_at(SPECIAL + 14) != PAGE_ID || usize::from(special) != SPECIAL || lower != special {
            return None;
        }
        PageKind::from_number(self.u16_at(SPECIAL + 12))
    }

    /// Fails unless the page is of `kind`; `blkno` is named in the error.
    pub fn expect_kind(&self, blkno: u32, kind: PageKind) -> Result<()> {
        match self.kind() {
            Some(k) if k == kind => Ok(()),
            Some(k) => Err(Error::corrupted(blkno, format_args!("expected a {kind:?} page, found {k:?}"))),
            None => Err(Error::corrupted(blkno, format_args!("expected a {kind:?} page, found no ivf page"))),
        }
    }

    /// Fails unless the page is of `kind` and belongs to `list`.
    pub fn expect_owned(&self, blkno: u32, kind: PageKind, list: u32) -> Result<()> {
        self.expect_kind(blkno, kind)?;
        if self.owner() == list {
            return Ok(());
        }
        Err(Error::corrupted(blkno, format_args!("the page belongs to list {}, not {list}", self.owner())))
    }

    /// The next page of the chain, or [`NO_BLOCK`].
    pub fn next(&self) -> u32 {
        self.u32_at(SPECIAL)
    }

    /// Links the next page of the chain.
    pub fn set_next(&mut self, blkno: u32) {
        self.bytes[SPECIAL..SPECIAL + 4].copy_from_slice(&blkno.to_ne_bytes());
    }

    /// The list (or 0) the page belongs to.
    pub fn owner(&self) -> u32 {
        self.u32_at(SPECIAL + 4)
    }

    /// Whether nothing needs the page, where owners less than `oldest` are lists that are no more in use. It
    /// must be known that nobody reads them.
    pub fn is_free(&self, oldest: u32) -> bool {
        match self.kind() {
            Some(PageKind::Meta) => false,
            Some(PageKind::Free) => true,
            Some(_) => self.owner() < oldest,
            None => self.bytes == [0; PAGE_SIZE],
        }
    }

    /// A 32-bit number whose meaning is the page kind's (e.g. rows used on an extended page).
    pub fn count(&self) -> u32 {
        self.u32_at(SPECIAL + 8)
    }

    /// Sets the kind's number, see [`Page::count`].
    pub fn set_count(&mut self, n: u32) {
        self.bytes[SPECIAL + 8..SPECIAL + 12].copy_from_slice(&n.to_ne_bytes());
    }

    /// The contents between header and special area.
    pub fn content(&self) -> &[u8; CONTENT_SIZE] {
        match self.bytes[HEADER_SIZE..SPECIAL].first_chunk() {
            Some(c) => c,
            None => unreachable!("the content area has a constant size"),
        }
    }

    /// The contents, to write.
    pub fn content_mut(&mut self) -> &mut [u8; CONTENT_SIZE] {
        match self.bytes[HEADER_SIZE..SPECIAL].first_chunk_mut() {
            Some(c) => c,
            None => unreachable!("the content area has a constant size"),
        }
    }

    /// All 8,192 bytes.
    pub fn bytes(&self) -> &[u8; PAGE_SIZE] {
        &self.bytes
    }

    /// All 8,192 bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE] {
        &mut self.bytes
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }
}
