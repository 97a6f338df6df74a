//! No input from outside (text, binary messages, pages of a damaged file) makes the code panic or run
//! forever. Inputs are made by changing valid ones. Each target runs for `VECTOR_SEARCH_FUZZ_SECONDS`
//! (default 1) with a random seed. A failure names its seed; `VECTOR_SEARCH_FUZZ_SEED` repeats it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "support/random.rs"]
mod random;
#[path = "ivf/world.rs"]
#[allow(dead_code)]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use half::f16;
use vector_search::ivf::build::Options;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::search::Search;
use vector_search::ivf::{check, info, insert, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Columns, Store};
use vector_search::random::SplitMix64;
use vector_search::value::{Element, Metric, bits, sparse, sparse_text, text, vector};
use world::{Mixture, World, keys, options, table, tid};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Calls `target` with one seed after another until the time is over. Returns how many there were.
fn run(name: &str, target: impl Fn(&mut SplitMix64)) -> u64 {
    let limit = Duration::from_secs(setting("VECTOR_SEARCH_FUZZ_SECONDS", 1));
    let start = Instant::now();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let first = setting("VECTOR_SEARCH_FUZZ_SEED", clock);
    let mut seed = first;
    while start.elapsed() < limit {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&mut SplitMix64(seed))));
        assert!(outcome.is_ok(), "{name} panics with VECTOR_SEARCH_FUZZ_SEED={seed}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{name} runs on with VECTOR_SEARCH_FUZZ_SEED={seed}"
        );
        seed = seed.wrapping_add(1);
    }
    eprintln!("{name}: {} inputs", seed - first);
    seed - first
}

/// Some changes to bytes: overwritten, removed, doubled, moved.
fn mutate(bytes: &mut Vec<u8>, random: &mut SplitMix64, alphabet: &[u8]) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = alphabet[random.below(alphabet.len())],
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, alphabet[random.below(alphabet.len())]),
            3 => bytes.truncate(at),
            4 => {
                let part = bytes[at..(at + random.below(20)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len() + 1);
                drop(bytes.splice(to..to, part));
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

/// If a text can be parsed, the value can be printed, and parsing the printed text gives the same value.
fn dense_text<E: Element + std::fmt::Debug>(literal: &[u8]) {
    let Ok(elements) = text::parse::<E>(literal, -1) else { return };
    let mut printed = vec![0; text::printed_space(elements.len())];
    let length = text::print_into(&elements, &mut printed);
    assert_eq!(text::parse::<E>(&printed[..length], -1).unwrap(), elements);
}

#[test]
fn text_in() {
    let seeds: [&[u8]; 6] = [
        b"[1,2.5,-3e-05, 0x1.8p3 ,.5,+1.]",
        b"[1e38,-1e-45,340282346638528859811704183484516925440,\
          0.000000000000000000000000000000000000000000001]",
        b"{1:1.5, 3 : -2e10 ,1000000000:7}/1000000000",
        b" [ nan , inf, -infinity, 123456789012345678901234567890 ] ",
        b"{}/3",
        b"[65504,65519.9,65520,5.96e-8]",
    ];
    let alphabet = b"0123456789.,:/[]{}+-eExXpPnaif \t\n\xff\0";
    run("text", |random| {
        let mut literal = seeds[random.below(seeds.len())].to_vec();
        mutate(&mut literal, random, alphabet);
        dense_text::<f32>(&literal);
        dense_text::<f16>(&literal);
        if let Ok(vector) = sparse_text::parse(&literal, -1) {
            let mut printed = vec![0; sparse_text::printed_space(vector.values.len())];
            let length = sparse_text::print_into(vector.view(), &mut printed);
            assert_eq!(sparse_text::parse(&printed[..length], -1).unwrap(), vector);
            assert!(sparse::compare(vector.view(), vector.view()).is_eq());
        }
    });
}

fn encoded<E: Element>(elements: &[E]) -> Vec<u8> {
    let mut bytes = vec![0; vector::encoded_size(elements)];
    vector::encode(elements, &mut bytes);
    bytes
}

fn encoded_sparse(vector: &sparse::SparseBuf) -> Vec<u8> {
    let mut bytes = vec![0; sparse::encoded_size(vector.view())];
    sparse::encode(vector.view(), &mut bytes);
    bytes
}

/// Decodes a message like the receive functions.
fn dense_binary<E: Element + std::fmt::Debug>(message: &[u8]) {
    let Some((header, rest)) = message.split_first_chunk::<4>() else { return };
    let [a, b, c, d] = *header;
    let Ok(dims) =
        vector::check_binary_header::<E>(i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]), -1)
    else {
        return;
    };
    let Some(bytes) = rest.get(..size_of::<E>() * dims) else { return };
    if let Ok(elements) = vector::decode_elements::<E>(bytes) {
        assert_eq!(encoded(&elements), message[..4 + bytes.len()]);
        let mut out = elements.clone();
        vector::l2_normalize(&elements, &mut out);
        let _ = vector::mul(&elements, &elements, &mut out);
    }
}

