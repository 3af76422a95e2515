//! What of this node's state is on a disk, and what is not yet. Whoever drives the node writes what
//! [`Node::take_unsaved`] gives and says [`Input::Saved`](super::Input::Saved): no disk is touched here.
//!
//! A node with a disk counts as having applied a write for good only once it is saved: a restart goes back to what is
//! saved, and must not go back behind what the others hold to be known everywhere (semantics finding 22).

use super::peer::Clocks;
use super::{Node, NodeConfig, Output};
use crate::core::identity::{Clock, Dot, Replica, ReplicaId, SHARDS, ShardId};
use crate::core::message::{Message, PeerId, Progress, RosterEntry};
use crate::core::mutant::{Mutants, Rule};
use crate::core::packed::{NewOp, PackedOp};
use crate::core::shard::{Shard, ShardState};
use crate::core::time::{Hlc, Now, UnixMillis};

/// Operations kept for the disk, in estimated bytes; beyond it the shard is saved whole instead.
const BACKLOG_BYTES_MAX: u64 = 64 << 20;

/// Whole shards given to the disk at a time: they are copies.
const IMAGES_PER_TURN: usize = 8;

/// How the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskHealth {
    /// It takes what it is given.
    #[default]
    Good,
    /// There is no room.
    Full,
    /// It fails.
    Failing,
}

/// What a disk still lacks of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsavedShard {
    /// The shard.
    pub shard: ShardId,
    /// Its clock with this.
    pub clock: Clock,
    /// The digest of its content with this.
    pub content_sum: u128,
    /// What to write.
    pub content: UnsavedContent,
}

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub enum UnsavedContent {
    /// Operations, in the order in which they were applied.
    Ops(Vec<PackedOp>),
    /// The shard, whole, instead of all that was saved of it before.
    Image(Box<ShardState>),
}

/// Who this process is and whom it counts as members: saved beside the shards.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedNode {
    /// The process that saved it; while that may have been given up with the memory that it has, the first that had that memory.
    pub replica: Replica,
    /// The processes that have had this memory since all members last let one in with it, in order; the last saved it.
    pub bearers: Vec<Replica>,
    /// Its history.
    pub lineage: u64,
    /// The members.
    pub roster: Vec<RosterEntry>,
    /// Its time for deadlines, from which it does not step back.
    pub time: UnixMillis,
}

/// What a process finds on its disk.
#[derive(Debug)]
pub struct Restored {
    /// All shards.
    pub shards: Vec<Shard>,
    /// Beside them.
    pub node: SavedNode,
    /// It is all that the last process reported to have saved, and that process did not leave: the others have
    /// counted on it since. Otherwise it is only what was true once, such as a backup.
    pub is_current: bool,
    /// The process that saved it had not left then: it may have what nobody else has, and the others may have gone on
    /// without it.
    pub is_awaited: bool,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    backlogs: Vec<Backlog>,
    /// Estimated bytes of all backlogs.
    bytes: u64,
    /// What is on the disk.
    pub(super) saved: Clocks,
    /// The time on it: a restart does not go back behind it.
    time: UnixMillis,
    health: DiskHealth,
    told: bool,
}

#[derive(Debug, Default)]
struct Backlog {
    ops: Vec<PackedOp>,
    bytes: u64,
    /// The shard must be saved whole.
    whole: bool,
}

impl Disk {
    fn take_in(&mut self, shard: ShardId, ops: &[NewOp]) {
        let backlog = &mut self.backlogs[shard.index()];
        if backlog.whole {
            return;
        }
        for op in ops {
            let op = op.packed();
            let bytes = op.waiting_bytes() as u64;
            backlog.ops.push(op);
            backlog.bytes += bytes;
            self.bytes += bytes;
        }
        if self.bytes > BACKLOG_BYTES_MAX {
            self.want_whole(shard);
        }
    }

    fn want_whole(&mut self, shard: ShardId) {
        let backlog = &mut self.backlogs[shard.index()];
        self.bytes -= backlog.bytes;
        *backlog = Backlog { whole: true, ..Backlog::default() };
    }

    fn is_behind(&self) -> bool {
        self.backlogs.iter().any(|backlog| backlog.whole || !backlog.ops.is_empty())
    }
}

impl Node {
    /// From now on everything is to be saved, beginning with what there is.
    pub fn keep_on_disk(&mut self) {
        let mut disk = Disk::default();
        disk.backlogs.resize_with(SHARDS, Backlog::default);
        for shard in &self.shards {
            disk.backlogs[shard.id().index()].whole = !shard.clock().is_empty();
        }
        self.disk = Some(disk);
        self.tell_unsaved();
    }

