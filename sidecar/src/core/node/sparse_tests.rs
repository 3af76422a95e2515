//! Tens and hundreds of nodes on a plain network, each linked with its neighbours only.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::core::command::{Acks, Change, Lookup, MemberState, PathOp, Readiness, Wait, Write, Written};
use crate::core::identity::Kind;
use crate::core::mutant::Rule;
use crate::core::path::Path;
use crate::core::time::UnixMillis;
use crate::core::value::Tree;

/// Between looks at which links should stand.
const LOOK_MILLIS: u64 = 200;

/// What is under way, by arrival and order of sending.
type Air = BTreeMap<(MonoMicros, u64), (usize, usize, Arc<Message>)>;

/// Nodes that come up and go down, links that stand where they are wanted, and nothing lost but by a cut.
struct Field {
    nodes: Vec<Option<Node>>,
    by_id: BTreeMap<ReplicaId, usize>,
    links: BTreeSet<(usize, usize)>,
    air: Air,
    sent: u64,
    sent_by: BTreeMap<&'static str, u64>,
    ticks: BTreeSet<(MonoMicros, usize)>,
    tick_of: Vec<MonoMicros>,
    look_at: MonoMicros,
    groups: Vec<u8>,
    mutants: Mutants,
    /// Whose operations and reports are lost on their way.
    mumbles: Option<usize>,
    done: BTreeMap<(usize, WaitId), Waited>,
    mono: MonoMicros,
    hop_millis: u64,
}

impl Field {
    /// All start at once, and find each other by gossip.
    fn new(count: usize) -> Self {
        Self::with_mutants(count, Mutants::NONE)
    }

    fn with_mutants(count: usize, mutants: Mutants) -> Self {
        let mut field = Self {
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            links: BTreeSet::new(),
            air: BTreeMap::new(),
            sent: 0,
            sent_by: BTreeMap::new(),
            ticks: BTreeSet::new(),
            tick_of: Vec::new(),
            look_at: MonoMicros(0),
            groups: Vec::new(),
            mutants,
            mumbles: None,
            done: BTreeMap::new(),
            mono: MonoMicros(1_000_000),
            hop_millis: 1,
        };
        for _ in 0..count {
            field.add(true);
        }
        field
    }

    /// The same, ready.
    fn ready(count: usize) -> Self {
        Self::ready_with(count, Mutants::NONE)
    }

    fn ready_with(count: usize, mutants: Mutants) -> Self {
        let mut field = Self::with_mutants(count, mutants);
        field.until("all are ready", 60_000, |field| {
            field.up().all(|index| field.node(index).readiness() == Readiness::Ready)
        });
        field
    }

