//! Reading one list: one-bit bounds for every code, further bits for the survivors.

use std::cell::OnceCell;

use super::filter::Filter;
use crate::error::{Error, Result};
use crate::ivf::directory::Directory;
use crate::ivf::list_chain::ListChain;
use crate::kernel;
use crate::kernel::BLOCK_ROWS;
use crate::memory::Grow;
use crate::page::codes::{BlockRef, Layout, slots};
use crate::page::{Page, PageKind, RecordRef, Store, Tid};
use crate::quant::{ListTerms, QueryCode, Stage1, Width};
use crate::value::Metric;

/// A row that may be among the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Lower bound of the row's value.
    pub lower: f32,
    /// Upper bound of the row's value.
    pub upper: f32,
    /// The greater of the row's two lower bounds: with a threshold up to this it is no candidate.
    pub place: f32,
    /// Its heap address.
    pub tid: Tid,
}

/// Receives candidates, and says from which bound on they are not wanted.
pub trait Sink {
    /// Rows whose lower bound is not below this are not wanted.
    fn threshold(&self) -> f32;
    /// A row of `list` that may be wanted.
    fn push(&mut self, list: u32, candidate: Candidate);
}

/// Counters of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lists read (again in every round).
    pub lists: u64,
    /// Lists skipped, because their summaries show that no row passes.
    pub skipped: u64,
    /// One-bit codes compared.
    pub codes: u64,
    /// Rows that filter columns excluded before their codes were compared.
    pub excluded: u64,
    /// Extended records evaluated.
    pub extended: u64,
    /// Rows fetched from the heap.
    pub rows: u64,
    /// Largest number of candidates and rows kept at the same time.
    pub kept: u64,
    /// Rounds of reading lists.
    pub rounds: u64,
}

impl std::ops::Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lists: self.lists + other.lists,
            skipped: self.skipped + other.skipped,
            codes: self.codes + other.codes,
            excluded: self.excluded + other.excluded,
            extended: self.extended + other.extended,
            rows: self.rows + other.rows,
            kept: self.kept + other.kept,
            rounds: self.rounds + other.rounds,
        }
    }
}

#[derive(Clone, Copy)]
struct Survivor {
    bound: f32,
    sum: u32,
    reference: RecordRef,
}

/// A row whose record was not read yet.
#[derive(Clone, Copy)]
pub struct Unrefined {
    /// Its list.
    pub list: u32,
    survivor: Survivor,
}

/// Memory for reading lists.
#[derive(Default)]
pub struct Scanner {
    survivors: Vec<Survivor>,
    /// Memory for the codes of a plain block.
    packed: Vec<u8>,
    /// If it is not `None`, survivors are put here, and their records are not read.
    pub unrefined: Option<Vec<Unrefined>>,
    /// What is kept of a block whose codes continue on further pages.
    split: Vec<Split>,
    /// Conditions on the filter columns.
    pub filter: Filter,
    /// The page that will be read after the next list, if it is known.
    pub after: Option<u32>,
    /// Counters.
    pub stats: Stats,
}

struct Split {
    live: u32,
    add: [u8; 64],
    rescale: [u8; 64],
    sums: [u32; BLOCK_ROWS],
    references: [RecordRef; BLOCK_ROWS],
    more: Vec<u32>,
}

impl Split {
    /// A block of which only the first page has been summed.
    fn of(layout: &Layout, view: BlockRef<'_>, live: u32, sums: [u32; BLOCK_ROWS]) -> Self {
        Self {
            live,
            add: *view.add(),
            rescale: *view.rescale(),
            sums,
            references: std::array::from_fn(|s| view.reference(s)),
            more: (0..layout.more()).map(|i| view.more(i)).collect(),
        }
    }
}

