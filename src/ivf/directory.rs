//! The decoded directory: what a backend keeps of an index between scans. It is immutable, and valid as long
//! as the meta page is the one with which it was read.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::sketch::{Sketch, Values};
use super::spread::Profile;
use crate::error::{Error, Kind, Result};
use crate::kernel;
use crate::memory::{self, Grow};
use crate::page::meta::{Leading, META_BLOCK};
use crate::page::{Meta, NO_BLOCK, Page, PageKind, Root, Store, codes, extended, lists, summary, tape};
use crate::quant::{Bytes, Codec, Projection, QueryCode, Rotation, padded_dims};
use crate::value::{Metric, TotalF32, jaccard};

/// Fixed bytes of a directory entry before the centroid's codes: head block, contiguous pages, radius,
/// scale, rows at build, reserved.
const ENTRY_HEAD: usize = 24;

/// Memory that routing a query takes for each list, in bytes: a product, the two parts of its score, its key,
/// and a share of its group's head.
const ROUTING: usize = 20;

/// One list as the directory stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// First codes page.
    pub head: u32,
    /// Codes pages from `head` on that are consecutive.
    pub contiguous: u32,
    /// Root mean square distance of the list's rows from its centroid.
    pub radius: f32,
    /// The centroid is `codes * scale`, rotated and relative to the origin.
    pub scale: f32,
    /// Rows when it was built.
    pub rows: u32,
    /// One byte per padded dimension.
    pub codes: Vec<i8>,
}

/// Bytes of a directory entry for `padded` dimensions.
pub fn entry_size(padded: usize) -> usize {
    ENTRY_HEAD + padded
}

impl Entry {
    /// A list at `centroid` (rotated, relative to the origin), rounded to bytes.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(centroid: &[f32]) -> Result<Self> {
        let max = centroid.iter().fold(0.0f32, |m, x| if x.is_finite() { m.max(x.abs()) } else { m });
        let scale = if max > 0.0 { max / 127.0 } else { 0.0 };
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let codes = centroid.iter().map(|x| (x * inverse).round().clamp(-127.0, 127.0) as i8);
        let codes = memory::collected(codes)?;
        Ok(Self { head: NO_BLOCK, contiguous: 0, radius: 0.0, scale, rows: 0, codes })
    }

    /// The centroid that coding and search both use.
    pub fn centroid(&self, out: &mut [f32]) {
        for (o, c) in out.iter_mut().zip(&self.codes) {
            *o = f32::from(*c) * self.scale;
        }
    }

    /// Becomes the entry with this stored form, in the same memory.
    fn read(&mut self, bytes: &[u8]) {
        let word = |i: usize| [bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]];
        self.head = u32::from_le_bytes(word(0));
        self.contiguous = u32::from_le_bytes(word(1));
        self.radius = f32::from_le_bytes(word(2));
        self.scale = f32::from_le_bytes(word(3));
        self.rows = u32::from_le_bytes(word(4));
        self.codes.clear();
        self.codes.extend(bytes[ENTRY_HEAD..].iter().map(|b| b.cast_signed()));
    }

    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head.to_le_bytes());
        out.extend_from_slice(&self.contiguous.to_le_bytes());
        out.extend_from_slice(&self.radius.to_le_bytes());
        out.extend_from_slice(&self.scale.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend(self.codes.iter().map(|c| c.cast_unsigned()));
    }
}

/// What the catalog says of an index.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// The metric of its operator class.
    pub metric: Metric,
    /// What it is over.
    pub values: Values,
    /// The number of its filter columns.
    pub columns: usize,
}

/// The directory, decoded.
pub struct Directory {
    /// The meta page as it was read.
    pub meta: Meta,
    /// The index's rotation; `None` for bit strings.
    rotation: Option<Rotation>,
    /// The index's codes.
    pub codec: Codec,
    /// The layout of codes pages.
    pub codes: codes::Layout,
    /// The layout of extended pages, if the index has extended records.
    pub extended: Option<extended::Layout>,
    /// The rotated, scaled origin.
    pub origin: Vec<f32>,
    padded: usize,
    /// The least owner of pages in use.
    oldest: u32,
    centroids: Vec<i8>,
    scales: Vec<f32>,
    norms: Vec<f32>,
    radii: Vec<f32>,
    origin_products: Vec<f32>,
    heads: Vec<(u32, u32)>,
    rows: Vec<u32>,
    mean_radius: f32,
    mean_length: f32,
    profile: OnceLock<Profile>,
    /// The squared lengths of the centroids' projections, as bits of a float; NaN until one is needed.
    inside: Vec<AtomicU32>,
    sketch: Sketch,
}