    fn add(&mut self, joins: bool) -> usize {
        let index = self.nodes.len();
        let id = ReplicaId(0x5eed_0000 + index as u64);
        let replica = Replica { node: format!("n{index:04}"), started: self.now().wall, id };
        let config = NodeConfig { joins, log_bytes_max: 1 << 20, ..NodeConfig::new(replica, "test") };
        let node = Node::with_mutants(config, self.now(), self.mutants);
        self.by_id.insert(id, index);
        self.ticks.insert((node.deadline(), index));
        self.tick_of.push(node.deadline());
        self.nodes.push(Some(node));
        self.groups.push(0);
        let newcomer = self.node(index).hello().replica;
        for other in 0..index {
            if self.nodes[other].is_some() {
                self.input(other, Input::Liveness { replica: newcomer.clone(), alive: true });
                let replica = self.node(other).hello().replica;
                self.input(index, Input::Liveness { replica, alive: true });
            }
        }
        index
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: UnixMillis(1_700_000_000_000).plus(self.mono.0 / 1_000) }
    }

    fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().unwrap()
    }

    fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_some())
    }

    /// It is gone, and everyone notices.
    fn kill(&mut self, index: usize) {
        let Some(node) = self.nodes[index].take() else { return };
        self.ticks.remove(&(self.tick_of[index], index));
        let replica = node.hello().replica;
        for other in self.up().collect::<Vec<_>>() {
            self.cut(index, other);
            self.input(other, Input::Liveness { replica: replica.clone(), alive: false });
        }
    }

    /// Nothing passes between groups, and gossip notices.
    fn split(&mut self, group: impl Fn(usize) -> u8) {
        for index in 0..self.nodes.len() {
            self.groups[index] = group(index);
        }
        for one in self.up().collect::<Vec<_>>() {
            for other in self.up().filter(|other| *other != one).collect::<Vec<_>>() {
                let replica = self.node(other).hello().replica;
                self.input(one, Input::Liveness { replica, alive: group(one) == group(other) });
            }
        }
    }

    fn cut(&mut self, a: usize, b: usize) {
        if !self.links.remove(&(a.min(b), a.max(b))) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            let peer = ReplicaId(0x5eed_0000 + other as u64);
            self.input(one, Input::LinkDown(peer));
        }
    }

    /// Links stand between those who are up, in one group, and want it.
    fn look(&mut self) {
        let up: Vec<usize> = self.up().collect();
        for (at, a) in up.iter().enumerate() {
            for b in &up[at + 1..] {
                let (one, other) = (self.node(*a), self.node(*b));
                let wanted = one.wants_link(other.id()) || other.wants_link(one.id());
                let (peer_a, peer_b) = (one.id(), other.id());
                let stands = self.links.contains(&(*a, *b));
                let may = wanted && self.groups[*a] == self.groups[*b];
                if stands && !may {
                    self.cut(*a, *b);
                } else if may && !stands {
                    self.links.insert((*a, *b));
                    self.input(*a, Input::LinkUp(peer_b));
                    self.input(*b, Input::LinkUp(peer_a));
                }
            }
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now();
        let Some(node) = &mut self.nodes[index] else { return };
        node.handle(now, input);
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        let arrives = self.mono.plus_millis(self.hop_millis);
        let Some(node) = &mut self.nodes[index] else { return };
        while let Some(output) = node.poll_output() {
            match output {
                Output::Send(to, message) => {
                    let Some(to) = self.by_id.get(&to).copied() else { continue };
                    let lost = self.mumbles == Some(index)
                        && ["ops", "relayed ops", "reports", "states"].contains(&kind_of(&message));
                    if self.links.contains(&(index.min(to), index.max(to))) && !lost {
                        self.sent += 1;
                        *self.sent_by.entry(kind_of(&message)).or_default() +=
                            message.estimated_bytes() as u64;
                        self.air.insert((arrives, self.sent), (index, to, message));
                    }
                }
                Output::Done(wait, how) => {
                    self.done.insert((index, wait), how);
                }
                Output::Changed(_) | Output::Unsaved => {}
                Output::Alarm(alarm) => panic!("n{index}: {alarm:?}"),
                Output::StartOver(dropped) => panic!("n{index} starts over: {dropped:?}"),
                Output::Disconnect(peer, why) => panic!("n{index} disconnects {peer}: {why}"),
            }
        }
        let deadline = node.deadline();
        if deadline != self.tick_of[index] {
            self.ticks.remove(&(self.tick_of[index], index));
            self.ticks.insert((deadline, index));
            self.tick_of[index] = deadline;
        }
    }

    fn run_millis(&mut self, millis: u64) {
        let end = self.mono.plus_millis(millis);
        loop {
            let message = self.air.first_key_value().map(|((at, _), _)| *at);
            let tick = self.ticks.first().map(|(at, _)| *at);
            let next = message.into_iter().chain(tick).chain([self.look_at]).min().unwrap_or(end);
            if next > end {
                self.mono = end;
                return;
            }
            self.mono = self.mono.max(next);
            if self.look_at <= self.mono {
                self.look_at = self.mono.plus_millis(LOOK_MILLIS);
                self.look();
            } else if message == Some(next) {
                let Some((_, (from, to, message))) = self.air.pop_first() else { continue };
                if self.links.contains(&(from.min(to), from.max(to))) {
                    let from = ReplicaId(0x5eed_0000 + from as u64);
                    self.input(to, Input::Message(from, Message::clone(&message)));
                }
            } else if let Some((_, index)) = self.ticks.first().copied() {
                self.input(index, Input::Tick);
            }
        }
    }

    /// Lets time pass until something holds. Gives how long it took.
    fn until(&mut self, what: &str, millis_max: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let started = self.mono;
        while !holds(self) {
            assert!(self.mono.since(started) < 1_000 * millis_max, "not in time: {what}");
            self.run_millis(5);
        }
        self.mono.since(started) / 1_000
    }

    fn write(&mut self, index: usize, write: &Write) -> Written {
        let now = self.now();
        let written = self.nodes[index].as_mut().unwrap().write(now, write).unwrap();
        self.flush(index);
        written
    }

    fn count(&mut self, index: usize) -> Written {
        let add = Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by: 1 }]);
        self.write(index, &Write::new(counter(), add))
    }

    fn login(&mut self, index: usize, key: &str, ttl_millis: u64) -> Written {
        let put = Write::new(session(key), Change::Put(Tree::EMPTY));
        self.write(index, &Write { ttl_millis: Some(ttl_millis), ..put })
    }

    fn shows(&self, index: usize, object: &ObjectId) -> String {
        match self.node(index).look_up(self.now(), object) {
            Lookup::Found(view) => String::from_utf8(view.body.to_vec()).unwrap(),
            other => format!("{other:?}"),
        }
    }

    fn all_show(&self, object: &ObjectId, want: &str) -> bool {
        self.up().all(|index| self.shows(index, object) == want)
    }

    fn are_equal(&self) -> bool {
        let sums: BTreeSet<u64> = self.up().map(|index| self.node(index).clock_sum()).collect();
        sums.len() == 1
    }

    fn wait(&mut self, index: usize, wait: Wait, millis: u64) -> (Waited, u64) {
        let (now, started) = (self.now(), self.mono);
        let waiting = self.nodes[index].as_mut().unwrap().wait(now, wait, millis);
        self.flush(index);
        let waited = match waiting {
            Ok(waited) => waited,
            Err(id) => {
                for _ in 0..=millis {
                    self.run_millis(1);
                    if self.done.contains_key(&(index, id)) {
                        break;
                    }
                }
                self.done.remove(&(index, id)).expect("every wait ends")
            }
        };
        (waited, self.mono.since(started) / 1_000)
    }

    fn acks(&mut self, index: usize, need: Acks) -> (Waited, u64) {
        let token = self.count(index).token;
        self.wait(index, Wait::Acks { token, need }, 5_000)
    }
}

