use super::*;
use crate::value::limits::{MAX_DIMS, typmod_in};
use half::f16;

fn message<T: std::fmt::Debug>(result: Result<T>) -> (Kind, String) {
    let error = result.unwrap_err();
    (error.kind, error.message)
}

/// A new vector of `dims` elements, written by `fill`.
fn filled<E: Element>(dims: usize, fill: impl FnOnce(&mut [E]) -> Result<()>) -> Result<Vec<E>> {
    let mut elements = vec![E::default(); dims];
    fill(&mut elements)?;
    Ok(elements)
}

#[test]
fn limits() {
    assert_eq!(message(check_dims::<f32>(0)), (Kind::Data, "vector must have at least 1 dimension".into()));
    assert!(check_dims::<f32>(16_000).is_ok());
    let (kind, text) = message(check_dims::<f32>(16_001));
    assert_eq!(kind, Kind::LimitExceeded);
    assert_eq!(text, "vector cannot have more than 16000 dimensions");
    assert!(check_typmod(-1, 7).is_ok() && check_typmod(7, 7).is_ok());
    assert_eq!(message(check_typmod(2, 3)), (Kind::Data, "expected 2 dimensions, not 3".into()));
    assert_eq!(typmod_in("vector", MAX_DIMS, &[3]), Ok(3));
    for (modifiers, text) in [
        (&[0][..], "dimensions for type vector must be at least 1"),
        (&[16_001], "dimensions for type vector cannot exceed 16000"),
        (&[1, 2], "invalid type modifier"),
    ] {
        assert_eq!(message(typmod_in("vector", MAX_DIMS, modifiers)), (Kind::InvalidParameter, text.into()));
    }
}

#[test]
fn binary_form() {
    let mut bytes = [7; 12];
    assert_eq!(encoded_size(&[1.0f32, 2.5]), bytes.len());
    encode(&[1.0f32, 2.5], &mut bytes);
    assert_eq!(bytes, [0, 2, 0, 0, 0x3f, 0x80, 0, 0, 0x40, 0x20, 0, 0]);
    assert_eq!(check_binary_header::<f32>(2, 0, -1), Ok(2));
    assert_eq!(decode_elements::<f32>(&bytes[4..]), Ok(vec![1.0, 2.5]));
    assert_eq!(message(check_binary_header::<f32>(2, 1, -1)).1, "expected unused to be 0, not 1");
    assert_eq!(message(check_binary_header::<f32>(2, 0, 3)).1, "expected 3 dimensions, not 2");
    for dims in [0, -1] {
        assert_eq!(
            message(check_binary_header::<f32>(dims, 0, -1)).1,
            "vector must have at least 1 dimension"
        );
    }
    assert_eq!(message(decode_elements::<f32>(&f32::NAN.to_be_bytes())).1, "NaN not allowed in vector");
    let infinite = message(decode_elements::<f32>(&f32::NEG_INFINITY.to_be_bytes())).1;
    assert_eq!(infinite, "infinite value not allowed in vector");
}

#[test]
fn order_is_by_elements_then_dimensions() {
    assert_eq!(compare(&[1.0, 2.0], &[1.0, 2.0]), Ordering::Equal);
    assert_eq!(compare(&[1.0, 2.0], &[1.0, 3.0]), Ordering::Less);
    assert_eq!(compare(&[2.0], &[1.0, 3.0]), Ordering::Greater);
    assert_eq!(compare(&[1.0], &[1.0, 0.0]), Ordering::Less);
    assert_eq!(compare(&[0.0], &[-0.0]), Ordering::Equal);
}

