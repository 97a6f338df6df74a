//! Keys of filter columns: unsigned integers with the order of a type's values, and the ranges of keys that a
//! comparison accepts.

/// The comparisons of a B-tree, by their strategy numbers (`access/stratnum.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Comparison {
    Less = 1,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};

/// The least and the largest key of a range; if the first is larger, the range is empty.
pub type Range = (u64, u64);

/// The empty range.
pub const NONE: Range = (1, 0);
const ALL: Range = (0, u64::MAX);

impl Comparison {
    /// The comparison of a strategy number.
    pub fn from_strategy(number: u16) -> Option<Self> {
        [Less, LessOrEqual, Equal, GreaterOrEqual, Greater].into_iter().find(|c| *c as u16 == number)
    }

    /// The comparison that is true where this one is false; `=` has none.
    pub fn opposite(self) -> Option<Self> {
        match self {
            Less => Some(GreaterOrEqual),
            LessOrEqual => Some(Greater),
            Equal => None,
            GreaterOrEqual => Some(Less),
            Greater => Some(LessOrEqual),
        }
    }

    /// The keys for which this comparison with `key` is true, if different values have different keys.
    pub fn with(self, key: u64) -> Range {
        match self {
            Less => key.checked_sub(1).map_or(NONE, |high| (0, high)),
            LessOrEqual => (0, key),
            Equal => (key, key),
            GreaterOrEqual => (key, u64::MAX),
            Greater => key.checked_add(1).map_or(NONE, |low| (low, u64::MAX)),
        }
    }

    /// The same if several values may share a key. Then the comparison may be false for some values with a
    /// key in this range.
    pub fn about(self, key: u64) -> Range {
        match self {
            Less => LessOrEqual.with(key),
            Greater => GreaterOrEqual.with(key),
            exact => exact.with(key),
        }
    }

    /// The keys of a 32-bit column for which this comparison with a 64-bit value is true.
    pub fn with_narrow(self, value: i64) -> Range {
        match i32::try_from(value) {
            Ok(value) => self.with(of_i32(value)),
            // Beyond all values of the column.
            Err(_) if (value > 0) == matches!(self, Less | LessOrEqual) && self != Equal => ALL,
            Err(_) => NONE,
        }
    }

    /// The keys of a single precision column for which this comparison with a double is true. Rounding the
    /// double excludes no value.
    pub fn with_single(self, value: f64) -> Range {
        let rounded = value as f32;
        let key = of_f32(rounded);
        if value.is_nan() || f64::from(rounded) == value {
            return self.with(key);
        }
        let above = f64::from(rounded) > value;
        match self {
            Equal => NONE,
            Less | LessOrEqual if above => Less.with(key),
            Less | LessOrEqual => LessOrEqual.with(key),
            Greater | GreaterOrEqual if above => GreaterOrEqual.with(key),
            Greater | GreaterOrEqual => Greater.with(key),
        }
    }
}

/// The key of an integer, in 32 bits.
pub fn of_i32(x: i32) -> u64 {
    u64::from(x.cast_unsigned() ^ 1 << 31)
}

/// The key of an integer.
pub fn of_i64(x: i64) -> u64 {
    x.cast_unsigned() ^ 1 << 63
}

/// The key of a number, in 32 bits: NaN is the largest and equal to itself, and zero has no sign, as in SQL.
pub fn of_f32(x: f32) -> u64 {
    let bits = if x.is_nan() { f32::NAN.abs() } else { x + 0.0 }.to_bits();
    u64::from(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

/// As [`of_f32`], in 64 bits.
pub fn of_f64(x: f64) -> u64 {
    let bits = if x.is_nan() { f64::NAN.abs() } else { x + 0.0 }.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_COMPARISONS: [Comparison; 5] = [Less, LessOrEqual, Equal, GreaterOrEqual, Greater];

    fn holds<T>(comparison: Comparison, a: T, b: T, order: fn(&T, &T) -> std::cmp::Ordering) -> bool {
        let order = order(&a, &b);
        match comparison {
            Less => order.is_lt(),
            LessOrEqual => order.is_le(),
            Equal => order.is_eq(),
            GreaterOrEqual => order.is_ge(),
            Greater => order.is_gt(),
        }
    }

    fn inside(key: u64, range: Range) -> bool {
        range.0 <= key && key <= range.1
    }

    /// SQL's order of floats.
    fn sql(a: &f64, b: &f64) -> std::cmp::Ordering {
        a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    }

    #[test]
    fn integers_compare_as_their_keys() {
        let narrow = [i32::MIN, i32::MIN + 1, -5, -1, 0, 1, 7, i32::MAX - 1, i32::MAX];
        let wide = [i64::MIN, -1 << 31, (-1 << 31) - 1, -5, 0, 7, (1 << 31) - 1, 1 << 31, i64::MAX];
        for c in ALL_COMPARISONS {
            for a in narrow {
                for b in wide {
                    assert_eq!(
                        inside(of_i32(a), c.with_narrow(b)),
                        holds(c, i64::from(a), b, i64::cmp),
                        "{a} {c:?} {b}"
                    );
                }
            }
            for a in wide {
                for b in wide {
                    assert_eq!(
                        inside(of_i64(a), c.with(of_i64(b))),
                        holds(c, a, b, i64::cmp),
                        "{a} {c:?} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn opposites_are_true_where_comparisons_are_false() {
        for c in ALL_COMPARISONS {
            for b in [0, 5, u64::MAX] {
                for a in [0, 4, 5, 6, u64::MAX] {
                    let opposite = c.opposite().map(|opposite| inside(a, opposite.with(b)));
                    assert!(opposite.is_none_or(|is| is != inside(a, c.with(b))), "{a} {c:?} {b}");
                }
            }
        }
    }

    #[test]
    fn floats_compare_as_their_keys() {
        let doubles = [
            f64::NEG_INFINITY,
            -1e300,
            -3.5,
            -0.1,
            -1e-46,
            -0.0,
            0.0,
            1e-46,
            0.1,
            f64::from(0.1f32),
            0.5,
            16_777_217.0,
            1e300,
            f64::INFINITY,
            f64::NAN,
            -f64::NAN,
        ];
        for c in ALL_COMPARISONS {
            for b in doubles {
                for a in doubles {
                    assert_eq!(inside(of_f64(a), c.with(of_f64(b))), holds(c, a, b, sql), "{a} {c:?} {b}");
                    let single = a as f32;
                    let expected = holds(c, f64::from(single), b, sql);
                    assert_eq!(inside(of_f32(single), c.with_single(b)), expected, "{single} {c:?} {b}");
                }
            }
        }
    }

    #[test]
    fn shared_keys_lose_nothing() {
        for c in ALL_COMPARISONS {
            for (a, b) in [(3u64, 3u64), (2, 3), (3, 2)] {
                if inside(a, c.with(b)) {
                    assert!(inside(a, c.about(b)));
                }
            }
            assert!(inside(3, c.about(3)));
        }
    }

    #[test]
    fn strategies_are_the_b_trees() {
        assert_eq!(Comparison::from_strategy(3), Some(Equal));
        assert_eq!(Comparison::from_strategy(6), None);
    }
}
