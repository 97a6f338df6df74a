//! Reading a list of bit strings. Their codes give exact values where other codes give bounds. (For Jaccard
//! distance of very long strings they give narrow bounds.)

use super::list_scan::{Candidate, Scanner, Sink, ahead_of};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::ListChain;
use crate::kernel;
use crate::kernel::BLOCK_ROWS;
use crate::page::Store;
use crate::page::codes::{BlockRef, slots};
use crate::quant::QueryCode;
use crate::value::{Metric, jaccard};

/// Half the least difference of two values. A value plus this is a threshold below which rows of this value
/// are.
const HALF: f32 = 0.5;
/// If fewer rows of a block than this are wanted, they are compared one by one, which takes less time than
/// comparing all 32 together.
const FEW: u32 = 8;

impl Scanner {
    /// As [`Scanner::list`], for an index over bit strings; `query` is a bit string.
    pub(super) fn list_of_bits<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        list: u32,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let layout = &directory.codes;
        let compare = match directory.metric() {
            Metric::Jaccard => compare_jaccard,
            _ => compare_hamming,
        };
        let mut chain = ListChain::new(directory, list);
        self.stats.lists += 1;
        while let Some((_, page)) = chain.next(store)? {
            let ahead = ahead_of(store, &page, chain.upcoming().or(self.after));
            for block in layout.blocks_on(&page) {
                kernel::prefetch_ahead(block.factors(), ahead);
                kernel::prefetch_ahead(block.codes(), ahead);
                let live = self.passing(layout, block);
                if live != 0 {
                    compare(query.bits(), block, live, list, sink);
                }
            }
        }
        Ok(())
    }
}

/// Passes the rows of a block that may be wanted to `sink`.
fn compare_hamming(query: &[u8], block: BlockRef<'_>, live: u32, list: u32, sink: &mut impl Sink) {
    let mut counts = [0; BLOCK_ROWS];
    let codes = block.codes();
    if live.count_ones() < FEW {
        for slot in slots(live) {
            counts[slot] = kernel::hamming(query, &codes[slot * query.len()..][..query.len()]) as u32;
        }
    } else {
        kernel::hamming_rows(query, codes, &mut counts);
    }
    let threshold = sink.threshold();
    // Counts up to 2²⁴ are exact as floats.
    let below = |(slot, count): (usize, &u32)| u32::from((*count as f32) < threshold) << slot;
    let wanted = counts.iter().enumerate().map(below).fold(0, |mask, bit| mask | bit);
    for slot in slots(wanted & live) {
        let value = counts[slot] as f32;
        // The threshold may have fallen since the comparison.
        if value < sink.threshold() {
            let tid = block.reference(slot);
            sink.push(list, Candidate { lower: value, upper: value + HALF, place: value, tid });
        }
    }
}

/// As [`compare_hamming`]. The bounds are keys of Jaccard distances; see `value/jaccard.rs`.
fn compare_jaccard(query: &[u8], block: BlockRef<'_>, live: u32, list: u32, sink: &mut impl Sink) {
    let codes = block.codes();
    let (mut both, mut differ) = ([0; BLOCK_ROWS], [0; BLOCK_ROWS]);
    let mut wanted = live;
    if live.count_ones() < FEW {
        for slot in slots(live) {
            let (common, either) = kernel::common_bits(query, &codes[slot * query.len()..][..query.len()]);
            (both[slot], differ[slot]) = (common as u32, (either - common) as u32);
        }
    } else {
        // A bit that is set in at least one of two strings is common or differs. So the kernels that count
        // for 32 rows give both numbers, and only rows that are near take a division.
        kernel::common_rows(query, codes, &mut both);
        kernel::hamming_rows(query, codes, &mut differ);
        wanted &= jaccard::near(sink.threshold(), &both, &differ);
    }
    let is_exact = jaccard::is_exact(8 * query.len());
    for slot in slots(wanted) {
        let (common, either) = (u64::from(both[slot]), u64::from(both[slot] + differ[slot]));
        let key = jaccard::key(jaccard::distance(common, either));
        // A key that was rounded is only near the value.
        let (lower, upper) = (if is_exact { key } else { key.next_down() }, key.next_up());
        if lower < sink.threshold() {
            sink.push(list, Candidate { lower, upper, place: lower, tid: block.reference(slot) });
        }
    }
}
