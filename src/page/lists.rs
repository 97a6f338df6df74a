//! List state: where the pages of each list are. 32 bytes per list on consecutive pages.
//!
//! Readers need only the head, which the directory names; the rest belongs to inserts and maintenance.

use super::page::{CONTENT_SIZE, NO_BLOCK, Page};

/// Bytes of one list's state.
pub const LIST_SIZE: usize = 32;
/// List states on a page.
pub const LISTS_PER_PAGE: u32 = (CONTENT_SIZE / LIST_SIZE) as u32;

/// One list's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListState {
    /// The list's first codes page, unless it has `moved`. Then it is a page that was it once.
    pub head: u32,
    /// Inserts begin at this page, because the pages before it in the chain are full.
    pub insert: u32,
    /// The extended page that takes new records, or [`NO_BLOCK`].
    pub extended: u32,
    /// Rows as counted by the last build or vacuum.
    pub rows: u32,
    /// Consecutive pages from `head` on that the build wrote for this list (codes pages only).
    pub contiguous: u32,
    /// `rows` at the last calibration, plus 1; 0 if not known; [`KEPT`] if VACUUM must not calibrate the
    /// index.
    pub calibrated: u32,
    /// In a list that took the place of others, or was moved, the first codes page of the rows that it took
    /// over. It counts once the directory names it as the list's head. Else [`NO_BLOCK`].
    pub moved: u32,
    /// The last extended page of these rows, or [`NO_BLOCK`].
    pub moved_extended: u32,
}

impl ListState {
    /// The first codes page of the list's chain.
    pub fn first(&self) -> u32 {
        if self.moved == NO_BLOCK { self.head } else { self.moved }
    }
}

/// See [`ListState::calibrated`].
pub const KEPT: u32 = u32::MAX;

impl Default for ListState {
    fn default() -> Self {
        Self {
            head: NO_BLOCK,
            insert: NO_BLOCK,
            extended: NO_BLOCK,
            rows: 0,
            contiguous: 0,
            calibrated: 0,
            moved: NO_BLOCK,
            moved_extended: NO_BLOCK,
        }
    }
}

/// The page (relative to the first) and index on it of a list's state.
pub fn position(list: u32) -> (u32, usize) {
    (list / LISTS_PER_PAGE, (list % LISTS_PER_PAGE) as usize)
}

/// Reads the state at `index` of a list state page.
pub fn read(page: &Page, index: usize) -> ListState {
    let b = &page.content()[index * LIST_SIZE..][..LIST_SIZE];
    let known = |blkno| if blkno == 0 { NO_BLOCK } else { blkno };
    let word = |i: usize| u32::from_le_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]]);
    ListState {
        head: word(0),
        insert: word(1),
        extended: word(2),
        rows: word(3),
        contiguous: word(4),
        calibrated: word(5),
        moved: known(word(6)),
        moved_extended: known(word(7)),
    }
}

/// Writes the state at `index` of a list state page.
pub fn write(page: &mut Page, index: usize, state: &ListState) {
    let out = &mut page.content_mut()[index * LIST_SIZE..][..LIST_SIZE];
    // Block 0 is none here, as in formats that had no such fields.
    let stored = |blkno| if blkno == NO_BLOCK { 0 } else { blkno };
    let ListState { head, insert, extended, rows, contiguous, calibrated, .. } = *state;
    let moved = [state.moved, state.moved_extended].map(stored);
    let words = [head, insert, extended, rows, contiguous, calibrated, moved[0], moved[1]];
    for (o, w) in out.chunks_exact_mut(4).zip(words) {
        o.copy_from_slice(&w.to_le_bytes());
    }
}
