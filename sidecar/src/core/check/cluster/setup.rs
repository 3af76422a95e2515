//! Who there is, how bad the network is, and what happens how often.

use crate::core::check::rng::Rng;
use crate::core::message::Message;
use crate::core::mutant::Mutants;
use crate::core::node::FULL_MESH_MAX;

/// A sort of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Time passes: milliseconds, or a few seconds.
    Pass,
    /// Much time passes: leases end, shards are swept.
    Idle,
    /// A user writes something.
    Write,
    /// A user asks for a session.
    Ask,
    /// A user logs in on one node and is sent to another at once.
    Login,
    /// A user waits for what was written elsewhere.
    Follow,
    /// A user waits for others to have what was written here.
    Acks,
    /// The network splits.
    Split,
    /// The network heals.
    Heal,
    /// A process dies.
    Crash,
    /// A process starts, without memory.
    Start,
    /// A process leaves in order.
    Leave,
    /// A queue overflows: all that is under way on a link is lost.
    Overflow,
    /// A wall clock steps.
    Step,
    /// An operator says that a member will not come back.
    Forget,
    /// What is under way between two processes takes many seconds from now on, and arrives though one of them dies.
    Stall,
    /// All processes die at once.
    Blackout,
}

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// A bit of everything.
    Everything,
    /// Sessions that expire on one side of a split while they are in use on the other.
    Expiry,
    /// Processes that die and come back all the time, and what they sent before arrives late.
    Forgetting,
    /// The same, and operators say of some that they will not come back.
    GivingUp,
    /// Processes and whole clusters that die and come back.
    Restarts,
    /// Processes that leave in order and come back, and counters.
    Deploys,
}

impl Theme {
    fn weights(self) -> &'static [(Act, u64)] {
        match self {
            Self::Everything => &[
                (Act::Pass, 40),
                (Act::Idle, 2),
                (Act::Write, 60),
                (Act::Ask, 5),
                (Act::Login, 5),
                (Act::Follow, 5),
                (Act::Acks, 4),
                (Act::Split, 3),
                (Act::Heal, 3),
                (Act::Crash, 1),
                (Act::Start, 3),
                (Act::Leave, 1),
                (Act::Overflow, 2),
                (Act::Step, 1),
            ],
            Self::Forgetting => &[
                (Act::Pass, 50),
                (Act::Idle, 2),
                (Act::Write, 40),
                (Act::Follow, 2),
                (Act::Acks, 2),
                (Act::Split, 3),
                (Act::Heal, 4),
                (Act::Crash, 5),
                (Act::Start, 12),
                (Act::Leave, 1),
                (Act::Overflow, 2),
                (Act::Stall, 5),
            ],
            Self::GivingUp => &[
                (Act::Pass, 50),
                (Act::Idle, 2),
                (Act::Write, 40),
                (Act::Follow, 2),
                (Act::Acks, 2),
                (Act::Ask, 2),
                (Act::Split, 4),
                (Act::Heal, 4),
                (Act::Crash, 4),
                (Act::Start, 10),
                (Act::Leave, 1),
                (Act::Forget, 6),
                (Act::Overflow, 1),
                (Act::Stall, 3),
            ],
            Self::Restarts => &[
                (Act::Pass, 40),
                (Act::Idle, 3),
                (Act::Write, 60),
                (Act::Ask, 3),
                (Act::Login, 3),
                (Act::Follow, 3),
                (Act::Acks, 6),
                (Act::Split, 3),
                (Act::Heal, 3),
                (Act::Crash, 4),
                (Act::Blackout, 1),
                (Act::Start, 10),
                (Act::Leave, 2),
                (Act::Overflow, 2),
                (Act::Step, 1),
            ],
            Self::Deploys => &[
                (Act::Pass, 30),
                (Act::Idle, 16),
                (Act::Write, 90),
                (Act::Split, 1),
                (Act::Heal, 6),
                (Act::Crash, 1),
                (Act::Start, 40),
                (Act::Leave, 12),
                (Act::Overflow, 2),
                (Act::Stall, 2),
            ],
            Self::Expiry => &[
                (Act::Pass, 40),
                (Act::Idle, 6),
                (Act::Write, 60),
                (Act::Split, 5),
                (Act::Heal, 3),
                (Act::Step, 1),
            ],
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

/// How a message comes through a link: into bytes and out of them, where there is a wire.
pub type Codec = fn(&Message) -> Result<Message, String>;

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it is about.
    pub theme: Theme,
    /// What links make of messages.
    pub codec: Codec,
    /// Which rules hold.
    pub mutants: Mutants,
    /// Each node's wall clock less the true time, in milliseconds.
    pub skews_millis: Vec<i64>,
    /// The longest a message takes, in microseconds.
    pub delay_micros: u64,
    /// How many messages in a hundred are lost on a standing link.
    pub lost_percent: u64,
    /// How many in a hundred come twice.
    pub repeated_percent: u64,
    /// Messages overtake each other.
    pub overtaking: bool,
    /// Processes may crash.
    pub crashes: bool,
    /// Bytes of log per node.
    pub log_bytes_max: u64,
    /// The first node waits for nobody.
    pub founder: bool,
    /// The last node starts only when a step says so.
    pub latecomer: bool,
    /// The nodes have found each other before anything else happens.
    pub settled: bool,
    /// The longest that a disk takes to begin or to end a commit, in microseconds; `None` without disks.
    pub disk_micros: Option<u64>,
    /// How many commits in a hundred fail.
    pub disk_fails_percent: u64,
    /// How many starts in a hundred find an empty disk.
    pub disk_lost_percent: u64,
    /// How many starts in a hundred are from a backup.
    pub disk_set_back_percent: u64,
    /// How many starts in a hundred are with a disk that was lost before.
    pub disk_returns_percent: u64,
    /// With more nodes than this not all are linked.
    pub full_mesh_max: usize,
}

impl Setup {
    /// Drawn from a seed.
    #[must_use]
    pub fn new(seed: u64, theme: Theme, mutants: Mutants, codec: Codec) -> Self {
        let mut rng = Rng::new(seed ^ 0xc1u64.rotate_left(48));
        let mut skews_millis: Vec<i64> =
            (0..2 + rng.below(4)).map(|_| rng.below(6_000) as i64 - 3_000).collect();
        if theme == Theme::Deploys {
            skews_millis.resize(skews_millis.len().max(3), 0);
        }
        if rng.percent(10) && skews_millis.len() > 2 {
            skews_millis[1] = 3_600_000;
        }
        Self {
            theme,
            codec,
            mutants,
            skews_millis,
            delay_micros: rng.pick(&[2_000, 30_000, 300_000]),
            lost_percent: rng.pick(&[0, 0, 5, 25]),
            repeated_percent: rng.pick(&[0, 10]),
            overtaking: rng.percent(50),
            crashes: matches!(theme, Theme::Forgetting | Theme::GivingUp) || rng.percent(60),
            log_bytes_max: rng.pick(&[256 * 3_000, 256 * 8_000, 1 << 22]),
            founder: rng.percent(50),
            latecomer: rng.percent(30),
            settled: rng.percent(75),
            disk_micros: None,
            disk_fails_percent: 0,
            disk_lost_percent: 0,
            disk_set_back_percent: 0,
            disk_returns_percent: 0,
            full_mesh_max: FULL_MESH_MAX,
        }
    }

