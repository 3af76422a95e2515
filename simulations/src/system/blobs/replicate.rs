//! Asynchronous replication: a stream of effects with a backlog, and a full resynchronization where it does not reach.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sidetalk::core::identity::{Dot, ReplicaId};
use sidetalk::core::time::{MonoMicros, Now};

use super::message::{Batch, Greeting, Message, Snapshot, Whole, written_bytes};
use super::seat::Seat;
use super::store::{Offsets, Store, Written, covers};
use crate::system::Process;

/// `repl-backlog-size`, as Redis comes.
const BACKLOG_BYTES_MAX: u64 = 1 << 20;

/// How far one process's stream is, and how far the others say they are.
pub(super) struct Replication {
    /// Who writes here: a new one for each term of a primary.
    pub(super) author: ReplicaId,
    pub(super) have: Offsets,
    /// What has left, or need not.
    sent: Offsets,
    backlog: VecDeque<Written>,
    backlog_bytes: u64,
    /// What the backlog does not reach back to.
    backlog_from: Offsets,
    waiting: VecDeque<(MonoMicros, Written)>,
    heard: BTreeMap<Process, Offsets>,
    /// What there was when this process met the others.
    goal: Option<Offsets>,
    loaded: bool,
}

impl Replication {
    pub(super) fn new(author: ReplicaId) -> Self {
        Self {
            author,
            have: Offsets::new(),
            sent: Offsets::new(),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            backlog_from: Offsets::new(),
            waiting: VecDeque::new(),
            heard: BTreeMap::new(),
            goal: None,
            loaded: false,
        }
    }

    pub(super) fn backlog(&self) -> (u64, u64) {
        (self.backlog.len() as u64, self.backlog_bytes)
    }

    pub(super) fn loaded(&self) -> bool {
        self.loaded
    }

    pub(super) fn set_loaded(&mut self) {
        self.loaded = true;
    }

    pub(super) fn due(&self) -> Option<MonoMicros> {
        self.waiting.front().map(|(due, _)| *due)
    }

    pub(super) fn next_dot(&self) -> Dot {
        Dot { actor: self.author, counter: self.have.get(&self.author).copied().unwrap_or(0) + 1 }
    }

    /// Something was written here.
    pub(super) fn wrote(&mut self, written: Written, due: MonoMicros) {
        self.note(&written);
        self.waiting.push_back((due, written));
    }

    fn note(&mut self, written: &Written) {
        self.have.insert(written.dot.actor, written.dot.counter);
        self.backlog_bytes += written_bytes(written);
        self.backlog.push_back(written.clone());
        while self.backlog_bytes > BACKLOG_BYTES_MAX {
            let Some(oldest) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= written_bytes(&oldest);
            self.backlog_from.insert(oldest.dot.actor, oldest.dot.counter);
        }
    }

    /// A link is new: what was heard before says nothing.
    pub(super) fn forget(&mut self, peer: Process) {
        self.heard.remove(&peer);
    }

    /// Everybody who follows has all of it.
    pub(super) fn is_handed_over<'a>(&self, followers: impl IntoIterator<Item = &'a Process>) -> bool {
        let behind = |peer: &Process| self.heard.get(peer).is_some_and(|have| !covers(have, &self.have));
        self.waiting.is_empty() && !followers.into_iter().any(behind)
    }

    /// Who has the most, of those heard from.
    pub(super) fn best<'a>(&self, peers: impl IntoIterator<Item = &'a Process>) -> Option<Process> {
        let total = |peer: &Process| self.heard.get(peer).map(|have| have.values().sum::<u64>());
        peers
            .into_iter()
            .filter(|peer| total(peer).is_some())
            .max_by_key(|peer| (total(peer), peer.node))
            .copied()
    }

    /// Starts a stream of its own, on top of what is there.
    pub(super) fn begin_term(&mut self, author: ReplicaId) {
        self.author = author;
        self.sent.clone_from(&self.have);
        self.waiting.clear();
        self.heard.clear();
    }

    /// What a peer who has this much needs; `None`: nothing.
    fn for_peer(&self, store: &Store, term: u64, have: &Offsets) -> Option<Message> {
        if covers(have, &self.sent) && (covers(&self.have, have) || store.entries().is_empty()) {
            return None;
        }
        if covers(&self.have, have) && covers(have, &self.backlog_from) {
            let lacks =
                |written: &&Written| have.get(&written.dot.actor).copied().unwrap_or(0) < written.dot.counter;
            let tail: Vec<Written> = self.backlog.iter().filter(lacks).cloned().collect();
            return Some(Message::Stream(Batch(Arc::new(tail))));
        }
        let entries = store.entries().iter().map(|(object, entry)| (object.clone(), entry.clone()));
        let snapshot = Snapshot { entries: entries.collect(), have: self.have.clone() };
        Some(Message::State(Whole { term, snapshot: Arc::new(snapshot) }))
    }
}

