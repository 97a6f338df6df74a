//! Extended pages: records of `heap tid, factors, further bits`, reached only by survivors of the first
//! stage.
//!
//! All records of an index have the same size. A page's count (special area) says how many of its records are
//! in use. The extended pages of a list are chained by `next`, from the newest to the oldest.

use std::ops::Range;

use super::page::{CONTENT_SIZE, HEADER_SIZE, Page};
use super::tid::{TID_SIZE, Tid};

/// The layout of a page for records of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    record: usize,
}

impl Layout {
    /// The layout for records with `extended` bytes of factors and codes; `None` when there are no records
    /// (one bit per dimension) .
    pub fn new(extended: usize) -> Option<Self> {
        (extended > 0).then_some(Self { record: TID_SIZE + extended })
    }

    /// Records on a page; zero when a record does not fit.
    pub fn per_page(&self) -> usize {
        CONTENT_SIZE / self.record
    }

    /// Bytes of a record.
    pub fn record_size(&self) -> usize {
        self.record
    }

    /// The bytes of its page that record number `index` takes.
    pub fn range(&self, index: usize) -> Range<usize> {
        let start = HEADER_SIZE + index * self.record;
        start..start + self.record
    }

    /// The record number `index`: its heap address, factors and codes.
    pub fn record<'a>(&self, page: &'a Page, index: usize) -> (Tid, &'a [u8]) {
        let bytes = &page.content()[index * self.record..][..self.record];
        match bytes.split_first_chunk() {
            Some((tid, rest)) => (Tid::from_bytes(tid), rest),
            None => unreachable!("a record is larger than its address"),
        }
    }

    /// The bytes of record number `index`, to write.
    pub fn record_mut<'a>(&self, page: &'a mut Page, index: usize) -> &'a mut [u8] {
        &mut page.content_mut()[index * self.record..][..self.record]
    }
}
