//! Operations and states: nearly all that goes between nodes. Both are kept in the encoding in which they travel; here
//! bytes are copied, and those of operations kept as they came. The layout is that of any other message.

use bytes::Bytes;

use crate::core::message::Message;
use crate::core::packed::PackedOp;
use crate::core::shard::ShardState;

/// Their numbers among the variants: golden bytes hold them.
const OPS: u8 = 2;
const STATE: u8 = 7;
const RELAY: u8 = 13;

/// Appends the body of such a message. `false` for any other.
pub(super) fn append(message: &Message, out: &mut Vec<u8>) -> bool {
    match message {
        Message::Ops(ops) => append_each(ops.iter(), out),
        Message::Relay { ops, until } => {
            append_ops(RELAY, ops.iter(), out);
            append_varint(*until, out);
        }
        Message::State(state) => {
            out.push(STATE);
            state.append_to(out);
        }
        _ => return false,
    }
    true
}

/// Appends the body of one message with all of these operations.
pub(super) fn append_each<'a>(ops: impl Iterator<Item = &'a PackedOp> + Clone, out: &mut Vec<u8>) {
    append_ops(OPS, ops, out);
}

fn append_ops<'a>(variant: u8, ops: impl Iterator<Item = &'a PackedOp> + Clone, out: &mut Vec<u8>) {
    let (count, bytes) = ops.clone().fold((0, 0), |(count, bytes), op| (count + 1, bytes + op.bytes().len()));
    out.push(variant);
    append_varint(count, out);
    out.reserve(bytes);
    for op in ops {
        out.extend_from_slice(op.bytes());
    }
}

fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Whether a body is that of operations.
pub(super) fn is_ops(body: &[u8]) -> bool {
    matches!(body.first(), Some(&(OPS | RELAY)))
}

/// Reads a state, all of it: `None` where the body is that of another message, or malformed.
pub(super) fn read_state(body: &[u8]) -> Option<Message> {
    let (&STATE, rest) = body.split_first()? else { return None };
    Some(Message::State(Box::new(ShardState::read(rest)?)))
}

/// Reads operations, all of them; `None` where they are malformed.
pub(super) fn read(mut body: Bytes) -> Option<Message> {
    let variant = *body.first()?;
    let (count, rest) = postcard::take_from_bytes::<u64>(&body[1..]).ok()?;
    body = body.slice_ref(rest);
    // Nothing is reserved for what is only announced.
    let mut ops = Vec::new();
    for _ in 0..count {
        ops.push(PackedOp::split_from(&mut body)?);
    }
    if variant == OPS {
        return body.is_empty().then_some(Message::Ops(ops));
    }
    match postcard::take_from_bytes(&body) {
        Ok((until, [])) => Some(Message::Relay { ops, until }),
        _ => None,
    }
}
