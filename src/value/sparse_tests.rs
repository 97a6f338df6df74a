use super::*;
use crate::kernel;
use crate::value::sparse_text::{parse, print_into, printed_space};
use half::f16;

fn sparse(text: &str) -> SparseBuf {
    parse(text.as_bytes(), -1).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn message(text: &str) -> String {
    let error = parse(text.as_bytes(), -1).unwrap_err();
    error.message + &error.detail.map_or(String::new(), |d| format!(" {d}"))
}

fn print(a: &SparseBuf) -> String {
    let mut text = vec![0; printed_space(a.values.len())];
    let length = print_into(a.view(), &mut text);
    String::from_utf8(text[..length].to_vec()).unwrap()
}

#[test]
fn text() {
    for (from, to) in [
        ("{1:1.5,3:2}/5", "{1:1.5,3:2}/5"),
        (" { 3 : 2 , 1 : 1.5 } / 5 ", "{1:1.5,3:2}/5"),
        ("{}/3", "{}/3"),
        ("{1:0,2:1e-45}/2", "{2:1e-45}/2"),
        ("{+1:0x10,1000000000:-1}/1000000000", "{1:16,1000000000:-1}/1000000000"),
    ] {
        assert_eq!(print(&sparse(from)), to);
    }
    let syntax = "invalid input syntax for type sparsevec: ";
    for (from, what) in [
        ("[1]", format!("{syntax}\"[1]\" Vector contents must start with \"{{\".")),
        ("{1:1", format!("{syntax}\"{{1:1\"")),
        ("{1:1,}/2", format!("{syntax}\"{{1:1,}}/2\"")),
        ("{:1}/2", format!("{syntax}\"{{:1}}/2\"")),
        ("{1}/2", format!("{syntax}\"{{1}}/2\"")),
        ("{1:1}", format!("{syntax}\"{{1:1}}\" Unexpected end of input.")),
        ("{1:1}/", format!("{syntax}\"{{1:1}}/\"")),
        ("{1:1}/2x", format!("{syntax}\"{{1:1}}/2x\" Junk after closing.")),
        ("{0:1}/2", "sparsevec index out of bounds".into()),
        ("{3:1}/2", "sparsevec index out of bounds".into()),
        ("{-99999999999:1}/2", "sparsevec index out of bounds".into()),
        ("{1:1,1:2}/2", "sparsevec indices must not contain duplicates".into()),
        ("{}/0", "sparsevec must have at least 1 dimension".into()),
        ("{}/-1", "sparsevec must have at least 1 dimension".into()),
        ("{}/1000000001", "sparsevec cannot have more than 1000000000 dimensions".into()),
        ("{1:nan}/1", "NaN not allowed in sparsevec".into()),
        ("{1:-inf}/1", "infinite value not allowed in sparsevec".into()),
        ("{1:4e38}/1", "\"4e38\" is out of range for type sparsevec".into()),
        ("{1:-1e-46}/1", "\"-1e-46\" is out of range for type sparsevec".into()),
    ] {
        assert_eq!(message(from), what, "{from}");
    }
    assert_eq!(print(&sparse("{1:0e9,2:-0.00}/2")), "{}/2");
    let many: Vec<String> = (1..=16_001).map(|i| format!("{i}:0")).collect();
    assert_eq!(
        message(&format!("{{{}}}/99999", many.join(","))),
        "sparsevec cannot have more than 16000 non-zero elements"
    );
}

#[test]
fn binary_form() {
    let a = sparse("{2:1.5,4:3}/5");
    let mut bytes = vec![7; encoded_size(a.view())];
    encode(a.view(), &mut bytes);
    let header: Vec<u8> = [5i32, 2, 0, 1, 3].iter().flat_map(|n| n.to_be_bytes()).collect();
    assert_eq!(bytes[..20], header);
    assert_eq!(check_binary_header(5, 2, 0, -1), Ok((5, 2)));
    assert_eq!(decode_indices(&bytes[12..20], 5), Ok(a.indices));
    assert_eq!(decode_values(&bytes[20..]), Ok(a.values));
    for (header, what) in [
        ((0, 0, 0), "sparsevec must have at least 1 dimension"),
        ((5, -1, 0), "sparsevec cannot have negative number of elements"),
        ((5, 6, 0), "sparsevec cannot have more elements than dimensions"),
        ((20_000, 16_001, 0), "sparsevec cannot have more than 16000 non-zero elements"),
        ((5, 1, 7), "expected unused to be 0, not 7"),
    ] {
        assert_eq!(check_binary_header(header.0, header.1, header.2, -1).unwrap_err().message, what);
    }
    assert!(decode_indices(&[0, 0, 0, 1, 0, 0, 0, 0], 5).is_err());
    assert!(decode_indices(&[0, 0, 0, 5], 5).is_err());
    assert!(decode_values(&[0; 4]).is_err());
}

fn dense<E: Element>(a: Sparse) -> Result<Vec<E>> {
    let mut elements = vec![E::default(); a.dims];
    to_dense(a, &mut elements)?;
    Ok(elements)
}

#[test]
fn is_like_the_dense_vector() {
    let texts =
        ["{}/3", "{1:1,3:-2}/3", "{1:1}/3", "{2:4}/3", "{3:-1}/3", "{1:-1,2:2,3:2}/3", "{1:1}/4", "{4:1}/4"];
    for a in texts {
        for b in texts {
            let (a, b) = (sparse(a), sparse(b));
            let (a, b) = (a.view(), b.view());
            let (x, y): (Vec<f32>, Vec<f32>) = (dense(a).unwrap(), dense(b).unwrap());
            assert_eq!(compare(a, b), vector::compare(&x, &y), "{a:?} {b:?}");
            if a.dims != b.dims {
                let what = format!("different sparsevec dimensions {} and {}", a.dims, b.dims);
                assert_eq!(l2_distance(a, b).unwrap_err().message, what);
                continue;
            }
            assert_eq!(l2_squared_distance(a, b), vector::l2_squared_distance(&x, &y));
            assert_eq!(l1_distance(a, b), vector::l1_distance(&x, &y));
            assert_eq!(inner_product(a, b), vector::inner_product(&x, &y));
            let (ours, theirs) = (cosine_distance(a, b).unwrap(), vector::cosine_distance(&x, &y).unwrap());
            assert!((ours - theirs).abs() < 1e-6 || ours.is_nan() && theirs.is_nan());
            assert_eq!(norm(a), vector::norm(&x));
            let (mut indices, mut values) = (vec![0; count(&x)], vec![0.0; count(&x)]);
            gather(&x, &mut indices, &mut values);
            assert_eq!((indices.as_slice(), values.as_slice()), (a.indices, a.values));
        }
    }
}

#[test]
fn conversions_check() {
    assert_eq!(check_numbers(&[0.0, f32::NAN]).unwrap_err().message, "NaN not allowed in sparsevec");
    assert_eq!(check_numbers(&[1.0; 16_001]).unwrap_err().kind, Kind::LimitExceeded);
    assert_eq!(check_numbers(&[1.0, -0.0, 2.0]), Ok(2));
    let (mut indices, mut values) = ([9; 3], [9.0; 3]);
    gather(&[1.0, -2.0, 0.5f32], &mut indices, &mut values);
    assert_eq!((indices, values), ([0, 1, 2], [1.0, -2.0, 0.5]));
    gather(&[1.0, -2.0, 0.5].map(half::f16::from_f32), &mut indices, &mut values);
    assert_eq!((indices, values), ([0, 1, 2], [1.0, -2.0, 0.5]));
    let large = sparse("{1:65520}/2");
    let half = dense::<f16>(large.view());
    assert_eq!(half.unwrap_err().message, "\"65520\" is out of range for type halfvec");
    assert_eq!(dense_dims::<f32>(large.view(), 3).unwrap_err().message, "expected 3 dimensions, not 2");
    let wide = sparse("{1:1}/16001");
    let what = "vector cannot have more than 16000 dimensions";
    assert_eq!(dense_dims::<f32>(wide.view(), -1).unwrap_err().message, what);
    let a = sparse("{1:3,2:1e-45,3:4}/3");
    let mut unit = SparseBuf { values: vec![0.0; 3], ..a.clone() };
    let kept = l2_normalize(a.view(), &mut unit.values);
    assert_eq!(unit.values, [0.6, 0.0, 0.8]);
    let mut left = SparseBuf { dims: 3, indices: vec![0; kept], values: vec![0.0; kept] };
    without_zeros(unit.view(), &mut left.indices, &mut left.values);
    assert_eq!(print(&left), "{1:0.6,3:0.8}/3");
}

/// Compares distances of sparse vectors of many sizes, with common elements, with those of the dense vectors.
#[test]
fn walks_are_those_of_dense_vectors() {
    let mut state = 7u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for (dims, share) in [(3, 2), (40, 2), (400, 3), (5_000, 9), (70_000, 500)] {
        for round in 0..20 {
            let mut draw = |_| match random() % share {
                0 => random() as i16 as f32 / 256.0,
                _ => 0.0,
            };
            let dense: [Vec<f32>; 2] = std::array::from_fn(|_| (0..dims).map(&mut draw).collect());
            let buffers = dense.each_ref().map(|numbers| {
                let mut buffer = SparseBuf { dims, ..Default::default() };
                buffer.indices.resize(count(numbers), 0);
                buffer.values.resize(count(numbers), 0.0);
                gather(numbers, &mut buffer.indices, &mut buffer.values);
                buffer
            });
            let [a, b] = buffers.each_ref().map(SparseBuf::view);
            let sum = |f: fn(f32, f32) -> f32| {
                let pairs = dense[0].iter().zip(&dense[1]);
                pairs.fold(0f32, |sum, (x, y)| sum + f(*x, *y))
            };
            let what = format!("{dims} dimensions, round {round}");
            // Terms of one sign: the order in which they are added makes little difference.
            let near = |x: f64, y: f32| (x - f64::from(y)).abs() <= 1e-5 * x;
            assert!(near(l2_squared_distance(a, b).unwrap(), sum(|x, y| (x - y) * (x - y))), "{what}");
            assert!(near(l1_distance(a, b).unwrap(), sum(|x, y| (x - y).abs())), "{what}");
            assert_eq!(l1_distance(a, a).unwrap(), 0.0, "{what}");
            assert_eq!(l1_distance(a, b), l1_distance(b, a), "{what}");
            assert_eq!(l2_distance(a, b), l2_distance(b, a), "{what}");
            assert_eq!(inner_product(a, b).unwrap() as f32, sum(|x, y| x * y), "{what}");
            let cosine = kernel::cosine_of_sums(sum(|x, y| x * y), sum(|x, _| x * x), sum(|_, y| y * y));
            assert_eq!(cosine_distance(a, b).unwrap().to_bits(), cosine.to_bits(), "{what}");
            assert_eq!(compare(a, b), vector::compare(&dense[0], &dense[1]), "{what}");
            assert_eq!(compare(a, a), Ordering::Equal);
            let mut changed = buffers[0].clone();
            if let Some(last) = changed.values.last_mut() {
                *last += 1.0;
                assert_eq!(compare(a, changed.view()), Ordering::Less);
            }
            let mut again = vec![0.0; dims];
            to_dense(a, &mut again).unwrap();
            assert_eq!(again, dense[0]);
        }
    }
}

/// Elements of a damaged value that are outside its dimensions, or twice at one index, are skipped and do not
/// affect the next call.
#[test]
fn distances_of_damaged_values() {
    let number = |i: i32| match i {
        20 => i32::MIN,
        21 => -1,
        25 => 24,
        _ => i,
    };
    let indices: Vec<i32> = (0..40).map(number).collect();
    let values: Vec<f32> = (0..40).map(|i| if i == 7 { f32::NAN } else { 1.0 }).collect();
    let damaged = Sparse { dims: 30, indices: &indices, values: &values };
    let sound: Vec<i32> = (0..30).collect();
    let sound = Sparse { dims: 30, indices: &sound, values: &[1.0; 30] };
    for (a, b) in [(damaged, damaged), (damaged, sound), (sound, damaged), (sound, sound)] {
        for distance in [inner_product, cosine_distance, l2_distance, l1_distance] {
            let _ = distance(a, b).unwrap();
        }
        assert_eq!(inner_product(sound, sound), Ok(30.0));
        assert_eq!((l2_distance(sound, sound), l1_distance(sound, sound)), (Ok(0.0), Ok(0.0)));
    }
}
