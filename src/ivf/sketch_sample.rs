//! Rows of a table as they are, on which a build measures how sketches deviate from them.

use super::deviation::{NEAREST, statistics};
use super::progress::Progress;
use super::sketch::Sketch;
use crate::error::Result;
use crate::kernel;
use crate::memory::{self, Grow};
use crate::page::meta::Deviation;
use crate::quant::elements::MOST_ELEMENTS;
use crate::value::{Metric, Original, OriginalBuf, TotalF32, TotalF64};

/// Rows whose neighbours are looked for to measure the deviation, and rows that are looked through.
const QUERIES: usize = 200;
const OTHERS: usize = 2000;
/// The operator's value is computed for so many rows with the nearest sketches.
const COMPARED: usize = 64;
/// Numbers that are kept for this, at most.
const MOST_NUMBERS: usize = 4 << 20;
/// Of an array of vectors, the first so many numbers are kept, so that there is room for enough arrays.
const MOST_OF_ROW: usize = MOST_NUMBERS / 128;

/// Extended records have room for all elements of this share of the rows,
const WHOLE: f64 = 0.95;
/// but for at least so many elements.
const LEAST_ELEMENTS: usize = 16;
/// The room if no rows are known.
const USUAL_ELEMENTS: usize = 96;

/// Some rows of a table, kept to measure how sketches deviate.
#[derive(Default)]
pub struct SketchSample {
    rows: Vec<OriginalBuf>,
    numbers: usize,
}

impl SketchSample {
    /// Rows that are wanted.
    pub const WANTED: usize = OTHERS;

    /// Keeps a row, if there is room for it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, row: Original<'_>) -> Result<()> {
        let row = row.cut(MOST_OF_ROW);
        if self.numbers + row.numbers() > MOST_NUMBERS {
            return Ok(());
        }
        self.numbers += row.numbers();
        self.rows.try_push(row.to_buf()?)
    }

    /// The number of elements for which extended records have room, in an index over sparse vectors.
    pub fn elements(&self) -> u32 {
        let mut counts: Vec<usize> = self.rows.iter().map(|row| row.view().numbers()).collect();
        counts.sort_unstable();
        let at = (counts.len() as f64 * WHOLE) as usize;
        let count = counts.get(at).copied().unwrap_or(USUAL_ELEMENTS);
        count.clamp(LEAST_ELEMENTS, MOST_ELEMENTS).next_multiple_of(4) as u32
    }

    /// Measures how the operator's values deviate from those of sketches, on rows that are near each other.
    ///
    /// # Errors
    /// Out of memory, and [`Progress::tick`]'s.
    pub fn deviation(&self, sketch: &Sketch, metric: Metric, progress: &dyn Progress) -> Result<Deviation> {
        let sketches = self.sketches(sketch, metric)?;
        let row = |i: usize| &sketches[i * sketch.size..][..sketch.size];
        let (of_queries, mut of_query) = (sketch.for_queries(), memory::filled(0.0, sketch.size)?);
        let step = self.rows.len().div_ceil(QUERIES).max(1);
        let mut found: Vec<f32> = memory::with_capacity(QUERIES * 2 * NEAREST)?;
        let mut near: Vec<(TotalF32, usize)> = memory::with_capacity(self.rows.len())?;
        for query in (0..self.rows.len()).step_by(step) {
            sketched(&self.rows[query], &of_queries, metric, &mut of_query)?;
            let others = (0..self.rows.len()).filter(|other| *other != query);
            near.clear();
            near.extend(others.map(|other| (TotalF32(by_sketch(metric, &of_query, row(other))), other)));
            keep_least(&mut near, COMPARED);
            let mut pairs: Vec<(TotalF64, TotalF32)> = memory::with_capacity(near.len())?;
            for (by_sketch, other) in &near {
                let value = self.rows[*other].view().distance(metric, self.rows[query].view(), || ())?;
                pairs.push((TotalF64(value), *by_sketch));
            }
            let length = kernel::norm_squared(&of_query).sqrt();
            let deviation = |pair: &(TotalF64, TotalF32)| deviation(metric, *pair, length);
            // The nearest by either value, so that errors to both sides are found.
            let before = found.len();
            pairs.sort_unstable_by_key(|pair| pair.1);
            found.extend(pairs.iter().take(NEAREST).filter_map(deviation));
            pairs.sort_unstable();
            found.extend(pairs.iter().take(NEAREST).filter_map(deviation));
            if sketch.is_of_tokens() {
                // A scan measures what all rows have in common.
                let common = found[before..].iter().sum::<f32>() / (found.len() - before).max(1) as f32;
                found[before..].iter_mut().for_each(|x| *x -= common);
            }
            progress.tick()?;
        }
        Ok(of_metric(metric, &mut found))
    }

    fn sketches(&self, sketch: &Sketch, metric: Metric) -> Result<Vec<f32>> {
        let mut sketches = memory::filled(0.0, self.rows.len() * sketch.size)?;
        for (row, out) in self.rows.iter().zip(sketches.chunks_exact_mut(sketch.size)) {
            sketched(row, sketch, metric, out)?;
        }
        Ok(sketches)
    }
}