fn session(key: &str) -> ObjectId {
    ObjectId::new(Kind::Session, key)
}

fn counter() -> ObjectId {
    ObjectId::new(Kind::Counter, "c")
}

fn kind_of(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) | Message::Roster(_) | Message::Members(_) | Message::Leave => "members",
        Message::Ops(_) => "ops",
        Message::Relay { .. } => "relayed ops",
        Message::Applied(_) | Message::Clocks(_) | Message::Saved { .. } | Message::WantSaved => "reports",
        Message::Digests { .. } | Message::Ping { .. } | Message::Pong { .. } => "pings and digests",
        Message::WantStates(_) | Message::State(_) => "states",
        Message::Ask { .. } | Message::Answer { .. } => "questions",
        Message::Wave { .. } | Message::Echo { .. } | Message::Settled(_) => "waves",
    }
}

#[test]
fn forty_nodes_start_at_once_and_share_one_history() {
    let mut field = Field::ready(40);
    assert!(field.links.len() < 40 * 39 / 4, "{} links", field.links.len());
    let lineages: BTreeSet<u64> = field.up().map(|index| field.node(index).hello().lineage).collect();
    assert_eq!(lineages.len(), 1, "one of them began for all");
    field.login(7, "s", 600_000);
    let took = field.until("all see it", 1_000, |field| field.all_show(&session("s"), "{}"));
    assert!(took <= 10, "{took} ms, a millisecond a hop");
    let states: BTreeSet<bool> =
        field.node(3).members(field.now()).iter().map(|member| member.state == MemberState::Up).collect();
    assert_eq!(states, BTreeSet::from([true]));
}

#[test]
fn an_operation_goes_once_to_each() {
    let mut field = Field::ready(100);
    field.run_millis(2_000);
    let duplicates = |field: &Field| -> u64 {
        field.up().map(|index| field.node(index).status().figures.ops_duplicate).sum()
    };
    let before = duplicates(&field);
    for index in 0..50 {
        field.count(index);
    }
    field.until("all have all", 1_000, |field| field.all_show(&counter(), "50"));
    field.run_millis(2_000);
    let again = duplicates(&field) - before;
    assert!(again <= 50, "{again} of {} came again", 50 * 99);
}

