//! The races that people meet with these stores, as measured on the real ones: what is lost here is lost there, and
//! what is kept there is kept here.

use sidetalk::core::identity::{Kind, ObjectId};
use sidetalk::core::time::{MonoMicros, Now, UnixMillis};

use super::*;
use crate::scenario::Span;
use crate::system::{Basis, Content, Edit, Field, Request, RequestId, What, WriteId};

/// Machines with links that carry at once, or not at all.
struct Rig {
    store: Blobs,
    processes: Vec<Option<Process>>,
    now_micros: u64,
    asked: u64,
    answers: Vec<(RequestId, Answer)>,
    /// Pairs of nodes that cannot reach each other: what is sent is lost.
    cut: Vec<(NodeIx, NodeIx)>,
    started: u64,
}

impl Rig {
    fn new(nodes: usize, layout: Layout, delay_millis: u64) -> Self {
        let text = format!("name = \"t\"\nduration = \"1s\"\n[cluster]\nnodes = {nodes}\n");
        let mut scenario = Scenario::parse(&text).unwrap();
        scenario.blobs.layout = layout;
        scenario.blobs.replication_delay = Span::millis(delay_millis);
        let mut rig = Self {
            store: Blobs::new(&scenario),
            processes: vec![None; nodes],
            now_micros: 0,
            asked: 0,
            answers: Vec::new(),
            cut: Vec::new(),
            started: 0,
        };
        (0..nodes).for_each(|node| rig.start(node));
        rig.pass(3_000);
        assert!((0..nodes).all(|node| rig.store.ready(node)), "the store is up");
        rig
    }

    fn now(&self) -> Now {
        let wall = UnixMillis(1_800_000_000_000 + self.now_micros / 1_000);
        Now { mono: MonoMicros(self.now_micros), wall }
    }

    fn start(&mut self, node: NodeIx) {
        self.started += 1;
        let process = Process { node, id: 1_000 + self.started };
        self.store.start(&Birth { process, random: 1 }, self.now());
        let peers: Vec<Process> = self.processes.iter().flatten().copied().collect();
        self.processes[node] = Some(process);
        for peer in peers {
            self.link(process, peer, true);
        }
        self.settle();
    }

    fn stop(&mut self, node: NodeIx) {
        let Some(gone) = self.processes[node].take() else { return };
        self.store.stop(node);
        for peer in self.processes.clone().into_iter().flatten() {
            self.store.input(peer.node, self.now(), Input::LinkDown(gone));
        }
        self.settle();
    }

    fn link(&mut self, a: Process, b: Process, up: bool) {
        for (me, peer) in [(a, b), (b, a)] {
            let input = if up { Input::LinkUp(peer) } else { Input::LinkDown(peer) };
            self.store.input(me.node, self.now(), input);
        }
    }

