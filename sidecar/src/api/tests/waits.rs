//! Waiting: for what a client has seen, for what peers know, for acknowledgements.

use serde_json::json;

use super::client::Server;
use super::fake::{Stored, token_at};
use crate::core::command::{Acks, Change, Refusal, Wait};
use crate::core::identity::{Kind, ObjectId};
use crate::core::time::Hlc;

const JSON: (&str, &str) = ("content-type", "application/json");

fn session(key: &str) -> ObjectId {
    ObjectId::new(Kind::Session, key)
}

fn live(content: serde_json::Value) -> Stored {
    Stored::Live { content, life: None, expires_in_millis: None }
}

#[tokio::test]
async fn an_unknown_session_is_asked_for_before_the_answer_is_no() {
    let server = Server::start().await;
    server.fake.state.lock().elsewhere.insert(session("s"), live(json!({"user":"ann"})));
    assert_eq!(server.get("/v1/sessions/s").await.json(), json!({"user":"ann"}));
    let nobody = server.get("/v1/sessions/nobody").await;
    assert_eq!((nobody.status, nobody.code().as_str()), (404, "unknown"));
    assert_eq!(nobody.header("sidetalk-behind"), None);
    assert!(nobody.header("sidetalk-token").is_some());
    let asked = [(Wait::Asked(session("s")), 1_000), (Wait::Asked(session("nobody")), 1_000)];
    assert_eq!(server.fake.state.lock().waits, asked);
}

#[tokio::test]
async fn a_no_from_some_only_says_so() {
    let server = Server::start().await;
    server.fake.state.lock().asked_by_all = false;
    let nobody = server.get("/v1/sessions/nobody").await;
    assert_eq!((nobody.status, nobody.header("sidetalk-behind")), (404, Some("true")));
    for reply in [
        server.patch("/v1/sessions/nobody", "{}").await,
        server.call("POST", "/v1/sessions/nobody/touch", &[], "").await,
        server.call("PUT", "/v1/sessions/nobody", &[JSON, ("if-match", "*")], "{}").await,
    ] {
        assert_eq!((reply.status, reply.header("sidetalk-behind")), (404, Some("true")));
        assert_eq!(reply.code(), "unknown");
    }
}

#[tokio::test]
async fn what_a_peer_remembers_as_ended_is_410() {
    let server = Server::start().await;
    server.fake.state.lock().elsewhere.insert(session("s"), Stored::Ended);
    assert_eq!(server.get("/v1/sessions/s").await.code(), "ended");
    assert_eq!(server.patch("/v1/sessions/s", "{}").await.code(), "ended");
    assert_eq!(server.call("POST", "/v1/sessions/s/touch", &[], "").await.code(), "ended");
}

