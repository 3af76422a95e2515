//! A few nodes on a plain network, by hand. Hostile networks and random histories stand in `check`.

use super::*;
use crate::core::command::{Acks, Change, Lookup, MemberState, PathOp, Readiness, Refusal, Wait, Write};
use crate::core::identity::Kind;
use crate::core::limits::DEPTH_MAX;
use crate::core::path::Path;
use crate::core::time::UnixMillis;
use crate::core::value::Tree;

/// Nodes on links that lose nothing, take a fixed time, and can be cut.
struct Net {
    nodes: Vec<Node>,
    /// (arrives, from, to, message), in the order of sending.
    air: VecDeque<(MonoMicros, usize, usize, Message)>,
    cut: BTreeSet<(usize, usize)>,
    clock_offsets_millis: Vec<i64>,
    done: BTreeMap<(usize, WaitId), Waited>,
    alarms: Vec<(usize, Alarm)>,
    /// Who has started over, where a test expects it.
    over: Option<Vec<(usize, Dropped)>>,
    mono: MonoMicros,
    delay_millis: u64,
    full_mesh_max: usize,
    mutants: Mutants,
}

impl Net {
    fn new(count: usize) -> Self {
        Self::with(count, FULL_MESH_MAX, Mutants::NONE)
    }

    /// With more nodes than `full_mesh_max` they are all linked here all the same.
    fn with(count: usize, full_mesh_max: usize, mutants: Mutants) -> Self {
        let mut net = Self {
            nodes: Vec::new(),
            air: VecDeque::new(),
            cut: BTreeSet::new(),
            clock_offsets_millis: vec![0; count],
            done: BTreeMap::new(),
            alarms: Vec::new(),
            over: None,
            mono: MonoMicros(0),
            delay_millis: 1,
            full_mesh_max,
            mutants,
        };
        for index in 0..count {
            net.start(index);
        }
        net
    }

    fn now(&self, node: usize) -> Now {
        let wall = UnixMillis(1_700_000_000_000).plus(self.mono.0 / 1_000);
        Now { mono: self.mono, wall: wall.offset(self.clock_offsets_millis[node]) }
    }

    /// Starts a node, or starts it again without memory.
    fn start(&mut self, index: usize) {
        let config = self.config(index, &format!("n{index}"));
        let fresh = Node::with_mutants(config, self.now(index), self.mutants);
        if index == self.nodes.len() {
            self.nodes.push(fresh);
        } else {
            self.cut_off(index);
            self.nodes[index] = fresh;
        }
        self.connect(index);
    }

    fn config(&self, index: usize, node: &str) -> NodeConfig {
        let id = ReplicaId((index as u64 + 1) << 32 | (self.mono.0 + 1));
        let replica = Replica { node: node.to_owned(), started: self.now(index).wall, id };
        NodeConfig {
            joins: index > 0,
            log_bytes_max: 1 << 20,
            full_mesh_max: self.full_mesh_max,
            ..NodeConfig::new(replica, "test")
        }
    }

