use std::sync::Arc;

use serde_json::json;

use crate::core::check::json::merge_patch;
use crate::core::check::reading::view;
use crate::core::check::rng::Rng;
use crate::core::check::shrink::shrink;
use crate::core::check::spec::{Known, contents, frontier};
use crate::core::identity::{Clock, Dot, Kind, ObjectId, ReplicaId, UNLEASED, dot_order};
use crate::core::op::{Action, Clear, Content, Edit, Increment, Lease, Op, Put, Removal};
use crate::core::path::Path;
use crate::core::time::{Hlc, UnixMillis};
use crate::core::value::JsonText;

fn dot(replica: u64, sequence: u64) -> Dot {
    Dot::new(ReplicaId(replica), sequence)
}

fn known(dot: Dot, history: &[Dot], hlc: u64, action: Action) -> Known {
    let object = ObjectId::new(Kind::Document, "d");
    let op = Op { dot, deps: history.to_vec(), hlc: Hlc(hlc), object, action };
    Known { op: Arc::new(op), history: history.iter().copied().collect::<Clock>() }
}

fn edit(clears: &[Clear], puts: &[(&str, i64)], increments: &[(&str, i64)]) -> Edit {
    Edit {
        removal: Removal { clears: clears.to_vec(), ..Removal::default() },
        puts: puts
            .iter()
            .map(|(name, value)| Put {
                path: Path::of([name]),
                content: Content::Register(JsonText::integer(*value)),
            })
            .collect(),
        increments: increments
            .iter()
            .map(|(name, delta)| Increment {
                path: Path::of([name]),
                accumulator: dot(1, 1),
                delta: *delta,
                total: *delta,
            })
            .collect(),
    }
}

fn change(edit: Edit) -> Action {
    Action::Edit { life: UNLEASED, idle: None, edit }
}

fn seen(known: &[Known]) -> Option<serde_json::Value> {
    let contents = contents(known);
    view(contents.values().next()?, Kind::Document, UnixMillis(5))
}

#[test]
fn what_a_clear_had_not_seen_stays_beside_the_new_value() {
    let clear = [Clear::Subtree(Path::of(["x"]))];
    let first = known(dot(1, 1), &[], 1, change(edit(&clear, &[("x", 1)], &[])));
    let blind = known(dot(2, 1), &[], 2, change(edit(&clear, &[("x", 2)], &[])));
    let sees = known(dot(3, 1), &[dot(1, 1)], 1, change(edit(&clear, &[("x", 3)], &[])));
    let all = [first, blind, sees];
    let life = &contents(&all).into_values().next().unwrap().lives[&dot_order(&UNLEASED)];
    let dots: Vec<_> = life.entries.keys().map(|(_, _, dot)| *dot).collect();
    assert_eq!(dots, [(ReplicaId(2), 1), (ReplicaId(3), 1)]);
    assert_eq!(seen(&all), Some(json!({"x": 2})));
    assert_eq!(frontier(&all), [(ReplicaId(2), 1), (ReplicaId(3), 1)].into());
}

#[test]
fn increments_that_no_reset_saw_add_to_the_number_that_wins() {
    let counted = known(dot(1, 1), &[], 1, change(edit(&[], &[], &[("n", 5)])));
    let more = known(dot(1, 2), &[dot(1, 1)], 2, change(edit(&[], &[], &[("n", 2)])));
    let reset = change(edit(&[Clear::Subtree(Path::of(["n"]))], &[("n", 100)], &[]));
    let reset = known(dot(2, 1), &[dot(1, 1)], 3, reset);
    assert_eq!(seen(&[counted.clone(), more.clone()]), Some(json!({"n": 7})));
    assert_eq!(seen(&[counted, more, reset]), Some(json!({"n": 102})));
}

#[test]
fn a_dead_life_gains_nothing_but_what_it_clears_goes() {
    let create = |puts: &[(&str, i64)]| Action::Create {
        lease: Lease { idle: UnixMillis(10), absolute: UnixMillis(10) },
        kills: vec![],
        barriers_seen: vec![],
        edit: edit(&[], puts, &[]),
    };
    let one = known(dot(1, 1), &[], 1, create(&[("u", 1)]));
    let two = known(dot(2, 1), &[], 2, create(&[]));
    let clear = edit(&[Clear::Subtree(Path::of(["u"]))], &[("u", 9)], &[]);
    let set = Action::Edit { life: dot(2, 1), idle: None, edit: clear };
    let set = known(dot(3, 1), &[dot(1, 1), dot(2, 1)], 3, set);
    let destroy = Action::Destroy { lives: vec![dot(2, 1)], removal: Removal::default() };
    let destroy = known(dot(4, 1), &[dot(2, 1)], 3, destroy);
    assert_eq!(seen(&[one, two, set, destroy]), Some(json!({})));
}

#[test]
fn the_examples_of_rfc_7396_hold() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge_patch(Some(target), &patch), result, "{patch}");
    }
}

#[test]
fn shrinking_leaves_what_is_needed_to_fail() {
    let mut rng = Rng::new(1);
    let steps: Vec<u64> = (0..200).map(|_| rng.below(50)).collect();
    let fails = |steps: &[u64]| (steps.contains(&7) && steps.contains(&11)).then(|| "both".to_owned());
    let mut shrunk = shrink(&steps, 1_000, fails).unwrap();
    shrunk.steps.sort_unstable();
    assert_eq!((shrunk.steps, shrunk.failure.as_str()), (vec![7, 11], "both"));
    assert!(shrink(&[1, 2], 10, fails).is_none());
}
