use crate::core::check::cluster::{
    Cluster, Codec, Setup, Theme, attempt, check_setup, fails, objects, steps,
};
use crate::core::check::told;
use crate::core::check::world::{Tally, Violation};
use crate::core::command::{Change, Write};
use crate::core::identity::Kind;
use crate::core::message::Message;
use crate::core::mutant::{Mutants, Rule};
use crate::core::value::Tree;
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

type Draw = fn(u64, Theme, Mutants, Codec) -> Setup;

fn seeds(theme: Theme, seeds: std::ops::Range<u64>, must_happen: &[&str]) {
    run(Setup::new, theme, seeds, must_happen);
}

fn sparse_seeds(theme: Theme, seeds: std::ops::Range<u64>, must_happen: &[&str]) {
    run(Setup::sparse, theme, seeds, must_happen);
}

/// Once more what has failed once.
fn one_seed(draw: Draw, seed: u64, theme: Theme, count: usize) {
    if let Err(report) = check_setup(seed, &draw(seed, theme, Mutants::NONE, through_bytes), count) {
        panic!("{report}");
    }
}

/// Runs seeds; a fault that never happened tests nothing.
fn run(draw: Draw, theme: Theme, seeds: std::ops::Range<u64>, must_happen: &[&str]) {
    let count = if theme == Theme::Deploys { 200 } else { 120 };
    let mut total = Tally::new();
    for seed in seeds {
        match check_setup(seed, &draw(seed, theme, Mutants::NONE, through_bytes), count) {
            Ok(tally) => tally.into_iter().for_each(|(what, times)| *total.entry(what).or_default() += times),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{total:?}");
    for what in must_happen {
        assert!(total.contains_key(what), "{what} never happened: {total:?}");
    }
}

#[test]
fn whole_nodes_on_a_hostile_network() {
    let must_happen = [
        "barriers removed",
        "blind deletes",
        "clocks corrected",
        "crashes",
        "departures",
        "enough acks",
        "expired lives destroyed",
        "joined",
        "known to nobody",
        "logins that held",
        "lost",
        "not enough acks",
        "overflows",
        "overtaken",
        "repeated",
        "restarts",
        "splits",
        "started alone",
        "tidied up",
        "tokens not seen",
        "tokens seen",
    ];
    seeds(Theme::Everything, 0..10, &must_happen);
}

#[test]
fn sessions_that_expire_on_one_side_of_a_split() {
    seeds(Theme::Expiry, 0..6, &["expired lives destroyed", "splits", "tidied up", "touches"]);
}

#[test]
fn processes_that_die_and_come_back_are_forgotten() {
    let must_happen = [
        "crashes",
        "departures",
        "late words",
        "restarts",
        "stalls",
        "tidied up",
        "writes that lean on a past",
    ];
    seeds(Theme::Forgetting, 0..8, &must_happen);
}

#[test]
fn members_that_will_not_come_back_are_given_up() {
    let must_happen = ["crashes", "given up", "restarts", "tidied up"];
    seeds(Theme::GivingUp, 0..10, &must_happen);
}

/// A sponsor dies before it has given everything.
#[test]
fn a_sponsor_that_dies_half_way() {
    one_seed(Setup::new, 970, Theme::GivingUp, 150);
    one_seed(Setup::new, 1_439, Theme::GivingUp, 150);
}

/// The only one that had heard a goodbye died: nobody knows that the member has left, until somebody says so.
#[test]
fn a_goodbye_that_died_with_whom_it_was_said_to() {
    for seed in [325, 441, 484, 630, 1_145, 1_400, 1_761, 1_813, 2_468] {
        one_seed(Setup::new, seed, Theme::Forgetting, 150);
    }
}

/// They broke the protocol that took ids out of clocks.
#[test]
fn worlds_in_which_forgotten_ids_hid_what_was_lacking() {
    for seed in [78, 3_180, 3_394] {
        one_seed(Setup::new, seed, Theme::Forgetting, 150);
        one_seed(Setup::new, seed, Theme::GivingUp, 150);
    }
}

/// The same promises where not everyone is linked with everyone.
#[test]
fn whole_nodes_that_are_linked_with_their_neighbours_only() {
    let must_happen = [
        "barriers removed",
        "blind deletes",
        "crashes",
        "departures",
        "enough acks",
        "expired lives destroyed",
        "joined",
        "known to nobody",
        "links not wanted",
        "logins that held",
        "not enough acks",
        "overflows",
        "restarts",
        "sent Relay",
        "sent Settled",
        "splits",
        "tidied up",
        "tokens seen",
    ];
    sparse_seeds(Theme::Everything, 0..14, &must_happen);
    sparse_seeds(Theme::Expiry, 0..8, &["expired lives destroyed", "splits", "tidied up", "touches"]);
    sparse_seeds(Theme::Forgetting, 0..6, &["crashes", "late words", "restarts", "stalls", "tidied up"]);
}

fn durable_seeds(theme: Theme, seeds: std::ops::Range<u64>, must_happen: &[&str]) {
    run(Setup::durable, theme, seeds, must_happen);
}

/// Processes that come back with what they have saved, which may be less than they had in memory.
#[test]
fn whole_nodes_with_disks() {
    let must_happen = [
        "backups restored",
        "blackouts",
        "came back from a disk",
        "commits",
        "commits failed",
        "crashes",
        "departures",
        "disks lost",
        "enough acks",
        "joined",
        "lost",
        "not enough acks",
        "restarts",
        "sent Saved",
        "sent WantSaved",
        "splits",
        "started alone",
        "writes that lean on a past",
    ];
    durable_seeds(Theme::Restarts, 0..16, &must_happen);
    durable_seeds(Theme::Expiry, 0..4, &["expired lives destroyed"]);
    // Processes come and go on disks that are lost and found again.
    let found_again = |seed, theme, mutants, codec| Setup {
        disk_lost_percent: 50,
        disk_returns_percent: 100,
        ..Setup::durable(seed, theme, mutants, codec)
    };
    run(
        found_again,
        Theme::Forgetting,
        0..60,
        &["disks found again", "forgotten and back", "disks set aside"],
    );
}

/// One seed, one history: to the last message.
#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [3, 4] {
        let run = || {
            let setup = Setup::new(seed, Theme::Everything, Mutants::NONE, through_bytes);
            let (cluster, failure) = attempt(&setup, seed, &steps(seed, &setup, 80), true);
            (cluster.story, cluster.tally, failure)
        };
        let first = run();
        assert!(first.0.as_ref().is_some_and(|story| story.len() > 20));
        assert_eq!(first, run());
    }
}

