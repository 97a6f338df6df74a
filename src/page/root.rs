//! The meta page: the lists of the index, those that are to take their place, and what went before.

use super::meta::{META_BLOCK, Meta, VERSION};
use super::page::{Page, PageKind};
use crate::error::{Error, Result};

/// Where the fields of format 5 begin: behind those of the lists.
const STATE: usize = 395;
const HAS_NEXT: usize = STATE + 12;
/// Where the description of the next lists begins.
const NEXT: usize = 1024;
/// Where the time of the last replacement lies.
const REPLACED: usize = HAS_NEXT + 1;
/// Where the length of a file lies that cannot become shorter.
const UNMOVED: usize = REPLACED + 8;
/// Where the number of changes lies, as [`Meta::generation`].
const GENERATION: usize = 32;

/// The decoded meta page.
///
/// All lists are replaced together (`ivf/renew`). While they are, the index has two sets: inserted rows go to
/// the next set, and scans read both.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// The lists in use.
    pub current: Meta,
    /// The lists that take their place, if that is under way.
    pub next: Option<Meta>,
    /// The transaction that was next when the lists in use became that: who began before may read the pages
    /// of earlier lists. 0 if there are none, [`UNREAD`] if nobody reads them.
    pub retired: u64,
    /// Pages that were free when a vacuum last looked.
    pub free: u32,
    /// When the lists last took the place of others, in seconds since 1970; 0 if they are those of the build.
    pub replaced: u64,
    /// Pages that the file had, without free ones at its end, when lists could not be moved to free pages; 0
    /// if they could.
    pub unmoved: u32,
}

/// For [`Root::retired`]: nobody reads the pages of earlier lists any more, and they are not free yet. (No
/// transaction has this number.)
pub const UNREAD: u64 = 1;

/// For [`Root::retired`]: pages are still leaving the lists. If maintenance ends here by an error, the next
/// one knows that whoever began before it may read them. (No transaction has this number.)
pub const LEAVING: u64 = u64::MAX;

impl Root {
    /// An index with these lists alone.
    pub fn of(current: Meta) -> Self {
        Self { current, next: None, retired: 0, free: 0, replaced: 0, unmoved: 0 }
    }

    /// The format of the index.
    pub fn version(&self) -> u16 {
        if self.next.is_some() || self.retired > 0 { VERSION } else { self.current.version() }
    }

    /// The number of changes of the lists, read from a meta page.
    pub fn generation_on(page: &Page) -> u32 {
        let bytes = page.content();
        u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[GENERATION + i]))
    }

    /// The number of the next change of the lists.
    pub fn next_generation(&self) -> u32 {
        self.current.generation.wrapping_add(1)
    }

    /// Writes the meta page.
    pub fn write(&self, page: &mut Page) {
        page.init(PageKind::Meta, 0);
        let content = page.content_mut();
        let mut put = |at: usize, bytes: &[u8]| content[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.current.encode(self.version()));
        put(STATE, &self.retired.to_le_bytes());
        put(STATE + 8, &self.free.to_le_bytes());
        put(REPLACED, &self.replaced.to_le_bytes());
        put(UNMOVED, &self.unmoved.to_le_bytes());
        if let Some(next) = &self.next {
            put(HAS_NEXT, &[1]);
            put(NEXT, &next.encode(VERSION));
        }
    }

    /// Reads the meta page; an unknown format and nonsense are errors.
    ///
    /// # Errors
    /// Damage, or a format that is not read.
    pub fn read(page: &Page) -> Result<Self> {
        page.expect_kind(META_BLOCK, PageKind::Meta)?;
        let content = page.content();
        let current = Meta::decode(content)?;
        let next = match content[HAS_NEXT] {
            0 => None,
            1 => Some(Meta::decode(&content[NEXT..])?),
            _ => {
                return Err(Error::corrupted(META_BLOCK, "it is not clear whether lists are being replaced"));
            }
        };
        let number = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| content[at + i]));
        let short = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| content[at + i]));
        let (retired, replaced) = (number(STATE), number(REPLACED));
        let (free, unmoved) = (short(STATE + 8), short(UNMOVED));
        let root = Self { current, next, retired, free, replaced, unmoved };
        root.validate()?;
        Ok(root)
    }

    fn validate(&self) -> Result<()> {
        let Some(next) = &self.next else { return Ok(()) };
        let Meta { metric, dims, columns, sketch, first_list, lists, generation, .. } = &self.current;
        let alike =
            (metric, dims, columns) == (&next.metric, &next.dims, &next.columns) && sketch.is_as(next.sketch);
        if !alike || next.first_list < first_list + lists || next.generation != *generation || !next.ready {
            return Err(Error::corrupted(META_BLOCK, "the lists and those that replace them do not agree"));
        }
        Ok(())
    }
}
