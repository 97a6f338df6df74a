//! From codes to distances: the query's tables, bounds of the first stage, estimates of the second.

use std::cell::OnceCell;

use half::f16;

use super::code::Codec;
use super::elements::QueryElements;
use super::errors::{ERROR_1, ERROR_4, float_error};
use super::pack;
use super::projection::{LENGTHENED_MOST, Projection};
use super::round::{WHOLE, folded, round_to_bytes};
use crate::kernel;

/// Largest relative rounding error of half precision, to the nearest.
const HALF_ROUNDING: f32 = 1.0 / 2048.0;
/// Spacing of the smallest numbers of half precision.
const HALF_SMALLEST: f32 = 6e-8;
/// Largest magnitude of a coordinate of a code, by its number of bits.
const MOST_8: f32 = 127.5;
const MOST_4: f32 = 7.5;
const MOST_LOW_3: f32 = 3.5;
/// Root mean square of the low three bits of 4-bit codes, centred at 3.5: sqrt((8² - 1) / 12).
const CODE_RMS_3: f32 = 2.2913;
/// Root mean square of 4-bit codes, centred at 7.5, of normal coordinates: the inverse of the step.
const CODE_RMS_4: f32 = 2.98;

/// A list as the estimator sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListTerms {
    /// Squared distance of query and centroid, or minus their inner product.
    pub base: f32,
    /// Distance of query and centroid.
    pub gap: f32,
    /// The part of this distance that is outside of the leading space, at most; `gap` if it is not known.
    /// Only sound bounds need it.
    pub outside: f32,
    /// Sum of the lengths of query, centroid and origin; rounding errors of sums of floats are proportional
    /// to it.
    pub lengths: f32,
    /// Absolute error of the operator's value for products too small for floats.
    pub noise: f32,
}

/// How wide bounds are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Width {
    /// Number of standard deviations for errors that the random rotation makes random.
    pub deviations: f32,
    /// Whether errors of the query, which are the same for all similar rows, count with their largest
    /// possible value. Otherwise they count with their standard deviation, too.
    pub sound: bool,
}

impl Width {
    /// Bounds with this number of standard deviations.
    pub fn of(deviations: f32) -> Self {
        Self { deviations, sound: false }
    }

    /// Bounds that exclude a row wrongly only if its code's error exceeds this number of standard deviations.
    pub fn sound(deviations: f32) -> Self {
        Self { deviations, sound: true }
    }
}

/// Arguments of `kernel::lower_bounds` for a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage1 {
    /// Multiplies the table sum.
    pub scale: f32,
    /// Added to it; contains the width of the bound.
    pub shift: f32,
    /// Added to the bound.
    pub base: f32,
}

/// A query, rotated and made into tables; in an index over bit strings, the query's string. All lists use the
/// same.
pub struct QueryCode {
    groups: usize,
    /// Sum of the coordinates.
    sum: f32,
    norm: f32,
    lut: Vec<u8>,
    low: f32,
    delta: f32,
    bytes: Vec<i8>,
    step: f32,
    bytes_sum: i32,
    /// The remainder of the coordinates that `bytes` does not represent, as bytes.
    fine: OnceCell<Fine>,
    /// Largest possible error of a table sum.
    table_most: OnceCell<f32>,
    /// The coordinates.
    query: Vec<f32>,
    /// Factor on the nominal error for the scatter of a residual's sine at low dimensions.
    scatter: f32,
    /// Square root of the dimensions.
    root: f32,
    /// Rows whose residuals may be longer are never excluded; see [`QueryCode::distrust_beyond`].
    longest: f32,
    /// `float_error` of bounds that are not sound, and of those that are.
    float_errors: [f32; 2],
    /// The query's projection, if one-bit codes are of a leading space.
    leading: Vec<f32>,
    /// Memory for making it.
    dots: Vec<i32>,
    /// What sound bounds need of it.
    inside: OnceCell<Inside>,
    /// `root` and `scatter` of the one-bit codes.
    first_root: f32,
    first_scatter: f32,
    /// Room for the table's terms.
    terms: Vec<u16>,
    bits: Vec<u8>,
    /// See [`QueryCode::set_length`].
    length: f32,
    /// The query as records of elements are compared with it.
    pub elements: Option<Box<QueryElements>>,
}