#[test]
fn acknowledgements_are_counted_where_there_is_no_link() {
    let mut field = Field::ready(100);
    assert_eq!(field.acks(0, Acks::Count(3)).0, Waited::Acks { have: 3, need: 3 });
    let (waited, took) = field.acks(1, Acks::Majority);
    assert!(matches!(waited, Waited::Acks { have, need: 51 } if have >= 51), "{waited:?}");
    assert!(took <= 30, "{took} ms");
    assert_eq!(field.acks(2, Acks::All).0, Waited::Acks { have: 100, need: 100 });
    for index in 60..100 {
        field.kill(index);
    }
    let (waited, _) = field.acks(3, Acks::Majority);
    assert!(matches!(waited, Waited::Acks { have, need: 51 } if have >= 51), "{waited:?}");
    assert_eq!(field.acks(4, Acks::All).0, Waited::Acks { have: 60, need: 100 });
}

#[test]
fn everyone_is_asked_and_a_login_a_moment_ago_is_found() {
    let mut field = Field::ready(100);
    let unknown = Wait::Asked(session("never"));
    assert_eq!(field.wait(5, unknown.clone(), 1_000).0, Waited::Asked { by_all: true, ended: false });
    // Slow links: the session is still on its way.
    field.hop_millis = 50;
    for to in [1, 50, 99] {
        let key = format!("login{to}");
        field.login(0, &key, 600_000);
        if field.shows(to, &session(&key)) == "Unknown" {
            field.wait(to, Wait::Asked(session(&key)), 3_000);
        }
        assert_eq!(field.shows(to, &session(&key)), "{}");
    }
    // One that cannot be asked is enough.
    field.kill(42);
    assert_eq!(field.wait(5, unknown, 2_000).0, Waited::Asked { by_all: false, ended: false });
}

#[test]
fn what_has_expired_goes_and_so_does_the_log() {
    let mut field = Field::ready(40);
    for index in 0..40 {
        field.login(index, &format!("s{index}"), 2_000);
        field.count(index);
    }
    let figures = |field: &Field, index: usize| field.node(index).status().figures;
    field.until("nothing is left of it", 90_000, |field| {
        field
            .up()
            .all(|index| figures(field, index).objects == [0, 0, 1, 0] && figures(field, index).log_ops == 0)
    });
    let destroyed: u64 = field.up().map(|index| figures(&field, index).expired).sum();
    assert_eq!(destroyed, 40, "one does it for all");
    assert!(field.all_show(&counter(), "40"));
}

#[test]
fn nothing_is_collected_while_one_who_might_use_it_is_away() {
    let mut field = Field::ready(40);
    field.login(0, "s", 5_000);
    field.run_millis(500);
    field.split(|index| u8::from(index == 33));
    field.run_millis(1_000);
    let touch = Write { ttl_millis: Some(600_000), ..Write::new(session("s"), Change::Touch) };
    field.write(33, &touch);
    field.run_millis(60_000);
    assert_eq!(field.shows(0, &session("s")), "Ended");
    assert_eq!(field.shows(33, &session("s")), "{}");
    assert!(field.up().all(|index| field.node(index).status().figures.expired == 0));
    field.split(|_| 0);
    field.until("the touch is everywhere", 5_000, |field| field.all_show(&session("s"), "{}"));
}

/// Somebody uses a session, and nobody hears of it, though it answers surveys.
fn destroyed_while_in_use(mutants: Mutants) -> bool {
    let mut field = Field::ready_with(40, mutants);
    field.login(0, "s", 5_000);
    field.run_millis(500);
    field.mumbles = Some(33);
    let touch = Write { ttl_millis: Some(600_000), ..Write::new(session("s"), Change::Touch) };
    field.write(33, &touch);
    field.run_millis(60_000);
    assert_eq!(field.shows(0, &session("s")), "Ended");
    field.mumbles = None;
    let destroyed = field.up().any(|index| field.node(index).status().figures.expired > 0);
    if !destroyed {
        assert_eq!(field.shows(33, &session("s")), "{}");
        field.until("the touch is everywhere", 90_000, |field| field.all_show(&session("s"), "{}"));
    }
    destroyed
}