    /// Drawn from a seed, with more nodes, of which each is linked with its neighbours only.
    #[must_use]
    pub fn sparse(seed: u64, theme: Theme, mutants: Mutants, codec: Codec) -> Self {
        let mut setup = Self::new(seed, theme, mutants, codec);
        let mut rng = Rng::new(seed ^ 0x0b_u64.rotate_left(40));
        let nodes = 4 + rng.index(4);
        while setup.skews_millis.len() < nodes {
            setup.skews_millis.push(rng.below(6_000) as i64 - 3_000);
        }
        setup.full_mesh_max = 2;
        setup
    }

    /// Drawn from a seed, with disks.
    #[must_use]
    pub fn durable(seed: u64, theme: Theme, mutants: Mutants, codec: Codec) -> Self {
        let mut rng = Rng::new(seed ^ 0xd1_u64.rotate_left(32));
        let setup = match rng.percent(25) {
            true => Self::sparse(seed, theme, mutants, codec),
            false => Self::new(seed, theme, mutants, codec),
        };
        Self {
            crashes: true,
            disk_micros: Some(rng.pick(&[1_000, 100_000, 3_000_000])),
            disk_fails_percent: rng.pick(&[0, 0, 20]),
            disk_lost_percent: rng.pick(&[0, 0, 15]),
            disk_set_back_percent: rng.pick(&[0, 0, 20]),
            disk_returns_percent: rng.pick(&[0, 30, 60]),
            ..setup
        }
    }

    /// Nothing goes wrong but what a history does by hand.
    #[must_use]
    pub fn calm(nodes: usize, mutants: Mutants, codec: Codec) -> Self {
        Self {
            theme: Theme::Everything,
            codec,
            mutants,
            skews_millis: vec![0; nodes],
            delay_micros: 1_000,
            lost_percent: 0,
            repeated_percent: 0,
            overtaking: false,
            crashes: true,
            log_bytes_max: 1 << 22,
            founder: true,
            latecomer: false,
            settled: true,
            disk_micros: None,
            disk_fails_percent: 0,
            disk_lost_percent: 0,
            disk_set_back_percent: 0,
            disk_returns_percent: 0,
            full_mesh_max: FULL_MESH_MAX,
        }
    }
}

/// The steps of a seed.
#[must_use]
pub fn steps(seed: u64, setup: &Setup, count: usize) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let acts = setup.theme.weights();
    let weights: Vec<u64> = acts.iter().map(|(_, weight)| *weight).collect();
    (0..count)
        .map(|_| Step {
            act: acts[rng.weighted(&weights)].0,
            node: rng.index(setup.skews_millis.len()),
            seed: rng.bits(),
        })
        .collect()
}