impl Directory {
    /// Reads and decodes the directory of the lists in use.
    ///
    /// # Errors
    /// Damage, out of memory, or the store's errors.
    pub fn load<S: Store>(store: &S) -> Result<Self> {
        Ok(Self::load_all(store)?.0)
    }

    /// The directories of the lists in use and of those that are to take their place, if that is under way.
    ///
    /// # Errors
    /// As [`Directory::load`].
    pub fn load_all<S: Store>(store: &S) -> Result<(Self, Option<Self>)> {
        loop {
            let root = read_root(store)?;
            let loaded = Self::of_root(store, &root);
            // On a standby pages may have been used again since.
            if loaded.is_ok() || read_root(store)? == root {
                return loaded;
            }
        }
    }

    fn of_root<S: Store>(store: &S, root: &Root) -> Result<(Self, Option<Self>)> {
        if !root.current.ready {
            return Err(Error::contradiction("ivf index was not built to its end"));
        }
        let next = root.next.clone().map(|next| Self::with_meta(store, next)).transpose()?;
        let oldest = root.current.first_list;
        let next = next.map(|next| Self { oldest, ..next });
        Ok((Self::with_meta(store, root.current.clone())?, next))
    }

    /// The directory of an index whose meta page is known.
    pub(super) fn with_meta<S: Store>(store: &S, meta: Meta) -> Result<Self> {
        let padded = padded_dims(meta.dims as usize);
        let owner = meta.first_list;
        let (mut origin, mut projection) = (vec![0.0; padded], None);
        if meta.origin_first != NO_BLOCK {
            let total = origin_size(&meta);
            let bytes = tape::read(store, meta.origin_first, (PageKind::Origin, owner), total)?;
            let (first, rest) = bytes.split_at(padded * 4);
            for (o, b) in origin.iter_mut().zip(first.as_chunks::<4>().0) {
                *o = f32::from_le_bytes(*b);
            }
            let Leading { error, bias, most_outside, .. } = meta.leading;
            let measured = [error, bias, most_outside];
            if !rest.is_empty() {
                let read = Projection::read(rest, padded, measured)?;
                if !read.is_valid() {
                    return Err(Error::corrupted(
                        meta.origin_first,
                        "the directions of the leading space are not valid",
                    ));
                }
                projection = Some(Arc::new(read));
            }
        }
        // An index that was built is within the limits.
        let beyond = |error: Error| match error.kind {
            Kind::LimitExceeded => Error::corrupted(META_BLOCK, error.message),
            _ => error,
        };
        let mut directory = Self::without_lists(meta, (origin, projection)).map_err(beyond)?;
        directory.read_entries(store)?;
        Ok(directory.with_means())
    }

    fn read_entries<S: Store>(&mut self, store: &S) -> Result<()> {
        let size = entry_size(self.padded);
        let total = size.saturating_mul(self.meta.lists as usize);
        let tape = (PageKind::Directory, self.meta.first_list);
        let first = self.meta.directory_first;
        // So that a damaged number of lists is no huge allocation.
        tape::expect_last(store, first, tape, total)?;
        self.reserve()?;
        let mut entry = Entry::new(&vec![0.0; self.padded])?;
        // Of an entry on two pages: what is on the first.
        let mut begun = Vec::new();
        tape::each_page(store, first, tape, total, |bytes| {
            begun.try_extend(bytes)?;
            let whole = begun.chunks_exact(size);
            let rest = whole.remainder().len();
            for bytes in whole {
                entry.read(bytes);
                self.push(&entry)?;
            }
            begun.drain(..begun.len() - rest);
            Ok(())
        })
    }

    /// A directory from its parts.
    pub fn new(
        meta: Meta,
        origin: (Vec<f32>, Option<Arc<Projection>>),
        entries: impl Iterator<Item = Entry>,
    ) -> Result<Self> {
        let mut directory = Self::without_lists(meta, origin)?;
        directory.reserve()?;
        for entry in entries {
            directory.push(&entry)?;
        }
        Ok(directory.with_means())
    }

