//! Runs the fuzz targets of `fuzz/` as tests: over their seeds, and over thousands of mutations of those, the same in every run.
#![cfg(feature = "fuzzing")]

use std::path::Path;

use chat_memory::fuzzing::{TARGETS, run};

/// Mutations per target, over all its seeds.
const MUTATIONS: usize = 20_000;

/// Tokens that mutations insert.
const TOKENS: [&[u8]; 28] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1.0",
    b"1e400",
    b"0.5e-9223372036854775808",
    b"18446744073709551615",
    b"9223372036854775807",
    b"\\u0000",
    b"%00",
    b"%2F",
    b"&",
    b"?",
    b"\xff",
    b"\xc3\xa9",
    b"{\"N\":\"1\"}",
    b"{\"S\":\"\"}",
    b"{\"NULL\":true}",
    b"\"chat_memory\"",
    b"\"id\"",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

fn mutated(seeds: &[Vec<u8>], chance: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[chance.usize(..seeds.len())].clone();
    for _ in 0..chance.usize(1..5) {
        let at = chance.usize(..=bytes.len());
        let to = (at + chance.usize(0..12)).min(bytes.len());
        match chance.u8(0..6) {
            0 if at < bytes.len() => bytes[at] = chance.u8(..),
            1 => drop(bytes.splice(at..to, [])),
            2 => drop(bytes.splice(at..to, TOKENS[chance.usize(..TOKENS.len())].iter().copied())),
            3 => {
                let piece = bytes[at..to].to_vec();
                let there = chance.usize(..=bytes.len());
                bytes.splice(there..there, piece);
            }
            4 => {
                // The end of another seed.
                let other = &seeds[chance.usize(..seeds.len())];
                let from = chance.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            _ if at < bytes.len() && bytes[at].is_ascii_digit() => bytes[at] = chance.u8(b'0'..=b'9'),
            _ => {}
        }
    }
    bytes
}

/// Prints the input with which a target failed: a panic only tells where.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the target {} found this: {:?}", self.0, String::from_utf8_lossy(self.1));
        }
    }
}

#[test]
fn fuzz_targets_survive_their_seeds_and_mutations() {
    for (target, _) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{target} has too few seeds");
        let mut chance = fastrand::Rng::with_seed(7);
        let mutations = std::iter::repeat_with(|| mutated(&seeds, &mut chance)).take(MUTATIONS);
        for data in seeds.iter().cloned().chain(mutations) {
            let _shown = Shown(target, &data);
            run(target, &data);
        }
        println!("{target}: {} seeds, {MUTATIONS} mutations", seeds.len());
    }
}