#[test]
fn binary_in() {
    let small = encoded(&[1.0f32, -2.5, 1e38, 0.0]);
    let half = encoded(&[f16::ONE, f16::MAX, f16::NEG_ZERO]);
    let thin = sparse::SparseBuf { dims: 70, indices: vec![0, 3, 69], values: vec![1.0, -2.0, 3e30] };
    let seeds = [small, half, encoded_sparse(&thin)];
    let alphabet: Vec<u8> = (0..=255).collect();
    run("binary", |random| {
        let mut message = seeds[random.below(seeds.len())].clone();
        mutate(&mut message, random, &alphabet);
        dense_binary::<f32>(&message);
        dense_binary::<f16>(&message);
        if let Some((header, rest)) = message.split_first_chunk::<12>() {
            let word = |at: usize| i32::from_be_bytes(*header[at..].first_chunk().unwrap());
            if let Ok((dims, count)) = sparse::check_binary_header(word(0), word(4), word(8), -1)
                && let Some(bytes) = rest.get(..8 * count)
                && let (Ok(indices), Ok(values)) = (
                    sparse::decode_indices(&bytes[..4 * count], dims),
                    sparse::decode_values(&bytes[4 * count..]),
                )
            {
                let vector = sparse::SparseBuf { dims, indices, values };
                assert_eq!(encoded_sparse(&vector), message[..12 + bytes.len()]);
                let _ = sparse::l2_normalize(vector.view(), &mut vec![0.0; count]);
                if let Ok(dims) = sparse::dense_dims::<f16>(vector.view(), -1) {
                    let _ = sparse::to_dense(vector.view(), &mut vec![f16::ZERO; dims]);
                }
            }
        }
        let length = 8 * message.len();
        let whole = bits::Bits { length, bytes: &message };
        assert_eq!(bits::hamming_distance(whole, whole), Ok(0.0));
    });
}

/// Indexes with every page layout.
fn worlds() -> Vec<(World, Mixture)> {
    let shapes = [(8, 4, 400, Metric::L2), (40, 1, 300, Metric::Cosine), (3000, 8, 40, Metric::InnerProduct)];
    let world = |(dims, bits, rows, metric)| {
        let mut mixture = Mixture::new(dims, 5, 0.4, 3);
        let columns = if dims == 8 { Columns::new(&[4, 8]).unwrap() } else { Columns::default() };
        let options = Options { lists: 5, bits, columns, ..options(dims, metric) };
        (World::build(table(&mut mixture, rows), &options), mixture)
    };
    shapes.into_iter().map(world).collect()
}

#[test]
fn pages() {
    let mut worlds = worlds();
    let queries: Vec<Vec<f32>> = worlds.iter_mut().map(|(_, mixture)| mixture.draw()).collect();
    run("pages", |random| {
        let which = random.below(worlds.len());
        let (world, query) = (&worlds[which].0, &queries[which]);
        let store = world.store.snapshot();
        for _ in 0..1 + random.below(3) {
            damage(&store, random);
        }
        // Any result is allowed: damage that is not found may give wrong rows.
        let _ = check::check(&store, &mut |_| Ok(()), &|| Ok(()));
        let _ = info::info(&store, 0, &|| Ok(()));
        let damaged = World { table: world.table.clone(), store, metric: world.metric };
        for settings in [world::DEFAULT, world::EXACT] {
            let Ok(directory) = Directory::load(&damaged.store) else { break };
            if directory.dims() != query.len() {
                break;
            }
            let mut search = Search::new(Rc::new(directory), settings);
            search.start(settings, Some(query));
            let mut heap = damaged.heap(query);
            heap.damaged = true;
            for _ in 0..100 {
                if !matches!(search.next(&damaged.store, &mut heap), Ok(Some(_))) {
                    break;
                }
            }
        }
        let store = &damaged.store;
        if let Ok(directory) = Directory::load(store)
            && directory.dims() == query.len()
        {
            let keys = keys(9000);
            if let Some(keys) = keys.get(..directory.meta.columns.widths().len()) {
                let _ = insert::insert(
                    store,
                    &directory,
                    &mut RowCode::new(&directory).unwrap(),
                    tid(9000),
                    query,
                    keys,
                );
            }
        }
        let _ = vacuum::bulk_delete(store, &mut |row| row.offset % 2 == 0, &|| Ok(()));
    });
}

/// Changes some bytes of a page.
fn damage(store: &MemoryStore, random: &mut SplitMix64) {
    let nblocks = store.nblocks().unwrap() as usize;
    // In half of the cases one of the first pages, from which everything is reached.
    let blkno = if random.below(2) == 0 { random.below(nblocks.min(4)) } else { random.below(nblocks) };
    store.damage(blkno as u32, |page| {
        let bytes = page.bytes_mut();
        for _ in 0..1 + random.below(4) {
            // Most numbers are at the beginning of a page and at its end.
            let at = match random.below(3) {
                0 => random.below(128.min(bytes.len())),
                1 => bytes.len() - 1 - random.below(64.min(bytes.len())),
                _ => random.below(bytes.len()),
            };
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ 1 << random.below(8),
                _ => random.bits() as u8,
            };
        }
    });
}
