//! Reading a list whose codes are strings of bits: what other codes bound, these give exactly.

use super::list_scan::{Candidate, Scanner, Sink, ahead_of};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::{bits, guard_circle};
use crate::kernel;
use crate::kernel::BLOCK_ROWS;
use crate::page::codes::BlockRef;
use crate::page::{NO_BLOCK, PageKind, Store};
use crate::quant::QueryCode;

/// Half the least difference of two values: added to a value it makes a threshold that rows of this value are
/// below.
const HALF: f32 = 0.5;
/// Fewer rows of a block than this are compared one by one.
const FEW: u32 = 8;

impl Scanner {
    /// As [`Scanner::list`], where `query` is a string of bits.
    pub(super) fn list_of_bits<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        list: u32,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let layout = &directory.codes;
        let (mut blkno, _) = directory.head(list);
        let mut steps = 0;
        self.stats.lists += 1;
        while blkno != NO_BLOCK {
            let next = {
                let page = store.read(blkno)?;
                page.expect_owned(blkno, PageKind::Codes, list)?;
                let next = page.next();
                let ahead = ahead_of(store, &page, if next == NO_BLOCK { self.after } else { Some(next) });
                for b in 0..layout.blocks() {
                    let view = layout.block(&page, b);
                    kernel::prefetch_ahead(view.factors(), ahead);
                    kernel::prefetch_ahead(view.codes(), ahead);
                    let all = view.live();
                    let live = self.filter.passing(layout, view, all);
                    self.stats.excluded += u64::from((all & !live).count_ones());
                    if live != 0 {
                        self.stats.codes += u64::from(live.count_ones());
                        compare(query.bits(), view, live, list, sink);
                    }
                }
                next
            };
            guard_circle(store, blkno, &mut steps)?;
            blkno = next;
        }
        Ok(())
    }
}

/// Gives `sink` the rows of a block that it may want.
fn compare(query: &[u8], block: BlockRef<'_>, live: u32, list: u32, sink: &mut impl Sink) {
    let mut counts = [0; BLOCK_ROWS];
    let codes = block.codes();
    if live.count_ones() < FEW {
        for slot in bits(live) {
            counts[slot] = kernel::hamming(query, &codes[slot * query.len()..][..query.len()]) as u32;
        }
    } else {
        kernel::hamming_rows(query, codes, &mut counts);
    }
    let threshold = sink.threshold();
    // Counts up to 2²⁴ are as exact as floats.
    let below = |(slot, count): (usize, &u32)| u32::from((*count as f32) < threshold) << slot;
    let wanted = counts.iter().enumerate().map(below).fold(0, |mask, bit| mask | bit);
    for slot in bits(wanted & live) {
        let value = counts[slot] as f32;
        // The threshold has come down since.
        if value < sink.threshold() {
            let tid = block.reference(slot);
            sink.push(list, Candidate { lower: value, upper: value + HALF, place: value, tid });
        }
    }
}
