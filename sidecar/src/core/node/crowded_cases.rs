//! A peer whose clocks name more processes than any cluster has: its link is closed, and nothing is filled with them.

use super::super::exchange::CROWDED;
use super::*;
use crate::core::identity::Clock;
use crate::core::limits::{CLOCK_IDS_HEARD_MAX, CLOCK_IDS_MAX};
use crate::core::message::{Progress, ShardClock};

/// Ids that nobody has, from one on.
fn strangers(first: u64, count: usize) -> impl Iterator<Item = Dot> {
    (first..).take(count).map(|id| Dot::new(ReplicaId(1 << 60 | id), 1))
}

impl Net {
    /// What a node hears of a liar. Gives whether it will have nothing more to do with it.
    fn hear(&mut self, liar: ReplicaId, message: Message) -> bool {
        let now = self.now(0);
        self.nodes[0].handle(now, Input::Message(liar, message));
        let mut parted = false;
        let outputs: Vec<Output> = std::iter::from_fn(|| self.nodes[0].poll_output()).collect();
        for output in outputs {
            match output {
                Output::Disconnect(peer, why) => {
                    assert_eq!((peer, why), (liar, CROWDED));
                    parted = true;
                }
                Output::Send(..) | Output::Done(..) | Output::Changed(_) => {}
                other => panic!("{other:?}"),
            }
        }
        parted
    }

    fn named_of(&self, liar: ReplicaId, shard: ShardId) -> usize {
        self.nodes[0].peers.get(&liar).map_or(0, |peer| peer.known.named(shard))
    }
}

fn clocks(shard: ShardId, dots: impl Iterator<Item = Dot>) -> Message {
    Message::Clocks(vec![ShardClock { shard, clock: dots.collect() }])
}

#[test]
fn a_peer_whose_clock_names_too_many_is_parted_with_at_once() {
    let mut net = three();
    let (liar, shard) = (net.nodes[2].id(), ShardId(7));
    let before = net.named_of(liar, shard);
    assert!(!net.hear(liar, clocks(shard, strangers(0, CLOCK_IDS_HEARD_MAX - before))), "so many may be");
    assert!(net.hear(liar, clocks(shard, strangers(CLOCK_IDS_HEARD_MAX as u64, 1))));
    assert_eq!(net.named_of(liar, shard), CLOCK_IDS_HEARD_MAX);
    assert!(!net.hear(liar, clocks(shard, strangers(0, 10))), "what it has said already");
    assert_eq!(net.nodes[0].status().figures.clocks_refused, 1);
    net.put(1, &session("s"), "{}");
    net.run_millis(10);
    assert_eq!(net.read(0, &session("s")), "{}", "others are not affected");
}

#[test]
fn nor_does_it_help_to_name_them_a_few_at_a_time() {
    let mut net = three();
    let (liar, shard) = (net.nodes[2].id(), ShardId(7));
    for say in [Message::Applied, |progress| Message::Saved { progress, sum: 0 }] {
        let refused = net.nodes[0].status().figures.clocks_refused;
        let pieces = strangers(0, CLOCK_IDS_HEARD_MAX + 1_000).collect::<Vec<_>>();
        let mut pieces = pieces.chunks(1_000).map(|dots| {
            let progress = dots.iter().map(|dot| Progress { shard, dot: *dot }).collect();
            say(progress)
        });
        assert!(pieces.any(|piece| net.hear(liar, piece)));
        assert_eq!(net.nodes[0].status().figures.clocks_refused, refused + 1);
        assert!(net.named_of(liar, shard) <= CLOCK_IDS_HEARD_MAX);
    }
}

#[test]
fn a_clock_takes_so_many_authors_and_no_others_but_this_node() {
    let mut net = Net::new(2);
    net.run_millis(2_000);
    let shard = session("s").shard();
    let full: Clock = strangers(0, CLOCK_IDS_MAX).collect();
    let mut crowded = Shard::new(shard);
    let mut state = crowded.state();
    state.clock = full;
    crowded.merge_state(state.clone()).unwrap();
    net.nodes[0].shards[shard.index()] = crowded;
    let figures = net.nodes[0].status().figures;
    assert_eq!(figures.clock_entries, figures.clock_ids_max, "the bound is reached");
    // Of this node, and not of the other one, nor by a state.
    net.put(0, &session("s"), "{}");
    net.put(1, &session("s"), r#"{"a":1}"#);
    net.run_millis(2);
    assert_eq!(net.read(0, &session("s")), "{}");
    let clock = net.nodes[0].shard(shard).clock();
    assert_eq!((clock.len(), clock.get(&net.nodes[1].id())), (CLOCK_IDS_MAX + 1, 0));
    state.clock = strangers(CLOCK_IDS_MAX as u64, 1).collect();
    assert!(net.nodes[0].shard_mut(shard).merge_state(state).is_err());
    // Elsewhere nothing has changed.
    let other = (0..).map(|n| session(&format!("s{n}"))).find(|id| id.shard() != shard).unwrap();
    net.put(1, &other, r#"{"b":1}"#);
    net.run_millis(2);
    assert_eq!(net.read(0, &other), r#"{"b":1}"#);
}