    /// A process that goes on with what another has saved, under an id of its own. It serves once it has what the
    /// members it finds have; where it finds none within `bootstrap_millis`, alone.
    #[must_use]
    pub fn restore(config: NodeConfig, now: Now, restored: Restored) -> Self {
        Self::restore_with_mutants(config, now, restored, Mutants::NONE)
    }

    /// The same with rules of the core switched off.
    #[must_use]
    pub fn restore_with_mutants(config: NodeConfig, now: Now, restored: Restored, mutants: Mutants) -> Self {
        let Restored { shards, node: saved, is_current, is_awaited } = restored;
        let joins = config.joins;
        let mut node = Self::with_mutants(NodeConfig { joins: true, ..config }, now, mutants);
        node.config.joins = joins;
        for entry in saved.roster {
            node.enrol(entry);
        }
        let predecessor = RosterEntry { replica: saved.replica.clone(), left: false };
        if node.roster.get(predecessor.replica.id).is_none() {
            node.enrol(predecessor);
        }
        if is_awaited {
            node.standing.carry(saved.bearers);
        }
        node.succeed_predecessors();
        node.outbox.clear();
        let mut disk = Disk::default();
        disk.backlogs.resize_with(SHARDS, Backlog::default);
        disk.time = saved.time;
        for shard in &shards {
            for dot in shard.clock().iter() {
                disk.saved.raise(shard.id(), dot);
            }
            node.clock.observe(now, shard.latest());
        }
        node.disk = Some(disk);
        node.shards = shards;
        node.shards.iter_mut().for_each(Shard::start_life);
        node.shards.iter_mut().for_each(|shard| shard.fold_from(node.config.fold_min));
        let log_bytes_max = node.config.log_bytes_max / SHARDS as u64;
        node.shards.iter_mut().for_each(|shard| shard.bound_log(log_bytes_max));
        ShardId::all().for_each(|shard| node.note_memory(shard));
        node.clock.not_before(now, saved.time);
        node.lineage = if is_current { saved.lineage } else { 0 };
        node.come_back(now);
        node
    }

    /// Operations have been applied.
    pub(super) fn unsaved_ops(&mut self, shard: ShardId, ops: &[NewOp]) {
        if let Some(disk) = self.disk.as_mut().filter(|_| !ops.is_empty()) {
            disk.take_in(shard, ops);
            self.tell_unsaved();
        }
    }

    /// The shard has changed otherwise than by operations.
    pub(super) fn unsaved_whole(&mut self, shard: ShardId) {
        if let Some(disk) = &mut self.disk {
            disk.want_whole(shard);
            self.tell_unsaved();
        }
    }

    fn tell_unsaved(&mut self) {
        if let Some(disk) = self.disk.as_mut().filter(|disk| !disk.told && disk.is_behind()) {
            disk.told = true;
            self.outbox.push_back(Output::Unsaved);
        }
    }

    /// Takes what the disk lacks. `images` are shards that are to be given whole though operations would do.
    /// [`Input::Saved`](super::Input::Saved) or [`Input::NotSaved`](super::Input::NotSaved) must follow.
    pub fn take_unsaved(&mut self, images: &[ShardId]) -> Vec<UnsavedShard> {
        let Some(disk) = &mut self.disk else { return Vec::new() };
        disk.told = false;
        for shard in images {
            disk.want_whole(*shard);
        }
        let mut unsaved = Vec::new();
        let mut left = IMAGES_PER_TURN;
        for shard in &self.shards {
            let backlog = &mut disk.backlogs[shard.id().index()];
            let content = if backlog.whole {
                let Some(rest) = left.checked_sub(1) else { continue };
                left = rest;
                UnsavedContent::Image(Box::new(shard.state()))
            } else if !backlog.ops.is_empty() {
                UnsavedContent::Ops(std::mem::take(&mut backlog.ops))
            } else {
                continue;
            };
            disk.bytes -= backlog.bytes;
            *backlog = Backlog::default();
            unsaved.push(UnsavedShard {
                shard: shard.id(),
                clock: shard.clock().clone(),
                content_sum: shard.digest().content_sum,
                content,
            });
        }
        self.tell_unsaved();
        if self.mutants.lacks(Rule::SavedEarly) {
            let given: Vec<_> = unsaved.iter().map(|saved| (saved.shard, saved.clock.clone())).collect();
            self.saved(&given, UnixMillis(0));
        }
        unsaved
    }

    /// What is saved beside the shards.
    #[must_use]
    pub fn saved_node(&self) -> SavedNode {
        SavedNode {
            replica: self.standing.carried().unwrap_or(&self.config.replica).clone(),
            bearers: self.standing.bearers().iter().chain([&self.config.replica]).cloned().collect(),
            lineage: self.lineage,
            roster: self.roster.entries(),
            time: self.clock.floor(),
        }
    }

