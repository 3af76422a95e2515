//! A few replicas of one shard, and everything that a network, a disk and a user can do to them.
//!
//! One seed decides all: who there is, what happens, in which order. Each step draws from a seed of its own, so a
//! step can be left out without changing what the others do: that is what makes a failing history shrink.

mod act;
mod collect;
mod inspect;
mod profile;
mod user;

pub(super) use self::inspect::difference;
pub use self::profile::{
    Act, CONFLICTS, COUNTERS, FOLDS, LARGE, MIXED, PLAIN, Profile, SESSIONS, TREES, Taste,
};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::replica::Replica;
use super::rng::Rng;
use super::shrink::shrink;
use super::spec::Known;
use crate::core::contents::DotKey;
use crate::core::identity::{Clock, Kind, LifeId, ObjectId, ReplicaId, ShardId};
use crate::core::mutant::Mutants;
use crate::core::op::Op;
use crate::core::shard::ShardState;
use crate::core::time::UnixMillis;

/// The shard under test; every object of the world lives in it.
const SHARD: ShardId = ShardId(7);

/// When a world starts.
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);

/// Who there is, and how bad the network is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What happens how often.
    pub profile: Profile,
    /// Which rules hold.
    pub mutants: Mutants,
    /// Each node's wall clock less the true time, in milliseconds.
    pub skews_millis: Vec<i64>,
    /// How many in a hundred new operations are sent to a peer at once.
    pub pushed_percent: u64,
    /// How many in a hundred arrivals are lost.
    pub lost_percent: u64,
    /// How many in a hundred arrivals come again.
    pub repeated_percent: u64,
    /// The bound on a session's life, in milliseconds.
    pub session_lifetime_millis: Option<u64>,
}

/// A clock that is an hour ahead: far beyond the drift limit.
const MAD_MILLIS: i64 = 3_600_000;

impl Setup {
    /// Drawn from a seed.
    #[must_use]
    pub fn new(seed: u64, profile: Profile, mutants: Mutants) -> Self {
        let mut rng = Rng::new(seed ^ 0x5e7u64.rotate_left(40));
        let mut skews_millis: Vec<i64> =
            (0..3 + rng.below(3)).map(|_| rng.below(8_000) as i64 - 4_000).collect();
        if rng.percent(15) {
            skews_millis[0] = MAD_MILLIS;
        }
        Self {
            profile,
            mutants,
            skews_millis,
            pushed_percent: rng.pick(&[30, 60, 95]),
            lost_percent: rng.pick(&[0, 8, 30]),
            repeated_percent: rng.pick(&[0, 20, 40]),
            session_lifetime_millis: rng.pick(&[None, Some(30_000)]),
        }
    }
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What happens.
    pub act: Act,
    /// To which node.
    pub node: usize,
    /// How.
    pub seed: u64,
}

/// The steps of a seed.
#[must_use]
pub fn steps(seed: u64, setup: &Setup, count: usize) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let weights: Vec<u64> = setup.profile.weights.iter().map(|(_, weight)| *weight).collect();
    (0..count)
        .map(|_| Step {
            act: setup.profile.weights[rng.weighted(&weights)].0,
            node: rng.index(setup.skews_millis.len()),
            seed: rng.bits(),
        })
        .collect()
}

/// How often each thing really happened: a fault that never happens tests nothing.
pub type Tally = BTreeMap<&'static str, u64>;

/// A rule that did not hold.
#[derive(Clone, Debug)]
pub struct Violation(pub String);

/// What happened to which node, for those who follow along with types of their own.
#[derive(Clone, Debug)]
pub enum Event {
    /// A replica wrote this.
    Authored(usize, Arc<Op>),
    /// A replica applied somebody else's operation.
    Applied(usize, Arc<Op>),
    /// A replica's state was copied under this number.
    Copied(usize, u64),
    /// A replica merged the copy of this number.
    Merged(usize, u64),
    /// A node's next process started, with the disk or without.
    Restarted(usize, bool),
}

/// On the way to a replica.
#[derive(Clone, Debug)]
enum Parcel {
    Op(Arc<Op>),
    State(u64, Box<ShardState>),
}

/// A DELETE of a session that its node saw nothing of, answered with 204.
#[derive(Clone, Debug)]
struct BlindDelete {
    step: usize,
    node: usize,
    op: Option<DotKey>,
}

/// The replicas, and an observer who has seen everything.
#[derive(Debug)]
pub struct World {
    /// How it is set up.
    pub setup: Setup,
    /// The replicas, by node.
    pub replicas: Vec<Replica>,
    /// The true time.
    pub now: UnixMillis,
    /// What happened, in words; kept when somebody wants to read it.
    pub story: Option<Vec<String>>,
    /// What happened, for those who follow along; kept when somebody does.
    pub events: Option<Vec<Event>>,
    /// How often what happened.
    pub tally: Tally,
    bags: Vec<Vec<Parcel>>,
    groups: Vec<u64>,
    known: BTreeMap<DotKey, Known>,
    born: BTreeMap<DotKey, (usize, usize)>,
    kept: BTreeSet<DotKey>,
    unchecked: Vec<bool>,
    remembered: BTreeMap<ObjectId, Vec<LifeId>>,
    deletes: Vec<BlindDelete>,
    reports: BTreeMap<ReplicaId, Clock>,
    copies: u64,
    step: usize,
}

