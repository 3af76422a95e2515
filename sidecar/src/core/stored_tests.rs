use super::*;
use crate::core::identity::{ReplicaId, UNLEASED};
use crate::core::packed::encode;
use crate::core::record::{Body, NewRecord, Text};

fn dot(actor: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId(actor), counter)
}

fn life(id: LifeId, records: usize) -> Life<'static> {
    let mut life =
        Life::new(id, Hlc(77 << 40), Lease { idle: UnixMillis(900), absolute: UnixMillis::NEVER }, &[]);
    let origin = life.origin();
    let new = |n| {
        let path = crate::core::path::Path::of([format!("field {n:05}")]);
        NewRecord::new(origin, path.as_bytes(), Body::Register(Text::new("17")), dot(5, n), Hlc(n))
    };
    life.records.insert(origin, (1..=records as u64).map(new).collect(), |_| {});
    life
}

fn object(records: usize) -> Object<'static> {
    let mut object = Object::default();
    let mut second = life(dot(2, 900), records);
    second.barriers_seen = Some(Box::new(vec![dot(7, 1), dot(7, 300)]));
    object.add_life(life(dot(1, 3), records));
    object.add_life(second);
    object.add_life(life(UNLEASED, 0));
    object.set_barriers(vec![(dot(8, 1), Hlc(9)), (dot(8, 2), Hlc(u64::MAX))]);
    object
}

fn id() -> ObjectId {
    ObjectId::new(Kind::Document, &"ü".repeat(100))
}

#[test]
fn what_is_packed_is_seen_again_and_is_what_travels() {
    for records in [0, 3, 40, 400] {
        let object = object(records);
        let stored = Stored::new(&id(), object.clone());
        assert_eq!(matches!(stored, Stored::Large(_)), records == 400, "{records}");
        assert_eq!((*stored.object()).clone(), object);
        assert_eq!((stored.id(), stored.hash()), (id(), id().hash()));
        let mut bytes = Vec::new();
        stored.append_to(&mut bytes);
        assert_eq!(encode(&stored), bytes);
        let back: Stored = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back, stored);
    }
}

#[test]
fn a_cut_or_changed_object_is_an_error_or_an_object() {
    let mut bytes = Vec::new();
    Stored::new(&id(), object(3)).append_to(&mut bytes);
    for at in 0..bytes.len() {
        assert!(postcard::from_bytes::<Stored>(&bytes[..at]).is_err());
        for change in [0x00, 0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = change;
            if let Ok(stored) = postcard::from_bytes::<Stored>(&changed) {
                let mut again = Vec::new();
                stored.append_to(&mut again);
                assert_eq!(postcard::from_bytes::<Stored>(&again).unwrap(), stored);
            }
        }
    }
}

/// Whatever is read by hand is what the general way reads, to the byte.
#[test]
fn what_is_read_by_hand_is_what_the_general_way_reads() {
    let one = |id, records| {
        let mut object = Object::default();
        object.add_life(life(id, records));
        object
    };
    let plain = [one(dot(1, 3), 3), one(dot(1, 300), 0), one(UNLEASED, 20)];
    let others = [object(3), one(dot(1, 3), 400), Object::default()];
    let (mut read, mut read_though_changed) = (0, 0);
    for object in plain.into_iter().chain(others) {
        let mut bytes = Vec::new();
        Stored::new(&id(), object).append_to(&mut bytes);
        bytes.extend_from_slice(b"more");
        for at in 0..bytes.len() {
            for change in [bytes[at], 0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = change;
                let mut rest = &changed[..];
                let Some(found) = Stored::read_plain(&mut rest) else {
                    assert_eq!(rest, changed);
                    continue;
                };
                let (known, behind) = postcard::take_from_bytes::<Stored>(&changed).unwrap();
                assert_eq!((encode(&found), rest), (encode(&known), behind), "{at}: {change}");
                read += usize::from(changed == bytes && at == 0);
                read_though_changed += usize::from(changed != bytes);
            }
            assert!(at < 4 || Stored::read_plain(&mut &bytes[..at - 4]).is_none());
        }
    }
    assert!(read >= 3 && read_though_changed > 100, "{read}, {read_though_changed}");
}

#[test]
fn a_number_in_more_bytes_than_it_takes_is_left_to_the_general_reader() {
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(take_least(&mut &most[..]), Some(u64::MAX));
    assert_eq!(take_least(&mut &[0x80, 0x01][..]), Some(128));
    let mut beyond = most;
    beyond[9] = 0x03;
    for bytes in [&[0x80, 0x00][..], &[0x81, 0x80, 0x00], &beyond, &most[..9], &[]] {
        assert_eq!(take_least(&mut &*bytes), None, "{bytes:?}");
    }
}
