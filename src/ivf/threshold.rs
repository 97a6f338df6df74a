//! Bounds of a distance: which distances `d` a filter like `(1 - d) / 2 > $1` can pass.
//!
//! The filter is evaluated in floating point, the bound is solved for `d` in floating point, and neither is
//! exact. A bound must never exclude a distance that the filter passes, so each step widens it by more than
//! the rounding error of that step. Nothing here raises an error: if a result overflows or is NaN or NULL,
//! there is no bound.

/// Share by which a bound is widened, because the scan and the operator may differ in the last bits of a
/// distance.
const SLACK: f64 = 1e-9;

/// An operation that is undone in solving for the distance. Its result is bounded, and a bound of its operand
/// `x` is wanted. `c` is a constant; it is finite, and not zero if it is a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Undo {
    /// `-x`
    Negative,
    /// `x + c`
    Plus(f64),
    /// `x - c`
    Minus(f64),
    /// `c - x`
    From(f64),
    /// `x * c`
    Times(f64),
    /// `x / c`
    Divided(f64),
}

impl Undo {
    /// Whether the result falls as the operand grows.
    pub fn falls(self) -> bool {
        match self {
            Self::Negative | Self::From(_) => true,
            Self::Plus(_) | Self::Minus(_) => false,
            Self::Times(c) | Self::Divided(c) => c < 0.0,
        }
    }

    /// The bound of the operand if the computed result is bounded by `of`: from above if `above`, else from
    /// below. If the result falls as the operand grows, the operand is bounded from the other side.
    fn solve(self, of: f64, above: bool) -> f64 {
        // The computed result was rounded to the nearest number, so the exact one is below the next number.
        let exact = outward(of, above);
        let operand = match self {
            Self::Negative => return -of,
            Self::Plus(c) => exact - c,
            Self::Minus(c) => exact + c,
            Self::From(c) => c - exact,
            Self::Times(c) => exact / c,
            Self::Divided(c) => exact * c,
        };
        // The operand that was computed here was rounded, too.
        outward(operand, above != self.falls())
    }
}

fn outward(x: f64, above: bool) -> f64 {
    if above { x.next_up() } else { x.next_down() }
}

/// An operation of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `a + b`
    Plus,
    /// `a - b`
    Minus,
    /// `a * b`
    Times,
    /// `a / b`
    Divided,
}

/// An expression of numbers that are the same for all rows; the value of an `L` is known later.
#[derive(Clone, Debug, PartialEq)]
pub enum Fixed<L> {
    /// Evaluated elsewhere.
    Leaf(L),
    /// `-a`
    Negative(Box<Self>),
    /// `a` and `b`
    Operation(Arithmetic, Box<Self>, Box<Self>),
}

impl<L> Fixed<L> {
    /// The value as the server would compute it; `None` for NULL, and if the server would raise an error.
    fn value(&self, leaf: &mut dyn FnMut(&L) -> Option<f64>) -> Option<f64> {
        let (operation, a, b) = match self {
            Self::Leaf(l) => return leaf(l),
            Self::Negative(a) => return a.value(leaf).map(|a| -a),
            Self::Operation(operation, a, b) => (operation, a.value(leaf)?, b.value(leaf)?),
        };
        let value = match operation {
            Arithmetic::Plus => a + b,
            Arithmetic::Minus => a - b,
            Arithmetic::Times => a * b,
            Arithmetic::Divided => a / b,
        };
        let overflows = value.is_infinite() && a.is_finite() && b.is_finite();
        (!overflows).then_some(value)
    }

    fn map<M>(&self, leaf: &mut dyn FnMut(&L) -> M) -> Fixed<M> {
        match self {
            Self::Leaf(l) => Fixed::Leaf(leaf(l)),
            Self::Negative(a) => Fixed::Negative(Box::new(a.map(leaf))),
            Self::Operation(operation, a, b) => {
                Fixed::Operation(*operation, Box::new(a.map(leaf)), Box::new(b.map(leaf)))
            }
        }
    }
}

/// A filter that bounds a distance from above.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound<L> {
    /// What the filter compares with.
    fixed: Fixed<L>,
    /// Whether the other side of the comparison is bounded from above.
    above: bool,
    /// Operations from the other side of the comparison to the distance, outermost first.
    undo: Vec<Undo>,
}

impl<L> Bound<L> {
    /// The filter that the operations `undo` of a distance, outermost first, give at most (`above`) or at
    /// least `fixed`. `None` if this bounds the distance from below.
    pub fn new(fixed: Fixed<L>, above: bool, undo: Vec<Undo>) -> Option<Self> {
        let distance_above = undo.iter().fold(above, |above, step| above != step.falls());
        distance_above.then_some(Self { fixed, above, undo })
    }

    /// No distance above this passes the filter. It is infinite if the filter compares with NULL (no row
    /// passes, but the filter decides that) or with NaN (all rows may pass).
    pub fn value(&self, mut leaf: impl FnMut(&L) -> Option<f64>) -> f64 {
        let Some(mut value) = self.fixed.value(&mut leaf) else { return f64::INFINITY };
        let mut above = self.above;
        for step in &self.undo {
            value = step.solve(value, above);
            above = above != step.falls();
        }
        match value {
            value if value.is_nan() => f64::INFINITY,
            value if value.is_finite() => value + (value.abs() + 1.0) * SLACK,
            value => value,
        }
    }