/// The world's one object of a kind: a name that falls into its shard.
#[must_use]
pub fn object(kind: Kind) -> ObjectId {
    (0..)
        .map(|n| ObjectId::new(kind, &format!("o{n}")))
        .find(|object| object.shard() == SHARD)
        .unwrap_or_else(|| ObjectId::new(kind, "o"))
}

impl World {
    /// Everybody is up, and nobody has anything.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let replica = |(node, skew): (usize, &i64)| Replica::new(node, SHARD, *skew, setup.mutants);
        let mut replicas: Vec<_> = setup.skews_millis.iter().enumerate().map(replica).collect();
        for replica in &mut replicas {
            replica.session_lifetime_millis = setup.session_lifetime_millis;
        }
        let count = replicas.len();
        Self {
            replicas,
            now: EPOCH,
            story: None,
            events: None,
            tally: Tally::new(),
            bags: vec![Vec::new(); count],
            groups: vec![0; count],
            known: BTreeMap::new(),
            born: BTreeMap::new(),
            kept: BTreeSet::new(),
            unchecked: vec![true; count],
            remembered: BTreeMap::new(),
            deletes: Vec::new(),
            reports: BTreeMap::new(),
            copies: 0,
            step: 0,
            setup,
        }
    }

    /// Replicas with these clocks, between which nothing travels but by hand.
    #[must_use]
    pub fn by_hand(skews_millis: &[i64], mutants: Mutants) -> Self {
        Self::new(Setup {
            profile: MIXED,
            mutants,
            skews_millis: skews_millis.to_vec(),
            pushed_percent: 0,
            lost_percent: 0,
            repeated_percent: 0,
            session_lifetime_millis: None,
        })
    }

    /// Runs steps and checks after every `every` of them, then heals and checks for the last time.
    ///
    /// # Errors
    /// The first rule that did not hold.
    pub fn run(&mut self, steps: &[Step], every: usize) -> Result<(), Violation> {
        for (at, step) in steps.iter().enumerate() {
            self.run_one(at, step)?;
            if at % every == 0 {
                self.inspect()?;
            }
        }
        self.step = steps.len();
        self.finish()
    }

    /// Runs one step, the `at`th, and checks nothing after it.
    ///
    /// # Errors
    /// A promise to a user that was not kept.
    pub fn run_one(&mut self, at: usize, step: &Step) -> Result<(), Violation> {
        self.step = at;
        self.act(step)
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        let step = self.step;
        if let Some(story) = &mut self.story {
            story.push(format!("{step:4}  {}", line()));
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn event(&mut self, event: Event) {
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }
}

/// Runs a history; what the core panics with is a violation as well.
pub fn attempt(setup: &Setup, steps: &[Step], every: usize, tell: bool) -> (World, Option<String>) {
    let mut world = World::new(setup.clone());
    world.story = tell.then(Vec::new);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run(steps, every)));
    let failure = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(Violation(what))) => Some(what),
        Err(panic) => Some(format!("panicked: {}", panic_text(&*panic))),
    };
    (world, failure)
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// One seed from start to end: what happened how often, or the shrunk history of what went wrong.
///
/// # Errors
/// A report to print: the seed, the violation, and the shortest history found, step by step.
pub fn check_seed(seed: u64, profile: Profile, count: usize, mutants: Mutants) -> Result<Tally, String> {
    let setup = Setup::new(seed, profile, mutants);
    let steps = steps(seed, &setup, count);
    let (world, failure) = attempt(&setup, &steps, 7, false);
    match failure {
        None => Ok(world.tally),
        Some(failure) => Err(report(seed, &setup, &steps, &failure)),
    }
}

/// Whether a seed breaks a rule, without looking for the shortest history.
#[must_use]
pub fn fails(seed: u64, profile: Profile, count: usize, mutants: Mutants) -> Option<String> {
    let setup = Setup::new(seed, profile, mutants);
    attempt(&setup, &steps(seed, &setup, count), 7, false).1
}

fn report(seed: u64, setup: &Setup, steps: &[Step], failure: &str) -> String {
    let shrunk = shrink(steps, 600, |steps| attempt(setup, steps, 1, false).1);
    let steps = shrunk.map_or_else(|| steps.to_vec(), |shrunk| shrunk.steps);
    let (world, shorter) = attempt(setup, &steps, 1, true);
    let failure = shorter.as_deref().unwrap_or(failure);
    let story = world.story.unwrap_or_default().join("\n");
    format!(
        "seed {seed} of {}: {failure}\n{} steps are left: {setup:?}\n{story}",
        setup.profile.name,
        steps.len()
    )
}
