//! Block 0: what the index is. All numbers little-endian, at fixed offsets of the page's contents.

use super::columns::{Columns, MAX_COLUMNS};
use super::page::NO_BLOCK;
use crate::error::{Error, Kind, REINDEX, Result};
use crate::value::{Metric, sparse, tokens};

/// First four bytes of the contents of block 0.
pub const MAGIC: u32 = 0x3146_5649;
/// The newest format, which new indexes have, and those whose lists were replaced or are being replaced.
pub const VERSION: u16 = 5;
/// The format of an index with filter columns, whose lists have summaries of them.
const SUMMARIES_VERSION: u16 = 4;
/// The format of an index over strings of bits without filter columns: its codes are the strings themselves.
const BITS_VERSION: u16 = 3;
/// The format of an index over vectors with filter columns but without summaries, as written by version
/// 0.1.0.
const COLUMNS_VERSION: u16 = 2;
/// The oldest format this code reads: that of an index over vectors without filter columns.
pub const MIN_VERSION: u16 = 1;
/// The block of the meta page.
pub const META_BLOCK: u32 = 0;

/// Recall targets of the calibration table, ascending; see `ivf/calibrate/mod.rs`.
pub const TARGETS: [f32; 12] = [0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995];

/// Numbers of nearest rows for which the calibration measures the lists.
pub const LEVELS: [u32; 3] = [10, 100, 1000];
/// And those between the last two of them.
pub const BETWEEN: [u32; 2] = [215, 464];
/// Offset in the page's contents of the tables for [`BETWEEN`].
const BETWEEN_AT: usize = 700;
/// Offset in the page's contents of the tables of [`Onward`].
const ONWARD_AT: usize = 800;
/// Offset in the page's contents of [`Deviation`].
const DEVIATION_AT: usize = 944;
/// Offset in the page's contents of [`SketchOf`].
const SKETCH_AT: usize = 952;
/// Offset in the page's contents of [`Leading`].
const LEADING_AT: usize = 1000;
/// Offset in the page's contents of [`Meta::may_be_plain`].
const PLAIN_AT: usize = LEADING_AT + 16;
/// Bytes of a table with a number for each of [`TARGETS`].
const TABLE: usize = size_of::<f32>() * TARGETS.len();
/// [`LEVELS`] and [`BETWEEN`] together, ascending.
pub const MEASURED: [u32; 5] = [LEVELS[0], LEVELS[1], BETWEEN[0], BETWEEN[1], LEVELS[2]];

/// Which lists far queries read: queries that are farther from the rows than the calibration's; see
/// `ivf/calibrate/farther.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Farther {
    /// For each of [`TARGETS`], a query is far if its distance from the rows is greater than this; see
    /// `Router::distance`.
    pub beyond: [f32; TARGETS.len()],
    /// For each of [`TARGETS`], the excess up to which a far query reads lists (see `Router::count_within`).
    /// All are zero if not measured, as in every index of an earlier version.
    pub excesses: [f32; TARGETS.len()],
}

impl Farther {
    /// Whether it was measured.
    pub fn is_known(&self) -> bool {
        self.excesses.iter().any(|&excess| excess > 0.0)
    }

    fn read(mut next: impl FnMut() -> f32) -> Self {
        let beyond = std::array::from_fn(|_| next());
        Self { beyond, excesses: std::array::from_fn(|_| next()) }
    }

    fn numbers(&self) -> impl Iterator<Item = f32> {
        self.beyond.into_iter().chain(self.excesses)
    }
}

/// When a scan reads on for what it has found; see `ivf/calibrate/onward.rs`. Each table has a number for
/// each of [`TARGETS`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Onward {
    /// The share of the usual lists for ten rows that is read in any case. All are zero if not measured, as
    /// in every index of an earlier version.
    pub shares: [f32; TARGETS.len()],
    /// A scan reads on only while its tenth row is farther than this; see `Found::distance`.
    pub beyond: [f32; TARGETS.len()],
    /// A scan reads on only while the next list's excess is at most this; see `Found::limit`.
    pub excesses: [f32; TARGETS.len()],
}

