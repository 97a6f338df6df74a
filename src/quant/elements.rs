//! Records of sparse vectors: elements with one byte each, and a query that is compared with them.
//!
//! A record has the same size for all rows of an index. An element has a *key* of sixteen bits (a hash of its
//! index, see `ivf/sketch.rs`) and a byte, in units of the row's own step. A row with more elements than fit
//! keeps the largest. The query is a table with a weight for each key, so that a product takes one look-up
//! for each element. Two indices may have the same key: this adds to a product what is not there. If no
//! element is negative, a row then seems nearer than it is, and its value shows the truth.

use super::errors::TRUSTED;
use crate::error::Result;
use crate::memory::{self, Grow};

/// The most elements of a record: with so many, two records fit a page.
pub const MOST_ELEMENTS: usize = 1024;
/// Bytes of a record before its elements: length, step, and the length of what is left out.
const HEAD: usize = 12;
/// Bytes of an element: a key and a value.
const ELEMENT: usize = 3;
/// Keys that indices may have.
pub const KEYS: usize = 1 << 16;
/// Largest magnitude of an element, and of a query's weight: products of [`MOST_ELEMENTS`] fit 32 bits.
const MOST_BYTE: f64 = 127.0;
const MOST_WEIGHT: f64 = 8191.0;
/// Bounds are so many standard deviations from the estimate.
const DEVIATIONS: f64 = 3.0;
/// Standard deviation of a rounding error, in steps.
const ROUNDING: f64 = 0.2887;
/// Standard deviation of the part that equal keys of different indices add to a product, for vectors of
/// length one: the root of the number of keys, inverted.
const COLLISIONS: f64 = 1.0 / 256.0;
/// Upper bounds are so much wider where different indices may have equal keys.
const COLLIDE_MOST: f64 = 0.02;
/// If more than this share of a row's energy is left out, its record says nothing.
const LEFT_OUT_MOST: f64 = 0.5;
/// The standard deviation of the product with what is left out, as a share of what it would be if that were
/// as similar to the query as the rest.
const OF_LEFT_OUT: f64 = 0.5;
/// The operators add up in single precision: each term adds a rounding error of this share at most.
const FLOAT: f64 = 6e-8;
/// The most terms of a vector that has more than its record.
const MOST_TERMS: f64 = 16_000.0;

/// Bytes of the part of a record behind the row's address, for so many elements.
pub fn record_size(elements: usize) -> usize {
    HEAD + ELEMENT * elements
}

/// Writes the record of a sparse vector, given as keys with values. Lengths by [`Operator::Taxicab`] are sums
/// of magnitudes.
///
/// # Errors
/// Out of memory.
pub fn write_record(
    operator: Operator,
    elements: impl ExactSizeIterator<Item = (u16, f32)>,
    out: &mut [u8],
) -> Result<()> {
    let room = (out.len() - HEAD) / ELEMENT;
    let mut kept: Vec<(u16, f32)> = memory::with_capacity(elements.len())?;
    kept.extend(elements);
    let squared: f64 = kept.iter().map(|(_, x)| f64::from(*x).powi(2)).sum();
    let length_of = |of: &[(u16, f32)]| match operator {
        Operator::Taxicab => of.iter().map(|(_, x)| f64::from(x.abs())).sum::<f64>(),
        _ => of.iter().map(|(_, x)| f64::from(*x).powi(2)).sum::<f64>().sqrt(),
    };
    let length = length_of(&kept);
    let mut left_out = 0.0;
    if kept.len() > room {
        kept.select_nth_unstable_by(room, |a, b| b.1.abs().total_cmp(&a.1.abs()));
        left_out = length_of(&kept[room..]);
        kept.truncate(room);
    }
    let most = kept.iter().fold(0.0, |most, (_, x)| f64::max(most, f64::from(x.abs())));
    let step = most / MOST_BYTE;
    let is_negative = kept.iter().any(|(_, x)| *x < 0.0);
    let (head, rest) = out.split_at_mut(HEAD);
    let (keys, values) = rest.split_at_mut(2 * room);
    let signed = if is_negative { -1.0 } else { 1.0 };
    let known = if is_trusted(squared) { step as f32 } else { f32::NAN };
    for (out, number) in head.chunks_exact_mut(4).zip([length as f32, known, (left_out * signed) as f32]) {
        out.copy_from_slice(&number.to_le_bytes());
    }
    keys.fill(0);
    values.fill(0);
    for ((key, value), (of_key, x)) in keys.chunks_exact_mut(2).zip(values).zip(kept) {
        key.copy_from_slice(&of_key.to_le_bytes());
        *value = (f64::from(x) / step).round() as i8 as u8;
    }
    Ok(())
}

