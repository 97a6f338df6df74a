//! How far the operator's values are from what codes say of them.
//!
//! Codes are rotated, and a rotation keeps Euclidean distances only. But in many dimensions a taxicab (L1)
//! distance is nearly a fixed multiple of the Euclidean one. The build measures the mean and the spread of
//! the quotient, on pairs of rows that are near each other. The bounds of a Euclidean distance, widened by
//! the spread, are then bounds of the taxicab distance. The exact distance comes from the table, as for all
//! metrics. The same holds for sketches (`sketch.rs`), whose distances differ from those of the sparse
//! vectors. Inner products of sketches differ by an amount that is proportional to the query's length. So do
//! those of sketches of sets, after the difference that all rows have in common for a query
//! (`search/offset.rs`).
//!
//! Bounds are in the unit of the codes: a taxicab distance's *key* is the square of its quotient by the mean.
//! If no row may be lost, the bounds are those that always hold: a taxicab distance is at least the Euclidean
//! one, and at most the square root of the dimensions times that. For sketches there are no such bounds:
//! exact scans compare the elements of all rows (`search/full_scan.rs`), or compute their values.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::kernel;
use crate::memory;
use crate::page::Tid;
use crate::page::meta::Deviation;
use crate::quant::Width;
use crate::random::SplitMix64;
use crate::value::{Metric, TotalF32};

/// Rows that are compared with others, the number of the others, and how many nearest of each count.
const QUERIES: usize = 200;
const OTHERS: usize = 4000;
pub(super) const NEAREST: usize = 10;
/// With fewer pairs the usual numbers are taken.
const LEAST_PAIRS: usize = 30;
/// The largest spread that counts, of sketches.
const MOST_SPREAD: f32 = 0.3;
/// The spread that is assumed if it was not measured.
const USUAL_SPREAD: f32 = 0.1;
/// The spread covers this share of the quotients at either end, at so many standard deviations of a normal
/// distribution.
const COVERED: (f32, f32) = (0.98, 2.05);
/// Standard deviation of the cosine of a residual and a query by a one-bit code, times the root of the
/// dimensions (RaBitQ, arXiv 2405.12497: the code's cosine with the residual is about .8).
const ERROR_OF_CODES: f32 = 0.75;
/// How bounds of keys are made of those of sketches' codes; all measured.
#[derive(Clone, Copy)]
struct Spreads {
    /// Lower bounds are widened by so many spreads for each standard deviation of other bounds. Sketches
    /// deviate more than codes, so a wider bound has many more rows fetched, and a row is lost only if it is
    /// among the last that are wanted.
    below: f32,
    /// Upper bounds are widened by so many spreads. They give the threshold, below which the values of as
    /// many rows as are wanted should be; otherwise lists are read again.
    above: f32,
    /// Bounds by codes are at least this share of their usual width. Errors of codes are usually not larger
    /// than those of sketches and independent of them, so they hardly add to them.
    of_codes: f32,
    /// The noise that stands for the deviation of sketches has this share of its spread. With all of it, rows
    /// that are far away and deviate much would seem to be neighbours, and twice as many lists would be read.
    noise: f32,
}

/// L1 distances deviate more, and not in the same way on both sides.
const OF_L1: Spreads = Spreads { below: 0.5, above: 0.7, of_codes: 1.0, noise: 0.5 };
const OF_OTHERS: Spreads = Spreads { below: 0.4, above: 1.2, of_codes: 0.2, noise: 0.3 };

/// With elements in extended records only the first stage compares sketches. A row that is refined in vain
/// takes as long as ten codes, and upper bounds are not widened.
const OF_ELEMENTS: [(Metric, Spreads); 3] = [
    (Metric::Cosine, Spreads { below: 0.35, above: 0.0, of_codes: 0.2, noise: 0.3 }),
    (Metric::InnerProduct, Spreads { below: 0.35, above: 0.0, of_codes: 0.2, noise: 0.3 }),
    (Metric::L2, Spreads { below: 0.6, above: 0.0, of_codes: 0.3, noise: 0.3 }),
];

/// Arrays of vectors: bounds are widened by so many spreads for each standard deviation of other bounds,
/// below and above. Of 100,000 diverse texts .97 of ten neighbours are then among the rows that are fetched
/// for a target of .95.
const OF_TOKENS: f32 = 0.95;
/// Spreads that are added to a ceiling, because the query's offset is not known when rows are compared.
const CEILING_OF_TOKENS: f32 = 4.0;

