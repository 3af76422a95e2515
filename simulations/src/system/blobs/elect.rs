//! Who is primary: what Redis Sentinel does, with a Sentinel on every machine.
//!
//! A primary that a replica cannot reach for long enough is replaced, when more than half of all machines agree that
//! it is gone, by a replica that has as much as any of those who vote. An old primary that comes back follows the
//! new one and throws away what it has taken meanwhile: it was acknowledged all the same.

use std::collections::BTreeSet;

use sidetalk::core::identity::ReplicaId;
use sidetalk::core::time::{MonoMicros, Now};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::message::{Bid, Greeting, Message};
use super::seat::Seat;
use super::store::covers;
use crate::system::{NodeIx, Output, Process};

/// Between two attempts to become primary.
const AGAIN_MILLIS: u64 = 1_000;

/// Candidates do not all stand at once: more than the time between two looks.
const STAGGER_MILLIS: u64 = 300;

/// What one machine believes.
pub(super) struct Election {
    /// Grows with each new primary; 0: nobody has been heard of.
    pub(super) term: u64,
    pub(super) primary: Option<Process>,
    voted: u64,
    missing_since: MonoMicros,
    stood_at: Option<MonoMicros>,
    votes: BTreeSet<NodeIx>,
}

impl Election {
    pub(super) fn new(now: MonoMicros) -> Self {
        Self { term: 0, primary: None, voted: 0, missing_since: now, stood_at: None, votes: BTreeSet::new() }
    }
}

impl Seat {
    /// Becomes primary.
    pub(super) fn promote(&mut self, now: Now, term: u64) {
        self.election.term = term;
        self.election.primary = Some(self.me);
        self.election.stood_at = None;
        let author = ReplicaId(xxh3_64_with_seed(&self.me.id.to_le_bytes(), term));
        self.replication.begin_term(author);
        self.replication.set_loaded();
        for peer in self.links.clone() {
            self.greet(peer);
        }
        self.flush(now);
    }

    /// Somebody says who is primary.
    pub(super) fn hear_of_term(&mut self, now: Now, peer: Process, greeting: &Greeting) {
        if greeting.term < self.election.term {
            // They have not heard; but not twice for the same.
            if greeting.primary == Some(peer) || self.is_primary() {
                self.greet(peer);
            }
            return;
        }
        if greeting.term == self.election.term {
            return;
        }
        if self.election.primary == Some(self.me) {
            self.outbox.push_back(Output::Notice("primaries demoted"));
        }
        self.election.term = greeting.term;
        self.election.primary = greeting.primary;
        self.election.stood_at = None;
        for other in self.links.clone() {
            if other != peer {
                self.greet(other);
            }
        }
        if let Some(primary) = self.primary_linked() {
            self.greet(primary);
        }
        self.flush(now);
    }

    /// Looks whether it is time to stand for primary.
    pub(super) fn consider_standing(&mut self, now: Now) {
        if self.multi() || self.is_primary() || self.primary_linked().is_some() || self.leaving {
            self.election.missing_since = now.mono;
            self.election.stood_at = None;
            return;
        }
        let rank_millis = STAGGER_MILLIS * (self.me.node as u64 % 10);
        let patience = self.spec.failover.0 + rank_millis * 1_000;
        let again = |at: MonoMicros| now.mono >= at.plus_millis(AGAIN_MILLIS + rank_millis);
        let due = now.mono.since(self.election.missing_since) >= patience;
        if !due || !self.election.stood_at.is_none_or(again) {
            return;
        }
        self.election.stood_at = Some(now.mono);
        let term = self.election.voted.max(self.election.term) + 1;
        self.election.voted = term;
        self.election.votes = BTreeSet::from([self.me.node]);
        let have = self.replication.have.clone();
        for peer in self.links.clone() {
            self.send(peer, Message::Candidate(Bid { term, have: have.clone() }));
        }
        self.look_at_votes(now);
    }

    pub(super) fn consider_voting(&mut self, now: Now, peer: Process, bid: &Bid) {
        let missing = self.election.primary != Some(self.me) && self.primary_linked().is_none();
        let has_enough = covers(&bid.have, &self.replication.have) || total(bid) > total_of(self);
        if missing && has_enough && bid.term > self.election.voted && bid.term > self.election.term {
            self.election.voted = bid.term;
            // Whoever has just voted waits for the result before standing.
            self.election.stood_at = Some(now.mono);
            self.send(peer, Message::Vote(bid.term));
        } else if self.election.term >= bid.term || !missing {
            self.greet(peer);
        }
    }

    pub(super) fn count_vote(&mut self, now: Now, peer: Process, term: u64) {
        if term == self.election.voted && self.election.stood_at.is_some() && term > self.election.term {
            self.election.votes.insert(peer.node);
            self.look_at_votes(now);
        }
    }

    fn look_at_votes(&mut self, now: Now) {
        if self.election.votes.len() * 2 > self.nodes {
            self.outbox.push_back(Output::Notice("failovers"));
            let term = self.election.voted;
            self.promote(now, term);
        }
    }

    /// Stops in order: a good operator moves the primary away first.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        if self.multi() || !self.is_primary() {
            return;
        }
        if let Some(heir) = self.replication.best(&self.links) {
            let term = self.election.term.max(self.election.voted) + 1;
            let have = self.replication.have.clone();
            self.send(heir, Message::TakeOver(Bid { term, have }));
        }
    }

    /// The primary hands over, if this replica has all of it.
    pub(super) fn take_over(&mut self, now: Now, bid: &Bid) {
        if bid.term > self.election.term && covers(&self.replication.have, &bid.have) && !self.leaving {
            self.outbox.push_back(Output::Notice("planned failovers"));
            self.election.voted = self.election.voted.max(bid.term);
            self.promote(now, bid.term);
        }
    }
}

fn total(bid: &Bid) -> u64 {
    bid.have.values().sum()
}

fn total_of(seat: &Seat) -> u64 {
    seat.replication.have.values().sum()
}