#[test]
fn arithmetic() {
    type Operator<E> = fn(&[E], &[E], &mut [E]) -> Result<()>;
    fn of<E: Element>(operator: Operator<E>, a: &[E], b: &[E]) -> Result<Vec<E>> {
        filled(a.len(), |out| operator(a, b, out))
    }
    assert_eq!(of(add, &[1.0, 2.0], &[3.0, 4.0]), Ok(vec![4.0, 6.0]));
    assert_eq!(of(sub, &[1.0, 2.0], &[3.0, 5.0]), Ok(vec![-2.0, -3.0]));
    assert_eq!(of(mul, &[1.0, 2.0], &[3.0, 0.0]), Ok(vec![3.0, 0.0]));
    for result in [of(add, &[3e38], &[3e38]), of(sub, &[-3e38], &[3e38]), of(mul, &[1e37], &[1e37])] {
        assert_eq!(message(result), (Kind::NumericRange, "value out of range: overflow".into()));
    }
    let underflow = (Kind::NumericRange, "value out of range: underflow".into());
    assert_eq!(message(of(mul, &[1e-37], &[1e-37])), underflow);
    assert_eq!(message(of(add, &[1.0], &[1.0, 2.0])).1, "different vector dimensions 1 and 2");
    assert_eq!(check_concat(&[1.0], &[2.0, 3.0]), Ok(()));
    assert_eq!(message(check_concat(&[0.0; 8001], &[0.0; 8000])).0, Kind::LimitExceeded);
}

#[test]
fn halves_are_computed_in_parts() {
    for dims in [1, 63, 64, 65, 200] {
        let a: Vec<f16> = (0..dims).map(|i| f16::from_f32(i as f32 * 0.37 - 20.0)).collect();
        let b: Vec<f16> = (0..dims).map(|i| f16::from_f32(i as f32 * -0.11)).collect();
        let each = |f: fn(f32, f32) -> f32| {
            a.iter().zip(&b).map(|(x, y)| f16::from_f32(f(x.to_f32(), y.to_f32()))).collect::<Vec<f16>>()
        };
        assert_eq!(filled(dims, |out| add(&a, &b, out)), Ok(each(|x, y| x + y)));
        assert_eq!(filled(dims, |out| mul(&a, &b, out)), Ok(each(|x, y| x * y)));
        assert_eq!(filled(dims, |out| put_numbers(a.iter().map(|x| x.to_f32()), out)), Ok(a.clone()));
        let wide: Vec<f32> = a.iter().map(|x| x.to_f32()).collect();
        assert_eq!(filled(dims, |out| put_slice(&wide, out)), Ok(a.clone()));
        let squares: f64 = a.iter().map(|x| f64::from(x.to_f32()).powi(2)).sum();
        assert!((norm(&a) - squares.sqrt()).abs() <= 1e-12 * squares.sqrt(), "{dims}");
    }
}

#[test]
fn numbers_from_elsewhere_are_checked() {
    let put = |numbers: &[f32]| {
        message(filled::<f16>(numbers.len(), |out| put_numbers(numbers.iter().copied(), out)))
    };
    let range = "\"65520\" is out of range for type halfvec";
    assert_eq!(put(&[1.0, 65_520.0]), (Kind::NumericRange, range.into()));
    assert_eq!(put(&[f32::NAN, 65_520.0]).1, range);
    assert_eq!(put(&[1.0, f32::NAN, f32::INFINITY]).1, "NaN not allowed in halfvec");
    assert_eq!(put(&[1.0, f32::INFINITY, f32::NAN]).1, "infinite value not allowed in halfvec");
}

#[test]
fn parts() {
    let v = [1.0, 2.0, 3.0, 4.0, 5.0];
    for (start, count, expected) in [
        (1, 3, &v[..3]),
        (3, 2, &v[2..4]),
        (-1, 3, &v[..1]),
        (3, 9, &v[2..]),
        (1, i32::MAX, &v),
        (3, i32::MAX, &v[2..]),
        (-2_147_483_648 + 3, i32::MAX, &v[..1]),
    ] {
        assert_eq!(subvector(&v, start, count), Ok(expected), "{start} {count}");
    }
    for (start, count) in [(1, 0), (3, -1), (-1, 2), (6, 1), (i32::MAX, 1), (i32::MIN, i32::MAX)] {
        assert_eq!(message(subvector(&v, start, count)).1, "vector must have at least 1 dimension");
    }
}

