//! `Idempotency-Key`.

use std::time::Duration;

use serde_json::json;

use super::client::{PATIENCE, Server};
use super::fake::Fake;
use crate::api::settings::{ApiSettings, IdempotencySettings};

const JSON: (&str, &str) = ("content-type", "application/json");
const KEY: (&str, &str) = ("idempotency-key", "k1");

#[tokio::test]
async fn a_retry_gets_the_first_answer_and_counts_nothing() {
    let server = Server::start().await;
    let first = server.call("POST", "/v1/counters/c", &[JSON, KEY], r#"{"add":5}"#).await;
    assert_eq!((first.json(), first.header("idempotency-replayed")), (json!({"value":5}), None));
    server.post("/v1/counters/c", r#"{"add":1}"#).await;
    let again = server.call("POST", "/v1/counters/c", &[JSON, KEY], r#"{"add":5}"#).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("sidetalk-token"), first.header("sidetalk-token"));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(server.get("/v1/counters/c").await.json(), json!({"value":6}));
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let server = Server::start().await;
    server.call("POST", "/v1/counters/c", &[JSON, KEY], r#"{"add":5}"#).await;
    for (method, path, body) in [
        ("POST", "/v1/counters/c", r#"{"add":6}"#),
        ("POST", "/v1/counters/d", r#"{"add":5}"#),
        ("POST", "/v1/counters/c?wait=1", r#"{"add":5}"#),
        ("PATCH", "/v1/documents/d", "{}"),
        ("POST", "/v1/sets/s", "{}"),
        ("POST", "/v1/sessions/s/touch", ""),
        ("POST", "/v1/batch", r#"{"ops":[]}"#),
    ] {
        let reused = server.call(method, path, &[JSON, KEY], body).await;
        assert_eq!((reused.status, reused.code().as_str()), (422, "idempotency_key_reused"), "{path}");
    }
    assert_eq!(server.get("/v1/counters/c").await.json(), json!({"value":5}));
}

#[tokio::test]
async fn patches_touches_and_batches_take_keys_as_well() {
    let server = Server::start().await;
    server.put("/v1/sessions/s", r#"{"n":0}"#).await;
    let incr = [("content-type", "application/vnd.sidetalk.ops+json"), ("idempotency-key", "k2")];
    let batch = [JSON, ("idempotency-key", "k3")];
    let touch = [("idempotency-key", "k4")];
    let body = json!({"ops":[{"method":"POST","path":"/v1/counters/c","body":{"add":1}}]}).to_string();
    for _ in 0..3 {
        let patched = server.call("PATCH", "/v1/sessions/s", &incr, r#"[{"op":"incr","path":["n"]}]"#).await;
        assert_eq!(patched.json(), json!({"n":1}));
        assert_eq!(server.call("POST", "/v1/batch", &batch, &body).await.status, 200);
        assert_eq!(server.call("POST", "/v1/sessions/s/touch", &touch, "").await.status, 204);
    }
    assert_eq!(server.get("/v1/counters/c").await.json(), json!({"value":1}));
    assert_eq!(server.fake.state.lock().writes.len(), 4);
}

#[tokio::test]
async fn calls_in_a_batch_take_keys_of_their_own() {
    let server = Server::start().await;
    let op =
        json!({"method":"POST","path":"/v1/counters/c","body":{"add":1},"headers":{"Idempotency-Key":"k"}});
    for _ in 0..2 {
        server.post("/v1/batch", &json!({ "ops": [op, op] }).to_string()).await;
    }
    assert_eq!(server.get("/v1/counters/c").await.json(), json!({"value":1}));
}

#[tokio::test]
async fn what_was_refused_may_be_sent_again_and_what_stays_may_not() {
    let server = Server::start().await;
    let patch = async || server.call("PATCH", "/v1/sessions/s", &[JSON, KEY], r#"{"a":1}"#).await;
    assert_eq!(patch().await.status, 404);
    server.put("/v1/sessions/s", "{}").await;
    assert_eq!(patch().await.status, 200);
    let late = async || {
        let headers = [JSON, ("idempotency-key", "k5")];
        server.call("POST", "/v1/counters/c?acks=all", &headers, r#"{"add":1}"#).await
    };
    assert_eq!(late().await.status, 504);
    assert_eq!((late().await.status, server.get("/v1/counters/c").await.json()), (504, json!({"value":1})));
}

#[tokio::test]
async fn keys_that_are_none() {
    let server = Server::start().await;
    let long = "x".repeat(256);
    for key in ["", &long, "a\tb"] {
        let headers = [JSON, ("idempotency-key", key)];
        let reply = server.call("POST", "/v1/counters/c", &headers, r#"{"add":1}"#).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_idempotency_key"), "{key:?}");
    }
    let twice = [JSON, KEY, ("idempotency-key", "k2")];
    let reply = server.call("POST", "/v1/counters/c", &twice, r#"{"add":1}"#).await;
    assert_eq!(reply.code(), "bad_idempotency_key");
    let longest = [JSON, ("idempotency-key", &long[1..])];
    assert_eq!(server.call("POST", "/v1/counters/c", &longest, r#"{"add":1}"#).await.status, 200);
    // Only POST and PATCH take one; for the others it means nothing.
    assert_eq!(
        server.call("PUT", "/v1/sessions/s", &[JSON, ("idempotency-key", "")], "{}").await.status,
        201
    );
}

#[tokio::test]
async fn a_duplicate_waits_for_the_first_even_when_the_first_hangs_up() {
    let server = Server::start().await;
    let path = "/v1/counters/c?acks=1";
    server.fake.state.lock().stuck = true;
    // Sends, and hangs up while the request waits for acknowledgements.
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nidempotency-key: k1\r\n\
         content-length: 9\r\n\r\n{{\"add\":1}}"
    );
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut { stream }, request.as_bytes()).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.fake.state.lock().waits.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the first request has not come");
        tokio::task::yield_now().await;
    }
    let duplicate = server.call("POST", path, &[JSON, KEY], r#"{"add":1}"#);
    let waited = tokio::time::timeout(Duration::from_millis(50), duplicate).await;
    assert!(waited.is_err(), "the first has not been answered yet");
    assert_eq!(server.fake.state.lock().writes.len(), 1);
}

#[tokio::test]
async fn a_first_request_that_dies_frees_its_key() {
    let server = Server::start().await;
    for _ in 0..2 {
        let reply = server.call("POST", "/v1/counters/panic", &[JSON, KEY], r#"{"add":1}"#).await;
        assert_eq!((reply.status, reply.code().as_str()), (500, "internal"));
        assert_eq!(reply.json()["changed"], json!(null));
    }
}

#[tokio::test]
async fn answers_are_forgotten_by_count_by_size_and_by_age() {
    let settings = |answers_max, bytes_max, keep| ApiSettings {
        idempotency: IdempotencySettings { keep, answers_max, bytes_max },
        ..ApiSettings::default()
    };
    let long = Duration::from_secs(600);
    for (settings, value) in [
        (settings(1, usize::MAX, long), 2),
        (settings(100, 1, long), 2),
        (settings(100, usize::MAX, Duration::ZERO), 2),
        (settings(100, usize::MAX, long), 1),
    ] {
        let server = Server::with(Fake::new(), settings).await;
        for key in ["a", "b", "a"] {
            let counter = format!("/v1/counters/{key}");
            let headers = [JSON, ("idempotency-key", key)];
            server.call("POST", &counter, &headers, r#"{"add":1}"#).await;
        }
        assert_eq!(server.get("/v1/counters/a").await.json(), json!({ "value": value }));
    }
}
