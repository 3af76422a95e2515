use std::sync::Arc;

use proptest::prelude::*;

use super::samples::{messages, one_field_update};
use super::*;
use crate::core::identity::{Dot, Kind, ObjectId, ReplicaId};
use crate::core::message::Message;

const SMALL: WireSettings = WireSettings { frame_bytes_max: 100, message_bytes_max: 4_000, checked: true };

fn encode(settings: WireSettings, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(settings).message(message, &mut out).unwrap();
    out
}

/// Everything in these bytes, given in pieces of this length.
fn decode(settings: WireSettings, bytes: &[u8], piece: usize) -> Result<Vec<Received>, WireError> {
    let mut decoder = Decoder::new(settings);
    let mut all = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        while let Some(received) = decoder.next()? {
            all.push(received);
        }
    }
    decoder.finish()?;
    Ok(all)
}

fn keys(count: usize) -> Message {
    let op = |counter: u64| Arc::new(one_field_update(counter + 2));
    Message::Ops((0..count as u64).map(op).collect())
}

#[test]
fn every_message_survives_in_pieces_of_any_length() {
    for checked in [true, false] {
        for settings in
            [WireSettings { checked, ..WireSettings::default() }, WireSettings { checked, ..SMALL }]
        {
            for (name, message) in messages() {
                let bytes = encode(settings, &message);
                for piece in [1, 7, usize::MAX] {
                    let received = decode(settings, &bytes, piece);
                    assert_eq!(received, Ok(vec![Received::Message(message.clone())]), "{name}");
                }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of version 1, for ever. A change of these lines breaks every rolling upgrade: it takes a new version.
/// Frames too short to be compressed: which bytes a compressor chooses is its own affair.
#[test]
fn golden_bytes() {
    let settings = WireSettings { frame_bytes_max: 200, ..WireSettings::default() };
    let golden = include_str!("golden/v1.txt");
    let mut now = String::new();
    for (name, message) in messages() {
        now += &format!("{name} {}\n", hex(&encode(settings, &message)));
    }
    let mut encoder = Encoder::new(settings);
    let (mut goodbye, mut keepalive) = (Vec::new(), Vec::new());
    encoder.goodbye("another cluster's name", &mut goodbye);
    encoder.keepalive(&mut keepalive);
    now += &format!("goodbye {}\nkeepalive {}\n", hex(&goodbye), hex(&keepalive));
    for (old, new) in golden.lines().zip(now.lines()) {
        assert_eq!(old, new);
    }
    assert_eq!(golden, now, "\n{now}");
}

/// As written by version 1; what a writer makes of the same message today may be shorter.
#[test]
fn golden_compressed_bytes_are_still_read() {
    let bytes = unhex(include_str!("golden/v1-compressed.txt").trim());
    let ops = messages().into_iter().find(|(name, _)| *name == "ops-all-actions").unwrap().1;
    assert_eq!(decode(WireSettings::default(), &bytes, 64), Ok(vec![Received::Message(ops)]));
}

#[test]
fn one_field_of_a_session_costs_less_than_150_bytes() {
    let settings = WireSettings { checked: false, ..WireSettings::default() };
    let bytes = encode(settings, &Message::Ops(vec![Arc::new(one_field_update(1_000))])).len();
    // An encrypted record adds two bytes of length and sixteen of authentication.
    assert!(bytes + 18 < 150, "{bytes}");
}

#[test]
fn the_length_is_known_without_encoding() {
    let settings = WireSettings { checked: false, frame_bytes_max: 1 << 20, ..WireSettings::default() };
    for (name, message) in messages().into_iter().filter(|(_, message)| encoded_len(message) < 256) {
        let framed = encode(settings, &message).len();
        assert!((2..=3).contains(&(framed - encoded_len(&message))), "{name}");
    }
}

#[test]
fn long_messages_are_compressed_and_go_over_several_frames() {
    let message = keys(20);
    let plain = encoded_len(&message);
    let bytes = encode(WireSettings::default(), &message);
    assert!(plain > 2_000 && bytes.len() < plain / 2, "{plain} to {}", bytes.len());
    let bytes = encode(SMALL, &message);
    assert!(bytes.len() > plain, "frames of 100 bytes are not compressed");
    assert_eq!(decode(SMALL, &bytes, 33), Ok(vec![Received::Message(message)]));
}

#[test]
fn what_is_too_long_is_neither_sent_nor_taken() {
    let message = keys(50);
    let mut out = Vec::new();
    let sent = Encoder::new(SMALL).message(&message, &mut out);
    assert_eq!((sent, out.len()), (Err(TooLong { bytes: encoded_len(&message) }), 0));

    let generous = WireSettings { message_bytes_max: 1 << 20, ..SMALL };
    let taken = decode(SMALL, &encode(generous, &message), 1 << 16);
    assert!(matches!(taken, Err(WireError::Oversized { max: 4_000, .. })), "{taken:?}");

    let long_frames = WireSettings { frame_bytes_max: 2_000, ..SMALL };
    let taken = decode(SMALL, &encode(long_frames, &keys(20)), 1 << 16);
    assert!(matches!(taken, Err(WireError::Oversized { .. })), "{taken:?}");
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    for claimed in [200, 4_000, 1 << 27] {
        let mut body = Vec::new();
        frame::write_length(claimed, &mut body);
        body.extend(lz4_flex::block::compress(&vec![0; claimed.min(1 << 20)]));
        body.truncate(90);
        let flags = frame::COMPRESSED | frame::CHECKED;
        let mut bytes = Vec::new();
        frame::write_header(flags, body.len(), &mut bytes);
        bytes.extend_from_slice(&body);
        bytes.extend(frame::checksum(flags, &body));
        assert_eq!(decode(SMALL, &bytes, 50), Err(WireError::Oversized { bytes: claimed, max: 100 }));
    }
}

#[test]
fn a_message_that_never_ends_is_refused() {
    let flags = frame::CONTINUED | frame::CHECKED;
    let mut bytes = Vec::new();
    frame::write_header(flags, 0, &mut bytes);
    bytes.extend(frame::checksum(flags, &[]));
    assert_eq!(decode(SMALL, &bytes.repeat(1_000), 64), Err(WireError::Header));
}

#[test]
fn errors_say_what_is_wrong_and_stay() {
    let bytes = encode(SMALL, &Message::Leave);
    assert_eq!(decode(SMALL, &bytes[..bytes.len() - 1], 64), Err(WireError::Truncated));
    assert_eq!(decode(SMALL, &[0x21, 0], 64), Err(WireError::UnknownVersion { version: 2 }));
    assert_eq!(decode(SMALL, b"GET / HTTP/1.1\r\n", 64), Err(WireError::UnknownVersion { version: 4 }));
    assert_eq!(decode(SMALL, &[0x18, 0xff, 0xff, 0xff, 0xff, 0], 64), Err(WireError::Header));
    let unchecked = encode(WireSettings { checked: false, ..SMALL }, &Message::Leave);
    assert_eq!(decode(SMALL, &unchecked, 64), Err(WireError::Checksum));
    let mut flipped = encode(SMALL, &messages()[0].1);
    flipped[5] ^= 0x40;
    assert_eq!(decode(SMALL, &flipped, 64), Err(WireError::Checksum));

    let mut decoder = Decoder::new(SMALL);
    decoder.push(&[0xff]);
    for _ in 0..2 {
        assert_eq!(decoder.next(), Err(WireError::UnknownVersion { version: 15 }));
        decoder.push(&bytes);
    }
}

#[test]
fn a_goodbye_is_one_line_and_a_keepalive_is_nothing() {
    let mut encoder = Encoder::new(SMALL);
    let mut bytes = Vec::new();
    encoder.keepalive(&mut bytes);
    encoder.goodbye(&format!("no\n\u{1b}[31m{}", "é".repeat(1_000)), &mut bytes);
    let received = decode(SMALL, &bytes, 64).unwrap();
    let [Received::Goodbye(reason)] = &received[..] else { panic!("{received:?}") };
    assert!(reason.starts_with("no  [31mé") && reason.len() <= 100, "{reason:?}");
}

#[test]
fn what_no_honest_node_sends_is_refused() {
    let hello = |name: &str, id| match messages().swap_remove(0).1 {
        Message::Hello(mut hello) => {
            hello.replica = samples::replica(name, id);
            Message::Hello(hello)
        }
        other => other,
    };
    let op = |dot| Message::Ops(vec![Arc::new(crate::core::op::Op { dot, ..one_field_update(2) })]);
    for message in [
        hello("", 1),
        hello("two words", 1),
        hello("line\nbreak", 1),
        hello(&"n".repeat(65), 1),
        hello("n", 0),
        op(Dot::new(ReplicaId(1), 0)),
        op(Dot::new(ReplicaId(1), u64::MAX)),
        op(Dot::new(ReplicaId::NOBODY, 1)),
    ] {
        let decoded = decode(SMALL, &encode(SMALL, &message), 64);
        assert!(matches!(decoded, Err(WireError::Forbidden(_))), "{message:?}: {decoded:?}");
    }
    for key in ["", &"k".repeat(513)] {
        let message =
            Message::Ask { id: 1, object: ObjectId::new(Kind::Session, key), clock: Default::default() };
        assert_eq!(decode(SMALL, &encode(SMALL, &message), 64), Err(WireError::Malformed));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
        let _ = decode(SMALL, &bytes, piece);
    }

    /// Random bodies in frames that are right get to the deserializer.
    #[test]
    fn no_body_makes_it_panic(mut body in proptest::collection::vec(any::<u8>(), 1..90), kind in 0u8..13) {
        body[0] = kind;
        for flags in [0, frame::COMPRESSED, frame::CONTINUED, frame::GOODBYE] {
            let mut bytes = Vec::new();
            frame::write_header(flags, body.len(), &mut bytes);
            bytes.extend_from_slice(&body);
            let _ = decode(WireSettings { checked: false, ..SMALL }, &bytes, 64);
        }
    }

    #[test]
    fn no_mutation_of_a_good_stream_makes_it_panic(
        which in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        checked in any::<bool>(),
        long_frames in any::<bool>(),
    ) {
        let settings = if long_frames { WireSettings::default() } else { SMALL };
        let settings = WireSettings { checked, ..settings };
        let all = messages();
        let (_, message) = which.get(&all);
        let mut bytes = encode(settings, message);
        for (at, value) in flips {
            *at.get_mut(&mut bytes) = value;
        }
        let mutated = decode(settings, &bytes, 31);
        prop_assert!(!checked || mutated.is_err() || bytes == encode(settings, message));
        let _ = decode(settings, &bytes[..cut.index(bytes.len())], 31);
    }

    #[test]
    fn a_stream_that_ends_early_is_truncated(
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = messages();
        let bytes = encode(SMALL, &which.get(&all).1);
        let kept = 1 + cut.index(bytes.len() - 1);
        if kept < bytes.len() {
            prop_assert_eq!(decode(SMALL, &bytes[..kept], 31), Err(WireError::Truncated));
        }
    }
}
