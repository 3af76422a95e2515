//! Messages of a peer that may say anything.

use crate::core::command::{Change, Lookup, Write};
use crate::core::fuzzed::PEER;
pub(super) use crate::core::fuzzed::{linked, now};
use crate::core::identity::{Kind, ObjectId, ShardId};
use crate::core::message::Message;
use crate::core::node::{Input, Node};
use crate::core::time::Now;
use crate::core::value::Tree;
use crate::wire::{Decoder, Guard, Incoming, PREFIX_BYTES, Version};

/// Frames of messages: two bytes of length, the message. A node takes whatever parses.
///
/// It does not panic, its digests are those of what it stores, and it goes on to serve.
pub(super) fn messages(data: &[u8]) {
    let mut node = linked();
    let mut rest = data;
    let mut step = 0;
    while let Some(payload) = split(&mut rest) {
        step += 1;
        if let Some(message) = parsed(payload) {
            feed(&mut node, now(step), message);
        }
        if step % 8 == 0 {
            node.handle(now(step), Input::Tick);
        }
        while node.poll_output().is_some() {}
    }
    for shard in ShardId::all().map(|shard| node.shard(shard)) {
        assert_eq!(shard.digest(), shard.recomputed_digest(), "of shard {:?}", shard.id());
    }
    let _ = (node.members(now(step)), node.status(), node.hand_over());
    let login = ObjectId::new(Kind::Session, "somebody else");
    // A hostile member may have hidden every session that is to come.
    if node.write(now(step), &Write::new(login.clone(), Change::Put(Tree::EMPTY))).is_ok() {
        assert!(!matches!(node.look_up(now(step), &login), Lookup::Ended));
    }
}

pub(super) fn feed(node: &mut Node, now: Now, message: Message) {
    node.handle(now, Input::Message(PEER, message));
}

/// The next frame's payload.
fn split<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<2>()?;
    let (payload, after) = after.split_at(usize::from(u16::from_le_bytes(*len)).min(after.len()));
    *rest = after;
    Some(payload)
}

/// As it would come over a stream: the same checks.
fn parsed(payload: &[u8]) -> Option<Message> {
    let mut frame = (payload.len() as u32 + 1).to_le_bytes().to_vec();
    frame.push(Version::NEWEST.number() << 4);
    debug_assert_eq!(frame.len(), PREFIX_BYTES);
    frame.extend_from_slice(payload);
    let mut decoder = Decoder::new(Guard::Transport);
    decoder.push(&frame);
    match decoder.next_message() {
        Ok(Some(Incoming::Message(message))) => Some(*message),
        _ => None,
    }
}