#[test]
fn a_report_counts_only_with_all_that_it_stands_on() {
    assert!(!destroyed_while_in_use(Mutants::NONE));
    assert!(destroyed_while_in_use(Mutants::without(Rule::HazySurvey)));
}

#[test]
fn the_death_of_three_in_ten_stops_nobody() {
    let mut field = Field::ready(100);
    for index in (0..100).filter(|index| index % 10 < 3) {
        field.kill(index);
    }
    for index in field.up().collect::<Vec<_>>() {
        field.count(index);
    }
    let took = field.until("all have all", 5_000, |field| field.all_show(&counter(), "70"));
    println!("70 of 100 have all after {took} ms");
}

#[test]
fn halves_go_on_and_meet_again() {
    let mut field = Field::ready(40);
    field.split(|index| (index % 2) as u8);
    field.run_millis(1_000);
    for index in 0..40 {
        field.count(index);
    }
    field.run_millis(3_000);
    assert_eq!((&*field.shows(0, &counter()), &*field.shows(1, &counter())), ("20", "20"));
    field.split(|_| 0);
    field.until("both have all", 5_000, |field| field.all_show(&counter(), "40"));
    assert!(field.are_equal());
}

#[test]
fn some_come_and_some_go() {
    let mut field = Field::ready(40);
    field.count(0);
    field.run_millis(500);
    let newcomer = field.add(true);
    field.until("it is ready", 10_000, |field| field.node(newcomer).readiness() == Readiness::Ready);
    assert_eq!(field.shows(newcomer, &counter()), "1");
    field.input(5, Input::Leave);
    field.until("all is handed over", 5_000, |field| field.node(5).hand_over() == HandOver::default());
    field.input(5, Input::Farewell);
    field.run_millis(100);
    field.kill(5);
    let left = |field: &Field, index: usize| {
        field.node(index).members(field.now()).iter().any(|member| member.state == MemberState::Left)
    };
    field.until("all know that it left", 1_000, |field| field.up().all(|index| left(field, index)));
    assert_eq!(field.acks(newcomer, Acks::All).0, Waited::Acks { have: 40, need: 40 });
}

/// `NODES=1000 cargo test --release --no-default-features --lib sparse_tests::scale -- --ignored --nocapture`
#[test]
#[ignore = "takes memory and time"]
#[expect(clippy::disallowed_methods, reason = "looks at the process from outside")]
fn scale() {
    let count = std::env::var("NODES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let memory_mib = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
        pages * 4 / 1024
    };
    let started = std::time::Instant::now();
    let mut last = BTreeMap::new();
    let mut told = |field: &Field, what: &str| {
        let sent = field.sent_by.iter().map(|(kind, bytes)| {
            let before = last.insert(*kind, *bytes).unwrap_or(0);
            format!("{kind} {}", (bytes - before) / count as u64)
        });
        let sent: Vec<String> = sent.collect();
        println!(
            "{:6.1} s  {:8} ms  {:6} MiB  {what}; bytes per node: {}",
            started.elapsed().as_secs_f64(),
            field.mono.0 / 1_000,
            memory_mib(),
            sent.join(", ")
        );
    };
    let mut field = Field::new(count);
    told(&field, "nodes made");
    field.until("all are ready", 120_000, |field| {
        field.up().all(|index| field.node(index).readiness() == Readiness::Ready)
    });
    told(&field, &format!("ready with {:.1} links each", 2.0 * field.links.len() as f64 / count as f64));
    field.run_millis(5_000);
    told(&field, "five idle seconds");
    let writes = 1_000;
    for n in 0..writes {
        field.login(n * 7 % count, &format!("s{n}"), 600_000);
        field.run_millis(1);
    }
    let took = field.until("equal", 60_000, Field::are_equal);
    told(&field, &format!("{writes} logins in a second, equal {took} ms later"));
    field.run_millis(5_000);
    told(&field, "five idle seconds");
    let (waited, took) = field.acks(1, Acks::Majority);
    told(&field, &format!("{waited:?} after {took} ms"));
    let (waited, took) = field.acks(2, Acks::All);
    told(&field, &format!("{waited:?} after {took} ms"));
    let (waited, took) = field.wait(3, Wait::Asked(session("never")), 5_000);
    told(&field, &format!("{waited:?} after {took} ms"));
}
