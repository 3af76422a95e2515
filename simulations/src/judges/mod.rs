//! What must hold, one file for each promise.
//!
//! A judge knows what users did and were told ([`History`]), and what anybody could measure from outside: digests,
//! sizes, bytes. It is silent when all is well; each has a canary, a rule of the core switched back or a broken
//! world, that it must not be silent about.

mod bounds;
#[cfg(all(test, feature = "mutants"))]
mod canaries;
mod convergence;
mod counters;
mod destroyed;
mod logins;
#[cfg(all(test, feature = "mutants"))]
mod lying;
mod read_your_writes;
mod traffic;
mod writes;

use sidetalk::core::identity::ObjectId;

use crate::history::History;
use crate::record::{NodeSample, Outcomes, Verdict};
use crate::scenario::Scenario;
use crate::system::{Answer, Content, Digest, NodeIx, Process};
use crate::traffic::Seen;
use crate::world::Micros;

/// Broken promises that are told in words, at most.
const EXAMPLES_MAX: usize = 5;

/// What a judge has found.
#[derive(Debug, Default)]
pub struct Findings {
    checked: u64,
    broken: u64,
    examples: Vec<String>,
}

impl Findings {
    /// Something was looked at; if it is wrong, this is how.
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.broken += 1;
            if self.examples.len() < EXAMPLES_MAX {
                self.examples.push(what());
            }
        }
    }
}

/// What the judges say of one answer to a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenVerdict {
    /// It does not show what the user had written so long ago, in microseconds.
    pub stale: Option<Micros>,
    /// The user carried a token, and was not told.
    pub stale_with_token: bool,
    /// There is no session, it said; there was.
    pub lost_login: bool,
    /// The session had ended on this very process.
    pub session_back: bool,
}

/// Figures that the recorder works out for the judges.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Bytes a second on one link while nothing is written.
    pub idle_bytes_per_link_s: f64,
    /// Bytes to one peer for one write beyond its own and what is sent when idle.
    pub overhead_bytes_per_write: f64,
    /// Writes that may have happened.
    pub writes: u64,
}

/// The end of a run.
pub struct End<'a> {
    /// When.
    pub now: Micros,
    /// How long it took until all nodes held the same; `None`: they never did.
    pub converged: Option<Micros>,
    /// What every running node holds of every object, in the order of `objects`.
    pub looks: Vec<(NodeIx, Vec<Answer>)>,
    /// Everything that users ever wrote to.
    pub objects: &'a [ObjectId],
    /// Processes that run.
    pub processes: usize,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Worked out by the recorder.
    pub figures: Figures,
}

impl End<'_> {
    /// What the nodes hold of the object at a place in `objects`.
    fn contents(&self, place: usize) -> impl Iterator<Item = (NodeIx, Option<&Content>)> {
        self.looks.iter().filter_map(move |(node, answers)| match answers.get(place)? {
            Answer::Found { basis, .. } => Some((*node, Some(&basis.content))),
            _ => Some((*node, None)),
        })
    }
}

/// One promise.
pub trait Judge {
    /// Its name, as in verdicts.
    fn name(&self) -> &'static str;

    /// What it has found so far.
    fn findings(&self) -> &Findings;

    /// Something is wrong that must never be.
    fn alarm(&mut self, _what: &str) {}

    /// A process has started.
    fn started(&mut self, _process: Process) {}

    /// A user was told something.
    fn saw(&mut self, _seen: &Seen, _history: &History, _verdict: &mut SeenVerdict) {}

    /// All running nodes at one moment.
    fn digests(&mut self, _digests: &[(NodeIx, Digest)]) {}

    /// A node was looked at.
    fn sampled(&mut self, _node: NodeIx, _sample: &NodeSample) {}

    /// The run is over.
    fn finish(&mut self, _end: &End<'_>, _history: &History, _outcomes: &mut Outcomes) {}
}

/// All of them.
pub struct Judges {
    judges: Vec<Box<dyn Judge + Send>>,
    began: Option<Micros>,
}

impl Judges {
    /// Every promise, for one run.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let judges: Vec<Box<dyn Judge + Send>> = vec![
            Box::new(convergence::Convergence::default()),
            Box::new(writes::KeptWrites::default()),
            Box::new(destroyed::Destroyed::default()),
            Box::new(counters::Counters::default()),
            Box::new(read_your_writes::ReadYourWrites::default()),
            Box::new(logins::Logins::default()),
            Box::new(bounds::Bounds::new(scenario)),
            Box::new(traffic::WireBytes::default()),
        ];
        Self { judges, began: None }
    }

    /// Users come.
    pub fn begin(&mut self, now: Micros) {
        self.began = Some(now);
    }

    /// Something is wrong that must never be.
    pub fn alarm(&mut self, what: &str) {
        self.judges.iter_mut().for_each(|judge| judge.alarm(what));
    }

    /// A process has started.
    pub fn started(&mut self, process: Process) {
        self.judges.iter_mut().for_each(|judge| judge.started(process));
    }

    /// A user was told something.
    pub fn saw(&mut self, seen: &Seen, history: &History) -> SeenVerdict {
        let mut verdict = SeenVerdict::default();
        for judge in &mut self.judges {
            judge.saw(seen, history, &mut verdict);
        }
        verdict
    }

    /// All running nodes at one moment.
    pub fn digests(&mut self, digests: &[(NodeIx, Digest)]) {
        self.judges.iter_mut().for_each(|judge| judge.digests(digests));
    }

    /// A node was looked at.
    pub fn sampled(&mut self, node: NodeIx, sample: &NodeSample) {
        self.judges.iter_mut().for_each(|judge| judge.sampled(node, sample));
    }

    /// How many broken promises there are so far.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.judges.iter().map(|judge| judge.findings().broken).sum()
    }

    /// The run is over.
    pub fn finish(&mut self, end: &End<'_>, history: &History, outcomes: &mut Outcomes) -> Vec<Verdict> {
        let verdicts = self.judges.iter_mut().map(|judge| {
            judge.finish(end, history, outcomes);
            let findings = judge.findings();
            Verdict {
                judge: judge.name().into(),
                checked: findings.checked,
                broken: findings.broken,
                examples: findings.examples.clone(),
            }
        });
        verdicts.collect()
    }
}

/// A moment, as it is told: seconds of virtual time.
fn at(moment: Micros) -> String {
    format!("{:.3} s", moment as f64 / 1e6)
}
