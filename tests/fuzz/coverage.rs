//! Runs one target of `targets.rs`, which `VECTOR_SEARCH_FUZZ_TARGET` names, with the inputs of libFuzzer.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "../support/damaged.rs"]
mod damaged;
#[path = "../ivf/earlier_pages.rs"]
mod earlier_pages;
#[path = "../ivf/originals.rs"]
#[allow(dead_code)]
mod originals;
#[path = "../support/random.rs"]
mod random;
#[path = "targets.rs"]
mod targets;
#[path = "../ivf/world.rs"]
#[allow(dead_code)]
mod world;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static TARGET: targets::Target = targets::target(&std::env::var("VECTOR_SEARCH_FUZZ_TARGET").unwrap());
}

fuzz_target!(
    // The time that it takes to build the indexes is not that of the first input.
    init: TARGET.with(|target| target(&[])),
    |input: &[u8]| TARGET.with(|target| target(input))
);