/// Many seeds, for a long night (`TAKE=2`: with disks only; `SKIP=6`: sparse clusters only; `SHRINK=0`: as they are): `FIRST=1000 SEEDS=2000 STEPS=150 cargo test --release cluster::soak -- --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
fn soak() {
    let (first, count, steps) = (told("FIRST", 0), told("SEEDS", 40), told("STEPS", 150));
    let failures: Vec<String> = (first..first + count)
        .filter_map(|seed| {
            let draws: [(Draw, Theme); 15] = [
                (Setup::durable, Theme::Restarts),
                (Setup::durable, Theme::Expiry),
                (Setup::new, Theme::Everything),
                (Setup::new, Theme::Expiry),
                (Setup::new, Theme::Forgetting),
                (Setup::new, Theme::GivingUp),
                (Setup::sparse, Theme::Everything),
                (Setup::sparse, Theme::Expiry),
                (Setup::sparse, Theme::Forgetting),
                (Setup::sparse, Theme::GivingUp),
                (Setup::durable, Theme::Forgetting),
                (Setup::durable, Theme::GivingUp),
                (Setup::new, Theme::Deploys),
                (Setup::durable, Theme::Deploys),
                (Setup::sparse, Theme::Deploys),
            ];
            let (skip, take) = (told("SKIP", 0) as usize, told("TAKE", 15) as usize);
            draws.into_iter().skip(skip).take(take).find_map(|(draw, theme)| {
                let setup = draw(seed, theme, Mutants::NONE, through_bytes);
                if told("SHRINK", 1) == 1 {
                    return check_setup(seed, &setup, steps as usize).err();
                }
                let history = crate::core::check::cluster::steps(seed, &setup, steps as usize);
                attempt(&setup, seed, &history, false).1.map(|what| format!("seed {seed}: {what}"))
            })
        })
        .inspect(|report| println!("{report}"))
        .collect();
    assert!(failures.is_empty(), "{} of {count} seeds failed", failures.len());
}

/// The rule is missed in one of so many seeds.
fn found_by<F: std::fmt::Display>(rule: Rule, seeds: u64, failure: impl Fn(u64) -> Option<F>) {
    let hit = (0..seeds).find_map(|seed| Some((seed, failure(seed)?)));
    let Some((seed, failure)) = hit else { panic!("{rule:?} is not missed in {seeds} seeds") };
    println!("{rule:?}: seed {seed}: {failure}");
}

fn found_in(rule: Rule, seeds: u64, setup: impl Fn(u64) -> Setup) {
    found_by(rule, seeds, |seed| {
        let setup = setup(seed);
        attempt(&setup, seed, &steps(seed, &setup, 150), false).1
    });
}

fn found(rule: Rule, theme: Theme, seeds: u64) {
    found_by(rule, seeds, |seed| fails(seed, theme, 150, Mutants::without(rule), through_bytes));
}