impl Scanner {
    /// Reads a list and passes rows that may be wanted to `sink`.
    pub fn list<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (list, terms, width): (u32, &dyn Fn() -> ListTerms, Width),
        sink: &mut impl Sink,
    ) -> Result<()> {
        match directory.metric() {
            Metric::Hamming | Metric::Jaccard => self.list_of_bits(store, directory, query, list, sink),
            _ if directory.deviates() => {
                self.list_of_deviating(store, directory, query, (list, terms, width), sink)
            }
            _ => self.list_of_codes(store, directory, query, (list, terms, width), sink),
        }
    }

    /// As [`Scanner::list`], for an index whose codes bound the values.
    pub(super) fn list_of_codes<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (list, terms, width): (u32, &dyn Fn() -> ListTerms, Width),
        sink: &mut impl Sink,
    ) -> Result<()> {
        let layout = &directory.codes;
        let filtered = !self.filter.is_empty();
        // Lists without a passing row do not need them.
        let prepared = OnceCell::new();
        let prepare = || {
            let mut terms = terms();
            if width.sound {
                terms.outside = directory.outside(query, list, terms.gap);
            }
            (terms, query.stage1(&directory.codec, terms, width))
        };
        let mut chain = ListChain::new(directory, list);
        self.stats.lists += 1;
        while let Some((_, page)) = chain.next(store)? {
            let ahead = ahead_of(store, &page, chain.upcoming().or(self.after));
            for block in layout.blocks_on(&page) {
                prefetch_block(layout, block, filtered, ahead);
                if query.elements.is_some() {
                    // Sketches exclude fewer rows: nearly all blocks have one that is refined.
                    kernel::prefetch_ahead(block.references(), ahead);
                }
                let live = self.passing(layout, block);
                if live == 0 {
                    continue;
                }
                let mut sums = [0; BLOCK_ROWS];
                let codes = block.groups(&mut self.packed);
                let ahead = ahead_of_packed(ahead, block, codes);
                kernel::scan_block(&query.lut()[..codes.len()], codes, ahead, &mut sums);
                if layout.more() > 0 {
                    self.split.push(Split::of(layout, block, live, sums));
                    continue;
                }
                let (_, stage) = prepared.get_or_init(prepare);
                let survivors = &mut self.survivors;
                let factors = (block.add(), block.rescale());
                keep(stage, live, factors, &sums, sink.threshold(), |slot, bound| {
                    let reference = block.reference(slot);
                    prefetch_record(store, directory, reference);
                    survivors.push(Survivor { bound, sum: sums[slot], reference });
                });
            }
            drop(page);
            if !self.split.is_empty() {
                let (_, stage) = prepared.get_or_init(prepare);
                self.finish_split(store, directory, query, (list, stage), sink)?;
            }
            if self.survivors.is_empty() {
                continue;
            }
            if let Some(unrefined) = &mut self.unrefined {
                unrefined.grow(self.survivors.len())?;
                unrefined.extend(self.survivors.drain(..).map(|survivor| Unrefined { list, survivor }));
                continue;
            }
            let (terms, _) = prepared.get_or_init(prepare);
            self.refine(store, directory, query, (list, *terms, width), sink)?;
        }
        Ok(())
    }

    /// Passes those of some rows, all of one list, that may be wanted to `sink`.
    ///
    /// # Errors
    /// Damage, and the store's errors.
    pub fn refine_later<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (rows, mut terms, width): (&[Unrefined], ListTerms, Width),
        sink: &mut impl Sink,
    ) -> Result<()> {
        let Some(list) = rows.first().map(|row| row.list) else { return Ok(()) };
        if width.sound {
            terms.outside = directory.outside(query, list, terms.gap);
        }
        self.survivors.grow(rows.len())?;
        self.survivors.extend(rows.iter().map(|row| row.survivor));
        self.refine(store, directory, query, (list, terms, width), sink)
    }

    /// Returns the live rows of a block that pass the filter, and counts them.
    #[inline(always)]
    pub(super) fn passing(&mut self, layout: &Layout, block: BlockRef<'_>) -> u32 {
        let all = block.live();
        let live = self.filter.passing(layout, block, all);
        self.stats.excluded += u64::from((all & !live).count_ones());
        self.stats.codes += u64::from(live.count_ones());
        live
    }

    /// Adds the sums of the further pages of a large block.
    fn finish_split<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (list, stage): (u32, &Stage1),
        sink: &impl Sink,
    ) -> Result<()> {
        let layout = &directory.codes;
        for mut split in self.split.drain(..) {
            for (i, &blkno) in split.more.iter().enumerate() {
                let page = store.read(blkno)?;
                page.expect_owned(blkno, PageKind::CodesMore, directory.owner(list))?;
                let (first, end) = layout.more_groups(i);
                let codes = layout.more_codes(&page, i);
                let ahead = ahead_of(store, &page, split.more.get(i + 1).copied());
                kernel::scan_block(&query.lut()[16 * first..16 * end], codes, ahead, &mut split.sums);
            }
            let survivors = &mut self.survivors;
            let factors = (&split.add, &split.rescale);
            keep(stage, split.live, factors, &split.sums, sink.threshold(), |slot, bound| {
                survivors.push(Survivor { bound, sum: split.sums[slot], reference: split.references[slot] });
            });
        }
        Ok(())
    }

    /// Evaluates the extended records of the survivors of a page.
    fn refine<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (list, terms, width): (u32, ListTerms, Width),
        sink: &mut impl Sink,
    ) -> Result<()> {
        let Some(layout) = directory.extended else {
            for s in self.survivors.drain(..) {
                // With one bit there is no better estimate, so the upper bound is as far above the estimate
                // as the lower bound is below it.
                let candidate =
                    Candidate { lower: s.bound, upper: f32::INFINITY, place: s.bound, tid: s.reference };
                sink.push(list, candidate);
            }
            return Ok(());
        };
        // Records are written in the order of slots, so neighbouring slots have records on the same page,
        // which is read once.
        let mut held: Option<(u32, S::Read<'_>)> = None;
        for s in self.survivors.drain(..) {
            // The threshold may have fallen since the block was compared.
            if s.bound >= sink.threshold() {
                continue;
            }
            let blkno = s.reference.blkno;
            let page = match held.take() {
                Some((at, page)) if at == blkno => page,
                other => {
                    drop(other);
                    let page = store.read(blkno)?;
                    page.expect_owned(blkno, PageKind::Extended, directory.owner(list))?;
                    page
                }
            };
            let (_, page) = held.insert((blkno, page));
            let index = usize::from(s.reference.offset);
            if index >= layout.per_page() || index as u32 >= page.count() {
                return Err(Error::corrupted(blkno, "a slot refers to a record that does not exist"));
            }
            let (tid, record) = layout.record(page, index);
            self.stats.extended += 1;
            if let Some(elements) = &query.elements {
                let (lower, upper) = elements.bounds(record);
                sink.push(list, Candidate { lower, upper, place: s.bound, tid });
                continue;
            }
            let (estimate, margin) = query.extended(&directory.codec, record, s.sum, terms, width);
            let (mut lower, mut upper) = (estimate - margin, estimate + margin);
            if !lower.is_finite() || !upper.is_finite() {
                (lower, upper) = (f32::NEG_INFINITY, f32::INFINITY);
            }
            if lower < sink.threshold() {
                sink.push(list, Candidate { lower, upper, place: lower.max(s.bound), tid });
            }
        }
        Ok(())
    }
}