impl QueryCode {
    /// Tables for a query in index coordinates.
    pub fn new(codec: &Codec, query: &[f32]) -> Self {
        // Bits need no tables.
        let (padded, bits) = if codec.is_exact() { (0, codec.sign_bytes()) } else { (codec.padded(), 0) };
        let first = if codec.is_exact() { 0 } else { codec.first_dims() };
        let projection = codec.projection();
        let mut code = Self {
            groups: first / 4,
            sum: 0.0,
            norm: 0.0,
            lut: vec![0; first * 4],
            low: 0.0,
            delta: 0.0,
            bytes: vec![0; padded],
            step: 0.0,
            bytes_sum: 0,
            fine: OnceCell::new(),
            table_most: OnceCell::new(),
            query: vec![0.0; padded],
            scatter: 1.0 + 1.0 / (padded as f32).sqrt(),
            root: (padded as f32).sqrt(),
            longest: f32::INFINITY,
            float_errors: [false, true].map(|sound| float_error(padded.max(1), sound)),
            terms: vec![0; first],
            leading: vec![0.0; projection.map_or(0, Projection::dims)],
            dots: Vec::new(),
            inside: OnceCell::new(),
            first_root: (first as f32).sqrt(),
            first_scatter: 1.0 + 1.0 / (first as f32).sqrt(),
            bits: vec![0; bits],
            length: 0.0,
            elements: None,
        };
        code.set(codec, query);
        code
    }

    /// From now on rows whose residuals may be longer than this are never excluded: the operator may sum
    /// their inner products to infinity.
    pub fn distrust_beyond(&mut self, longest: f64) {
        self.longest = longest as f32;
    }

    /// Notes the length of the query itself, where bounds are widened in proportion to it.
    pub fn set_length(&mut self, length: f32) {
        self.length = length;
    }

    /// The length of the query itself, if it was noted.
    pub fn length(&self) -> f32 {
        self.length
    }

    /// Makes the tables for another query in the same memory.
    pub fn set(&mut self, codec: &Codec, query: &[f32]) {
        assert_eq!(query.len(), codec.padded(), "length of a query");
        if codec.is_exact() {
            return pack::write_bits(query, &mut self.bits);
        }
        self.norm = kernel::inner_product(query, query).sqrt();
        self.step = round_to_bytes(query, &mut self.bytes);
        self.bytes_sum = self.bytes.iter().map(|byte| i32::from(*byte)).sum();
        self.query.copy_from_slice(query);
        let mut leading = std::mem::take(&mut self.leading);
        let first = match codec.projection() {
            Some(projection) => {
                projection.apply(&self.bytes, self.step, &mut self.dots, &mut leading);
                &leading[..]
            }
            None => query,
        };
        self.sum = folded(first, 0.0, |sum, x| sum + x).iter().sum();
        self.set_table(first);
        self.leading = leading;
        (self.fine, self.table_most, self.inside) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
    }

    /// Subset sums of every four coordinates, rounded to bytes over their common range.
    fn set_table(&mut self, query: &[f32]) {
        let quads = query.as_chunks::<4>().0;
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for q in quads {
            low = low.min((q[0].min(0.0) + q[1].min(0.0)) + (q[2].min(0.0) + q[3].min(0.0)));
            high = high.max((q[0].max(0.0) + q[1].max(0.0)) + (q[2].max(0.0) + q[3].max(0.0)));
        }
        // The entry for no coordinate is a whole number of steps, so it has no rounding error, which all rows
        // would share.
        self.delta = (high - low) / 254.0;
        let below = if self.delta > 0.0 { (-low / self.delta).ceil().min(254.0) } else { 0.0 };
        self.low = -below * self.delta;
        // Sums are computed in 256ths of a step, in 16 bits; the entry is the upper byte. Single terms and
        // partial sums may wrap. The whole sum does not: with the half step that is added for rounding, it is
        // between 0 and 255 steps.
        let inverse = if self.delta > 0.0 { 256.0 / self.delta } else { 0.0 };
        for (term, x) in self.terms.iter_mut().zip(query) {
            *term = fixed(x * inverse);
        }
        kernel::subset_sums(&self.terms, fixed(256.0 * below).wrapping_add(128), &mut self.lut);
    }