#[test]
fn norms() {
    assert_eq!(norm(&[3.0, 4.0]), 5.0);
    assert_eq!(norm(&[3e37, 4e37]), f64::from(3e37f32).hypot(f64::from(4e37f32)));
    let unit = |a: &[f32]| {
        filled(a.len(), |out| {
            l2_normalize(a, out);
            Ok(())
        })
    };
    assert_eq!(unit(&[3.0, 4.0]), Ok(vec![0.6, 0.8]));
    assert_eq!(unit(&[0.0, -0.0]), Ok(vec![0.0, 0.0]));
    assert_eq!(unit(&[3e38]), Ok(vec![1.0]));
}

#[test]
fn quantized_bits() {
    let mut bits = [0; 2];
    binary_quantize(&[1.0, 0.0, -1.0, 0.5, -0.0, 2.0, 3.0, -4.0, 1.0, -1.0], &mut bits);
    assert_eq!(bits, [0b1001_0110, 0b1000_0000]);
}

#[test]
fn distances() {
    assert_eq!(l2_distance(&[0.0, 0.0], &[3.0, 4.0]), Ok(5.0));
    assert_eq!(l2_distance(&[3e38], &[-3e38]), Ok(f64::INFINITY));
    assert_eq!(l2_squared_distance(&[0.0, 0.0], &[3.0, 4.0]), Ok(25.0));
    assert_eq!(inner_product(&[3e38], &[3e38]), Ok(f64::INFINITY));
    assert_eq!(negative_inner_product(&[1.0, 2.0], &[3.0, 4.0]), Ok(-11.0));
    assert_eq!(cosine_distance(&[1.0, 2.0], &[2.0, 4.0]), Ok(0.0));
    assert_eq!(cosine_distance(&[1.0, 1.0], &[-1.1, -1.1]), Ok(2.0));
    assert!(cosine_distance(&[1.0, 2.0], &[0.0, 0.0]).unwrap().is_nan());
    assert!(cosine_distance(&[3e38], &[4e37]).unwrap().is_nan());
    assert_eq!(spherical_distance(&[1.0, 0.0], &[0.0, 1.0]), Ok(0.5));
    assert_eq!(spherical_distance(&[2.0], &[2.0]), Ok(0.0));
    assert_eq!(l1_distance(&[0.0, 0.0], &[3.0, -4.0]), Ok(7.0));
    let (a, b) = ([1.5; 37], [-0.5; 37]);
    assert_eq!(l1_distance(&a, &b), Ok(74.0));
    assert_eq!(message(l1_distance(&[1.0], &[1.0, 2.0])).1, "different vector dimensions 1 and 2");
}

