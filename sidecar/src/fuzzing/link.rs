//! A link on which failures are rehearsed.

use std::collections::VecDeque;
use std::time::Duration;

use super::messages::{feed, linked, now};
use crate::api::fuzzed::chaos_document;
use crate::core::identity::ShardId;
use crate::core::node::Input;
use crate::net::Faults;
use crate::wire::{Decoder, Format, Guard, Incoming, Version};

/// The longest delay that may be rehearsed.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// A chaos document, a byte `1e`, and a stream, which comes in pieces through the faults that the document says.
///
/// A document is taken only within its bounds; each message is lost or comes, in order; the node behind the link holds.
pub(super) fn link(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0x1e);
    let document = parts.next().unwrap_or_default();
    let faults = Faults::default();
    if let Some(wanted) = chaos_document(document) {
        for (_, fault) in &wanted {
            assert!((0.0..=1.0).contains(&fault.loss) && fault.delay_millis <= DELAY_MAX.as_millis() as u64);
        }
        faults.replace(wanted);
    }
    let Some(stream) = parts.next() else { return };
    let mut node = linked();
    let mut decoder =
        Decoder::with_limit(Format { version: Version::OLDEST, guard: Guard::Transport }, 1 << 20);
    let (mut step, mut line) = (0, VecDeque::new());
    for piece in stream.chunks(211) {
        decoder.push(piece);
        while let Ok(Some(Incoming::Message(message))) = decoder.next_message() {
            step += 1;
            let fault = faults.of("peer");
            match faults.fate("peer") {
                None => assert!(fault.blocked || fault.loss > 0.0),
                Some(late) => {
                    assert!(!fault.blocked && late <= DELAY_MAX);
                    line.push_back((step + late.as_millis() as u64 / 50, message));
                }
            }
            while line.front().is_some_and(|(due, _)| *due <= step) {
                line.pop_front().into_iter().for_each(|(_, message)| feed(&mut node, now(step), *message));
            }
            while node.poll_output().is_some() {}
        }
    }
    for (due, message) in line {
        step = step.max(due);
        node.handle(now(step), Input::Tick);
        feed(&mut node, now(step), *message);
    }
    for shard in ShardId::all().map(|shard| node.shard(shard)) {
        assert_eq!(shard.digest(), shard.recomputed_digest());
    }
}
