//! Whole nodes on a virtual network, in virtual time.
//!
//! Two to five [`Node`]s exchange real [`Message`](crate::core::message::Message)s that are delayed, lost, repeated and
//! overtaken, through partitions and overflowing queues; processes crash, start again without memory, leave, and
//! read clocks that are wrong. Users write, read, ask and wait. Every shard is held against the specification, every
//! wait and every expiry against what really happened. Like [`world`](super::world), all of it comes out of one seed,
//! in steps that can be left out.

mod act;
mod disk;
mod inspect;
mod network;
mod observe;
mod setup;
mod users;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use self::disk::Disk;
use self::network::Network;
use self::observe::Met;
pub use self::setup::{Act, Codec, Setup, Step, Theme, steps};
use self::users::Users;
use self::watch::Watcher;
use super::replica::id_of;
use super::rng::Rng;
use super::shrink::shrink;
use super::spec::Known;
use super::world::{Tally, Violation};
use crate::core::contents::DotKey;
use crate::core::identity::{Clock, Kind, ObjectId, Replica, ReplicaId, ShardId};
use crate::core::mutant::Mutants;
use crate::core::node::{Node, NodeConfig};
use crate::core::time::{MonoMicros, Now, UnixMillis};

/// The shards that hold the users' objects: few, so that they collide.
const SHARDS_USED: [ShardId; 2] = [ShardId(3), ShardId(200)];

/// When a cluster starts, by the true time.
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);

/// How long a node looks for others before it starts alone.
const BOOTSTRAP_MILLIS: u64 = 5_000;

/// One of the cluster's nodes, whose processes come and go.
#[derive(Debug)]
struct Seat {
    /// The process that runs now.
    node: Option<Node>,
    /// Its id, or that of the last one.
    id: ReplicaId,
    /// How many there were.
    starts: u64,
    started: MonoMicros,
    skew_millis: i64,
    /// It has left in order and stays away.
    left: bool,
    /// What its processes have saved, where they have a disk.
    disk: Option<Disk>,
    /// Copies of it that were taken now and then.
    backups: Vec<Disk>,
    /// Disks that it had before.
    former_disks: Vec<Disk>,
    /// Its processes have not always had one and the same.
    changed_disks: bool,
    /// An operator has said of one of them that it would not come back.
    given_up: bool,
}

/// What is left of a process.
#[derive(Debug)]
struct Dead {
    seat: usize,
    process: ReplicaId,
    since: MonoMicros,
    clocks: BTreeMap<ShardId, Clock>,
}

/// The nodes, the network, the users, and an observer who has seen everything.
#[derive(Debug)]
pub struct Cluster {
    /// How it is set up.
    pub setup: Setup,
    /// What happened, in words; kept when somebody wants to read it.
    pub story: Option<Vec<String>>,
    /// How often what happened.
    pub tally: Tally,
    seats: Vec<Seat>,
    network: Network,
    users: Users,
    /// The true time since the start.
    mono: MonoMicros,
    rng: Rng,
    known: BTreeMap<(ShardId, DotKey), Known>,
    /// The step and the seat at which an operation was written.
    born: BTreeMap<(ShardId, DotKey), (usize, usize)>,
    /// How much of its own each process has written, as far as it is written down in `known`.
    noted: BTreeMap<(ReplicaId, ShardId), u64>,
    /// What somebody who is still up has applied: it may not be lost.
    kept: BTreeSet<(ShardId, DotKey)>,
    /// How far processes that are no more had got, and when they went.
    dead: Vec<Dead>,
    /// Expired lives that a node destroyed: the operation.
    expiries: Vec<(ShardId, DotKey)>,
    unchecked: BTreeSet<(usize, ShardId)>,
    /// Somebody watches each process.
    watchers: BTreeMap<ReplicaId, Watcher>,
    /// Processes that have been ready.
    ready: BTreeSet<ReplicaId>,
    /// Processes that were forgotten and have started over: what only they had is lost.
    disowned: u64,
    /// With whom a process got a link before it was ready.
    met: BTreeMap<ReplicaId, Vec<Met>>,
    /// Processes that have begun with what was saved.
    returned: BTreeSet<ReplicaId>,
    step: usize,
}

