//! Counters, sets and lists.

use serde_json::json;

use super::client::Server;
use crate::core::command::{Change, PathOp};
use crate::core::path::Path;

#[tokio::test]
async fn a_counter_counts_and_is_reset() {
    let server = Server::start().await;
    let unwritten = server.get("/v1/counters/c").await;
    assert_eq!((unwritten.status, unwritten.json()), (200, json!({"value":0})));
    assert!(unwritten.header("sidetalk-token").is_some());
    assert!(server.fake.state.lock().waits.is_empty(), "nobody is asked about counters");
    let added = server.post("/v1/counters/c", r#"{"add":5}"#).await;
    assert_eq!((added.status, added.json()), (200, json!({"value":5})));
    assert!(added.header("etag").is_some() && added.header("sidetalk-token").is_some());
    assert_eq!(server.post("/v1/counters/c", r#" { "add" : -7 } "#).await.json(), json!({"value":-2}));
    assert_eq!(server.get("/v1/counters/c").await.json(), json!({"value":-2}));
    let written = server.fake.state.lock().writes.last().unwrap().change.clone();
    assert_eq!(written, Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by: -7 }]));
    let reset = server.delete("/v1/counters/c").await;
    assert_eq!((reset.status, reset.body.as_str()), (204, ""));
    assert_eq!(server.fake.state.lock().writes.last().unwrap().change, Change::Destroy);
    assert_eq!(server.get("/v1/counters/c").await.json(), json!({"value":0}));
}

#[tokio::test]
async fn a_counter_takes_64_bits_and_no_more() {
    let server = Server::start().await;
    let most = format!("{{\"add\":{}}}", i64::MAX);
    assert_eq!(server.post("/v1/counters/c", &most).await.json(), json!({"value":i64::MAX}));
    let over = server.post("/v1/counters/c", r#"{"add":1}"#).await;
    assert_eq!((over.status, over.code().as_str(), &over.json()["at"]), (422, "overflow", &json!(0)));
    for body in [
        r#"{"add":9223372036854775808}"#,
        r#"{"add":1.0}"#,
        r#"{"add":"1"}"#,
        "{}",
        "[]",
        r#"{"add":1,"x":1}"#,
    ] {
        assert_eq!(server.post("/v1/counters/d", body).await.code(), "bad_body", "{body}");
    }
}

#[tokio::test]
async fn a_set_takes_and_loses_members() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/sets/s").await.json(), json!({"members":[]}));
    let changed = server.post("/v1/sets/s", r#"{"add":["b","a","ü"],"remove":["z"]}"#).await;
    assert_eq!((changed.status, changed.json()), (200, json!({"added":3,"removed":1})));
    assert!(changed.header("sidetalk-token").is_some());
    assert_eq!(server.get("/v1/sets/s").await.json(), json!({"members":["a","b","ü"]}));
    assert_eq!(server.post("/v1/sets/s", r#"{"remove":["b"]}"#).await.json(), json!({"added":0,"removed":1}));
    assert_eq!(server.delete("/v1/sets/s").await.status, 204);
    assert_eq!(server.get("/v1/sets/s").await.json(), json!({"members":[]}));
}

#[tokio::test]
async fn members_have_paths_of_their_own() {
    let server = Server::start().await;
    for _ in 0..2 {
        assert_eq!(server.put("/v1/sets/s/a%2F%22%C3%BC", "").await.status, 204);
    }
    assert_eq!(server.get("/v1/sets/s").await.json(), json!({"members":["a/\"ü"]}));
    let found = server.get("/v1/sets/s/a%2F%22%C3%BC").await;
    assert_eq!((found.status, found.body.as_str()), (204, ""));
    assert!(found.header("sidetalk-token").is_some());
    for path in ["/v1/sets/s/a", "/v1/sets/nobody/a"] {
        let missing = server.get(path).await;
        assert_eq!((missing.status, missing.code().as_str()), (404, "not_a_member"));
        assert!(missing.header("sidetalk-token").is_some());
    }
    for _ in 0..2 {
        assert_eq!(server.delete("/v1/sets/s/a%2F%22%C3%BC").await.status, 204);
    }
    assert_eq!(server.get("/v1/sets/s").await.json(), json!({"members":[]}));
}

#[tokio::test]
async fn a_set_change_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let many = json!({ "add": vec!["x"; 10_001] }).to_string();
    for body in
        ["{}", r#"{"add":[1]}"#, r#"{"add":"a"}"#, r#"{"add":["a"],"remove":["a"]}"#, r#"{"more":[]}"#, &many]
    {
        let refused = server.post("/v1/sets/s", body).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "bad_body"));
    }
    let long = "x".repeat(4_097);
    let body = json!({ "add": [long] }).to_string();
    assert_eq!(server.post("/v1/sets/s", &body).await.code(), "bad_member");
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(server.call(method, &format!("/v1/sets/s/{long}"), &[], "").await.code(), "bad_member");
        assert_eq!(server.call(method, "/v1/sets/s/%ff", &[], "").await.code(), "bad_member");
    }
    assert!(server.fake.state.lock().writes.is_empty());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = Server::start().await;
    for kind in ["sessions", "documents"] {
        for key in ["a1", "a2", "a3", "b1"] {
            server.put(&format!("/v1/{kind}/{key}"), "{}").await;
        }
        let page = server.get(&format!("/v1/{kind}?prefix=a&limit=2")).await;
        assert_eq!((page.status, page.json()), (200, json!({"keys":["a1","a2"],"next":"a2"})));
        let rest = server.get(&format!("/v1/{kind}?prefix=a&limit=2&after=a2")).await;
        assert_eq!(rest.json(), json!({"keys":["a3"],"next":null}));
        let all = server.get(&format!("/v1/{kind}")).await;
        assert_eq!(all.json(), json!({"keys":["a1","a2","a3","b1"],"next":null}));
    }
    for kind in ["counters", "sets"] {
        assert_eq!(server.get(&format!("/v1/{kind}")).await.json(), json!({"keys":[],"next":null}));
    }
    server.post("/v1/counters/c", r#"{"add":1}"#).await;
    server.put("/v1/sets/s/m", "").await;
    assert_eq!(server.get("/v1/counters").await.json()["keys"], json!(["c"]));
    assert_eq!(server.get("/v1/sets").await.json()["keys"], json!(["s"]));
}

#[tokio::test]
async fn a_page_has_100_keys_unless_the_request_says() {
    let server = Server::start().await;
    for at in 0..101 {
        server.fake.put(crate::core::identity::Kind::Document, &format!("{at:03}"), json!({}));
    }
    let page = server.get("/v1/documents").await.json();
    assert_eq!((page["keys"].as_array().unwrap().len(), &page["next"]), (100, &json!("099")));
}
