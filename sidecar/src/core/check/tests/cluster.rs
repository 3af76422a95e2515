use crate::core::check::cluster::{check_seed, fails};
use crate::core::check::world::Tally;
use crate::core::message::Message;
use crate::core::mutant::{Mutants, Rule};
use crate::wire::{Decoder, Guard, Incoming, encode};

/// Every message goes through the bytes of the real wire.
fn through_bytes(message: &Message) -> Result<Message, String> {
    let mut bytes = Vec::new();
    encode(message, Guard::Checksum, &mut bytes).map_err(|error| error.to_string())?;
    let mut decoder = Decoder::with_limit(Guard::Checksum, 1 << 26);
    decoder.push(&bytes);
    match decoder.next_message() {
        Ok(Some(Incoming::Message(decoded))) if *decoded == *message => Ok(*decoded),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn whole_nodes_on_a_hostile_network() {
    let mut total = Tally::new();
    for seed in 0..10 {
        match check_seed(seed, 120, Mutants::NONE, through_bytes) {
            Ok(tally) => tally.into_iter().for_each(|(what, times)| *total.entry(what).or_default() += times),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{total:?}");
}

/// Many seeds, for a long night: `FIRST=1000 SEEDS=2000 STEPS=150 cargo test --release cluster::soak -- --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
#[expect(clippy::disallowed_methods, reason = "the one test that is told what to do from outside")]
fn soak() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, count, steps) = (number("FIRST", 0), number("SEEDS", 40), number("STEPS", 150));
    let failures: Vec<String> = (first..first + count)
        .filter_map(|seed| check_seed(seed, steps as usize, Mutants::NONE, through_bytes).err())
        .inspect(|report| println!("{report}"))
        .collect();
    assert!(failures.is_empty(), "{} of {count} seeds failed", failures.len());
}

fn found(rule: Rule, seeds: u64) {
    let mutants = Mutants::without(rule);
    let hit = (0..seeds).find_map(|seed| Some((seed, fails(seed, 150, mutants, through_bytes)?)));
    let Some((seed, failure)) = hit else { panic!("{rule:?} is not missed in {seeds} seeds") };
    println!("{rule:?}: seed {seed}: {failure}");
}

#[test]
fn grace_reap() {
    found(Rule::GraceReap, 100);
}

#[test]
fn local_purge() {
    found(Rule::LocalPurge, 20);
}

#[test]
fn flat_roster() {
    found(Rule::FlatRoster, 100);
}

#[test]
fn no_sponsor() {
    found(Rule::NoSponsor, 20);
}