/// Byte offset in memory (wrapping) from `page` to the page that will be read next; 0 if that page or its
/// address is not known. Its bytes are prefetched while the kernel works at the same offset of `page`.
/// Prefetching all of them at once would delay that work until most of them have arrived.
pub(super) fn ahead_of<S: Store>(store: &S, page: &Page, next: Option<u32>) -> usize {
    next.map_or(0, |next| {
        store.prefetch_bytes(next, 0..0);
        store.ahead(page, next)
    })
}

/// The same offset from the codes of a block, which may be in memory of their own.
#[inline(always)]
fn ahead_of_packed(ahead: usize, block: BlockRef<'_>, codes: &[u8]) -> usize {
    ahead.wrapping_add(block.codes().as_ptr().addr()).wrapping_sub(codes.as_ptr().addr())
}

/// Prefetches the bytes of the next page at the offsets of a block's beginning, and of its keys if they are
/// tested.
#[inline(always)]
fn prefetch_block(layout: &Layout, block: BlockRef<'_>, keys: bool, ahead: usize) {
    kernel::prefetch_ahead(block.factors(), ahead);
    if keys {
        kernel::prefetch_ahead(layout.all_keys(block), ahead);
    }
}

/// Prefetches a survivor's extended record, if the index has records.
#[inline(always)]
fn prefetch_record<S: Store>(store: &S, directory: &Directory, reference: RecordRef) {
    if let Some(layout) = directory.extended {
        store.prefetch_bytes(reference.blkno, layout.range(usize::from(reference.offset)));
    }
}

fn keep(
    stage: &Stage1,
    live: u32,
    (add, rescale): (&[u8; 64], &[u8; 64]),
    sums: &[u32; BLOCK_ROWS],
    threshold: f32,
    mut survivor: impl FnMut(usize, f32),
) {
    let mut bounds = [0.0; BLOCK_ROWS];
    let mask = kernel::lower_bounds(
        sums,
        add,
        rescale,
        stage.scale,
        stage.shift,
        stage.base,
        threshold,
        &mut bounds,
    );
    for slot in slots(mask & live) {
        // The bound is NaN if values are too large for the factors. Such a row is always refined.
        let bound = if bounds[slot].is_nan() { f32::NEG_INFINITY } else { bounds[slot] };
        survivor(slot, bound);
    }
}
