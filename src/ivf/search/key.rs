//! Values of rows in the units of their bounds.

use crate::ivf::directory::Directory;
use crate::value::{Metric, jaccard};

/// The operator's value in the units of the bounds.
pub(super) fn key_of(directory: &Directory, value: f64) -> f64 {
    let scale = f64::from(directory.meta.scale);
    match directory.metric() {
        Metric::L2 => (value * scale) * (value * scale),
        Metric::Cosine => 2.0 * value * scale * scale,
        Metric::InnerProduct => value * scale * scale,
        Metric::Hamming => value,
        Metric::Jaccard if directory.is_exact() => jaccard::key(value).into(),
        Metric::Jaccard => value - 0.5,
        Metric::L1 => directory.meta.deviation.key(value * scale, directory.dims()),
    }
}

/// A ceiling of values in the units of the bounds, rounded up by more than the rounding errors of the sums.
///
/// Inner products that overflow single precision are minus infinity, but their bounds need not be. And rows
/// whose bounds overflow have minus infinity for a lower bound, which must be below the ceiling.
pub(super) fn ceiling_key(directory: &Directory, value: f64) -> f32 {
    let scale = f64::from(directory.meta.scale);
    let least = -f64::from(f32::MAX);
    let value = if value < least { least } else { value };
    let key = match directory.metric() {
        // No distance is negative.
        Metric::L2 | Metric::L1 if value < 0.0 => -1.0,
        // It is not known how values follow distances of codes, only that these are not greater.
        Metric::L1 if !directory.is_measured() => (value * scale) * (value * scale),
        _ => key_of(directory, value),
    };
    // The operator takes a cosine from sums of single precision: near zero their error is absolute.
    let absolute = match directory.metric() {
        Metric::Cosine => {
            2.0 * scale * scale * f64::from(f32::EPSILON) * (8.0 + (directory.dims() as f64).sqrt())
        }
        _ => 0.0,
    };
    ((key + key.abs() * 1e-5 + absolute) as f32 + f32::MIN_POSITIVE).max(f32::MIN)
}

/// The value of a row with this bound in an index over bit strings, whose codes are the rows.
pub(super) fn known_value(directory: &Directory, lower: f32) -> Option<f64> {
    directory.is_exact().then(|| match directory.metric() {
        Metric::Jaccard => jaccard::distance_of(lower),
        _ => f64::from(lower),
    })
}
