//! What a node says, and believes, of what is on disks. Random histories stand in `check`.

use super::*;
use crate::core::command::{Acks, Change, Lookup, PathOp, Readiness, Refusal, Wait, Write};
use crate::core::identity::Kind;
use crate::core::path::Path;
use crate::core::time::UnixMillis;
use crate::core::value::Tree;

fn at(millis: u64) -> Now {
    Now { mono: MonoMicros(millis * 1_000), wall: UnixMillis(1_700_000_000_000 + millis) }
}

fn node(id: u64, now: Now) -> Node {
    let replica = Replica { node: format!("n{id}"), started: now.wall, id: ReplicaId(id) };
    // Of one history, as if the one had taken the other's state.
    let mut node = Node::new(NodeConfig { lineage: 7, ..NodeConfig::new(replica, "c") }, now);
    node.keep_on_disk();
    node
}

/// Two linked nodes with disks; what is on its way from the second to the first may be lost.
struct Pair {
    nodes: [Node; 2],
    millis: u64,
    done: Vec<Waited>,
    /// How many words of what the second has saved are lost from now on.
    lose: usize,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self { nodes: [node(1, at(1)), node(2, at(1))], millis: 1, done: Vec::new(), lose: 0 };
        pair.input(0, Input::LinkUp(ReplicaId(2)));
        pair.input(1, Input::LinkUp(ReplicaId(1)));
        pair.pass(3_000);
        pair
    }

    /// The first has come back with a backup, the second has no memory.
    fn of_a_backup_and_a_fresh_node() -> Self {
        let mut before = Self::new();
        before.write();
        let image = |shard| Shard::from_state(shard, before.nodes[0].shard(shard).state()).unwrap();
        let shards = ShardId::all().map(image).collect();
        let saved = before.nodes[0].saved_node();
        let saved = SavedNode { roster: Vec::new(), ..saved };
        let replica = Replica { node: "n9".into(), started: at(9_000).wall, id: ReplicaId(1) };
        let config = NodeConfig { lineage: 8, ..NodeConfig::new(replica, "c") };
        let restored = Restored { shards, node: saved, is_current: false, is_awaited: false };
        let restored = Node::restore(NodeConfig { joins: true, ..config }, at(9_000), restored);
        let replica = Replica { node: "n2".into(), started: at(9_000).wall, id: ReplicaId(2) };
        let config = NodeConfig { lineage: 9, joins: true, ..NodeConfig::new(replica, "c") };
        let fresh = Node::new(config, at(9_000));
        let mut pair = Self { nodes: [restored, fresh], millis: 9_000, done: Vec::new(), lose: 0 };
        pair.input(0, Input::LinkUp(ReplicaId(2)));
        pair.input(1, Input::LinkUp(ReplicaId(1)));
        pair
    }

    fn input(&mut self, to: usize, input: Input) {
        self.nodes[to].handle(at(self.millis), input);
        self.pump();
    }

    fn pump(&mut self) {
        while let Some((from, output)) = self.next() {
            match output {
                Output::Send(_, message) => {
                    let told = matches!(&*message, Message::Saved { progress, .. } if !progress.is_empty());
                    if told && from == 1 && self.lose > 0 {
                        self.lose -= 1;
                        continue;
                    }
                    let input = Input::Message(ReplicaId(from as u64 + 1), Message::clone(&message));
                    self.nodes[1 - from].handle(at(self.millis), input);
                }
                Output::Done(_, how) => self.done.push(how),
                Output::Alarm(alarm) => panic!("{alarm:?}"),
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Option<(usize, Output)> {
        (0..2).find_map(|from| Some((from, self.nodes[from].poll_output()?)))
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.millis += 50;
            self.input(0, Input::Tick);
            self.input(1, Input::Tick);
        }
    }

    fn save(&mut self, of: usize) {
        let unsaved = self.nodes[of].take_unsaved(&[]);
        let time = self.nodes[of].saved_node().time;
        let shards = unsaved.into_iter().map(|saved| (saved.shard, saved.clock)).collect();
        self.input(of, Input::Saved(shards, time));
    }

    fn write(&mut self) -> crate::core::token::Token {
        let change = Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by: 1 }]);
        let write = Write::new(ObjectId::new(Kind::Counter, "c"), change);
        let written = self.nodes[0].write(at(self.millis), &write).unwrap();
        self.pump();
        written.token
    }

    fn wait(&mut self, wait: Wait) {
        assert!(self.nodes[0].wait(at(self.millis), wait, 30_000).is_err(), "it is to be waited for");
        self.pump();
    }
}

#[test]
fn nothing_counts_as_kept_before_it_is_saved() {
    let mut pair = Pair::new();
    let token = pair.write();
    pair.wait(Wait::Saved(token.clone()));
    pair.wait(Wait::Acks { token, need: Acks::All });
    pair.pass(2_000);
    assert_eq!(pair.done, [], "both have applied it, and nobody has saved it");
    pair.save(0);
    assert_eq!(pair.done, [Waited::Seen]);
    pair.save(1);
    assert_eq!(pair.done, [Waited::Seen, Waited::Acks { have: 2, need: 2 }]);
}

#[test]
fn a_lost_word_of_what_is_saved_is_asked_for() {
    let mut pair = Pair::new();
    let token = pair.write();
    pair.save(0);
    pair.wait(Wait::Acks { token, need: Acks::All });
    pair.lose = 1;
    pair.save(1);
    assert_eq!((pair.lose, pair.done.len()), (0, 0), "it was lost");
    pair.pass(2_000);
    assert_eq!(pair.done, [Waited::Acks { have: 2, need: 2 }]);
}