/// What turns bounds by codes into bounds of keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// Multiplies lower bounds.
    pub lower: f32,
    /// Multiplies upper bounds.
    pub upper: f32,
    /// Is subtracted from lower bounds.
    pub below: f32,
    /// Is added to upper bounds.
    pub above: f32,
}

impl Directory {
    /// Whether the operator's values deviate from what codes say.
    pub fn deviates(&self) -> bool {
        self.metric() == Metric::L1 || self.sketch().is_lossy()
    }

    /// Whether it is known how values deviate, if they do.
    pub fn is_measured(&self) -> bool {
        !self.deviates() || self.meta.deviation.mean > 0.0
    }

    /// Whether codes cannot order rows, because it is not known how values deviate.
    pub fn is_unmeasured(&self) -> bool {
        let needed = match self.metric() {
            Metric::L1 => true,
            Metric::InnerProduct => self.sketch().is_lossy(),
            _ => false,
        };
        needed && !self.is_measured()
    }

    /// What turns bounds by codes into bounds of keys, for a query of this length; `None` if nothing is known
    /// of the keys.
    pub fn factors(&self, width: Width, length: f32) -> Option<Factors> {
        let deviation = self.meta.deviation;
        if !self.sketch().is_lossy() {
            return Some(deviation.factors(width, self.dims()));
        }
        if width.sound {
            return None;
        }
        if self.codec.has_elements() && self.metric() == Metric::L1 {
            // The quotient of a value and the distance of sketches depends on the number of elements, so
            // codes exclude no row. To compare all elements takes no longer than with wider bounds.
            return Some(Factors { lower: 0.0, upper: f32::INFINITY, below: 0.0, above: 0.0 });
        }
        let spread = self.spread();
        let Spreads { below, above, .. } = self.spreads();
        let (below, above) = match self.sketch().is_of_tokens() {
            true => [OF_TOKENS * width.deviations * spread; 2].into(),
            false => (below * width.deviations * spread, above * spread),
        };
        Some(match self.metric() {
            Metric::InnerProduct => {
                let unit = self.meta.scale * length;
                Factors { lower: 1.0, upper: 1.0, below: below * unit, above: above * unit }
            }
            _ => {
                let (least, most) = ((1.0 - below).max(0.0), 1.0 + above);
                Factors { lower: least * least, upper: most * most, below: 0.0, above: 0.0 }
            }
        })
    }

    /// What is added to a ceiling of keys, for a query of this length.
    pub fn slack_of_ceiling(&self, length: f32) -> f32 {
        match self.sketch().is_of_tokens() {
            true => CEILING_OF_TOKENS * self.spread() * self.meta.scale * length,
            false => 0.0,
        }
    }

    fn spreads(&self) -> Spreads {
        if self.codec.has_elements()
            && let Some((_, spreads)) = OF_ELEMENTS.iter().find(|of| of.0 == self.metric())
        {
            return *spreads;
        }
        if self.metric() == Metric::L1 { OF_L1 } else { OF_OTHERS }
    }

    /// The width of bounds by codes where the bounds of keys have this width.
    pub fn width_of_codes(&self, width: Width) -> Width {
        match self.sketch().is_lossy() && !width.sound {
            true => Width::of(self.share_of_codes() * width.deviations),
            false => width,
        }
    }

    /// The share of their usual width that bounds by codes have: all of it where sketches are exact, less the
    /// more they deviate.
    fn share_of_codes(&self) -> f32 {
        let of_radius = match self.metric() {
            Metric::InnerProduct => self.mean_radius() / self.meta.scale,
            _ => 1.0,
        };
        let of_codes = ERROR_OF_CODES * of_radius / (self.dims() as f32).sqrt();
        (1.0 - self.spread() / of_codes).max(self.spreads().of_codes)
    }

    /// The spread of the deviation, or what is usual.
    fn spread(&self) -> f32 {
        let measured = self.meta.deviation;
        match (self.sketch().is_lossy(), measured.mean > 0.0) {
            (true, false) => (0.5 / self.dims() as f32).sqrt(),
            (true, true) if matches!(self.metric(), Metric::InnerProduct | Metric::L1) => measured.spread,
            // With more, bounds would exclude nothing.
            (true, true) => measured.spread.min(MOST_SPREAD),
            (false, _) => measured.known(self.dims()).spread,
        }
    }
}

