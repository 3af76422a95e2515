//! One node: 256 shards, what its peers have told it, and what waits. The deterministic machine that the sidecar
//! drives with tokio and the simulator with a virtual world.
//!
//! Inputs are [`Input`] and the local calls; outputs are polled with [`Node::poll_output`]; [`Node::deadline`]
//! names the one moment at which it wants a tick. A local call answers at once.

mod ask;
mod clock;
mod collect;
mod disk;
mod exchange;
mod fold;
mod forget;
mod join;
mod journal;
mod leave;
mod links;
mod local;
mod memory;
mod overlay;
mod past;
mod peer;
mod relay;
mod report;
mod roster;
mod seal;
mod succession;
mod survey;
mod turn;
mod waits;
mod waves;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use self::ask::Asks;
use self::clock::HybridClock;
use self::disk::Disk;
pub use self::disk::{DiskHealth, Restored, SavedNode, UnsavedContent, UnsavedShard};
use self::forget::Standing;
pub use self::forget::{Dropped, DroppedWhy};
use self::join::Joining;
use self::journal::Journal;
use self::links::Neighbours;
use self::memory::Memory;
pub use self::overlay::FULL_MESH_MAX;
use self::peer::Peer;
use self::roster::Roster;
use self::succession::Succession;
use self::waits::Waits;
use self::waves::Waves;
use super::command::{Figures, WaitId, Waited};
pub use super::fold::FOLD_MIN;
#[cfg(any(test, feature = "mutants"))]
use super::identity::ObjectId;
use super::identity::{Clock, Dot, Replica, ReplicaId, SHARDS, ShardId};
use super::message::{Hello, Message, PeerId, Progress, RosterEntry};
use super::mutant::Mutants;
use super::packed::{NewOp, PackedOp};
use super::past::Past;
use super::shard::Shard;
use super::time::{MonoMicros, Now, UnixMillis};

/// How a node is set up. Everything has a default but who it is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who this process is. The id comes from a random source outside the core.
    pub replica: Replica,
    /// The cluster it belongs to.
    pub cluster: String,
    /// It has been told of other members: it must catch up with one before it serves, unless none is to be found
    /// within `bootstrap_millis`.
    pub joins: bool,
    /// How long to look for a member before starting alone.
    pub bootstrap_millis: u64,
    /// Random bits for the history this node starts if it starts alone; not 0.
    pub lineage: u64,
    /// Bytes of log over all shards before the oldest operations go.
    pub log_bytes_max: u64,
    /// An absolute bound on the life of a session, in milliseconds.
    pub session_lifetime_millis: Option<u64>,
    /// Estimated memory of the state from which on local writes that make it grow are refused.
    pub memory_bytes_max: Option<u64>,
    /// Up to this many members each is linked with each; more than that are linked with their neighbours only.
    /// Everything but tests takes [`FULL_MESH_MAX`].
    pub full_mesh_max: usize,
    /// So many accumulators of processes that have left are folded, and not fewer. Everything but tests takes [`FOLD_MIN`].
    pub fold_min: usize,
}

impl NodeConfig {
    /// A member of a cluster, with every setting at its default. It starts the cluster, and its history is named after it.
    #[must_use]
    pub fn new(replica: Replica, cluster: &str) -> Self {
        Self {
            lineage: replica.id.0,
            replica,
            cluster: cluster.to_owned(),
            joins: false,
            bootstrap_millis: 5_000,
            log_bytes_max: 64 << 20,
            session_lifetime_millis: None,
            memory_bytes_max: None,
            full_mesh_max: FULL_MESH_MAX,
            fold_min: FOLD_MIN,
        }
    }
}

