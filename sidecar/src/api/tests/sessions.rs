//! Sessions and documents, as the table of the contract has them.

use serde_json::json;

use super::client::Server;
use super::fake::Stored;
use crate::core::command::{Change, life_to_text};
use crate::core::identity::{Kind, ObjectId};
use crate::core::limits::{TTL_MILLIS_DEFAULT, TTL_MILLIS_MAX};
use crate::core::token::Token;

#[tokio::test]
async fn a_session_is_created_read_replaced_and_destroyed() {
    let server = Server::start().await;
    let created = server.put("/v1/sessions/s1?ttl=90", r#"{"user":"ann","n":1}"#).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("content-type"), Some("application/json"));
    assert_eq!(created.json(), json!({"user":"ann","n":1}));
    assert_eq!(created.header("sidetalk-expires-in"), Some("90"));
    let life = server.fake.life_of(Kind::Session, "s1").unwrap();
    assert_eq!(created.header("sidetalk-life"), Some(life_to_text(&life).as_str()));
    created.header("sidetalk-token").unwrap().parse::<Token>().unwrap();

    let read = server.get("/v1/sessions/s1").await;
    assert_eq!(read.status, 200);
    for name in ["sidetalk-life", "sidetalk-token", "sidetalk-expires-in", "etag", "content-type"] {
        assert_eq!(read.header(name), created.header(name), "{name}");
    }
    assert_eq!(read.header("sidetalk-behind"), None);
    assert_eq!(read.body, created.body);

    assert_eq!(server.put("/v1/sessions/s1", "{}").await.status, 200);
    let destroyed = server.delete("/v1/sessions/s1").await;
    assert_eq!((destroyed.status, destroyed.body.as_str()), (204, ""));
    destroyed.header("sidetalk-token").unwrap().parse::<Token>().unwrap();
    let gone = server.get("/v1/sessions/s1").await;
    assert_eq!((gone.status, gone.code().as_str()), (410, "ended"));
    assert!(gone.header("sidetalk-token").is_some());
    assert_eq!(server.delete("/v1/sessions/s1").await.status, 204);
}

#[tokio::test]
async fn the_entity_tag_is_sixteen_digits_and_changes_with_the_content() {
    let server = Server::start().await;
    let first = server.put("/v1/documents/d", r#"{"a":1}"#).await;
    let tag = first.header("etag").unwrap();
    assert_eq!(tag.len(), 18);
    assert!(tag[1..17].bytes().all(|byte| byte.is_ascii_hexdigit()), "{tag}");
    assert_ne!(server.put("/v1/documents/d", r#"{"a":2}"#).await.header("etag"), Some(tag));
}

#[tokio::test]
async fn expires_in_is_rounded_down() {
    let server = Server::start().await;
    server.fake.put(Kind::Session, "s", json!({}));
    assert_eq!(server.get("/v1/sessions/s").await.header("sidetalk-expires-in"), Some("60"));
}

#[tokio::test]
async fn a_session_without_ttl_gets_the_default_and_ttl_reaches_its_bound() {
    let server = Server::start().await;
    let default = server.put("/v1/sessions/a", "{}").await;
    assert_eq!(
        default.header("sidetalk-expires-in"),
        Some((TTL_MILLIS_DEFAULT / 1_000).to_string().as_str())
    );
    let most = TTL_MILLIS_MAX / 1_000;
    let longest = server.put(&format!("/v1/sessions/b?ttl={most}"), "{}").await;
    assert_eq!(longest.header("sidetalk-expires-in"), Some(most.to_string().as_str()));
    let beyond = server.put(&format!("/v1/sessions/b?ttl={}", most + 1), "{}").await;
    assert_eq!(beyond.code(), "bad_query_value");
    assert_eq!(beyond.json()["allowed"], format!("an integer from 1 to {most}"));
}

#[tokio::test]
async fn patches_merge_recursively_and_only_into_live_sessions() {
    let server = Server::start().await;
    server.put("/v1/sessions/s", r#"{"a":{"b":1,"c":2},"d":3}"#).await;
    for media_type in ["application/merge-patch+json", "application/json", "Application/JSON; charset=utf-8"]
    {
        let body = r#"{"a":{"b":null,"e":5}}"#;
        let patched =
            server.call("PATCH", "/v1/sessions/s?ttl=7", &[("content-type", media_type)], body).await;
        assert_eq!(patched.status, 200, "{media_type}");
        assert_eq!(patched.json(), json!({"a":{"c":2,"e":5},"d":3}));
        assert_eq!(patched.header("sidetalk-expires-in"), Some("7"));
    }
    assert_eq!(server.patch("/v1/sessions/nobody", "{}").await.code(), "unknown");
    server.fake.end(Kind::Session, "s");
    assert_eq!(server.patch("/v1/sessions/s", "{}").await.code(), "ended");
}

#[tokio::test]
async fn path_operations_store_what_a_merge_patch_cannot() {
    let server = Server::start().await;
    server.put("/v1/sessions/s", r#"{"n":40,"gone":1}"#).await;
    let body = r#"[{"op":"set","path":["x","y"],"value":null},{"op":"incr","path":["n"],"by":2},
        {"op":"add","path":["tags"],"member":"b"},{"op":"add","path":["tags"],"member":"a"},
        {"op":"remove","path":["tags"],"member":"b"}]"#;
    let patched = server.ops("/v1/sessions/s", body).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.json(), json!({"x":{"y":null},"n":42,"gone":1,"tags":["a"]}));
}

#[tokio::test]
async fn a_minimal_answer_is_given_to_those_who_prefer_it() {
    let server = Server::start().await;
    let prefer = [("content-type", "application/json"), ("prefer", "return=minimal")];
    let created = server.call("PUT", "/v1/sessions/s", &prefer, "{}").await;
    let replaced = server.call("PUT", "/v1/sessions/s", &prefer, "{}").await;
    let patched = server.call("PATCH", "/v1/sessions/s", &prefer, "{}").await;
    for (reply, status) in [(created, 201), (replaced, 204), (patched, 204)] {
        assert_eq!((reply.status, reply.body.as_str()), (status, ""));
        assert_eq!(reply.header("preference-applied"), Some("return=minimal"));
        for name in ["sidetalk-token", "sidetalk-life", "sidetalk-expires-in"] {
            assert!(reply.header(name).is_some(), "{name}");
        }
        assert_eq!(reply.header("etag"), None, "the object was not read");
    }
    let comparing = [prefer[0], prefer[1], ("if-match", "*")];
    let compared = server.call("PATCH", "/v1/sessions/s", &comparing, "{}").await;
    assert_eq!((compared.status, compared.header("preference-applied")), (204, Some("return=minimal")));
    let tag = compared.header("etag").expect("who compares is told what to compare with next");
    assert_eq!(server.get("/v1/sessions/s").await.header("etag"), Some(tag));
    let full = server.put("/v1/sessions/s", "{}").await;
    assert_eq!(full.header("preference-applied"), None);
}

#[tokio::test]
async fn touching_extends_the_deadline() {
    let server = Server::start().await;
    server.put("/v1/sessions/s?ttl=5", r#"{"a":1}"#).await;
    let touched = server.call("POST", "/v1/sessions/s/touch?ttl=50", &[], "").await;
    assert_eq!((touched.status, touched.body.as_str()), (204, ""));
    assert_eq!(touched.header("sidetalk-expires-in"), Some("50"));
    assert!(touched.header("sidetalk-life").is_some());
    assert_eq!(server.fake.state.lock().writes.last().unwrap().change, Change::Touch);
    assert_eq!(server.call("POST", "/v1/sessions/nobody/touch", &[], "").await.code(), "unknown");
    server.fake.end(Kind::Session, "s");
    assert_eq!(server.call("POST", "/v1/sessions/s/touch", &[], "").await.code(), "ended");
}

#[tokio::test]
async fn documents_are_leased_only_on_request() {
    let server = Server::start().await;
    let plain = server.put("/v1/documents/d", r#"{"a":1}"#).await;
    assert_eq!(plain.status, 201);
    assert_eq!((plain.header("sidetalk-life"), plain.header("sidetalk-expires-in")), (None, None));
    assert!(plain.header("etag").is_some() && plain.header("sidetalk-token").is_some());
    let leased = server.put("/v1/documents/e?ttl=9", "{}").await;
    assert_eq!(leased.header("sidetalk-expires-in"), Some("9"));
    assert!(leased.header("sidetalk-life").is_some());
    assert_eq!(server.patch("/v1/documents/new", r#"{"a":1}"#).await.status, 201);
    assert_eq!(server.patch("/v1/documents/new", r#"{"b":2}"#).await.json(), json!({"a":1,"b":2}));
    assert_eq!(server.delete("/v1/documents/new").await.status, 204);
    assert_eq!(server.delete("/v1/documents/never").await.status, 204);
    assert_eq!(server.get("/v1/documents/never").await.code(), "unknown");
}

#[tokio::test]
async fn siblings_are_shown_with_their_origin() {
    let server = Server::start().await;
    server.put("/v1/documents/torn", r#"{"a":1.5}"#).await;
    let shown = server.get("/v1/documents/torn?siblings=true").await;
    assert_eq!(shown.status, 200);
    assert!(shown.header("etag").is_some() && shown.header("sidetalk-token").is_some());
    assert_eq!(
        shown.json(),
        json!({"value":{"a":1.5},"siblings":[{"path":["a"],"values":[
            {"value":1.5,"dot":"000000000000feed-2","written_unix_millis":2},
            {"value":"x","dot":"000000000000feed-1","written_unix_millis":1}]}]})
    );
    assert!(shown.body.contains("\"value\":1.50,"), "numbers keep their spelling: {}", shown.body);
    server.put("/v1/documents/whole", "{}").await;
    let whole = server.get("/v1/documents/whole?siblings=true").await;
    assert_eq!(whole.json(), json!({"value":{},"siblings":[]}));
    assert_eq!(server.get("/v1/documents/whole?siblings=false").await.json(), json!({}));
}

#[tokio::test]
async fn keys_are_percent_decoded_and_any_text_of_512_bytes() {
    let server = Server::start().await;
    for (path, key) in [
        ("a%2Fb", "a/b".to_owned()),
        ("%F0%9F%91%BB+.", "👻+.".to_owned()),
        ("%00%20", "\0 ".to_owned()),
        (&"x".repeat(512), "x".repeat(512)),
    ] {
        assert_eq!(server.put(&format!("/v1/sessions/{path}"), "{}").await.status, 201, "{path}");
        assert_eq!(server.get(&format!("/v1/sessions/{path}")).await.status, 200, "{path}");
        let stored = server.fake.state.lock().objects.contains_key(&ObjectId::new(Kind::Session, &key));
        assert!(stored, "{path}");
    }
}

#[tokio::test]
async fn a_life_that_is_sent_back_limits_the_change_to_it() {
    let server = Server::start().await;
    let created = server.put("/v1/sessions/s", "{}").await;
    let life = created.header("sidetalk-life").unwrap();
    let same = [("content-type", "application/json"), ("sidetalk-life", life)];
    assert_eq!(server.call("PATCH", "/v1/sessions/s", &same, r#"{"a":1}"#).await.status, 200);
    let other = [("content-type", "application/json"), ("sidetalk-life", "0000000000000001-1")];
    assert_eq!(server.call("PATCH", "/v1/sessions/s", &other, r#"{"a":2}"#).await.code(), "ended");
    assert_eq!(server.call("PUT", "/v1/sessions/s", &other, r#"{"a":2}"#).await.code(), "ended");
    assert_eq!(server.call("POST", "/v1/sessions/s/touch", &other, "").await.code(), "ended");
    assert_eq!(server.call("DELETE", "/v1/sessions/s", &other, "").await.code(), "ended");
    assert_eq!(server.get("/v1/sessions/s").await.json(), json!({"a":1}));
    assert_eq!(server.call("DELETE", "/v1/sessions/s", &same, "").await.status, 204);
    assert_eq!(server.call("DELETE", "/v1/sessions/s", &same, "").await.status, 204);
    assert_eq!(server.fake.state.lock().objects[&ObjectId::new(Kind::Session, "s")], Stored::Ended);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::start().await;
    server.put("/v1/sessions/s", r#"{"a":1}"#).await;
    let read = server.get("/v1/sessions/s").await;
    let head = server.call("HEAD", "/v1/sessions/s", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for name in ["etag", "sidetalk-token", "sidetalk-life", "content-type", "content-length"] {
        assert_eq!(head.header(name), read.header(name), "{name}");
    }
    for path in ["/v1/counters/c", "/v1/sets/s", "/v1/sessions", "/livez", "/metrics", "/v1/status"] {
        assert_eq!(server.call("HEAD", path, &[], "").await.status, 200, "{path}");
    }
    assert_eq!(server.call("HEAD", "/v1/sessions/nobody", &[], "").await.status, 404);
}
