//! Messages that are nothing but operations: most of what goes between nodes. Each operation is encoded once, by its
//! author; here its bytes are copied, and kept as they came. The layout is that of any other message.

use bytes::Bytes;

use crate::core::message::Message;
use crate::core::packed::PackedOp;

/// `Message::Ops` and `Message::Relay` among the variants: golden bytes hold them.
const OPS: u8 = 2;
const RELAY: u8 = 13;

/// Appends the body of such a message. `false` for any other.
pub(super) fn append(message: &Message, out: &mut Vec<u8>) -> bool {
    match message {
        Message::Ops(ops) => append_ops(OPS, ops, out),
        Message::Relay { ops, until } => {
            append_ops(RELAY, ops, out);
            append_varint(*until, out);
        }
        _ => return false,
    }
    true
}

fn append_ops(variant: u8, ops: &[PackedOp], out: &mut Vec<u8>) {
    out.push(variant);
    append_varint(ops.len() as u64, out);
    out.reserve(ops.iter().map(|op| op.bytes().len()).sum());
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

/// Whether a body is that of such a message.
pub(super) fn is_ops(body: &[u8]) -> bool {
    matches!(body.first(), Some(&(OPS | RELAY)))
}

/// Reads such a message, all of it; `None` where it is malformed.
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
