//! What users wish for: random writes, small enough to collide.

use std::collections::BTreeSet;

use super::rng::Rng;
use crate::core::command::{Change, EntityTag, PathOp, Precondition, Write};
use crate::core::identity::{Kind, LifeId, ObjectId};
use crate::core::limits::DEPTH_MAX;
use crate::core::path::Path;
use crate::core::value::Tree;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A write to a session, sometimes by a request that loaded one of these lives some time ago.
#[must_use]
pub fn session(object: ObjectId, loaded: &[LifeId], rng: &mut Rng) -> Write {
    let change = match rng.weighted(&[20, 20, 12, 18, 14, 16]) {
        0 => Change::Put(random_object(rng, 1)),
        1 => Change::MergePatch(random_object(rng, 1)),
        2 => Change::Ops(vec![random_op(rng)]),
        3 => Change::Ops(vec![PathOp::Increment { path: Path::of(["n"]), by: rng.pick(&[1, 2]) }]),
        4 => Change::Touch,
        _ => Change::Destroy,
    };
    let mut write = Write::new(object, change);
    if !matches!(write.change, Change::Destroy) && rng.percent(70) {
        write.ttl_millis = Some(rng.pick(&[4_000, 8_000, 15_000, 60_000]));
    }
    if rng.percent(25) && !loaded.is_empty() {
        write.life = Some(loaded[rng.index(loaded.len())]);
    }
    write
}

/// A write to a document, at any level of it, sometimes by a request that loaded one of these lives some time ago.
#[must_use]
pub fn document(object: ObjectId, loaded: &[LifeId], rng: &mut Rng) -> Write {
    let change = match rng.weighted(&[8, 40, 42, 8, 2]) {
        0 => Change::Put(random_object(rng, 2)),
        1 => Change::MergePatch(random_object(rng, 2)),
        2 => Change::Ops((0..rng.pick(&[1, 1, 1, 2, 4])).map(|_| random_op(rng)).collect()),
        3 => Change::Destroy,
        _ => Change::Touch,
    };
    let chance = if matches!(change, Change::Put(_)) { 20 } else { 4 };
    let ttl_millis = rng.percent(chance).then_some(15_000);
    let life = (rng.percent(8) && !loaded.is_empty()).then(|| loaded[rng.index(loaded.len())]);
    Write { ttl_millis, life, ..Write::new(object, change) }
}

/// A write of many entries: documents and sets that take more than one run of records.
#[must_use]
pub fn large(object: ObjectId, rng: &mut Rng) -> Write {
    let name = |rng: &mut Rng| format!("{:03}{}", rng.below(400), "-".repeat(40));
    let count = rng.pick(&[1, 5, 30, 60]);
    let change = match (object.kind, rng.below(100)) {
        (_, 0..4) => Change::Destroy,
        (Kind::Set, _) => {
            let adds = rng.percent(60);
            let op = |member: String| match adds {
                true => PathOp::Add { path: Path::ROOT, member: member.into() },
                false => PathOp::Remove { path: Path::ROOT, member: member.into() },
            };
            Change::Ops((0..count).map(|_| op(name(rng))).collect())
        }
        (_, roll) => {
            let names: BTreeSet<_> = (0..count).map(|_| name(rng)).collect();
            let value = |rng: &mut Rng| match rng.below(10) {
                0..3 => "null".to_owned(),
                3..5 => random_members(rng, 1),
                _ => format!("\"{}\"", "x".repeat(rng.below(120) as usize)),
            };
            let members: Vec<_> =
                names.into_iter().map(|name| format!("\"{name}\":{}", value(rng))).collect();
            let tree = parse(&format!("{{{}}}", members.join(",")));
            if roll < 12 { Change::Put(tree) } else { Change::MergePatch(tree) }
        }
    };
    Write::new(object, change)
}

/// A write to one of two paths of a document, one above the other.
#[must_use]
pub fn narrow_document(object: ObjectId, rng: &mut Rng) -> Write {
    let (above, below) = (Path::of(["a"]), Path::of(["a", "b"]));
    let path = if rng.percent(30) { above } else { below };
    let change = match rng.weighted(&[14, 12, 20, 24, 10, 8, 8, 4]) {
        0 => Change::MergePatch(parse("{\"a\":{}}")),
        1 => Change::MergePatch(parse("{\"a\":5}")),
        2 => Change::Ops(vec![PathOp::Set { path, value: parse(rng.pick(&["1", "\"x\"", "{}"])) }]),
        3 => Change::Ops(vec![PathOp::Unset { path }]),
        4 => Change::Ops(vec![PathOp::Increment { path, by: rng.pick(&[1, -3]) }]),
        5 => Change::Ops(vec![PathOp::Add { path, member: "m".into() }]),
        6 => Change::Ops(vec![PathOp::Remove { path, member: "m".into() }]),
        _ => Change::MergePatch(parse("{\"a\":{\"b\":null}}")),
    };
    Write::new(object, change)
}