impl Deviation {
    /// The measured numbers, or the usual ones: the mean quotient of differences that are normally
    /// distributed.
    pub(super) fn known(self, dims: usize) -> Self {
        if self.mean > 0.0 {
            return self;
        }
        let mean = (dims as f32 * std::f32::consts::FRAC_2_PI).sqrt().max(1.0);
        Self { mean, spread: USUAL_SPREAD }
    }

    /// The key of a taxicab distance in the unit of the index.
    pub fn key(self, distance: f64, dims: usize) -> f64 {
        let multiple = distance / f64::from(self.known(dims).mean);
        multiple * multiple
    }

    /// What turns bounds of squared Euclidean distances into bounds of taxicab distances' keys.
    fn factors(self, width: Width, dims: usize) -> Factors {
        let Self { mean, spread } = self.known(dims);
        let (least, most) = (1.0 / mean, (dims as f32).sqrt() / mean);
        let (least, most) = if width.sound {
            (least, most)
        } else {
            let wide = width.deviations * spread;
            ((1.0 - wide).max(least), (1.0 + wide).min(most.max(1.0)))
        };
        // The operator's sum is rounded, and so is the square.
        let floats = f32::EPSILON * (8.0 + dims as f32 / 8.0);
        Factors {
            lower: least * least * (1.0 - floats),
            upper: most * most * (1.0 + floats),
            below: 0.0,
            above: 0.0,
        }
    }
}

/// What stands in a calibration for the deviations: each row's key is changed by a random amount. Then the
/// neighbours by keys are in about as many lists as those by the operator's values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    /// Standard deviation of the factor on the root of a key.
    factor: f32,
    /// Standard deviation of what is added to a key.
    offset: f32,
    seed: u64,
}

impl Noise {
    /// For one query of this length.
    pub fn new(directory: &Directory, length: f32, seed: u64) -> Self {
        if !directory.deviates() {
            return Self::default();
        }
        let share = if directory.sketch().is_lossy() { directory.spreads().noise } else { 1.0 };
        let spread = share * directory.spread();
        match directory.metric() {
            Metric::InnerProduct => {
                Self { factor: 0.0, offset: spread * directory.meta.scale * length, seed }
            }
            _ => Self { factor: spread, offset: 0.0, seed },
        }
    }

    /// The key of a row with some of the noise.
    pub fn applied(self, key: f32, tid: Tid) -> f32 {
        if self.factor == 0.0 && self.offset == 0.0 {
            return key;
        }
        let mut random = SplitMix64(self.seed ^ u64::from(tid.blkno) << 16 ^ u64::from(tid.offset));
        // About normal.
        let normal = (0..4).map(|_| random.unit()).sum::<f64>() - 2.0;
        let normal = normal as f32 * 3f32.sqrt();
        let factor = (1.0 + self.factor * normal).max(0.0);
        key * factor * factor + self.offset * normal
    }
}

/// Measures the quotients of near rows of a sample.
///
/// # Errors
/// Out of memory, and [`Progress::tick`]'s.
pub fn measure(sample: &[f32], dims: usize, progress: &dyn Progress) -> Result<Deviation> {
    let rows = sample.len() / dims;
    let row = |i: usize| &sample[i * dims..][..dims];
    let (query_step, step) = (rows.div_ceil(QUERIES).max(1), rows.div_ceil(OTHERS).max(1));
    let mut quotients: Vec<f32> = memory::with_capacity(QUERIES * 2 * NEAREST)?;
    let mut distances: Vec<[f32; 2]> = memory::with_capacity(OTHERS)?;
    for query in (0..rows).step_by(query_step) {
        distances.clear();
        for other in (0..rows).step_by(step).filter(|other| *other != query) {
            let euclidean = kernel::l2_squared(row(query), row(other)).sqrt();
            let taxicab = kernel::l1(row(query), row(other));
            if euclidean > 0.0 && taxicab.is_finite() && euclidean.is_finite() {
                distances.push([euclidean, taxicab]);
            }
        }
        // The nearest by either distance, so that neither small nor large quotients are left out.
        for by in [0, 1] {
            let near = NEAREST.min(distances.len());
            if near < distances.len() {
                distances.select_nth_unstable_by_key(near, |pair| TotalF32(pair[by]));
            }
            quotients.extend(distances[..near].iter().map(|[euclidean, taxicab]| taxicab / euclidean));
        }
        progress.tick()?;
    }
    Ok(statistics(&mut quotients))
}

