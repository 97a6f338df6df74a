//! How far estimates from codes are off: by the codes, and by arithmetic in single precision.

/// Standard deviation of the one-bit error per `|rescale| * gap`: the residual's sine to its code is nearly
/// constant, so that it need not be stored.
pub(super) const ERROR_1: f32 = 0.3014;
/// The same for four bits: sine of the 16-level normal quantizer (mean square error 0.01154) by its step.
pub(super) const ERROR_4: f32 = 0.3205;

/// Relative error of sums, rotations and the operator's own value in single precision: the most that it can
/// be, or (several times) what it usually is.
pub(super) fn float_error(padded: usize, sound: bool) -> f32 {
    let rounding = 0.5 * f32::EPSILON;
    let terms = padded as f32 / 16.0;
    // A level of the transform rounds each coordinate once.
    let levels = 4.0 * (padded.ilog2() + 4) as f32;
    rounding * if sound { 7.0 * (terms + 8.0) + 6.0 * levels } else { 2.0 * (terms.sqrt() + 4.0) + levels }
}
