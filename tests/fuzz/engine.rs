//! The loop: mutate, run, keep what is new.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest input in bytes.
const LONGEST: usize = 40_000;
/// Most inputs that are kept.
const MOST_KEPT: usize = 4_000;

/// Numbers from a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 16 };
        start..(start + self.below(most) + 1).min(length)
    }
}

/// Shows the input when the target panics.
struct Shown<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}", self.name, self.input.escape_ascii());
        }
    }
}

/// Runs `target` on mutations of `seeds` until the time is over. `target` says which outcome an input has.
pub(crate) fn fuzz(name: &str, seeds: &[&[u8]], words: &[&str], target: impl Fn(&[u8]) -> u64) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let time = Duration::from_secs(number("PORTICO_FUZZ_SECONDS").unwrap_or(2));
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let seed = number("PORTICO_TEST_SEED").unwrap_or_else(now);
    let mut random = Random(seed);
    let mut kept: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let mut outcomes = HashSet::new();
    let run = |input: &[u8]| {
        let _shown = Shown { name, input };
        target(input)
    };
    for seed in &kept {
        outcomes.insert(run(seed));
    }
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        for _ in 0..64 {
            let mut input = kept[random.below(kept.len())].clone();
            for _ in 0..=random.below(4) {
                let other = random.below(kept.len());
                mutate(&mut random, &mut input, &kept[other], words);
            }
            input.truncate(LONGEST);
            count += 1;
            if outcomes.insert(run(&input)) && kept.len() < MOST_KEPT {
                kept.push(input);
            }
        }
    }
    eprintln!(
        "{name}: {count} inputs, {} outcomes in {:?}, PORTICO_TEST_SEED={seed}",
        outcomes.len(),
        began.elapsed()
    );
    assert!(outcomes.len() > 1, "all inputs have the same outcome");
}

fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let at = random.below(input.len() + 1);
    match random.below(8) {
        0 if !input.is_empty() => {
            let at = at.min(input.len() - 1);
            input[at] ^= 1 << random.below(8);
        }
        1 => input.insert(at, u8::try_from(random.below(256)).unwrap()),
        2 => drop(input.drain(random.range(input.len()))),
        3 => {
            let copy = input[random.range(input.len())].to_vec();
            input.splice(at..at, copy);
        }
        4 => {
            let piece = other[random.range(other.len())].to_vec();
            input.splice(at..at, piece);
        }
        5 => {
            let copy = input[random.range(input.len())].to_vec();
            let times = 1 << random.below(8);
            if copy.len() * times < LONGEST {
                input.splice(at..at, copy.repeat(times));
            }
        }
        _ => {
            let word = words[random.below(words.len())].as_bytes().to_vec();
            let end = random.range(input.len() - at).end;
            let replaced = if random.below(2) == 0 { at } else { at + end };
            input.splice(at..replaced, word);
        }
    }
}
