//! One machine: a web process with its client of the store, and a store process beside it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sidetalk::core::identity::{Dot, ObjectId, ReplicaId};
use sidetalk::core::time::{MonoMicros, Now};

use super::elect::Election;
use super::express::{Habits, answer};
use super::message::{Ask, Command, Message, Reply, Told};
use super::replicate::Replication;
use super::store::{Effect, Store, Written};
use crate::scenario::{BlobSpec, Layout};
use crate::system::{Answer, Input, Output, Process, Request, RequestId};

/// Between looks at what is due.
const LOOK_MILLIS: u64 = 200;

/// Looks from one `REPLCONF ACK` to the next: a second, as in Redis.
const LOOKS_PER_HELLO: u64 = 5;

/// One machine.
pub(super) struct Seat {
    pub(super) me: Process,
    pub(super) spec: BlobSpec,
    pub(super) habits: Habits,
    pub(super) nodes: usize,
    pub(super) store: Store,
    pub(super) replication: Replication,
    pub(super) election: Election,
    pub(super) links: BTreeSet<Process>,
    pub(super) outbox: VecDeque<Output<Message>>,
    pub(super) leaving: bool,
    pub(super) written: u64,
    pub(super) applied: u64,
    pub(super) states_merged: u64,
    pending: BTreeMap<RequestId, Pending>,
    next_look: MonoMicros,
    looks: u64,
}

/// A command of the web process that has no answer yet.
struct Pending {
    object: ObjectId,
    command: Command,
    since: MonoMicros,
    /// To whom it went; `None`: the store cannot be reached.
    sent_to: Option<Process>,
}

impl Seat {
    pub(super) fn new(me: Process, spec: &BlobSpec, habits: Habits, nodes: usize, now: Now) -> Self {
        let last_wins = spec.layout == Layout::MultiPrimary;
        Self {
            me,
            spec: spec.clone(),
            habits,
            nodes,
            store: Store::new(last_wins),
            replication: Replication::new(ReplicaId(me.id)),
            election: Election::new(now.mono),
            links: BTreeSet::new(),
            outbox: VecDeque::new(),
            leaving: false,
            written: 0,
            applied: 0,
            states_merged: 0,
            pending: BTreeMap::new(),
            next_look: now.mono.plus_millis(LOOK_MILLIS),
            looks: 0,
        }
    }

    pub(super) fn multi(&self) -> bool {
        self.spec.layout == Layout::MultiPrimary
    }

    /// It takes writes.
    pub(super) fn is_primary(&self) -> bool {
        self.multi() || self.election.primary == Some(self.me)
    }

    pub(super) fn waits(&self) -> u64 {
        self.pending.len() as u64
    }

    pub(super) fn deadline(&self) -> MonoMicros {
        self.replication.due().map_or(self.next_look, |due| due.min(self.next_look))
    }

    pub(super) fn input(&mut self, now: Now, input: Input<Message>) {
        match input {
            Input::LinkUp(peer) => {
                self.links.insert(peer);
                self.replication.forget(peer);
                self.greet(peer);
                self.flush(now);
            }
            Input::LinkDown(peer) => self.link_down(peer),
            Input::Message(peer, message) => self.hear(now, peer, message),
            Input::Tick => self.tick(now),
            Input::Leave => self.leave(),
            Input::Request(id, request) => self.ask(now, id, &request),
            // Sentinels go by what they can reach themselves, and a queue that overflows is a gap in the stream.
            Input::Alive(..) | Input::Overflowed(_) | Input::Farewell => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.send_due(now.mono);
        if now.mono < self.next_look {
            return;
        }
        self.next_look = now.mono.plus_millis(LOOK_MILLIS);
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_HELLO) {
            self.acknowledge(self.looks / LOOKS_PER_HELLO);
        }
        self.consider_standing(now);
        self.give_up(now.mono);
    }

    fn hear(&mut self, now: Now, peer: Process, message: Message) {
        match message {
            Message::Command(ask) => {
                let reply = self.execute(now, &ask.object, ask.command);
                if let Some(id) = ask.id {
                    self.send(peer, Message::Reply(Told { id, reply }));
                }
            }
            Message::Reply(told) => {
                if let Some(pending) = self.pending.remove(&told.id) {
                    let answer = answer(pending.object.kind, told.reply);
                    self.outbox.push_back(Output::Answer(told.id, answer));
                }
            }
            Message::Hello(greeting) => self.greeted(now, peer, &greeting),
            Message::Stream(batch) => self.take_stream(peer, &batch.0),
            Message::State(whole) => self.take_state(&whole),
            Message::Candidate(bid) => self.consider_voting(now, peer, &bid),
            Message::Vote(term) => self.count_vote(now, peer, term),
            Message::TakeOver(bid) => self.take_over(now, &bid),
        }
    }

    pub(super) fn send(&mut self, to: Process, message: Message) {
        self.outbox.push_back(Output::Send(to, message));
    }

    /// The application asks for something.
    fn ask(&mut self, now: Now, id: RequestId, request: &Request) {
        let command = self.habits.command(request);
        let object = request.object.clone();
        let here = self.is_primary() || self.reads_here(&command);
        if here {
            let reply = self.read_or_execute(now, &object, command);
            self.outbox.push_back(Output::Answer(id, answer(object.kind, reply)));
            return;
        }
        self.pending.insert(id, Pending { object, command, since: now.mono, sent_to: None });
        self.flush(now);
    }

