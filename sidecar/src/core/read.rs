//! Reading: from entries and their siblings to JSON.
//!
//! Several visible lives read as one merged tree. At each path the shape with the latest stamp shows, ties broken
//! by dot; no merge throws a sibling away early, so a reader decides it every time, the same on every node.

use std::collections::BTreeSet;
use std::io::Write as _;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::command::{Conflict, EntityTag, Lookup, Shape, Sibling, View};
use super::identity::{Dot, Kind, LifeId, ReplicaId, dot_order};
use super::object::{Life, Object};
use super::path::Path;
use super::record::{Body, Record, segment_at};
use super::render::{render_plain, write_name};
use super::time::{Hlc, UnixMillis};
use super::value::{JsonText, as_integer, write_string};

/// Decides between siblings.
pub(crate) type Rank = (Hlc, ReplicaId, u64);

fn rank(record: &Record<'_>) -> Rank {
    let (actor, counter) = dot_order(&record.dot);
    (record.hlc, actor, counter)
}

/// Records of some visible lives under one path, in key order, those that no longer count left out.
pub(crate) fn gather<'a>(lives: &[&'a Life<'_>], prefix: &[u8]) -> Vec<Record<'a>> {
    let mut records = Vec::new();
    for life in lives {
        records.extend(life.records.range(life.origin(), prefix).filter(Record::is_live));
    }
    if lives.len() > 1 {
        records.sort_by(|a, b| a.key.cmp(b.key));
    }
    records
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved<'a> {
    Nothing,
    /// A value that no count can be added to.
    Value(&'a str),
    /// An integer: the register it stands on, if any, and the value with all counts.
    Number(Option<Dot>, i128),
    Object,
    Set,
}

impl Resolved<'_> {
    pub(crate) fn shape(&self) -> Option<Shape> {
        match self {
            Self::Nothing => None,
            Self::Value(_) => Some(Shape::Value),
            Self::Number(..) => Some(Shape::Number),
            Self::Object => Some(Shape::Object),
            Self::Set => Some(Shape::Set),
        }
    }
}

/// Splits off the records at the path of `depth` key bytes from those below it.
fn split_here<'r, 'a>(records: &'r [Record<'a>], depth: usize) -> (&'r [Record<'a>], &'r [Record<'a>]) {
    records.split_at(records.partition_point(|record| record.path_len == depth))
}