    fn connect(&mut self, index: usize) {
        for other in 0..self.nodes.len() {
            if other != index {
                self.link(index, other);
            }
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        self.cut.retain(|pair| *pair != (a, b) && *pair != (b, a));
        let ids = (self.nodes[a].id(), self.nodes[b].id());
        self.input(a, Input::LinkUp(ids.1));
        self.input(b, Input::LinkUp(ids.0));
    }

    fn unlink(&mut self, a: usize, b: usize) {
        if self.cut.insert((a, b)) {
            self.cut.insert((b, a));
            let ids = (self.nodes[a].id(), self.nodes[b].id());
            self.input(a, Input::LinkDown(ids.1));
            self.input(b, Input::LinkDown(ids.0));
            self.air.retain(|(_, from, to, _)| (*from, *to) != (a, b) && (*from, *to) != (b, a));
        }
    }

    fn cut_off(&mut self, index: usize) {
        for other in 0..self.nodes.len() {
            if other != index {
                self.unlink(index, other);
            }
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now(index);
        self.nodes[index].handle(now, input);
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].poll_output() {
            match output {
                Output::Send(to, message) => {
                    let Some(to) = self.nodes.iter().position(|node| node.id() == to) else { continue };
                    if !self.cut.contains(&(index, to)) {
                        let arrives = self.mono.plus_millis(self.delay_millis);
                        self.air.push_back((arrives, index, to, Message::clone(&message)));
                    }
                }
                Output::Done(wait, how) => {
                    self.done.insert((index, wait), how);
                }
                Output::Alarm(alarm) => self.alarms.push((index, alarm)),
                Output::Changed(_) | Output::Unsaved => {}
                Output::StartOver(dropped) => match &mut self.over {
                    Some(over) => over.push((index, *dropped)),
                    None => panic!("n{index} starts over: {dropped:?}"),
                },
                Output::Disconnect(peer, why) => panic!("n{index} disconnects {peer}: {why}"),
            }
        }
    }

    fn run_millis(&mut self, millis: u64) {
        let end = self.mono.plus_millis(millis);
        loop {
            let next_message = self.air.iter().map(|(at, ..)| *at).min();
            let next_tick = self.nodes.iter().map(Node::deadline).min();
            let next = next_message.into_iter().chain(next_tick).min().unwrap_or(end);
            if next > end {
                self.mono = end;
                return;
            }
            self.mono = self.mono.max(next);
            let (due, later): (Vec<_>, Vec<_>) = self.air.drain(..).partition(|(at, ..)| *at <= self.mono);
            self.air = later.into();
            for (_, from, to, message) in due {
                let from = self.nodes[from].id();
                self.input(to, Input::Message(from, message));
            }
            for index in 0..self.nodes.len() {
                if self.nodes[index].deadline() <= self.mono {
                    self.input(index, Input::Tick);
                }
            }
        }
    }

    fn write(&mut self, index: usize, write: &Write) -> crate::core::command::Written {
        let now = self.now(index);
        let written = self.nodes[index].write(now, write).unwrap();
        self.flush(index);
        written
    }

    fn put(&mut self, index: usize, object: &ObjectId, json: &str) -> crate::core::command::Written {
        let tree = Tree::parse(json.as_bytes(), DEPTH_MAX).unwrap();
        self.write(index, &Write::new(object.clone(), Change::Put(tree)))
    }

    fn read(&self, index: usize, object: &ObjectId) -> String {
        match self.nodes[index].look_up(self.now(index), object) {
            Lookup::Found(view) => String::from_utf8(view.body.into()).unwrap(),
            other => format!("{other:?}"),
        }
    }

    fn wait(&mut self, index: usize, wait: Wait, millis: u64) -> Waited {
        let now = self.now(index);
        let waiting = self.nodes[index].wait(now, wait, millis);
        self.flush(index);
        match waiting {
            Ok(waited) => waited,
            Err(id) => {
                for _ in 0..millis + 1 {
                    self.run_millis(1);
                    if let Some(waited) = self.done.remove(&(index, id)) {
                        return waited;
                    }
                }
                panic!("the wait never ended");
            }
        }
    }
}

fn session(key: &str) -> ObjectId {
    ObjectId::new(Kind::Session, key)
}

fn add(by: i64) -> Change {
    Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }])
}

/// Three members that know each other.
fn three() -> Net {
    let mut net = Net::new(3);
    net.run_millis(2_000);
    assert!(net.nodes.iter().all(|node| node.readiness() == Readiness::Ready));
    net
}

