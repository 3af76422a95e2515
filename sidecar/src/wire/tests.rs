use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::core::identity::{Clock, Dot, Kind, ObjectId, Replica, ReplicaId, ShardId, UNLEASED};
use crate::core::message::{Hello, Micros, Missing, Progress, RosterEntry, ShardClock, ShardDigest};
use crate::core::op::{
    Action, Clear, Content, Cover, Edit, Fold, Folded, Increment, Lease, Op, Put, Removal,
};
use crate::core::path::Path;
use crate::core::shard::Shard;
use crate::core::time::{Hlc, UnixMillis};
use crate::core::value::JsonText;
use crate::core::wave::{Echo, Question, Reach, Settled, Survey, Unsettled, WaveId};

fn dot(actor: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId(actor), counter)
}

fn json(text: &str) -> JsonText {
    JsonText::parse(text, 8).unwrap()
}

fn op(action: Action) -> Arc<Op> {
    let object = ObjectId::new(Kind::Session, "sess:0123456789abcdef0123456789");
    let hlc = Hlc::from_wall(UnixMillis(1_790_000_000_123));
    Arc::new(Op { dot: dot(0x1122_3344_5566_7788, 300), deps: vec![], hlc, object, action })
}

fn one_field() -> Arc<Op> {
    let path = Path::of(["views"]);
    let removal = Removal {
        clears: vec![Clear::Subtree(path.clone())],
        seen: vec![dot(0x1122_3344_5566_7788, 299)],
        covers: vec![],
    };
    let puts = vec![Put { path, content: Content::Register(json("18")) }];
    let edit = Edit { removal, puts, increments: vec![] };
    op(Action::Edit { life: dot(0x99aa_bbcc_ddee_ff00, 7), idle: None, edit })
}

