//! Fuzzing that needs no tool of its own: seeds are mutated for some seconds, and an input with a new outcome becomes a
//! seed too. Each target checks more than that nothing panics.
//!
//! `PORTICO_FUZZ_SECONDS` (default 2) is the time of each target, `PORTICO_TEST_SEED` repeats a run:
//!
//! ```sh
//! PORTICO_FUZZ_SECONDS=600 cargo test --profile quick --test fuzz -- --nocapture
//! ```
//!
//! Ten minutes each, on two busy cores, found nothing (2026-11-21): `host` 25,767,360 inputs, `target` 14,571,968,
//! `proxy-header` 81,618,112, `config` 1,404,352, `tap` 657,088, `tap-parser` 659,968.
//!
//! A target for another parser of bytes is a module with `seeds`, `words` and a function from bytes to an outcome.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says how to repeat it"
)]

mod engine;
mod head;
mod names;
mod proxy;

use engine::fuzz;

#[test]
fn host_and_authority() {
    fuzz("host", names::HOSTS, names::HOST_WORDS, names::host);
}

#[test]
fn target() {
    fuzz("target", names::TARGETS, names::TARGET_WORDS, names::target);
}

#[test]
fn configuration() {
    let seeds = names::configurations();
    let seeds: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
    fuzz("config", &seeds, names::CONFIG_WORDS, names::config);
}

#[test]
fn proxy_header() {
    fuzz("proxy-header", proxy::SEEDS, proxy::WORDS, proxy::header);
}

#[test]
fn the_tap_does_not_mind_pieces() {
    fuzz("tap", head::SEEDS, head::WORDS, head::pieces);
}

#[test]
fn what_the_tap_passes_the_parser_takes() {
    fuzz("tap-parser", head::SEEDS, head::WORDS, head::parser);
}