    /// The table: 16 bytes per four dimensions.
    pub fn lut(&self) -> &[u8] {
        &self.lut
    }

    /// Prefetches the tables.
    pub fn prefetch(&self) {
        kernel::prefetch(self.lut.as_ptr(), self.lut.len());
        kernel::prefetch(self.bytes.as_ptr().cast(), self.bytes.len());
        kernel::prefetch(self.bits.as_ptr(), self.bits.len());
    }

    /// The query as a string of bits, where codes are such.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// One standard deviation of a table sum's rounding, in units of the query.
    fn table_error(&self) -> f32 {
        self.delta * (self.groups as f32 / 12.0).sqrt()
    }

    /// Largest possible error of a table sum, for any code, in units of the query.
    fn table_most(&self) -> f32 {
        *self.table_most.get_or_init(|| {
            let (mut low, mut high) = (0.0, 0.0);
            let first = if self.leading.is_empty() { &self.query } else { &self.leading };
            for (quad, entries) in first.as_chunks::<4>().0.iter().zip(self.lut.as_chunks::<16>().0) {
                let (mut least, mut most) = (0.0f32, 0.0f32);
                for (code, entry) in entries.iter().enumerate() {
                    let of = |i: usize| if code >> i & 1 == 1 { quad[i] } else { 0.0 };
                    let error = f32::from(*entry) * self.delta + self.low - (of(0) + of(1) + of(2) + of(3));
                    (least, most) = (least.min(error), most.max(error));
                }
                (low, high) = (low - least, high + most);
            }
            low.max(high)
        })
    }

    /// One standard deviation of a product of a code with the rounding of the query to bytes.
    fn rounding_of_bytes(&self, half_root: f32) -> f32 {
        half_root * self.step / 12f32.sqrt()
    }

    /// An upper bound of the length of what is outside of the leading space in the difference of the query
    /// and a centroid, which are `gap` apart. `centre` is the centroid's bytes with their scale, `squared`
    /// the square of its projection's length. `codec` is the one that made this code.
    pub fn outside(&self, codec: &Codec, (centre, scale): (&[i8], f32), squared: f32, gap: f32) -> f32 {
        let Some(projection) = codec.projection() else { return gap };
        let Inside { back, squared: of_query, lost } = self.inside(projection);
        let product = scale * kernel::dot_f32_i8(back, centre);
        // A difference of large numbers, if query and centroid are close to each other.
        let floats = self.float_errors[1] * (of_query + squared);
        let inside = (of_query + squared - 2.0 * product - floats).max(0.0).sqrt() - LENGTHENED_MOST * lost;
        (gap * gap - inside.max(0.0).powi(2)).max(0.0).sqrt()
    }

    fn inside(&self, projection: &Projection) -> &Inside {
        self.inside.get_or_init(|| {
            let rest =
                self.query.iter().zip(&self.bytes).map(|(x, b)| (x - self.step * f32::from(*b)).powi(2));
            Inside {
                back: projection.back(&self.leading),
                squared: kernel::inner_product(&self.leading, &self.leading),
                lost: 1.01 * rest.sum::<f32>().sqrt(),
            }
        })
    }

    /// The second eight bits of the coordinates.
    fn fine(&self) -> &Fine {
        self.fine.get_or_init(|| Fine::new(&self.query, &self.bytes, self.step))
    }

