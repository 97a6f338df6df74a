use super::*;

fn print(elements: &[f32]) -> Vec<u8> {
    let mut text = vec![0; printed_space(elements.len())];
    let length = print_into(elements, &mut text);
    text.truncate(length);
    text
}

fn parsed(text: &str) -> Vec<f32> {
    parse::<f32>(text.as_bytes(), -1).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> (Kind, String, Option<String>) {
    let error = parse::<f32>(text.as_bytes(), -1).unwrap_err();
    (error.kind, error.message, error.detail)
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn accepts() {
    assert_eq!(parsed("[1,2.5,-3]"), [1.0, 2.5, -3.0]);
    assert_eq!(parsed(" \t\n\r\x0b\x0c[ 1 , 2\n] "), [1.0, 2.0]);
    assert_eq!(parsed("[1.,.5,+1,-.5e1,1E+2,00012]"), [1.0, 0.5, 1.0, -5.0, 100.0, 12.0]);
    assert_eq!(parsed("[0x1p3,0X1.8p-1,0x10,0x.8,-0x1]"), [8.0, 0.75, 16.0, 0.5, -1.0]);
    assert_eq!(parsed("[1e-46,-1e-46,1e-45]"), [0.0, -0.0, 1e-45]);
    assert!(parsed("[-1e-46]")[0].is_sign_negative() && parsed("[-0]")[0].is_sign_negative());
    assert_eq!(parsed("[0x1p-149,0x1p-150,0x1.8p-150,0x1p-1000]"), [1e-45, 0.0, 1e-45, 0.0]);
    assert_eq!(
        parsed("[0x1.fffffep127,0x1.000001p0,0x1.000003p0]")[..],
        [f32::MAX, 1.0, f32::from_bits(0x3f80_0002)]
    );
    assert_eq!(parsed("[0x10000000000000000000000001p-96]"), [16.0]);
    assert_eq!(parsed("[3.4028235e38,340282350000000000000000000000000000000]"), [f32::MAX; 2]);
    assert_eq!(parsed(&format!("[{}1]", "0,".repeat(15_999))).len(), 16_000);
    assert_eq!(parsed("[1e-99999999999999999999,0e99999999999999999999]"), [0.0, 0.0]);
}

#[test]
fn refuses() {
    let start = Some("Vector contents must start with \"[\".".to_string());
    let junk = Some("Junk after closing right brace.".to_string());
    for (text, detail) in [
        ("", &start),
        ("1,2", &start),
        ("{1,2}", &start),
        ("[1,2]3", &junk),
        ("[1]]", &junk),
        ("[", &None),
        ("[1", &None),
        ("[1,", &None),
        ("[1,]", &None),
        ("[,1]", &None),
        ("[1,,2]", &None),
        ("[1 2]", &None),
        ("[1e]", &None),
        ("[1e+]", &None),
        ("[.]", &None),
        ("[-]", &None),
        ("[.e1]", &None),
        ("[0x]", &None),
        ("[0xp1]", &None),
        ("[a]", &None),
        ("[1a]", &None),
        ("[--1]", &None),
        ("[- 1]", &None),
    ] {
        let message = format!("invalid input syntax for type vector: \"{text}\"");
        assert_eq!(refused(text), (Kind::InvalidText, message, detail.clone()));
    }
    for text in ["[4e38]", "[-4e38]", "[1e400]", "[0x1p128]", "[0x1.ffffffp127]", "[3.40282357e38]"] {
        let message = format!("\"{}\" is out of range for type vector", &text[1..text.len() - 1]);
        assert_eq!(refused(text), (Kind::NumericRange, message, None));
    }
    for text in ["[nan]", "[NaN]", "[-nan]", "[nan(12)]"] {
        assert_eq!(refused(text), (Kind::Data, "NaN not allowed in vector".into(), None));
    }
    for text in ["[inf]", "[-Infinity]", "[+INF]", "[infx"] {
        assert_eq!(refused(text), (Kind::Data, "infinite value not allowed in vector".into(), None));
    }
    for text in ["[]", " [ ] ", "[]x"] {
        assert_eq!(refused(text), (Kind::Data, "vector must have at least 1 dimension".into(), None));
    }
    let (kind, message, _) = refused(&format!("[{}x", "0,".repeat(16_000)));
    assert_eq!(kind, Kind::LimitExceeded);
    assert_eq!(message, "vector cannot have more than 16000 dimensions");
    assert_eq!(parse::<f32>(b"[1,2]", 3).unwrap_err().message, "expected 3 dimensions, not 2");
}

#[test]
fn rounds_as_std() {
    let mut state = 7;
    let check = |text: String| {
        let expected: f32 = text.parse().unwrap();
        let (x, end) = read_float(text.as_bytes(), 0).unwrap();
        assert_eq!((x.to_bits(), end), (expected.to_bits(), text.len()), "{text}");
    };
    for _ in 0..100_000 {
        let random = splitmix(&mut state);
        let x = f32::from_bits(random as u32 & 0x7fff_ffff);
        if x.is_finite() {
            check(format!("{x:e}"));
            check(format!("-{x}"));
            // Near and at the midpoint between two floats, where double rounding would go wrong.
            let middle = (f64::from(x) + f64::from(f32::from_bits(x.to_bits() + 1))) / 2.0;
            for near in [middle.next_down(), middle, middle.next_up()] {
                if near.is_finite() {
                    check(format!("{near:e}"));
                }
            }
        }
        let (digits, exponent) = (random >> (random & 63), splitmix(&mut state) % 60);
        check(format!("{digits}e{}", exponent as i64 - 40));
        check(format!("{}.{digits}", random & 3));
        check(format!("{digits}{digits}.{digits}{random}"));
        check(format!("0.0000{digits:020}{random}"));
    }
    for x in [16_777_217u32, 16_777_219, 33_554_434, 33_554_438] {
        check(format!("{x}"));
        check(format!("{x}.00000000000000000000000000000001"));
    }
}

#[test]
fn rounds_hexadecimals_as_decimals() {
    let mut state = 3;
    for _ in 0..50_000 {
        let (mantissa, shift) = (splitmix(&mut state), (splitmix(&mut state) % 64) as u32);
        let mantissa = mantissa >> shift;
        let exponent = (splitmix(&mut state) % 320) as i32 - 200;
        // A mantissa cut to 53 bits is exact as f64, and converting f64 to f32 rounds only once.
        let cut = mantissa & !0x7ff;
        let expected = (cut as f64 * 2f64.powi(exponent)) as f32;
        let text = format!("0x{cut:x}p{exponent}");
        let (x, end) = read_float(text.as_bytes(), 0).unwrap();
        assert_eq!((x.to_bits(), end), (expected.to_bits(), text.len()), "{text}");
    }
}

#[test]
fn prints() {
    assert_eq!(print(&[1.0, 2.5, -0.0, 1e-5]), b"[1,2.5,-0,1e-05]");
    assert_eq!(print(&[f32::MAX]), b"[3.4028235e+38]");
    assert_eq!(print(&[]), b"[]");
}

#[test]
fn reads_back_what_it_prints() {
    let mut state = 11;
    let values: Vec<f32> = (0..16_000)
        .map(|_| f32::from_bits(splitmix(&mut state) as u32))
        .map(|x| if x.is_finite() { x } else { 0.0 })
        .collect();
    let read = parse::<f32>(&print(&values), 16_000).unwrap();
    assert!(values.iter().zip(&read).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut state = 5;
    let values: Vec<f32> = (0..768)
        .map(|_| (splitmix(&mut state) >> 40) as f32 / 2f32.powi(24) - 0.5)
        .map(|x| x / 10.0)
        .collect();
    let text = print(&values);
    let fastest = |f: &dyn Fn()| {
        let time = |_| {
            let start = std::time::Instant::now();
            f();
            start.elapsed()
        };
        (0..20_000).map(time).min().unwrap()
    };
    let printing = fastest(&|| {
        std::hint::black_box(print(std::hint::black_box(&values)));
    });
    let parsing = fastest(&|| {
        std::hint::black_box(parse::<f32>(std::hint::black_box(&text), 768).unwrap());
    });
    println!("768 dimensions, {} bytes: print {printing:?}, parse {parsing:?}", text.len());
}
