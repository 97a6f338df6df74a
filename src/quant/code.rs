//! From a rotated residual to its code: one sign bit per dimension with two factors, and a finer code with
//! factors of its own.
//!
//! With `y` the code's grid vector and `a = |o|² / <y, o>`, `a <y, v>` estimates `<o, v>` without bias
//! (RaBitQ, arXiv 2405.12497). `add` is the sum of the terms that do not depend on the query. `rescale` is
//! the product of the factors of `<y, q>`.

use std::sync::Arc;

use half::f16;

use super::elements::record_size;
use super::errors::{ERROR_1, ERROR_4, float_error};
use super::projection::Projection;
use super::rotate::padded_dims;
use crate::error::{Error, Kind, Result};
use crate::kernel;

/// Step of the optimal uniform 16-level quantizer of a standard normal variable (Max, 1960).
const STEP_16: f32 = 0.3352;
/// Magnitude levels of the 8-bit code.
const LEVELS_8: f32 = 127.0;

/// Rows with a larger error of their 4-bit code (see `errors::ERROR_4`) are never excluded by it.
const ERROR_4_MOST: f32 = 1.4 * ERROR_4;
/// The same for the one-bit code: a row with a larger error is never excluded by it.
const ERROR_1_MOST: f32 = 1.33 * ERROR_1;

/// What the index compares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Squared Euclidean distance.
    L2,
    /// Negative inner product.
    InnerProduct {
        /// Inner product of the residual with the true centre (the origin included).
        residual_dot_centre: f32,
    },
}

/// Factors of the first stage, half precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Factors {
    /// Added to the list's base.
    pub add: f16,
    /// Multiplies the inner product of code and query; never positive.
    pub rescale: f16,
}

/// The projections of a row's residual and of its centroid on the leading space.
#[derive(Clone, Copy)]
pub struct Leading<'a> {
    /// Of the residual.
    pub row: &'a [f32],
    /// Of the centroid.
    pub centre: &'a [f32],
    /// Whether the residual was rounded so little that its code may exclude it.
    pub is_close: bool,
}

/// Codes of one width.
#[derive(Clone, Debug)]
pub struct Codec {
    padded: usize,
    bits: u8,
    code_bytes: usize,
    exact: bool,
    /// Grid steps per unit of a normalised coordinate (4 bits).
    steps: f32,
    /// The leading space of the one-bit codes; without it they are of all dimensions.
    projection: Option<Arc<Projection>>,
    /// Elements of a sparse vector that an extended record has, if it has no finer code.
    elements: usize,
}

impl Codec {
    /// Codes of `padded` dimensions (a multiple of 64) with 1, 4 or 8 bits each.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for other numbers.
    pub fn new(padded: usize, bits: u8) -> Result<Self> {
        if !matches!(bits, 1 | 4 | 8) || padded == 0 || !padded.is_multiple_of(64) {
            return Err(Error::new(
                Kind::InvalidParameter,
                format!("codes of {bits} bits and {padded} dimensions do not exist"),
            ));
        }
        let steps = (padded as f32).sqrt() / STEP_16;
        let code_bytes = padded / 8;
        Ok(Self { padded, bits, code_bytes, exact: false, steps, projection: None, elements: 0 })
    }

    /// The codes of strings of `dims` bits: the strings themselves.
    pub fn of_bits(dims: usize) -> Self {
        Self {
            padded: padded_dims(dims),
            bits: 1,
            code_bytes: dims.div_ceil(8),
            exact: true,
            steps: 0.0,
            projection: None,
            elements: 0,
        }
    }

    /// The same with one-bit codes in a leading space.
    pub fn leading(self, projection: Arc<Projection>) -> Self {
        Self { code_bytes: projection.dims() / 8, projection: Some(projection), ..self }
    }

    /// The same with extended records that have so many elements of a sparse vector (`elements.rs`), or a
    /// finer code if the number is zero.
    pub fn of_elements(self, elements: usize) -> Self {
        Self { elements, ..self }
    }

    /// Whether extended records have elements.
    pub fn has_elements(&self) -> bool {
        self.elements > 0
    }

    /// The leading space, if the one-bit codes are of one.
    pub fn projection(&self) -> Option<&Projection> {
        self.projection.as_deref()
    }

    /// The same, shared.
    pub fn shared_projection(&self) -> Option<Arc<Projection>> {
        self.projection.clone()
    }

    /// Dimensions of the one-bit codes.
    pub fn first_dims(&self) -> usize {
        self.projection().map_or(self.padded, Projection::dims)
    }