impl Onward {
    /// Whether it was measured.
    pub fn is_known(&self) -> bool {
        self.shares.iter().all(|&share| share > 0.0)
    }

    fn read(bytes: &[u8]) -> Self {
        let [shares, beyond, excesses] = [0, 1, 2].map(|i| floats(bytes, ONWARD_AT + TABLE * i));
        Self { shares, beyond, excesses }
    }

    fn is_valid(&self) -> bool {
        let mut numbers = self.beyond.iter().chain(&self.excesses);
        self.shares.iter().all(|share| (0.0..=1.0).contains(share)) && numbers.all(|x| x.is_finite())
    }
}

/// How an operator's values deviate from what codes say of them, if they do; see `ivf/deviation.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// The average quotient of value and distance of codes. Zero if it was not measured.
    pub mean: f32,
    /// The quotients' standard deviation, divided by their mean. In an index over sketches by inner product:
    /// that of the difference, for a query of length one.
    pub spread: f32,
}

impl Deviation {
    fn read(bytes: &[u8]) -> Self {
        let [mean, spread, ..] = floats(bytes, DEVIATION_AT);
        Self { mean, spread }
    }

    fn is_valid(&self) -> bool {
        self.mean.is_finite() && self.mean >= 0.0 && self.spread.is_finite() && self.spread >= 0.0
    }
}

/// The most elements of a sparse vector that an extended record has: with so many, two records fit a page.
pub const MOST_ELEMENTS: u32 = 1024;

/// What sketches are made of, in an index over sparse vectors or arrays of vectors; see `ivf/sketch.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SketchOf {
    /// Dimensions of the sparse vectors, or of the vectors of the sets: these are less than the coordinates.
    /// Zero in an index over other values.
    pub dims: u32,
    /// Seed of the hash, or of the directions, that make a sketch.
    pub seed: u64,
    /// Elements of a sparse vector that an extended record has. Zero if records have codes.
    pub elements: u32,
}

impl SketchOf {
    fn read(bytes: &[u8]) -> Self {
        let mut at = Fields { bytes, at: SKETCH_AT };
        let (dims, seed) = (u32::from_le_bytes(at.take()), u64::from_le_bytes(at.take()));
        Self { dims, seed, elements: u32::from_le_bytes(at.take()) }
    }

    /// Whether values have the same sketches, so that a query is compared with both.
    pub(super) fn is_as(self, other: Self) -> bool {
        (self.dims, self.seed) == (other.dims, other.seed)
    }

    fn is_valid(&self, metric: Metric, coordinates: u32, bits: u8) -> bool {
        /// Directions are in groups of sixteen.
        const GROUP: u32 = 16;
        // Only sparse vectors that have no coordinate for each dimension have elements in their records.
        let has_elements = self.dims > coordinates && bits > 1;
        if (self.elements > 0) != has_elements || self.elements > MOST_ELEMENTS {
            return false;
        }
        match self.dims {
            0 => true,
            dims if dims < coordinates => {
                let directions = coordinates - dims;
                let is_whole = directions.is_multiple_of(GROUP) && directions > GROUP;
                metric == Metric::InnerProduct && is_whole && dims as usize <= tokens::MAX_INDEXED_DIMS
            }
            dims => !metric.is_of_bits() && dims as usize <= sparse::MAX_DIMS,
        }
    }
}

/// The space of the one-bit codes, if it is not that of all dimensions; see `quant/projection.rs`. Its
/// directions are behind the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Leading {
    /// Its dimensions; zero if the codes are of all dimensions.
    pub dims: u32,
    /// Standard deviation of the first stage's error for near rows.
    pub error: f32,
    /// Mean of this error.
    pub bias: f32,
    /// Rows of which a larger share of energy is outside are never excluded by their one-bit codes.
    pub most_outside: f32,
}