    fn reads_here(&self, command: &Command) -> bool {
        self.spec.layout == Layout::ReplicaReads && command.reads()
    }

    /// A replica answers reads by itself, and the primary is told that the session is extended.
    fn read_or_execute(&mut self, now: Now, object: &ObjectId, command: Command) -> Reply {
        if self.is_primary() {
            return self.execute(now, object, command);
        }
        if let (Command::Get { extend_millis: Some(ttl_millis) }, Some(primary)) =
            (&command, self.primary_linked())
        {
            let command = Command::Expire { ttl_millis: *ttl_millis };
            self.send(primary, Message::Command(Ask { id: None, object: object.clone(), command }));
        }
        self.read(now, object)
    }

    fn read(&self, now: Now, object: &ObjectId) -> Reply {
        let dot = self
            .store
            .entry(object)
            .map_or(Dot { actor: self.replication.author, counter: 0 }, |entry| entry.dot);
        Reply::Value(self.store.get(object, now.wall).cloned(), dot)
    }

    fn execute(&mut self, now: Now, object: &ObjectId, command: Command) -> Reply {
        if !self.is_primary() {
            return Reply::ReadOnly;
        }
        let effect = match command {
            Command::Get { extend_millis } => {
                let reply = self.read(now, object);
                if let (Some(millis), Reply::Value(Some(_), _)) = (extend_millis, &reply) {
                    self.write(now, object, Effect::Expire(now.wall.plus(millis)));
                }
                return reply;
            }
            Command::Set { content, ttl_millis } => {
                Effect::Put(content, ttl_millis.map(|millis| now.wall.plus(millis)))
            }
            Command::Expire { ttl_millis } => Effect::Expire(now.wall.plus(ttl_millis)),
            Command::Delete => Effect::Remove,
            Command::Add(by) => Effect::Add(by),
            Command::Member(member, adds) => Effect::Member(member, adds),
        };
        Reply::Done(self.write(now, object, effect))
    }

    /// Writes, and has it replicated.
    fn write(&mut self, now: Now, object: &ObjectId, effect: Effect) -> Dot {
        let known = self.store.entry(object);
        let (effect, stamp) = if self.multi() {
            let stamp = known.map_or(0, |entry| entry.stamp + 1).max(now.wall.0);
            (whole(known.and_then(|entry| entry.content.clone()), effect), stamp)
        } else {
            (effect, 0)
        };
        let dot = self.replication.next_dot();
        let written = Written { dot, stamp, object: object.clone(), effect };
        self.store.apply(&written);
        self.written += 1;
        let due = now.mono.plus_millis(self.spec.replication_delay.as_millis());
        self.replication.wrote(written, due);
        self.send_due(now.mono);
        dot
    }

    pub(super) fn primary_linked(&self) -> Option<Process> {
        self.election.primary.filter(|primary| self.links.contains(primary))
    }

    /// Sends what has waited for a primary that can be reached.
    pub(super) fn flush(&mut self, now: Now) {
        if self.is_primary() {
            let waiting: Vec<RequestId> = self.pending.keys().copied().collect();
            for id in waiting {
                let Some(pending) = self.pending.remove(&id) else { continue };
                if pending.sent_to.is_none() {
                    let reply = self.execute(now, &pending.object, pending.command);
                    self.outbox.push_back(Output::Answer(id, answer(pending.object.kind, reply)));
                }
            }
            return;
        }
        let Some(primary) = self.primary_linked() else { return };
        let mut asks = Vec::new();
        for (id, pending) in self.pending.iter_mut().filter(|(_, pending)| pending.sent_to.is_none()) {
            pending.sent_to = Some(primary);
            let (object, command) = (pending.object.clone(), pending.command.clone());
            asks.push(Ask { id: Some(*id), object, command });
        }
        for ask in asks {
            self.send(primary, Message::Command(ask));
        }
    }

    /// A read that was under way fails. Of a write nobody knows: its user waits in vain.
    fn link_down(&mut self, peer: Process) {
        self.links.remove(&peer);
        let (under_way, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, pending)| pending.sent_to == Some(peer));
        self.pending = rest;
        for (id, pending) in under_way {
            if pending.command.reads() {
                self.outbox.push_back(Output::Answer(id, Answer::Refused("connection lost")));
            }
        }
    }

    /// Commands that found no store in time have not happened.
    fn give_up(&mut self, now: MonoMicros) {
        let patience = self.spec.command_timeout.0;
        let late = |pending: &Pending| pending.sent_to.is_none() && now.since(pending.since) >= patience;
        let given_up: Vec<RequestId> =
            self.pending.iter().filter(|(_, pending)| late(pending)).map(|(id, _)| *id).collect();
        for id in given_up {
            self.pending.remove(&id);
            self.outbox.push_back(Output::Answer(id, Answer::Refused("the store cannot be reached")));
        }
    }
}

/// Where whole values compete, whatever a command does is a whole new value.
fn whole(known: Option<crate::system::Content>, effect: Effect) -> Effect {
    let mut content = known.unwrap_or_default();
    match effect {
        Effect::Add(by) => content.value += by,
        Effect::Member(member, true) => {
            content.members.insert(member);
        }
        Effect::Member(member, false) => {
            content.members.remove(&member);
        }
        other => return other,
    }
    Effect::Put(content, None)
}
