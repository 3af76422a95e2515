//! Everything that was observed in one run, as plain values: what tables, reports and comparisons are made from.
//!
//! Times are seconds of virtual time since the cluster was up; faults and users begin at 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::system::Gauges;

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunRecord {
    /// The scenario's name.
    pub scenario: String,
    /// What it is about.
    pub about: String,
    /// What ran on the nodes.
    pub system: String,
    /// The seed.
    pub seed: u64,
    /// Stands for everything that happened, as 16 hexadecimal digits.
    pub trace_hash: String,
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// How long users used it, in seconds.
    pub duration_s: f64,
    /// All of the run's virtual time, from the first process on.
    pub virtual_s: f64,
    /// How long the cluster took to come up.
    pub forming_s: f64,
    /// Sums over the run.
    pub totals: Totals,
    /// What users saw.
    pub outcomes: Outcomes,
    /// The same, in steps of time.
    pub seen: Vec<SeenAt>,
    /// The nodes, in steps of time, oldest first.
    pub samples: Vec<Sample>,
    /// What went wrong, when and to whom.
    pub faults: Vec<FaultSpan>,
    /// What happened in the world, and how often: packets lost, crashes, restarts.
    pub happened: BTreeMap<String, u64>,
    /// After each healing: how long until everyone had what there was then.
    pub healings: Vec<Healing>,
    /// After the users had gone and all was healed: seconds until all nodes held the same; `None` when they never did.
    pub converged_s: Option<f64>,
    /// Bytes a second on one link while nothing was written, at the end.
    pub idle_bytes_per_link_s: f64,
    /// Bytes sent to one peer for one write beyond the write's own and what is sent when idle.
    pub overhead_bytes_per_write: f64,
    /// What the judges found, one entry each.
    pub verdicts: Vec<Verdict>,
}

/// Sums over a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Events of the world.
    pub events: u64,
    /// Requests to nodes.
    pub requests: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Messages between nodes.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages by sort.
    pub messages_by_sort: BTreeMap<String, u64>,
    /// Their bytes by sort.
    pub bytes_by_sort: BTreeMap<String, u64>,
}

/// Sorts of messages by which nodes get to know each other, and one takes over what another holds: they go with coming
/// up and with healing, however much is written.
const SORTS_OF_MEETING: [&str; 5] = ["hello", "roster", "members", "state", "want-states"];

/// The bytes that went with meeting, of those of each sort.
pub(crate) fn meeting_bytes(bytes_of: impl Fn(&str) -> Option<u64>) -> u64 {
    SORTS_OF_MEETING.into_iter().filter_map(bytes_of).sum()
}

/// What users saw, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Web requests that were begun.
    pub pages: u64,
    /// Logins that were acknowledged.
    pub logins: u64,
    /// Logouts that were acknowledged.
    pub logouts: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Of those, older than what the same user had written.
    pub stale_reads: u64,
    /// Of the stale ones, from a user who carried a token and was not told.
    pub stale_with_token: u64,
    /// Answers that said they could not catch up, or could not ask everyone.
    pub behind: u64,
    /// Requests that nobody answered in time, or whose node died.
    pub no_answer: u64,
    /// Requests that were refused, such as by a node that was not ready.
    pub refused: u64,
    /// Writes whose majority was not there in time.
    pub lacking_acks: u64,
    /// Users who were told that there is no session while theirs lived: logged out without having done so.
    pub lost_logins: u64,
    /// Reads of a session on a node that had answered before that it had ended.
    pub sessions_back: u64,
    /// Acknowledged writes to one field that are gone at the end though nobody overwrote them.
    pub lost_updates: u64,
    /// Counters that are wrong at the end: by how much in all.
    pub lost_counts: u64,
    /// Sessions that are there at the end though their users logged out.
    pub sessions_back_at_the_end: u64,
    /// Writes that were lost with the only process that had them: acknowledged, and promised by nobody.
    pub lost_with_their_holders: u64,
}

/// What users saw within one step of time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SeenAt {
    /// When the step ends.
    pub t: f64,
    /// Reads that were answered.
    pub reads: u64,
    /// Of those, older than what the same user had written.
    pub stale_reads: u64,
    /// How old the stalest of them was: since the write that it does not show, in milliseconds.
    pub staleness_ms_max: f64,
    /// The middle of the stale ones.
    pub staleness_ms_p50: f64,
    /// Requests without an answer, refused, or told that the node is behind.
    pub errors: u64,
    /// Lost logins.
    pub lost_logins: u64,
    /// Sessions back after logout.
    pub sessions_back: u64,
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// No process.
    #[default]
    Down,
    /// A process that does not serve yet, or no longer.
    NotReady,
    /// It serves.
    Up,
    /// The process stands still.
    Paused,
}

/// All nodes at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub t: f64,
    /// The nodes, in order.
    pub nodes: Vec<NodeSample>,
}

/// One node at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeSample {
    /// What it is doing.
    pub state: NodeState,
    /// Links that stand.
    pub links: u64,
    /// Nodes it cannot reach, or that cannot reach it.
    pub cut_off_from: u64,
    /// Bytes sent since the last sample.
    pub bytes_sent: u64,
    /// Messages sent since the last sample.
    pub messages_sent: u64,
    /// Bytes that wait for the slowest link.
    pub queued_bytes: u64,
    /// By how much its wall clock is off, in milliseconds.
    pub clock_offset_ms: i64,
    /// The parts of its store that differ from the first running node's.
    pub parts_behind: u64,
    /// What the process says of itself.
    pub gauges: Gauges,
}

/// A fault that happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FaultSpan {
    /// Its sort.
    pub kind: String,
    /// When it began.
    pub from: f64,
    /// When it ended.
    pub until: f64,
    /// The nodes it touched, in order.
    pub nodes: Vec<String>,
    /// The sides of a partition.
    pub sides: Vec<Vec<String>>,
}

/// The end of a fault.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Healing {
    /// When.
    pub at: f64,
    /// What ended.
    pub what: String,
    /// Seconds until every running node had what there was then; `None` when that never happened.
    pub caught_up_s: Option<f64>,
}

/// What one judge found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Its name.
    pub judge: String,
    /// What it looked at, so that silence means something.
    pub checked: u64,
    /// How many times the promise was broken.
    pub broken: u64,
    /// The first few, in words.
    pub examples: Vec<String>,
}

impl RunRecord {
    /// Whether every judge is silent.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.broken == 0)
    }

    /// The judges that are not, in order.
    #[must_use]
    pub fn broken(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.broken > 0).collect()
    }
}