/// A write to the one register of a document.
#[must_use]
pub fn register(object: ObjectId, rng: &mut Rng) -> Write {
    let value = parse(&rng.below(1_000_000).to_string());
    Write::new(object, Change::Ops(vec![PathOp::Set { path: Path::of(["r"]), value }]))
}

/// A count, or, unless it must be `plain`, a reset.
#[must_use]
pub fn counter(object: ObjectId, rng: &mut Rng, plain: bool) -> Write {
    let by = rng.pick(&[1, 2, 5, -3]);
    let change = match rng.percent(15) && !plain {
        true => Change::Destroy,
        false => Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }]),
    };
    Write::new(object, change)
}

/// A change of one member, or, unless it must be `plain`, of several or all.
#[must_use]
pub fn set(object: ObjectId, rng: &mut Rng, plain: bool) -> Write {
    let mut op = || {
        let (path, member) = (Path::ROOT, rng.pick(&["m", "n", "o"]).into());
        if rng.percent(60) { PathOp::Add { path, member } } else { PathOp::Remove { path, member } }
    };
    let ops = if plain { vec![op()] } else { vec![op(), op()] };
    let change = if !plain && rng.percent(8) { Change::Destroy } else { Change::Ops(ops) };
    Write::new(object, change)
}

/// Sometimes a condition, of an author who sees the object under this tag, or has seen it under another.
#[must_use]
pub fn condition(tag: Option<EntityTag>, rng: &mut Rng) -> Precondition {
    let tags = vec![tag.filter(|_| rng.percent(70)).unwrap_or(EntityTag(rng.bits()))];
    match rng.below(40) {
        0..2 => Precondition::Absent,
        2..4 => Precondition::Live,
        4..6 => Precondition::Matches(tags),
        6..8 => Precondition::Differs(tags),
        _ => Precondition::None,
    }
}

fn random_path(rng: &mut Rng) -> Path {
    Path::of((0..rng.pick(&[1, 1, 2, 2, 3])).map(|_| name(rng)))
}

/// The same few names again and again: conflicts at one level are to meet conflicts at the next.
fn name(rng: &mut Rng) -> &'static str {
    NAMES[rng.weighted(&[60, 30, 10])]
}

fn random_op(rng: &mut Rng) -> PathOp {
    let path = random_path(rng);
    match rng.weighted(&[28, 18, 28, 14, 12]) {
        0 => PathOp::Set { path, value: parse(&random_value(rng, 1)) },
        1 => PathOp::Unset { path },
        2 => PathOp::Increment { path, by: rng.pick(&[1, 2, 5, -3]) },
        3 => PathOp::Add { path, member: rng.pick(&["m", "n"]).into() },
        _ => PathOp::Remove { path, member: rng.pick(&["m", "n"]).into() },
    }
}

fn random_object(rng: &mut Rng, depth: u64) -> Tree {
    parse(&random_members(rng, depth))
}

fn random_members(rng: &mut Rng, depth: u64) -> String {
    let names: BTreeSet<_> = (0..rng.pick(&[0, 1, 1, 1, 2])).map(|_| name(rng)).collect();
    let members: Vec<_> =
        names.into_iter().map(|name| format!("\"{name}\":{}", random_value(rng, depth))).collect();
    format!("{{{}}}", members.join(","))
}

fn random_value(rng: &mut Rng, depth: u64) -> String {
    match rng.below(100) {
        0..25 => "null".into(),
        25..60 => rng.pick(&["1", "2", "7", "\"x\"", "\"y\"", "1.50", "true"]).into(),
        _ if depth == 0 => "{}".into(),
        _ => random_members(rng, depth - 1),
    }
}

fn parse(text: &str) -> Tree {
    Tree::parse(text.as_bytes(), DEPTH_MAX).unwrap_or(Tree::EMPTY)
}