impl Leading {
    fn read(bytes: &[u8]) -> Self {
        let word = |i: usize| std::array::from_fn(|j| bytes[LEADING_AT + 4 * i + j]);
        Self {
            dims: u32::from_le_bytes(word(0)),
            error: f32::from_le_bytes(word(1)),
            bias: f32::from_le_bytes(word(2)),
            most_outside: f32::from_le_bytes(word(3)),
        }
    }

    fn is_valid(&self, dims: u32) -> bool {
        let usable = self.dims.is_multiple_of(64) && self.dims < dims.next_multiple_of(64);
        let numbers = [self.error, self.bias, self.most_outside];
        // Without a space there are no numbers of it.
        let agree = (self.dims > 0) == (self.error > 0.0) && (self.dims > 0 || self == &Self::default());
        usable && agree && numbers.iter().all(|x| x.is_finite() && *x >= 0.0) && self.most_outside < 1.0
    }
}

/// The decoded meta page.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Whether the build has finished.
    pub ready: bool,
    /// What the index orders by.
    pub metric: Metric,
    /// Bits per dimension of the codes in total: 1, 4 or 8.
    pub bits: u8,
    /// Dimensions of the indexed vectors.
    pub dims: u32,
    /// Seed of the rotation.
    pub seed: u64,
    /// A random number for each build, by which cached directories of other builds are recognised.
    pub instance: u64,
    /// Number of changes of the lists, by which cached directories are recognised; builds write 1.
    pub generation: u32,
    /// Number of lists.
    pub lists: u32,
    /// Multiplier of all coordinates (a power of two), so that factors fit half precision.
    pub scale: f32,
    /// Weight of a list's radius in its routing score.
    pub radius_weight: f32,
    /// First page of the origin vector, or [`NO_BLOCK`] when the origin is zero.
    pub origin_first: u32,
    /// First of the consecutive directory pages.
    pub directory_first: u32,
    /// First of the consecutive list state pages.
    pub lists_first: u32,
    /// Rows coded by the build.
    pub built_rows: u64,
    /// Lists to probe for each of [`TARGETS`], as whole numbers, for versions that do not read `efforts`. If
    /// all are zero, every list is probed.
    pub probes: [u32; TARGETS.len()],
    /// The filter columns.
    pub columns: Columns,
    /// For each of [`LEVELS`] and [`TARGETS`], the average number of lists to read. Zero if not measured, as
    /// in every index of an earlier version.
    pub efforts: [[f32; TARGETS.len()]; LEVELS.len()],
    /// First of the consecutive pages of the lists' summaries, or [`NO_BLOCK`] where there are none.
    pub summaries_first: u32,
    /// Which lists far queries read.
    pub farther: Farther,
    /// The number that pages of the first list have as their owner; those of the others follow. Numbers are
    /// never used again: 0 in an index whose lists are those of its build.
    pub first_list: u32,
    /// As `efforts`, for each of [`BETWEEN`].
    pub between: [[f32; TARGETS.len()]; BETWEEN.len()],
    /// When a scan reads on for what it has found.
    pub onward: Onward,
    /// How values deviate from what codes say, in an index by [`Metric::L1`] or over sketches.
    pub deviation: Deviation,
    /// What sketches are made of.
    pub sketch: SketchOf,
    /// The space of the one-bit codes.
    pub leading: Leading,
    /// Whether inserts write plain codes (`ivf/plain.rs`): so in all lists but those of earlier versions.
    pub may_be_plain: bool,
}

