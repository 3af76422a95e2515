//! Links between processes, and what is under way on them.
//!
//! A link is a stream: what is sent on it comes in order, late rather than never, unless the scenario says otherwise.
//! A direction that is blocked holds back what is sent; its far end closes the link after the silence that the sidecar
//! allows. What a closed link still held is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::queue::Micros;
use crate::rng::Rng;
use crate::scenario::{Bytes, Fault, FaultKind, Lost, Scenario, Share, Spread};
use crate::system::{NodeIx, Process};

/// How long TCP waits before it sends a lost packet again, the first time.
const RETRANSMIT_MICROS: Micros = 200_000;

/// A link between two processes, from its making until both ends know that it is gone.
#[derive(Debug)]
pub(super) struct Link {
    /// The lower node first.
    pub(super) ends: [Process; 2],
    /// Who holds it to stand.
    pub(super) up: [bool; 2],
}

impl Link {
    /// Which end a process is.
    pub(super) fn end_of(&self, process: Process) -> Option<usize> {
        self.ends.iter().position(|end| *end == process)
    }
}

/// One direction between two nodes.
#[derive(Debug)]
pub(super) struct Pipe<M> {
    /// The wire is busy until then.
    free_at: Micros,
    /// The last arrival: a stream keeps its order.
    last_arrival: Micros,
    /// Grows when the queue overflows: what was in it is gone.
    epoch: u64,
    /// When that was.
    overflowed_at: Micros,
    /// What waits for the path to open, and its bytes.
    held: VecDeque<(u64, M, u64)>,
    held_bytes: u64,
    /// Grows whenever the path is blocked or opened.
    pub(super) turn: u64,
    pub(super) blocked_since: Option<Micros>,
}

impl<M> Default for Pipe<M> {
    fn default() -> Self {
        Self {
            free_at: 0,
            last_arrival: 0,
            epoch: 0,
            overflowed_at: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            turn: 0,
            blocked_since: None,
        }
    }
}

/// What a path is like now.
#[derive(Clone, Copy, Debug)]
struct Path {
    latency: Spread,
    extra: Option<Spread>,
    loss: Share,
    duplicate: Share,
    reorder: Share,
    bandwidth: Option<Bytes>,
    /// Nothing arrives before the end of this.
    clogged: bool,
}

/// What becomes of a message that is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives then, perhaps more than once.
    Arrives(Vec<Arrival>),
    /// It waits for the path to open.
    Held,
    /// It is lost.
    Lost,
    /// There was no room: it and all that waited are gone.
    Overflow,
}

/// When a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) at: Micros,
    /// When it leaves the queue.
    pub(super) leaves: Micros,
    pub(super) epoch: u64,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) overtaken: u64,
    pub(super) held: u64,
    pub(super) clogged: u64,
    pub(super) overflows: u64,
}

/// All links, and what is under way.
pub(super) struct Network<M> {
    pub(super) links: BTreeMap<u64, Link>,
    pub(super) by_nodes: BTreeMap<(NodeIx, NodeIx), u64>,
    pub(super) dialling: BTreeSet<(NodeIx, NodeIx)>,
    pipes: BTreeMap<(NodeIx, NodeIx), Pipe<M>>,
    made: u64,
    /// Faults in force that touch paths.
    pub(super) active: Vec<Fault>,
    /// Of those that flap: whether they block now.
    pub(super) flapped: BTreeSet<usize>,
    pub(super) rng: Rng,
    pub(super) counts: Counts,
}