/// Whether the operators' sums agree with exact ones, for a vector of this squared length.
fn is_trusted(squared: f64) -> bool {
    TRUSTED.contains(&squared) || squared == 0.0
}

/// A record, decoded as far as its head.
#[derive(Clone, Copy)]
struct Record<'a> {
    length: f64,
    step: f64,
    /// Length of what is left out.
    left_out: f64,
    /// Whether elements are negative.
    is_signed: bool,
    keys: &'a [[u8; 2]],
    values: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let (head, rest) = bytes.split_at(HEAD);
        let number = |i: usize| f32::from_le_bytes(std::array::from_fn(|j| head[4 * i + j]));
        let (keys, values) = rest.split_at(rest.len() / ELEMENT * 2);
        let left_out = number(2);
        Self {
            length: number(0).into(),
            step: number(1).into(),
            left_out: left_out.abs().into(),
            is_signed: left_out.is_sign_negative(),
            keys: keys.as_chunks().0,
            values,
        }
    }

    /// The elements, in steps, and zeros in the place of those that the row does not have.
    fn elements(self) -> impl Iterator<Item = (u16, i32)> {
        let values = self.values.iter().map(|value| i32::from(value.cast_signed()));
        let keys = self.keys.iter().map(|key| u16::from_le_bytes(*key));
        keys.zip(values)
    }
}

/// Calls `with` with the elements of a record. Returns false if nothing is known of them.
pub fn read_record(bytes: &[u8], mut with: impl FnMut(u16, f32)) -> bool {
    let record = Record::read(bytes);
    for (key, value) in record.elements().filter(|(_, value)| *value != 0) {
        with(key, (f64::from(value) * record.step) as f32);
    }
    record.step.is_finite()
}

/// What an index orders by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Euclidean distance, squared.
    Euclidean,
    /// Twice the cosine distance.
    Cosine,
    /// Minus the inner product.
    Product,
    /// Taxicab (L1) distance.
    Taxicab,
}

/// What values of an index are, for a query of elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    /// What it orders by.
    pub operator: Operator,
    /// Multiplier of all coordinates in the unit of the index.
    pub scale: f64,
    /// A taxicab distance in the unit of the index, divided by this and squared, is its key.
    pub mean: f64,
    /// Whether different indices may have the same key.
    pub collide: bool,
}

/// What the weights of a query are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its elements.
    Elements,
    /// The coordinates of its sketch, at the keys that have them.
    Sketch,
}

/// A query as records are compared with it.
pub struct QueryElements {
    values: Values,
    kind: Kind,
    weights: Box<[i16; KEYS]>,
    /// Keys with a weight, of a query of elements.
    keys: Vec<u16>,
    /// A weight is a multiple of this.
    step: f64,
    /// Euclidean length, or the sum of the magnitudes by [`Operator::Taxicab`].
    length: f64,
    is_signed: bool,
    /// Sum of the magnitudes.
    sum: f64,
    /// Number of elements.
    count: f64,
    /// Whether the operators' sums of single precision neither overflow nor vanish.
    is_trusted: bool,
}

impl QueryElements {
    /// Bytes of the weights.
    pub const SIZE: usize = size_of::<i16>() * KEYS;