/// The objects that users write: two of each kind, in few shards.
#[must_use]
pub fn objects(kind: Kind) -> [ObjectId; 2] {
    static NAMES: OnceLock<[[ObjectId; 2]; Kind::ALL.len()]> = OnceLock::new();
    let names = || Kind::ALL.map(|kind| SHARDS_USED.map(|shard| object_in(shard, kind, "o")));
    NAMES.get_or_init(names)[kind as usize].clone()
}

/// A name that falls into a shard.
fn object_in(shard: ShardId, kind: Kind, prefix: &str) -> ObjectId {
    (0..)
        .map(|n| ObjectId::new(kind, &format!("{prefix}{n}")))
        .find(|object| object.shard() == shard)
        .unwrap_or_else(|| ObjectId::new(kind, prefix))
}

impl Cluster {
    /// All processes start at once.
    #[must_use]
    pub fn new(setup: Setup, seed: u64) -> Self {
        let seat = |(index, skew): (usize, &i64)| Seat {
            node: None,
            id: id_of(index, 0),
            starts: 0,
            started: MonoMicros(0),
            skew_millis: *skew,
            left: false,
            disk: None,
            backups: Vec::new(),
            former_disks: Vec::new(),
            changed_disks: false,
            given_up: false,
        };
        let mut cluster = Self {
            seats: setup.skews_millis.iter().enumerate().map(seat).collect(),
            network: Network::new(setup.skews_millis.len()),
            users: Users::default(),
            mono: MonoMicros(1_000_000),
            rng: Rng::new(seed.rotate_left(17)),
            known: BTreeMap::new(),
            born: BTreeMap::new(),
            noted: BTreeMap::new(),
            kept: BTreeSet::new(),
            dead: Vec::new(),
            expiries: Vec::new(),
            unchecked: BTreeSet::new(),
            watchers: BTreeMap::new(),
            ready: BTreeSet::new(),
            disowned: 0,
            met: BTreeMap::new(),
            returned: BTreeSet::new(),
            step: 0,
            story: None,
            tally: Tally::new(),
            setup,
        };
        let first = cluster.seats.len() - usize::from(cluster.setup.latecomer);
        for seat in 0..first {
            // Nothing is on any disk yet that could fail to load.
            let _ = cluster.start(seat);
        }
        cluster
    }

    /// Runs steps, heals, and checks all the while.
    ///
    /// # Errors
    /// The first rule that did not hold.
    pub fn run(&mut self, steps: &[Step]) -> Result<(), Violation> {
        if self.setup.settled {
            self.pass(BOOTSTRAP_MILLIS + 2_000)?;
        }
        for (at, step) in steps.iter().enumerate() {
            self.step = at;
            self.act(step)?;
            self.inspect()?;
        }
        self.step = steps.len();
        self.finish()
    }

    /// A seat's process dies.
    pub fn kill(&mut self, seat: usize) {
        self.count("crashes");
        self.bury(seat);
    }

    /// It starts again, while its wall clock has stepped by this much.
    ///
    /// # Errors
    /// What it finds is not what was saved.
    pub fn revive(&mut self, seat: usize, step_millis: i64) -> Result<(), Violation> {
        self.seats[seat].skew_millis += step_millis;
        self.start(seat)
    }

    /// From now on disks take this long.
    pub fn slow_disks(&mut self, micros: u64) {
        self.setup.disk_micros = Some(micros);
    }

    /// What a seat's process reads when it looks at its clocks.
    fn now(&self, seat: usize) -> Now {
        let wall = EPOCH.plus(self.mono.0 / 1_000).offset(self.seats[seat].skew_millis);
        Now { mono: self.mono, wall }
    }