    /// Cuts the links between two groups, or makes them again.
    fn cut(&mut self, ones: &[NodeIx], others: &[NodeIx], cut: bool) {
        for (a, b) in ones.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
            if cut {
                self.cut.push((a, b));
            } else {
                self.cut.retain(|pair| *pair != (a, b));
            }
            if let (Some(a), Some(b)) = (self.processes[a], self.processes[b]) {
                self.link(a, b, !cut);
            }
        }
        self.settle();
    }

    /// Carries messages until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for node in 0..self.processes.len() {
                while let Some(output) = self.store.poll(node) {
                    quiet = false;
                    match output {
                        Output::Send(to, message) => self.carry(node, to, message),
                        Output::Answer(id, answer) => self.answers.push((id, answer)),
                        Output::Alarm(what) => panic!("{what}"),
                        Output::Disconnect(_) | Output::Notice(_) => {}
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn carry(&mut self, from: NodeIx, to: Process, message: Message) {
        let cut = self.cut.contains(&(from, to.node)) || self.cut.contains(&(to.node, from));
        if let Some(sender) = self.processes[from].filter(|_| !cut && self.processes[to.node] == Some(to)) {
            self.store.input(to.node, self.now(), Input::Message(sender, message));
        }
    }

    /// Lets time pass.
    fn pass(&mut self, millis: u64) {
        let end = self.now_micros + millis * 1_000;
        while self.now_micros < end {
            self.now_micros += 10_000;
            for node in 0..self.processes.len() {
                if self.store.deadline(node).is_some_and(|deadline| deadline.0 <= self.now_micros) {
                    self.store.input(node, self.now(), Input::Tick);
                }
            }
            self.settle();
        }
    }

    fn ask(&mut self, node: NodeIx, object: &ObjectId, what: What) -> Option<Answer> {
        self.asked += 1;
        let id = RequestId(self.asked);
        let request = Request { object: object.clone(), what, after: Vec::new(), majority: false };
        self.store.input(node, self.now(), Input::Request(id, request));
        self.settle();
        let place = self.answers.iter().position(|(answered, _)| *answered == id)?;
        Some(self.answers.remove(place).1)
    }

    fn done(&mut self, node: NodeIx, object: &ObjectId, what: What) {
        let answer = self.ask(node, object, what);
        assert!(matches!(answer, Some(Answer::Done { .. })), "{answer:?}");
    }

    fn load(&mut self, node: NodeIx, object: &ObjectId) -> Option<Content> {
        match self.ask(node, object, What::Load) {
            Some(Answer::Found { basis, .. }) => Some(basis.content),
            Some(Answer::Unknown { behind: false }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn basis(&mut self, node: NodeIx, object: &ObjectId) -> Basis {
        Basis { content: self.load(node, object).expect("it is there"), life: None }
    }

    fn log_in(&mut self, node: NodeIx) -> ObjectId {
        let session = ObjectId::new(Kind::Session, "s");
        self.done(node, &session, What::Create(vec![("user".into(), 1)]));
        self.pass(200);
        session
    }
}

fn set(field: &str, write: WriteId) -> Vec<Edit> {
    vec![Edit::Set(field.into(), write)]
}

fn fields(content: &Content) -> Vec<(&str, WriteId)> {
    content.fields.iter().map(|(field, write): (&Field, _)| (&**field, *write)).collect()
}

#[test]
fn race_a_of_two_parallel_requests_that_set_different_fields_one_is_lost() {
    let mut rig = Rig::new(2, Layout::Primary, 0);
    let session = rig.log_in(0);
    let (one, other) = (rig.basis(0, &session), rig.basis(1, &session));
    rig.done(0, &session, What::Save(one, set("a", 2)));
    rig.done(1, &session, What::Save(other, set("b", 3)));
    let content = rig.load(0, &session).unwrap();
    assert_eq!(fields(&content), [("b", 3), ("user", 1)]);
}

#[test]
fn race_b_of_fifty_parallel_increments_in_a_session_one_is_left() {
    let mut rig = Rig::new(2, Layout::Primary, 0);
    let session = rig.log_in(0);
    let bases: Vec<Basis> = (0..50).map(|turn| rig.basis(turn % 2, &session)).collect();
    for (turn, basis) in bases.into_iter().enumerate() {
        rig.done(turn % 2, &session, What::Save(basis, vec![Edit::Count("n".into(), 1)]));
    }
    assert_eq!(rig.load(0, &session).unwrap().counts["n"], 1);
}

#[test]
fn race_c_a_request_that_writes_brings_the_session_back_after_logout() {
    let mut rig = Rig::new(2, Layout::Primary, 0);
    let session = rig.log_in(0);
    let basis = rig.basis(1, &session);
    rig.done(0, &session, What::Destroy);
    assert_eq!(rig.load(0, &session), None);
    rig.done(1, &session, What::Save(basis, set("page", 2)));
    assert!(rig.load(0, &session).is_some());
}

#[test]
fn race_d_a_request_that_only_reads_does_not() {
    let mut rig = Rig::new(2, Layout::Primary, 0);
    let session = rig.log_in(0);
    let basis = rig.basis(1, &session);
    rig.done(0, &session, What::Destroy);
    rig.done(1, &session, What::Touch(basis));
    assert_eq!(rig.load(0, &session), None);
}

#[test]
fn race_e_a_slow_request_that_only_reads_keeps_what_was_written_meanwhile() {
    let mut rig = Rig::new(2, Layout::Primary, 0);
    let session = rig.log_in(0);
    let slow = rig.basis(1, &session);
    let basis = rig.basis(0, &session);
    rig.done(0, &session, What::Save(basis, set("page", 2)));
    rig.done(1, &session, What::Touch(slow));
    assert_eq!(rig.load(1, &session).unwrap().fields["page"], 2);
}

#[test]
fn race_i_the_next_request_does_not_find_the_login_where_replicas_are_read() {
    for (layout, found) in
        [(Layout::Primary, true), (Layout::ReplicaReads, false), (Layout::MultiPrimary, false)]
    {
        let mut rig = Rig::new(2, layout, 50);
        let session = ObjectId::new(Kind::Session, "s");
        rig.done(0, &session, What::Create(vec![("user".into(), 1)]));
        assert_eq!(rig.load(1, &session).is_some(), found, "{layout:?}, at once");
        rig.pass(100);
        assert!(rig.load(1, &session).is_some(), "{layout:?}, after the delay");
    }
}

#[test]
fn counters_and_sets_of_one_primary_are_exact() {
    let mut rig = Rig::new(3, Layout::Primary, 0);
    let (counter, set) = (ObjectId::new(Kind::Counter, "c"), ObjectId::new(Kind::Set, "s"));
    for turn in 0..30 {
        rig.done(turn % 3, &counter, What::Add(2));
        rig.done(turn % 3, &set, What::Member(format!("m{}", turn % 5).into(), true));
    }
    for node in 0..3 {
        let Answer::Found { basis, .. } = rig.store.look(node, rig.now(), &counter) else { panic!() };
        assert_eq!(basis.content.value, 60);
        let Answer::Found { basis, .. } = rig.store.look(node, rig.now(), &set) else { panic!() };
        assert_eq!(basis.content.members.len(), 5);
    }
}

#[test]
fn what_an_old_primary_took_in_a_split_is_thrown_away_when_it_heals() {
    let mut rig = Rig::new(3, Layout::Primary, 0);
    let session = rig.log_in(1);
    rig.cut(&[0], &[1, 2], true);
    rig.pass(8_000);
    assert!(rig.store.seats[1..].iter().flatten().any(Seat::is_primary), "the majority has chosen another");
    let basis = rig.basis(0, &session);
    rig.done(0, &session, What::Save(basis, set("lost", 2)));
    let basis = rig.basis(1, &session);
    rig.done(1, &session, What::Save(basis, set("kept", 3)));
    rig.cut(&[0], &[1, 2], false);
    rig.pass(3_000);
    assert_eq!(rig.store.seats.iter().flatten().filter(|seat| seat.is_primary()).count(), 1);
    assert_eq!(fields(&rig.load(0, &session).unwrap()), [("kept", 3), ("user", 1)]);
    let digests: Vec<Digest> = (0..3).map(|node| rig.store.digest(node)).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn whoever_cannot_reach_the_primary_waits_and_is_refused() {
    let mut rig = Rig::new(3, Layout::Primary, 0);
    let session = rig.log_in(0);
    rig.cut(&[2], &[0, 1], true);
    assert_eq!(rig.ask(2, &session, What::Load), None, "it waits");
    rig.pass(6_000);
    let answers: Vec<&Answer> = rig.answers.iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [&Answer::Refused("the store cannot be reached")]);
    assert_eq!(rig.store.look(2, rig.now(), &session), rig.store.look(0, rig.now(), &session));
}

#[test]
fn a_replica_takes_over_with_all_that_was_replicated_when_the_primary_dies() {
    let mut rig = Rig::new(3, Layout::Primary, 0);
    let session = rig.log_in(0);
    rig.stop(0);
    rig.pass(8_000);
    assert!(rig.load(1, &session).is_some());
    rig.start(0);
    rig.pass(3_000);
    assert!(rig.load(0, &session).is_some());
    assert_eq!(rig.store.digest(0), rig.store.digest(1));
    assert!(!rig.store.seats[0].as_ref().unwrap().is_primary(), "it comes back as a replica");
}

#[test]
fn a_primary_that_stops_in_order_hands_over_first() {
    let mut rig = Rig::new(3, Layout::Primary, 0);
    let session = rig.log_in(0);
    rig.pass(2_000);
    rig.store.input(0, rig.now(), Input::Leave);
    rig.settle();
    rig.pass(1_500);
    assert!(rig.store.handed_over(0));
    rig.stop(0);
    assert!(rig.load(1, &session).is_some(), "without waiting for a failover");
}

#[test]
fn where_all_are_primaries_the_last_whole_value_wins_on_every_side_of_a_split() {
    let mut rig = Rig::new(2, Layout::MultiPrimary, 0);
    let session = rig.log_in(0);
    let counter = ObjectId::new(Kind::Counter, "c");
    rig.cut(&[0], &[1], true);
    let (one, other) = (rig.basis(0, &session), rig.basis(1, &session));
    rig.done(0, &session, What::Save(one, set("a", 2)));
    rig.pass(100);
    rig.done(1, &session, What::Save(other, set("b", 3)));
    (0..5).for_each(|_| rig.done(0, &counter, What::Add(1)));
    rig.pass(100);
    (0..3).for_each(|_| rig.done(1, &counter, What::Add(1)));
    rig.cut(&[0], &[1], false);
    rig.pass(3_000);
    assert_eq!(rig.store.digest(0), rig.store.digest(1));
    assert_eq!(fields(&rig.load(0, &session).unwrap()), [("b", 3), ("user", 1)]);
    let Answer::Found { basis, .. } = rig.store.look(0, rig.now(), &counter) else { panic!() };
    assert_eq!(basis.content.value, 3, "the increments of one side are gone");
}

#[test]
fn a_logout_is_remembered_where_all_are_primaries() {
    let mut rig = Rig::new(2, Layout::MultiPrimary, 0);
    let session = rig.log_in(0);
    rig.cut(&[0], &[1], true);
    rig.pass(100);
    rig.done(0, &session, What::Destroy);
    rig.cut(&[0], &[1], false);
    rig.pass(3_000);
    assert_eq!(rig.load(1, &session), None);
}