    /// No query.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(values: Values) -> Result<Self> {
        let weights = memory::filled(0, KEYS)?.into_boxed_slice();
        let Ok(weights) = weights.try_into() else { unreachable!("a weight for each key") };
        Ok(Self {
            values,
            kind: Kind::Elements,
            weights,
            keys: Vec::new(),
            step: 0.0,
            length: 0.0,
            is_signed: false,
            sum: 0.0,
            count: 0.0,
            is_trusted: false,
        })
    }

    /// Takes the elements of a query, as keys with values.
    ///
    /// # Errors
    /// Out of memory.
    pub fn set(&mut self, elements: impl ExactSizeIterator<Item = (u16, f32)>) -> Result<()> {
        self.clear();
        self.kind = Kind::Elements;
        let mut merged: Vec<(u16, f64)> = memory::with_capacity(elements.len())?;
        merged.extend(elements.map(|(key, x)| (key, f64::from(x))));
        merged.sort_unstable_by_key(|element| element.0);
        self.count = merged.len() as f64;
        let squared: f64 = merged.iter().map(|(_, x)| x * x).sum();
        self.is_trusted = is_trusted(squared);
        self.sum = merged.iter().map(|(_, x)| x.abs()).sum();
        self.length = match self.values.operator {
            Operator::Taxicab => self.sum,
            _ => squared.sqrt(),
        };
        self.is_signed = merged.iter().any(|(_, x)| *x < 0.0);
        merged.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0.0 };
            is_same
        });
        self.keys.grow(merged.len())?;
        self.keys.extend(merged.iter().map(|element| element.0));
        self.fill(merged.into_iter());
        Ok(())
    }

    /// Takes a sketch: the coordinate of each key, with the key's sign.
    pub fn set_sketch(&mut self, length: f32, of_key: impl Fn(u16) -> f32) {
        self.clear();
        self.kind = Kind::Sketch;
        self.length = length.into();
        self.is_signed = true;
        self.fill((0..=u16::MAX).map(|key| (key, f64::from(of_key(key)))));
    }

    fn clear(&mut self) {
        match self.kind {
            Kind::Elements => self.keys.iter().for_each(|key| self.weights[usize::from(*key)] = 0),
            Kind::Sketch => self.weights.fill(0),
        }
        self.keys.clear();
    }

    fn fill(&mut self, elements: impl Iterator<Item = (u16, f64)> + Clone) {
        let most = elements.clone().fold(0.0, |most, (_, x)| f64::max(most, x.abs()));
        self.step = most / MOST_WEIGHT;
        let inverse = if self.step > 0.0 { 1.0 / self.step } else { 0.0 };
        for (key, x) in elements {
            self.weights[usize::from(key)] = (x * inverse).round() as i16;
        }
    }

    /// Lower and upper bound of a row's value, in the unit of the index. Infinite if its record says nothing.
    pub fn bounds(&self, record: &[u8]) -> (f32, f32) {
        let record = Record::read(record);
        let (lower, upper) = match (self.values.operator, self.kind) {
            (Operator::Taxicab, Kind::Elements) => self.taxicab(record),
            _ => self.by_product(record),
        };
        let is_known = lower.is_finite() && upper.is_finite();
        if is_known { (lower as f32, upper as f32) } else { (f32::NEG_INFINITY, f32::INFINITY) }
    }

    /// A lower bound that holds for certain, of a query of elements. It is -infinite if there is none, as for
    /// negative elements whose keys may be those of others: these may subtract what is not there.
    pub fn sound_bound(&self, record: &[u8]) -> f32 {
        let record = Record::read(record);
        let is_sound = !self.values.collide || !(self.is_signed || record.is_signed);
        if self.kind != Kind::Elements || !is_sound || !self.is_trusted {
            return f32::NEG_INFINITY;
        }
        let room = record.values.len() as f64;
        let of_row = if record.left_out > 0.0 { MOST_TERMS } else { room };
        let floats = 1e-6 + FLOAT * (self.count + of_row);
        let bound = match self.values.operator {
            Operator::Taxicab => {
                let Record { length, step, left_out, .. } = record;
                let matched = room.min(self.count);
                let common = self.common(record) + matched * 0.5 * (step + self.step) + left_out;
                self.key(length + self.length - 2.0 * common - 2.0 * floats * (length + self.length))
            }
            _ => {
                let Record { length, step, left_out, .. } = record;
                // What a row has at most besides its length, because its elements are rounded.
                let magnitudes = room.sqrt() * length + room * 0.5 * step;
                let rounding = 0.5 * (self.sum * step + magnitudes * self.step);
                let most =
                    f64::from(self.dot(record)) * (self.step * step) + rounding + self.length * left_out;
                let Values { operator, scale, .. } = self.values;
                let unit = scale * scale;
                match operator {
                    Operator::Cosine => {
                        let lengths = self.length * length;
                        2.0 * unit * (1.0 - most / lengths - 2.0 * floats)
                    }
                    Operator::Product => -unit * (most + floats * self.length * length),
                    _ => {
                        let squares = self.length * self.length + length * length;
                        unit * (squares * (1.0 - 2.0 * floats) - 2.0 * most)
                    }
                }
            }
        };
        // Rounded down, so that it holds in single precision.
        if bound.is_finite() { (bound as f32).next_down() } else { f32::NEG_INFINITY }
    }

    /// The sum of the products of weights and values.
    fn dot(&self, record: Record<'_>) -> i32 {
        record.elements().map(|(key, value)| i32::from(self.weights[usize::from(key)]) * value).sum()
    }

    fn by_product(&self, record: Record<'_>) -> (f64, f64) {
        let Record { mut length, step, left_out, is_signed, .. } = record;
        if self.values.operator == Operator::Taxicab {
            // A sketch is compared by its Euclidean distances.
            length = step * (record.elements().map(|(_, x)| x * x).sum::<i32>() as f64).sqrt();
        }
        let product = f64::from(self.dot(record)) * (self.step * step);
        let missing = (left_out / length).powi(2);
        if missing > LEFT_OUT_MOST {
            return (f64::NAN, f64::NAN);
        }
        let collisions = match self.values.collide && (self.is_signed || is_signed) {
            true => COLLISIONS * self.length * length,
            false => 0.0,
        };
        let rounding = ROUNDING * (self.length * step + self.step * length);
        let of_left_out = if left_out > 0.0 { OF_LEFT_OUT * product.abs() * missing.sqrt() } else { 0.0 };
        let error = DEVIATIONS * (rounding + collisions + of_left_out);
        let above = if self.values.collide { COLLIDE_MOST * self.length * length } else { 0.0 };
        let Values { operator, scale, .. } = self.values;
        let unit = scale * scale;
        let (estimate, [error, above]) = match operator {
            Operator::Cosine => {
                let lengths = self.length * length;
                (2.0 * unit * (1.0 - product / lengths), [error, above].map(|x| 2.0 * unit * x / lengths))
            }
            Operator::Product => (-unit * product, [error, above].map(|x| unit * x)),
            _ => {
                let squares = self.length * self.length + length * length;
                (unit * (squares - 2.0 * product), [error, above].map(|x| 2.0 * unit * x))
            }
        };
        (estimate - error, estimate + error + above)
    }

    /// Magnitudes that both have do not count, and elements that only one has count in full.
    fn taxicab(&self, record: Record<'_>) -> (f64, f64) {
        let Record { length, step, left_out, .. } = record;
        if !step.is_finite() {
            return (f64::NAN, f64::NAN);
        }
        let distance = length + self.length - 2.0 * self.common(record);
        let rounding = ROUNDING * step * (record.values.len() as f64).sqrt();
        let error = DEVIATIONS * (rounding + OF_LEFT_OUT * left_out);
        // Usually one element at most has the key of another.
        let above = if self.values.collide { 3.0 * self.length / self.keys.len().max(1) as f64 } else { 0.0 };
        (self.key(distance - error), self.key(distance + error + above))
    }

    fn key(&self, distance: f64) -> f64 {
        (distance.max(0.0) * self.values.scale / self.values.mean).powi(2)
    }

    /// The sum of the magnitudes that the query and a row have in common.
    fn common(&self, record: Record<'_>) -> f64 {
        if self.step == 0.0 {
            return 0.0;
        }
        // In steps of the query. Four sums, because each addition waits for the one before it.
        let unit = (record.step / self.step) as f32;
        let mut sums = [0.0f32; 4];
        let (keys, values) = (record.keys.chunks(4), record.values.chunks(4));
        for (keys, values) in keys.zip(values) {
            for ((sum, key), value) in sums.iter_mut().zip(keys).zip(values) {
                let x = f32::from(self.weights[usize::from(u16::from_le_bytes(*key))]);
                let y = unit * f32::from(value.cast_signed());
                // Only if both have the same sign, without a branch.
                *sum += x.min(y).max(0.0) + (-x).min(-y).max(0.0);
            }
        }
        sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    const OPERATORS: [Operator; 4] =
        [Operator::Euclidean, Operator::Cosine, Operator::Product, Operator::Taxicab];
    const SCALE: f64 = 0.5;
    const MEAN: f64 = 3.0;

    /// A vector by its indices, which are keys unless they are too large.
    fn vector(random: &mut SplitMix64, count: usize, dims: usize, is_signed: bool) -> Vec<(usize, f32)> {
        let mut out: Vec<(usize, f32)> = (0..count)
            .map(|_| {
                let value = 0.05 + random.unit() as f32 * 3.0;
                let sign = if is_signed && random.bits() & 1 == 1 { -1.0 } else { 1.0 };
                (random.below(dims), sign * value * value)
            })
            .collect();
        out.sort_by_key(|element| element.0);
        out.dedup_by_key(|element| element.0);
        out
    }

    fn by_keys(of: &[(usize, f32)]) -> impl ExactSizeIterator<Item = (u16, f32)> + '_ {
        of.iter().map(|(index, x)| (*index as u16, *x))
    }

    /// The value in the unit of the index.
    fn truth(operator: Operator, a: &[(usize, f32)], b: &[(usize, f32)]) -> f64 {
        let at = |of: &[(usize, f32)], index: usize| {
            of.iter().find(|element| element.0 == index).map_or(0.0, |element| f64::from(element.1))
        };
        let mut indices: Vec<usize> = a.iter().chain(b).map(|element| element.0).collect();
        indices.sort_unstable();
        indices.dedup();
        let pairs: Vec<(f64, f64)> = indices.iter().map(|index| (at(a, *index), at(b, *index))).collect();
        let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(x, y)| f(*x, *y)).sum::<f64>();
        let product = sum(&|x, y| x * y);
        match operator {
            Operator::Euclidean => sum(&|x, y| (x - y) * (x - y)) * SCALE * SCALE,
            Operator::Product => -product * SCALE * SCALE,
            Operator::Cosine => {
                2.0 * SCALE * SCALE * (1.0 - product / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt())
            }
            Operator::Taxicab => (sum(&|x, y| (x - y).abs()) * SCALE / MEAN).powi(2),
        }
    }

    /// Compares rows of all kinds with queries: `check` gets both bounds, the sound one, and the truth.
    fn compare(room: usize, dims: usize, is_signed: bool, check: &mut dyn FnMut((f32, f32), f32, f64)) {
        let mut random = SplitMix64(17 + dims as u64 + u64::from(is_signed));
        for operator in OPERATORS {
            let values = Values { operator, scale: SCALE, mean: MEAN, collide: dims > KEYS };
            let mut query = QueryElements::new(values).unwrap();
            for _ in 0..20 {
                let count = 1 + random.below(60);
                let asked = vector(&mut random, count, dims, is_signed);
                query.set(by_keys(&asked)).unwrap();
                for _ in 0..20 {
                    let count = 1 + random.below(60);
                    let mut row = vector(&mut random, count, dims, is_signed);
                    // Some terms of the query, so that there is something in common.
                    row.extend(asked.iter().filter(|_| random.bits() & 1 == 1));
                    row.sort_by_key(|element| element.0);
                    row.dedup_by_key(|element| element.0);
                    let mut record = vec![7; record_size(room)];
                    write_record(operator, by_keys(&row), &mut record).unwrap();
                    let bounds = query.bounds(&record);
                    check(bounds, query.sound_bound(&record), truth(operator, &asked, &row));
                }
            }
        }
    }

    #[test]
    fn sound_bounds_hold() {
        for room in [8, 24, 128] {
            for (dims, is_signed) in [(3000, false), (3000, true), (1 << 17, false), (1 << 17, true)] {
                let (mut rows, mut unknown) = (0, 0);
                compare(room, dims, is_signed, &mut |_, sound, truth| {
                    assert!(f64::from(sound) <= truth + 1e-9 * truth.abs(), "{room} {dims} {sound} {truth}");
                    rows += 1;
                    unknown += usize::from(sound == f32::NEG_INFINITY);
                });
                // Few rows and queries have no negative element.
                let knows_few = dims > KEYS && is_signed;
                assert!(if knows_few { unknown * 10 > rows * 9 } else { unknown == 0 }, "{unknown}");
            }
        }
    }

    #[test]
    fn usual_bounds_enclose_the_values_closely() {
        for (dims, is_signed) in [(3000, false), (3000, true), (1 << 17, false), (1 << 17, true)] {
            let (mut rows, mut outside, mut width) = (0u32, 0, 0.0);
            compare(128, dims, is_signed, &mut |(lower, upper), _, truth| {
                rows += 1;
                outside += u32::from(f64::from(lower) > truth || f64::from(upper) < truth);
                width += f64::from(upper - lower) / truth.abs().max(0.1);
            });
            assert!(outside * 100 < rows, "{dims} {is_signed}: {outside} of {rows}");
            assert!(width < 0.4 * f64::from(rows), "{dims} {is_signed}: {}", width / f64::from(rows));
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = [(3, 1.0), (70, -12.7), (900, 0.1), (901, 6.0)];
        let mut record = vec![0; record_size(6)];
        write_record(Operator::Product, by_keys(&row), &mut record).unwrap();
        let mut found = Vec::new();
        assert!(read_record(&record, |key, x| found.push((usize::from(key), (x * 1e3).round() / 1e3))));
        assert_eq!(found, row);
        // The largest are kept, and half of the energy must be.
        let mut record = vec![0; record_size(2)];
        write_record(Operator::Product, by_keys(&row), &mut record).unwrap();
        found.clear();
        read_record(&record, |key, x| found.push((usize::from(key), x)));
        found.sort_by_key(|element| element.0);
        assert_eq!(found.iter().map(|element| element.0).collect::<Vec<_>>(), [70, 901]);
    }

    #[test]
    fn of_lengths_beyond_single_precision_nothing_is_known() {
        OPERATORS.into_iter().for_each(nothing_is_known);
    }

    fn nothing_is_known(operator: Operator) {
        let values = Values { operator, scale: 1.0, mean: 1.0, collide: false };
        let mut query = QueryElements::new(values).unwrap();
        query.set(by_keys(&[(1, 1.0)])).unwrap();
        for row in [[(1, 3e38), (2, 3e38)], [(1, 1e-40), (2, 1e-40)]] {
            let mut record = vec![0; record_size(2)];
            write_record(values.operator, by_keys(&row), &mut record).unwrap();
            assert_eq!(query.bounds(&record), (f32::NEG_INFINITY, f32::INFINITY));
            // By L1 the least distance of all, otherwise nothing.
            assert!(query.sound_bound(&record) <= 0.0);
            assert!(!read_record(&record, |_, _| ()));
        }
        // By a query of such a length nothing is excluded.
        let mut record = vec![0; record_size(2)];
        write_record(operator, by_keys(&[(1, 1.0)]), &mut record).unwrap();
        query.set(by_keys(&[(1, 1e-23)])).unwrap();
        assert_eq!(query.sound_bound(&record), f32::NEG_INFINITY);
        if operator != Operator::Cosine {
            // And a row without elements is as far away as the query is long.
            query.set(by_keys(&[(1, 1.0)])).unwrap();
            write_record(operator, by_keys(&[]), &mut record).unwrap();
            let (lower, upper) = query.bounds(&record);
            let truth = if operator == Operator::Product { 0.0 } else { 1.0 };
            assert!(lower <= truth && upper >= truth && upper - lower < 0.01, "{lower} {upper}");
        }
    }

    #[test]
    fn a_sketch_is_compared_by_its_coordinates() {
        for operator in OPERATORS {
            let values = Values { operator, scale: 1.0, mean: 1.0, collide: false };
            let mut query = QueryElements::new(values).unwrap();
            query.set_sketch(5.0, |key| if key & 1 == 1 { -4.0 } else { 3.0 });
            let mut record = vec![0; record_size(4)];
            write_record(operator, by_keys(&[(2, 1.0), (5, 1.0)]), &mut record).unwrap();
            let (lower, upper) = query.bounds(&record);
            let product = 3.0 - 4.0;
            let truth = match operator {
                Operator::Product => -product,
                Operator::Cosine => 2.0 * (1.0 - product / (5.0 * 2f32.sqrt())),
                _ => 25.0 + 2.0 - 2.0 * product,
            };
            assert!(((lower + upper) / 2.0 - truth).abs() < 0.02, "{operator:?} {lower} {upper} {truth}");
            assert_eq!(query.sound_bound(&record), f32::NEG_INFINITY);
        }
    }
}
