//! From a vector to the bytes that the index stores for it.

use super::directory::Directory;
use super::elements::write_elements;
use super::sketch::Sketched;
use crate::error::Result;
use crate::kernel;
use crate::memory;
use crate::quant::{Factors, Form, Leading, Projector, TRUSTED, pack};
use crate::value::Metric;

/// A coded row, and the memory to code the next one.
pub struct RowCode {
    /// The list the row belongs to.
    pub list: u32,
    /// Sign bits, least significant first; in an index over bit strings, the string.
    pub signs: Vec<u8>,
    /// Factors of the first stage.
    pub factors: Factors,
    /// Factors and bits of the extended record.
    pub extended: Vec<u8>,
    /// Squared distance from the centroid, in index units.
    pub residual: f32,
    unit: Vec<f32>,
    point: Vec<f32>,
    centroid: Vec<f32>,
    /// The residual and the centroid in the leading space, if the index has one.
    leading: [Projector; 2],
}

impl RowCode {
    /// Memory for rows of an index.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(directory: &Directory) -> Result<Self> {
        let padded = directory.padded();
        Ok(Self {
            list: 0,
            signs: memory::filled(0, directory.codec.sign_bytes())?,
            factors: Factors::default(),
            extended: memory::filled(0, directory.codec.extended_size())?,
            residual: 0.0,
            unit: memory::filled(0.0, directory.dims())?,
            point: memory::filled(0.0, padded)?,
            centroid: memory::filled(0.0, padded)?,
            leading: Default::default(),
        })
    }

    /// Codes a value for the nearest list. Returns false if the row is not indexed (a zero vector under
    /// cosine).
    ///
    /// # Errors
    /// Out of memory.
    pub fn encode(&mut self, directory: &Directory, value: Sketched<'_>) -> Result<bool> {
        if !self.encode_vector(directory, value.coordinates) {
            return Ok(false);
        }
        write_elements(directory, value, &mut self.extended)?;
        Ok(true)
    }

    /// As [`RowCode::encode`], without the elements of an extended record.
    pub fn encode_vector(&mut self, directory: &Directory, vector: &[f32]) -> bool {
        if !to_point(directory, vector, &mut self.unit, &mut self.point) {
            return false;
        }
        self.list = directory.nearest(&self.point);
        self.encode_point(directory, &Centres::default());
        true
    }

    /// Codes a vector for a given list, without the elements of an extended record. For cosine the vector
    /// must be normalised.
    pub fn encode_unit(&mut self, directory: &Directory, vector: &[f32], list: u32, leading: &Centres) {
        directory.transform(vector, &mut self.point);
        self.list = list;
        self.encode_point(directory, leading);
    }

    fn encode_point(&mut self, directory: &Directory, centres: &Centres) {
        if directory.codec.is_exact() {
            pack::write_bits(&self.point, &mut self.signs);
        }
        let (codes, scale) = directory.centroid(self.list);
        for ((c, p), b) in self.centroid.iter_mut().zip(&mut self.point).zip(codes) {
            *c = f32::from(*b) * scale;
            *p -= *c;
        }
        self.residual = kernel::inner_product(&self.point, &self.point);
        let form = match directory.metric() {
            Metric::Hamming | Metric::Jaccard => return,
            Metric::L2 | Metric::Cosine | Metric::L1 => Form::L2,
            Metric::InnerProduct => Form::InnerProduct {
                residual_dot_centre: kernel::inner_product(&self.point, &self.centroid)
                    + kernel::inner_product(&self.point, &directory.origin),
            },
        };
        let [row, centre] = &mut self.leading;
        let leading = directory.codec.projection().map(|projection| {
            let is_close = row.set(projection, &self.point);
            let centre = centres.of(self.list, projection.dims()).unwrap_or_else(|| {
                // A centroid consists of bytes: it is not changed.
                centre.set(projection, &self.centroid);
                &centre.point
            });
            Leading { row: &row.point, centre, is_close }
        });
        let vectors = (&self.point[..], &self.centroid[..]);
        self.factors = directory.codec.encode(vectors, leading, form, &mut self.signs, &mut self.extended);
    }
}

/// The centroids in the leading space, if they are known.
#[derive(Default)]
pub struct Centres(Vec<f32>);

impl Centres {
    /// More are computed again for each row.
    const MOST_BYTES: usize = 32 << 20;

    /// Those of an index, unless they are too many.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(directory: &Directory) -> Result<Self> {
        let Some(projection) = directory.codec.projection() else { return Ok(Self::default()) };
        let (dims, lists) = (projection.dims(), directory.lists());
        let total = dims.saturating_mul(lists as usize);
        if total.saturating_mul(size_of::<f32>()) > Self::MOST_BYTES {
            return Ok(Self::default());
        }
        let (mut all, mut dots) = (memory::filled(0.0, total)?, Vec::new());
        for (list, out) in (0..lists).zip(all.chunks_exact_mut(dims)) {
            let (codes, scale) = directory.centroid(list);
            projection.apply(codes, scale, &mut dots, out);
        }
        Ok(Self(all))
    }

    fn of(&self, list: u32, dims: usize) -> Option<&[f32]> {
        self.0.get(list as usize * dims..)?.get(..dims)
    }
}

/// Writes a row's code at its slot into `groups`, which are the groups of a page, beginning with group
/// `first`; in an index over bit strings, into the strings of a block.
pub fn write_code(directory: &Directory, groups: &mut [u8], first: usize, slot: usize, code: &[u8]) {
    if directory.codec.is_exact() {
        groups[slot * code.len()..][..code.len()].copy_from_slice(code);
    } else {
        pack::write_signs(groups, first, slot, code);
    }
}

/// Transforms a vector of the table into the index's coordinates (`point`). `unit` is scratch memory with the
/// vector's dimensions. Returns false if such a vector is not in the index (a zero vector under cosine).
pub fn to_point(directory: &Directory, vector: &[f32], unit: &mut [f32], point: &mut [f32]) -> bool {
    if directory.metric() == Metric::Cosine {
        if !normalize(vector, unit) {
            return false;
        }
        directory.transform(unit, point);
    } else {
        directory.transform(vector, point);
    }
    true
}

/// Whether an index contains such a vector: a zero vector has no direction, and so no cosine.
pub fn is_indexed(metric: Metric, vector: &[f32]) -> bool {
    metric != Metric::Cosine || kernel::norm_squared(vector) > 0.0
}

/// Scales `vector` to length one. Returns false if it has no direction (its norm is zero). If the operator's
/// own sums underflow or overflow, the result is NaN. Distances of such rows and queries are always computed
/// exactly, never from codes.
pub fn normalize(vector: &[f32], out: &mut [f32]) -> bool {
    let squared = kernel::norm_squared(vector);
    if squared == 0.0 {
        return false;
    }
    if TRUSTED.contains(&squared) {
        let norm = squared.sqrt();
        for (o, v) in out.iter_mut().zip(vector) {
            *o = (f64::from(*v) / norm) as f32;
        }
    } else {
        out.fill(f32::NAN);
    }
    true
}