/// What happens to a node from outside, local calls aside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link to this peer stands. Messages to it may be sent from now on.
    LinkUp(PeerId),
    /// This peer, whose link has just come up, is of a release that cannot read operations that fold counters.
    Outdated(PeerId),
    /// Somebody whom this node is to join lives, and will have nothing to do with it.
    Refused,
    /// The link is gone.
    LinkDown(PeerId),
    /// A peer said something.
    Message(PeerId, Message),
    /// The failure detector's view of a node.
    Liveness {
        /// The node's process.
        replica: Replica,
        /// It gossips.
        alive: bool,
    },
    /// Messages to this peer were dropped: its queue was full.
    Overflowed(PeerId),
    /// What [`Node::take_unsaved`] gave of these shards is on the disk, up to these clocks; and so is this time of
    /// [`Node::saved_node`].
    Saved(Vec<(ShardId, Clock)>, UnixMillis),
    /// It is not, for this reason.
    NotSaved(Vec<ShardId>, DiskHealth),
    /// The deadline has come.
    Tick,
    /// Stop being ready; hand over what peers lack. [`Node::hand_over`] tells how far that is.
    Leave,
    /// Say goodbye: nothing more will be written here.
    Farewell,
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to a peer.
    Send(PeerId, Arc<Message>),
    /// A wait has ended.
    Done(WaitId, Waited),
    /// The journal has grown up to here.
    Changed(u64),
    /// There is something to be saved: see [`Node::take_unsaved`].
    Unsaved,
    /// Something an operator must know.
    Alarm(Alarm),
    /// The peer is not one to talk with: close the link.
    Disconnect(PeerId, &'static str),
    /// The others have gone on without this process, and what it holds may not be joined with what they hold: it
    /// stands still. A new process, with a new id, must take its place, empty.
    StartOver(Box<Dropped>),
}

/// What an operator must know.
#[derive(Clone, Debug, PartialEq)]
pub enum Alarm {
    /// Equal clocks, different content.
    Diverged {
        /// The peer.
        peer: Replica,
        /// The shard.
        shard: ShardId,
    },
    /// A stamp from beyond the drift limit.
    Skewed {
        /// The author.
        author: ReplicaId,
        /// How far ahead of this node's time.
        ahead_millis: u64,
    },
    /// This node's clock is out of step with most; its stamps are corrected by this much.
    Corrected {
        /// The correction.
        millis: i64,
    },
    /// A write was refused because the state has reached its limit.
    MemoryFull {
        /// The estimate.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A member was given up: it counts as one no more.
    Forgotten {
        /// The member.
        member: Replica,
    },
}

/// What a leaving node could not hand over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// Operations, whoever wrote them, that no other member that is linked has reported to have.
    pub held_by_nobody_else: u64,
    /// Linked peers that have not yet reported all of this node's operations.
    pub peers_behind: Vec<String>,
}

/// Between comparisons with one peer.
const COMPARE_MILLIS: u64 = 250;

/// Between looks at one shard for what can be collected; all shards take 256 times as long.
const SWEEP_MILLIS: u64 = 100;

/// One node of a cluster.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    shards: Vec<Shard>,
    past: Arc<Past>,
    /// Which shards are looked at next for what is past.
    past_next: ShardId,
    clock: HybridClock,
    roster: Roster,
    peers: BTreeMap<ReplicaId, Peer>,
    /// Processes that gossip.
    alive: BTreeMap<ReplicaId, Replica>,
    neighbours: Neighbours,
    waves: Waves,
    joining: Joining,
    lineage: u64,
    leaving: bool,
    waits: Waits,
    asks: Asks,
    /// Where there is one.
    disk: Option<Disk>,
    journal: Journal,
    memory: Memory,
    /// The journal has grown since this was last put out.
    journal_told: u64,
    outbox: VecDeque<Output>,
    /// Own operations that are to go in one message, behind what the outbox holds.
    unsent: Vec<PackedOp>,
    unsent_bytes: usize,
    figures: Figures,
    /// What differs under equal clocks, by linked peer.
    diverged: BTreeSet<(PeerId, ShardId)>,
    sweep_at: MonoMicros,
    sweep_next: ShardId,
    /// Whose log is shortened next.
    trim_next: ShardId,
    sweep_time: BTreeMap<ShardId, UnixMillis>,
    mutants: Mutants,
    standing: Standing,
    succession: Succession,
}

