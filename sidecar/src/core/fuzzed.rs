//! What a fuzzer does to stored records, and a node for those whose peer may say anything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::identity::{Dot, Replica, ReplicaId};
use super::message::{Hello, Message};
use super::node::{Input, Node, NodeConfig};
use super::path::Path;
use super::record::{Body, NewRecord, Origin, Text, decode};
use super::records::Records;
use super::time::{Hlc, MonoMicros, Now, UnixMillis};

/// The peer that may say anything.
pub const PEER: ReplicaId = ReplicaId(77);

/// Each step takes 50 ms.
#[must_use]
pub fn now(step: u64) -> Now {
    Now { mono: MonoMicros(step * 50_000), wall: UnixMillis(1_700_000_000_000 + step * 50) }
}

/// A node with one linked member.
#[must_use]
pub fn linked() -> Node {
    let config = NodeConfig {
        bootstrap_millis: 1_000,
        lineage: 5,
        log_bytes_max: 1 << 20,
        ..NodeConfig::new(Replica { node: "n".into(), started: UnixMillis(1), id: ReplicaId(7) }, "c")
    };
    let mut node = Node::new(config, now(0));
    node.handle(now(0), Input::LinkUp(PEER));
    let replica = Replica { node: "peer".into(), started: UnixMillis(1), id: PEER };
    let hello = Hello { replica, cluster: "c".into(), fresh: false, lineage: 5 };
    node.handle(now(0), Input::Message(PEER, Message::Hello(hello)));
    node
}

/// One byte that picks what is looked for, then the bytes of a life's records.
///
/// What is valid can be read, searched and changed; it stays in order and valid, and travels as it is.
///
/// # Panics
/// A rule does not hold.
pub fn records(data: &[u8]) {
    let Some((pick, bytes)) = data.split_first() else { return };
    let origin = Origin { life: Dot::new(ReplicaId(9), 1), created: Hlc(77) };
    let mut rest = bytes;
    while let Some((record, after)) = decode(origin, rest) {
        assert_eq!(record.bytes.len() + after.len(), rest.len());
        rest = after;
    }
    let Some(mut stored) = Records::cut(bytes) else { return };
    let sound = stored.examine(origin, |_| {});
    let count = stored.iter(origin).count();
    let mut again = Vec::new();
    stored.append_to(&mut again);
    assert_eq!(again, bytes, "records do not travel as they are");
    if !sound {
        return;
    }
    let name = char::from(pick & 0x7f).to_string();
    let path = Path::of([&*name]);
    let below = stored.range(origin, path.as_bytes()).count();
    let expected = stored.iter(origin).filter(|record| record.key.starts_with(path.as_bytes())).count();
    assert_eq!(below, expected, "a search misses records");
    let (dot, hlc) = (Dot::new(ReplicaId(5), u64::from(*pick) + 1), Hlc(99));
    let new = NewRecord::new(origin, path.as_bytes(), Body::Register(Text::new("1")), dot, hlc);
    let mut replaced = 0;
    stored.insert(origin, vec![new], |_| replaced += 1);
    assert!(stored.examine(origin, |_| {}), "an insertion spoils it");
    assert_eq!(stored.iter(origin).count(), count + 1 - replaced);
    let mut removed = 0;
    stored.remove_range(origin, path.as_bytes(), |_| true, |_| removed += 1);
    assert_eq!(removed, below + 1 - replaced);
    assert!(stored.examine(origin, |_| {}), "a removal spoils it");
    assert_eq!(stored.iter(origin).count(), count - below);
}