impl Seat {
    /// Sends on what has waited long enough.
    pub(super) fn send_due(&mut self, now: MonoMicros) {
        let replication = &mut self.replication;
        let mut batch = Vec::new();
        while replication.waiting.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, written)) = replication.waiting.pop_front() else { break };
            replication.sent.insert(written.dot.actor, written.dot.counter);
            batch.push(written);
        }
        if batch.is_empty() || !self.is_primary() {
            return;
        }
        let batch = Arc::new(batch);
        for peer in self.links.clone() {
            self.send(peer, Message::Stream(Batch(Arc::clone(&batch))));
        }
    }

    /// Tells a peer who is primary, and how far the stream has come.
    pub(super) fn greet(&mut self, peer: Process) {
        let (term, primary) = (self.election.term, self.election.primary);
        let have = self.replication.have.clone();
        self.send(peer, Message::Hello(Greeting { term, primary, have }));
    }

    /// Once a second: a replica tells its primary, and where all are primaries each tells another in turn.
    pub(super) fn acknowledge(&mut self, turn: u64) {
        let to = if self.multi() {
            let count = self.links.len().max(1);
            self.links.iter().nth(turn as usize % count).copied()
        } else {
            self.primary_linked().filter(|primary| *primary != self.me)
        };
        if let Some(peer) = to {
            self.greet(peer);
        }
    }

    pub(super) fn greeted(&mut self, now: Now, peer: Process, greeting: &Greeting) {
        if !self.multi() {
            self.hear_of_term(now, peer, greeting);
        }
        let leads = self.multi() || greeting.primary == Some(peer) && self.election.primary == Some(peer);
        if leads && self.replication.goal.is_none() {
            self.replication.goal = Some(greeting.have.clone());
        }
        self.look_if_loaded();
        if !self.is_primary() {
            return;
        }
        let before = self.replication.heard.insert(peer, greeting.have.clone());
        // Whatever moved since the last time is on its way; who stands still has missed something.
        if before.is_none_or(|before| before == greeting.have) {
            let message = self.replication.for_peer(&self.store, self.election.term, &greeting.have);
            if let Some(message) = message.filter(|message| !self.multi() || is_news(message)) {
                self.send(peer, message);
            }
        }
    }

    fn look_if_loaded(&mut self) {
        let replication = &mut self.replication;
        if replication.goal.as_ref().is_some_and(|goal| covers(&replication.have, goal)) {
            replication.loaded = true;
        }
    }

    /// Applies what comes next; what does not follow on what is here waits for the next resynchronization.
    pub(super) fn take_stream(&mut self, peer: Process, batch: &[Written]) {
        if !self.multi() && self.election.primary != Some(peer) {
            return;
        }
        for written in batch {
            let have = self.replication.have.get(&written.dot.actor).copied().unwrap_or(0);
            if written.dot.counter == have + 1 {
                self.store.apply(written);
                self.replication.note(written);
                self.applied += 1;
            }
        }
        self.look_if_loaded();
    }

    /// A whole state. A replica throws its own away for it; where all are primaries, each value competes.
    pub(super) fn take_state(&mut self, whole: &Whole) {
        let Snapshot { entries, have } = &*whole.snapshot;
        if self.multi() {
            for (author, offset) in have {
                let known = self.replication.have.entry(*author).or_default();
                *known = (*known).max(*offset);
            }
        } else if whole.term == self.election.term && !self.is_primary() {
            self.store = Store::new(false);
            self.replication.have.clone_from(have);
        } else {
            return;
        }
        for (object, entry) in entries {
            self.store.put(object, entry.clone());
        }
        let replication = &mut self.replication;
        replication.backlog.clear();
        replication.backlog_bytes = 0;
        replication.backlog_from.clone_from(&replication.have);
        self.states_merged += 1;
        self.look_if_loaded();
    }
}

/// Where all are primaries, a peer that is merely ahead is no reason to say anything.
fn is_news(message: &Message) -> bool {
    !matches!(message, Message::Stream(batch) if batch.0.is_empty())
}
