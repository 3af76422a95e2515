//! Which links this node wants, and how the list of members goes round where there are many.

use std::collections::BTreeSet;

use super::Node;
use super::overlay::Overlay;
use crate::core::identity::{Replica, ReplicaId};
use crate::core::message::{Message, PeerId, RosterEntry};
use crate::core::time::{MonoMicros, Now};

/// Between two looks at the list of members, and between two messages of what is new in it: when hundreds start at
/// once it changes all the time.
const NEWS_MILLIS: u64 = 50;

/// The list of members, and who of them are this node's neighbours.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    overlay: Overlay,
    wanted: BTreeSet<ReplicaId>,
    /// The list has changed since.
    stale: bool,
    looked: MonoMicros,
    /// Whose entries the neighbours have not been told.
    news: BTreeSet<ReplicaId>,
}

impl Neighbours {
    pub(super) fn deadline(&self) -> Option<MonoMicros> {
        let waits = self.stale || !self.news.is_empty();
        waits.then(|| self.looked.plus_millis(NEWS_MILLIS))
    }
}

impl Node {
    /// There are too many members for everyone to be linked with everyone.
    pub(super) fn is_overlay(&self) -> bool {
        self.neighbours.overlay.len() > self.config.full_mesh_max
    }

    /// Whether a link to this process should stand. Both ends want it as soon as both know the same members. Others
    /// may be let in, and dropped after a while.
    #[must_use]
    pub fn wants_link(&self, peer: ReplicaId) -> bool {
        !self.is_overlay() || self.neighbours.wanted.contains(&peer)
    }

    /// Those whose clocks this node can measure, itself among them.
    pub(super) fn within_sight(&self) -> usize {
        if self.is_overlay() { self.neighbours.wanted.len() + 1 } else { self.roster.members().count() }
    }

    /// Members that gossip or are linked, this one among them.
    pub(super) fn members_up(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let linked = |id: &ReplicaId| self.peers.get(id).is_some_and(|peer| peer.takes_ops());
        let me = self.id();
        self.roster.needed().filter(move |id| *id == me || self.alive.contains_key(id) || linked(id))
    }

    /// Takes an entry into the roster. Gives whether anything is new.
    pub(super) fn enrol(&mut self, entry: RosterEntry) -> bool {
        let id = entry.replica.id;
        if !self.roster.add(entry) {
            return false;
        }
        self.neighbours.news.insert(id);
        self.seal();
        // Only the latest process of a name can have links.
        for id in self.roster.take_touched() {
            if self.is_sealed(id) {
                self.neighbours.overlay.remove(id);
            } else {
                self.neighbours.overlay.insert(id);
            }
        }
        self.neighbours.stale = true;
        true
    }

    pub(super) fn liveness(&mut self, replica: Replica, alive: bool) {
        let id = replica.id;
        if id == self.id() {
            return;
        }
        if alive {
            self.alive.insert(id, replica);
        } else {
            self.alive.remove(&id);
        }
        // Who is a member stays one when it is silent, and counts before it has introduced itself.
        if self.roster.get(id).is_none() {
            if alive {
                self.neighbours.overlay.insert(id);
            } else {
                self.neighbours.overlay.remove(id);
            }
        }
        self.neighbours.stale = true;
    }

    pub(super) fn neighbours_tick(&mut self, now: Now) {
        let due = self.neighbours.looked.plus_millis(NEWS_MILLIS) <= now.mono;
        let first = self.is_overlay() && self.neighbours.wanted.is_empty();
        if !(due || first) || self.neighbours.deadline().is_none() {
            return;
        }
        self.neighbours.looked = now.mono;
        if std::mem::take(&mut self.neighbours.stale) {
            self.neighbours.wanted = if self.is_overlay() { self.wanted() } else { BTreeSet::new() };
        }
        let news = std::mem::take(&mut self.neighbours.news);
        if self.is_overlay() && !news.is_empty() {
            let news = news.into_iter().filter_map(|id| self.roster.get(id).cloned()).collect();
            self.broadcast(Message::Members(news));
        }
    }

    /// The neighbours among all members, which are the same for everyone, and those among all who gossip: with half
    /// of the members out of reach the others must hold together all the same.
    fn wanted(&self) -> BTreeSet<ReplicaId> {
        let (me, all) = (self.id(), &self.neighbours.overlay);
        let mut wanted = all.neighbours(me);
        wanted.extend(all.of_those(|id| *id == me || self.alive.contains_key(id)).neighbours(me));
        wanted
    }

    /// Tells everyone the roster, or, where there are many, soon what is new in it.
    pub(super) fn broadcast_roster(&mut self) {
        if !self.is_overlay() {
            self.neighbours.news.clear();
            let roster = Message::Roster(self.roster.entries());
            self.broadcast(roster);
        }
    }

    pub(super) fn roster_from(&mut self, now: Now, from: PeerId, entries: &[RosterEntry]) {
        let Some(admits) = self.entries_from(now, from, entries) else { return };
        let kept = if self.is_overlay() { &[] } else { entries };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.admits = admits;
            peer.has_named_members = true;
            peer.counts(kept);
        }
    }

    pub(super) fn members_from(&mut self, now: Now, from: PeerId, entries: &[RosterEntry]) {
        let Some(admits) = self.entries_from(now, from, entries) else { return };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.admits |= admits;
        }
    }

    /// Takes a peer's word on who is a member, if it has one. Gives whether this process is among them.
    fn entries_from(&mut self, now: Now, from: PeerId, entries: &[RosterEntry]) -> Option<bool> {
        if self.is_stranger(from) || self.is_disowned_by(now, from, entries) {
            return None;
        }
        self.learn_roster(entries);
        Some(entries.iter().any(|entry| entry.replica == self.config.replica))
    }

    pub(super) fn learn_roster(&mut self, entries: &[RosterEntry]) {
        let mut news = false;
        for entry in entries {
            // What the others say of this process it knows better.
            if entry.replica.id != self.id() && !self.puts_off(entry) {
                news |= self.enrol(entry.clone());
            }
        }
        if news {
            self.succeed_predecessors();
            self.broadcast_roster();
            self.check_all_waits();
        }
    }

    pub(super) fn departed(&mut self, from: PeerId) {
        let Some(entry) = self.roster.get(from).cloned() else { return };
        if self.enrol(RosterEntry { left: true, ..entry }) {
            self.broadcast_roster();
            self.check_all_waits();
        }
    }

    /// Among many nothing is kept of those who are no neighbours.
    pub(super) fn forget_stranger(&mut self, id: PeerId) {
        if self.is_overlay() && !self.wants_link(id) {
            self.peers.remove(&id);
        }
    }
}