fn found_among_neighbours(rule: Rule, theme: Theme, seeds: u64) {
    found_in(rule, seeds, |seed| Setup::sparse(seed, theme, Mutants::without(rule), through_bytes));
}

fn found_with_disks(rule: Rule, theme: Theme, seeds: u64) {
    found_in(rule, seeds, |seed| Setup::durable(seed, theme, Mutants::without(rule), through_bytes));
}

#[test]
fn saved_early() {
    found_with_disks(Rule::SavedEarly, Theme::Restarts, 20);
}

/// A node goes back behind what it has told the others of its time: its disk stands still, it dies, and its wall clock
/// is set back before it starts again, alone.
fn back_in_time(mutants: Mutants) -> Result<(), String> {
    let setup = Setup { disk_micros: Some(1_000), ..Setup::calm(2, mutants, through_bytes) };
    let mut cluster = Cluster::new(setup, 1);
    let [session, _] = objects(Kind::Session);
    let with_ttl = |change| Write { ttl_millis: Some(8_000), ..Write::new(session.clone(), change) };
    let mut run = || {
        cluster.pass(3_000)?;
        cluster.write(0, &with_ttl(Change::Put(Tree::EMPTY)))?;
        cluster.pass(100)?;
        cluster.slow_disks(90_000_000);
        // Until both have told that the lease is over.
        cluster.pass(12_000)?;
        cluster.split(&[0, 1]);
        cluster.kill(1);
        cluster.slow_disks(1_000);
        cluster.revive(1, -15_000)?;
        cluster.pass(7_000)?;
        if cluster.read(1, &session).is_none() {
            return Err(Violation("the session is not in use beyond the split".into()));
        }
        for _ in 0..6 {
            cluster.write(1, &with_ttl(Change::Touch))?;
            cluster.pass(5_000)?;
        }
        cluster.finish()
    };
    run().map_err(|violation| violation.0)
}

#[test]
fn a_session_in_use_after_a_restart_that_goes_back_in_time_lives_on() {
    back_in_time(Mutants::NONE).unwrap();
    let failure = back_in_time(Mutants::without(Rule::UnsavedTime)).unwrap_err();
    assert!(failure.contains("ended a life as expired"), "{failure}");
}

#[test]
fn partial_survey() {
    found_among_neighbours(Rule::PartialSurvey, Theme::Expiry, 30);
}

#[test]
fn partial_answer() {
    found_among_neighbours(Rule::PartialAnswer, Theme::Everything, 60);
}

#[test]
fn grace_reap() {
    found(Rule::GraceReap, Theme::Expiry, 60);
}

#[test]
fn local_purge() {
    found(Rule::LocalPurge, Theme::Expiry, 10);
}

#[test]
fn flat_roster() {
    found(Rule::FlatRoster, Theme::Expiry, 60);
}

#[test]
fn late_writes() {
    found(Rule::LateWrites, Theme::Forgetting, 60);
}

#[test]
fn no_sponsor() {
    found(Rule::NoSponsor, Theme::Everything, 20);
}

/// Finding 9: a lease runs out on one side of a split while the session is in use on the other.
fn in_use_beyond_the_split(mutants: Mutants) -> Result<(), String> {
    let setup = Setup { theme: Theme::Expiry, ..Setup::calm(3, mutants, through_bytes) };
    let mut cluster = Cluster::new(setup, 1);
    let [session, _] = objects(Kind::Session);
    let with_ttl = |change| Write { ttl_millis: Some(8_000), ..Write::new(session.clone(), change) };
    let mut run = || {
        cluster.pass(3_000)?;
        cluster.write(0, &with_ttl(Change::Put(Tree::EMPTY)))?;
        cluster.pass(500)?;
        cluster.split(&[0, 0, 1]);
        for _ in 0..12 {
            cluster.pass(5_000)?;
            cluster.write(2, &with_ttl(Change::Touch))?;
        }
        if cluster.read(0, &session).is_some() || cluster.read(2, &session).is_none() {
            return Err(Violation("the sides do not differ".into()));
        }
        cluster.split(&[0, 0, 0]);
        cluster.pass(3_000)?;
        match cluster.read(0, &session) {
            Some(_) => cluster.finish(),
            None => Err(Violation("the session in use is gone".into())),
        }
    };
    run().map_err(|violation| violation.0)
}

#[test]
fn finding_9_a_session_in_use_beyond_a_split_lives_on() {
    in_use_beyond_the_split(Mutants::NONE).unwrap();
    for (rule, story) in [
        (Rule::GraceReap, "the session in use is gone"),
        (Rule::FlatRoster, "the session in use is gone"),
        (Rule::LocalPurge, "holds something else"),
    ] {
        let failure = in_use_beyond_the_split(Mutants::without(rule)).unwrap_err();
        assert!(failure.contains(story), "{rule:?}: {failure}");
    }
}

