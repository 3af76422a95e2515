//! What is simulated: a cluster, its network and clocks, its users, and what goes wrong when. One TOML file.
//!
//! A run depends on this value and nothing else: the same scenario gives the same run, to the last message.

mod blobs;
mod check;
mod fault;
mod locate;
mod traffic;
mod units;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::blobs::{BlobSpec, Layout};
pub use self::check::Mistake;
pub use self::fault::{Fault, FaultKind, FaultSpec};
pub use self::traffic::{Balancer, CounterSpec, DocumentSpec, Mix, SetSpec, Surge, TrafficSpec};
pub use self::units::{Bytes, Offset, Share, Span, Spread};

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A short name.
    pub name: String,
    /// What it is about, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// What every drawn number comes from.
    #[serde(default = "one")]
    pub seed: u64,
    /// How long users use it, once the cluster is up. Faults must begin before it is over.
    pub duration: Span,
    /// After the users have gone and everything is healed: how long until all nodes must hold the same.
    #[serde(default = "settle")]
    pub settle: Span,
    /// After that: how long it is watched doing nothing.
    #[serde(default = "quiet")]
    pub quiet: Span,
    /// Between looks at every node.
    #[serde(default = "sample")]
    pub sample: Span,
    /// The nodes.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// What lies between them.
    #[serde(default)]
    pub network: NetworkSpec,
    /// Their clocks.
    #[serde(default)]
    pub clocks: ClockSpec,
    /// Who is thought to be there.
    #[serde(default)]
    pub membership: MembershipSpec,
    /// The users.
    #[serde(default)]
    pub traffic: TrafficSpec,
    /// What the judges hold a run to.
    #[serde(default)]
    pub limits: LimitSpec,
    /// The store that it is compared with.
    #[serde(default)]
    pub blobs: BlobSpec,
    /// What goes wrong.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSpec>,
}

/// The nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// How many: they are called `n1`, `n2` and so on.
    pub nodes: usize,
    /// How many zones they are spread over in turn: `z1`, `z2` and so on.
    pub zones: usize,
    /// Bytes of log per node (`--log-bytes`).
    pub log: Bytes,
    /// How long a node looks for others before it starts alone (`--bootstrap-millis`).
    pub bootstrap: Span,
    /// Between the starts of two nodes at the beginning.
    pub stagger: Span,
    /// An absolute bound on the life of a session (`--session-lifetime-seconds`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_lifetime: Option<Span>,
    /// Up to this many nodes each is linked with each; more are linked with their neighbours only.
    pub full_mesh: usize,
    /// How long a leaving node may take to hand over (`--drain-millis`).
    pub drain: Span,
    /// Each node has a disk (`--data-dir`, `--fsync always`), and one commit to it takes this long; without, a process that
    /// dies takes all it has with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Span>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            nodes: 3,
            zones: 1,
            log: Bytes(64 << 20),
            bootstrap: Span::secs(10),
            stagger: Span::millis(50),
            session_lifetime: None,
            full_mesh: sidetalk::core::node::FULL_MESH_MAX,
            drain: Span::secs(10),
            disk: None,
        }
    }
}

/// What lies between the nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// One way, within a zone.
    pub latency: Spread,
    /// One way, between zones; as within one where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_zones: Option<Spread>,
    /// The share of packets that are lost.
    pub loss: Share,
    /// What becomes of a lost packet.
    pub lost: Lost,
    /// The share of messages that come twice. No stream does this; the core must not mind.
    pub duplicate: Share,
    /// The share of messages that others may overtake. No stream does this; the core must not mind.
    pub reorder: Share,
    /// By how much those are late.
    pub reorder_by: Span,
    /// Bytes a second from one node to another; unbounded where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bytes>,
    /// Bytes that may wait for one link before they are dropped.
    pub queue: Bytes,
    /// A link on which nothing comes for so long is closed.
    pub silence: Span,
    /// Every message goes through the bytes of the wire and back.
    pub through_bytes: bool,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            latency: Spread { min: Span(80), p50: Span(200), p99: Span::millis(2), max: Span::millis(20) },
            between_zones: None,
            loss: Share(0),
            lost: Lost::SentAgain,
            duplicate: Share(0),
            reorder: Share(0),
            reorder_by: Span::millis(50),
            bandwidth: None,
            queue: Bytes(64 << 20),
            silence: Span::secs(5),
            through_bytes: false,
        }
    }
}

/// What becomes of a lost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// TCP sends it again: it and all behind it are late.
    SentAgain,
    /// The message never comes: worse than what any stream does.
    Gone,
}

/// Wall clocks. Every node gets its own, drawn from the seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSpec {
    /// The furthest a clock is off at the start, either way.
    pub skew: Span,
    /// The fastest a clock runs wrong, either way: parts per million.
    pub drift_ppm: u32,
}

/// How nodes come to know who is there: chitchat's delays and mistakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MembershipSpec {
    /// From the moment a process can be heard until an observer takes it for alive.
    pub detect_up: Spread,
    /// From the moment it cannot until an observer takes it for dead.
    pub detect_down: Spread,
    /// How often in an hour an observer takes a live process for dead.
    pub mistakes_per_hour: u32,
    /// How long such a mistake lasts.
    pub mistake_for: Span,
}

impl Default for MembershipSpec {
    fn default() -> Self {
        Self {
            detect_up: Spread {
                min: Span::millis(300),
                p50: Span::millis(900),
                p99: Span::millis(2_000),
                max: Span::millis(3_000),
            },
            detect_down: Spread {
                min: Span::millis(2_000),
                p50: Span::millis(3_000),
                p99: Span::millis(5_000),
                max: Span::millis(8_000),
            },
            mistakes_per_hour: 0,
            mistake_for: Span::secs(5),
        }
    }
}

/// What the judges hold a run to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSpec {
    /// Bytes a node may send to one linked peer in a second while nobody writes anything.
    pub idle_per_link: Bytes,
    /// Bytes sent to one peer for one write, beyond the bytes of the write itself and what is sent when idle.
    pub overhead_per_write: Bytes,
}

impl Default for LimitSpec {
    fn default() -> Self {
        Self { idle_per_link: Bytes(2 << 10), overhead_per_write: Bytes(1 << 10) }
    }
}

fn one() -> u64 {
    1
}

fn settle() -> Span {
    Span::secs(30)
}

fn quiet() -> Span {
    Span::secs(10)
}

fn sample() -> Span {
    Span::secs(1)
}

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// Every mistake in it, each with its line, its key and what is allowed.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let scenario: Self = toml::from_str(text).map_err(|error| vec![Mistake::of_toml(text, &error)])?;
        let mistakes = scenario.mistakes();
        if mistakes.is_empty() {
            return Ok(scenario);
        }
        Err(mistakes.into_iter().map(|mistake| mistake.located(text)).collect())
    }

    /// The scenario as a file that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Only what has no TOML form fails, and there is nothing of the kind in it.
        toml::to_string(self).unwrap_or_default()
    }

    /// The faults as they happen.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn faults(&self) -> Result<Vec<Fault>, Vec<Mistake>> {
        fault::resolve(self)
    }

    /// The name of a node.
    #[must_use]
    pub fn node_name(node: usize) -> String {
        format!("n{}", node + 1)
    }

    /// The zone of a node, from 0.
    #[must_use]
    pub fn zone_of(&self, node: usize) -> usize {
        node % self.cluster.zones.max(1)
    }
}