impl Meta {
    /// The meta page of an index that has no other page yet, and is not ready.
    pub fn unbuilt(metric: Metric, bits: u8, dims: u32, seed: u64, columns: Columns) -> Self {
        Self {
            ready: false,
            metric,
            bits,
            dims,
            seed,
            instance: 0,
            generation: 0,
            lists: 0,
            scale: 1.0,
            radius_weight: 0.0,
            origin_first: NO_BLOCK,
            directory_first: NO_BLOCK,
            lists_first: NO_BLOCK,
            built_rows: 0,
            probes: [0; TARGETS.len()],
            columns,
            efforts: [[0.0; TARGETS.len()]; LEVELS.len()],
            summaries_first: NO_BLOCK,
            farther: Farther::default(),
            first_list: 0,
            between: [[0.0; TARGETS.len()]; BETWEEN.len()],
            onward: Onward::default(),
            deviation: Deviation::default(),
            sketch: SketchOf::default(),
            leading: Leading::default(),
            may_be_plain: true,
        }
    }

    /// Lists that were measured, with the number of nearest rows that they are for, ascending.
    pub fn measured(&self) -> impl Iterator<Item = (u32, &[f32; TARGETS.len()])> {
        let ([ten, hundred, thousand], [low, high]) = (&self.efforts, &self.between);
        MEASURED.into_iter().zip([ten, hundred, low, high, thousand]).filter(|(_, table)| table[0] > 0.0)
    }

    /// The tables of lists for each of [`MEASURED`]; zero where they were not measured.
    pub fn tables(&self) -> [[f32; TARGETS.len()]; MEASURED.len()] {
        let ([ten, hundred, thousand], [low, high]) = (self.efforts, self.between);
        [ten, hundred, low, high, thousand]
    }

    /// Sets the tables of lists for each of [`MEASURED`].
    pub fn set_measured(&mut self, tables: [[f32; TARGETS.len()]; MEASURED.len()]) {
        let [ten, hundred, low, high, thousand] = tables;
        self.efforts = [ten, hundred, thousand];
        self.between = [low, high];
        self.probes = ten.map(|lists| lists.ceil() as u32);
    }

    /// The format of an index that has these lists alone. New indexes have the newest; those of earlier
    /// versions keep theirs until their lists are replaced.
    pub fn version(&self) -> u16 {
        match self.metric {
            _ if self.may_be_plain => VERSION,
            Metric::Jaccard | Metric::L1 => VERSION,
            _ if self.sketch.dims > 0 || self.leading.dims > 0 => VERSION,
            _ if self.first_list > 0 => VERSION,
            _ if self.summaries_first != NO_BLOCK => SUMMARIES_VERSION,
            Metric::Hamming => BITS_VERSION,
            _ if self.columns.is_empty() => MIN_VERSION,
            _ => COLUMNS_VERSION,
        }
    }

    /// The bytes that describe these lists, in an index of format `version`.
    pub(super) fn encode(&self, version: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        let columns = self.columns.widths();
        let count = columns.len() as u8;
        out.extend_from_slice(&[u8::from(self.ready), self.metric as u8, self.bits, count, 0, 0]);
        out.extend_from_slice(&self.dims.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.lists.to_le_bytes());
        out.extend_from_slice(&self.scale.to_le_bytes());
        out.extend_from_slice(&self.radius_weight.to_le_bytes());
        out.extend_from_slice(&self.origin_first.to_le_bytes());
        out.extend_from_slice(&self.directory_first.to_le_bytes());
        out.extend_from_slice(&self.lists_first.to_le_bytes());
        out.extend_from_slice(&self.built_rows.to_le_bytes());
        for p in self.probes {
            out.extend_from_slice(&p.to_le_bytes());
        }
        out.extend_from_slice(columns);
        out.resize(out.len() + MAX_COLUMNS - columns.len(), 0);
        for effort in self.efforts.as_flattened() {
            out.extend_from_slice(&effort.to_le_bytes());
        }
        // Zero means no page, because earlier versions left zeros here.
        let summaries = if self.summaries_first == NO_BLOCK { 0 } else { self.summaries_first };
        out.extend_from_slice(&summaries.to_le_bytes());
        for number in self.farther.numbers() {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.first_list.to_le_bytes());
        put_floats(&mut out, BETWEEN_AT, self.between.as_flattened());
        let Onward { shares, beyond, excesses } = &self.onward;
        put_floats(&mut out, ONWARD_AT, [*shares, *beyond, *excesses].as_flattened());
        put_floats(&mut out, DEVIATION_AT, &[self.deviation.mean, self.deviation.spread]);
        out.extend_from_slice(&self.sketch.dims.to_le_bytes());
        out.extend_from_slice(&self.sketch.seed.to_le_bytes());
        out.extend_from_slice(&self.sketch.elements.to_le_bytes());
        let Leading { dims, error, bias, most_outside } = self.leading;
        put_floats(&mut out, LEADING_AT, &[f32::from_bits(dims), error, bias, most_outside]);
        out.push(u8::from(self.may_be_plain));
        out
    }

