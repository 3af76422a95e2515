use super::*;
use crate::core::op::{Cover, Increment, Lease};
use crate::core::packed::ROOM_BYTES;

fn dot(counter: u64) -> Dot {
    Dot::new(ReplicaId(0x0102_0304_0506_0708), counter)
}

fn edit() -> Edit {
    let path = Path::of(["user", "a\0b"]);
    let removal = Removal {
        clears: vec![Clear::Subtree(path.clone()), Clear::Subtree(Path::of(["n"]))],
        seen: vec![dot(4), dot(1 << 40)],
        covers: Vec::new(),
    };
    let texts = ["17", "0", "-1.5e3", "[1,\"x\"]", "\"\u{fc} \\n\"", "\"plain\"", "null"];
    let register = |text: &&str| Content::Register(JsonText::checked(text).unwrap());
    let mut puts: Vec<Put> =
        texts.iter().map(|text| Put { path: path.clone(), content: register(text) }).collect();
    puts.push(Put { path: Path::ROOT, content: Content::Marker });
    Edit { removal, puts, increments: Vec::new() }
}

fn op(action: Action, key: &str, deps: u64) -> Op {
    let object = ObjectId::new(Kind::Document, key);
    Op { dot: dot(300), deps: (1..=deps).map(dot).collect(), hlc: Hlc(1 << 57), object, action }
}

fn plain() -> Vec<Op> {
    let edited = |idle, edit| Action::Edit { life: dot(1), idle, edit };
    vec![
        op(edited(None, edit()), "sess:1", 0),
        op(edited(Some(UnixMillis(1_790_000_000_000)), edit()), &"k".repeat(130), 3),
        op(edited(None, Edit::default()), "\u{fc}", 1),
    ]
}

fn others() -> Vec<Op> {
    let increment = Increment { path: Path::ROOT, accumulator: dot(1), delta: 1, total: 2 };
    let cover = Cover { life: dot(1), path: Path::ROOT, accumulator: dot(1), counted: 1, total: 1 };
    let member = Put { path: Path::ROOT, content: Content::Member("m".into()) };
    let mut edits = vec![edit(), edit(), edit(), edit()];
    edits[0].increments.push(increment);
    edits[1].removal.covers.push(cover);
    edits[2].puts.push(member);
    edits[3].removal.clears.push(Clear::NonSet(Path::ROOT));
    let lease = Lease { idle: UnixMillis(9), absolute: UnixMillis::NEVER };
    let create = Action::Create { lease, kills: Vec::new(), barriers_seen: Vec::new(), edit: edit() };
    let edited = |edit| op(Action::Edit { life: dot(1), idle: None, edit }, "k", 0);
    let never = Action::Edit { life: dot(1), idle: Some(UnixMillis::NEVER), edit: edit() };
    edits.into_iter().map(edited).chain([op(create, "k", 0), op(never, "k", 0)]).collect()
}

#[test]
fn plain_edits_are_written_and_read_as_ever() {
    for op in plain() {
        let bytes = postcard::to_stdvec(&op).unwrap();
        assert_eq!(Room::<ROOM_BYTES>::new().write(&op), Some(&*bytes));
        assert_eq!(Room::<40>::new().write(&op), (bytes.len() <= 40).then_some(&*bytes));
        let followed = [&*bytes, b"more"].concat();
        assert_eq!(read(&followed), Some((op, &b"more"[..])));
    }
    for op in others() {
        let bytes = postcard::to_stdvec(&op).unwrap();
        assert!(read(&bytes).is_none(), "{op:?}");
        if let Some(written) = Room::<ROOM_BYTES>::new().write(&op) {
            assert_eq!(written, bytes);
        }
    }
}

/// Whatever is read here is what the general way reads, to the byte.
#[test]
fn what_is_read_is_what_the_general_way_reads() {
    let mut read_though_changed = 0;
    for op in plain().into_iter().chain(others()) {
        let bytes = postcard::to_stdvec(&op).unwrap();
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_none());
            for change in [0x00, 0x01, 0x02, 0x10, 0x22, 0x31, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = change;
                if let Some(found) = read(&changed) {
                    assert_eq!(postcard::take_from_bytes::<Op>(&changed), Ok(found));
                    read_though_changed += usize::from(changed != bytes);
                }
            }
        }
    }
    assert!(read_though_changed > 100, "{read_though_changed}");
}