    /// Starts a seat's next process.
    fn start(&mut self, index: usize) -> Result<(), Violation> {
        let found = self.found_on_disk(index)?;
        let now = self.now(index);
        let seat = &mut self.seats[index];
        seat.starts += 1;
        seat.started = self.mono;
        seat.id = id_of(index, seat.starts);
        let config = NodeConfig {
            joins: !(self.setup.founder && index == 0 && seat.starts == 1),
            bootstrap_millis: BOOTSTRAP_MILLIS,
            log_bytes_max: self.setup.log_bytes_max,
            full_mesh_max: self.setup.full_mesh_max,
            fold_min: 2,
            ..NodeConfig::new(
                Replica { node: format!("n{index}"), started: now.wall, id: seat.id },
                "virtual",
            )
        };
        let mutants = self.setup.mutants;
        let memory = if found.is_some() { "with what was saved" } else { "without memory" };
        seat.left = false;
        seat.node = Some(match found {
            Some(restored) => Node::restore_with_mutants(config, now, restored, mutants),
            None => Node::with_mutants(config, now, mutants),
        });
        if let (Some(node), Some(disk)) = (&mut seat.node, &mut seat.disk) {
            match memory {
                "without memory" => node.keep_on_disk(),
                _ => disk.begin(node.saved_node()),
            }
        }
        self.network.dirty = true;
        self.say(|| format!("n{index} starts {memory}"));
        self.unsaved(index);
        if memory == "without memory" {
            return Ok(());
        }
        self.count("came back from a disk");
        self.returned.insert(self.seats[index].id);
        self.watch_from_here(index);
        self.unchecked.extend(SHARDS_USED.map(|shard| (index, shard)));
        Ok(())
    }

    fn node_of(&self, id: ReplicaId) -> Option<&Node> {
        self.seats.iter().find(|seat| seat.id == id)?.node.as_ref()
    }

    fn up(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.seats.iter().enumerate().filter_map(|(index, seat)| seat.node.as_ref().map(|node| (index, node)))
    }

    /// Whether a seat's clock is beyond all limits, so that little is promised of it.
    fn is_mad(&self, seat: usize) -> bool {
        self.setup.skews_millis[seat].unsigned_abs() > 60_000
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        let (step, millis) = (self.step, self.mono.0 / 1_000);
        if let Some(story) = &mut self.story {
            story.push(format!("{step:4} {millis:7} ms  {}", line()));
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }
}

/// Runs a history; what the core panics with is a violation as well.
pub fn attempt(setup: &Setup, seed: u64, steps: &[Step], tell: bool) -> (Cluster, Option<String>) {
    let mut cluster = Cluster::new(setup.clone(), seed);
    cluster.story = tell.then(Vec::new);
    let run = std::panic::AssertUnwindSafe(|| cluster.run(steps));
    let failure = match std::panic::catch_unwind(run) {
        Ok(Ok(())) => None,
        Ok(Err(Violation(what))) => Some(what),
        Err(panic) => Some(format!("panicked: {}", super::world::panic_text(&*panic))),
    };
    (cluster, failure)
}

/// One seed from start to end: what happened how often, or the shrunk history of what went wrong.
///
/// # Errors
/// A report to print: the seed, the violation, and the shortest history found, step by step.
pub fn check_seed(
    seed: u64,
    theme: Theme,
    count: usize,
    mutants: Mutants,
    codec: Codec,
) -> Result<Tally, String> {
    check_setup(seed, &Setup::new(seed, theme, mutants, codec), count)
}

/// The same with a given setup.
///
/// # Errors
/// The same.
pub fn check_setup(seed: u64, setup: &Setup, count: usize) -> Result<Tally, String> {
    let steps = steps(seed, setup, count);
    let (cluster, failure) = attempt(setup, seed, &steps, false);
    match failure {
        None => Ok(cluster.tally),
        Some(failure) => Err(report(seed, setup, &steps, &failure)),
    }
}

/// Whether a seed breaks a rule, without looking for the shortest history.
#[must_use]
pub fn fails(seed: u64, theme: Theme, count: usize, mutants: Mutants, codec: Codec) -> Option<String> {
    let setup = Setup::new(seed, theme, mutants, codec);
    attempt(&setup, seed, &steps(seed, &setup, count), false).1
}

fn report(seed: u64, setup: &Setup, steps: &[Step], failure: &str) -> String {
    let shrunk = shrink(steps, 120, |steps| attempt(setup, seed, steps, false).1);
    let steps = shrunk.map_or_else(|| steps.to_vec(), |shrunk| shrunk.steps);
    let (cluster, shorter) = attempt(setup, seed, &steps, true);
    let failure = shorter.as_deref().unwrap_or(failure);
    let story = cluster.story.unwrap_or_default().join("\n");
    format!("seed {seed}: {failure}\n{} steps are left: {setup:?}\n{story}", steps.len())
}