    /// Estimated bytes that wait for the disk.
    #[must_use]
    pub fn unsaved_bytes(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.bytes)
    }

    /// How the disk is; [`DiskHealth::Good`] where there is none.
    #[must_use]
    pub fn disk_health(&self) -> DiskHealth {
        self.disk.as_ref().map_or(DiskHealth::Good, |disk| disk.health)
    }

    /// The time that the others may count on for deadlines: where there is a disk, what a restart does not go back
    /// behind.
    pub(super) fn time_for_good(&mut self, now: Now) -> UnixMillis {
        let time = self.clock.advance(now);
        match &self.disk {
            Some(disk) if !self.mutants.lacks(Rule::UnsavedTime) => time.min(disk.time),
            _ => time,
        }
    }

    /// These shards are on the disk up to these clocks.
    pub(super) fn saved(&mut self, shards: &[(ShardId, Clock)], time: UnixMillis) {
        let Some(disk) = &mut self.disk else { return };
        disk.time = disk.time.max(time);
        let mut progress = Vec::new();
        for (shard, clock) in shards {
            let more: Vec<Dot> = match disk.saved.get(*shard) {
                Some(saved) => clock.beyond(saved).collect(),
                None => clock.iter().collect(),
            };
            for dot in more {
                disk.saved.raise(*shard, dot);
                progress.push(Progress { shard: *shard, dot });
            }
        }
        disk.health = DiskHealth::Good;
        if !progress.is_empty() {
            let sum = disk.saved.sum();
            self.broadcast(Message::Saved { progress, sum });
        }
        for (shard, _) in shards {
            self.check_waits(*shard);
            self.tell_roots(*shard);
        }
    }

    /// Nothing of these shards was written, for this reason.
    pub(super) fn not_saved(&mut self, shards: &[ShardId], health: DiskHealth) {
        let Some(disk) = &mut self.disk else { return };
        disk.health = health;
        for shard in shards {
            disk.want_whole(*shard);
        }
        self.tell_unsaved();
        self.check_all_waits();
    }

    /// Says what is saved, all of it: to a new link, or to a peer that has lost some of it.
    pub(super) fn send_saved(&mut self, to: PeerId) {
        let Some(disk) = &self.disk else { return };
        let all = |(shard, clock): (ShardId, &Clock)| {
            clock.iter().map(|dot| Progress { shard, dot }).collect::<Vec<_>>()
        };
        let clocks = ShardId::all().filter_map(|shard| disk.saved.get(shard).map(|clock| (shard, clock)));
        let message = Message::Saved { progress: clocks.flat_map(all).collect(), sum: disk.saved.sum() };
        self.send(to, message);
    }

    /// What is saved, as a sum only: whoever has lost a word of it asks.
    pub(super) fn remind_of_saved(&mut self, to: PeerId) {
        if let Some(disk) = &self.disk {
            let message = Message::Saved { progress: Vec::new(), sum: disk.saved.sum() };
            self.send(to, message);
        }
    }

    /// A peer has a disk, and says what is on it.
    pub(super) fn saved_by(&mut self, from: PeerId, progress: &[Progress], sum: u64) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let saved = peer.saved.get_or_insert_with(Clocks::default);
        for progress in progress {
            saved.raise(progress.shard, progress.dot);
        }
        // Only a reminder is compared: what says more may have overtaken, or been overtaken by, what is under way.
        if progress.is_empty() && saved.sum() != sum {
            self.send(from, Message::WantSaved);
        }
        let mut shards: Vec<ShardId> = progress.iter().map(|progress| progress.shard).collect();
        shards.dedup();
        for shard in shards {
            self.check_waits(shard);
        }
    }

    /// What this node has applied and does not have for good, by author, and how far it has it for good.
    pub(super) fn unsaved(&self) -> Vec<(ShardId, ReplicaId, u64)> {
        let Some(disk) = &self.disk else { return Vec::new() };
        let mut unsaved = Vec::new();
        for shard in &self.shards {
            let nothing = Clock::default();
            let saved = disk.saved.get(shard.id()).unwrap_or(&nothing);
            let beyond = shard.clock().beyond(saved);
            unsaved.extend(beyond.map(|dot| (shard.id(), dot.actor, saved.get(&dot.actor))));
        }
        unsaved
    }

    /// Whether it has a disk.
    pub(super) fn is_durable(&self) -> bool {
        self.disk.is_some()
    }

    /// Whether this node has it for good: applied, and on the disk where there is one.
    pub(super) fn keeps(&self, shard: ShardId, dot: &Dot) -> bool {
        self.shard(shard).has(dot) && self.disk.as_ref().is_none_or(|disk| disk.saved.has(shard, dot))
    }

    /// The latest stamp that any shard has seen.
    #[must_use]
    pub fn latest(&self) -> Hlc {
        self.shards.iter().map(Shard::latest).max().unwrap_or_default()
    }
}