fn every_action() -> Vec<Arc<Op>> {
    let path = Path::of(["a", "b\0c"]);
    let edit = Edit {
        removal: Removal {
            clears: vec![
                Clear::Subtree(Path::ROOT),
                Clear::NonObject(path.clone()),
                Clear::NonNumber { path: path.clone(), base: Some(dot(1, 1)) },
                Clear::NonSet(path.clone()),
                Clear::Member { path: path.clone(), member: "m".into() },
            ],
            seen: vec![dot(1, 2), dot(3, 4)],
            covers: vec![Cover {
                life: UNLEASED,
                path: path.clone(),
                accumulator: dot(5, 6),
                counted: 7,
                total: -8,
            }],
        },
        puts: vec![
            Put { path: path.clone(), content: Content::Marker },
            Put { path: path.clone(), content: Content::Member("ü".into()) },
            Put { path: path.clone(), content: Content::Register(json(r#"[1,{"x":null}]"#)) },
        ],
        increments: vec![Increment { path, accumulator: dot(1, 9), delta: -1, total: i64::MIN }],
    };
    let lease = Lease { idle: UnixMillis(1), absolute: UnixMillis::NEVER };
    vec![
        op(Action::Create {
            lease,
            kills: vec![dot(1, 1)],
            barriers_seen: vec![dot(2, 2)],
            edit: edit.clone(),
        }),
        op(Action::Edit { life: UNLEASED, idle: Some(UnixMillis(5)), edit: edit.clone() }),
        op(Action::Touch { lives: vec![dot(1, 1)], idle: UnixMillis(9) }),
        op(Action::Destroy { lives: vec![dot(1, 1)], removal: edit.removal }),
        op(Action::Barrier { until: Hlc(u64::MAX) }),
        op(Action::Unbarrier { barriers: vec![dot(4, 4)] }),
    ]
}

/// What is new in version 3: an operation that folds a counter, and what it leaves.
fn folds() -> Vec<(&'static str, Message)> {
    let (object, path) = (ObjectId::new(Kind::Counter, "k"), Path::ROOT);
    let mut shard = Shard::new(object.shard());
    for actor in [1, 2] {
        let (name, path) = (dot(actor, 1), path.clone());
        let increments = vec![Increment { path, accumulator: name, delta: -5, total: -5 }];
        let edit = Edit { increments, ..Edit::default() };
        let count = Action::Edit { life: UNLEASED, idle: None, edit };
        shard.author(ReplicaId(actor), Hlc(70 + actor), object.clone(), count);
    }
    let from = vec![Folded { name: dot(1, 1), counted: 1, total: -5, adds: -5 }];
    let fold = Fold { life: UNLEASED, path, into: dot(2, 1), counted: 1, from };
    let fold = shard.author(ReplicaId(3), Hlc(79), object, Action::Fold(Box::new(fold)));
    vec![
        ("fold", Message::Ops(vec![fold.packed()])),
        ("state_folded", Message::State(Box::new(shard.state()))),
    ]
}

fn shard_state() -> Box<crate::core::shard::ShardState> {
    let id = one_field().object.shard();
    let mut shard = Shard::new(id);
    let object = one_field().object.clone();
    let edit = Edit {
        puts: vec![Put { path: Path::of(["views"]), content: Content::Register(json("17")) }],
        ..Edit::default()
    };
    let lease = Lease { idle: UnixMillis(10), absolute: UnixMillis::NEVER };
    let create = Action::Create { lease, kills: vec![], barriers_seen: vec![], edit };
    shard.author(ReplicaId(1), Hlc(77), object, create);
    Box::new(shard.state())
}

/// One of each.
fn every_message() -> Vec<(&'static str, Message)> {
    let replica = Replica { node: "a".into(), started: UnixMillis(5), id: ReplicaId(6) };
    let clock: Clock = [dot(1, 2), dot(3, 400)].into_iter().collect();
    let digest = ShardDigest { clock_sum: 1, content_sum: u128::MAX };
    let (sent, wall) = (Micros(3), UnixMillis(4));
    let (other, object) = (replica.clone(), ObjectId::new(Kind::Session, "k"));
    let wave = WaveId { root: ReplicaId(1), number: 300 };
    let most = Progress { shard: ShardId(9), dot: dot(1, 2) };
    let unsettled = vec![Unsettled { most, least: 0 }];
    let (roster, time) = (5, UnixMillis(6));
    let settled = Settled { wave, roster, time, unsettled: unsettled.clone() };
    let survey = Box::new(Survey { members: 4, roster, time, clock_sum: 7, unsettled });
    let known = |missing| Echo::Object { members: 4, missing, clock_sum: 7, ended: true };
    vec![
        (
            "hello",
            Message::Hello(Hello { replica: replica.clone(), cluster: "c".into(), fresh: true, lineage: 9 }),
        ),
        ("roster", Message::Roster(vec![RosterEntry { replica, left: true }])),
        ("ops", Message::Ops(vec![one_field().into()])),
        ("every_action", Message::Ops(every_action().into_iter().map(Into::into).collect())),
        ("applied", Message::Applied(vec![Progress { shard: ShardId(9), dot: dot(1, 2) }])),
        ("clocks", Message::Clocks(vec![ShardClock { shard: ShardId(255), clock: clock.clone() }])),
        ("digests", Message::Digests { total: digest, shards: vec![(ShardId(0), digest)] }),
        ("want_states", Message::WantStates(vec![ShardId(1), ShardId(2)])),
        ("state", Message::State(shard_state())),
        ("ask", Message::Ask { id: 5, object: ObjectId::new(Kind::Set, "k"), clock }),
        ("answer_ops", Message::Answer { id: 5, missing: Missing::Ops(vec![]), ended: true }),
        ("answer_state", Message::Answer { id: 5, missing: Missing::State(shard_state()), ended: false }),
        ("ping", Message::Ping { sent, wall, now: UnixMillis(6), clock_sum: 7, introduction: 8 }),
        ("pong", Message::Pong { sent, wall, clocks_known: true, introduction_known: false }),
        ("leave", Message::Leave),
        ("relay", Message::Relay { ops: vec![one_field().into()], until: 9 }),
        ("members", Message::Members(vec![RosterEntry { replica: other, left: false }])),
        ("wave_survey", Message::Wave { wave, reach: Reach::Everyone, question: Question::Survey }),
        ("wave_object", Message::Wave { wave, reach: Reach::Until(7), question: Question::Object(object) }),
        (
            "wave_applied",
            Message::Wave { wave, reach: Reach::Until(7), question: Question::Applied(vec![most]) },
        ),
        ("echo_again", Message::Echo { wave, echo: Echo::Again }),
        ("echo_survey", Message::Echo { wave, echo: Echo::Survey(survey) }),
        ("echo_object_ops", Message::Echo { wave, echo: known(Missing::Ops(vec![one_field().into()])) }),
        ("echo_object_state", Message::Echo { wave, echo: known(Missing::State(shard_state())) }),
        ("echo_applied", Message::Echo { wave, echo: Echo::Applied(ReplicaId(8)) }),
        ("settled", Message::Settled(Box::new(settled))),
        ("saved", Message::Saved { progress: vec![most], sum: 7 }),
        ("want_saved", Message::WantSaved),
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, Guard::Transport, &mut bytes).unwrap();
    bytes
}

fn checked(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, Guard::Checksum, &mut bytes).unwrap();
    bytes
}

/// Frames that are no message, and one with a checksum.
fn guarded_frames(format: Format) -> Vec<(&'static str, Vec<u8>)> {
    let (mut checked, mut refusal, mut keepalive) = (Vec::new(), Vec::new(), Vec::new());
    encode(&Message::WantStates(vec![ShardId(7)]), format, &mut checked).unwrap();
    encode_refusal("another cluster", format, &mut refusal);
    encode_keepalive(format, &mut keepalive);
    vec![("checked_want_states", checked), ("checked_refusal", refusal), ("checked_keepalive", keepalive)]
}

fn decode_all(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Incoming>, WireError> {
    decoder.push(bytes);
    let mut all = Vec::new();
    while let Some(incoming) = decoder.next_message()? {
        all.push(incoming);
    }
    Ok(all)
}

/// What each version says, for ever: a build that changes these bytes must speak another version.
const GOLDEN: [&str; Version::NEWEST.number() as usize] = [
    include_str!("golden/version_1.txt"),
    include_str!("golden/version_2.txt"),
    include_str!("golden/version_3.txt"),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_version_has_changed() {
    for (number, golden) in (1..).zip(GOLDEN) {
        let version = Version::of(number).unwrap();
        let mut listing = String::new();
        let folds = if version >= Version::FOLDS { folds() } else { Vec::new() };
        let messages = every_message().into_iter().chain(folds);
        for (name, message) in messages.filter(|(_, message)| version.carries(message)) {
            let mut bytes = Vec::new();
            encode(&message, Format { version, guard: Guard::Transport }, &mut bytes).unwrap();
            listing.push_str(&format!("{name} {}\n", hex(&bytes)));
        }
        for (name, bytes) in guarded_frames(Format { version, guard: Guard::Checksum }) {
            listing.push_str(&format!("{name} {}\n", hex(&bytes)));
        }
        assert!(
            golden == listing,
            "golden/version_{number}.txt does not hold; this build writes:\n{listing}"
        );
    }
}

#[test]
fn what_a_version_does_not_have_is_refused() {
    for (name, message) in every_message() {
        for number in 1..=Version::NEWEST.number() {
            let version = Version::of(number).unwrap();
            let mut bytes = encoded(&message);
            bytes[4] = bytes[4] & 0x0f | number << 4;
            let mut decoder = Decoder::new(Format { version, guard: Guard::Transport });
            let taken = decode_all(&mut decoder, &bytes).is_ok();
            assert_eq!(taken, version.carries(&message), "{name} in version {number}");
        }
    }
}

#[test]
fn every_message_survives_in_one_piece_and_byte_by_byte() {
    let mut stream = Vec::new();
    for (_, message) in every_message() {
        encode(&message, Guard::Transport, &mut stream).unwrap();
    }
    let sent: Vec<Incoming> =
        every_message().into_iter().map(|(_, m)| Incoming::Message(Box::new(m))).collect();
    assert_eq!(decode_all(&mut Decoder::new(Guard::Transport), &stream).unwrap(), sent);
    let mut decoder = Decoder::new(Guard::Transport);
    let pieces: Vec<Incoming> = stream
        .iter()
        .flat_map(|byte| decode_all(&mut decoder, std::slice::from_ref(byte)).unwrap())
        .collect();
    assert_eq!(pieces, sent);
}

#[test]
fn one_field_of_a_session_takes_less_than_150_bytes() {
    let bytes = encoded(&Message::Ops(vec![one_field().into()]));
    assert!(bytes.len() < 150, "{} bytes", bytes.len());
}

fn with_register(text: &str) -> Message {
    let mut long = Op::clone(&one_field());
    let puts = vec![Put { path: Path::of(["x"]), content: Content::Register(JsonText::string(text)) }];
    long.action = Action::Edit { life: UNLEASED, idle: None, edit: Edit { puts, ..Edit::default() } };
    Message::Ops(vec![Arc::new(long).into()])
}

#[test]
fn a_large_message_is_left_as_it_came_and_holds_its_room() {
    let budget = Budget::new(8 << 20);
    let mut decoder = Decoder::new(Guard::Transport).share(&budget);
    // It compresses into one frame, and is large all the same.
    let (large, small) = (with_register(&"x".repeat(2 << 20)), with_register(&"x".repeat(100_000)));
    for message in [&small, &large, &small] {
        decoder.push(&encoded(message));
    }
    assert!(matches!(decoder.next_packed(), Ok(Some(Next::Ready(_)))));
    let Ok(Some(Next::Large(packed))) = decoder.next_packed() else { panic!("it is large") };
    // What comes behind it does not wait for it.
    assert!(matches!(decoder.next_packed(), Ok(Some(Next::Ready(_)))));
    assert_eq!(packed.unpack(), Ok(Incoming::Message(Box::new(large.clone()))));
    assert_eq!(budget.used(), 0);
    // In one piece it is what it always was, and there is room for so many only.
    decoder.push(&encoded(&large));
    assert_eq!(decoder.next_message(), Ok(Some(Incoming::Message(Box::new(large)))));
    let tight = Budget::new(1 << 20);
    let mut decoder = Decoder::new(Guard::Transport).share(&tight);
    decoder.push(&encoded(&with_register(&"x".repeat(2 << 20))));
    let Ok(Some(Next::Large(packed))) = decoder.next_packed() else { panic!("it is large") };
    assert_eq!(packed.unpack(), Err(WireError::NoRoom));
    assert_eq!(tight.used(), 0);
}

#[test]
fn a_message_longer_than_a_frame_goes_in_several() {
    // Digits of a generator: they do not compress below a frame.
    let mut seed = 7u64;
    let noise: String = (0..4 * FRAME_BYTES_MAX)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + (seed >> 33) as u8 % 90)
        })
        .collect();
    let message = with_register(&noise);
    let bytes = encoded(&message);
    assert!(bytes.len() > FRAME_BYTES_MAX);
    let all = decode_all(&mut Decoder::new(Guard::Transport), &bytes).unwrap();
    assert_eq!(all, [Incoming::Message(Box::new(message))]);
    assert_eq!(
        decode_all(&mut Decoder::with_limit(Guard::Transport, FRAME_BYTES_MAX), &bytes),
        Err(WireError::Oversized)
    );
}

#[test]
fn a_refusal_says_why() {
    let mut bytes = Vec::new();
    encode_refusal(&"ü".repeat(400), Guard::Transport, &mut bytes);
    let all = decode_all(&mut Decoder::new(Guard::Transport), &bytes).unwrap();
    assert_eq!(all, [Incoming::Refusal("ü".repeat(128))]);
}

#[test]
fn every_kind_of_rubbish_has_its_error() {
    let format = Format { version: Version::OLDEST, guard: Guard::Transport };
    let fails = |bytes: &[u8]| decode_all(&mut Decoder::new(format), bytes).unwrap_err();
    assert_eq!(fails(b"GET / HTTP/1.1\r\n"), WireError::UnknownVersion(2));
    assert_eq!(fails(&[1, 0, 0, 0, 0x20]), WireError::UnknownVersion(2));
    assert_eq!(fails(&[0, 0, 0, 0, 0x10]), WireError::BadFrame);
    assert_eq!(fails(&[1, 0, 0, 0, 0x16]), WireError::BadFrame);
    assert_eq!(fails(&[1, 0, 0, 0, 0x11]), WireError::BadFrame);
    assert_eq!(fails(&[1, 0, 0, 0, 0x18]), WireError::Checksum);
    assert_eq!(fails(&[0xff, 0xff, 0xff, 0xff, 0x10]), WireError::Oversized);
    assert_eq!(fails(&[2, 0, 0, 0, 0x10, 0xff]), WireError::Malformed);
    let bomb = [&[11, 0, 0, 0, 0x12][..], &0x3fff_ffff_u32.to_le_bytes(), &[0; 6]].concat();
    assert_eq!(fails(&bomb), WireError::Oversized);
    let lie = [&[11, 0, 0, 0, 0x12][..], &100u32.to_le_bytes(), &[0xff; 6]].concat();
    assert_eq!(fails(&lie), WireError::BadCompression);
    // It stays failed, and keeps nothing.
    let mut decoder = Decoder::new(Guard::Transport);
    assert!(decode_all(&mut decoder, &[0; 5]).is_err());
    let good = encoded(&Message::Leave);
    assert!(decode_all(&mut decoder, &good).is_err());
}

#[test]
fn an_object_without_a_proper_key_is_malformed() {
    for len in [0, 513] {
        let mut bad = Op::clone(&one_field());
        bad.object.key = "k".repeat(len).into();
        let bytes = encoded(&Message::Ops(vec![Arc::new(bad).into()]));
        assert_eq!(decode_all(&mut Decoder::new(Guard::Transport), &bytes), Err(WireError::Malformed));
    }
}

#[test]
fn on_a_plain_stream_every_changed_bit_is_found() {
    for (name, message) in every_message() {
        let bytes = checked(&message);
        let sent = Incoming::Message(Box::new(message));
        assert_eq!(decode_all(&mut Decoder::new(Guard::Checksum), &bytes), Ok(vec![sent]), "{name}");
        for bit in (0..8 * bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = Decoder::new(Guard::Checksum);
            let all = decode_all(&mut decoder, &changed);
            assert!(all.is_err() || all == Ok(vec![]) && decoder.finish().is_err(), "{name}, bit {bit}");
        }
    }
    let unguarded = encoded(&Message::Leave);
    assert_eq!(decode_all(&mut Decoder::new(Guard::Checksum), &unguarded), Err(WireError::Checksum));
}

#[test]
fn a_stream_may_end_between_messages_only() {
    let bytes = checked(&Message::Leave);
    for cut in 0..=bytes.len() {
        let mut decoder = Decoder::new(Guard::Checksum);
        decode_all(&mut decoder, &bytes[..cut]).unwrap();
        let whole = cut == 0 || cut == bytes.len();
        assert_eq!(decoder.finish(), if whole { Ok(()) } else { Err(WireError::Truncated) });
    }
}

#[test]
fn a_keepalive_is_nothing_and_a_refusal_is_one_line() {
    let mut bytes = Vec::new();
    encode_keepalive(Guard::Checksum, &mut bytes);
    encode_refusal("no\n\u{1b}[31m", Guard::Checksum, &mut bytes);
    let all = decode_all(&mut Decoder::new(Guard::Checksum), &bytes);
    assert_eq!(all, Ok(vec![Incoming::Refusal("no  [31m".to_owned())]));
}

#[test]
fn what_no_honest_node_sends_is_refused() {
    let hello = |node: &str, id| {
        let replica = Replica { node: node.into(), started: UnixMillis(5), id: ReplicaId(id) };
        Message::Hello(Hello { replica, cluster: "c".into(), fresh: true, lineage: 9 })
    };
    let by = |dot| Message::Ops(vec![Arc::new(Op { dot, ..Op::clone(&one_field()) }).into()]);
    for message in [
        hello("", 1),
        hello("two words", 1),
        hello("line\nbreak", 1),
        hello(&"n".repeat(NAME_BYTES_MAX + 1), 1),
        hello("n", 0),
        by(dot(1, 0)),
        by(dot(1, u64::MAX)),
        by(dot(0, 1)),
        Message::Clocks(vec![ShardClock {
            shard: ShardId(1),
            clock: [dot(1, u64::MAX)].into_iter().collect(),
        }]),
        Message::Echo {
            wave: WaveId { root: ReplicaId(1), number: 1 },
            echo: Echo::Survey(Box::new(Survey {
                members: 0,
                roster: 0,
                time: UnixMillis(0),
                clock_sum: 0,
                unsettled: vec![Unsettled { most: Progress { shard: ShardId(1), dot: dot(1, 2) }, least: 3 }],
            })),
        },
    ] {
        let all = decode_all(&mut Decoder::new(Guard::Transport), &encoded(&message));
        assert!(matches!(all, Err(WireError::Forbidden(_))), "{message:?}: {all:?}");
    }
}

#[test]
fn a_clock_may_name_so_many_and_no_more() {
    let of = |count: usize| {
        let clock = (1..).take(count).map(|id| dot(id, 1)).collect();
        let clocks = Message::Clocks(vec![ShardClock { shard: ShardId(1), clock }]);
        decode_all(&mut Decoder::new(Guard::Transport), &encoded(&clocks)).map(|all| all.len())
    };
    assert_eq!(of(CLOCK_IDS_HEARD_MAX), Ok(1));
    assert_eq!(of(CLOCK_IDS_HEARD_MAX + 1), Err(WireError::Crowded));
    let op = |count: usize| Op {
        deps: (1..).take(count).map(|id| dot(id, 1)).collect(),
        ..Op::clone(&one_field())
    };
    let of = |count: usize| {
        let ops = Message::Ops(vec![Arc::new(op(count)).into()]);
        decode_all(&mut Decoder::new(Guard::Transport), &encoded(&ops)).map(|all| all.len())
    };
    assert_eq!(of(CLOCK_IDS_HEARD_MAX), Ok(1));
    assert_eq!(of(CLOCK_IDS_HEARD_MAX + 1), Err(WireError::Crowded));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = decode_all(&mut Decoder::new(Guard::Transport), &bytes);
    }

    #[test]
    fn random_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400), flags in 0u8..4) {
        let mut bytes = (body.len() as u32 + 1).to_le_bytes().to_vec();
        bytes.push(0x10 | flags & !1);
        bytes.extend(body);
        let _ = decode_all(&mut Decoder::new(Guard::Transport), &bytes);
    }

    #[test]
    fn a_message_with_a_changed_byte_never_panics(which in 0usize..26, at in any::<prop::sample::Index>(), xor in 1u8..) {
        let mut bytes = encoded(&every_message()[which].1);
        let at = at.index(bytes.len());
        bytes[at] ^= xor;
        if let Ok(all) = decode_all(&mut Decoder::new(Guard::Transport), &bytes) {
            for incoming in all {
                if let Incoming::Message(message) = incoming {
                    let mut again = Vec::new();
                    encode(&message, Guard::Checksum, &mut again).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_cut_off_message_is_waited_for(which in 0usize..26, at in any::<prop::sample::Index>()) {
        let bytes = encoded(&every_message()[which].1);
        let cut = at.index(bytes.len());
        prop_assert_eq!(decode_all(&mut Decoder::new(Guard::Transport), &bytes[..cut]), Ok(vec![]));
    }
}