    /// Whether codes are the vectors themselves (bit strings), so that distances computed from them are
    /// exact.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Bits per dimension in total.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Dimensions.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// Bytes of the sign bits, or of the string of bits.
    pub fn sign_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Bytes of the extended part: factors and codes.
    pub fn extended_size(&self) -> usize {
        match self.bits {
            1 => 0,
            _ if self.has_elements() => record_size(self.elements),
            4 if self.projection.is_some() => 4 + self.padded / 2,
            4 => 4 + self.padded / 64 * 24,
            _ => 12 + self.padded,
        }
    }

    /// The length of the longest residual whose factors fit half precision: a residual is at most as long as
    /// its code times its factor. Longer residuals are never excluded by their one-bit codes.
    pub fn longest(&self) -> f64 {
        let inside = self.projection().map_or(1.0, |projection| f64::from(1.0 - projection.most_outside));
        f64::from(f16::MAX.to_f32()) * 0.5 * (self.first_dims() as f64).sqrt()
            / inside.max(f64::MIN_POSITIVE).sqrt()
    }

    /// Codes a residual (rotated, relative to `centre`, which is relative to the origin). `leading` has their
    /// projections if one-bit codes are of a leading space. `signs` takes the sign bits, least significant
    /// first; `extended` the extended part, unless that has elements: these are not written here.
    ///
    /// Values whose factors half precision cannot hold get factors that make every bound minus infinity.
    pub fn encode(
        &self,
        (residual, centre): (&[f32], &[f32]),
        leading: Option<Leading<'_>>,
        form: Form,
        signs: &mut [u8],
        extended: &mut [u8],
    ) -> Factors {
        assert_eq!((residual.len(), centre.len()), (self.padded, self.padded), "lengths of a code");
        assert_eq!((signs.len(), extended.len()), (self.sign_bytes(), self.extended_size()));
        let squared = kernel::inner_product(residual, residual);
        match self.bits {
            _ if self.has_elements() => {}
            4 => self.encode_4(residual, centre, squared, form, extended),
            8 => self.encode_8(residual, centre, form, extended),
            _ => {}
        }
        let (row, centre) = leading.map_or((residual, centre), |leading| (leading.row, leading.centre));
        let [code_residual, code_centre] = kernel::sign_code(row, centre, signs);
        let (mut inside, mut excludable) = (squared, true);
        if let (Some(projection), Some(leading)) = (self.projection(), leading) {
            inside = kernel::inner_product(row, row);
            excludable = leading.is_close && squared - inside <= projection.most_outside * squared;
        }
        let dims = row.len();
        if !excludable || error(inside, code_residual, (0.25 * dims as f32, dims)) > ERROR_1_MOST {
            return EVERYTHING;
        }
        self.half_factors(form, (squared, inside), code_residual, code_centre)
    }

    /// Reconstructs approximately the residual from which a code was made: the grid vector, scaled to the
    /// length that the estimator assumes. Returns false for a row whose factors exclude nothing, and with one
    /// bit per coordinate.
    pub fn decode(&self, inner_product: bool, signs: &[u8], extended: &[u8], out: &mut [f32]) -> bool {
        assert_eq!((signs.len(), extended.len()), (self.sign_bytes(), self.extended_size()));
        let rescale = match self.bits {
            4 => f16::from_le_bytes([extended[2], extended[3]]).to_f32(),
            8 => f32::from_le_bytes([extended[4], extended[5], extended[6], extended[7]]),
            _ => 0.0,
        };
        let alpha = if inner_product { -rescale } else { -0.5 * rescale };
        for (i, o) in out.iter_mut().enumerate() {
            let level = match self.bits {
                4 => {
                    let signs = if self.projection.is_some() {
                        &extended[4 + self.padded / 64 * 24..]
                    } else {
                        signs
                    };
                    let (code, at) = (&extended[4 + i / 64 * 24..], i % 64);
                    let low = code[at % 16] >> (2 * (at / 16)) & 3 | (code[16 + at / 8] >> (at % 8) & 1) << 2;
                    f32::from(low | (signs[i / 8] >> (i % 8) & 1) << 3) - 7.5
                }
                8 => f32::from(extended[12 + i]) - 127.5,
                _ => 0.0,
            };
            *o = alpha * level;
        }
        alpha.is_finite() && alpha > 0.0
    }

    fn encode_4(&self, residual: &[f32], centre: &[f32], squared: f32, form: Form, out: &mut [u8]) {
        let steps = finite(self.steps / squared.sqrt());
        let (head, codes) = out.split_at_mut(4);
        // Without sign bits of all dimensions in the first stage, they are behind the low three bits.
        let (codes, signs) = codes.split_at_mut(self.padded / 64 * 24);
        if !signs.is_empty() {
            kernel::sign_code(residual, centre, signs);
        }
        let [code_residual, code_centre, code_squared] = kernel::grid_code4(residual, centre, steps, codes);
        let mut factors = self.half_factors(form, (squared, squared), code_residual, code_centre);
        // The estimator assumes that every row has the usual error. A row with a coordinate far outside the
        // grid has a larger error, so its bounds must not exclude it.
        if error(squared, code_residual, (code_squared, self.padded)) > ERROR_4_MOST {
            factors = EVERYTHING;
        }
        head[..2].copy_from_slice(&factors.add.to_le_bytes());
        head[2..].copy_from_slice(&factors.rescale.to_le_bytes());
    }