impl Node {
    /// A node that has just started, without memory.
    #[must_use]
    pub fn new(config: NodeConfig, now: Now) -> Self {
        Self::with_mutants(config, now, Mutants::NONE)
    }

    /// A node with rules of the core switched off.
    #[must_use]
    pub fn with_mutants(config: NodeConfig, now: Now, mutants: Mutants) -> Self {
        let mut node = Self {
            shards: ShardId::all().map(|id| Shard::with_mutants(id, mutants)).collect(),
            past: Arc::default(),
            past_next: ShardId(0),
            clock: HybridClock::default(),
            roster: Roster::default(),
            peers: BTreeMap::new(),
            alive: BTreeMap::new(),
            neighbours: Neighbours::default(),
            waves: Waves::new(now),
            joining: Joining::new(&config, now),
            lineage: 0,
            leaving: false,
            waits: Waits::default(),
            asks: Asks::new(now),
            disk: None,
            journal: Journal::default(),
            memory: Memory::default(),
            journal_told: 0,
            outbox: VecDeque::new(),
            unsent: Vec::new(),
            unsent_bytes: 0,
            figures: Figures::default(),
            diverged: BTreeSet::new(),
            sweep_at: now.mono.plus_millis(SWEEP_MILLIS),
            sweep_next: ShardId(0),
            trim_next: ShardId(0),
            sweep_time: BTreeMap::new(),
            mutants,
            standing: Standing::default(),
            succession: Succession::default(),
            config,
        };
        node.enrol(RosterEntry { replica: node.config.replica.clone(), left: false });
        node.clock.advance(now);
        node.shards.iter_mut().for_each(|shard| shard.fold_from(node.config.fold_min));
        if !node.config.joins {
            node.start_alone(now);
        }
        node
    }

