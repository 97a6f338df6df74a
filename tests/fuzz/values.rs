//! Text as the input functions read it, and messages as the receive functions read them.

use half::f16;
use vector_search::error::{Error, Kind};
use vector_search::value::sparse::{self, Sparse, SparseBuf};
use vector_search::value::{Element, bits, numeric, sparse_text, text, vector};

/// Fails if an error is not the user's.
fn expect_of_user(error: &Error) {
    let kinds = [Kind::InvalidText, Kind::NumericRange, Kind::Data, Kind::LimitExceeded];
    assert!(kinds.contains(&error.kind), "{:?}: {error}", error.kind);
}

/// Reads a literal of each type.
pub fn text(literal: &[u8]) {
    dense_text::<f32>(literal);
    dense_text::<f16>(literal);
    match sparse_text::parse(literal, -1) {
        Ok(vector) => {
            let mut printed = vec![0; sparse_text::printed_space(vector.values.len())];
            let length = sparse_text::print_into(vector.view(), &mut printed);
            assert_eq!(sparse_text::parse(&printed[..length], -1).unwrap(), vector);
            assert!(sparse_text::parse(literal, vector.dims as i32).is_ok());
            assert!(sparse::compare(vector.view(), vector.view()).is_eq());
        }
        Err(error) => expect_of_user(&error),
    }
}

/// If a literal can be parsed, the value can be printed, and parsing the printed text gives the same value.
fn dense_text<E: Element + std::fmt::Debug>(literal: &[u8]) {
    let elements = match text::parse::<E>(literal, -1) {
        Ok(elements) => elements,
        Err(error) => return expect_of_user(&error),
    };
    let mut printed = vec![0; text::printed_space(elements.len())];
    let length = text::print_into(&elements, &mut printed);
    assert_eq!(text::parse::<E>(&printed[..length], -1).unwrap(), elements);
    assert!(text::parse::<E>(literal, elements.len() as i32).is_ok());
    as_the_standard_library(literal, &elements);
}

/// Compares the numbers of a literal with those that Rust's own parser reads.
fn as_the_standard_library<E: Element>(literal: &[u8], elements: &[E]) {
    let inside: Vec<u8> = literal.iter().copied().filter(|c| !b"[] \t\n\r\x0b\x0c".contains(c)).collect();
    let plain = |number: &[u8]| number.iter().all(|c| c.is_ascii_digit() || b"+-.eE".contains(c));
    for (number, element) in inside.split(|c| *c == b',').zip(elements) {
        if let Some(number) = plain(number).then(|| str::from_utf8(number).unwrap()) {
            let expected = E::narrow(number.parse().unwrap()).widen();
            assert_eq!(element.widen().to_bits(), expected.to_bits(), "{number}");
        }
    }
}

fn encoded<E: Element>(elements: &[E]) -> Vec<u8> {
    let mut bytes = vec![0; vector::encoded_size(elements)];
    vector::encode(elements, &mut bytes);
    bytes
}

fn encoded_sparse(vector: &SparseBuf) -> Vec<u8> {
    let mut bytes = vec![0; sparse::encoded_size(vector.view())];
    sparse::encode(vector.view(), &mut bytes);
    bytes
}

/// Reads a message of each type.
pub fn binary(message: &[u8]) {
    dense_binary::<f32>(message);
    dense_binary::<f16>(message);
    sparse_binary(message);
    let length = 8 * message.len();
    let whole = bits::Bits { length, bytes: message };
    assert_eq!(bits::hamming_distance(whole, whole), Ok(0.0));
    if let Some(x) = numeric::to_real(message) {
        assert!(x.is_finite());
    }
}

fn dense_binary<E: Element + std::fmt::Debug>(message: &[u8]) {
    let Some((header, rest)) = message.split_first_chunk::<4>() else { return };
    let [a, b, c, d] = *header;
    let header = (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]));
    let dims = match vector::check_binary_header::<E>(header.0, header.1, -1) {
        Ok(dims) => dims,
        Err(error) => return expect_of_user(&error),
    };
    let Some(bytes) = rest.get(..size_of::<E>() * dims) else { return };
    match vector::decode_elements::<E>(bytes) {
        Ok(elements) => {
            assert_eq!(encoded(&elements), message[..4 + bytes.len()]);
            compute(&elements);
        }
        Err(error) => expect_of_user(&error),
    }
}

/// Arithmetic with a vector.
fn compute<E: Element + std::fmt::Debug>(elements: &[E]) {
    let mut out = elements.to_vec();
    vector::l2_normalize(elements, &mut out);
    assert!(vector::compare(elements, elements).is_eq());
    for function in [vector::add, vector::sub, vector::mul] {
        if let Err(error) = function(elements, &out, &mut elements.to_vec()) {
            expect_of_user(&error);
        }
    }
    let distances = [vector::l2_distance, vector::l1_distance, vector::cosine_distance];
    for distance in distances.into_iter().chain([vector::negative_inner_product, vector::spherical_distance])
    {
        distance(elements, &out).unwrap();
    }
    vector::binary_quantize(elements, &mut vec![0; elements.len().div_ceil(8)]);
    let state = vector::first_row(&[], elements);
    assert!(vector::accumulated(&state, elements).is_ok());
}

fn sparse_binary(message: &[u8]) {
    let Some((header, rest)) = message.split_first_chunk::<12>() else { return };
    let word = |at: usize| i32::from_be_bytes(*header[at..].first_chunk().unwrap());
    let (dims, count) = match sparse::check_binary_header(word(0), word(4), word(8), -1) {
        Ok(header) => header,
        Err(error) => return expect_of_user(&error),
    };
    let Some(bytes) = rest.get(..8 * count) else { return };
    let indices = sparse::decode_indices(&bytes[..4 * count], dims);
    let values = sparse::decode_values(&bytes[4 * count..]);
    match (indices, values) {
        (Ok(indices), Ok(values)) => {
            let vector = SparseBuf { dims, indices, values };
            assert_eq!(encoded_sparse(&vector), message[..12 + bytes.len()]);
            compute_sparse(vector.view());
        }
        (Err(error), _) | (_, Err(error)) => expect_of_user(&error),
    }
}

/// Arithmetic with a sparse vector.
fn compute_sparse(vector: Sparse<'_>) {
    let mut values = vector.values.to_vec();
    let kept = sparse::l2_normalize(vector, &mut values);
    assert!(kept <= values.len());
    for distance in [sparse::l2_distance, sparse::l1_distance, sparse::cosine_distance, sparse::inner_product]
    {
        distance(vector, Sparse { values: &values, ..vector }).unwrap();
    }
    if let Ok(dims) = sparse::dense_dims::<f16>(vector, -1)
        && let Err(error) = sparse::to_dense(vector, &mut vec![f16::ZERO; dims])
    {
        expect_of_user(&error);
    }
}