    fn without_lists(meta: Meta, (origin, projection): (Vec<f32>, Option<Arc<Projection>>)) -> Result<Self> {
        let padded = padded_dims(meta.dims as usize);
        let dims = meta.dims as usize;
        let codec = match meta.metric {
            metric if metric.is_of_bits() => Codec::of_bits(dims),
            _ => Codec::new(padded, meta.bits)?.of_elements(meta.sketch.elements as usize),
        };
        let codec = match projection {
            Some(projection) => codec.leading(projection),
            None => codec,
        };
        let codes = match meta.metric {
            metric if metric.is_of_bits() => codes::Layout::of_bits(codec.sign_bytes(), meta.columns)?,
            _ => codes::Layout::new(codec.first_dims(), meta.columns)?,
        };
        let codes = if meta.may_be_plain { codes.with_plain() } else { codes };
        Ok(Self {
            rotation: (!codec.is_exact()).then(|| Rotation::new(dims, meta.seed)),
            codes,
            extended: extended::Layout::new(codec.extended_size()),
            codec,
            origin,
            padded,
            oldest: meta.first_list,
            centroids: Vec::new(),
            scales: Vec::new(),
            norms: Vec::new(),
            radii: Vec::new(),
            origin_products: Vec::new(),
            heads: Vec::new(),
            rows: Vec::new(),
            mean_radius: 0.0,
            mean_length: 0.0,
            profile: OnceLock::new(),
            inside: Vec::new(),
            sketch: Sketch::of_meta(meta.sketch, dims)?,
            meta,
        })
    }

    /// With the means over its lists, after all of them were pushed.
    fn with_means(mut self) -> Self {
        self.mean_radius = self.mean(|_| 0.0);
        let origin = kernel::inner_product(&self.origin, &self.origin);
        let squared = |list| self.norm(list) + 2.0 * self.origin_product(list) + origin;
        self.mean_length = self.mean(squared);
        self
    }

    /// Reserves memory for the number of lists on the meta page, and checks that there is memory for routing.
    /// So a scan that has a directory can allocate what routing needs.
    fn reserve(&mut self) -> Result<()> {
        let lists = self.meta.lists as usize;
        self.centroids.grow(lists.saturating_mul(self.padded))?;
        self.scales.grow(lists)?;
        self.norms.grow(lists)?;
        self.radii.grow(lists)?;
        self.origin_products.grow(lists)?;
        self.heads.grow(lists)?;
        if self.codec.projection().is_some() {
            self.inside.grow(lists)?;
        }
        memory::room(lists.saturating_mul(ROUTING))
    }

    /// The square root of the mean over all rows of: `squared` of the row's list, plus the square of the
    /// list's radius.
    fn mean(&self, squared: impl Fn(u32) -> f32) -> f32 {
        let (mut sum, mut all) = (0.0, 0.0);
        for ((list, radius), rows) in (0..).zip(&self.radii).zip(&self.rows) {
            sum += f64::from(radius * radius + squared(list).max(0.0)) * f64::from(*rows);
            all += f64::from(*rows);
        }
        (sum / f64::max(all, 1.0)).sqrt() as f32
    }

    fn push(&mut self, entry: &Entry) -> Result<()> {
        if !entry.radius.is_finite() || !entry.scale.is_finite() {
            let list = self.heads.len();
            return Err(Error::corrupted(
                self.meta.directory_first,
                format_args!("the directory entry of list {list} is not valid"),
            ));
        }
        self.centroids.try_extend(&entry.codes)?;
        self.norms.push(kernel::dot_i8(&entry.codes, &entry.codes) as f32 * entry.scale * entry.scale);
        let of_origin = match self.metric() {
            Metric::Jaccard => entry.codes.iter().map(|code| f32::from(*code)).sum(),
            _ => kernel::dot_f32_i8(&self.origin, &entry.codes),
        };
        self.origin_products.push(of_origin * entry.scale);
        self.scales.push(entry.scale);
        self.radii.push(entry.radius);
        if self.codec.projection().is_some() {
            self.inside.push(AtomicU32::new(f32::NAN.to_bits()));
        }
        self.heads.push((entry.head, entry.contiguous));
        self.rows.push(entry.rows);
        Ok(())
    }

    /// Whether a page is free (see [`Page::is_free`]).
    pub fn is_free(&self, page: &Page) -> bool {
        page.is_free(self.oldest)
    }

    /// The owner of a list's pages.
    pub fn owner(&self, list: u32) -> u32 {
        self.meta.first_list + list
    }

    /// Whether bounds are keys of the operator's values, and tell the values.
    pub fn is_exact(&self) -> bool {
        self.codec.is_exact() && (self.metric() != Metric::Jaccard || jaccard::is_exact(self.dims()))
    }

    /// Bytes this takes.
    pub fn memory(&self) -> usize {
        let leading = Projection::size(self.meta.leading.dims as usize, self.padded) + 4 * self.inside.len();
        let own = self.centroids.len() + self.heads.len() * 28 + self.origin.len() * 8;
        own + leading + self.sketch.memory()
    }

