//! Floats in the order of PostgreSQL's `float4` and `float8`.

use std::cmp::Ordering;

/// Floats as PostgreSQL sorts them: −0 equals 0, and NaN, whatever its sign, equals NaN and is greater than
/// infinity. `total_cmp` orders by bits, in which the sign of a computed NaN differs between processors.
macro_rules! total {
    ($name:ident, $float:ty) => {
        #[doc = concat!("An `", stringify!($float), "` in PostgreSQL's order: −0 equals 0, every NaN is \
            last.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name(pub $float);

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                let nan = || self.0.is_nan().cmp(&other.0.is_nan());
                self.0.partial_cmp(&other.0).unwrap_or_else(nan)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $name {}
    };
}

total!(TotalF32, f32);
total!(TotalF64, f64);

impl TotalF32 {
    /// An integer in the same order: comparing it needs no branch.
    pub fn to_ordered(self) -> i32 {
        if self.0.is_nan() {
            return i32::MAX;
        }
        // Adding zero makes −0 a 0. For negative numbers, the bits below the sign fall as the number rises.
        let bits = (self.0 + 0.0).to_bits().cast_signed();
        bits ^ (bits >> 31 & i32::MAX)
    }

    /// The number of an integer that [`TotalF32::to_ordered`] made.
    pub fn from_ordered(ordered: i32) -> Self {
        Self(f32::from_bits((ordered ^ (ordered >> 31 & i32::MAX)).cast_unsigned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_order_as_postgres_sorts_them() {
        let ordered = [
            &[f64::NEG_INFINITY][..],
            &[-1.0],
            &[-0.0, 0.0],
            &[f64::from(f32::MIN_POSITIVE)],
            &[f64::INFINITY],
            &[f64::NAN, -f64::NAN],
        ];
        for (i, these) in ordered.iter().enumerate() {
            for (j, those) in ordered.iter().enumerate() {
                for (a, b) in these.iter().flat_map(|a| those.iter().map(move |b| (*a, *b))) {
                    assert_eq!(TotalF64(a).cmp(&TotalF64(b)), i.cmp(&j), "{a} and {b}");
                    let (a, b) = (a as f32, b as f32);
                    let (a, b) = (TotalF32(a), TotalF32(b));
                    assert_eq!(a.cmp(&b), i.cmp(&j), "{a:?} and {b:?}");
                    assert_eq!(a.to_ordered().cmp(&b.to_ordered()), i.cmp(&j), "{a:?} and {b:?}");
                    assert_eq!(TotalF32::from_ordered(a.to_ordered()), a);
                }
            }
        }
    }
}