    /// The first stage for a list: the terms of bounds that are `width` away from the estimates.
    pub fn stage1(&self, codec: &Codec, terms: ListTerms, width: Width) -> Stage1 {
        let half_root = 0.5 * self.first_root;
        let projection = codec.projection();
        let (deviation, outside) = match projection {
            None => (ERROR_1, 0.0),
            Some(projection) if width.sound => {
                let lost = half_root * LENGTHENED_MOST * self.inside(projection).lost;
                (ERROR_1, projection.outside_error(terms.outside, terms.gap) + lost)
            }
            Some(projection) => {
                let rounding = width.deviations * self.rounding_of_bytes(half_root);
                (projection.error, projection.bias * terms.gap + rounding)
            }
        };
        let random = deviation * self.first_scatter * terms.gap;
        // The rounding error of `rescale` is proportional to |<y, q>|, of which six standard deviations are 3
        // |q|. It is needed for rows coded by older versions, in which `add` does not compensate for it.
        let (table, rounding) = if width.sound {
            (self.table_most(), half_root * HALF_ROUNDING * self.norm)
        } else {
            (width.deviations * self.table_error(), 1.5 * HALF_ROUNDING * self.norm)
        };
        let floats = self.float_errors[usize::from(width.sound)] * terms.lengths;
        // The residual is at most as long as the code times its factor.
        let longer = projection.map_or(1.0, Projection::longer);
        let error = width.deviations * random + outside + table + rounding + floats * half_root * longer;
        Stage1 {
            scale: self.delta,
            shift: self.groups as f32 * self.low - 0.5 * self.sum + error,
            base: terms.base - (floats * terms.lengths + terms.noise),
        }
    }

    /// The estimate from an extended record (factors and codes), and the bound of its error for `width`.
    /// `sum` is the table sum of the same row. Both are infinite or NaN if the row's factors did not fit half
    /// precision.
    pub fn extended(
        &self,
        codec: &Codec,
        record: &[u8],
        sum: u32,
        terms: ListTerms,
        width: Width,
    ) -> (f32, f32) {
        let (mut estimate, error, add, length) = if codec.bits() == 8 {
            self.extended_8(record, terms, width)
        } else {
            self.extended_4(record, sum, terms, width)
        };
        let floats = self.float_errors[usize::from(width.sound)];
        let lengths = terms.lengths * (terms.lengths + length) + add.abs();
        if length > self.longest {
            estimate = f32::NAN;
        }
        (estimate, error + floats * lengths + terms.noise)
    }

    /// Estimate, error, `add`, and an upper bound of the residual's length.
    fn extended_8(&self, record: &[u8], terms: ListTerms, width: Width) -> (f32, f32, f32, f32) {
        let number = |i: usize| f32::from_le_bytes([record[i], record[i + 1], record[i + 2], record[i + 3]]);
        let (add, rescale, error) = (number(0), number(4), number(8));
        let (codes, fine) = (&record[12..], self.fine());
        // The query is rounded in the same way as similar rows and their centroid. So the error of the first
        // bytes is not independent of the code, and it is large for a row near its centroid. The error that
        // remains after the second bytes is so small that its largest value can be added.
        let product = |bytes: &[i8], total: i32| {
            (2 * i64::from(kernel::dot_u8_i8(codes, bytes)) - 255 * i64::from(total)) as f32 * 0.5
        };
        let product =
            self.step * product(&self.bytes, self.bytes_sum) + fine.step * product(&fine.bytes, fine.sum);
        let longest = rescale.abs() * MOST_8 * self.root;
        let random = width.deviations * self.scatter * error * terms.gap;
        (add + terms.base + rescale * product, random + longest * fine.error, add, longest)
    }

