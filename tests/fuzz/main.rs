//! Every door for a stranger's bytes, fed with what it takes gladly and with mutants of it: a corpus and seeded mutations,
//! replayed on every run. More of them, and other ones, under TOLLBRIDGE_TEST_LONG; TOLLBRIDGE_FUZZ_SEED repeats a run.
//!
//! An input that breaks a door is printed. Saved to `corpus/<target>/`, it is tried for ever.

mod script;
mod target;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::panic::catch_unwind;
use std::path::Path;
use target::{TARGETS, Target};

/// Mutants a target: about ten seconds for all of them without optimisation.
const MUTANTS: u64 = 3_000;
/// A hundred times as many take some minutes with optimisation.
const MUTANTS_LONG: u64 = 300_000;
/// No mutant grows beyond: the largest datagram.
const LONGEST: usize = 65_535;
/// Octets at which lengths and signs turn over.
const EDGES: [u8; 12] = [0, 1, 0x0a, 0x0d, 0x20, 0x3a, 0x7f, 0x80, 0x81, 0xc8, 0xfe, 0xff];

/// The contents of all files of a folder and of those within, in the order of their names; none if it is not there.
pub fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| if path.is_dir() { files(path) } else { vec![std::fs::read(path).unwrap()] };
    paths.iter().flat_map(read).collect()
}

/// One to six changes of one input.
fn mutant(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = corpus.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=6) {
        change(&mut bytes, corpus, random);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut StdRng) {
    let length = bytes.len();
    let place = random.random_range(0..=length);
    let end = (place + random.random_range(0..=16)).min(length);
    match random.random_range(0..8) {
        0 if place < length => bytes[place] ^= 1 << random.random_range(0..8),
        1 if place < length => bytes[place] = *EDGES.choose(random).unwrap(),
        2 if place < length => bytes[place] = random.random(),
        3 => bytes.insert(place, random.random()),
        4 => drop(bytes.drain(place..end)),
        5 => bytes.truncate(place),
        // Once more, up to many times.
        6 => {
            let times = 1 << random.random_range(0..6);
            let piece = bytes[place..end].repeat(times);
            bytes.splice(place..place, piece);
        }
        _ => {
            let other = corpus.choose(random).map_or(&[][..], Vec::as_slice);
            let from = random.random_range(0..=other.len());
            bytes.splice(place.., other[from..].iter().copied());
        }
    }
}

fn try_one((name, door, _): &Target, what: &str, input: &[u8]) {
    if catch_unwind(|| door(input)).is_err() {
        let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
        panic!("{name} broke on {what}: {hex}\n(as text: {:?})", String::from_utf8_lossy(input));
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|(known, ..)| *known == name).unwrap();
    let long = std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some();
    let seed = std::env::var("TOLLBRIDGE_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| if long { rand::random() } else { 4_475 });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let corpus = [target.2(), files(&folder), vec![Vec::new()]].concat();
    for (place, input) in corpus.iter().enumerate() {
        try_one(target, &format!("input {place} of its corpus"), input);
        for length in (0..input.len()).step_by(1 + input.len() / 512) {
            try_one(target, &format!("{length} bytes of input {place}"), &input[..length]);
        }
    }
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..if long { MUTANTS_LONG } else { MUTANTS } {
        let input = mutant(&corpus, &mut random);
        try_one(target, &format!("mutant {number} of seed {seed}"), &input);
    }
}

macro_rules! doors {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_run() {
            assert_eq!(TARGETS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

doors! { rtp event rtcp srtp engine sdp crypto info datagram stream parts uri name_addr via auth identity certificate transaction dialog watch }