    /// This process's replica id.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.config.replica.id
    }

    /// One of its shards.
    #[must_use]
    pub fn shard(&self, id: ShardId) -> &Shard {
        &self.shards[id.index()]
    }

    fn shard_mut(&mut self, id: ShardId) -> &mut Shard {
        &mut self.shards[id.index()]
    }

    /// Takes one input. Outputs are polled afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        if self.standing.is_over() {
            return;
        }
        self.clock.advance(now);
        match input {
            Input::LinkUp(peer) => self.link_up(now, peer),
            Input::Outdated(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.is_outdated = true;
                }
            }
            Input::Refused => self.refused(now),
            Input::LinkDown(peer) => self.link_down(now, peer),
            Input::Message(peer, message) => self.receive(now, peer, message),
            Input::Liveness { replica, alive } => self.liveness(replica, alive),
            Input::Overflowed(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.forget_sent();
                }
            }
            Input::Saved(shards, time) => self.saved(&shards, time),
            Input::NotSaved(shards, health) => self.not_saved(&shards, health),
            Input::Tick => {}
            Input::Leave => self.leaving = true,
            Input::Farewell => self.say_farewell(),
        }
        self.tick(now);
    }

    /// Does what is due.
    fn tick(&mut self, now: Now) {
        self.succession_tick(now);
        self.join_tick(now);
        for peer in self.linked() {
            self.ping_if_due(now, peer);
            self.compare_if_due(now, peer);
        }
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono.plus_millis(SWEEP_MILLIS);
            self.sweep(now);
            self.drop_stale_waves(now);
        }
        self.neighbours_tick(now);
        self.waves_tick(now);
        self.expire_waits(now);
        self.stand_down(now);
    }

    /// When it wants an [`Input::Tick`].
    #[must_use]
    pub fn deadline(&self) -> MonoMicros {
        if let Some(never) = self.standing.deadline() {
            return never;
        }
        let peers = self.peers.values().filter(|peer| peer.linked);
        let due = peers.map(|peer| peer.ping_at.min(peer.compare_at));
        let waves = self.waves.deadline().filter(|_| self.is_overlay());
        let own = self.waits.deadline().into_iter().chain(self.joining.deadline());
        let own = own.chain(self.succession.deadline());
        due.chain(own).chain(waves).chain(self.neighbours.deadline()).fold(self.sweep_at, MonoMicros::min)
    }

    /// The next thing the node wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.send_ops();
        let next = self.outbox.pop_front();
        if next.is_none() && self.journal_told < self.journal.cursor() {
            self.journal_told = self.journal.cursor();
            return Some(Output::Changed(self.journal_told));
        }
        next
    }

    fn linked(&self) -> Vec<PeerId> {
        self.peers.iter().filter(|(_, peer)| peer.linked).map(|(id, _)| *id).collect()
    }

    fn send(&mut self, to: PeerId, message: Message) {
        self.send_ops();
        self.outbox.push_back(Output::Send(to, Arc::new(message)));
    }

    fn broadcast(&mut self, message: Message) {
        self.send_ops();
        let message = Arc::new(message);
        for peer in self.linked() {
            self.outbox.push_back(Output::Send(peer, Arc::clone(&message)));
        }
    }

    /// What this node says first on a link.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            replica: self.config.replica.clone(),
            cluster: self.config.cluster.clone(),
            fresh: self.is_fresh(),
            lineage: self.lineage,
        }
    }

    /// Operations have been applied: tells the journal, those who wait, and sooner or later the peers.
    fn changed(&mut self, now: Now, shard: ShardId, ops: &[NewOp]) {
        let me = self.id();
        self.unsaved_ops(shard, ops);
        for NewOp { op, .. } in ops {
            self.journal.push(&op.object);
            self.advanced(shard, op.dot.actor, op.dot.counter - 1);
            if op.dot.actor != me {
                self.progressed(shard, op.dot);
                self.figures.ops_applied += 1;
                if let Some(ahead_millis) = self.clock.observe(now, op.hlc) {
                    self.figures.skew_alarms += 1;
                    self.alarm(Alarm::Skewed { author: op.dot.actor, ahead_millis });
                }
            }
            self.asked_object_changed(now, &op.object);
        }
        self.check_waits(shard);
        self.tell_roots(shard);
        let bytes_max = self.config.log_bytes_max / SHARDS as u64;
        self.shard_mut(shard).bound_log(bytes_max);
        self.note_memory(shard);
    }

    /// Notes what the peers are to be told of our progress.
    fn progressed(&mut self, shard: ShardId, dot: Dot) {
        for peer in self.peers.values_mut().filter(|peer| peer.linked) {
            peer.untell(Progress { shard, dot });
        }
    }

    fn tell_progress(&mut self, to: PeerId) {
        let Some(peer) = self.peers.get_mut(&to).filter(|peer| !peer.untold.is_empty()) else { return };
        let progress = peer.take_untold();
        self.send(to, Message::Applied(progress));
    }

    fn alarm(&mut self, alarm: Alarm) {
        self.outbox.push_back(Output::Alarm(alarm));
    }

    fn done(&mut self, wait: WaitId, how: Waited) {
        self.outbox.push_back(Output::Done(wait, how));
    }

    /// What this node takes for the time where deadlines are concerned.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn time(&self, now: Now) -> UnixMillis {
        self.clock.time(now)
    }

    /// What this node takes for the time where stamps are concerned.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn stamping_time(&self, now: Now) -> UnixMillis {
        self.clock.wall(now)
    }

    /// Destroys content behind the operations' back, as a bad disk or a bug would.
    #[cfg(any(test, feature = "mutants"))]
    pub fn corrupt(&mut self, object: &ObjectId) {
        self.shard_mut(object.shard()).corrupt(object);
    }
}

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod sparse_tests;
#[cfg(test)]
mod tests;
