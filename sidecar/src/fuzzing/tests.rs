//! Everything that fuzzers have found worth keeping, and mutations of it.

use std::path::{Path, PathBuf};

use super::mutate::mutated;
use super::{TARGETS, target};
use crate::core::check::rng::Rng;

/// Mutations for each target. Those that run whole worlds cost more.
fn mutations(name: &str) -> usize {
    if name == "histories" { 300 } else { 4_000 }
}

fn folder(which: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(which).join(target)
}

/// The files in a folder, in the order of their names; none when it is not there.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Runs an input; a panic says which one it was.
fn run(name: &str, what: &str, bytes: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(name)(bytes));
    if let Err(panic) = outcome {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name} fails on {what}: {hex}");
        std::panic::resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let corpus = files(&folder("corpus", name));
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (path, bytes) in corpus.iter().chain(&files(&folder("crashes", name))) {
        run(name, &path.display().to_string(), bytes);
    }
    let mut rng = Rng::new(name.len() as u64);
    for number in 0..mutations(name) {
        let (base, other) = (&corpus[rng.index(corpus.len())].1, &corpus[rng.index(corpus.len())].1);
        let bytes = mutated(base, other, &mut rng);
        run(name, &format!("mutation {number}"), &bytes);
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_tested_and_has_a_fuzzer() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
            for (name, _) in TARGETS {
                let fuzzer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/targets").join(name);
                assert!(fuzzer.with_extension("rs").exists(), "{name}");
            }
        }
    };
}

targets!(wire, datagram, messages, histories, json, http, records, link, disk);