    fn extended_4(&self, record: &[u8], sum: u32, terms: ListTerms, width: Width) -> (f32, f32, f32, f32) {
        let add = f16::from_le_bytes([record[0], record[1]]).to_f32();
        let rescale = f16::from_le_bytes([record[2], record[3]]).to_f32();
        if !self.leading.is_empty() {
            return self.extended_whole(record, (add, rescale), terms, width);
        }
        let signs = self.delta * sum as f32 + self.groups as f32 * self.low;
        let dot = kernel::dot_extended3(&record[4..], &self.bytes) as f32;
        let mut low = self.step * (dot - 3.5 * self.bytes_sum as f32) + 3.5 * self.sum;
        let root = self.root;
        let rounding = if width.sound {
            let fine = self.fine();
            low +=
                fine.step * (kernel::dot_extended3(&record[4..], &fine.bytes) as f32 - 3.5 * fine.sum as f32);
            8.0 * self.table_most() + MOST_LOW_3 * root * fine.error
        } else {
            width.deviations * (8.0 * self.table_error() + self.step * CODE_RMS_3 * root / 12f32.sqrt())
        };
        let product = 8.0 * signs + low - 7.5 * self.sum;
        let random = width.deviations * ERROR_4 * self.scatter * terms.gap;
        // `add` was rounded down, by up to twice the rounding to the nearest.
        let halves = HALF_ROUNDING * (2.0 * add.abs() + (rescale * product).abs()) + HALF_SMALLEST;
        let error = rescale.abs() * (random + rounding) + halves;
        (add + terms.base + rescale * product, error, add, rescale.abs() * MOST_4 * root)
    }

    /// As [`QueryCode::extended_4`], from codes that hold all four bits.
    fn extended_whole(
        &self,
        record: &[u8],
        (add, rescale): (f32, f32),
        terms: ListTerms,
        width: Width,
    ) -> (f32, f32, f32, f32) {
        let (low, signs) = record[4..].split_at(self.bytes.len() / 64 * 24);
        let dot = |bytes: &[i8], sum: i32| kernel::dot_extended4(low, signs, bytes) as f32 - 7.5 * sum as f32;
        let mut product = self.step * dot(&self.bytes, self.bytes_sum);
        let rounding = if width.sound {
            let fine = self.fine();
            product += fine.step * dot(&fine.bytes, fine.sum);
            MOST_4 * self.root * fine.error
        } else {
            width.deviations * self.step * CODE_RMS_4 * self.root / 12f32.sqrt()
        };
        let random = width.deviations * ERROR_4 * self.scatter * terms.gap;
        // As in `extended_4`.
        let halves = HALF_ROUNDING * (2.0 * add.abs() + (rescale * product).abs()) + HALF_SMALLEST;
        let error = rescale.abs() * (random + rounding) + halves;
        (add + terms.base + rescale * product, error, add, rescale.abs() * MOST_4 * self.root)
    }
}

/// The part of a query that is inside the leading space.
struct Inside {
    /// In index coordinates.
    back: Vec<f32>,
    /// Its squared length.
    squared: f32,
    /// The length of what rounding to bytes took from the query, at most.
    lost: f32,
}

/// The second bytes of a query's coordinates.
#[derive(Clone)]
struct Fine {
    bytes: Vec<i8>,
    step: f32,
    sum: i32,
    /// Length of the remainder after both bytes.
    error: f32,
}

impl Fine {
    fn new(query: &[f32], bytes: &[i8], step: f32) -> Self {
        let rest = |(x, b): (&f32, &i8)| x - step * f32::from(*b);
        let left: Vec<f32> = query.iter().zip(bytes).map(rest).collect();
        let mut bytes = vec![0; left.len()];
        let fine = round_to_bytes(&left, &mut bytes);
        // The whole remainder, including the rounding of the differences themselves.
        let squares = left.iter().zip(&bytes).map(|(x, b)| (x - fine * f32::from(*b)).powi(2));
        let floats = f32::EPSILON * kernel::inner_product(query, query).sqrt();
        let error = 1.01 * squares.sum::<f32>().sqrt() + floats;
        Self { sum: bytes.iter().map(|b| i32::from(*b)).sum(), bytes, step: fine, error }
    }
}

/// The nearest whole number modulo 2¹⁶, for numbers below 2²² (see [`super::round`]).
fn fixed(x: f32) -> u16 {
    (x + WHOLE).to_bits() as u16
}
