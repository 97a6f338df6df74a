//! No input from outside (text, binary messages, pages of a damaged file) makes the code panic or run
//! forever. Each target (`tests/fuzz/targets.rs`) runs with the inputs of its corpus, then for
//! `VECTOR_SEARCH_FUZZ_SECONDS` (default 1) with inputs that are made by changing these, with a random seed.
//! A failure names its seed; `VECTOR_SEARCH_FUZZ_SEED` repeats it. `make fuzz` runs the same targets with
//! libFuzzer, which made the corpus. `VECTOR_SEARCH_FUZZ_INPUT=FILE` runs one input that it reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "support/damaged.rs"]
mod damaged;
#[path = "ivf/earlier_pages.rs"]
mod earlier_pages;
#[path = "ivf/originals.rs"]
#[allow(dead_code)]
mod originals;
#[path = "support/random.rs"]
mod random;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "ivf/world.rs"]
#[allow(dead_code)]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vector_search::random::SplitMix64;

/// The longest time that an input may take.
const LIMIT: Duration = Duration::from_secs(5);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Calls a target with an input; `what` names it in a failure.
fn call(target: &targets::Target, input: &[u8], what: &dyn Fn() -> String) {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(outcome.is_ok(), "panics with {}", what());
    assert!(began.elapsed() < LIMIT, "runs on with {}", what());
}

/// The inputs of a folder, by their files' names. Without the folder there are none.
fn inputs(folder: &str, name: &str) -> Vec<(String, Vec<u8>)> {
    // Tests run in the package's folder, even where it was not compiled.
    let Ok(entries) = std::fs::read_dir(Path::new("tests/fuzz").join(folder).join(name)) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

/// Runs the corpus, then changed inputs with one seed after another until the time is over.
fn run(name: &str, alphabet: &[u8]) {
    let target = targets::target(name);
    if let Ok(file) = std::env::var("VECTOR_SEARCH_FUZZ_INPUT") {
        return call(&target, &std::fs::read(&file).unwrap(), &|| format!("{name} {file}"));
    }
    let mut corpus = inputs("corpus", name);
    assert!(corpus.len() > 10, "{name} has a corpus of {}", corpus.len());
    // What has failed before.
    corpus.extend(inputs("faults", name));
    corpus.iter().for_each(|(file, input)| call(&target, input, &|| file.clone()));
    let limit = Duration::from_secs(setting("VECTOR_SEARCH_FUZZ_SECONDS", 1));
    let start = Instant::now();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let first = setting("VECTOR_SEARCH_FUZZ_SEED", clock);
    let mut seed = first;
    while start.elapsed() < limit {
        let random = &mut SplitMix64(seed);
        let mut input = corpus[random.below(corpus.len())].1.clone();
        mutate(&mut input, random, alphabet);
        call(&target, &input, &|| format!("{name} and VECTOR_SEARCH_FUZZ_SEED={seed}"));
        seed = seed.wrapping_add(1);
    }
    eprintln!("{name}: {} inputs of the corpus and {} changed ones", corpus.len(), seed.wrapping_sub(first));
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

fn all_bytes() -> Vec<u8> {
    (0..=255).collect()
}

#[test]
fn text_in() {
    run("text", b"0123456789.,:/[]{}+-eExXpPnaif \t\n\xff\0");
}

#[test]
fn binary_in() {
    run("binary", &all_bytes());
}

#[test]
fn pages() {
    run("pages", &all_bytes());
}

#[test]
fn scan() {
    run("scan", &all_bytes());
}

#[test]
fn maintenance() {
    run("maintenance", &all_bytes());
}