/// Decides what shows at a path, from all records at and below it.
pub(crate) fn resolve<'a>(records: &[Record<'a>], depth: usize) -> Resolved<'a> {
    let (here, below) = split_here(records, depth);
    if here.is_empty() {
        return if below.is_empty() { Resolved::Nothing } else { Resolved::Object };
    }
    let mut object = below.iter().map(rank).max();
    let (mut register, mut counter, mut set): (Option<(Rank, &Record<'a>)>, Option<Rank>, Option<Rank>) =
        (None, None, None);
    let mut sum = 0;
    for record in here {
        let rank = rank(record);
        match &record.body {
            Body::Register(_) if register.is_none_or(|(best, _)| rank > best) => {
                register = Some((rank, record));
            }
            Body::Register(_) => {}
            Body::Marker => object = object.max(Some(rank)),
            Body::Member(_) => set = set.max(Some(rank)),
            Body::Accumulator(accumulator) => {
                counter = counter.max(Some(rank));
                sum += accumulator.net();
            }
        }
    }
    let value = register.map(|(rank, _)| rank);
    let best = value.max(counter).max(object).max(set);
    let number = register.and_then(|(_, record)| match record.body {
        Body::Register(text) => as_integer(text.as_str()).map(|base| (record.dot, base)),
        _ => None,
    });
    if best == object {
        Resolved::Object
    } else if best == set {
        Resolved::Set
    } else if let Some((dot, base)) = number {
        Resolved::Number(Some(dot), i128::from(base) + sum)
    } else if best == counter {
        Resolved::Number(None, sum)
    } else {
        match register {
            Some((_, Record { body: Body::Register(text), .. })) => Resolved::Value(text.as_str()),
            _ => Resolved::Nothing,
        }
    }
}

/// What a reader of these lives sees at a path.
pub(crate) fn resolve_at<'a>(lives: &[&'a Life<'_>], path: &Path) -> Resolved<'a> {
    resolve(&gather(lives, path.as_bytes()), path.len())
}

/// Whether a reader of these lives finds an object at all.
pub(crate) fn exists(kind: Kind, lives: &[&Life<'_>]) -> bool {
    kind == Kind::Session && !lives.is_empty()
        || lives
            .iter()
            .any(|life| life.is_leased() || life.records.iter(life.origin()).any(|record| record.is_live()))
}

/// Appends the JSON that stands at a path.
fn render(records: &[Record<'_>], depth: usize, shown: Resolved<'_>, out: &mut Vec<u8>) {
    match shown {
        Resolved::Nothing => out.extend_from_slice(b"null"),
        Resolved::Value(text) => out.extend_from_slice(text.as_bytes()),
        Resolved::Number(_, value) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{value}");
        }
        Resolved::Set => render_set(records, depth, out),
        Resolved::Object => render_object(records, depth, out),
    }
}

fn render_object(records: &[Record<'_>], depth: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for_each_child(records, depth, |name, children, below| {
        let shown = resolve(children, below);
        if shown != Resolved::Nothing {
            if !first {
                out.push(b',');
            }
            first = false;
            write_name(name, out);
            out.push(b':');
            render(children, below, shown, out);
        }
    });
    out.push(b'}');
}

fn for_each_child<'a>(
    records: &[Record<'a>],
    depth: usize,
    mut visit: impl FnMut(&[u8], &[Record<'a>], usize),
) {
    let (_, mut rest) = split_here(records, depth);
    while let Some(record) = rest.first() {
        let Some((name, below)) = segment_at(record.key, depth) else { return };
        let segment = &record.key[..below];
        let count = rest.iter().take_while(|record| record.key.starts_with(segment)).count();
        let (children, later) = rest.split_at(count);
        visit(name, children, below);
        rest = later;
    }
}

fn render_set(records: &[Record<'_>], depth: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    let mut last = None;
    for record in split_here(records, depth).0 {
        if let Body::Member(member) = record.body {
            if last == Some(member) {
                continue;
            }
            if last.is_some() {
                out.push(b',');
            }
            write_string(member.as_str(), out);
            last = Some(member);
        }
    }
    out.push(b']');
}

/// The JSON of an object whose visible lives these are.
pub(crate) fn render_root(kind: Kind, lives: &[&Life<'_>], out: &mut Vec<u8>) {
    if let (Kind::Session | Kind::Document, [life]) = (kind, lives)
        && render_plain(life, out)
    {
        #[cfg(test)]
        assert_eq!(out.as_slice(), the_long_way(life));
        return;
    }
    let records = gather(lives, &[]);
    match kind {
        Kind::Session | Kind::Document => render_object(&records, 0, out),
        Kind::Set => render_set(&records, 0, out),
        Kind::Counter => match resolve(&records, 0) {
            Resolved::Number(_, value) => {
                let _ = write!(out, "{value}");
            }
            _ => out.push(b'0'),
        },
    }
}

#[cfg(test)]
fn the_long_way(life: &Life<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    render_object(&gather(&[life], &[]), 0, &mut out);
    out
}

/// What a reader finds: `Ended` where something stored is not to be seen, `Unknown` where nothing is stored. The
/// caller knows what ended lately.
pub(crate) fn look_up(kind: Kind, object: &Object<'_>, now: UnixMillis) -> Lookup {
    let lives = object.visible(now);
    let Some(last) = lives.last() else {
        return if object.is_vacant() { Lookup::Unknown } else { Lookup::Ended };
    };
    if !exists(kind, &lives) {
        return Lookup::Unknown;
    }
    let mut body = Vec::with_capacity(last.records.bytes() + 32);
    render_root(kind, &lives, &mut body);
    let (life, expires_in_millis) = standing_of(&lives, now);
    let stands = now..lives.iter().map(|life| life.lease.ends()).min().unwrap_or(now);
    Lookup::Found(View { tag: tag(&body, last), body: body.into(), life, expires_in_millis, stands })
}

/// Of visible lives, the lowest rank first: the life that new entries go to, and the milliseconds until nothing of the
/// object is left; `None` where it has no lease.
pub(crate) fn standing_of(lives: &[&Life<'_>], now: UnixMillis) -> (Option<LifeId>, Option<u64>) {
    let newest = lives.iter().rev().find(|life| life.is_leased()).map(|life| life.id);
    let unleased = lives.iter().any(|life| !life.is_leased());
    let ends = lives.iter().map(|life| life.lease.ends()).max().unwrap_or_default();
    (newest, (newest.is_some() && !unleased).then(|| ends.since(now)))
}

fn tag(body: &[u8], life: &Life<'_>) -> EntityTag {
    EntityTag(xxh3_64_with_seed(body, life.id.actor.0 ^ life.id.counter))
}

/// Paths at which concurrent writes left more than one value.
pub(crate) fn conflicts(lives: &[&Life<'_>]) -> Vec<Conflict> {
    let records = gather(lives, &[]);
    let mut conflicts = Vec::new();
    for siblings in records.chunk_by(|a, b| a.path() == b.path()) {
        let mut values: Vec<(Rank, &Record<'_>)> = siblings
            .iter()
            .filter(|record| matches!(record.body, Body::Register(_)))
            .map(|record| (rank(record), record))
            .collect();
        if values.len() < 2 {
            continue;
        }
        values.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let Ok(path) = Path::from_encoded(siblings[0].path()) else { continue };
        let siblings = values.into_iter().filter_map(|(_, record)| sibling(record)).collect();
        conflicts.push(Conflict { path, siblings });
    }
    conflicts
}

fn sibling(record: &Record<'_>) -> Option<Sibling> {
    let Body::Register(text) = record.body else { return None };
    Some(Sibling { value: JsonText::stored(text.as_str()), dot: record.dot, written: record.hlc.wall() })
}

/// The dots of the entries that a reader of these lives sees, markers of shown objects among them.
pub(crate) fn shown_dots(kind: Kind, lives: &[&Life<'_>]) -> BTreeSet<(Vec<u8>, ReplicaId, u64)> {
    let records = gather(lives, &[]);
    let mut shown = BTreeSet::new();
    let root = match kind {
        Kind::Session | Kind::Document => Resolved::Object,
        Kind::Counter | Kind::Set => resolve(&records, 0),
    };
    collect_shown(&records, 0, root, &mut shown);
    shown
}

fn collect_shown(
    records: &[Record<'_>],
    depth: usize,
    at: Resolved<'_>,
    shown: &mut BTreeSet<(Vec<u8>, ReplicaId, u64)>,
) {
    let here = split_here(records, depth).0;
    let winner = here.iter().filter(|record| matches!(record.body, Body::Register(_))).map(rank).max();
    for record in here {
        let is_shown = match (&record.body, at) {
            (Body::Register(_), Resolved::Value(_) | Resolved::Number(Some(_), _)) => {
                Some(rank(record)) == winner
            }
            (Body::Accumulator(_), Resolved::Number(..)) => true,
            (Body::Marker, Resolved::Object) | (Body::Member(_), Resolved::Set) => true,
            _ => false,
        };
        if is_shown {
            shown.insert((record.key.to_vec(), record.dot.actor, record.dot.counter));
        }
    }
    if at == Resolved::Object {
        for_each_child(records, depth, |_, children, below| {
            collect_shown(children, below, resolve(children, below), shown);
        });
    }
}