#[test]
fn a_write_is_visible_everywhere_after_one_hop() {
    let mut net = three();
    net.put(0, &session("s"), r#"{"a":1}"#);
    net.run_millis(2);
    assert_eq!(net.read(2, &session("s")), r#"{"a":1}"#);
}

#[test]
fn what_is_written_in_one_turn_goes_in_one_message_and_in_its_order() {
    let mut net = three();
    let (now, second, third) = (net.now(0), net.nodes[1].id(), net.nodes[2].id());
    let keys: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let node = &mut net.nodes[0];
    while node.poll_output().is_some() {}
    for (n, key) in keys.iter().enumerate() {
        // In the middle something else is said.
        if n == 25 {
            node.introduce_to(second);
        }
        node.write(
            now,
            &Write::new(session(key), Change::Put(Tree::parse(br#"{"a":1}"#, DEPTH_MAX).unwrap())),
        )
        .unwrap();
    }
    let mut told: BTreeMap<PeerId, Vec<String>> = BTreeMap::new();
    while let Some(output) = node.poll_output() {
        let Output::Send(to, message) = output else { continue };
        told.entry(to).or_default().push(match &*message {
            Message::Ops(ops) => format!("{} operations", ops.len()),
            Message::Hello(_) => "hello".into(),
            Message::Roster(_) => "roster".into(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told[&second], ["25 operations", "hello", "roster", "15 operations"]);
    assert_eq!(told[&third], ["25 operations", "15 operations"]);
}

#[test]
fn a_turn_of_large_writes_goes_in_several_messages() {
    let mut net = three();
    let (now, second) = (net.now(0), net.nodes[1].id());
    let json = format!(r#"{{"a":"{}"}}"#, "x".repeat(10_000));
    let tree = Tree::parse(json.as_bytes(), DEPTH_MAX).unwrap();
    for n in 0..8 {
        net.nodes[0].write(now, &Write::new(session(&format!("s{n}")), Change::Put(tree.clone()))).unwrap();
    }
    let mut counts = Vec::new();
    while let Some(output) = net.nodes[0].poll_output() {
        if let Output::Send(to, message) = output
            && to == second
            && let Message::Ops(ops) = &*message
        {
            counts.push(ops.len());
        }
    }
    assert_eq!(counts, [4, 4]);
}

#[test]
fn a_peer_is_told_of_each_author_in_each_shard_the_latest_only() {
    let mut peer = Peer::new(Replica { node: "p".into(), started: UnixMillis(1), id: ReplicaId(9) });
    for counter in 1..=5_000 {
        for (shard, actor) in [(7, 2), (3, 5), (3, 2)] {
            peer.untell(Progress { shard: ShardId(shard), dot: Dot::new(ReplicaId(actor), counter) });
        }
        assert!(peer.untold.len() <= 256);
    }
    let told = peer.take_untold().into_iter().map(|told| (told.shard.0, told.dot.actor.0, told.dot.counter));
    assert_eq!(told.collect::<Vec<_>>(), [(3, 2, 5_000), (3, 5, 5_000), (7, 2, 5_000)]);
    assert!(peer.take_untold().is_empty());
}

#[test]
fn a_joining_node_serves_nothing_before_it_has_the_state() {
    let mut net = three();
    net.put(0, &session("s"), r#"{"a":1}"#);
    net.run_millis(100);
    net.start(2);
    let now = net.now(2);
    assert_eq!(net.nodes[2].write(now, &Write::new(session("s"), Change::Destroy)), Err(Refusal::NotReady));
    net.run_millis(5_000);
    assert_eq!(net.nodes[2].readiness(), Readiness::Ready);
    assert_eq!(net.read(2, &session("s")), r#"{"a":1}"#);
}

#[test]
fn nodes_that_all_start_empty_agree_on_one_history() {
    let mut net = Net::new(3);
    // All three join somebody: nobody has a memory.
    for index in 0..3 {
        let config = NodeConfig { joins: true, ..net.nodes[index].config.clone() };
        let now = net.now(index);
        net.nodes[index] = Node::new(config, now);
    }
    for index in 0..3 {
        net.connect(index);
    }
    net.run_millis(4_000);
    assert!(net.nodes.iter().all(|node| node.readiness() == Readiness::Ready));
    assert!(net.nodes.iter().all(|node| node.lineage == net.nodes[0].lineage));
}

#[test]
fn an_unknown_session_is_asked_for() {
    let mut net = three();
    net.delay_millis = 150;
    net.put(0, &session("s"), r#"{"a":1}"#);
    assert_eq!(net.read(1, &session("s")), "Unknown");
    let waited = net.wait(1, Wait::Asked(session("s")), 1_000);
    assert!(matches!(waited, Waited::Asked { .. }));
    assert_eq!(net.read(1, &session("s")), r#"{"a":1}"#);
    assert_eq!(net.wait(1, Wait::Asked(session("no")), 1_000), Waited::Asked { by_all: true, ended: false });
    net.cut_off(2);
    assert_eq!(net.wait(1, Wait::Asked(session("no")), 1_000), Waited::Asked { by_all: false, ended: false });
}

#[test]
fn a_process_that_gossips_and_is_in_no_roster_yet_may_know_the_session() {
    let mut net = three();
    let replica = Replica { node: "n9".into(), started: net.now(1).wall, id: ReplicaId(99 << 32) };
    net.input(1, Input::Liveness { replica: replica.clone(), alive: true });
    assert_eq!(net.wait(1, Wait::Asked(session("no")), 1_000), Waited::Asked { by_all: false, ended: false });
    net.input(1, Input::Liveness { replica, alive: false });
    assert_eq!(net.wait(1, Wait::Asked(session("no")), 1_000), Waited::Asked { by_all: true, ended: false });
}

#[test]
fn a_majority_counts_the_dead() {
    let mut net = three();
    let counter = ObjectId::new(Kind::Counter, "c");
    let token = net.write(0, &Write::new(counter.clone(), add(1))).token;
    let majority = Wait::Acks { token, need: Acks::Majority };
    assert_eq!(net.wait(0, majority, 100), Waited::Acks { have: 2, need: 2 });
    net.cut_off(0);
    let token = net.write(0, &Write::new(counter, add(1))).token;
    let majority = Wait::Acks { token, need: Acks::Majority };
    assert_eq!(net.wait(0, majority, 100), Waited::Acks { have: 1, need: 2 });
}

#[test]
fn a_token_is_waited_for_and_the_lack_of_it_is_told() {
    let mut net = three();
    net.delay_millis = 100;
    let token = net.put(0, &session("s"), r#"{"a":1}"#).token;
    assert!(!net.nodes[1].seen(std::slice::from_ref(&token)));
    assert_eq!(net.wait(1, Wait::Seen(vec![token]), 1_000), Waited::Seen);
    net.cut_off(0);
    let token = net.put(0, &session("s"), r#"{"a":2}"#).token;
    assert_eq!(net.wait(1, Wait::Seen(vec![token]), 300), Waited::Behind);
}

#[test]
fn a_partition_heals_and_both_sides_survive() {
    let mut net = three();
    let (s, counter) = (session("s"), ObjectId::new(Kind::Counter, "c"));
    net.put(0, &s, r#"{"a":1}"#);
    net.run_millis(100);
    net.cut_off(2);
    let patch = |json: &str| Change::MergePatch(Tree::parse(json.as_bytes(), DEPTH_MAX).unwrap());
    net.write(0, &Write::new(s.clone(), patch(r#"{"b":2}"#)));
    net.write(2, &Write::new(s.clone(), patch(r#"{"c":3}"#)));
    for by in [1, 2, 3] {
        net.write(0, &Write::new(counter.clone(), add(by)));
        net.write(2, &Write::new(counter.clone(), add(10 * by)));
    }
    net.run_millis(10_000);
    net.connect(2);
    net.run_millis(3_000);
    for index in 0..3 {
        assert_eq!(net.read(index, &s), r#"{"a":1,"b":2,"c":3}"#);
        assert_eq!(net.read(index, &counter), "66");
        let lag: u64 = net.nodes[index].members(net.now(index)).iter().map(|member| member.lag_ops).sum();
        assert_eq!(lag, 0);
    }
    assert!(net.alarms.is_empty(), "{:?}", net.alarms);
}

#[test]
fn a_node_behind_the_log_gets_the_shards() {
    let mut net = three();
    net.cut_off(2);
    for n in 0..300 {
        net.put(0, &session("s"), &format!(r#"{{"n":{n},"filler":"{}"}}"#, "x".repeat(1_000)));
    }
    net.run_millis(1_000);
    net.connect(2);
    net.run_millis(3_000);
    assert!(net.nodes[2].status().figures.states_merged > 0);
    assert!(net.read(2, &session("s")).contains(r#""n":299"#));
}

#[test]
fn an_expired_session_is_gone_at_once_and_destroyed_when_everyone_knows() {
    let mut net = three();
    let write = Write { ttl_millis: Some(2_000), ..Write::new(session("s"), Change::Put(Tree::EMPTY)) };
    net.write(0, &write);
    net.run_millis(2_200);
    assert_eq!(net.read(1, &session("s")), "Ended");
    assert_eq!(net.nodes[1].status().figures.objects, [1, 0, 0, 0]);
    net.run_millis(60_000);
    for node in &net.nodes {
        assert_eq!(node.status().figures.objects, [0; 4]);
        assert_eq!(node.status().figures.log_ops, 0, "what everyone has needs no log");
    }
}

#[test]
fn divergence_is_told_by_both_and_not_mended() {
    let mut net = three();
    net.put(0, &session("s"), r#"{"a":1}"#);
    net.run_millis(1_000);
    net.nodes[1].corrupt(&session("s"));
    net.run_millis(3_000);
    let shard = session("s").shard();
    for index in 0..3 {
        assert!(net.alarms.iter().any(|(node, alarm)| {
            *node == index && matches!(alarm, Alarm::Diverged { shard: told, .. } if *told == shard)
        }));
        assert_eq!(net.nodes[index].status().diverged, [shard]);
    }
    assert_eq!(net.read(0, &session("s")), r#"{"a":1}"#);
}

#[test]
fn a_clock_that_is_an_hour_ahead_is_corrected_and_its_values_do_not_win_for_ever() {
    let mut net = three();
    net.clock_offsets_millis[1] = 3_600_000;
    net.run_millis(2_500);
    assert!(net.nodes[1].status().skew_millis > 3_500_000);
    assert!(net.nodes[1].status().correction_millis < -3_500_000);
    assert_eq!(net.nodes[0].status().correction_millis, 0);
    let document = ObjectId::new(Kind::Document, "d");
    net.put(1, &document, r#"{"by":1}"#);
    net.run_millis(10);
    net.put(0, &document, r#"{"by":0}"#);
    net.run_millis(10);
    net.put(2, &document, r#"{"by":2}"#);
    net.run_millis(10);
    assert_eq!(net.read(1, &document), r#"{"by":2}"#);
}

#[test]
fn a_leaving_node_hands_over_and_is_no_member_any_more() {
    let mut net = three();
    net.put(2, &session("s"), "{}");
    net.input(2, Input::Leave);
    assert_eq!(net.nodes[2].readiness(), Readiness::Leaving);
    net.run_millis(10);
    assert_eq!(net.nodes[2].hand_over(), HandOver::default());
    net.input(2, Input::Farewell);
    net.run_millis(10);
    net.cut_off(2);
    let members = net.nodes[0].members(net.now(0));
    let states: Vec<MemberState> = members.iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::Up, MemberState::Up, MemberState::Left]);
    let counter = ObjectId::new(Kind::Counter, "c");
    let token = net.write(0, &Write::new(counter, add(1))).token;
    assert_eq!(net.wait(0, Wait::Acks { token, need: Acks::All }, 100), Waited::Acks { have: 2, need: 2 });
}

#[test]
fn keys_are_listed_in_pages() {
    let mut net = Net::new(1);
    for n in 0..25 {
        net.put(0, &session(&format!("user:{n:02}")), "{}");
        net.put(0, &session(&format!("x:{n:02}")), "{}");
    }
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = net.nodes[0].list(net.now(0), Kind::Session, "user:", after.as_deref(), 10);
        all.extend(page.keys);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<Box<str>> = (0..25).map(|n| format!("user:{n:02}").into()).collect();
    assert_eq!(all, expected);
}

#[path = "hostile_cases.rs"]
mod review;
#[path = "suspended_cases.rs"]
mod suspended;

#[test]
fn at_the_limit_on_memory_only_growth_is_refused() {
    let mut net = Net::new(2);
    net.run_millis(3_000);
    net.nodes[0].config.memory_bytes_max = Some(100_000);
    let write = |net: &mut Net, node: usize, name: &str, change: Change| {
        let now = net.now(node);
        let written = net.nodes[node].write(now, &Write::new(ObjectId::new(Kind::Document, name), change));
        net.flush(node);
        written
    };
    let put = |text: String| Change::Put(Tree::parse(text.as_bytes(), DEPTH_MAX).unwrap());
    let big = || put(format!("{{\"x\":\"{}\"}}", "y".repeat(2_000)));
    let taken = (0..1_000).take_while(|n| write(&mut net, 0, &format!("d{n}"), big()).is_ok()).count();
    assert!((20..60).contains(&taken), "{taken}");
    assert_eq!(write(&mut net, 0, "another", big()), Err(Refusal::OutOfMemory));
    // What is smaller or goes away is welcome, and what a peer sends is taken.
    write(&mut net, 0, "d0", put("{\"x\":1}".to_owned())).unwrap();
    write(&mut net, 0, "d1", Change::Destroy).unwrap();
    write(&mut net, 1, "theirs", big()).unwrap();
    net.run_millis(3_000);
    let theirs = net.nodes[0].look_up(net.now(0), &ObjectId::new(Kind::Document, "theirs"));
    assert!(matches!(theirs, Lookup::Found(_)), "{theirs:?}");
    for n in 2..taken {
        write(&mut net, 0, &format!("d{n}"), Change::Destroy).unwrap();
    }
    net.run_millis(40_000);
    write(&mut net, 0, "another", big()).unwrap();
    for node in &net.nodes {
        let fresh: u64 = ShardId::all().map(|shard| node.shard(shard).memory_bytes()).sum();
        assert_eq!(node.status().figures.memory_bytes, fresh, "the running total is the sum");
    }
}
#[path = "accused_cases.rs"]
mod accused;
#[path = "crowded_cases.rs"]
mod crowded_cases;
#[path = "day_1000.rs"]
mod day_1000;

#[path = "past_tests.rs"]
mod past_tests;

#[path = "forget_tests.rs"]
mod forget_tests;
#[path = "join_tests.rs"]
mod join_tests;
#[path = "returned_cases.rs"]
mod returned;
#[path = "succession_tests.rs"]
mod succession_tests;