    /// Reads what [`Meta::encode`] made; an unknown format and nonsense are errors.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut at = Fields { bytes, at: 0 };
        if u32::from_le_bytes(at.take()) != MAGIC {
            return Err(Error::corrupted(META_BLOCK, "wrong magic number"));
        }
        let version = u16::from_le_bytes(at.take());
        if !(MIN_VERSION..=VERSION).contains(&version) {
            let read = format!("{MIN_VERSION} to {VERSION}");
            let message =
                format!("ivf index has format {version}, this version of vector_search reads {read}");
            return Err(Error::new(Kind::NotSupported, message).with_hint(REINDEX));
        }
        let [ready, metric, bits, columns, _, _] = at.take();
        let metric = Metric::from_number(metric)?;
        expect_suited(metric, version)?;
        let meta = Self {
            ready: ready == 1,
            metric,
            bits,
            dims: u32::from_le_bytes(at.take()),
            seed: u64::from_le_bytes(at.take()),
            instance: u64::from_le_bytes(at.take()),
            generation: u32::from_le_bytes(at.take()),
            lists: u32::from_le_bytes(at.take()),
            scale: f32::from_le_bytes(at.take()),
            radius_weight: f32::from_le_bytes(at.take()),
            origin_first: u32::from_le_bytes(at.take()),
            directory_first: u32::from_le_bytes(at.take()),
            lists_first: u32::from_le_bytes(at.take()),
            built_rows: u64::from_le_bytes(at.take()),
            probes: std::array::from_fn(|_| u32::from_le_bytes(at.take())),
            columns: at
                .take::<MAX_COLUMNS>()
                .get(..usize::from(columns))
                .and_then(|widths| Columns::new(widths).ok())
                .ok_or_else(|| Error::corrupted(META_BLOCK, "filter columns are not valid"))?,
            efforts: std::array::from_fn(|_| std::array::from_fn(|_| f32::from_le_bytes(at.take()))),
            summaries_first: match u32::from_le_bytes(at.take()) {
                0 => NO_BLOCK,
                blkno => blkno,
            },
            farther: Farther::read(|| f32::from_le_bytes(at.take())),
            first_list: u32::from_le_bytes(at.take()),
            between: [0, 1].map(|i| floats(bytes, BETWEEN_AT + TABLE * i)),
            onward: Onward::read(bytes),
            deviation: Deviation::read(bytes),
            sketch: SketchOf::read(bytes),
            leading: Leading::read(bytes),
            may_be_plain: bytes[PLAIN_AT] == 1,
        };
        if bytes[PLAIN_AT] > 1 {
            return Err(Error::corrupted(META_BLOCK, "whether codes are plain is not valid"));
        }
        meta.expect_format(version)?;
        meta.validate()?;
        Ok(meta)
    }

    /// An error if the index has what its format does not have.
    fn expect_format(&self, version: u16) -> Result<()> {
        if version == VERSION {
            return Ok(());
        }
        let wrong = |what: &str| Err(Error::corrupted(META_BLOCK, what));
        if self.may_be_plain {
            return wrong("plain codes in an index of an earlier format");
        }
        if self.leading.dims != 0 {
            return wrong("codes of a leading space in an index of an earlier format");
        }
        if self.first_list != 0 {
            return wrong("replaced lists in an index of an earlier format");
        }
        if self.sketch.dims != 0 {
            return wrong("sketches in an index of an earlier format");
        }
        if (self.summaries_first != NO_BLOCK) != (version == SUMMARIES_VERSION) {
            return wrong("the format and the summaries of filter columns do not agree");
        }
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::corrupted(META_BLOCK, what));
        if self.dims == 0 || self.dims as usize > self.metric.most_dims() {
            return wrong("dimensions out of range");
        }
        if !matches!(self.bits, 1 | 4 | 8) {
            return wrong("bits per dimension are not 1, 4 or 8");
        }
        if !(self.scale.is_finite() && self.scale > 0.0 && self.radius_weight.is_finite()) {
            return wrong("scale or radius weight out of range");
        }
        let efforts = self.efforts.as_flattened().iter().chain(self.between.as_flattened());
        if !efforts.into_iter().all(|e| *e >= 0.0 && e.is_finite()) {
            return wrong("the calibration is not valid");
        }
        let far = self.farther;
        if !far.numbers().all(f32::is_finite) || !far.excesses.iter().all(|e| *e >= 0.0) {
            return wrong("what far queries take is not valid");
        }
        if !self.onward.is_valid() {
            return wrong("when scans read on is not valid");
        }
        if !self.deviation.is_valid() {
            return wrong("how values deviate from codes is not valid");
        }
        if !self.sketch.is_valid(self.metric, self.dims, self.bits) {
            return wrong("what sketches are made of is not valid");
        }
        let suited =
            self.bits > 1 && !self.metric.is_of_bits() && (!self.ready || self.origin_first != NO_BLOCK);
        if !self.leading.is_valid(self.dims) || (self.leading.dims > 0 && !suited) {
            return wrong("the space of the codes is not valid");
        }
        if self.ready && (self.lists == 0 || self.directory_first == NO_BLOCK || self.lists_first == NO_BLOCK)
        {
            return wrong("a finished index without lists");
        }
        if self.first_list.checked_add(self.lists).is_none() {
            return wrong("numbers of lists out of range");
        }
        if self.summaries_first != NO_BLOCK && self.columns.is_empty() {
            return wrong("summaries of filter columns that do not exist");
        }
        Ok(())
    }
}

