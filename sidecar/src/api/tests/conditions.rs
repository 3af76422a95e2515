//! Conditional requests.

use serde_json::json;

use super::client::Server;
use crate::core::identity::Kind;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn if_none_match_star_only_creates() {
    let server = Server::start().await;
    let create = [JSON, ("if-none-match", "*")];
    assert_eq!(server.call("PUT", "/v1/sessions/s", &create, "{}").await.status, 201);
    let again = server.call("PUT", "/v1/sessions/s", &create, r#"{"a":1}"#).await;
    assert_eq!((again.status, again.code().as_str()), (412, "precondition_failed"));
    assert_eq!(server.get("/v1/sessions/s").await.json(), json!({}));
    server.fake.end(Kind::Session, "s");
    assert_eq!(server.call("PUT", "/v1/sessions/s", &create, "{}").await.code(), "ended");
}

#[tokio::test]
async fn if_match_star_only_changes_what_lives() {
    let server = Server::start().await;
    let live = [JSON, ("if-match", "*")];
    assert_eq!(server.call("PUT", "/v1/sessions/s", &live, "{}").await.code(), "unknown");
    server.put("/v1/sessions/s", "{}").await;
    assert_eq!(server.call("PUT", "/v1/sessions/s", &live, "{}").await.status, 200);
    assert_eq!(server.call("PUT", "/v1/documents/d", &live, "{}").await.code(), "precondition_failed");
    assert_eq!(server.call("DELETE", "/v1/documents/d", &live, "").await.code(), "precondition_failed");
}

#[tokio::test]
async fn an_entity_tag_makes_a_compare_and_set() {
    let server = Server::start().await;
    let tag = server.put("/v1/documents/d", r#"{"a":1}"#).await.header("etag").unwrap().to_owned();
    let first = server.call("PUT", "/v1/documents/d", &[JSON, ("if-match", &tag)], r#"{"a":2}"#).await;
    assert_eq!(first.status, 200);
    let second = server.call("PUT", "/v1/documents/d", &[JSON, ("if-match", &tag)], r#"{"a":3}"#).await;
    assert_eq!(second.code(), "precondition_failed");
    assert!(second.header("sidetalk-token").is_some());
    let now = first.header("etag").unwrap();
    let differs =
        server.call("PATCH", "/v1/documents/d", &[JSON, ("if-none-match", now)], r#"{"a":4}"#).await;
    assert_eq!(differs.code(), "precondition_failed");
    assert_eq!(server.get("/v1/documents/d").await.json(), json!({"a":2}));
    let deleted = server.call("DELETE", "/v1/documents/d", &[("if-match", now)], "").await;
    assert_eq!(deleted.status, 204);
}

#[tokio::test]
async fn reads_answer_304_and_412() {
    let server = Server::start().await;
    let tag = server.put("/v1/sessions/s", r#"{"a":1}"#).await.header("etag").unwrap().to_owned();
    let same = server.call("GET", "/v1/sessions/s", &[("if-none-match", &tag)], "").await;
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    for name in ["etag", "sidetalk-token", "sidetalk-life", "sidetalk-expires-in"] {
        assert!(same.header(name).is_some(), "{name}");
    }
    let weak = server.call("GET", "/v1/sessions/s", &[("if-none-match", &format!("W/{tag}"))], "").await;
    assert_eq!(weak.status, 304);
    let other = server.call("GET", "/v1/sessions/s", &[("if-none-match", "\"x\"")], "").await;
    assert_eq!(other.status, 200);
    let failed = server.call("GET", "/v1/sessions/s", &[("if-match", "\"x\"")], "").await;
    assert_eq!((failed.status, failed.code().as_str()), (412, "precondition_failed"));
    server.post("/v1/counters/c", r#"{"add":1}"#).await;
    server.post("/v1/sets/t", r#"{"add":["a"]}"#).await;
    for path in ["/v1/counters/c", "/v1/sets/t", "/v1/documents/d?siblings=true"] {
        server.put("/v1/documents/d", "{}").await;
        let tag = server.get(path).await.header("etag").unwrap().to_owned();
        assert_eq!(server.call("GET", path, &[("if-none-match", &tag)], "").await.status, 304, "{path}");
        assert_eq!(server.call("GET", path, &[("if-match", "\"x\"")], "").await.status, 412, "{path}");
    }
}