    /// The factors in half precision, `add` rounded down. If a factor does not fit, the row gets factors that
    /// exclude nothing.
    ///
    /// `add` is computed with `rescale` as rounded. Then the error from rounding `rescale` is proportional to
    /// the distance of query and centroid, not to the length of the query.
    fn half_factors(
        &self,
        form: Form,
        (squared, coded): (f32, f32),
        code_residual: f32,
        code_centre: f32,
    ) -> Factors {
        let (_, exact) = factors(form, coded, code_residual, code_centre);
        let rescale = f16::from_f32(exact);
        if exact != 0.0 && !rescale.is_normal() {
            return EVERYTHING;
        }
        let along = -rescale.to_f32() * code_centre;
        let add = match form {
            Form::L2 => squared * (1.0 - float_error(self.padded, true)) + along,
            Form::InnerProduct { residual_dot_centre } => along - residual_dot_centre,
        };
        let mut half_add = f16::from_f32(add);
        if !half_add.is_finite() {
            return EVERYTHING;
        }
        if half_add.to_f32() > add {
            half_add = next_down(half_add);
        }
        Factors { add: half_add, rescale }
    }

    fn encode_8(&self, residual: &[f32], centre: &[f32], form: Form, out: &mut [u8]) {
        let max = residual.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let steps = finite((LEVELS_8 + 0.99) / max);
        // In double precision: the error is a small difference of large sums.
        let (mut squared, mut code_residual, mut code_centre, mut code_squared) = (0f64, 0f64, 0f64, 0f64);
        let (head, codes) = out.split_at_mut(12);
        for ((o, c), out) in residual.iter().zip(centre).zip(codes) {
            let level = (o.abs() * steps).min(LEVELS_8) as u8;
            let (low, grid) = grid(*o, level, 127);
            *out = if *o > 0.0 { 128 | low } else { low };
            let (o, c, grid) = (f64::from(*o), f64::from(*c), f64::from(grid));
            squared += o * o;
            code_residual += grid * o;
            code_centre += grid * c;
            code_squared += grid * grid;
        }
        let (add, rescale) = factors(form, squared as f32, code_residual as f32, code_centre as f32);
        let aligned = if squared > 0.0 { code_residual * code_residual / squared } else { code_squared };
        let across = ((code_squared - aligned).max(0.0) / (self.padded - 1) as f64).sqrt();
        let error = rescale.abs() * across as f32;
        for (out, value) in head.chunks_exact_mut(4).zip([add, rescale, error]) {
            out.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The standard deviation of `<y, q>` for a query at distance one: the length of the part of `y` that is
/// orthogonal to `o`, divided by the square root of the number of directions in which it may point.
fn error(squared: f32, code_residual: f32, (code_squared, dims): (f32, usize)) -> f32 {
    let aligned = if squared > 0.0 { code_residual * (code_residual / squared) } else { code_squared };
    ((code_squared - aligned).max(0.0) / (dims - 1) as f32).sqrt()
}

/// The stored low bits (complemented for negative values, so that codes grow with the value) and the grid
/// value of a coordinate.
fn grid(o: f32, level: u8, levels: u8) -> (u8, f32) {
    let magnitude = f32::from(level) + 0.5;
    if o > 0.0 { (level, magnitude) } else { (levels - level, -magnitude) }
}

fn finite(x: f32) -> f32 {
    if x.is_finite() { x } else { 0.0 }
}

/// `add` and `rescale` from `|o|²`, `<y, o>` and `<y, c>`.
fn factors(form: Form, squared: f32, code_residual: f32, code_centre: f32) -> (f32, f32) {
    let alpha = if code_residual > 0.0 { squared / code_residual } else { 0.0 };
    match form {
        Form::L2 => (squared + 2.0 * alpha * code_centre, -2.0 * alpha),
        Form::InnerProduct { residual_dot_centre } => (alpha * code_centre - residual_dot_centre, -alpha),
    }
}

/// Factors whose bounds exclude nothing.
const EVERYTHING: Factors = Factors { add: f16::NEG_INFINITY, rescale: f16::ZERO };

fn next_down(x: f16) -> f16 {
    let bits = x.to_bits();
    if bits == 0 || bits == 0x8000 {
        f16::from_bits(0x8001)
    } else if x.is_sign_negative() {
        f16::from_bits(bits + 1)
    } else {
        f16::from_bits(bits - 1)
    }
}