    /// The same bound with other leaves.
    pub fn map<M>(&self, mut leaf: impl FnMut(&L) -> M) -> Bound<M> {
        Bound { fixed: self.fixed.map(&mut leaf), above: self.above, undo: self.undo.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn leaf(value: f64) -> Fixed<f64> {
        Fixed::Leaf(value)
    }

    fn value(fixed: Fixed<f64>, above: bool, undo: &[Undo]) -> f64 {
        Bound::new(fixed, above, undo.to_vec()).map_or(f64::INFINITY, |bound| bound.value(|l| Some(*l)))
    }

    /// The filter's side, as the server computes it.
    fn forward(x: f64, undo: &[Undo]) -> f64 {
        undo.iter().rev().fold(x, |x, step| match step {
            Undo::Negative => -x,
            Undo::Plus(c) => x + c,
            Undo::Minus(c) => x - c,
            Undo::From(c) => c - x,
            Undo::Times(c) => x * c,
            Undo::Divided(c) => x / c,
        })
    }

    #[test]
    fn what_overflows_is_no_bound() {
        assert_eq!(value(leaf(1.7e308), true, &[Undo::Divided(1000.0)]), f64::INFINITY);
        assert_eq!(value(leaf(-1.7e308), false, &[Undo::Divided(-1000.0)]), f64::INFINITY);
        assert_eq!(value(leaf(1e300), true, &[Undo::Times(1e-300)]), f64::INFINITY);
        assert_eq!(value(leaf(f64::MAX), true, &[Undo::Minus(f64::MAX)]), f64::INFINITY);
        let square = Fixed::Operation(Arithmetic::Times, Box::new(leaf(1e308)), Box::new(leaf(10.0)));
        assert_eq!(value(square, true, &[]), f64::INFINITY);
        let by_zero = Fixed::Operation(Arithmetic::Divided, Box::new(leaf(1.0)), Box::new(leaf(0.0)));
        assert_eq!(value(by_zero, true, &[]), f64::INFINITY);
        let negative_by_zero =
            Fixed::Operation(Arithmetic::Divided, Box::new(leaf(-1.0)), Box::new(leaf(0.0)));
        assert_eq!(value(negative_by_zero, true, &[]), f64::INFINITY);
    }

    #[test]
    fn nan_and_null_are_no_bounds() {
        let steps = [Undo::From(1.0), Undo::Times(-2.0), Undo::Negative, Undo::Plus(3.0)];
        for n in 0..steps.len() {
            for above in [false, true] {
                assert_eq!(value(leaf(f64::NAN), above, &steps[..n]), f64::INFINITY);
            }
        }
        let bound = Bound::new(Fixed::Leaf(()), true, vec![]).unwrap();
        assert_eq!(bound.value(|()| None), f64::INFINITY);
        let same =
            Fixed::Operation(Arithmetic::Minus, Box::new(leaf(f64::INFINITY)), Box::new(leaf(f64::INFINITY)));
        assert_eq!(value(same, true, &[]), f64::INFINITY);
    }

    #[test]
    fn plain_bounds_are_close() {
        let close = |a: f64, b: f64| assert!(a >= b && a < b + 1e-8, "{a} {b}");
        close(value(leaf(0.7), true, &[]), 0.7);
        close(value(leaf(0.3), false, &[Undo::From(1.0)]), 0.7);
        close(value(leaf(-0.4), false, &[Undo::Divided(2.0), Undo::From(2.0), Undo::Times(4.0)]), 0.7);
        close(value(leaf(0.0), true, &[Undo::Minus(0.5)]), 0.5);
        close(value(leaf(-0.0), true, &[]), 0.0);
        let half = Fixed::Negative(Box::new(Fixed::Operation(
            Arithmetic::Plus,
            Box::new(leaf(-1.0)),
            Box::new(leaf(0.5)),
        )));
        close(value(half, true, &[]), 0.5);
        assert_eq!(Bound::new(leaf(0.5), false, vec![]), None);
        assert_eq!(Bound::new(leaf(0.5), true, vec![Undo::Times(-1.0)]), None);
        assert_eq!(value(leaf(f64::NEG_INFINITY), true, &[]), f64::NEG_INFINITY);
    }

    /// Steps of all sizes, with large rounding errors: the bound admits every operand that the filter passes.
    #[test]
    fn no_distance_that_passes_is_excluded() {
        let mut random = SplitMix64(16);
        let mut unit = move || (random.bits() >> 11) as f64 / (1u64 << 53) as f64;
        let (mut tried, mut passed) = (0, 0);
        while tried < 200_000 {
            let mut size = |most: f64| 10f64.powf((unit() - 0.5) * 2.0 * most) * (unit() - 0.3).signum();
            let steps: Vec<Undo> = (0..4)
                .map(|_| {
                    let c = size(12.0);
                    [
                        Undo::Negative,
                        Undo::Plus(c),
                        Undo::Minus(c),
                        Undo::From(c),
                        Undo::Times(c),
                        Undo::Divided(c),
                    ][(size(9.0).abs() * 1e9) as usize % 6]
                })
                .collect();
            let x = size(18.0);
            let r = forward(x, &steps);
            let above = !steps.iter().fold(false, |falls, step| falls != step.falls());
            // The filter `result <= r` (or `>= r`) passes x itself, because r was computed from x.
            let bound = value(leaf(r), above, &steps);
            tried += 1;
            assert!(x <= bound, "{x} {bound} {r} {steps:?}");
            let mut farther = x;
            for _ in 0..3 {
                farther = farther.next_up();
                if forward(farther, &steps) == r {
                    passed += 1;
                    assert!(farther <= bound, "{farther} {bound} {r} {steps:?}");
                }
            }
        }
        assert!(passed > 10_000, "{passed}");
    }
}