#[tokio::test]
async fn changes_of_an_unknown_session_ask_and_try_once_more() {
    for (method, path, headers, body) in [
        ("PATCH", "/v1/sessions/s", vec![JSON], r#"{"a":1}"#),
        ("POST", "/v1/sessions/s/touch", vec![], ""),
        ("PUT", "/v1/sessions/s", vec![JSON, ("if-match", "*")], r#"{"a":1}"#),
    ] {
        let server = Server::start().await;
        server.fake.state.lock().elsewhere.insert(session("s"), live(json!({})));
        let reply = server.call(method, path, &headers, body).await;
        assert!(reply.status < 300, "{method} {path}: {reply:?}");
        let state = server.fake.state.lock();
        assert_eq!(state.waits, [(Wait::Asked(session("s")), 1_000)]);
        assert_eq!(state.writes.len(), 2);
    }
}

#[tokio::test]
async fn a_plain_put_asks_nobody() {
    let server = Server::start().await;
    server.put("/v1/sessions/s", "{}").await;
    assert!(server.fake.state.lock().waits.is_empty());
}

#[tokio::test]
async fn destroying_asks_and_then_writes_whatever_the_answer() {
    let server = Server::start().await;
    server.fake.state.lock().asked_by_all = false;
    let destroyed = server.delete("/v1/sessions/s?wait=7").await;
    assert_eq!((destroyed.status, destroyed.body.as_str()), (204, ""));
    let state = server.fake.state.lock();
    assert_eq!(state.waits, [(Wait::Asked(session("s")), 7)]);
    assert_eq!(state.writes.last().unwrap().change, Change::Destroy);
    assert_eq!(state.objects[&session("s")], Stored::Ended);
}

#[tokio::test]
async fn destroying_a_life_that_nobody_knows_destroys_them_all() {
    let server = Server::start().await;
    let life = [("sidetalk-life", "0000000000000007-7")];
    assert_eq!(server.call("DELETE", "/v1/sessions/s", &life, "").await.status, 204);
    assert_eq!(server.fake.state.lock().writes.last().unwrap().life, None);
    let conditional = server.call("DELETE", "/v1/sessions/t", &[("if-match", "*")], "").await;
    assert_eq!(conditional.code(), "unknown");
}

#[tokio::test]
async fn documents_are_asked_for_only_with_wait() {
    let server = Server::start().await;
    let object = ObjectId::new(Kind::Document, "d");
    server.fake.state.lock().elsewhere.insert(object.clone(), live(json!({"a":1})));
    assert_eq!(server.get("/v1/documents/d").await.code(), "unknown");
    assert!(server.fake.state.lock().waits.is_empty());
    assert_eq!(server.get("/v1/documents/d?wait=250").await.json(), json!({"a":1}));
    assert_eq!(server.fake.state.lock().waits, [(Wait::Asked(object), 250)]);
}

#[tokio::test]
async fn a_read_waits_for_what_the_client_has_seen() {
    let server = Server::start().await;
    let object = server.fake.put(Kind::Session, "s", json!({}));
    let seen = token_at(&object, 1);
    let later = token_at(&object, 50);
    let after = |tokens: &str| vec![("sidetalk-after".to_owned(), tokens.to_owned())];
    let read = async |lines: Vec<(String, String)>, path: &str| {
        let headers: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        server.call("GET", path, &headers, "").await
    };
    let caught_up = read(after(&seen.to_string()), "/v1/sessions/s").await;
    assert_eq!((caught_up.status, caught_up.header("sidetalk-behind")), (200, None));
    assert!(server.fake.state.lock().waits.is_empty());
    let behind = read(after(&format!("{seen}, {later}")), "/v1/sessions/s?wait=40").await;
    assert_eq!((behind.status, behind.header("sidetalk-behind")), (200, Some("true")));
    assert_eq!(server.fake.state.lock().waits, [(Wait::Seen(vec![seen, later.clone()]), 40)]);
    for path in ["/v1/counters/c", "/v1/sets/t", "/v1/sets/t/m", "/v1/sessions", "/v1/sessions/nobody"] {
        let behind = read(after(&later.to_string()), path).await;
        assert_eq!(behind.header("sidetalk-behind"), Some("true"), "{path}");
    }
    server.fake.state.lock().catches_up = true;
    let caught_up = read(after(&later.to_string()), "/v1/sessions/s").await;
    assert_eq!((caught_up.status, caught_up.header("sidetalk-behind")), (200, None));
}

#[tokio::test]
async fn wait_bounds_the_token_and_the_question_together() {
    let server = Server::start().await;
    let later = token_at(&session("s"), 50).to_string();
    let reply = server.call("GET", "/v1/sessions/s?wait=30000", &[("sidetalk-after", &later)], "").await;
    assert_eq!((reply.status, reply.header("sidetalk-behind")), (404, Some("true")));
    let waits = server.fake.state.lock().waits.clone();
    assert!(matches!(waits[..], [(Wait::Seen(_), 30_000), (Wait::Asked(_), left)] if left <= 30_000));
    let zero = server.call("GET", "/v1/sessions/s?wait=0", &[("sidetalk-after", &later)], "").await;
    assert_eq!(zero.status, 404);
    assert!(server.fake.state.lock().waits[2..].iter().all(|(_, millis)| *millis == 0));
}

#[tokio::test]
async fn a_write_is_later_than_what_its_client_has_seen() {
    let server = Server::start().await;
    let object = session("s");
    let tokens = format!("{},{}", token_at(&object, 90), token_at(&object, 70));
    let written = server.call("PUT", "/v1/sessions/s", &[JSON, ("sidetalk-after", &tokens)], "{}").await;
    assert_eq!((written.status, written.header("sidetalk-behind")), (201, Some("true")));
    let waits = server.fake.state.lock().waits.clone();
    assert_eq!(server.fake.state.lock().writes[0].after, Some(Hlc(90)));
    assert!(matches!(&waits[..], [(Wait::Seen(tokens), 1_000)] if tokens.len() == 2));
    let destroyed = server.call("DELETE", "/v1/sessions/s", &[("sidetalk-after", &tokens)], "").await;
    assert_eq!((destroyed.status, destroyed.header("sidetalk-behind")), (204, Some("true")));
    server.fake.state.lock().catches_up = true;
    let caught_up = server.call("PUT", "/v1/sessions/t", &[JSON, ("sidetalk-after", &tokens)], "{}").await;
    assert_eq!(caught_up.header("sidetalk-behind"), None);
}

#[tokio::test]
async fn writes_wait_for_acknowledgements() {
    let server = Server::start().await;
    server.fake.state.lock().have = 2;
    for (query, need) in [
        ("acks=1", Acks::Count(1)),
        ("acks=2&timeout=30000", Acks::Count(2)),
        ("acks=majority&timeout=0", Acks::Majority),
    ] {
        let reply = server.put(&format!("/v1/sessions/s?{query}"), "{}").await;
        assert!(reply.status < 300, "{reply:?}");
        assert_eq!(reply.header("sidetalk-acks"), Some("2"));
        let waits = server.fake.state.lock().waits.clone();
        assert!(matches!(waits.last(), Some((Wait::Acks { need: asked, .. }, _)) if *asked == need));
    }
    let bounds: Vec<u64> = server.fake.state.lock().waits.iter().map(|(_, millis)| *millis).collect();
    assert_eq!(bounds, [5_000, 30_000, 0]);
    for (method, path, body) in [
        ("PATCH", "/v1/sessions/s", "{}"),
        ("POST", "/v1/sessions/s/touch", ""),
        ("POST", "/v1/counters/c", r#"{"add":1}"#),
        ("DELETE", "/v1/counters/c", ""),
        ("POST", "/v1/sets/c", r#"{"add":["a"]}"#),
        ("PUT", "/v1/sets/c/a", ""),
        ("DELETE", "/v1/sets/c/a", ""),
        ("DELETE", "/v1/sets/c", ""),
        ("PUT", "/v1/documents/c", "{}"),
        ("PATCH", "/v1/documents/c", "{}"),
        ("DELETE", "/v1/documents/c", ""),
        ("DELETE", "/v1/sessions/s", ""),
        // Nothing to destroy any more: the state found is what is acknowledged.
        ("DELETE", "/v1/sessions/s", ""),
    ] {
        let reply = server.call(method, &format!("{path}?acks=2"), &[JSON], body).await;
        assert!(reply.status < 300, "{method} {path}: {reply:?}");
        assert_eq!(reply.header("sidetalk-acks"), Some("2"), "{method} {path}");
        let late = server.call(method, &format!("{path}?acks=all"), &[JSON], body).await;
        if method == "PATCH" || path.ends_with("touch") || late.status == 504 {
            assert_eq!((late.status, late.code().as_str()), (504, "not_enough_acks"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn too_few_acknowledgements_are_504_and_the_write_stays() {
    let server = Server::start().await;
    let late = server.put("/v1/sessions/s?acks=all&timeout=10", r#"{"a":1}"#).await;
    assert_eq!((late.status, late.code().as_str()), (504, "not_enough_acks"));
    let problem = late.json();
    assert_eq!((&problem["have"], &problem["need"]), (&json!(1), &json!(3)));
    assert_eq!((&problem["changed"], &problem["fault"]), (&json!(true), &json!("cluster")));
    assert!(problem["detail"].as_str().unwrap().contains("the write stays"));
    assert_eq!(late.header("sidetalk-acks"), Some("1"));
    assert!(late.header("sidetalk-token").is_some() && late.header("sidetalk-life").is_some());
    assert_eq!(server.get("/v1/sessions/s").await.json(), json!({"a":1}));
}

#[tokio::test]
async fn refusals_of_the_node_have_codes_that_say_where() {
    let server = Server::start().await;
    server.put("/v1/sessions/s", r#"{"n":1,"o":{},"t":"x","max":9223372036854775807}"#).await;
    let incr = |path: &str| format!(r#"[{{"op":"unset","path":["z"]}},{{"op":"incr","path":["{path}"]}}]"#);
    let shape = server.ops("/v1/sessions/s", &incr("o")).await;
    assert_eq!((shape.status, shape.code().as_str()), (422, "wrong_shape"));
    assert_eq!((&shape.json()["at"], &shape.json()["found"]), (&json!(1), &json!("an object")));
    let overflow = server.ops("/v1/sessions/s", &incr("max")).await;
    assert_eq!((overflow.status, overflow.code().as_str()), (422, "overflow"));
    assert_eq!(overflow.json()["at"], json!(1));
    let kind = server.ops("/v1/sessions/s", r#"[{"op":"incr","path":[]}]"#).await;
    assert_eq!((kind.status, kind.code().as_str()), (422, "wrong_kind"));
    server.fake.state.lock().refuse = Some(Refusal::TooLarge);
    let large = server.patch("/v1/sessions/s", "{}").await;
    assert_eq!((large.status, large.code().as_str()), (413, "too_large"));
    for reply in [&shape, &overflow, &kind, &large] {
        assert_eq!(reply.json()["changed"], json!(false));
        assert!(reply.header("sidetalk-token").is_some());
    }
}