impl<M: Clone> Network<M> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            links: BTreeMap::new(),
            by_nodes: BTreeMap::new(),
            dialling: BTreeSet::new(),
            pipes: BTreeMap::new(),
            made: 0,
            active: Vec::new(),
            flapped: BTreeSet::new(),
            rng: Rng::fork(seed, "network", 0),
            counts: Counts::default(),
        }
    }

    pub(super) fn pipe(&mut self, from: NodeIx, to: NodeIx) -> &mut Pipe<M> {
        self.pipes.entry((from, to)).or_default()
    }

    /// Nothing gets from one node to another.
    pub(super) fn is_blocked(&self, from: NodeIx, to: NodeIx) -> bool {
        self.active.iter().any(|fault| match fault.kind {
            FaultKind::Partition => fault.sides[from] != fault.sides[to],
            FaultKind::Cut => fault.from.contains(&from) && fault.to.contains(&to),
            FaultKind::Isolate => fault.nodes.contains(&from) || fault.nodes.contains(&to),
            FaultKind::Flap => {
                self.flapped.contains(&fault.index)
                    && (fault.nodes.contains(&from) || fault.nodes.contains(&to))
            }
            _ => false,
        })
    }

    /// Both directions are open.
    pub(super) fn is_open(&self, a: NodeIx, b: NodeIx) -> bool {
        self.active.is_empty() || !self.is_blocked(a, b) && !self.is_blocked(b, a)
    }

    /// What is sent waits: nobody introduces itself on such a path.
    pub(super) fn is_clogged(&self, a: NodeIx, b: NodeIx) -> bool {
        self.active.iter().any(|fault| {
            fault.kind == FaultKind::Clog && (fault.nodes.contains(&a) || fault.nodes.contains(&b))
        })
    }

    fn path(&self, scenario: &Scenario, from: NodeIx, to: NodeIx) -> Path {
        let spec = &scenario.network;
        let far = scenario.zone_of(from) != scenario.zone_of(to);
        let mut path = Path {
            latency: spec.between_zones.filter(|_| far).unwrap_or(spec.latency),
            extra: None,
            loss: spec.loss,
            duplicate: spec.duplicate,
            reorder: spec.reorder,
            bandwidth: spec.bandwidth,
            clogged: false,
        };
        for fault in &self.active {
            let directed = fault.from.contains(&from) && fault.to.contains(&to);
            let touched = directed || fault.nodes.contains(&from) || fault.nodes.contains(&to);
            match fault.kind {
                FaultKind::Clog => path.clogged |= touched,
                FaultKind::Degrade if touched => {
                    let more = |share: &mut Share, by: Option<Share>| {
                        share.0 = (share.0 + by.unwrap_or_default().0).min(1_000_000);
                    };
                    more(&mut path.loss, fault.spec.loss);
                    more(&mut path.duplicate, fault.spec.duplicate);
                    more(&mut path.reorder, fault.spec.reorder);
                    path.extra = fault.spec.latency.or(path.extra);
                    path.bandwidth = fault.spec.bandwidth.or(path.bandwidth);
                }
                _ => {}
            }
        }
        path
    }

    /// One way, as long as it takes now.
    pub(super) fn latency(&mut self, scenario: &Scenario, from: NodeIx, to: NodeIx) -> Micros {
        let path = self.path(scenario, from, to);
        let extra = path.extra.map_or(0, |extra| extra.draw(&mut self.rng));
        path.latency.draw(&mut self.rng) + extra
    }

    /// Sends something on a link that stands.
    pub(super) fn send(
        &mut self,
        scenario: &Scenario,
        now: Micros,
        (from, to): (NodeIx, NodeIx),
        link: u64,
        message: &M,
        bytes: u64,
    ) -> Fate {
        self.counts.sent += 1;
        let path = self.path(scenario, from, to);
        let queue_max = scenario.network.queue.0;
        let pipe = self.pipes.entry((from, to)).or_default();
        if pipe.blocked_since.is_some() || path.clogged {
            let full = !pipe.held.is_empty() && pipe.held_bytes + bytes > queue_max;
            if full {
                pipe.overflow(now);
                self.counts.overflows += 1;
                return Fate::Overflow;
            }
            pipe.held_bytes += bytes;
            pipe.held.push_back((link, message.clone(), bytes));
            self.counts.held += u64::from(pipe.blocked_since.is_some());
            self.counts.clogged += u64::from(path.clogged);
            return Fate::Held;
        }
        if let Some(bandwidth) = path.bandwidth {
            let waiting = pipe.free_at.saturating_sub(now).saturating_mul(bandwidth.0) / 1_000_000;
            if waiting > 0 && waiting + bytes > queue_max {
                pipe.overflow(now);
                self.counts.overflows += 1;
                return Fate::Overflow;
            }
            pipe.free_at = pipe.free_at.max(now) + bytes.saturating_mul(1_000_000) / bandwidth.0.max(1);
        }
        let leaves = pipe.free_at.max(now);
        let epoch = pipe.epoch;
        self.fly(&path, scenario, (from, to), leaves, epoch)
    }

    fn fly(
        &mut self,
        path: &Path,
        scenario: &Scenario,
        (from, to): (NodeIx, NodeIx),
        leaves: Micros,
        epoch: u64,
    ) -> Fate {
        let mut late = 0;
        let mut again = RETRANSMIT_MICROS;
        while self.rng.hits(path.loss.0) {
            self.counts.lost += 1;
            if scenario.network.lost == Lost::Gone {
                return Fate::Lost;
            }
            late += again;
            again = (again * 2).min(16 * RETRANSMIT_MICROS);
            if late > 30 * RETRANSMIT_MICROS {
                break;
            }
        }
        let copies = if self.rng.hits(path.duplicate.0) { 2 } else { 1 };
        self.counts.repeated += copies - 1;
        let mut arrivals = Vec::with_capacity(copies as usize);
        for _ in 0..copies {
            let extra = path.extra.map_or(0, |extra| extra.draw(&mut self.rng));
            let mut at = leaves + path.latency.draw(&mut self.rng) + extra + late;
            let stray = self.rng.hits(path.reorder.0);
            if stray {
                at += self.rng.below(scenario.network.reorder_by.0);
            }
            let pipe = self.pipes.entry((from, to)).or_default();
            if stray || copies > 1 {
                self.counts.overtaken += u64::from(at < pipe.last_arrival);
            } else {
                at = at.max(pipe.last_arrival);
                pipe.last_arrival = at;
            }
            arrivals.push(Arrival { at, leaves, epoch });
        }
        Fate::Arrives(arrivals)
    }

    /// What was held back on a path goes on, if the path is open now. Gives what there is to send again.
    pub(super) fn release(&mut self, from: NodeIx, to: NodeIx) -> Vec<(u64, M, u64)> {
        let clogged = self.is_clogged(from, to);
        let pipe = self.pipes.entry((from, to)).or_default();
        if pipe.blocked_since.is_some() || clogged {
            return Vec::new();
        }
        pipe.held_bytes = 0;
        std::mem::take(&mut pipe.held).into()
    }

    /// Bytes that wait to leave a node.
    pub(super) fn queued_bytes(&self, from: NodeIx) -> u64 {
        self.pipes.range((from, 0)..=(from, NodeIx::MAX)).map(|(_, pipe)| pipe.held_bytes).max().unwrap_or(0)
    }

    /// Whether what left the queue at this moment is gone all the same.
    pub(super) fn was_dropped(&self, from: NodeIx, to: NodeIx, arrival: &Arrival) -> bool {
        self.pipes
            .get(&(from, to))
            .is_some_and(|pipe| pipe.epoch > arrival.epoch && arrival.leaves > pipe.overflowed_at)
    }

    /// A new link between two processes.
    pub(super) fn link(&mut self, a: Process, b: Process) -> u64 {
        let ends = if a.node < b.node { [a, b] } else { [b, a] };
        self.made += 1;
        self.links.insert(self.made, Link { ends, up: [false, false] });
        self.by_nodes.insert((ends[0].node, ends[1].node), self.made);
        for (from, to) in [(a.node, b.node), (b.node, a.node)] {
            let pipe = self.pipes.entry((from, to)).or_default();
            pipe.held.clear();
            pipe.held_bytes = 0;
        }
        self.made
    }

    /// The link between two nodes.
    pub(super) fn between(&self, a: NodeIx, b: NodeIx) -> Option<u64> {
        self.by_nodes.get(&(a.min(b), a.max(b))).copied()
    }

    /// The links of a process, and which end it is.
    pub(super) fn links_of(&self, process: Process) -> Vec<(u64, usize)> {
        let ends = self.links.iter().map(|(serial, link)| (*serial, link.end_of(process)));
        ends.filter_map(|(serial, end)| Some((serial, end?))).collect()
    }

    pub(super) fn remove(&mut self, serial: u64) {
        if let Some(link) = self.links.remove(&serial) {
            let nodes = (link.ends[0].node, link.ends[1].node);
            if self.by_nodes.get(&nodes) == Some(&serial) {
                self.by_nodes.remove(&nodes);
            }
        }
    }
}

impl<M> Pipe<M> {
    fn overflow(&mut self, now: Micros) {
        self.held.clear();
        self.held_bytes = 0;
        self.epoch += 1;
        self.overflowed_at = now;
        self.free_at = now;
    }
}
