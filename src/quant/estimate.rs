//! From codes to distances: the query's tables, bounds of the first stage, estimates of the second.

use half::f16;

use super::code::Codec;
use super::pack;
use crate::kernel;

/// Standard deviation of the one-bit error per `|rescale| * gap`: the residual's sine to its code is nearly
/// constant, so that it need not be stored (reference algorithms 1.2).
const ERROR_1: f32 = 0.3014;
/// The same for four bits: sine of the 16-level normal quantizer (mean square error 0.01154) by its step.
pub(super) const ERROR_4: f32 = 0.3205;
/// Relative rounding error of half precision.
const HALF_ROUNDING: f32 = 1.0 / 4096.0;
/// Root mean square of centred 8-bit codes, generously.
const CODE_RMS_8: f32 = 36.0;
/// The same of the low three bits of 4-bit codes, centred at 3.5: sqrt((8² - 1) / 12).
const CODE_RMS_3: f32 = 2.2913;

/// A list as the estimator sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListTerms {
    /// Squared distance of query and centroid, or minus their inner product.
    pub base: f32,
    /// Distance of query and centroid.
    pub gap: f32,
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

/// A query, rotated and made into tables; or where codes are strings of bits, such a string. Shared by all lists.
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
    bytes_sum: f32,
    /// Factor on the nominal error for the scatter of a residual's sine at low dimensions.
    scatter: f32,
    subsets: Vec<f32>,
    bits: Vec<u8>,
}

impl QueryCode {
    /// Tables for a query in index coordinates.
    pub fn new(codec: &Codec, query: &[f32]) -> Self {
        // Bits need no tables.
        let (padded, bits) = if codec.is_exact() { (0, codec.sign_bytes()) } else { (codec.padded(), 0) };
        let mut code = Self {
            groups: padded / 4,
            sum: 0.0,
            norm: 0.0,
            lut: vec![0; padded * 4],
            low: 0.0,
            delta: 0.0,
            bytes: vec![0; padded],
            step: 0.0,
            bytes_sum: 0.0,
            scatter: 1.0 + 1.0 / (padded as f32).sqrt(),
            subsets: vec![0.0; padded * 4],
            bits: vec![0; bits],
        };
        code.set(codec, query);
        code
    }

    /// Makes the tables for another query in the same memory.
    pub fn set(&mut self, codec: &Codec, query: &[f32]) {
        assert_eq!(query.len(), codec.padded(), "length of a query");
        if codec.is_exact() {
            return pack::write_bits(query, &mut self.bits);
        }
        self.norm = kernel::inner_product(query, query).sqrt();
        self.sum = query.iter().sum();
        self.set_table(query);
        let max = query.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        self.step = max / 127.0;
        let inverse = if self.step > 0.0 { 1.0 / self.step } else { 0.0 };
        let mut total = 0;
        for (b, x) in self.bytes.iter_mut().zip(query) {
            *b = super::round_to_byte(x * inverse);
            total += i32::from(*b);
        }
        self.bytes_sum = total as f32;
    }

    /// Subset sums of every four coordinates, rounded to bytes over their common range.
    fn set_table(&mut self, query: &[f32]) {
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for (q, out) in query.as_chunks::<4>().0.iter().zip(self.subsets.as_chunks_mut::<16>().0) {
            let pairs = [0.0, q[0], q[1], q[0] + q[1]];
            let uppers = [0.0, q[2], q[3], q[2] + q[3]];
            for (i, o) in out.iter_mut().enumerate() {
                *o = pairs[i % 4] + uppers[i / 4];
            }
            low = low.min(q.iter().map(|x| x.min(0.0)).sum());
            high = high.max(q.iter().map(|x| x.max(0.0)).sum());
        }
        self.low = low;
        self.delta = (high - low) / 255.0;
        let inverse = if self.delta > 0.0 { 1.0 / self.delta } else { 0.0 };
        for (o, s) in self.lut.iter_mut().zip(&self.subsets) {
            *o = ((s - low) * inverse + 0.5) as u8;
        }
    }

    /// The table: 16 bytes per four dimensions.
    pub fn lut(&self) -> &[u8] {
        &self.lut
    }

    /// The query as a string of bits, where codes are such.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// One standard deviation of a table sum's rounding, in units of the query.
    fn table_error(&self) -> f32 {
        self.delta * (self.groups as f32 / 12.0).sqrt()
    }

    /// The first stage for a list: bounds that `width` standard deviations of error do not cross.
    pub fn stage1(&self, terms: ListTerms, width: f32) -> Stage1 {
        let error = ERROR_1 * self.scatter * terms.gap + self.table_error();
        // The rounding of `rescale` counts by |<y, q>|, six deviations of which are 3 |q|.
        let rounding = 3.0 * HALF_ROUNDING * self.norm;
        Stage1 {
            scale: self.delta,
            shift: self.groups as f32 * self.low - 0.5 * self.sum + width * error + rounding,
            base: terms.base,
        }
    }

    /// The estimate by an extended record (factors and codes) and its standard deviation. `sum` is the
    /// table sum of the same row. Infinite or NaN when the row's factors did not fit.
    pub fn extended(&self, codec: &Codec, record: &[u8], sum: u32, terms: ListTerms) -> (f32, f32) {
        let dims = self.bytes.len() as f32;
        if codec.bits() == 8 {
            let number =
                |i: usize| f32::from_le_bytes([record[i], record[i + 1], record[i + 2], record[i + 3]]);
            let (add, rescale, error) = (number(0), number(4), number(8));
            let dot = kernel::dot_u8_i8(&record[12..], &self.bytes) as f32;
            let product = self.step * (dot - 127.5 * self.bytes_sum);
            let estimate = add + terms.base + rescale * product;
            let rounding = self.step * CODE_RMS_8 * (dims / 12.0).sqrt();
            return (estimate, self.scatter * error * terms.gap + rescale.abs() * rounding);
        }
        let add = f16::from_le_bytes([record[0], record[1]]).to_f32();
        let rescale = f16::from_le_bytes([record[2], record[3]]).to_f32();
        let signs = self.delta * sum as f32 + self.groups as f32 * self.low;
        let dot = kernel::dot_extended3(&record[4..], &self.bytes) as f32;
        let low = self.step * (dot - 3.5 * self.bytes_sum) + 3.5 * self.sum;
        let product = 8.0 * signs + low - 7.5 * self.sum;
        let estimate = add + terms.base + rescale * product;
        let rounding = 8.0 * self.table_error() + self.step * CODE_RMS_3 * (dims / 12.0).sqrt();
        let error = rescale.abs() * (ERROR_4 * self.scatter * terms.gap + rounding);
        (estimate, error + HALF_ROUNDING * (2.0 * add.abs() + (rescale * product).abs()))
    }
}