/// A login is on its way when the process that took it dies; meanwhile the session is destroyed where nobody has heard of
/// it, and everybody says that the dead process is over: because its node is back, or because it was given up. Far later
/// the login arrives.
///
/// Once for each way to give three nodes their parts: who collects what has ended depends on the ids.
fn a_login_from_the_dead(is_back: bool, mutants: Mutants) -> Result<(), String> {
    for parts in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        a_login_from(parts, is_back, mutants)?;
    }
    Ok(())
}

fn a_login_from([near, far, dead]: [usize; 3], is_back: bool, mutants: Mutants) -> Result<(), String> {
    let mut cluster = Cluster::new(Setup::calm(3, mutants, through_bytes), 1);
    let sessions = objects(Kind::Session);
    let mut run = || {
        cluster.pass(3_000)?;
        cluster.stall(near, dead, 90_000_000);
        let mut groups = [0; 3];
        groups[far] = 1;
        cluster.split(&groups);
        cluster.pass(3_000)?;
        for session in &sessions {
            cluster.write(dead, &Write::new(session.clone(), Change::Put(Tree::EMPTY)))?;
        }
        cluster.kill(dead);
        cluster.reunite();
        cluster.pass(3_000)?;
        cluster.next_step();
        for session in &sessions {
            cluster.write(far, &Write::new(session.clone(), Change::Destroy))?;
        }
        if is_back {
            cluster.revive(dead, 0)?;
        } else {
            cluster.give_up(far, dead)?;
        }
        cluster.pass(100_000)?;
        cluster.finish()
    };
    let ended = run().map_err(|violation| violation.0);
    for what in ["stalls", "blind deletes", "late words"] {
        assert!(cluster.tally.contains_key(what), "{what} never happened");
    }
    ended
}

#[test]
fn a_login_that_arrives_from_the_dead_is_no_login() {
    for is_back in [true, false] {
        a_login_from_the_dead(is_back, Mutants::NONE).unwrap();
    }
    for (rule, is_back) in [(Rule::DeadUncounted, true), (Rule::DeadHeard, false)] {
        let failure = a_login_from_the_dead(is_back, Mutants::without(rule)).unwrap_err();
        assert!(failure.contains("was answered, but life"), "{rule:?}: {failure}");
    }
}

/// Finding 27: a node whose clock is an hour ahead falls into step with the others, and sessions live for it as well.
#[test]
fn finding_27_a_clock_that_is_an_hour_ahead_ends_no_session() {
    let setup = Setup { skews_millis: vec![0, 3_600_000, 0], ..Setup::calm(3, Mutants::NONE, through_bytes) };
    let mut cluster = Cluster::new(setup, 1);
    let [session, _] = objects(Kind::Session);
    let put = Write { ttl_millis: Some(600_000), ..Write::new(session.clone(), Change::Put(Tree::EMPTY)) };
    cluster.pass(10_000).unwrap();
    cluster.write(0, &put).unwrap().unwrap();
    cluster.pass(100).unwrap();
    for node in 0..3 {
        assert!(cluster.read(node, &session).is_some(), "node {node}");
    }
}

/// A split that leaves a node alone with a fast clock does not draw it along.
#[test]
fn a_fast_clock_draws_nobody_along_beyond_a_split() {
    let skews_millis = vec![0, 3_600_000, 0, 0, 0];
    let setup = Setup { skews_millis, ..Setup::calm(5, Mutants::NONE, through_bytes) };
    let mut cluster = Cluster::new(setup, 1);
    let [session, _] = objects(Kind::Session);
    cluster.pass(10_000).unwrap();
    cluster.split(&[1, 1, 0, 0, 0]);
    cluster.pass(20_000).unwrap();
    let put = Write { ttl_millis: Some(600_000), ..Write::new(session.clone(), Change::Put(Tree::EMPTY)) };
    cluster.write(2, &put).unwrap().unwrap();
    cluster.split(&[0; 5]);
    cluster.pass(5_000).unwrap();
    assert!(cluster.read(0, &session).is_some());
    // A logout on the other side wins over a login on this one.
    cluster.split(&[1, 1, 0, 0, 0]);
    cluster.pass(20_000).unwrap();
    let [_, other] = objects(Kind::Session);
    cluster.write(0, &Write::new(other.clone(), Change::Put(Tree::EMPTY))).unwrap().unwrap();
    cluster.write(2, &Write::new(other.clone(), Change::Destroy)).unwrap().unwrap();
    cluster.split(&[0; 5]);
    cluster.pass(5_000).unwrap();
    assert!((0..5).all(|node| cluster.read(node, &other).is_none()));
}

mod folds;
