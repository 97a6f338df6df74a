//! Reconstructs rows of an index from their codes, as queries for a calibration that does not read the table.

use super::asking::Asking;
use crate::error::Result;
use crate::ivf::code::to_point;
use crate::ivf::directory::Directory;
use crate::ivf::elements::read_sketch;
use crate::ivf::list_chain::{self, Addresses};
use crate::ivf::plain;
use crate::memory::{self, Grow};
use crate::page::codes::BlockRef;
use crate::page::{PageKind, Store, lists};
use crate::quant::pack;
use crate::random::SplitMix64;
use crate::value::Metric;
use crate::value::bits::Bits;

/// Returns about `want` random rows of the index, as queries. There are fewer if some codes are unusable.
/// `rows` has the number of rows of each list.
///
/// # Errors
/// Damage, and the store's and `tick`'s errors.
pub fn rows<S: Store>(
    store: &S,
    directory: &Directory,
    rows: &[u32],
    (want, seed): (usize, u64),
    tick: &dyn Fn() -> Result<()>,
) -> Result<Asking> {
    let total = rows.iter().map(|&r| r as usize).sum();
    let mut random = SplitMix64(seed);
    let mut picks = memory::collected((0..want.min(total)).map(|_| random.below(total)))?;
    picks.sort_unstable();
    picks.dedup();
    let mut picks = picks.into_iter().peekable();
    let mut reader = Reader::new(store, directory);
    let mut first = 0;
    for (list, &count) in rows.iter().enumerate() {
        let list = list as u32;
        let end = first + count as usize;
        if picks.peek().is_some_and(|&pick| pick < end) {
            let mut at = first;
            list_chain::codes_pages(store, directory, list, |_, page| {
                // Rows are inserted at the same time, so a record may be newer than the copy of the codes
                // page.
                reader.records.forget();
                for (block, slot) in directory.codes.live_slots(page) {
                    if picks.next_if(|&pick| pick <= at && at < end).is_some() {
                        reader.read(list, block, slot)?;
                    }
                    at += 1;
                }
                tick()
            })?;
        }
        // The list may hold fewer rows by now.
        while picks.next_if(|&pick| pick < end).is_some() {}
        first = end;
    }
    Ok(Asking { points: reader.points, records: reader.of_elements })
}

struct Reader<'a, S: Store> {
    store: &'a S,
    directory: &'a Directory,
    records: Addresses<'a, S>,
    signs: Vec<u8>,
    unit: Vec<f32>,
    coordinates: Vec<f32>,
    points: Vec<f32>,
    /// The extended records of these rows, if records have elements.
    of_elements: Vec<u8>,
}

impl<'a, S: Store> Reader<'a, S> {
    fn new(store: &'a S, directory: &'a Directory) -> Self {
        Self {
            store,
            directory,
            records: Addresses::new(store, directory),
            signs: vec![0; directory.codec.sign_bytes()],
            unit: vec![0.0; directory.dims()],
            coordinates: Vec::new(),
            points: Vec::new(),
            of_elements: Vec::new(),
        }
    }

    /// Adds the row in a slot to the points.
    fn read(&mut self, list: u32, block: BlockRef<'_>, slot: usize) -> Result<()> {
        let codec = &self.directory.codec;
        let before = self.points.len();
        self.points.try_resize(before + self.directory.padded(), 0.0)?;
        let known = if codec.is_exact() {
            let bytes = &block.codes()[slot * codec.sign_bytes()..][..codec.sign_bytes()];
            let string = Bits { length: self.directory.dims(), bytes };
            let vector = string.coordinates(&mut self.coordinates);
            to_point(self.directory, vector, &mut self.unit, &mut self.points[before..])
        } else if codec.has_elements() {
            let (_, record) = self.records.record(list, block.reference(slot))?;
            let known = read_sketch(self.directory, record, &mut self.unit);
            if known {
                self.directory.transform(&self.unit, &mut self.points[before..]);
                self.of_elements.try_extend(record)?;
            }
            known
        } else {
            self.read_signs(list, block, slot)?;
            let (_, extended) = self.records.record(list, block.reference(slot))?;
            let product = self.directory.metric() == Metric::InnerProduct;
            let point = &mut self.points[before..];
            let known = codec.decode(product, &self.signs, extended, point);
            let (centroid, scale) = self.directory.centroid(list);
            for (p, c) in point.iter_mut().zip(centroid) {
                *p += f32::from(*c) * scale;
            }
            known
        };
        if !known {
            self.points.truncate(before);
        }
        Ok(())
    }

    /// Reads the sign bits of a slot, on all pages of its block.
    fn read_signs(&mut self, list: u32, block: BlockRef<'_>, slot: usize) -> Result<()> {
        let layout = &self.directory.codes;
        plain::read(block, slot, &mut self.signs);
        for i in 0..layout.more() {
            let number = block.more(i);
            let page = self.store.read(number)?;
            page.expect_owned(number, PageKind::CodesMore, self.directory.owner(list))?;
            let (first, _) = layout.more_groups(i);
            pack::read_signs(layout.more_codes(&page, i), first, slot, &mut self.signs);
        }
        Ok(())
    }
}

/// The rows of each list as the last build or vacuum counted them.
///
/// # Errors
/// Damage, and the store's errors.
pub fn counted<S: Store>(store: &S, directory: &Directory) -> Result<Vec<lists::ListState>> {
    let mut states = memory::with_capacity(directory.lists() as usize)?;
    for list in 0..directory.lists() {
        let (blkno, index) = directory.state_position(list);
        let page = store.read(blkno)?;
        page.expect_kind(blkno, PageKind::Lists)?;
        states.push(lists::read(&page, index));
    }
    Ok(states)
}