    /// Fails unless the index is what the catalog says, on which its users rely.
    ///
    /// # Errors
    /// Damage.
    pub fn expect(&self, declared: &Declared) -> Result<()> {
        if self.metric() != declared.metric {
            return Err(Error::corrupted(META_BLOCK, "the metric is not that of the operator class"));
        }
        if self.sketch.values() != declared.values {
            return Err(Error::corrupted(META_BLOCK, "the index is not over values of its operator class"));
        }
        if self.meta.columns.widths().len() != declared.columns {
            return Err(Error::corrupted(
                META_BLOCK,
                "the number of filter columns is not that of the index",
            ));
        }
        Ok(())
    }

    /// Dimensions of the indexed vectors, or of their sketches.
    pub fn dims(&self) -> usize {
        self.meta.dims as usize
    }

    /// How values become coordinates.
    pub fn sketch(&self) -> &Sketch {
        &self.sketch
    }

    /// The length of a query, given in coordinates of the index, in an index that needs it; else zero.
    pub fn length(&self, point: &[f32]) -> f32 {
        if self.metric() != Metric::InnerProduct || !self.deviates() {
            return 0.0;
        }
        let squares = point.iter().zip(&self.origin).map(|(x, g)| (x + g) * (x + g));
        squares.sum::<f32>().sqrt()
    }

    /// Dimensions of the codes.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// What the index orders by.
    pub fn metric(&self) -> Metric {
        self.meta.metric
    }

    /// Number of lists.
    pub fn lists(&self) -> u32 {
        self.meta.lists
    }

    /// First codes page of a list and how many consecutive ones the build wrote.
    pub fn head(&self, list: u32) -> (u32, u32) {
        self.heads[list as usize]
    }

    /// Rows that the build put into a list.
    pub fn built_rows(&self, list: u32) -> u32 {
        self.rows[list as usize]
    }

    /// Root mean square distance of a list's rows from its centroid.
    pub fn radius(&self, list: u32) -> f32 {
        self.radii[list as usize]
    }

    /// Root mean square distance of the rows from their centroids, as the build found it.
    pub fn mean_radius(&self) -> f32 {
        self.mean_radius
    }

    /// Root mean square length of the rows, not relative to the origin.
    pub fn mean_length(&self) -> f32 {
        self.mean_length
    }

    /// The profile of this directory; `make` computes it at the first call.
    pub fn profile(&self, make: impl FnOnce(&Self) -> Profile) -> &Profile {
        self.profile.get_or_init(|| make(self))
    }

    /// The page and index of a list's state.
    pub fn state_position(&self, list: u32) -> (u32, usize) {
        let (page, index) = lists::position(list);
        (self.meta.lists_first + page, index)
    }

    /// The page of a list's summaries and their offset on it, if the index has summaries.
    pub fn summaries_position(&self, list: u32) -> Option<(u32, usize)> {
        let first = Some(self.meta.summaries_first).filter(|&first| first != NO_BLOCK)?;
        let (page, at) = summary::position(list, self.meta.columns.widths().len());
        Some((first.saturating_add(page), at))
    }

    /// Rotates, scales and centres `vector` (already normalised for cosine) into `out`. Bit strings are not
    /// transformed: their coordinates 0 and 1 are exact as bytes.
    pub fn transform(&self, vector: &[f32], out: &mut [f32]) {
        let Some(rotation) = &self.rotation else {
            out[..vector.len()].copy_from_slice(vector);
            out[vector.len()..].fill(0.0);
            return;
        };
        rotation.apply(vector, out);
        for (o, g) in out.iter_mut().zip(&self.origin) {
            *o = *o * self.meta.scale - g;
        }
    }

    /// The sketch of which [`Directory::transform`] has made `point`, in `sketch`.
    pub fn transform_back(&self, point: &[f32], sketch: &mut Vec<f32>) -> Result<()> {
        sketch.clear();
        sketch.try_extend(point)?;
        for (x, g) in sketch.iter_mut().zip(&self.origin) {
            *x = (*x + g) / self.meta.scale;
        }
        if let Some(rotation) = &self.rotation {
            rotation.invert(sketch);
        }
        sketch.truncate(self.dims());
        Ok(())
    }

    /// Rotates a difference of vectors into index coordinates, without their scale.
    pub fn rotate(&self, vector: &[f32], out: &mut [f32]) {
        if let Some(rotation) = &self.rotation {
            rotation.apply(vector, out);
        }
    }

