//! Two processes of one name: the later one takes no place on the roster while the earlier one is heard.
//!
//! Once a later process of a name is on the roster, nothing is taken from the earlier one any more (see `seal`). So it
//! comes there only when nothing of the earlier one can come in order: when the link with it is gone. A process that has
//! crashed loses its links at once and holds nobody up. Of two that live the later one waits; where it is a member for
//! others all the same, because they do not hear the earlier one, that one is told, and hands over what it holds.

use std::collections::BTreeMap;

use super::Node;
use super::peer::Peer;
use super::roster::age;
use crate::core::identity::{Replica, ReplicaId};
use crate::core::message::{Hello, Message, PeerId, RosterEntry};
use crate::core::mutant::Rule;
use crate::core::time::{MonoMicros, Now};

/// A process that has lost its link while a later one waits is given so long to come back.
const AWAIT_MILLIS: u64 = 3_000;

/// Who waits until an earlier process of its name is gone.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// What they said of themselves, as long as they are linked.
    waiting: BTreeMap<PeerId, Hello>,
    /// Those who are members for others, and not yet for this node.
    put_off: BTreeMap<ReplicaId, RosterEntry>,
    /// Names whose earlier process may come back, and until when.
    awaited: BTreeMap<String, MonoMicros>,
}

impl Succession {
    pub(super) fn deadline(&self) -> Option<MonoMicros> {
        self.awaited.values().min().copied()
    }

    /// Whether this one waits, and has no memory.
    pub(super) fn is_fresh(&self, id: &PeerId) -> bool {
        self.waiting.get(id).is_some_and(|hello| hello.fresh)
    }

    /// Nobody is a member for others and not for this node.
    pub(super) fn knows_all(&self) -> bool {
        self.put_off.is_empty()
    }

    /// Of a name only the latest, which would replace the others at once.
    fn put_off(&mut self, entry: &RosterEntry) {
        let same_name = |known: &RosterEntry| known.replica.node == entry.replica.node;
        if self.put_off.values().any(|known| same_name(known) && age(&known.replica) > age(&entry.replica)) {
            return;
        }
        self.put_off.retain(|id, known| *id == entry.replica.id || !same_name(known));
        let known = self.put_off.entry(entry.replica.id).or_insert_with(|| entry.clone());
        known.left |= entry.left;
        known.replica.started = known.replica.started.max(entry.replica.started);
    }

    fn concerns(&self, node: &str) -> bool {
        self.waiting.values().any(|hello| hello.replica.node == node)
            || self.put_off.values().any(|entry| entry.replica.node == node)
            || self.awaited.contains_key(node)
    }
}

impl Node {
    /// Whether an earlier process of its name is heard, or may be again in a moment.
    fn has_heard_predecessor(&self, replica: &Replica) -> bool {
        let Some(newest) = self.roster.newest(&replica.node) else { return false };
        let is_later = age(newest) < age(replica) && newest.id != replica.id;
        if !is_later || self.is_sealed(newest.id) || self.mutants.lacks(Rule::HastySuccession) {
            return false;
        }
        self.succession.awaited.contains_key(&replica.node)
            || self.peers.get(&newest.id).is_some_and(|peer| peer.linked && peer.introduced)
    }

    /// Whether this entry must wait. It is taken later, by itself.
    pub(super) fn puts_off(&mut self, entry: &RosterEntry) -> bool {
        let waits = self.has_heard_predecessor(&entry.replica);
        if waits {
            self.succession.put_off(entry);
        }
        waits
    }

    /// Whether whoever says this must wait.
    pub(super) fn keeps_waiting(&mut self, hello: &Hello) -> bool {
        let waits = self.has_heard_predecessor(&hello.replica);
        if waits {
            self.succession.waiting.insert(hello.replica.id, hello.clone());
        } else {
            self.succession.waiting.remove(&hello.replica.id);
        }
        waits
    }

    /// It is not, or not yet, a member that could say who is one.
    pub(super) fn is_stranger(&self, id: PeerId) -> bool {
        let is_waiting = self.succession.waiting.contains_key(&id);
        let is_introduced = self.peers.get(&id).is_some_and(|peer| peer.introduced);
        is_waiting || !is_introduced && !self.is_sealed(id)
    }

    /// A link is gone. It may be back in a moment.
    pub(super) fn await_return(&mut self, now: Now, id: PeerId) {
        let until = now.mono.plus_millis(AWAIT_MILLIS);
        if let Some(hello) = self.succession.waiting.remove(&id) {
            // Both may be back in a moment, in any order: they may share a host.
            self.succession.awaited.insert(hello.replica.node, until);
        }
        let Some(peer) = self.peers.get(&id).filter(|peer| peer.introduced) else { return };
        let knows_better = peer.takes_ops() && !peer.admits;
        if self.succession.concerns(&peer.replica.node) {
            self.succession.awaited.insert(peer.replica.node.clone(), until);
        }
        if knows_better {
            self.begin_anew(now);
        }
    }

    /// Takes those who need not wait any more.
    pub(super) fn succession_tick(&mut self, now: Now) {
        self.succession.awaited.retain(|_, until| *until > now.mono);
        for entry in self.succession.put_off.values().cloned().collect::<Vec<_>>() {
            if !self.has_heard_predecessor(&entry.replica) {
                self.succession.put_off.remove(&entry.replica.id);
                self.learn_roster(&[entry]);
            }
        }
        for hello in self.succession.waiting.values().cloned().collect::<Vec<_>>() {
            if !self.has_heard_predecessor(&hello.replica) {
                self.succession.waiting.remove(&hello.replica.id);
                self.introduced(now, hello.replica.id, hello);
            }
        }
    }

    /// Tells a process that others have a later one of its name among their members. Again and again, until it is gone.
    pub(super) fn tell_of_successor(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id).filter(|peer| peer.introduced) else { return };
        let later = self.succession.put_off.values().filter(|entry| entry.replica.node == peer.replica.node);
        let later: Vec<RosterEntry> = later.cloned().collect();
        if !later.is_empty() {
            self.send(id, Message::Members(later));
        }
    }

    fn admitting(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|peer| peer.takes_ops())
    }

    /// It is on the roster of every member that is linked.
    pub(super) fn is_admitted_by_all(&self) -> bool {
        self.admitting().all(|peer| peer.admits)
    }

    /// It is on the roster of a member that is linked.
    pub(super) fn is_admitted_by_any(&self) -> bool {
        self.admitting().any(|peer| peer.admits)
    }

    /// Nodes that are linked do not take it for a member, and another process of its name is known.
    pub(super) fn waits_for_predecessor(&self) -> bool {
        let mut linked = self.peers.values().filter(|peer| peer.linked && peer.introduced);
        linked.any(|peer| !peer.admits) && self.roster.has_namesake(&self.config.replica)
    }

    /// Somebody who is linked may have news of a process that is over for this node, because a later one bears its name.
    pub(super) fn others_hear_the_superseded(&self) -> bool {
        let linked = self.peers.values().filter(|peer| peer.takes_ops());
        linked.flat_map(Peer::living).any(|id| self.is_sealed(*id) && !self.has_left(*id))
    }
}