#[test]
fn a_disk_that_refuses_makes_a_node_read_only_until_it_takes_all_again() {
    let mut pair = Pair::new();
    let token = pair.write();
    pair.wait(Wait::Saved(token));
    let unsaved = pair.nodes[0].take_unsaved(&[]);
    let shards: Vec<ShardId> = unsaved.iter().map(|unsaved| unsaved.shard).collect();
    pair.input(0, Input::NotSaved(shards.clone(), DiskHealth::Full));
    assert_eq!(pair.done, [Waited::Behind], "nobody waits for a disk that is full");
    let change = Change::Put(Tree::EMPTY);
    let write = Write::new(ObjectId::new(Kind::Document, "d"), change);
    assert_eq!(pair.nodes[0].write(at(pair.millis), &write).unwrap_err(), Refusal::DiskFull);
    // What may be there in part is written anew, whole.
    let again = pair.nodes[0].take_unsaved(&[]);
    assert!(again.iter().any(|unsaved| unsaved.shard == shards[0]));
    assert!(again.iter().all(|unsaved| matches!(unsaved.content, UnsavedContent::Image(_))));
    let saved = again.into_iter().map(|saved| (saved.shard, saved.clock)).collect();
    pair.input(0, Input::Saved(saved, UnixMillis(0)));
    assert!(pair.nodes[0].write(at(pair.millis), &write).is_ok());
}

/// A disk that stands still costs a bounded amount of memory.
#[test]
fn what_waits_for_a_slow_disk_is_bounded_and_nothing_is_missing() {
    let mut pair = Pair::new();
    let text = "x".repeat(900_000);
    for n in 0..90 {
        let tree = Tree::parse(format!("{{\"a\":\"{text}\"}}").as_bytes(), 8).unwrap();
        let write = Write::new(ObjectId::new(Kind::Document, &format!("d{n}")), Change::Put(tree));
        pair.nodes[0].write(at(pair.millis), &write).unwrap();
        while pair.nodes[0].poll_output().is_some() {}
        assert!(pair.nodes[0].unsaved_bytes() <= (64 << 20) + 1_000_000);
    }
    let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
    let mut images = 0;
    loop {
        let unsaved = pair.nodes[0].take_unsaved(&[]);
        if unsaved.is_empty() {
            break;
        }
        for UnsavedShard { shard, content, .. } in unsaved {
            match content {
                UnsavedContent::Image(state) => {
                    images += 1;
                    shards.insert(shard, Shard::from_state(shard, *state).unwrap());
                }
                UnsavedContent::Ops(ops) => {
                    let shard = shards.entry(shard).or_insert_with(|| Shard::new(shard));
                    ops.into_iter().for_each(|op| drop(shard.receive(op.open().unwrap())));
                }
            }
        }
    }
    assert!(images > 0, "the bound was reached");
    for shard in ShardId::all() {
        let ours = pair.nodes[0].shard(shard).digest();
        let saved = shards.get(&shard).map_or_else(Default::default, Shard::digest);
        assert_eq!(ours, saved, "{shard:?}");
    }
}

/// It would else count as a member of no history, and its peers would never give it what theirs has.
#[test]
fn a_fresh_node_waits_until_whoever_brings_a_backup_has_found_its_history() {
    let mut pair = Pair::of_a_backup_and_a_fresh_node();
    pair.pass(4_000);
    assert_eq!(pair.nodes[0].readiness(), Readiness::SeekingSponsor);
    assert_eq!(
        pair.nodes[1].readiness(),
        Readiness::SeekingSponsor,
        "it neither follows it nor starts alone"
    );
    pair.pass(6_000);
    let counter = ObjectId::new(Kind::Counter, "c");
    for node in &pair.nodes {
        assert_eq!(node.readiness(), Readiness::Ready);
        assert_eq!(node.lineage, 8, "they have one history");
        assert!(matches!(node.look_up(at(pair.millis), &counter), Lookup::Found(_)));
    }
}

/// What the others have may be more than what is on the disk: a moment is worth waiting for.
#[test]
fn who_comes_back_and_hears_others_does_not_go_on_alone_before_they_have_said_who_they_are() {
    let mut pair = Pair::of_a_backup_and_a_fresh_node();
    pair.input(0, Input::LinkDown(ReplicaId(2)));
    let other = Replica { node: "n2".into(), started: at(9_000).wall, id: ReplicaId(2) };
    let ready_after = |mut pair: Pair, hears: bool| {
        let alive = hears;
        pair.nodes[0].handle(at(pair.millis), Input::Liveness { replica: other.clone(), alive });
        let from = pair.millis;
        while pair.nodes[0].readiness() != Readiness::Ready {
            pair.millis += 50;
            pair.nodes[0].handle(at(pair.millis), Input::Tick);
            while pair.nodes[0].poll_output().is_some() {}
        }
        pair.millis - from
    };
    assert_eq!(ready_after(pair, true), 10_000, "it hears somebody who has not said hello");
    let mut pair = Pair::of_a_backup_and_a_fresh_node();
    pair.input(0, Input::LinkDown(ReplicaId(2)));
    assert_eq!(ready_after(pair, false), 5_000, "it hears nobody");
}