/// Writes the sketch of a row, of length one by cosine.
fn sketched(row: &OriginalBuf, sketch: &Sketch, metric: Metric, out: &mut [f32]) -> Result<()> {
    sketch.write(row.view(), out)?;
    if metric == Metric::Cosine {
        let length = kernel::norm_squared(out).sqrt();
        out.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    Ok(())
}

fn keep_least(near: &mut Vec<(TotalF32, usize)>, count: usize) {
    if count < near.len() {
        near.select_nth_unstable(count);
        near.truncate(count);
    }
}

/// What two sketches say of the operator's value: a distance, or minus the inner product.
fn by_sketch(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    match metric {
        Metric::InnerProduct => -kernel::inner_product(a, b),
        _ => kernel::l2_squared(a, b).sqrt(),
    }
}

/// The quotient of an operator's value and what sketches say of it; the difference for inner products, for a
/// query of length one.
fn deviation(metric: Metric, (value, by_sketch): (TotalF64, TotalF32), length: f64) -> Option<f32> {
    let by_sketch = f64::from(by_sketch.0);
    if metric != Metric::InnerProduct && !(by_sketch > 0.0 && by_sketch.is_finite() && !value.0.is_nan()) {
        return None;
    }
    let deviation = match metric {
        // Rows of one direction: both are rounding errors.
        Metric::Cosine if value.0 < 1e-6 => return None,
        Metric::InnerProduct => (value.0 - by_sketch) / length,
        Metric::Cosine => (2.0 * value.0).max(0.0).sqrt() / by_sketch,
        _ => value.0 / by_sketch,
    };
    deviation.is_finite().then_some(deviation as f32)
}

/// The statistics of the deviations. Sketches keep Euclidean distances and inner products, so that only the
/// spread of these is measured.
fn of_metric(metric: Metric, found: &mut [f32]) -> Deviation {
    if metric != Metric::L1 {
        let centre = if metric == Metric::InnerProduct { 0.0 } else { 1.0 };
        let of = statistics(&mut found.iter().map(|x| (x - centre).abs() + 1.0).collect::<Vec<_>>());
        if of.mean == 0.0 {
            return of;
        }
        // A quotient of two small distances says nothing about others, and would outweigh them.
        let most = if metric == Metric::InnerProduct { f32::INFINITY } else { 1.0 };
        let squares = found.iter().map(|x| f64::from((x - centre).clamp(-most, most)).powi(2)).sum::<f64>();
        return Deviation { mean: 1.0, spread: (squares / found.len() as f64).sqrt() as f32 };
    }
    statistics(found)
}