#[test]
fn averages() {
    let mut state = first_row(&[0.0], &[1.0, 2.0]);
    assert_eq!(state, [1.0, 1.0, 2.0]);
    accumulate(&mut state, &[2.0, 5.0]).unwrap();
    assert_eq!(state, [2.0, 3.0, 7.0]);
    assert_eq!(average(&state), Ok(Some(vec![1.5, 3.5])));
    assert_eq!(average::<f32>(&[0.0]), Ok(None));
    assert_eq!(message(accumulate(&mut state, &[1.0])).1, "expected 2 dimensions, not 1");
    assert_eq!(combine(&[0.0], &[0.0]), Ok(vec![0.0]));
    assert_eq!(combine(&[0.0], &[1.0, 2.0]), Ok(vec![1.0, 2.0]));
    assert_eq!(combine(&[1.0, 2.0], &[0.0]), Ok(vec![1.0, 2.0]));
    assert_eq!(combine(&[1.0, 2.0], &[2.0, 4.0]), Ok(vec![3.0, 6.0]));
    assert_eq!(message(combine(&[1.0, 2.0], &[2.0, 4.0, 5.0])).1, "expected 1 dimensions, not 2");
    assert_eq!(message(combine(&[1.0, 1e308], &[1.0, 1e308])).1, "value out of range: overflow");
    assert_eq!(
        combine(&[f64::INFINITY, 1.0], &[1.0, 2.0]),
        Ok(vec![f64::INFINITY, 3.0]),
        "rows are not checked"
    );
    assert_eq!(
        combine(&[0.0, 5.0], &[2.0, 1.0, 1.0]),
        Ok(vec![2.0, 1.0, 1.0]),
        "sums of no rows are no sums"
    );
    assert_eq!(combine(&[2.0, 1.0, 1.0], &[-0.0, 5.0]), Ok(vec![2.0, 1.0, 1.0]));
    assert_eq!(combine(&[0.0, 5.0], &[0.0, 7.0]), Ok(vec![0.0, 7.0]));
    for (a, b) in [
        (&[1.0][..], &[1.0, 2.0][..]),
        (&[1.0], &[2.0]),
        (&[1.0], &[0.0]),
        (&[0.0], &[1.0]),
        (&[0.0, 5.0], &[0.0]),
        (&[f64::NAN], &[1.0, 2.0]),
    ] {
        assert_eq!(message(combine(a, b)).1, "vector must have at least 1 dimension", "{a:?} {b:?}");
    }
    let long = vec![1.0; 16_002];
    for (a, b) in [(&long[..], &long[..]), (&[0.0], &long), (&long, &[0.0]), (&long, &[1.0, 2.0])] {
        assert_eq!(message(combine(a, b)).1, "vector cannot have more than 16000 dimensions");
    }
    assert_eq!(message(accumulated(&long, &[1.0])).1, "expected 16001 dimensions, not 1");
    assert_eq!(accumulated(&[2.0, 1.0], &[3.0]), Ok(vec![3.0, 4.0]));
    assert_eq!(accumulated(&[f64::NAN, -1.0], &[3.0]).map(|state| state[1]), Ok(2.0));
    assert_eq!(message(average::<f32>(&[1.0, 1e300])).1, "infinite value not allowed in vector");
    assert_eq!(message(average::<f32>(&[1.0])).1, "vector must have at least 1 dimension");
}

/// An index computes distances of halves as floats, and its order and thresholds must be those of the
/// operators.
#[test]
fn distances_of_halves_are_those_of_floats() {
    use crate::kernel;
    let mut state = 5u32;
    let mut random = |n: usize| -> Vec<f16> {
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f16::from_f32((state >> 8) as i16 as f32 / 4096.0)
        };
        (0..n).map(|_| draw()).collect()
    };
    let small = f16::from_f32(2f32.powi(-12));
    let mut pairs = vec![(vec![small, small, f16::ONE], vec![f16::ZERO; 3])];
    pairs.extend((1..=70).flat_map(|n| (0..20).map(move |_| n)).map(|n| (random(n), random(n))));
    for (a, b) in &pairs {
        let wide = |x: &[f16]| x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
        let (x, y) = (wide(a), wide(b));
        let what = format!("{} ({a:?}, {b:?})", kernel::isa());
        assert_eq!(l2_squared_distance(a, b), l2_squared_distance(&x, &y), "{what}");
        assert_eq!(inner_product(a, b), inner_product(&x, &y), "{what}");
        assert_eq!(l1_distance(a, b), l1_distance(&x, &y), "{what}");
        let cosines = (cosine_distance(a, b).unwrap(), cosine_distance(&x, &y).unwrap());
        assert!(cosines.0 == cosines.1 || cosines.0.is_nan() && cosines.1.is_nan(), "{what}");
        assert!((norm(a) - norm(&x)).abs() <= 1e-15 * norm(&x), "{what}");
    }
}