/// Writes numbers at an offset, behind what there is.
fn put_floats(out: &mut Vec<u8>, at: usize, numbers: &[f32]) {
    out.resize(at, 0);
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn floats(bytes: &[u8], at: usize) -> [f32; TARGETS.len()] {
    let bytes = bytes[at..].as_chunks::<4>().0;
    std::array::from_fn(|i| f32::from_le_bytes(bytes[i]))
}

/// An error if an index of this metric cannot have this format.
fn expect_suited(metric: Metric, version: u16) -> Result<()> {
    if matches!(metric, Metric::Jaccard | Metric::L1) && version < VERSION {
        return Err(Error::corrupted(META_BLOCK, "an index of this metric with an earlier format"));
    }
    match (metric == Metric::Hamming, version) {
        (true, MIN_VERSION..BITS_VERSION) => {
            let message =
                format!("ivf index over bit strings has format {version}, which is not read any more");
            Err(Error::new(Kind::NotSupported, message).with_hint(REINDEX))
        }
        (false, BITS_VERSION) => {
            Err(Error::corrupted(META_BLOCK, "an index over vectors with the format of bit strings"))
        }
        _ => Ok(()),
    }
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let out = std::array::from_fn(|i| self.bytes[self.at + i]);
        self.at += N;
        out
    }
}
