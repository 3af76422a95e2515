//! Bytes of a stream.

use crate::wire::{Budget, Decoder, Format, Guard, Incoming, Version, WireError, encode};

/// What a decoder takes at most here: small, so that a fuzzer's memory does.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The first byte says how the stream is guarded, in which version it is, and in which pieces it comes; the rest is the stream.
///
/// What comes in pieces is what comes in one piece; an error lasts; a message survives its own encoding; room is given back.
pub(super) fn wire(data: &[u8]) {
    let Some((how, stream)) = data.split_first() else { return };
    let guard = if how & 1 == 0 { Guard::Transport } else { Guard::Checksum };
    let version = if how & 2 == 0 { Version::OLDEST } else { Version::NEWEST };
    let format = Format { version, guard };
    let whole = decode(format, stream, stream.len().max(1));
    let pieces = decode(format, stream, 1 + usize::from(how >> 2));
    assert_eq!(whole, pieces, "the pieces of a stream decide what it says");
    for incoming in whole.0 {
        match incoming {
            Incoming::Message(message) => {
                let mut bytes = Vec::new();
                encode(&message, format, &mut bytes).expect("what has come is not too long to go");
                let again = decode(format, &bytes, bytes.len());
                assert_eq!(again, (vec![Incoming::Message(message)], Ok(())));
            }
            Incoming::Refusal(why) => assert!(!why.contains(char::is_control)),
        }
    }
}

fn decode(format: Format, stream: &[u8], piece: usize) -> (Vec<Incoming>, Result<(), WireError>) {
    let budget = Budget::new(4 * MESSAGE_BYTES_MAX);
    let mut decoder = Decoder::with_limit(format, MESSAGE_BYTES_MAX).share(&budget);
    let mut all = Vec::new();
    for piece in stream.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_message(), Err(error));
                    assert_eq!(budget.used(), 0);
                    return (all, Err(error));
                }
            }
        }
    }
    let end = decoder.finish();
    drop(decoder);
    assert_eq!(budget.used(), 0);
    (all, end)
}
