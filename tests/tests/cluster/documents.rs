//! Documents: JSON Merge Patch exactly as the RFC has it, whatever conflicts were stored.

use std::time::Duration;

use serde_json::{Value, json};
use sidetalk_client::{Acks, PathOp};
use sidetalk_tests::{Cluster, eventually};

/// RFC 7396, section 2, word for word.
fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(target) => target,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let before = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), merge_patch(before, value));
        }
    }
    Value::Object(target)
}

/// RFC 7396, appendix A: target, patch, result.
fn examples() -> Vec<(Value, Value, Value)> {
    vec![
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
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ]
}

#[tokio::test]
async fn a_patch_does_what_the_rfcs_own_examples_say() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client(0);
    for (number, (target, patch, result)) in examples().into_iter().enumerate() {
        assert_eq!(merge_patch(target.clone(), &patch), result, "the test's own reading of example {number}");
        // The API's roots are objects; below one, any example fits.
        let document = client.document(&format!("example-{number}"));
        document.put(&json!({"v": target})).await.unwrap();
        let after = document.patch(&json!({"v": patch})).await.unwrap().value;
        assert_eq!(after, json!({"v": result}), "example {number}");
        assert_eq!(document.get().await.unwrap().value, after);
    }
}

#[tokio::test]
async fn a_patch_after_conflicts_gives_what_the_rfc_makes_of_what_was_shown() {
    let shapes = [json!(5), json!({"b": 1}), json!({"b": {"c": true}, "d": {}}), json!(["x"]), json!({})];
    let patches = [json!({"b": null}), json!({"b": {"e": 1}}), json!({}), json!(7)];
    let mut cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0), cluster.client(1));
    let mut cases = Vec::new();
    for left in &shapes {
        for right in shapes.iter().filter(|right| *right != left) {
            for patch in &patches {
                cases.push((format!("case-{}", cases.len()), left, right, patch));
            }
        }
    }
    cluster.partition(&[&[0], &[1]]).await;
    for (name, left, right, _) in &cases {
        a.document(name).put(&json!({"a": left})).await.unwrap();
        b.document(name).put(&json!({"a": right})).await.unwrap();
    }
    cluster.heal().await;
    for (name, left, right, patch) in &cases {
        let shown = eventually("both nodes show the same", || async {
            let (one, other) =
                (a.document(name).get().await.unwrap().value, b.document(name).get().await.unwrap().value);
            if one == other { Ok(one) } else { Err(format!("{one} and {other}")) }
        })
        .await;
        let want = merge_patch(shown.clone(), &json!({"a": patch}));
        let after = a.document(name).patch(&json!({"a": patch})).await.unwrap();
        assert_eq!(after.value, want, "{left} beside {right} showed {shown}, then {patch}");
    }
    for (name, ..) in &cases {
        let want = a.document(name).get().await.unwrap().value;
        cluster.agree(&format!("documents/{name}"), &want).await;
    }
}

#[tokio::test]
async fn concurrent_values_can_be_seen_and_explained() {
    let mut cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0).document("d"), cluster.client(1).document("d"));
    a.put(&json!({"x": 0})).acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    cluster.partition(&[&[0], &[1]]).await;
    a.patch(&json!({"x": "of a"})).await.unwrap();
    b.patch(&json!({"x": "of b"})).await.unwrap();
    cluster.heal().await;
    eventually("both siblings are there", || async {
        let shown = a.get().query("siblings", true).await.unwrap().value.to_string();
        if shown.contains("of a") && shown.contains("of b") { Ok(()) } else { Err(shown) }
    })
    .await;
    let explained = a.explain().await.unwrap().value.to_string();
    assert!(explained.contains("n0") && explained.contains("n1"), "{explained}");
    // Whoever writes having seen both ends the conflict.
    b.patch(&json!({"x": "settled"})).await.unwrap();
    cluster.agree("documents/d", &json!({"x": "settled"})).await;
    let shown = a.get().query("siblings", true).await.unwrap().value.to_string();
    assert!(!shown.contains("of a") && !shown.contains("of b"), "{shown}");
}

#[tokio::test]
async fn path_operations_apply_all_or_none() {
    let cluster = Cluster::start(1).await;
    let document = cluster.client(0).document("d");
    document.put(&json!({"n": 1, "text": "x"})).await.unwrap();
    let path = |key: &str| vec![key.to_owned()];
    let ops = [
        PathOp::Set { path: path("nothing"), value: Value::Null },
        PathOp::Incr { path: path("n"), by: 41 },
        PathOp::Add { path: path("roles"), member: "admin".into() },
        PathOp::Unset { path: path("text") },
    ];
    document.ops(&ops).await.unwrap();
    let want = json!({"n": 42, "nothing": null, "roles": ["admin"]});
    assert_eq!(document.get().await.unwrap().value, want);
    let bad = [PathOp::Incr { path: path("n"), by: 1 }, PathOp::Incr { path: path("nothing"), by: 1 }];
    assert_eq!(document.ops(&bad).await.unwrap_err().code(), Some("wrong_shape"));
    assert_eq!(document.get().await.unwrap().value, want);
}
