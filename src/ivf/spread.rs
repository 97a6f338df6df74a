//! The spread of the values of a list's rows. The estimate of rows within a distance is based on it.

use crate::value::Metric;

/// Values of a list's rows: their mean and variance.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Their mean.
    pub mean: f32,
    /// Their variance.
    pub variance: f32,
}

impl Spread {
    /// The share of values up to `key`.
    pub fn below(self, metric: Metric, key: f64) -> f64 {
        let (mean, variance) = (f64::from(self.mean), f64::from(self.variance));
        if variance <= 0.0 || !variance.is_finite() {
            return f64::from(u8::from(key >= mean));
        }
        if metric == Metric::InnerProduct {
            return normal((key - mean) / variance.sqrt());
        }
        // Squared distances have a longer tail above than below, but their cubic roots are about normally
        // distributed (Wilson, Hilferty).
        let v = variance / (9.0 * mean * mean);
        normal(((key / mean).cbrt() - (1.0 - v)) / v.sqrt())
    }
}

/// The cumulative normal distribution, with an error below 10⁻⁴.
fn normal(z: f64) -> f64 {
    1.0 / (1.0 + (-z * (1.5976 + 0.070_56 * z * z)).exp())
}

/// Statistics of a directory, for queries that are like its rows. Computed once.
pub struct Profile {
    /// Directions that the rows differ in.
    pub directions: f32,
    /// Spreads of lists' values, and their weights.
    pub spreads: Vec<(Spread, f32)>,
}
