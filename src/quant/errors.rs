//! The errors of estimates from codes: from the codes themselves, and from arithmetic in single precision.

/// Standard deviation of the one-bit error per `|rescale| * gap`: the sine of the angle between a residual
/// and its code is nearly constant, so it is not stored (RaBitQ, arXiv 2405.12497, stores it).
pub(super) const ERROR_1: f32 = 0.3014;
/// The same for four bits: the sine for the 16-level quantizer of a normal variable (mean square error
/// 0.01154), divided by its step.
pub(super) const ERROR_4: f32 = 0.3205;

/// For squared norms in this range, the operator's sums of single precision are exact enough to agree with
/// codes: they neither overflow nor vanish.
pub const TRUSTED: std::ops::Range<f64> = 1e-30..1e37;

/// Relative error of sums, rotations and the operator's own value in single precision: the largest possible
/// error if `sound`, else several times the usual one.
pub(super) fn float_error(padded: usize, sound: bool) -> f32 {
    let rounding = 0.5 * f32::EPSILON;
    let terms = padded as f32 / 16.0;
    // A level of the transform rounds each coordinate once.
    let levels = 4.0 * (padded.ilog2() + 4) as f32;
    rounding * if sound { 7.0 * (terms + 8.0) + 6.0 * levels } else { 2.0 * (terms.sqrt() + 4.0) + levels }
}