/// Mean and spread of quotients.
pub(super) fn statistics(quotients: &mut [f32]) -> Deviation {
    if quotients.len() < LEAST_PAIRS {
        return Deviation::default();
    }
    let count = quotients.len() as f64;
    let mean = quotients.iter().map(|q| f64::from(*q)).sum::<f64>() / count;
    let variance = quotients.iter().map(|q| (f64::from(*q) - mean).powi(2)).sum::<f64>() / count;
    let (mean, deviation) = (mean as f32, variance.sqrt() as f32);
    quotients.sort_unstable_by(f32::total_cmp);
    let (share, deviations) = COVERED;
    let at = |share: f32| quotients[((quotients.len() - 1) as f32 * share) as usize];
    let ends = (mean - at(1.0 - share)).max(at(share) - mean) / deviations;
    let spread = deviation.max(ends) / mean;
    if spread.is_finite() && mean.is_finite() { Deviation { mean, spread } } else { Deviation::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivf::progress::Silent;

    #[test]
    fn quotients_of_normal_differences() {
        let mut random = SplitMix64(3);
        for dims in [16, 128] {
            let sample: Vec<f32> = (0..3000 * dims).map(|_| random.normal()).collect();
            let measured = measure(&sample, dims, &Silent).unwrap();
            let usual = Deviation::default().known(dims);
            assert!((measured.mean / usual.mean - 1.0).abs() < 0.05, "{measured:?} {usual:?}");
            // The standard deviation of the quotient, divided by its mean, is about sqrt(.07 / dims).
            let spread = (0.07 / dims as f32).sqrt();
            assert!(measured.spread > 0.8 * spread && measured.spread < 2.5 * spread, "{measured:?}");
        }
    }

    #[test]
    fn few_or_equal_rows_have_no_quotients() {
        assert_eq!(measure(&[1.0, 2.0, 3.0, 4.0], 2, &Silent).unwrap(), Deviation::default());
        assert_eq!(measure(&[0.5; 4000], 4, &Silent).unwrap(), Deviation::default());
        assert_eq!(measure(&[], 4, &Silent).unwrap(), Deviation::default());
    }

    #[test]
    fn sound_factors_hold_for_every_difference() {
        let mut random = SplitMix64(4);
        for dims in [1, 2, 7, 100] {
            for taxicab in [Deviation::default(), Deviation { mean: 1.5, spread: 0.01 }] {
                let factors = taxicab.factors(Width::sound(8.0), dims);
                let mut vectors = vec![vec![1.0; dims], vec![0.0; dims]];
                vectors[1][0] = -3.0;
                vectors.extend((0..50).map(|_| (0..dims).map(|_| random.normal()).collect::<Vec<f32>>()));
                for vector in vectors {
                    let zero = vec![0.0; dims];
                    let key = taxicab.key(kernel::l1(&vector, &zero).into(), dims);
                    let squared = kernel::l2_squared(&vector, &zero);
                    assert!(f64::from(squared * factors.lower) <= key, "{dims} {vector:?}");
                    assert!(f64::from(squared * factors.upper) >= key, "{dims} {vector:?}");
                }
            }
        }
    }

    #[test]
    fn noise_has_the_spread() {
        let noise = Noise { factor: 0.05, offset: 0.0, seed: 7 };
        let roots: Vec<f32> = (0..2000)
            .map(|n| noise.applied(4.0, Tid { blkno: n / 50, offset: (n % 50 + 1) as u16 }).sqrt())
            .collect();
        let measured = statistics(&mut roots.clone());
        assert!((measured.mean - 2.0).abs() < 0.01 && (measured.spread - 0.05).abs() < 0.005, "{measured:?}");
        assert_eq!(Noise::default().applied(4.0, Tid { blkno: 1, offset: 1 }), 4.0);
    }
}
