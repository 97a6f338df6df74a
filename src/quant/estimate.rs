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
    /// Room for the table's terms.
    terms: Vec<u16>,
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
            terms: vec![0; padded],
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
        self.sum = folded(query, 0.0, |sum, x| sum + x).iter().sum();
        self.set_table(query);
        let max = folded(query, 0.0, |max, x| max.max(x.abs())).into_iter().fold(0.0, f32::max);
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
        let quads = query.as_chunks::<4>().0;
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for q in quads {
            low = low.min((q[0].min(0.0) + q[1].min(0.0)) + (q[2].min(0.0) + q[3].min(0.0)));
            high = high.max((q[0].max(0.0) + q[1].max(0.0)) + (q[2].max(0.0) + q[3].max(0.0)));
        }
        self.low = low;
        self.delta = (high - low) / 255.0;
        // Sums of 256ths of a step, of which the byte is the upper half. Single terms and partial sums may wrap: the
        // whole is between 0 and 255 steps and the half that rounds, which is more than its terms' errors.
        let inverse = if self.delta > 0.0 { 256.0 / self.delta } else { 0.0 };
        for (term, x) in self.terms.iter_mut().zip(query) {
            *term = fixed(x * inverse);
        }
        kernel::subset_sums(&self.terms, fixed(-low * inverse).wrapping_add(128), &mut self.lut);
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

/// The nearest whole number modulo 2¹⁶, for numbers below 2²² (see [`super::round_to_byte`]).
fn fixed(x: f32) -> u16 {
    (x + super::WHOLE).to_bits() as u16
}

/// Folds into eight lanes, so that no step waits for the one before.
fn folded(query: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    let mut lanes = [start; 8];
    let (chunks, rest) = query.as_chunks::<8>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, *x);
        }
    }
    for x in rest {
        lanes[0] = step(lanes[0], *x);
    }
    lanes
}