    /// The stored form of the origin, and behind it that of the leading space; `None` if there is neither.
    pub fn origin_bytes(&self) -> Option<Vec<u8>> {
        let projection = self.codec.projection();
        if projection.is_none() && self.origin.iter().all(|&x| x == 0.0) {
            return None;
        }
        let mut bytes: Vec<u8> = self.origin.iter().flat_map(|x| x.to_le_bytes()).collect();
        projection.inspect(|projection| projection.write(&mut bytes));
        Some(bytes)
    }

    /// The codes and scale of a list's centroid.
    pub fn centroid(&self, list: u32) -> (&[i8], f32) {
        let at = list as usize * self.padded;
        (&self.centroids[at..at + self.padded], self.scales[list as usize])
    }

    /// The products of a query of bytes with the bytes of the centroids of some lists.
    pub fn dots(&self, query: &[i8], lists: Range<usize>, dots: &mut [i32]) {
        let centroids = &self.centroids[lists.start * self.padded..lists.end * self.padded];
        kernel::dots_i8(query, centroids, dots);
    }

    /// For each list: its centroid's product with a query of bytes (without the query's scale), the
    /// centroid's squared norm, the radius, and [`Directory::origin_product`]. `dots` are those of all lists.
    pub fn products<'a>(&'a self, dots: &'a [i32]) -> impl Iterator<Item = (f32, f32, f32, f32)> + 'a {
        let dots = dots.iter().zip(&self.scales).map(|(dot, scale)| *dot as f32 * scale);
        let rest = self.norms.iter().zip(&self.radii).zip(&self.origin_products);
        dots.zip(rest).map(|(dot, ((norm, radius), origin))| (dot, *norm, *radius, *origin))
    }

    /// Squared norm of a list's centroid.
    pub fn norm(&self, list: u32) -> f32 {
        self.norms[list as usize]
    }

    /// Inner product of a list's centroid with the origin. In an index by Jaccard distance, which has no
    /// origin: the average number of bits set in its rows.
    pub fn origin_product(&self, list: u32) -> f32 {
        self.origin_products[list as usize]
    }

    /// An upper bound of the length of what is outside of the leading space in the difference of a query and
    /// a list's centroid, which are `gap` apart; `gap` without a leading space.
    pub fn outside(&self, query: &QueryCode, list: u32, gap: f32) -> f32 {
        let Some(projection) = self.codec.projection() else { return gap };
        let known = &self.inside[list as usize];
        let mut squared = f32::from_bits(known.load(Ordering::Relaxed));
        if squared.is_nan() {
            let (codes, scale) = self.centroid(list);
            let mut projected = vec![0.0; projection.dims()];
            projection.apply(codes, scale, &mut Vec::new(), &mut projected);
            squared = kernel::inner_product(&projected, &projected);
            known.store(squared.to_bits(), Ordering::Relaxed);
        }
        query.outside(&self.codec, self.centroid(list), squared, gap)
    }

    /// The list whose centroid is nearest to the transformed `x`. Products with bytes select the best lists;
    /// exact products select the nearest of these.
    pub fn nearest(&self, x: &[f32]) -> u32 {
        // By byte products, the nearest centroid is nearly always among this many best.
        const REFINED: usize = 4;
        let bytes = Bytes::new(x);
        let mut best = [(f32::INFINITY, 0u32); REFINED];
        let mut dots = vec![0; self.norms.len()];
        self.dots(&bytes.codes, 0..self.norms.len(), &mut dots);
        for (list, (dot, norm, ..)) in (0..).zip(self.products(&dots)) {
            let d = norm - 2.0 * bytes.scale * dot;
            if d < best[REFINED - 1].0 {
                let at = best.partition_point(|b| b.0 <= d);
                best[at..].rotate_right(1);
                best[at] = (d, list);
            }
        }
        let exact = |list: u32| {
            let (codes, scale) = self.centroid(list);
            self.norm(list) - 2.0 * scale * kernel::dot_f32_i8(x, codes)
        };
        best.iter()
            .filter(|b| b.0.is_finite())
            .map(|&(_, list)| (exact(list), list))
            .min_by(|a, b| TotalF32(a.0).cmp(&TotalF32(b.0)))
            .map_or(0, |(_, list)| list)
    }
}

/// Bytes of the origin, and of the leading space behind it.
pub fn origin_size(meta: &Meta) -> usize {
    let padded = padded_dims(meta.dims as usize);
    padded * 4 + Projection::size(meta.leading.dims as usize, padded)
}

/// Reads the meta page.
pub fn read_root<S: Store>(store: &S) -> Result<Root> {
    Root::read(&*store.read(META_BLOCK)?)
}
